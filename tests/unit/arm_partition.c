/* SPDX-License-Identifier: MIT */
/*
 * Partitions by MDCR_EL2.HPMN (RULES B, B1 to B3), on a machine that enforces it and on one that only
 * advertises it; with the model's own backend, and with hardware/armv8. Guests do everything to every register; each is compared with a bare machine that has as many
 * counters, and the host's events with sums made here. Around every register access an "NMI" looks at whether the
 * host's counters count and the guest's do not.
 */
#include <string.h>

#include <vpmu/host.h>

#include "armv8.h"
#include "armv8_sim.h"
#include "hpmn.h"
#include "support.h"

#define INST_RETIRED 0x08u
/* EL2 has none of it, so that sums of the host's events are exact. */
#define MEM_ACCESS 0x13u
#define CPUS 2u
#define VMS 4u
#define EVENTS 2u                    /* per CPU */

struct bed;

struct part_cpu {
	struct bed *bed;
	struct model_pmu pmu;
	struct model_hw model;       /* one of these */
	struct vpmu_armv8 armv8;
	struct armv8_sim sim;
	struct vpmu_hw *hw;
	struct vpmu_cpu cpu;
	struct part_guest *loaded;
	bool host_works;             /* on its own events: it may see them itself */
	struct vpmu_host_event event[EVENTS];
	struct vpmu_host_event_config config[EVENTS];
	bool lives[EVENTS];
	uint64_t expected[EVENTS];
	uint64_t samples[EVENTS];
};

struct part_guest {
	struct bed *bed;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct part_cpu *cpu;
	struct model_pmu bare;
	bool in_guest;
};

struct bed {
	struct vpmu_machine machine;
	struct part_cpu cpus[CPUS];
	struct part_guest guests[VMS];
	struct rng rng;
	uint64_t trace;              /* hash of all that guests saw */
	uint64_t direct, trapped;
	bool lazy;
};

/* Run with hardware/armv8. */
static bool with_armv8;

static const enum model_class both[] = { MODEL_P5_HPMN, MODEL_P5_FGT };
static const enum vpmu_switch_kind kinds[] = { VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER };

/* ---- Around each access of EL2 ---- */

/*
 * A host's counter that is started passes the other enables, at each moment of every switch; nobody else counts at
 * EL2. And the owner says "not the host's" (A3).
 */
static void nmi(void *context)
{
	const struct part_cpu *c = context;
	uint64_t accesses = c->hw->accesses;
	uint64_t inside = with_armv8 ? c->armv8.inside : c->model.inside;
	uint64_t outside = with_armv8 ? c->armv8.outside : c->model.outside;

	assert_true(c->host_works || vpmu_cpu_nmi_owner(&c->cpu) != VPMU_OWNER_HOST);
	assert_int_equal(c->hw->accesses, accesses);
	for (unsigned int i = 0; i < 32; i++) {
		bool host = c->cpu.host_counters >> i & 1 && c->pmu.pmcnten >> i & 1;

		if (i >= c->pmu.config.counters && i != CYCLE)
			continue;
		if (host && outside >> i & 1)
			assert_true(model_counts(&c->pmu, i, 2));
		if (host && inside >> i & 1)
			assert_true(model_counts(&c->pmu, i, 1) || model_counts(&c->pmu, i, 0));
		if (!host)
			assert_false(model_counts(&c->pmu, i, 2));
	}
}

static void nmi_of_model(struct model_hw *hw, void *context)
{
	(void)hw;
	nmi(context);
}

/* ---- Set-up ---- */

static const struct model_event_count cost_others[] = { { 0x10, 1 }, { 0x23, 2 } };
static const struct model_events cost = { 3, 5, cost_others, ARRAY_SIZE(cost_others) };

static void bring_up_model(struct part_cpu *c)
{
	model_hw_init(&c->model, &c->pmu);
	c->hw = &c->model.hw;
}

static void bring_up_armv8(struct part_cpu *c)
{
	const struct vpmu_armv8_base base = { .mdcr_el2 = 0 };
	unsigned int least;

	c->sim = (struct armv8_sim){ .pmu = &c->pmu };
	armv8_sim_here = &c->sim;
	assert_int_equal(vpmu_armv8_init(&c->armv8, &base), 0);
	if (!model_probe(&c->pmu, &least))
		vpmu_armv8_partition(&c->armv8, least);
	c->hw = &c->armv8.hw;
}

static void set_hooks(struct part_cpu *c)
{
	c->model.cost = c->sim.cost = &cost;
	c->model.hook = nmi_of_model;
	c->sim.hook = nmi;
	c->model.hook_context = c->sim.hook_context = c;
}

static void bring_up(struct part_cpu *c, unsigned int number)
{
	if (with_armv8)
		bring_up_armv8(c);
	else
		bring_up_model(c);
	assert_int_equal(vpmu_cpu_init(&c->cpu, number, c->hw), 0);
}

