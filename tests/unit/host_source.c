/* SPDX-License-Identifier: MIT */
/*
 * sources/host: emulated guests that count on host events, beside partitioned guests and events of the
 * host's own.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/arm.h>

#include "host_source.h"
#include "support.h"
#include "x86_cpu.h"

#include <vpmu/x86.h>

#define INST_RETIRED 0x08u
#define CPU_CYCLES 0x11u
#define ARM_EVENT_BITS 0xFFFFu
#define CPUS 2u

struct bed {
	struct model_config config;
	struct model_pmu pmu[CPUS];
	struct model_hw hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine machine;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_host_source source;
	unsigned int at;             /* where v is loaded */
};

static void power_on(struct bed *b, enum model_class class, uint32_t counters)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };

	*b = (struct bed){ .at = 0 };
	model_class_config(class, &b->config);
	vpmu_machine_init(&b->machine);
	for (unsigned int i = 0; i < CPUS; i++) {
		model_pmu_reset(&b->pmu[i], &b->config, 1 + i);
		model_hw_init(&b->hw[i], &b->pmu[i]);
		vpmu_machine_add(&b->machine, &b->hw[i].hw.caps);
		assert_int_equal(vpmu_cpu_init(&b->cpu[i], i, &b->hw[i].hw), 0);
	}
	assert_int_equal(vpmu_arm_model_of(&b->machine, &b->model), 0);
	b->model.counters = counters;
	assert_int_equal(vpmu_arm_vm_init(&b->vm, &b->machine, &b->model, &config), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	vpmu_host_source_init(&b->source, &b->machine, &b->v, ARM_EVENT_BITS);
	assert_int_equal(vpmu_vcpu_attach(&b->v, &b->emulated, &b->source.source), 0);
}

static void load(struct bed *b, unsigned int cpu)
{
	b->at = cpu;
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu[cpu]), 0);
	vpmu_host_source_load(&b->source, &b->cpu[cpu]);
}

static void put(struct bed *b)
{
	vpmu_host_source_put(&b->source);
	assert_null(b->cpu[b->at].events);
	assert_int_equal(vpmu_vcpu_put(&b->v), 0);
}

static uint64_t trap(struct bed *b, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };

	assert_int_equal(vpmu_arm_access(&b->v, &access), VPMU_HANDLED);
	return access.value;
}

static void guest_counts(struct bed *b, unsigned int i, uint64_t selector)
{
	trap(b, i == 31 ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i), true, selector);
	trap(b, MODEL_PMCNTENSET, true, BIT(i));
	trap(b, MODEL_PMCR, true, MODEL_PMCR_E);
}

static void runs(struct bed *b, unsigned int el, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = 2 * n };

	model_retire(&b->pmu[b->at], el, &events);
	for (unsigned int i = 0; i < CPUS; i++)
		b->hw[i].time += n;
}

static void enter(struct bed *b)
{
	while (vpmu_vcpu_enter(&b->v, 0) == VPMU_AGAIN)
		;
	b->hw[b->at].guest_runs = true;
}

static void leave(struct bed *b)
{
	b->hw[b->at].guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void guest_runs(struct bed *b, unsigned int el, uint64_t n)
{
	enter(b);
	runs(b, el, n);
	leave(b);
}

/* The overflow interrupt is an exit. returns: whether it was one of the host's events. */
static bool interrupt(struct bed *b)
{
	struct vpmu_cpu *cpu = &b->cpu[b->at];
	struct vpmu_host_event *e;

	assert_int_equal(vpmu_cpu_pmi(cpu), VPMU_PMI_HOST);
	while ((e = vpmu_cpu_sample(cpu)) != NULL)
		if (!vpmu_host_source_sample(&b->source, e))
			return true;
	return false;
}

static void at_the_end(struct bed *b)
{
	assert_int_equal(vpmu_vcpu_detach(&b->v), 0);
	for (unsigned int i = 0; i < CPUS; i++) {
		if (b->hw[i].violations)
			print_error("%s\n", b->hw[i].violation);
		assert_int_equal(b->hw[i].violations, 0);
		assert_null(b->cpu[i].events);
		assert_int_equal(b->cpu[i].host_counters, 0);
		assert_int_equal(b->pmu[i].pmcnten | b->pmu[i].pminten | b->pmu[i].pmovs, 0);
	}
}

/* In the rings it asks for, and nothing of EL2; the count goes with the guest from CPU to CPU. */
static void counts_across_cpus(void **state)
{
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class, 5);
		load(&b, 0);
		guest_counts(&b, 0, INST_RETIRED);
		guest_counts(&b, 1, INST_RETIRED | MODEL_FILTER_P);
		guest_counts(&b, 31, MODEL_FILTER_U);
		for (unsigned int i = 0; i < 10; i++) {
			guest_runs(&b, 1, 100);
			runs(&b, 2, 1000);
			guest_runs(&b, 0, 3);
			put(&b);
			runs(&b, 1, 7);
			load(&b, i % CPUS);
		}
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 1030);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(1), false, 0), 30);
		assert_int_equal(trap(&b, MODEL_PMCCNTR, false, 0), 2000);
		put(&b);
		at_the_end(&b);
	}
}

