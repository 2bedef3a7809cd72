/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rig.h"

const char *const rig_edge_names[EDGES] = {
	[EDGE_LOAD] = "load",
	[EDGE_LOAD_AFTER_OTHER] = "load-after-other",
	[EDGE_LOAD_ELSEWHERE] = "load-elsewhere",
	[EDGE_ENTER_QUIET] = "enter-quiet",
	[EDGE_ENTER_FULL] = "enter-full",
	[EDGE_ENTER_AGAIN] = "enter-again",
	[EDGE_EXIT_PARKS] = "exit-parks",
	[EDGE_EXIT_QUIET_TWICE] = "exit-quiet-twice",
	[EDGE_EXIT_REQUEST] = "exit-request",
	[EDGE_EXIT_QUIET] = "exit-quiet",
	[EDGE_PUT_PARKED] = "put-parked",
	[EDGE_PUT_HOST] = "put-host",
	[EDGE_RECLAIM_PARKED] = "reclaim-parked",
	[EDGE_RECLAIM_HOST] = "reclaim-host",
	[EDGE_REQUEST_PARKED] = "request-parked",
	[EDGE_POLICY_PARKED] = "policy-parked",
	[EDGE_ACCESS_PARKED] = "access-parked",
	[EDGE_ACCESS_HOST] = "access-host",
	[EDGE_COUNT_PARKED] = "count-parked",
};

/* The events that happen on these machines. 0xC0 is IMPLEMENTATION DEFINED and in no PMCEID. */
static const uint32_t events[] = { 0x03, 0x10, 0x12, 0x13, 0x1B, 0x23, 0x24, 0x3C, 0xC0 };

static const struct vpmu_event_range vm1_ranges[] = { { 0x10, 0x10 }, { 0x13, 0x1B } };
static const struct vpmu_policy vm1_policy = { vm1_ranges, ARRAY_SIZE(vm1_ranges), false, NULL, NULL };

/* EL2's own events around every access of an operation: a switch that leaves a counter on shows. */
static const struct model_event_count cost_others[] = {
	{ 0x03, 1 }, { 0x10, 1 }, { 0x12, 1 }, { 0x13, 2 }, { 0x1B, 3 },
	{ 0x23, 1 }, { 0x24, 1 }, { 0x3C, 1 }, { 0xC0, 1 },
};
static const struct model_events cost = { 3, 5, cost_others, ARRAY_SIZE(cost_others) };

/* ---- Bare machines ---- */

static bool hw_has(const struct model_config *config, uint32_t event)
{
	return event >= 0x40 || config->ceid[event >> 5] >> (event & 31) & 1;
}

static bool permitted(const struct rig_vcpu *g, uint32_t event)
{
	return vpmu_policy_allows(g->policy, event) && vpmu_policy_allows(g->vm->created, event);
}

static bool bare_exists(const void *context, uint32_t event)
{
	const struct rig_vcpu *g = context;

	if (!hw_has(&g->rig->hw_config, event))
		return false;
	return event == MODEL_EVENT_SW_INCR || event == MODEL_EVENT_CHAIN || permitted(g, event);
}

static uint64_t permitted_ceid(const struct rig_vcpu *g, unsigned int half)
{
	uint64_t ceid = 0;

	for (uint32_t bit = 0; bit < 32; bit++) {
		uint32_t event = 32 * half + bit;
		bool exempt = event == MODEL_EVENT_SW_INCR || event == MODEL_EVENT_CHAIN;

		if (g->vm->model.ceid[half] >> bit & 1 &&
		    (exempt || vpmu_policy_allows(g->vm->created, event)))
			ceid |= BIT(bit);
	}
	return ceid;
}

static void bare_reset(struct rig_vcpu *g)
{
	struct model_config config = {
		.version = g->vm->model.version, .counters = g->vm->model.counters,
		.id = g->vm->model.id, .mmir = g->vm->model.mmir, .no_el2 = true,
		.ceid = { permitted_ceid(g, 0), permitted_ceid(g, 1) },
		.exists = bare_exists, .exists_context = g,
	};

	model_pmu_reset(&g->bare, &config, 0);
}

static bool bare_is_quiet(const struct rig_vcpu *g)
{
	return !(g->bare.pmcr & MODEL_PMCR_E && g->bare.pmcnten) && !model_interrupt(&g->bare);
}

/* ---- Set-up ---- */

/* An NMI between two accesses: the host's handler must not think the PMU is its own (RULES A3). */
static void nmi(struct model_hw *mhw, void *context)
{
	struct rig_cpu *c = context;
	uint64_t accesses = mhw->hw.accesses;

	if (vpmu_cpu_nmi_owner(&c->cpu) == VPMU_OWNER_HOST) {
		print_error("an NMI in the middle of a switch sees the owner HOST\n");
		fail();
	}
	assert_int_equal(mhw->hw.accesses, accesses);
}