static void add_cpu(struct bed *b, unsigned int i, enum model_class class)
{
	struct part_cpu *c = &b->cpus[i];
	struct model_config config;

	c->bed = b;
	model_class_config(class, &config);
	model_pmu_reset(&c->pmu, &config, rng_next(&b->rng) | 1);
	bring_up(c, i);
	vpmu_machine_add(&b->machine, &c->hw->caps);
	set_hooks(c);
}

/* From now on, this CPU executes. */
static struct vpmu_cpu *on(struct part_cpu *c)
{
	armv8_sim_here = &c->sim;
	return &c->cpu;
}

static void set_time(struct part_cpu *c, uint64_t passed)
{
	c->model.time += passed;
	c->sim.time += passed;
}

static void guest_runs(struct part_cpu *c, bool runs)
{
	c->model.guest_runs = runs;
	c->sim.guest_runs = runs;
}

static void power_on(struct bed *b, enum model_class first, enum model_class second, uint64_t seed)
{
	memset(b, 0, sizeof(*b));
	b->rng.state = seed * 2 + 1;
	vpmu_machine_init(&b->machine);
	add_cpu(b, 0, first);
	add_cpu(b, 1, second);
}

static void add_guest(struct bed *b, unsigned int i, enum vpmu_mode mode, enum vpmu_switch_kind kind,
		      unsigned int n)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = mode, .switch_kind = kind };
	struct part_guest *g = &b->guests[i];
	struct model_config bare;

	g->bed = b;
	assert_int_equal(vpmu_arm_model_of(&b->machine, &g->model), 0);
	g->model.counters = n;
	assert_int_equal(vpmu_arm_vm_init(&g->vm, &b->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
	bare = (struct model_config){ .version = g->model.version, .counters = n, .id = g->model.id,
				      .no_el2 = true, .ceid = { g->model.ceid[0], g->model.ceid[1] } };
	model_pmu_reset(&g->bare, &bare, 0);
}

/* ---- The monitor ---- */

static void load(struct part_guest *g, struct part_cpu *c)
{
	assert_int_equal(vpmu_vcpu_load(&g->v, on(c)), 0);
	g->cpu = c;
	c->loaded = g;
}

static void put(struct part_guest *g)
{
	(void)on(g->cpu);
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	g->cpu->loaded = NULL;
	g->cpu = NULL;
}

static void take_samples(struct part_cpu *c)
{
	struct vpmu_host_event *e;

	while ((e = vpmu_cpu_sample(&c->cpu)) != NULL)
		c->samples[e - c->event]++;
}

/* The host's share of the interrupt is served at once; the guest's stays for it. */
static void serve(struct part_cpu *c)
{
	if (!model_interrupt(&c->pmu))
		return;
	c->host_works = true;
	(void)vpmu_cpu_pmi(on(c));
	c->host_works = false;
	take_samples(c);
}

static void enter(struct part_guest *g)
{
	(void)on(g->cpu);
	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
	guest_runs(g->cpu, true);
	g->in_guest = true;
	if (model_interrupt(&g->cpu->pmu) != model_interrupt(&g->bare))
		fail_msg("enter: the line is %d", model_interrupt(&g->cpu->pmu));
}

static void leave(struct part_guest *g)
{
	struct part_cpu *c = g->cpu;

	(void)on(c);
	guest_runs(c, false);
	g->in_guest = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	serve(c);
	if (c->model.violations)
		fail_msg("%s", c->model.violation);
}

static void record(struct bed *b, uint64_t value)
{
	b->trace = (b->trace ^ value) * 0x100000001B3u;
	b->trace ^= b->trace >> 29;
}

static enum model_result of_outcome(int outcome)
{
	switch (outcome) {
	case VPMU_HANDLED:
		return MODEL_EXECUTED;
	case VPMU_FAULT_EL1_TRAP:
		return MODEL_TRAP_EL1;
	default:
		return MODEL_UNDEF;
	}
}

static enum model_result trap(struct part_guest *g, unsigned int el, uint32_t reg, bool write,
			      uint64_t *value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = (uint8_t)el, .write = write, .value = *value };
	int outcome;

	g->bed->trapped++;
	leave(g);
	outcome = vpmu_arm_access(&g->v, &access);
	enter(g);
	*value = access.value;
	return of_outcome(outcome);
}

/* Which fault EL0 gets for a counter that does not exist depends on the order of checks (0002). */
static enum model_result normal(unsigned int el, enum model_result result)
{
	return el == 0 && result == MODEL_UNDEF ? MODEL_TRAP_EL1 : result;
}

/* As on the bare machine, in every bit. */
static void access(struct part_guest *g, unsigned int el, uint32_t reg, bool write, uint64_t value)
{
	uint64_t real = value, bare = value;
	enum model_result expected, result;

	result = model_guest_access(&g->cpu->pmu, el, reg, write, &real);
	expected = model_guest_access(&g->bare, el, reg, write, &bare);
	if (result == MODEL_TRAP_EL2)
		result = trap(g, el, reg, write, &real);
	else
		g->bed->direct += result == MODEL_EXECUTED;
	if (normal(el, result) != normal(el, expected) || real != bare)
		fail_msg("%s %#x at EL%u: %d, bare %d; %#llx, bare %#llx", write ? "write" : "read", reg, el,
			 result, expected, (unsigned long long)real, (unsigned long long)bare);
	record(g->bed, real);
}