static void overflows(void **state)
{
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class, 5);
		load(&b, 0);
		trap(&b, MODEL_PMINTENSET, true, 1);
		guest_counts(&b, 0, INST_RETIRED);
		trap(&b, MODEL_PMEVCNTR(0), true, 0xFFFFFFFF - 99);
		guest_runs(&b, 1, 99);
		assert_false(model_interrupt(&b.pmu[0]));
		put(&b);
		load(&b, 1);
		enter(&b);
		runs(&b, 0, 1);
		assert_true(model_interrupt(&b.pmu[1]));
		leave(&b);
		assert_false(interrupt(&b));
		assert_false(model_interrupt(&b.pmu[1]));
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 1);
		assert_int_equal((uint32_t)trap(&b, MODEL_PMEVCNTR(0), false, 0), 0);
		trap(&b, MODEL_PMOVSCLR, true, 1);
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 0);
		put(&b);
		at_the_end(&b);
	}
}

/* A hint farther away than a host event's period is reached in steps, across CPUs too. */
static void far_overflow(void **state)
{
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class, 5);
		load(&b, 0);
		trap(&b, MODEL_PMINTENSET, true, 1);
		guest_counts(&b, 0, INST_RETIRED);
		guest_runs(&b, 1, 100);
		guest_runs(&b, 1, (1u << 30) - 100);
		put(&b);
		load(&b, 1);
		guest_runs(&b, 1, 1u << 31);
		assert_true(model_interrupt(&b.pmu[1]));
		assert_false(interrupt(&b));
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 0);
		guest_runs(&b, 1, (1u << 30) - 1);
		assert_false(model_interrupt(&b.pmu[1]));
		guest_runs(&b, 1, 1);
		assert_true(model_interrupt(&b.pmu[1]));
		assert_false(interrupt(&b));
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 1);
		put(&b);
		at_the_end(&b);
	}
}

static enum vpmu_counter_state state_of(struct bed *b, unsigned int i)
{
	struct vpmu_counter_status status;

	assert_int_equal(vpmu_vcpu_counter(&b->v, i, &status), 0);
	return status.state;
}

/* The host has all counters of one CPU: the guest's starve there, say so, and go on when one is free. */
static void waits_for_a_counter(void **state)
{
	struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = INST_RETIRED,
		.user = true, .kernel = true, .pinned = true,
	};
	struct vpmu_host_event e[6];
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class, 5);
		for (unsigned int i = 0; i < 6; i++)
			assert_int_equal(vpmu_host_event_create(&e[i], &b.machine, &b.cpu[1], &config), 0);
		load(&b, 0);
		guest_counts(&b, 0, INST_RETIRED);
		guest_runs(&b, 1, 10);
		assert_int_equal(state_of(&b, 0), VPMU_COUNTER_COUNTING);
		vpmu_host_source_put(&b.source);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		load(&b, 1);
		guest_runs(&b, 1, 1000);
		assert_int_equal(state_of(&b, 0), VPMU_COUNTER_STARVED);
		/* One that is asked for there is refused, and tried again at the next enter. */
		guest_counts(&b, 1, INST_RETIRED);
		guest_runs(&b, 1, 1000);
		assert_int_equal(state_of(&b, 1), VPMU_COUNTER_STARVED);
		assert_int_equal(vpmu_host_event_destroy(&e[0]), 0);
		assert_int_equal(vpmu_host_event_destroy(&e[1]), 0);
		guest_runs(&b, 1, 5);
		guest_runs(&b, 1, 2);
		assert_int_equal(state_of(&b, 1), VPMU_COUNTER_COUNTING);
		assert_int_equal((uint32_t)trap(&b, MODEL_PMEVCNTR(0), false, 0), 17);
		assert_int_equal((uint32_t)trap(&b, MODEL_PMEVCNTR(1), false, 0), 7);
		for (unsigned int i = 2; i < 6; i++)
			assert_int_equal(vpmu_host_event_destroy(&e[i]), 0);
		put(&b);
		at_the_end(&b);
	}
}