static void init_cpu(struct rig *r, struct rig_cpu *c, uint32_t number, enum model_class class)
{
	struct model_config config;
	uint64_t seed = rng_next(&r->rng) | 1;

	c->rig = r;
	model_class_config(class, &config);
	model_pmu_reset(&c->pmu, &config, seed);
	model_hw_init(&c->hw, &c->pmu);
	c->hw.cost = &cost;
	vpmu_machine_add(&r->machine, &c->hw.hw.caps);
	assert_int_equal(vpmu_cpu_init(&c->cpu, number, &c->hw.hw), 0);
	c->hw.hook = nmi;
	c->hw.hook_context = c;
	for (unsigned int i = 0; i < r->hw_config.counters; i++)
		c->host_value[i] = c->pmu.pmevcntr[i];
	c->host_value[CYCLE] = c->pmu.pmccntr;
	c->host_user = c->pmu.pmuserenr;
	c->host_pointer = c->pmu.pmselr;
}

static void init_vm(struct rig *r, struct rig_vm *vm)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .switch_kind = vm->kind,
					 .policy = vm->created };

	vm->policy = vm->created;
	assert_int_equal(vpmu_arm_vm_init(&vm->vm, &r->machine, &vm->model, &config), 0);
}

static void init_vcpu(struct rig *r, struct rig_vcpu *g, struct rig_vm *vm)
{
	g->rig = r;
	g->vm = vm;
	g->policy = vm->policy;
	vpmu_vcpu_init(&g->v, &vm->vm);
	bare_reset(g);
}

static bool partitions(const struct rig *r)
{
	for (unsigned int i = 0; i < RIG_CPUS; i++) {
		if (r->cpus[i].hw.hw.caps.partitions)
			return true;
	}
	return false;
}

/* VM 1 has a policy, VM 2 a small old PMU, or one that is a part of the machine's. */
static void describe_vms(struct rig *r, const enum vpmu_switch_kind *kinds)
{
	for (unsigned int i = 0; i < RIG_VMS; i++) {
		assert_int_equal(vpmu_arm_model_of(&r->machine, &r->vms[i].model), 0);
		r->vms[i].kind = kinds[i];
	}
	r->vms[1].created = &vm1_policy;
	r->vms[2].model.counters = 3;
	if (partitions(r))
		return;
	r->vms[2].model.version = VPMU_ARM_V3;
	r->vms[2].model.ceid[0] &= UINT32_MAX;
	r->vms[2].model.ceid[1] &= UINT32_MAX;
}

void rig_init_mixed(struct rig *r, const enum model_class *classes,
		    const enum vpmu_switch_kind *kinds, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->seed = seed;
	r->rng.state = seed * 2 + 1;
	r->noise.state = seed * 2 + 3;
	r->doing = "init";
	model_class_config(classes[0], &r->hw_config);
	vpmu_machine_init(&r->machine);
	for (uint32_t i = 0; i < RIG_CPUS; i++)
		init_cpu(r, &r->cpus[i], i, classes[i]);
	describe_vms(r, kinds);
	for (unsigned int i = 0; i < RIG_VMS; i++)
		init_vm(r, &r->vms[i]);
	for (unsigned int i = 0; i < RIG_VCPUS; i++)
		init_vcpu(r, &r->vcpus[i], &r->vms[i < 2 ? 0 : i - 1]);
}

void rig_init(struct rig *r, enum model_class class, enum vpmu_switch_kind kind, uint64_t seed)
{
	const enum model_class classes[RIG_CPUS] = { class, class };
	const enum vpmu_switch_kind kinds[RIG_VMS] = { kind, kind, kind };

	rig_init_mixed(r, classes, kinds, seed);
}

/* ---- Observation ---- */

static void edge(struct rig_vcpu *g, enum rig_edge e)
{
	g->rig->matrix[e][g - g->rig->vcpus]++;
}

static void record(struct rig *r, uint64_t value)
{
	r->trace = (r->trace ^ value) * 0x100000001B3u;
	r->trace ^= r->trace >> 29;
}

static enum vpmu_owner owner(const struct rig_cpu *c)
{
	return vpmu_cpu_nmi_owner(&c->cpu);
}

/* ---- Invariants ---- */

static uint64_t hw_value(const struct rig_cpu *c, unsigned int i)
{
	return i == CYCLE ? c->pmu.pmccntr : c->pmu.pmevcntr[i];
}

static bool hw_counter(const struct rig_cpu *c, unsigned int i)
{
	return i == CYCLE || i < c->pmu.config.counters;
}

/* V1, V2: nothing of a guest is on, and nothing of one can be read. */
static void check_host(struct rig *r, const struct rig_cpu *c)
{
	if (c->pmu.pmcnten || c->pmu.pminten || c->pmu.pmovs || c->pmu.pmcr & MODEL_PMCR_E)
		rig_fail(r, "HOST: enables %#llx interrupts %#llx status %#llx PMCR %#llx",
			 (unsigned long long)c->pmu.pmcnten, (unsigned long long)c->pmu.pminten,
			 (unsigned long long)c->pmu.pmovs, (unsigned long long)c->pmu.pmcr);
	for (unsigned int i = 0; i < 32; i++) {
		if (!hw_counter(c, i) || !hw_value(c, i) || hw_value(c, i) == c->host_value[i])
			continue;
		rig_fail(r, "HOST: counter %u still holds %#llx", i,
			 (unsigned long long)hw_value(c, i));
	}
}