static void write_el1(struct part_guest *g, uint32_t reg, uint64_t value)
{
	access(g, 1, reg, true, value);
}

/* ---- What happens, and what the host should have counted of it ---- */

static bool counts_in(const struct vpmu_host_event_config *config, const struct part_guest *g,
		      unsigned int el)
{
	if (config->scope == VPMU_SCOPE_HYPERVISOR)
		return el == 2 && !config->exclude_host;
	if (el == 2)
		return config->scope == VPMU_SCOPE_CPU && !config->exclude_host;
	if (config->exclude_guest || !(el ? config->kernel : config->user))
		return false;
	if (config->scope == VPMU_SCOPE_VM)
		return config->vm == &g->vm;
	return config->scope == VPMU_SCOPE_CPU || config->vcpu == &g->v;
}

static void happens(struct part_cpu *c, unsigned int el, uint64_t n)
{
	const struct model_event_count others[] = { { MEM_ACCESS, n }, { 0x1B, n / 2 } };
	const struct model_events all = { n, 2 * n, others, ARRAY_SIZE(others) };

	model_retire(&c->pmu, el, &all);
	set_time(c, n);
	if (el < 2)
		model_retire(&c->loaded->bare, el, &all);
	for (unsigned int i = 0; i < EVENTS; i++) {
		if (c->lives[i] && counts_in(&c->config[i], c->loaded, el))
			c->expected[i] += n;
	}
}

static void host_runs(struct part_cpu *c, uint64_t n)
{
	happens(c, 2, n);
	serve(c);
}

static struct vpmu_host_event_config counting(enum vpmu_host_scope scope)
{
	return (struct vpmu_host_event_config){
		.size = sizeof(struct vpmu_host_event_config), .scope = scope, .event = MEM_ACCESS,
		.user = true, .kernel = true,
	};
}

static int watch(struct part_cpu *c, unsigned int i, const struct vpmu_host_event_config *config)
{
	int error;

	c->host_works = true;
	error = vpmu_host_event_create(&c->event[i], &c->bed->machine, on(c), config);
	c->host_works = false;
	c->lives[i] = !error;
	c->config[i] = *config;
	c->expected[i] = 0;
	c->samples[i] = 0;
	return error;
}

/* Exact, all the time it should have counted, and as many samples as periods fit. */
static void compare_event(struct part_cpu *c, unsigned int i)
{
	struct vpmu_count count;

	serve(c);
	c->host_works = true;
	(void)on(c);
	assert_int_equal(vpmu_host_event_read(&c->event[i], &count), 0);
	c->host_works = false;
	if (count.value != c->expected[i])
		fail_msg("event %u, scope %d user %d kernel %d exclude %d %d period %llu: counted %llu, expected %llu; running %llu of %llu",
			 i, c->config[i].scope, c->config[i].user, c->config[i].kernel, c->config[i].exclude_guest,
			 c->config[i].exclude_host, (unsigned long long)c->config[i].period,
			 (unsigned long long)count.value, (unsigned long long)c->expected[i],
			 (unsigned long long)count.running, (unsigned long long)count.enabled);
	assert_int_equal(count.running, count.enabled);
	if (c->config[i].period)
		assert_in_range(c->samples[i], c->expected[i] / c->config[i].period / 2,
				c->expected[i] / c->config[i].period);
}

static void unwatch(struct part_cpu *c, unsigned int i)
{
	compare_event(c, i);
	c->host_works = true;
	(void)on(c);
	assert_int_equal(vpmu_host_event_destroy(&c->event[i]), 0);
	c->host_works = false;
	c->lives[i] = false;
}

/* Neither guest nor event is there: as after vpmu_cpu_init() (V7). */
static void at_the_end(const struct part_cpu *c)
{
	assert_int_equal(c->pmu.pmcr & MODEL_PMCR_E, 0);
	assert_int_equal(c->pmu.mdcr_el2 & (MODEL_MDCR_HPME | MODEL_MDCR_HPMD | MODEL_MDCR_HCCD), 0);
	assert_int_equal(c->pmu.mdcr_el2 & 0x1F, c->pmu.config.counters);
	assert_int_equal(c->pmu.pmcnten | c->pmu.pminten | c->pmu.pmovs, 0);
}

/* ---- The probe ---- */