/* On a CPU without counters for the host it counts nothing, and says so. */
static void starves_without_counters(void **state)
{
	struct bed b;

	(void)state;
	power_on(&b, MODEL_P5, 5);
	b.hw[1].hw.caps.host_counters = 0;
	load(&b, 0);
	guest_counts(&b, 0, INST_RETIRED);
	guest_runs(&b, 1, 10);
	put(&b);
	load(&b, 1);
	guest_runs(&b, 1, 1000);
	assert_int_equal(state_of(&b, 0), VPMU_COUNTER_STARVED);
	put(&b);
	load(&b, 0);
	/* What was lost stays said until the guest asks for something else. */
	guest_runs(&b, 1, 1);
	assert_int_equal(state_of(&b, 0), VPMU_COUNTER_STARVED);
	assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 11);
	guest_counts(&b, 0, INST_RETIRED | MODEL_FILTER_U);
	guest_runs(&b, 1, 1);
	assert_int_equal(state_of(&b, 0), VPMU_COUNTER_COUNTING);
	assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 12);
	put(&b);
	at_the_end(&b);
}

/* What the host's events cannot count is not supported: said, and never made. */
static void unsupported_bits(void **state)
{
	const struct vpmu_event plain = { .selector = 0xC0, .user = true };
	const struct vpmu_event edge = { .selector = 0xC0 | 1u << 18, .user = true };
	const struct vpmu_event checkpointed = { .selector = 0xC0, .user = true, .checkpointed = true };
	struct bed b;

	(void)state;
	power_on(&b, MODEL_P5, 5);
	assert_true(b.source.source.ops->supports(&b.source.source, &plain));
	assert_false(b.source.source.ops->supports(&b.source.source, &edge));
	assert_false(b.source.source.ops->supports(&b.source.source, &checkpointed));
	/* Nowhere loaded, nothing counts. */
	assert_int_equal(b.source.source.ops->create(&b.source.source, 0, &plain), -1);
	at_the_end(&b);
}

/* ---- Random schedules against a bare machine ---- */

#define GUESTS 3u
#define HOST_EVENTS 4u
#define STEPS 1000000u
#define NOWHERE CPUS

/* A guest CPU, and the PMU that it would have on a bare machine. */
struct guest {
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_host_source source;
	struct model_pmu bare;
	bool is_emulated;
	unsigned int at;             /* the CPU where it is loaded, or NOWHERE */
	bool runs;
	bool late;                   /* the bare line rose, and this one's did not */
};

/* An event of the host's own, and what it should have counted if it is pinned. */
struct own {
	struct vpmu_host_event event;
	bool exists;
	unsigned int at;
	uint64_t expected;
};

struct world {
	struct rng rng;
	struct model_config config;
	struct model_pmu pmu[CPUS];
	struct model_hw hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine machine;
	struct guest guest[GUESTS];
	struct own own[HOST_EVENTS];
	uint64_t starved, overflows, moves, refused, exact;
};

static void init_guest(struct world *w, struct guest *g, enum vpmu_mode mode, uint32_t counters)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = mode };
	struct model_config bare = w->config;

	g->at = NOWHERE;
	g->is_emulated = mode == VPMU_MODE_EMULATED;
	assert_int_equal(vpmu_arm_model_of(&w->machine, &g->model), 0);
	g->model.counters = counters;
	assert_int_equal(vpmu_arm_vm_init(&g->vm, &w->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
	bare.counters = counters;
	bare.el3 = bare.aarch32 = bare.fgt = false;
	bare.no_el2 = true;
	model_pmu_reset(&g->bare, &bare, 0);
	if (!g->is_emulated)
		return;
	vpmu_host_source_init(&g->source, &w->machine, &g->v, ARM_EVENT_BITS);
	assert_int_equal(vpmu_vcpu_attach(&g->v, &g->emulated, &g->source.source), 0);
}

static void init_world(struct world *w, enum model_class class, uint64_t seed)
{
	*w = (struct world){ .rng = { seed } };
	model_class_config(class, &w->config);
	vpmu_machine_init(&w->machine);
	for (unsigned int i = 0; i < CPUS; i++) {
		model_pmu_reset(&w->pmu[i], &w->config, 1 + i);
		model_hw_init(&w->hw[i], &w->pmu[i]);
		vpmu_machine_add(&w->machine, &w->hw[i].hw.caps);
		assert_int_equal(vpmu_cpu_init(&w->cpu[i], i, &w->hw[i].hw), 0);
	}
	init_guest(w, &w->guest[0], VPMU_MODE_EMULATED, 5);
	init_guest(w, &w->guest[1], VPMU_MODE_EMULATED, 6);
	init_guest(w, &w->guest[2], VPMU_MODE_PARTITIONED, 3);
}

static struct guest *guest_on(struct world *w, unsigned int cpu)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		if (w->guest[i].at == cpu)
			return &w->guest[i];
	return NULL;
}