/* V1: held by an enable that the guest does not write. */
static void check_parked(struct rig *r, const struct rig_cpu *c)
{
	for (unsigned int i = 0; i < 32; i++) {
		if (hw_counter(c, i) && model_counts(&c->pmu, i, 2))
			rig_fail(r, "PARKED: counter %u counts at EL2", i);
	}
}

static uint64_t hw_selector(const struct rig_cpu *c, unsigned int i)
{
	return i == CYCLE ? c->pmu.pmccfiltr : c->pmu.pmevtyper[i];
}

static bool denied(const struct rig_vcpu *g, unsigned int i)
{
	uint32_t event = i == CYCLE ? 0x11 : (uint32_t)g->bare.pmevtyper[i] & 0xFFFF;

	if (event == MODEL_EVENT_SW_INCR || event == MODEL_EVENT_CHAIN)
		return false;
	return !permitted(g, event);
}

/* V4: the hardware counts a subset of what the guest asks for. */
static void check_selector(struct rig *r, const struct rig_cpu *c, const struct rig_vcpu *g,
			   unsigned int i)
{
	uint64_t hw = hw_selector(c, i);

	if (denied(g, i) && (model_counts(&c->pmu, i, 0) || model_counts(&c->pmu, i, 1)))
		rig_fail(r, "LIVE: denied selector %u is %#llx", i, (unsigned long long)hw);
	if (r->hostile)
		return;
	if (hw & MODEL_FILTER_NSH)
		rig_fail(r, "LIVE: selector %u has NSH", i);
	if (i >= g->bare.config.counters && i != CYCLE)
		rig_fail(r, "LIVE: counter %u is not the guest's", i);
}

static void check_live(struct rig *r, const struct rig_cpu *c, const struct rig_vcpu *g)
{
	for (unsigned int i = 0; i < 32; i++) {
		if (hw_counter(c, i) && c->pmu.pmcnten >> i & 1)
			check_selector(r, c, g, i);
	}
	if (model_interrupt(&c->pmu) != model_interrupt(&g->bare) && !r->hostile)
		rig_fail(r, "LIVE: the line is %d", model_interrupt(&c->pmu));
}

static void check_cpu(struct rig *r, struct rig_cpu *c)
{
	if (c->hw.violations)
		rig_fail(r, "violation: %s", c->hw.violation);
	switch (owner(c)) {
	case VPMU_OWNER_HOST:
		check_host(r, c);
		break;
	case VPMU_OWNER_PARKED:
		if (!c->loaded || c->loaded->in_guest)
			rig_fail(r, "PARKED, but no guest is or one runs");
		check_parked(r, c);
		break;
	case VPMU_OWNER_LIVE:
		if (!c->loaded || !c->loaded->in_guest)
			rig_fail(r, "LIVE, but no guest runs");
		check_live(r, c, c->loaded);
		break;
	case VPMU_OWNER_TRANSITION:
		rig_fail(r, "TRANSITION after the call");
	}
	if (!c->loaded && (c->pmu.pmuserenr != c->host_user || c->pmu.pmselr != c->host_pointer))
		rig_fail(r, "V7: the host finds PMUSERENR %#llx PMSELR %#llx",
			 (unsigned long long)c->pmu.pmuserenr, (unsigned long long)c->pmu.pmselr);
}

void rig_check(struct rig *r)
{
	for (unsigned int i = 0; i < RIG_CPUS; i++)
		check_cpu(r, &r->cpus[i]);
}

static void same(struct rig_vcpu *g, const char *what, unsigned int i, uint64_t got, uint64_t bare)
{
	if (got != bare)
		rig_fail(g->rig, "vCPU %d: %s %u is %#llx, bare %#llx", (int)(g - g->rig->vcpus),
			 what, i, (unsigned long long)got, (unsigned long long)bare);
}

void rig_compare(struct rig_vcpu *g)
{
	struct vpmu_state s, again;

	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &again), 0);
	assert_memory_equal(&s, &again, sizeof(s));
	if (g->rig->hostile)
		return;
	for (unsigned int i = 0; i < g->bare.config.counters; i++) {
		same(g, "value", i, s.value[i], g->bare.pmevcntr[i]);
		same(g, "selector", i, s.selector[i], g->bare.pmevtyper[i]);
	}
	same(g, "value", CYCLE, s.value[CYCLE], g->bare.pmccntr);
	same(g, "selector", CYCLE, s.selector[CYCLE], g->bare.pmccfiltr);
	same(g, "PMCNTEN", 0, s.enabled, g->bare.pmcnten);
	same(g, "PMINTEN", 0, s.interrupts, g->bare.pminten);
	same(g, "PMOVS", 0, s.status, g->bare.pmovs);
	same(g, "PMUSERENR", 0, s.user, g->bare.pmuserenr);
	same(g, "PMSELR", 0, s.pointer, g->bare.pmselr);
	same(g, "PMCR", 0, s.global & ~(uint64_t)MODEL_PMCR_LC, g->bare.pmcr);
	same(g, "interrupt", 0, (uint64_t)vpmu_vcpu_interrupt(&g->v), model_interrupt(&g->bare));
}