static void probe(void **state)
{
	struct model_config config;
	struct model_pmu pmu, before;
	unsigned int least;

	(void)state;
	for (enum model_class class = 0; class < MODEL_CLASSES; class++) {
		model_class_config(class, &config);
		model_pmu_reset(&pmu, &config, 7);
		before = pmu;
		assert_int_equal(model_probe(&pmu, &least) == NULL, class == MODEL_P5_HPMN);
		assert_memory_equal(&pmu, &before, sizeof(pmu));
	}
	model_class_config(MODEL_P5_HPMN, &config);
	for (unsigned int seed = 0; seed < 50; seed++) {
		for (unsigned int n = 2; n <= VPMU_ARM_EVENTS_MAX; n++) {
			config.counters = n;
			config.hpmn0 = seed % 2;
			model_pmu_reset(&pmu, &config, seed);
			assert_null(model_probe(&pmu, &least));
			assert_int_equal(least, seed % 2 ? 0 : 1);
		}
	}
	config.counters = 1;
	model_pmu_reset(&pmu, &config, 7);
	assert_non_null(model_probe(&pmu, &least));
}

/* Each way past HPMN is found, if it is the only one; with two counters and with many. */
static void probe_finds_each_hole(void **state)
{
	struct model_config config;
	struct model_pmu pmu;
	unsigned int least;

	(void)state;
	for (unsigned int hole = 0; hole < MODEL_HOLES; hole++) {
		for (unsigned int n = 2; n <= VPMU_ARM_EVENTS_MAX; n++) {
			model_class_config(MODEL_P5_HPMN, &config);
			config.counters = n;
			config.hpmn_holes = 1u << hole;
			model_pmu_reset(&pmu, &config, hole + 1);
			assert_non_null(model_probe(&pmu, &least));
		}
	}
}

/* What a mask register alone could do wrong, which the model cannot: SET and CLR apart. */
static void judge_masks(void **state)
{
	static const struct vpmu_armv8_seen good = {
		.counters = 6, .hpmn = 1, .pattern = 0x2A, .pmcr = 1 << 11,
		.set = { CYCLE_BIT | 1, CYCLE_BIT | 1, CYCLE_BIT | 1 }, .trapped = VPMU_ARMV8_TRIES,
		.left = { 0x2A, 0x2A, 0x2A }, .value = VPMU_ARMV8_VALUE, .selector = VPMU_ARMV8_SELECTOR,
	};
	struct vpmu_armv8_seen seen;

	(void)state;
	assert_null(vpmu_armv8_judge_el1(&good));
	for (unsigned int i = 0; i < VPMU_ARMV8_MASKS; i++) {
		for (unsigned int bit = 0; bit < 6; bit++) {
			seen = good;
			seen.left[i] ^= BIT(bit);
			assert_non_null(vpmu_armv8_judge_el1(&seen));
			seen = good;
			seen.set[i] ^= BIT(bit);
			assert_non_null(vpmu_armv8_judge_el1(&seen));
			seen = good;
			seen.cleared[i] ^= BIT(bit);
			assert_non_null(vpmu_armv8_judge_el1(&seen));
		}
	}
	for (seen = good; seen.trapped--;)
		assert_non_null(vpmu_armv8_judge_el1(&seen));
	seen = good;
	seen.value = 0;
	assert_non_null(vpmu_armv8_judge_el1(&seen));
	seen = good;
	seen.selector ^= 0x3F;
	assert_non_null(vpmu_armv8_judge_el1(&seen));
	seen = good;
	seen.pmcr = 6 << 11;
	assert_non_null(vpmu_armv8_judge_el1(&seen));
}

/* ---- What may be direct ---- */

static enum vpmu_reach_reason reason(enum model_class class, enum vpmu_mode mode, unsigned int n,
				     bool event)
{
	struct vpmu_host_event_config outside = counting(VPMU_SCOPE_HYPERVISOR);
	enum vpmu_reach_reason answer;
	struct bed b;

	power_on(&b, class, class, 1);
	if (event)
		assert_int_equal(watch(&b.cpus[0], 0, &outside), 0);
	add_guest(&b, 0, mode, VPMU_SWITCH_LAZY, n);
	load(&b.guests[0], &b.cpus[0]);
	answer = vpmu_vcpu_reach_reason(&b.guests[0].v);
	put(&b.guests[0]);
	return answer;
}