/* ---- What executes ---- */

static void host_expects(struct world *w, unsigned int cpu, unsigned int el, uint64_t n)
{
	for (unsigned int i = 0; i < HOST_EVENTS; i++) {
		struct own *o = &w->own[i];
		bool inside = o->event.config.scope == VPMU_SCOPE_CPU && !o->event.config.exclude_guest;

		if (o->exists && o->at == cpu && (el == 2 || inside))
			o->expected += n;
	}
}

static void executes(struct world *w, unsigned int cpu, unsigned int el, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = 3 * n };
	struct guest *g = guest_on(w, cpu);

	model_retire(&w->pmu[cpu], el, &events);
	if (el < 2)
		model_retire(&g->bare, el, &events);
	host_expects(w, cpu, el, n);
	w->hw[cpu].time += n;
}

/* ---- Boundary ---- */

/* Nothing differs but what says that it is starved; from then on the bare machine is told. */
static void excuse_starved(struct world *w, struct guest *g)
{
	uint64_t starved = 0, all;
	struct vpmu_state state;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		struct vpmu_counter_status status;

		assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
		starved |= status.state == VPMU_COUNTER_STARVED ? BIT(i) : 0;
	}
	if (!starved)
		return;
	w->starved++;
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &state), 0);
	all = (starved | starved << 1) & g->vm.counters;
	for (unsigned int i = 0; i < g->model.counters; i++)
		if (all & BIT(i))
			g->bare.pmevcntr[i] = state.value[i];
	if (all & CYCLE_BIT)
		g->bare.pmccntr = state.value[CYCLE];
	g->bare.pmovs = (g->bare.pmovs & ~all) | (state.status & all);
	g->late = false;
}

/* Whose was the interrupt? Events of the host's own are drained too. */
static void take_interrupt(struct world *w, unsigned int cpu)
{
	struct guest *g = guest_on(w, cpu);
	struct vpmu_host_event *e;

	(void)vpmu_cpu_pmi(&w->cpu[cpu]);
	while ((e = vpmu_cpu_sample(&w->cpu[cpu])) != NULL)
		if (g && g->is_emulated)
			w->overflows += vpmu_host_source_sample(&g->source, e);
	if (!g || g->is_emulated)
		assert_false(model_interrupt(&w->pmu[cpu]));
}

static void check_line(struct guest *g)
{
	assert_false(g->late);
	assert_int_equal(vpmu_vcpu_interrupt(&g->v), model_interrupt(&g->bare));
}

static void goes_out(struct world *w, struct guest *g)
{
	if (!g->runs)
		return;
	w->hw[g->at].guest_runs = false;
	g->runs = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	excuse_starved(w, g);
	if (model_interrupt(&w->pmu[g->at]))
		take_interrupt(w, g->at);
	check_line(g);
}

static void goes_in(struct world *w, struct guest *g)
{
	int answer;

	if (g->runs || g->at == NOWHERE)
		return;
	do {
		answer = vpmu_vcpu_enter(&g->v, 0);
	} while (answer == VPMU_AGAIN);
	assert_int_equal(answer, 0);
	w->hw[g->at].guest_runs = true;
	g->runs = true;
}

/* An overflow shows with the event that caused it; what shows too early is an exit and nothing else. */
static void guest_executes(struct world *w, struct guest *g)
{
	bool before = model_interrupt(&g->bare);

	goes_in(w, g);
	if (!g->runs)
		return;
	executes(w, g->at, (unsigned int)rng_below(&w->rng, 2),
		 rng_one_in(&w->rng, 3) ? 1 : 1 + rng_below(&w->rng, 60));
	if (model_interrupt(&w->pmu[g->at])) {
		goes_out(w, g);
		return;
	}
	g->late = !before && model_interrupt(&g->bare);
	if (g->late)
		goes_out(w, g);
}

/* ---- Residency ---- */

static void loads(struct world *w, struct guest *g)
{
	unsigned int cpu = (unsigned int)rng_below(&w->rng, CPUS);

	if (g->at != NOWHERE || guest_on(w, cpu))
		return;
	assert_int_equal(vpmu_vcpu_load(&g->v, &w->cpu[cpu]), 0);
	if (g->is_emulated)
		vpmu_host_source_load(&g->source, &w->cpu[cpu]);
	g->at = cpu;
	w->moves++;
}