/* ---- The monitor ---- */

/* Instructions of the monitor itself. */
static void el2_work(struct rig_cpu *c)
{
	for (uint64_t n = rng_below(&c->rig->noise, 3); n; n--)
		model_retire(&c->pmu, 2, &cost);
}

void rig_load(struct rig_vcpu *g, struct rig_cpu *c)
{
	uint64_t accesses = c->hw.hw.accesses;

	g->rig->doing = "load";
	assert_int_equal(vpmu_vcpu_load(&g->v, &c->cpu), 0);
	if (c->hw.hw.accesses - accesses > 4)
		rig_fail(g->rig, "load: %u accesses", (unsigned int)(c->hw.hw.accesses - accesses));
	if (g->last && g->last != c)
		edge(g, EDGE_LOAD_ELSEWHERE);
	edge(g, c->last && c->last != g ? EDGE_LOAD_AFTER_OTHER : EDGE_LOAD);
	g->cpu = g->last = c;
	c->loaded = c->last = g;
	rig_check(g->rig);
}

static void enter_edge(struct rig_vcpu *g, enum vpmu_owner before, bool new_policy, bool asked)
{
	bool live = owner(g->cpu) == VPMU_OWNER_LIVE;

	if (before == VPMU_OWNER_PARKED && new_policy)
		edge(g, EDGE_POLICY_PARKED);
	else if (before == VPMU_OWNER_PARKED && asked)
		edge(g, EDGE_REQUEST_PARKED);
	else if (before == VPMU_OWNER_PARKED)
		edge(g, EDGE_ENTER_AGAIN);
	else
		edge(g, live ? EDGE_ENTER_FULL : EDGE_ENTER_QUIET);
}

void rig_enter(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;
	enum vpmu_owner before = owner(c);
	bool new_policy = g->policy != g->vm->policy;

	g->rig->doing = "enter";
	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
	enter_edge(g, before, new_policy, c->asked);
	c->asked = false;
	g->policy = g->vm->policy;
	g->in_guest = true;
	c->hw.guest_runs = true;
	if (owner(c) == VPMU_OWNER_HOST && !bare_is_quiet(g) && !g->rig->hostile)
		rig_fail(g->rig, "not quiet, and nothing was loaded");
	rig_check(g->rig);
}

/*
 * The interrupt of this CPU may come late: for what the vCPU that is loaded now has, or for
 * nobody.
 */
static void take_interrupt(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;
	uint64_t accesses = c->hw.hw.accesses;
	enum vpmu_pmi pmi;
	bool unreported = g->bare.pmovs & g->bare.pminten;

	if (!model_interrupt_late(&c->pmu, (unsigned int)rng_below(&g->rig->noise, 8)))
		return;
	g->rig->doing = "interrupt";
	pmi = vpmu_cpu_pmi(&c->cpu);
	if (c->hw.hw.accesses - accesses > 2)
		rig_fail(g->rig, "%u accesses", (unsigned int)(c->hw.hw.accesses - accesses));
	if (!g->rig->hostile && pmi != (unreported ? VPMU_PMI_GUEST : VPMU_PMI_LATE))
		rig_fail(g->rig, "the answer is %d", pmi);
	if (pmi == VPMU_PMI_GUEST)
		g->rig->pmi_guest++;
	else
		g->rig->pmi_late++;
}

static void exit_edge(struct rig_vcpu *g, enum vpmu_owner before)
{
	if (before != VPMU_OWNER_LIVE)
		edge(g, EDGE_EXIT_QUIET);
	else if (owner(g->cpu) == VPMU_OWNER_PARKED)
		edge(g, EDGE_EXIT_PARKS);
	else
		edge(g, g->cpu->asked ? EDGE_EXIT_REQUEST : EDGE_EXIT_QUIET_TWICE);
}

void rig_exit(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;
	enum vpmu_owner before = owner(c);

	g->rig->doing = "exit";
	model_interrupt_sample(&c->pmu);
	c->hw.guest_runs = false;
	g->in_guest = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	exit_edge(g, before);
	c->asked = false;
	el2_work(c);
	take_interrupt(g);
	rig_check(g->rig);
}

void rig_put(struct rig_vcpu *g)
{
	struct rig_cpu *c = g->cpu;

	g->rig->doing = "put";
	edge(g, owner(c) == VPMU_OWNER_PARKED ? EDGE_PUT_PARKED : EDGE_PUT_HOST);
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	g->cpu = NULL;
	c->loaded = NULL;
	rig_check(g->rig);
}

static void count(struct rig_vcpu *g, bool user, uint64_t n)
{
	uint64_t counted = vpmu_vcpu_stats(&g->v)->emulated_counted;

	assert_int_equal(vpmu_count(&g->v, VPMU_EVENT_INSTRUCTIONS, user, n), 0);
	if (g->cpu && owner(g->cpu) == VPMU_OWNER_PARKED &&
	    vpmu_vcpu_stats(&g->v)->emulated_counted != counted)
		edge(g, EDGE_COUNT_PARKED);
}