static void what_is_direct(void **state)
{
	static const struct {
		enum vpmu_mode mode;
		unsigned int n;
		bool event;
		enum vpmu_reach_reason enforced, advertised;
	} rows[] = {
		{ VPMU_MODE_MEDIATED, 6, false, VPMU_REACH_FINE_TRAPS, VPMU_REACH_FINE_TRAPS },
		{ VPMU_MODE_MEDIATED, 6, true, VPMU_REACH_SHARED, VPMU_REACH_SHARED },
		{ VPMU_MODE_MEDIATED, 4, false, VPMU_REACH_FINE_TRAPS, VPMU_REACH_SHAPE },
		{ VPMU_MODE_MEDIATED, 4, true, VPMU_REACH_FINE_TRAPS, VPMU_REACH_SHARED },
		{ VPMU_MODE_PARTITIONED, 6, false, VPMU_REACH_SHARED, VPMU_REACH_SHARED },
		{ VPMU_MODE_PARTITIONED, 4, false, VPMU_REACH_FINE_TRAPS, VPMU_REACH_SHARED },
		{ VPMU_MODE_PARTITIONED, 4, true, VPMU_REACH_FINE_TRAPS, VPMU_REACH_SHARED },
		{ VPMU_MODE_PARTITIONED, 0, true, VPMU_REACH_FINE_TRAPS, VPMU_REACH_SHARED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(reason(MODEL_P5_HPMN, rows[i].mode, rows[i].n, rows[i].event),
				 rows[i].enforced);
		assert_int_equal(reason(MODEL_P5_FGT, rows[i].mode, rows[i].n, rows[i].event),
				 rows[i].advertised);
		assert_int_equal(reason(MODEL_P5, rows[i].mode, rows[i].n, rows[i].event) ==
				 VPMU_REACH_FINE_TRAPS, 0);
	}
}

/* HPMN = 0 takes FEAT_HPMN0: without it a guest with the cycle counter alone has everything trapped. */
static void cycle_counter_alone(void **state)
{
	struct model_config config;
	struct bed b;

	(void)state;
	for (unsigned int hpmn0 = 0; hpmn0 < 2; hpmn0++) {
		struct part_guest *g = &b.guests[0];

		power_on(&b, MODEL_P5_HPMN, MODEL_P5_HPMN, 3);
		model_class_config(MODEL_P5_HPMN, &config);
		config.hpmn0 = hpmn0;
		model_pmu_reset(&b.cpus[0].pmu, &config, 5);
		bring_up(&b.cpus[0], 0);
		add_guest(&b, 0, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 0);
		load(g, &b.cpus[0]);
		assert_int_equal(vpmu_vcpu_reach_reason(&g->v),
				 hpmn0 ? VPMU_REACH_FINE_TRAPS : VPMU_REACH_SHAPE);
		enter(g);
		write_el1(g, MODEL_PMCNTENSET, UINT64_MAX);
		write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		happens(&b.cpus[0], 1, 1000);
		assert_int_equal(b.cpus[0].pmu.mdcr_el2 & 0x1F, hpmn0 ? 0 : 6);
		access(g, 1, MODEL_PMCR, false, 0);
		access(g, 1, MODEL_PMCNTENSET, false, 0);
		access(g, 1, MODEL_PMCCNTR, false, 0);
		access(g, 1, MODEL_PMEVCNTR(0), false, 0);
		leave(g);
		put(g);
	}
}

/* ---- B1 ---- */

/* All values that stop, clear, start and set, in all registers, at both levels; and each is looked at. */
static void attack(struct part_guest *g)
{
	static const uint64_t values[] = { UINT64_MAX, MODEL_PMCR_P | MODEL_PMCR_C | MODEL_PMCR_LC, 0, MODEL_PMCR_LC };
	struct vpmu_arm_reg_info info;

	for (size_t row = 0; vpmu_arm_reg_info(row, &info) == 0; row++) {
		for (unsigned int n = 0; info.offered && n < info.members; n++) {
			uint32_t reg = vpmu_arm_reg_member(info.reg, n);

			for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
				uint64_t value = values[k];

				/* D of the hardware is RES0 for the guest; its PMCR is direct. */
				if (reg == MODEL_PMCR)
					value = (value & ~(uint64_t)MODEL_PMCR_D) | MODEL_PMCR_LC;
				access(g, k % 2, reg, true, value);
				access(g, 1, reg, false, 0);
			}
		}
	}
}

static void attack_by_pointer(struct part_guest *g)
{
	for (unsigned int n = 0; n < 32; n++) {
		write_el1(g, MODEL_PMSELR, n);
		/* PMXEVCNTR with 31 is UNDEF here, and anything without FEAT_FGT (0002). */
		for (unsigned int k = 0; n < 31 && k < 2; k++)
			access(g, 1, MODEL_PMXEVCNTR, k, UINT32_MAX);
		access(g, 1, MODEL_PMXEVTYPER, true, MODEL_FILTER_U | 0x11);
		access(g, 1, MODEL_PMXEVTYPER, false, 0);
	}
}