static void is_put(struct world *w, struct guest *g)
{
	if (g->at == NOWHERE)
		return;
	goes_out(w, g);
	if (g->is_emulated)
		vpmu_host_source_put(&g->source);
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	g->at = NOWHERE;
	check_line(g);
}

/* ---- What the guest asks for ---- */

/* CHAIN without a filter: in which ring an emulated counter overflowed, nobody knows. */
static uint64_t any_selector(struct world *w)
{
	static const uint64_t events[] = {
		MODEL_EVENT_SW_INCR, INST_RETIRED, INST_RETIRED, CPU_CYCLES, CPU_CYCLES,
	};

	if (rng_one_in(&w->rng, 6))
		return MODEL_EVENT_CHAIN;
	return events[rng_below(&w->rng, ARRAY_SIZE(events))] |
	       (rng_next(&w->rng) & (MODEL_FILTER_P | MODEL_FILTER_U));
}

/* Close to the overflow, mostly. */
static uint64_t any_value(struct world *w)
{
	uint64_t near = 0 - (uint64_t)1 - rng_below(&w->rng, 300);

	switch (rng_below(&w->rng, 4)) {
	case 0:
		return near;
	case 1:
		return near & UINT32_MAX;
	case 2:
		return rng_below(&w->rng, 1000);
	default:
		return rng_next(&w->rng);
	}
}

static void access_both(struct world *w, struct guest *g, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };
	enum model_result result;

	goes_out(w, g);
	result = model_guest_access(&g->bare, 1, reg, write, &value);
	assert_int_equal(vpmu_arm_access(&g->v, &access),
			 result == MODEL_EXECUTED ? VPMU_HANDLED : VPMU_FAULT_UNDEF);
	if (!write && result == MODEL_EXECUTED)
		assert_int_equal(access.value, value);
	check_line(g);
}

static void accesses(struct world *w, struct guest *g)
{
	static const uint32_t masks[] = {
		MODEL_PMCNTENSET, MODEL_PMCNTENSET, MODEL_PMCNTENCLR, MODEL_PMINTENSET, MODEL_PMINTENSET,
		MODEL_PMINTENCLR, MODEL_PMOVSCLR, MODEL_PMOVSCLR, MODEL_PMOVSSET, MODEL_PMSWINC,
	};
	unsigned int n = (unsigned int)rng_below(&w->rng, g->model.counters);

	switch (rng_below(&w->rng, 12)) {
	case 0:
	case 1:
		access_both(w, g, MODEL_PMEVTYPER(n), true, any_selector(w));
		break;
	case 2:
		access_both(w, g, MODEL_PMCCFILTR, true,
			    rng_next(&w->rng) & (MODEL_FILTER_P | MODEL_FILTER_U));
		break;
	case 3:
	case 4:
		access_both(w, g, MODEL_PMEVCNTR(n), true, any_value(w));
		break;
	case 5:
		access_both(w, g, MODEL_PMCCNTR, true, any_value(w));
		break;
	case 6:
		access_both(w, g, MODEL_PMCR, true, (rng_one_in(&w->rng, 6) ? 0 : MODEL_PMCR_E) |
			    (rng_one_in(&w->rng, 3) ? MODEL_PMCR_LP : 0) |
			    (rng_one_in(&w->rng, 9) ? MODEL_PMCR_P : 0) |
			    (rng_one_in(&w->rng, 9) ? MODEL_PMCR_C : 0));
		break;
	case 7:
		access_both(w, g, MODEL_PMEVCNTR(n), false, 0);
		access_both(w, g, MODEL_PMCCNTR, false, 0);
		access_both(w, g, MODEL_PMOVSSET, false, 0);
		break;
	default:
		access_both(w, g, masks[rng_below(&w->rng, ARRAY_SIZE(masks))], true, rng_next(&w->rng));
	}
}

static void compares(struct world *w, struct guest *g)
{
	struct vpmu_state state;

	goes_out(w, g);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &state), 0);
	for (unsigned int i = 0; i < g->model.counters; i++) {
		assert_int_equal(state.value[i], g->bare.pmevcntr[i]);
		assert_int_equal(state.selector[i], g->bare.pmevtyper[i]);
	}
	assert_int_equal(state.value[CYCLE], g->bare.pmccntr);
	assert_int_equal(state.status, g->bare.pmovs);
	if (g->at == NOWHERE)
		assert_int_equal(vpmu_vcpu_set_state(&g->v, &state), 0);
}

/* ---- The host's own ---- */