void rig_count(struct rig_vcpu *g, bool user, uint64_t n)
{
	struct model_events one = { .instructions = n };

	g->rig->doing = "count";
	model_retire(&g->bare, user ? 0 : 1, &one);
	count(g, user, n);
	rig_check(g->rig);
}

static void reclaim(struct rig *r, struct rig_cpu *c, uint64_t will_write)
{
	if (c->loaded)
		edge(c->loaded, owner(c) == VPMU_OWNER_PARKED ? EDGE_RECLAIM_PARKED
							       : EDGE_RECLAIM_HOST);
	assert_int_equal(vpmu_cpu_reclaim(&c->cpu, will_write), 0);
	if (owner(c) != VPMU_OWNER_HOST)
		rig_fail(r, "not HOST after a reclaim");
}

void rig_reclaim(struct rig_cpu *c)
{
	struct rig *r = c->rig;
	uint64_t accesses;

	r->doing = "reclaim";
	reclaim(r, c, 0);
	rig_check(r);
	accesses = c->hw.hw.accesses;
	assert_int_equal(vpmu_cpu_reclaim(&c->cpu, 0), 0);
	assert_int_equal(c->hw.hw.accesses, accesses);
}

/* Another CPU asks. If the guest does not run here, the monitor polls, or not until it enters. */
void rig_request_reclaim(struct rig_cpu *c)
{
	struct rig *r = c->rig;
	enum vpmu_owner before = owner(c);

	r->doing = "request reclaim";
	/* A guest that is quiet now may be entered before the request is seen. */
	if (vpmu_cpu_request_reclaim(&c->cpu) != (c->cpu.loaded != NULL))
		rig_fail(r, "the answer is not whether a guest is loaded");
	c->asked = true;
	if (c->hw.guest_runs || rng_one_in(&r->rng, 2))
		return;
	vpmu_cpu_poll(&c->cpu);
	c->asked = false;
	if (owner(c) != VPMU_OWNER_HOST)
		rig_fail(r, "not HOST after a poll");
	if (c->loaded && before == VPMU_OWNER_PARKED)
		edge(c->loaded, EDGE_REQUEST_PARKED);
	rig_check(r);
}

/*
 * Running vCPUs are made to exit: how soon they would by themselves differs between the switches.
 */
void rig_set_policy(struct rig *r, struct rig_vm *vm, const struct vpmu_policy *policy)
{
	bool kicked[RIG_VCPUS] = { false };

	for (unsigned int i = 0; i < RIG_VCPUS; i++) {
		kicked[i] = r->vcpus[i].vm == vm && r->vcpus[i].in_guest;
		if (kicked[i])
			rig_exit(&r->vcpus[i]);
	}
	assert_int_equal(vpmu_vm_set_policy(&vm->vm, policy), 0);
	vm->policy = policy;
	for (unsigned int i = 0; i < RIG_VCPUS; i++) {
		if (kicked[i])
			rig_enter(&r->vcpus[i]);
	}
}

/* ---- The host ---- */

static void el2_write(struct rig_cpu *c, uint32_t reg, uint64_t value)
{
	assert_true(model_el2_access(&c->pmu, reg, true, &value));
}

static uint64_t random_event(struct rng *rng)
{
	switch (rng_below(rng, 6)) {
	case 0:
		return MODEL_EVENT_SW_INCR;
	case 1:
		return MODEL_EVENT_INST_RETIRED;
	case 2:
		return MODEL_EVENT_CPU_CYCLES;
	case 3:
		return MODEL_EVENT_CHAIN;
	default:
		return events[rng_below(rng, ARRAY_SIZE(events))];
	}
}

static void host_programs(struct rig_cpu *c, unsigned int i, struct rng *rng)
{
	uint64_t selector = MODEL_FILTER_NSH | (i == CYCLE ? 0 : random_event(rng));

	el2_write(c, i == CYCLE ? MODEL_PMCCNTR : MODEL_PMEVCNTR(i), rng_value(rng));
	el2_write(c, i == CYCLE ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i), selector);
}

void rig_host_counts(struct rig_cpu *c)
{
	struct rig *r = c->rig;
	uint64_t mask = rng_next(&r->rng) & c->hw.hw.caps.counters;

	r->doing = "host counts";
	reclaim(r, c, mask);
	for (unsigned int i = 0; i < 32; i++) {
		if (mask >> i & 1)
			host_programs(c, i, &r->rng);
	}
	el2_write(c, MODEL_PMCNTENSET, mask);
	el2_write(c, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	model_retire(&c->pmu, 2, &cost);
	el2_write(c, MODEL_PMCR, MODEL_PMCR_LC);
	el2_write(c, MODEL_PMCNTENCLR, mask);
	el2_write(c, MODEL_PMOVSCLR, mask);
	for (unsigned int i = 0; i < 32; i++) {
		if (mask >> i & 1)
			c->host_value[i] = hw_value(c, i);
	}
	rig_check(r);
}

void rig_host_works(struct rig_cpu *c)
{
	struct rig *r = c->rig;

	r->doing = "host works";
	/*
	 * In PARKED only the monitor itself may run here: its EL0 and EL1 are host software (A3).
	 */
	if (owner(c) == VPMU_OWNER_HOST) {
		model_retire(&c->pmu, 0, &cost);
		model_retire(&c->pmu, 1, &cost);
	}
	model_retire(&c->pmu, 2, &cost);
	if (!c->loaded && rng_one_in(&r->rng, 2)) {
		c->host_user = rng_next(&r->rng) & 0xF;
		c->host_pointer = rng_next(&r->rng) & 0x1F;
		el2_write(c, MODEL_PMUSERENR, c->host_user);
		el2_write(c, MODEL_PMSELR, c->host_pointer);
	}
	rig_check(r);
}

void rig_migrate(struct rig_vcpu *g)
{
	struct vpmu_state s, again;

	g->rig->doing = "migrate";
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	memset(&g->v, 0xA5, sizeof(g->v));
	vpmu_vcpu_init(&g->v, &g->vm->vm);
	g->policy = g->vm->policy;
	assert_int_equal(vpmu_vcpu_set_state(&g->v, &s), 0);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &again), 0);
	assert_memory_equal(&s, &again, sizeof(s));
	rig_compare(g);
}