static void hostile(enum model_class class, enum vpmu_mode mode, enum vpmu_switch_kind kind)
{
	struct vpmu_host_event_config watchdog = counting(VPMU_SCOPE_CPU);
	struct vpmu_host_event_config outside = counting(VPMU_SCOPE_CPU);
	struct part_cpu *c;
	struct part_guest *g;
	struct bed b;

	power_on(&b, class, class, 5);
	c = &b.cpus[0];
	g = &b.guests[0];
	outside.exclude_guest = true;
	watchdog.period = 1000;
	watchdog.watchdog = true;
	if (mode == VPMU_MODE_MEDIATED)
		watchdog = outside;
	assert_int_equal(watch(c, 0, &watchdog), 0);
	assert_int_equal(watch(c, 1, &outside), 0);
	add_guest(&b, 0, mode, kind, 3);
	load(g, c);
	enter(g);
	write_el1(g, MODEL_PMCNTENSET, UINT64_MAX);
	write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	write_el1(g, MODEL_PMEVCNTR(0), 1);
	for (unsigned int i = 0; i < 12; i++) {
		happens(c, 1, 457);
		attack(g);
		happens(c, 0, 40);
		leave(g);
		host_runs(c, 3);
		enter(g);
		attack_by_pointer(g);
	}
	leave(g);
	/* 5,964 inside, in pieces of no more than 457: each period is one sample, in the piece it ends in. */
	compare_event(c, 0);
	compare_event(c, 1);
	if (watchdog.period) {
		assert_int_equal(c->expected[0], 12 * 500);
		assert_int_equal(c->samples[0], 6);
	}
	assert_int_equal(c->expected[1], 12 * 3);
	put(g);
	unwatch(c, 0);
	unwatch(c, 1);
	at_the_end(c);
	assert_int_equal(b.direct > 0, class == MODEL_P5_HPMN);
}

static void hostile_guests(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		hostile(both[i % 2], VPMU_MODE_PARTITIONED, kinds[i / 2]);
		hostile(both[i % 2], VPMU_MODE_MEDIATED, kinds[i / 2]);
	}
}

/* ---- Cost ---- */

/* A guest that profiles itself beside the host's events: nothing at exits, and its data plane does not trap. */
static void costs_nothing(void **state)
{
	struct vpmu_host_event_config everywhere = counting(VPMU_SCOPE_CPU);
	struct vpmu_host_event_config inside = counting(VPMU_SCOPE_VM);
	struct bed b;
	struct part_cpu *c = &b.cpus[0];
	struct part_guest *g = &b.guests[0];
	uint64_t accesses;

	(void)state;
	power_on(&b, MODEL_P5_HPMN, MODEL_P5_HPMN, 7);
	add_guest(&b, 0, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4);
	inside.vm = &g->vm;
	assert_int_equal(watch(c, 0, &everywhere), 0);
	assert_int_equal(watch(c, 1, &inside), 0);
	load(g, c);
	enter(g);
	write_el1(g, MODEL_PMEVTYPER(0), INST_RETIRED);
	write_el1(g, MODEL_PMEVCNTR(0), 0);
	write_el1(g, MODEL_PMCNTENSET, 1);
	write_el1(g, MODEL_PMINTENSET, 1);
	write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	accesses = c->hw->accesses;
	b.trapped = 0;
	for (unsigned int i = 0; i < 200; i++) {
		write_el1(g, MODEL_PMCR, MODEL_PMCR_LC);
		write_el1(g, MODEL_PMOVSCLR, UINT64_MAX);
		write_el1(g, MODEL_PMEVCNTR(0), i);
		write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		happens(c, 1, 10);
		access(g, 1, MODEL_PMEVCNTR(0), false, 0);
		leave(g);
		host_runs(c, 1);
		enter(g);
	}
	assert_int_equal(c->hw->accesses, accesses);
	assert_int_equal(b.trapped, 0);
	leave(g);
	put(g);
	unwatch(c, 0);
	at_the_end(c);
	unwatch(c, 1);
}

/* ---- A host event that changes between E and HPME ---- */

/* Its overflow is asked for while the guest comes and goes: the line stays up, and the sample is one. */
static void pending_across_switches(void **state)
{
	struct vpmu_host_event_config everywhere = counting(VPMU_SCOPE_CPU);
	struct bed b;
	struct part_cpu *c = &b.cpus[0];
	struct part_guest *g = &b.guests[0];

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		power_on(&b, both[k], both[k], 9);
		add_guest(&b, 0, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 2);
		everywhere.period = 100;
		assert_int_equal(watch(c, 0, &everywhere), 0);
		load(g, c);
		enter(g);
		write_el1(g, MODEL_PMCNTENSET, 1);
		write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		happens(c, 1, 60);
		leave(g);
		happens(c, 2, 40);
		assert_true(model_interrupt(&c->pmu));
		put(g);
		assert_true(model_interrupt(&c->pmu));
		load(g, c);
		assert_true(model_interrupt(&c->pmu));
		assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
		assert_true(model_interrupt(&c->pmu));
		assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
		assert_int_equal(vpmu_cpu_pmi(&c->cpu), VPMU_PMI_HOST);
		assert_false(model_interrupt(&c->pmu));
		take_samples(c);
		assert_int_equal(c->samples[0], 1);
		put(g);
		unwatch(c, 0);
		at_the_end(c);
	}
}