static void own_ends(struct world *w, struct own *o)
{
	struct vpmu_count count;
	struct guest *g = guest_on(w, o->at);

	if (g)
		goes_out(w, g);
	assert_int_equal(vpmu_host_event_read(&o->event, &count), 0);
	/* A partitioned guest that comes later takes its counters, a pinned event's too, which says so. */
	if (count.enabled == count.running) {
		assert_int_equal(count.value, o->expected);
		w->exact++;
	} else {
		assert_in_range(count.value, 0, o->expected);
	}
	assert_int_equal(vpmu_host_event_destroy(&o->event), 0);
	o->exists = false;
}

static void own_begins(struct world *w, struct own *o)
{
	struct vpmu_host_event_config config = {
		.size = sizeof(config),
		.scope = rng_one_in(&w->rng, 3) ? VPMU_SCOPE_HYPERVISOR : VPMU_SCOPE_CPU,
		.event = INST_RETIRED, .user = true, .kernel = true,
		.exclude_guest = rng_one_in(&w->rng, 2),
		.pinned = rng_one_in(&w->rng, 2),
		.period = rng_one_in(&w->rng, 2) ? 0 : 1 + rng_below(&w->rng, 5000),
	};
	struct guest *g;
	int answer;

	o->at = (unsigned int)rng_below(&w->rng, CPUS);
	o->expected = 0;
	g = guest_on(w, o->at);
	if (g)
		goes_out(w, g);
	answer = vpmu_host_event_create(&o->event, &w->machine, &w->cpu[o->at], &config);
	o->exists = answer == 0;
	if (!o->exists) {
		assert_true(answer == VPMU_ERR_BUSY && config.pinned);
		w->refused++;
	}
}

static void host_acts(struct world *w)
{
	unsigned int cpu = (unsigned int)rng_below(&w->rng, CPUS);
	struct own *o = &w->own[rng_below(&w->rng, HOST_EVENTS)];
	struct guest *g = guest_on(w, cpu);

	if (g)
		goes_out(w, g);
	switch (rng_below(&w->rng, 6)) {
	case 0:
		if (o->exists)
			own_ends(w, o);
		else
			own_begins(w, o);
		break;
	case 1:
		assert_int_equal(vpmu_cpu_rotate(&w->cpu[cpu]), 0);
		break;
	default:
		executes(w, cpu, 2, 1 + rng_below(&w->rng, 100));
		if (model_interrupt(&w->pmu[cpu]))
			take_interrupt(w, cpu);
	}
}

static void step(struct world *w)
{
	struct guest *g = &w->guest[rng_below(&w->rng, GUESTS)];

	switch (rng_below(&w->rng, 16)) {
	case 0:
		loads(w, g);
		break;
	case 1:
		if (rng_one_in(&w->rng, 3))
			is_put(w, g);
		break;
	case 2:
		host_acts(w);
		break;
	case 3:
		compares(w, g);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		accesses(w, g);
		break;
	default:
		guest_executes(w, g);
	}
}

/* Every event that was made is gone, and nothing of it is in the hardware. */
static void world_ends(struct world *w)
{
	for (unsigned int i = 0; i < GUESTS; i++) {
		struct guest *g = &w->guest[i];

		compares(w, g);
		is_put(w, g);
		compares(w, g);
		assert_int_equal(vpmu_vcpu_detach(&g->v), 0);
		assert_int_equal(g->source.counting | g->source.living, 0);
		vpmu_vm_end(&g->vm);
	}
	for (unsigned int i = 0; i < HOST_EVENTS; i++)
		if (w->own[i].exists)
			own_ends(w, &w->own[i]);
	for (unsigned int i = 0; i < CPUS; i++) {
		if (w->hw[i].violations)
			print_error("%s\n", w->hw[i].violation);
		assert_int_equal(w->hw[i].violations, 0);
		assert_null(w->cpu[i].events);
		assert_int_equal(w->cpu[i].host_counters, 0);
		assert_int_equal(w->pmu[i].pmcnten | w->pmu[i].pminten | w->pmu[i].pmovs, 0);
		for (unsigned int n = 0; n < w->config.counters; n++)
			assert_int_equal(w->pmu[i].pmevcntr[n], 0);
	}
}

static void random_schedules(void **state)
{
	static struct world w;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		init_world(&w, (enum model_class)class, 1 + class);
		for (unsigned int i = 0; i < STEPS; i++)
			step(&w);
		world_ends(&w);
		print_message("# class %u: %llu starved, %llu samples, %llu residencies, %llu refused\n", class,
			      (unsigned long long)w.starved, (unsigned long long)w.overflows,
			      (unsigned long long)w.moves, (unsigned long long)w.refused);
		assert_true(w.starved > 100 && w.overflows > 500 && w.moves > 500 && w.refused > 10 &&
			    w.exact > 100);
	}
}