void rig_reset(struct rig_vcpu *g)
{
	g->rig->doing = "reset";
	assert_int_equal(vpmu_vcpu_reset(&g->v), 0);
	bare_reset(g);
	rig_compare(g);
}

/* ---- The guest ---- */

static void retire_one(struct model_pmu *pmu, unsigned int el)
{
	/*
	 * No cycles: a trapped access takes none of the guest's, so a direct one is given none
	 * either.
	 */
	const struct model_events one = { .instructions = 1 };

	model_retire(pmu, el, &one);
}

/*
 * The instruction counts before it takes effect, as vpmu_count() is called before
 * vpmu_arm_access().
 */
static enum model_result execute(struct model_pmu *pmu, unsigned int el, uint32_t reg, bool write,
				 uint64_t *value)
{
	struct model_pmu attempt = *pmu;
	uint64_t unused = *value;

	if (model_guest_access(&attempt, el, reg, write, &unused) == MODEL_EXECUTED)
		retire_one(pmu, el);
	return model_guest_access(pmu, el, reg, write, value);
}

/* One access of the guest, on its way through both machines. */
struct guest_access {
	unsigned int el;
	uint32_t reg;
	bool write;
	uint64_t value, bare_value;
	enum model_result bare;
};

static void execute_bare(struct rig_vcpu *g, struct guest_access *a)
{
	a->bare = execute(&g->bare, a->el, a->reg, a->write, &a->bare_value);
}

static int trap(struct rig_vcpu *g, struct guest_access *a)
{
	struct vpmu_arm_access access = { .reg = a->reg, .el = (uint8_t)a->el, .write = a->write,
					  .value = a->value };
	int outcome;

	rig_exit(g);
	edge(g, owner(g->cpu) == VPMU_OWNER_PARKED ? EDGE_ACCESS_PARKED : EDGE_ACCESS_HOST);
	execute_bare(g, a);
	g->rig->doing = "trapped access";
	if (a->bare == MODEL_EXECUTED)
		count(g, a->el == 0, 1);
	outcome = vpmu_arm_access(&g->v, &access);
	a->value = access.value;
	el2_work(g->cpu);
	rig_check(g->rig);
	rig_enter(g);
	return outcome;
}

static int fault_of(enum model_result result)
{
	if (result == MODEL_EXECUTED)
		return VPMU_HANDLED;
	return result == MODEL_UNDEF ? VPMU_FAULT_UNDEF : VPMU_FAULT_EL1_TRAP;
}

/* Which fault EL0 gets for a counter that does not exist depends on the order of checks (0002). */
static int normal(unsigned int el, int outcome)
{
	if (outcome == VPMU_NOT_MINE)
		return VPMU_FAULT_UNDEF;
	return el == 0 && outcome == VPMU_FAULT_UNDEF ? VPMU_FAULT_EL1_TRAP : outcome;
}

static int physical(struct rig_vcpu *g, struct guest_access *a)
{
	enum model_result result = execute(&g->cpu->pmu, a->el, a->reg, a->write, &a->value);

	if (result == MODEL_TRAP_EL2) {
		g->rig->trapped++;
		return trap(g, a);
	}
	g->rig->direct++;
	execute_bare(g, a);
	return fault_of(result);
}

static const char *reg_name(uint32_t reg)
{
	struct vpmu_arm_reg_info info;

	for (size_t row = 0; vpmu_arm_reg_info(row, &info) == 0; row++) {
		for (unsigned int n = 0; n < info.members; n++) {
			if (vpmu_arm_reg_member(info.reg, n) == reg)
				return info.name;
		}
	}
	return "?";
}