/* Host events on counters that the guest is going to get move to others, and lose nothing. */
static void makes_room(void **state)
{
	struct vpmu_host_event_config everywhere = counting(VPMU_SCOPE_CPU);
	struct bed b;
	struct part_cpu *c = &b.cpus[0];
	struct part_guest *g = &b.guests[0];
	struct vpmu_host_event fill[4];
	const struct vpmu_host_event_config other = counting(VPMU_SCOPE_HYPERVISOR);

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		power_on(&b, both[k], both[k], 11);
		add_guest(&b, 0, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 4);
		c->host_works = true;
		/* They take 5 to 2, the event gets 1. */
		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(vpmu_host_event_create(&fill[i], &b.machine, on(c), &other), 0);
		assert_int_equal(watch(c, 0, &everywhere), 0);
		c->host_works = true;
		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(vpmu_host_event_destroy(&fill[i]), 0);
		c->host_works = false;
		assert_int_equal(c->event[0].counter, 1);
		happens(c, 2, 10);
		load(g, c);
		assert_in_range(c->event[0].counter, 4, 5);
		enter(g);
		write_el1(g, MODEL_PMCNTENSET, 1);
		write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		happens(c, 1, 10);
		access(g, 1, MODEL_PMEVCNTR(1), false, 0);
		leave(g);
		put(g);
		unwatch(c, 0);
		at_the_end(c);
	}
}

/* A host with a PMU driver of its own finds all counters under PMCR.E after a reclaim and after a put (V7). */
static void driver_finds_all_counters(void **state)
{
	struct bed b;
	struct part_cpu *c = &b.cpus[0];
	struct part_guest *g = &b.guests[0];

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		power_on(&b, both[k % 2], both[k % 2], 13);
		add_guest(&b, 0, VPMU_MODE_MEDIATED, kinds[k / 2], 2);
		load(g, c);
		for (unsigned int i = 0; i < 2; i++) {
			uint64_t go = MODEL_PMCR_E | MODEL_PMCR_LC, all = 0x3F;

			enter(g);
			write_el1(g, MODEL_PMCNTENSET, 3);
			write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
			leave(g);
			if (i)
				put(g);
			assert_int_equal(vpmu_cpu_reclaim(on(c), all), 0);
			assert_true(model_el2_access(&c->pmu, MODEL_PMCNTENSET, true, &all));
			assert_true(model_el2_access(&c->pmu, MODEL_PMCR, true, &go));
			for (unsigned int n = 0; n < 6; n++) {
				uint64_t selector = MODEL_FILTER_NSH | MEM_ACCESS;

				assert_true(model_el2_access(&c->pmu, MODEL_PMEVTYPER(n), true, &selector));
				assert_true(model_counts(&c->pmu, n, 2));
			}
			go = MODEL_PMCR_LC;
			assert_true(model_el2_access(&c->pmu, MODEL_PMCR, true, &go));
			assert_true(model_el2_access(&c->pmu, MODEL_PMCNTENCLR, true, &all));
		}
	}
}

/* ---- Random schedules ---- */

static void random_event_of_host(struct part_cpu *c, unsigned int i)
{
	struct bed *b = c->bed;
	struct part_guest *g = &b->guests[rng_below(&b->rng, VMS)];
	struct vpmu_host_event_config config = counting((enum vpmu_host_scope)rng_below(&b->rng, 4));

	config.vm = &g->vm;
	config.vcpu = &g->v;
	config.user = rng_one_in(&b->rng, 2);
	config.kernel = !config.user || rng_one_in(&b->rng, 2);
	config.exclude_guest = config.scope == VPMU_SCOPE_CPU;
	config.period = rng_one_in(&b->rng, 2) ? 200 + rng_below(&b->rng, 1000) : 0;
	if (g->vm.mode == VPMU_MODE_MEDIATED && config.scope != VPMU_SCOPE_CPU &&
	    config.scope != VPMU_SCOPE_HYPERVISOR)
		assert_int_equal(watch(c, i, &config), VPMU_ERR_BUSY);
	else
		assert_int_equal(watch(c, i, &config), 0);
}

static uint64_t random_value(struct rng *rng, uint32_t reg)
{
	bool typer = (reg & ~VPMU_ARM_SYSREG(0, 0, 0, 3, 7)) == MODEL_PMEVTYPER(0);
	static const uint32_t events[] = { 0, INST_RETIRED, 0x11, MEM_ACCESS, 0x1B, 0x1E };

	if (typer || reg == MODEL_PMXEVTYPER)
		return events[rng_below(rng, ARRAY_SIZE(events))] | (rng_next(rng) & 0xC0000000);
	if (reg == MODEL_PMCR)
		return (rng_next(rng) & 0xA7) | MODEL_PMCR_LC;
	return rng_value(rng);
}

/* It falls quiet, and two looks notice it (A1). One exit does for the eager switch. */
static void rest(struct part_guest *g)
{
	unsigned int exits = g->bed->lazy ? 2 * VPMU_LOOK_INTERVAL : 1;

	write_el1(g, MODEL_PMCNTENCLR, UINT64_MAX);
	write_el1(g, MODEL_PMOVSCLR, UINT64_MAX);
	do {
		leave(g);
		enter(g);
	} while (--exits && vpmu_cpu_nmi_owner(&g->cpu->cpu) == VPMU_OWNER_LIVE);
}