/* ---- x86: the same on an Intel and an AMD machine ---- */

#define X86_STEPS 300000u
#define X86_EVENT_BITS 0xFFFFu
#define X86_VECTOR 0xF5u

/* A vendor, and where its registers are. */
struct vendor {
	enum x86_cpu_class class;
	uint32_t ctl, ctr, step, global, status;
	uint16_t events[4];
};

static const struct vendor x86_vendors[] = {
	{ X86_CPU_SKYLAKE, 0x186, 0xC1, 1, 0x38F, 0x38E, { 0xC0, 0x3C, 0xC4, 0x013C } },
	{ X86_CPU_ZEN4, 0xC0010200, 0xC0010201, 2, 0xC0000301, 0xC0000300, { 0xC0, 0x76, 0xC2, 0xC3 } },
};

struct x86_bed {
	struct rng rng;
	const struct vendor *vendor;
	struct x86_cpu hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine machine;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_host_source source;
	struct x86_pmu bare;         /* what the guest would have on a machine of its own */
	unsigned int at;
	uint64_t interrupts, samples;
};

static void x86_power_on(struct x86_bed *b, const struct vendor *vendor)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };
	struct x86_pmu_config machine;

	*b = (struct x86_bed){ .rng = { 7 }, .vendor = vendor };
	x86_cpu_class_config(vendor->class, &machine);
	vpmu_machine_init(&b->machine);
	for (unsigned int i = 0; i < CPUS; i++) {
		assert_int_equal(x86_cpu_init(&b->hw[i], &machine, true), 0);
		b->hw[i].host_owned = BIT(machine.gp) - 1;
		vpmu_machine_add(&b->machine, &b->hw[i].x86.hw.caps);
		assert_int_equal(vpmu_cpu_init(&b->cpu[i], i, &b->hw[i].x86.hw), 0);
	}
	machine.gp = 4;
	machine.fixed = machine.fixed ? 3 : 0;
	x86_cpu_model(&machine, &b->model);
	x86_pmu_reset(&b->bare, &machine);
	assert_int_equal(vpmu_x86_vm_init(&b->vm, &b->machine, &b->model, &config), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	vpmu_host_source_init(&b->source, &b->machine, &b->v, X86_EVENT_BITS);
	assert_int_equal(vpmu_vcpu_attach(&b->v, &b->emulated, &b->source.source), 0);
}

static void x86_load(struct x86_bed *b, unsigned int cpu)
{
	b->at = cpu;
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu[cpu]), 0);
	vpmu_host_source_load(&b->source, &b->cpu[cpu]);
}

static void x86_put(struct x86_bed *b)
{
	vpmu_host_source_put(&b->source);
	assert_null(b->cpu[b->at].events);
	assert_int_equal(vpmu_vcpu_put(&b->v), 0);
}

static void x86_unmask(struct x86_bed *b)
{
	(void)vpmu_vcpu_lvtpc(&b->v, X86_VECTOR);
	x86_pmu_set_lvtpc(&b->bare, X86_VECTOR);
}

static void x86_write(struct x86_bed *b, uint32_t index, uint64_t value)
{
	bool there = x86_pmu_wrmsr(&b->bare, index, value);

	assert_int_equal(vpmu_x86_wrmsr(&b->v, index, value), there ? VPMU_HANDLED : VPMU_FAULT_GP);
}

static void x86_compare(struct x86_bed *b, uint32_t index)
{
	uint64_t bare = 0, value = 0;

	assert_true(x86_pmu_rdmsr(&b->bare, index, &bare));
	assert_int_equal(vpmu_x86_rdmsr(&b->v, index, &value), VPMU_HANDLED);
	assert_int_equal(value, bare);
}

static void x86_compare_all(struct x86_bed *b)
{
	for (unsigned int i = 0; i < b->model.gp; i++)
		x86_compare(b, b->vendor->ctr + i * b->vendor->step);
	for (unsigned int i = 0; i < b->model.fixed; i++)
		x86_compare(b, 0x309 + i);
	x86_compare(b, b->vendor->status);
}