int rig_access(struct rig_vcpu *g, unsigned int el, uint32_t reg, bool write, uint64_t *value)
{
	struct guest_access a = { el, reg, write, *value, *value, MODEL_EXECUTED };
	int outcome = physical(g, &a);

	*value = a.value;
	g->rig->doing = "access";
	if (g->rig->hostile)
		return outcome;
	if (normal(el, outcome) != normal(el, fault_of(a.bare)) || a.value != a.bare_value)
		rig_fail(g->rig,
			 "vCPU %d: %s %s (%#x) at EL%u: outcome %d, bare %d; %#llx, bare %#llx",
			 (int)(g - g->rig->vcpus), write ? "write" : "read", reg_name(reg), reg, el,
			 outcome, fault_of(a.bare), (unsigned long long)a.value,
			 (unsigned long long)a.bare_value);
	record(g->rig, (uint64_t)normal(el, outcome));
	record(g->rig, a.value);
	rig_check(g->rig);
	return outcome;
}

uint64_t rig_read(struct rig_vcpu *g, uint32_t reg)
{
	uint64_t value = 0;

	assert_int_equal(rig_access(g, 1, reg, false, &value), VPMU_HANDLED);
	return value;
}

void rig_write(struct rig_vcpu *g, uint32_t reg, uint64_t value)
{
	assert_int_equal(rig_access(g, 1, reg, true, &value), VPMU_HANDLED);
}

void rig_run(struct rig_vcpu *g, unsigned int el, uint64_t n)
{
	struct model_event_count others[ARRAY_SIZE(events)];
	struct model_events all = { n, 2 * n, others, ARRAY_SIZE(others) };

	g->rig->doing = "run";
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		others[i] = (struct model_event_count){ events[i], n / (i + 1) };
	model_retire(&g->cpu->pmu, el, &all);
	if (!permitted(g, MODEL_EVENT_CPU_CYCLES))
		all.cycles = 0;
	model_retire(&g->bare, el, &all);
	model_interrupt_sample(&g->cpu->pmu);
	record(g->rig, model_interrupt(&g->bare));
	rig_check(g->rig);
}

/* ---- A random step ---- */

/* RES0 bits that hardware may have where this guest's model has none would differ when direct. */
static uint64_t polite(uint32_t reg, uint64_t value)
{
	bool typer = (reg & ~VPMU_ARM_SYSREG(0, 0, 0, 3, 7)) == MODEL_PMEVTYPER(0);

	if (reg == MODEL_PMCR)
		return (value & ~(uint64_t)MODEL_PMCR_D) | MODEL_PMCR_LC;
	if (typer || reg == MODEL_PMXEVTYPER)
		return value & (MODEL_FILTER_P | MODEL_FILTER_U | 0xFFFF);
	return value;
}

static uint64_t random_value(struct rig *r, uint32_t reg)
{
	bool typer = (reg & ~VPMU_ARM_SYSREG(0, 0, 0, 3, 7)) == MODEL_PMEVTYPER(0);

	/*
	 * Rubbish would mostly select events that never happen, and stop everything. Hostile
	 * guests ask for EL2, and turn the meaning of P and U round.
	 */
	if ((typer || reg == MODEL_PMXEVTYPER) && !rng_one_in(&r->rng, 8))
		return random_event(&r->rng) |
		       (rng_one_in(&r->rng, r->hostile ? 2 : 4) ? rng_next(&r->rng) & 0xFC000000
								: 0);
	if (reg == MODEL_PMCR && !rng_one_in(&r->rng, 3))
		return MODEL_PMCR_E | (rng_next(&r->rng) & MODEL_PMCR_LP);
	return rng_value(&r->rng);
}

static void random_access(struct rig_vcpu *g)
{
	struct rig *r = g->rig;
	uint32_t reg = rng_register(&r->rng);
	unsigned int el = rng_one_in(&r->rng, 6) ? 0 : 1;
	uint64_t value = random_value(r, reg);

	if (!r->hostile)
		value = polite(reg, value);
	(void)rig_access(g, el, reg, rng_one_in(&r->rng, 2), &value);
}

/* What profilers do: a counter with its selector, value and enables; or everything off. */
static void program(struct rig_vcpu *g)
{
	struct rig *r = g->rig;
	unsigned int i = (unsigned int)rng_below(&r->rng, g->bare.config.counters);

	rig_write(g, MODEL_PMCNTENCLR, BIT(i));
	rig_write(g, MODEL_PMEVTYPER(i), random_event(&r->rng));
	rig_write(g, MODEL_PMEVCNTR(i), rng_value(&r->rng));
	if (rng_one_in(&r->rng, 2))
		rig_write(g, MODEL_PMINTENSET, BIT(i));
	rig_write(g, MODEL_PMCNTENSET, BIT(i) | (rng_one_in(&r->rng, 3) ? CYCLE_BIT : 0));
	rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
}

/* Two counters as one: the low half close to its carry, by whatever event. */
static void program_pair(struct rig_vcpu *g)
{
	struct rig *r = g->rig;
	unsigned int even = (unsigned int)rng_below(&r->rng, g->bare.config.counters / 2) * 2;

	rig_write(g, MODEL_PMEVTYPER(even), random_event(&r->rng));
	rig_write(g, MODEL_PMEVTYPER(even + 1), MODEL_EVENT_CHAIN);
	rig_write(g, MODEL_PMEVCNTR(even), UINT32_MAX - rng_below(&r->rng, 4));
	rig_write(g, MODEL_PMCNTENSET, BIT(even) | BIT(even + 1));
	rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	rig_write(g, MODEL_PMSWINC, BIT(even));
}