static void guest_step(struct part_guest *g)
{
	struct rng *rng = &g->bed->rng;
	uint32_t reg;

	switch (rng_below(rng, 8)) {
	case 0: case 1:
		happens(g->cpu, rng_one_in(rng, 3) ? 0 : 1, rng_below(rng, 100));
		leave(g);
		break;
	case 2:
		if (rng_one_in(rng, 4))
			rest(g);
		break;
	case 3:
		write_el1(g, MODEL_PMCNTENSET, rng_next(rng));
		write_el1(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		break;
	default:
		reg = rng_register(rng);
		access(g, rng_one_in(rng, 6) ? 0 : 1, reg, rng_one_in(rng, 2), random_value(rng, reg));
	}
}

static void host_step(struct part_cpu *c)
{
	struct rng *rng = &c->bed->rng;
	unsigned int i = (unsigned int)rng_below(rng, EVENTS);

	switch (rng_below(rng, 4)) {
	case 0:
		if (c->lives[i])
			unwatch(c, i);
		else
			random_event_of_host(c, i);
		break;
	case 1:
		assert_int_equal(vpmu_cpu_reclaim(on(c), 0), 0);
		break;
	case 2:
		if (c->lives[i])
			compare_event(c, i);
		break;
	default:
		host_runs(c, rng_below(rng, 100));
	}
}

/* What the guest has is what its bare machine has. */
static void compare_guest(struct part_guest *g)
{
	struct vpmu_state s;

	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	for (unsigned int i = 0; i < g->model.counters; i++)
		assert_int_equal(s.value[i], g->bare.pmevcntr[i]);
	assert_int_equal(s.value[CYCLE], g->bare.pmccntr);
	assert_int_equal(s.enabled, g->bare.pmcnten);
	assert_int_equal(s.interrupts, g->bare.pminten);
	assert_int_equal(s.status, g->bare.pmovs);
}

static void step(struct bed *b)
{
	struct part_guest *g = &b->guests[rng_below(&b->rng, VMS)];
	struct part_cpu *c = &b->cpus[rng_below(&b->rng, CPUS)];

	if (g->in_guest) {
		guest_step(g);
	} else if (rng_one_in(&b->rng, 3)) {
		if (!c->loaded || !c->loaded->in_guest)
			host_step(c);
	} else if (g->cpu) {
		if (rng_one_in(&b->rng, 3)) {
			put(g);
			compare_guest(g);
		} else {
			enter(g);
		}
	} else if (!c->loaded) {
		load(g, c);
	}
}

/* Two partitions, one with all but the cycle counter taken away, and a mediated guest with fewer counters. */
static void populate(struct bed *b, enum model_class first, enum model_class second,
		     enum vpmu_switch_kind kind, uint64_t seed)
{
	power_on(b, first, second, seed);
	b->lazy = kind == VPMU_SWITCH_LAZY;
	add_guest(b, 0, VPMU_MODE_PARTITIONED, kind, 2);
	add_guest(b, 1, VPMU_MODE_PARTITIONED, kind, 4);
	add_guest(b, 2, VPMU_MODE_MEDIATED, kind, 3);
	add_guest(b, 3, VPMU_MODE_PARTITIONED, kind, 0);
}

static void random_schedules(void **state)
{
	static const enum model_class pairs[][CPUS] = {
		{ MODEL_P5_HPMN, MODEL_P5_HPMN },
		{ MODEL_P5_FGT, MODEL_P5_FGT },
		{ MODEL_P5_HPMN, MODEL_P5_FGT },
	};
	struct bed lazy, eager;

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(pairs); p++) {
		for (uint64_t seed = 1; seed <= 4; seed++) {
			populate(&lazy, pairs[p][0], pairs[p][1], VPMU_SWITCH_LAZY, seed);
			populate(&eager, pairs[p][0], pairs[p][1], VPMU_SWITCH_EAGER, seed);
			for (unsigned int i = 0; i < 40000; i++) {
				step(&lazy);
				step(&eager);
				assert_int_equal(lazy.trace, eager.trace);
			}
			print_message("# direct %llu, trapped %llu\n", (unsigned long long)lazy.direct,
				      (unsigned long long)lazy.trapped);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probe),
		cmocka_unit_test(probe_finds_each_hole),
		cmocka_unit_test(judge_masks),
		cmocka_unit_test(what_is_direct),
		cmocka_unit_test(cycle_counter_alone),
		cmocka_unit_test(hostile_guests),
		cmocka_unit_test(costs_nothing),
		cmocka_unit_test(pending_across_switches),
		cmocka_unit_test(makes_room),
		cmocka_unit_test(driver_finds_all_counters),
		cmocka_unit_test(random_schedules),
	};

	int failed = cmocka_run_group_tests_name("model", tests, NULL, NULL);

	with_armv8 = true;
	return failed + cmocka_run_group_tests_name("armv8", tests, NULL, NULL);
}