/* The interrupt that the bare machine gets with an event, the guest gets with it. */
static void x86_runs(struct x86_bed *b)
{
	uint64_t n = rng_one_in(&b->rng, 3) ? 1 : 1 + rng_below(&b->rng, 60);
	const struct x86_pmu_events events = {
		.instructions = n, .cycles = 3 * n, .reference_cycles = 2 * n, .branches = n / 2,
	};
	bool user = rng_one_in(&b->rng, 2), interrupted;
	struct vpmu_host_event *e;

	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	x86_cpu_enter(&b->hw[b->at]);
	x86_pmu_retire(&b->hw[b->at].pmu, user, &events);
	b->hw[b->at].time += n;
	x86_cpu_exit(&b->hw[b->at]);
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
	x86_pmu_retire(&b->bare, user, &events);
	if (x86_pmu_take_interrupt(&b->hw[b->at].pmu) != X86_PMU_NO_INTERRUPT) {
		assert_int_equal(vpmu_cpu_pmi(&b->cpu[b->at]), VPMU_PMI_HOST);
		while ((e = vpmu_cpu_sample(&b->cpu[b->at])) != NULL)
			b->samples += vpmu_host_source_sample(&b->source, e);
	}
	/* Overflows are looked at by whoever asks, or at the next enter. */
	x86_compare(b, b->vendor->status);
	interrupted = x86_pmu_take_interrupt(&b->bare) != X86_PMU_NO_INTERRUPT;
	assert_int_equal(vpmu_vcpu_pmi(&b->v), interrupted);
	b->interrupts += interrupted;
	x86_unmask(b);
}

static uint64_t x86_value(struct x86_bed *b)
{
	return rng_one_in(&b->rng, 4) ? rng_below(&b->rng, 1000)
				      : 0 - (uint64_t)1 - rng_below(&b->rng, 300);
}

static void x86_acts(struct x86_bed *b)
{
	unsigned int n = (unsigned int)rng_below(&b->rng, b->model.gp);

	switch (rng_below(&b->rng, 6)) {
	case 0:
		x86_write(b, b->vendor->ctl + n * b->vendor->step,
			  b->vendor->events[rng_below(&b->rng, 4)] |
			  (rng_next(&b->rng) & (X86_SEL_USR | X86_SEL_OS | X86_SEL_INT)) | X86_SEL_EN);
		break;
	case 1:
	case 2:
		x86_write(b, b->vendor->ctr + n * b->vendor->step, x86_value(b) & 0xFFFFFFFFFFFF);
		break;
	case 3:
		x86_write(b, b->vendor->global, rng_next(&b->rng) & ((BIT(b->model.gp) - 1) |
			  (BIT(b->model.fixed) - 1) << 32));
		break;
	case 4:
		if (!b->model.fixed)
			break;
		x86_write(b, 0x38D, rng_next(&b->rng) & 0xBBB);
		x86_write(b, 0x309 + (uint32_t)rng_below(&b->rng, b->model.fixed),
			  x86_value(b) & 0xFFFFFFFFFFFF);
		break;
	default:
		/* Overflows are acknowledged. */
		x86_write(b, b->vendor->status + 2, b->bare.global_status);
	}
}

static void x86_random_schedules(void **state)
{
	static struct x86_bed b;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(x86_vendors); k++) {
		x86_power_on(&b, &x86_vendors[k]);
		x86_unmask(&b);
		x86_load(&b, 0);
		for (unsigned int i = 0; i < X86_STEPS; i++) {
			if (rng_one_in(&b.rng, 40)) {
				x86_put(&b);
				x86_compare_all(&b);
				x86_load(&b, (unsigned int)rng_below(&b.rng, CPUS));
			} else if (rng_one_in(&b.rng, 3)) {
				x86_acts(&b);
			} else {
				x86_runs(&b);
			}
		}
		x86_compare_all(&b);
		x86_put(&b);
		print_message("# x86 %u: %llu interrupts, %llu samples\n", k,
			      (unsigned long long)b.interrupts, (unsigned long long)b.samples);
		assert_true(b.interrupts > 1000 && b.samples > 1000);
		assert_int_equal(vpmu_vcpu_detach(&b.v), 0);
		for (unsigned int i = 0; i < CPUS; i++) {
			if (b.hw[i].violations)
				print_error("%s\n", b.hw[i].violation);
			assert_int_equal(b.hw[i].violations, 0);
			for (unsigned int n = 0; n < b.hw[i].pmu.config.gp; n++)
				assert_int_equal(b.hw[i].pmu.gp[n] | b.hw[i].pmu.selector[n], 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_across_cpus),
		cmocka_unit_test(overflows),
		cmocka_unit_test(far_overflow),
		cmocka_unit_test(waits_for_a_counter),
		cmocka_unit_test(starves_without_counters),
		cmocka_unit_test(unsupported_bits),
		cmocka_unit_test(random_schedules),
		cmocka_unit_test(x86_random_schedules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