static void silence(struct rig_vcpu *g)
{
	rig_write(g, MODEL_PMCNTENCLR, UINT64_MAX);
	rig_write(g, MODEL_PMOVSCLR, UINT64_MAX);
}

static void random_run(struct rig_vcpu *g)
{
	struct rig *r = g->rig;
	uint64_t n = rng_one_in(&r->rng, 10) ? rng_below(&r->rng, BIT(33)) : rng_below(&r->rng, 50);

	rig_run(g, rng_one_in(&r->rng, 2), n);
}

/*
 * Exits in which nothing happens: enough for two looks at a guest that has fallen quiet (A1). One
 * does for the eager switch, which has no memory of exits.
 */
static void exit_often(struct rig_vcpu *g)
{
	bool lazy = g->vm->kind == VPMU_SWITCH_LAZY;
	unsigned int n = lazy && bare_is_quiet(g) ? 2 * VPMU_LOOK_INTERVAL : 1;

	do {
		rig_exit(g);
		rig_enter(g);
	} while (--n && owner(g->cpu) == VPMU_OWNER_LIVE);
}

static void guest_step(struct rig_vcpu *g)
{
	switch (rng_below(&g->rig->rng, 32)) {
	case 0: case 1: case 2: case 3: case 4: case 5: case 6:
		random_run(g);
		break;
	case 7: case 8:
		program(g);
		break;
	case 9:
		program_pair(g);
		break;
	case 10:
		silence(g);
		break;
	case 11:
		silence(g);
		exit_often(g);
		break;
	case 12: case 13: case 14: case 15: case 16:
		rig_exit(g);
		break;
	default:
		random_access(g);
	}
}

static void count_some(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;

	rig_count(g, rng_one_in(rng, 2), rng_one_in(rng, 8) ? rng_value(rng) : rng_below(rng, 9));
}

static void loaded_step(struct rig_vcpu *g)
{
	switch (rng_below(&g->rig->rng, 32)) {
	case 0: case 1:
		rig_put(g);
		break;
	case 2:
		rig_put(g);
		rig_load(g, g->last);
		break;
	case 3: case 4: case 5: case 6:
		rig_reclaim(g->cpu);
		break;
	case 7: case 8: case 9: case 10: case 11: case 12:
		rig_request_reclaim(g->cpu);
		break;
	case 13:
		rig_host_counts(g->cpu);
		break;
	case 14:
		rig_host_works(g->cpu);
		break;
	case 15: case 16:
		count_some(g);
		break;
	case 17:
		rig_compare(g);
		break;
	default:
		rig_enter(g);
	}
}

/* (g) runs on (c) next, whoever is there now. */
static void preempt(struct rig_vcpu *g, struct rig_cpu *c)
{
	struct rig_vcpu *other = c->loaded;

	if (other && other->in_guest)
		rig_exit(other);
	if (other)
		rig_put(other);
	rig_load(g, c);
	rig_enter(g);
}

static void idle_step(struct rig_vcpu *g)
{
	struct rig *r = g->rig;
	struct rig_cpu *c = &r->cpus[rng_below(&r->rng, RIG_CPUS)];

	switch (rng_below(&r->rng, 64)) {
	case 0:
		rig_reset(g);
		break;
	case 1: case 2:
		rig_migrate(g);
		break;
	case 3: case 4:
		rig_compare(g);
		break;
	case 5: case 6:
		count_some(g);
		break;
	default:
		if (!c->loaded || rng_one_in(&r->rng, 8))
			preempt(g, c);
	}
}

static const struct vpmu_event_range some[] = { { 0x08, 0x08 }, { 0x11, 0x13 } };
static const struct vpmu_event_range cycles[] = { { 0x11, 0x11 } };
static const struct vpmu_policy policies[] = {
	{ some, 2, true, NULL, NULL }, { some, 2, false, NULL, NULL }, { cycles, 1, false, NULL, NULL },
	{ NULL, 0, true, NULL, NULL }, { NULL, 0, false, NULL, NULL },
};

static void machine_step(struct rig *r)
{
	struct rig_cpu *c = &r->cpus[rng_below(&r->rng, RIG_CPUS)];
	uint64_t policy = rng_below(&r->rng, ARRAY_SIZE(policies) + 3);

	switch (rng_below(&r->rng, 4)) {
	case 0: case 1:
		rig_set_policy(r, &r->vms[rng_below(&r->rng, RIG_VMS)],
			       policy < ARRAY_SIZE(policies) ? &policies[policy] : NULL);
		break;
	case 2:
		rig_request_reclaim(c);
		break;
	default:
		if (c->loaded)
			break;
		rig_host_works(c);
		rig_host_counts(c);
	}
}

void rig_step(struct rig *r)
{
	struct rig_vcpu *g = &r->vcpus[rng_below(&r->rng, RIG_VCPUS)];

	r->step++;
	if (rng_one_in(&r->rng, 16))
		machine_step(r);
	else if (g->in_guest)
		guest_step(g);
	else if (g->cpu)
		loaded_step(g);
	else
		idle_step(g);
}
