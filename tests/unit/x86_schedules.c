/* SPDX-License-Identifier: MIT */
/*
 * Random schedules on x86: a lazy and an eager world switch on the same class of machine, in step,
 * with emulated guests beside them. Guests must see what bare machines do and the same with both
 * switches; the matrix of state edges says that the schedule went everywhere (RULES A9). Then the
 * same with interrupts and status that come late (RULES C2), and with the errata of real parts.
 *
 * usage: test-x86-schedules skylake|icelake|zen4 [SEED]
 */
#include <stdlib.h>
#include <string.h>

#include "x86_rig.h"

/* Each cell of the matrix is hit so often, or the run fails. */
#define HITS 1000u
#define CHUNK 10000u
#define CHUNKS_MAX 150u

static const struct {
	const char *name;
	enum x86_cpu_class class;
} classes[] = {
	{ "skylake", X86_CPU_SKYLAKE }, { "icelake", X86_CPU_ICELAKE }, { "zen4", X86_CPU_ZEN4 },
};
static enum x86_cpu_class class;
static uint64_t seed = 1;
static struct rig lazy, eager;

/* ---- What guests do ---- */

static bool is_intel(const struct rig_vcpu *g)
{
	return g->rig->config.vendor == X86_PMU_INTEL;
}

static uint64_t counters(const struct rig_vcpu *g)
{
	return x86_pmu_counters(&g->bare.config);
}

/* One of the guest's counters. */
static unsigned int random_counter(struct rig_vcpu *g)
{
	const struct x86_pmu_config *c = &g->bare.config;
	unsigned int n = (unsigned int)rng_below(&g->rig->rng, c->gp + c->fixed);

	return n < c->gp ? n : X86_PMU_FIXED + n - c->gp;
}

/* Now and then about to overflow. */
static uint64_t random_value(struct rig_vcpu *g, unsigned int i)
{
	struct rng *rng = &g->rig->rng;

	if (rng_one_in(rng, 2))
		return rig_width(g, i) - rng_below(rng, 60);
	return rng_value(rng) & rig_width(g, i);
}

/*
 * An emulated instruction is alone in its cycle: whether an edge is seen in it nobody can tell, so
 * nobody asks for edges of what the library counts.
 */
static uint64_t random_selector(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	enum x86_pmu_kind kind = (enum x86_pmu_kind)rng_below(rng, X86_PMU_KINDS);
	bool counted = kind == X86_PMU_INSTRUCTIONS || kind == X86_PMU_BRANCHES;
	uint64_t selector = rng_one_in(rng, 12) ? 0x1B7 : rig_event(g, kind);

	selector |= rng_below(rng, 4) << 16;
	selector |= rng_one_in(rng, 4) ? 0 : X86_SEL_EN;
	selector |= rng_one_in(rng, 3) ? 0 : X86_SEL_INT;
	if (rng_one_in(rng, 8))
		selector |= X86_SEL_CMASK(rng_below(rng, 3));
	if (rng_one_in(rng, 16))
		selector |= X86_SEL_INV;
	if (rng_one_in(rng, 16) && !counted)
		selector |= X86_SEL_EDGE;
	if (rng_one_in(rng, 16) && is_intel(g))
		selector |= X86_SEL_PC;
	return selector;
}

/*
 * Reserved bits: Intel faults, AMD drops them. GuestOnly and HostOnly are not the guest's to see.
 */
static uint64_t rubbish(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	uint64_t bit = BIT(rng_below(rng, 64));

	if (!rng_one_in(rng, 16))
		return 0;
	return is_intel(g) ? bit & ~UINT64_C(0xFFFFFFFF) : bit & UINT64_C(0xFFFFFC0000280000);
}

static uint64_t random_fixed_ctrl(struct rig_vcpu *g)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < g->bare.config.fixed; i++)
		value |= (rng_next(&g->rig->rng) >> 20 & 0xB) << (4 * i);
	return rng_one_in(&g->rig->rng, 20) ? value | 4 : value;
}

static uint64_t frozen(const struct rig_vcpu *g)
{
	return is_intel(g) && g->bare.config.version >= 4 ? X86_STATUS_CTR_FRZ : 0;
}

static void write_msr(struct rig_vcpu *g, uint32_t index, uint64_t value)
{
	struct rig_access a = { .op = RIG_WRMSR, .index = index, .value = value };

	(void)rig_access(g, &a);
}

/*
 * A status that is still set hides the next overflow of its counter from the hardware's registers,
 * and with it a freeze: a guest that has its counters frozen clears it first.
 */
static void stay_exact(struct rig_vcpu *g)
{
	if (g->bare.debugctl & X86_DEBUGCTL_FREEZE_PERFMON && g->bare.global_status)
		rig_wrmsr(g, rig_msr_reset(g), counters(g) | frozen(g));
}

/*
 * Versions 2 and 3 are frozen by the library, when it hands out the PMI: not exactly
 * (x86_switching).
 */
static void random_debugctl(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	bool freezes = rng_one_in(rng, 3) && g->rig->exact && g->bare.config.version >= 4;

	if (!is_intel(g))
		return;
	if (rig_has_global(g))
		rig_wrmsr(g, rig_msr_reset(g), counters(g) | frozen(g));
	write_msr(g, X86_MSR_DEBUGCTL, (freezes ? X86_DEBUGCTL_FREEZE_PERFMON : 0) | rubbish(g));
}

static uint64_t random_mask(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;

	if (rng_one_in(rng, 2))
		return counters(g);
	return rng_next(rng) & (rng_one_in(rng, 16) ? UINT64_MAX >> 5 : counters(g));
}

/* Freezing ends before software sets a status. */
static void random_status_write(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	uint64_t value = rng_next(rng) & counters(g);
	bool set = rng_one_in(rng, 3);

	if (rng_one_in(rng, 16))
		value |= frozen(g) | BIT(62 - 40 * set);
	if (!set) {
		write_msr(g, rig_msr_reset(g),
			  rng_one_in(rng, 2) ? counters(g) | frozen(g) : value);
		return;
	}
	if (g->bare.debugctl)
		rig_wrmsr(g, X86_MSR_DEBUGCTL, 0);
	write_msr(g, is_intel(g) ? X86_MSR_STATUS_SET : X86_MSR_AMD_STATUS_SET, value);
}

static void random_write(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	unsigned int i = random_counter(g);
	uint64_t value = random_value(g, i) | (rng_one_in(rng, 16) ? rng_value(rng) : 0);

	switch (rng_below(rng, 10)) {
	case 0: case 1: case 2:
		write_msr(g, rig_msr_counter(g, i), value);
		break;
	case 3:
		write_msr(g, is_intel(g) ? X86_MSR_PERFCTR(i & 7) : X86_MSR_K7_PERFCTR(i & 3),
			  value);
		break;
	case 4: case 5:
		write_msr(g, rig_msr_selector(g, i & 7),
			  rng_one_in(rng, 8) ? 0 : random_selector(g) | rubbish(g));
		break;
	case 6:
		if (is_intel(g))
			write_msr(g, X86_MSR_FIXED_CTR_CTRL, random_fixed_ctrl(g));
		else
			write_msr(g, X86_MSR_K7_EVNTSEL(i & 3), random_selector(g));
		break;
	case 7: case 8:
		write_msr(g, rig_msr_global(g), random_mask(g));
		break;
	default:
		random_status_write(g);
	}
}

static uint32_t random_msr(struct rig_vcpu *g)
{
	static const uint32_t intel[] = {
		X86_MSR_FIXED_CTR_CTRL, X86_MSR_GLOBAL_CTRL, X86_MSR_GLOBAL_STATUS,
		X86_MSR_STATUS_RESET, X86_MSR_STATUS_SET, X86_MSR_GLOBAL_INUSE, X86_MSR_DEBUGCTL,
		X86_MSR_PERF_CAPABILITIES, X86_MSR_PMC(3), X86_MSR_PERFCTR(5), X86_MSR_FIXED_CTR(3),
	};
	static const uint32_t amd[] = {
		X86_MSR_AMD_GLOBAL_STATUS, X86_MSR_AMD_GLOBAL_CTL, X86_MSR_AMD_STATUS_CLR,
		X86_MSR_AMD_STATUS_SET, X86_MSR_K7_PERFCTR(2), X86_MSR_K7_EVNTSEL(1),
		X86_MSR_PERF_CTR(5), X86_MSR_PERF_CTL(4), X86_MSR_AMD_GLOBAL_STATUS,
	};
	uint64_t n = rng_next(&g->rig->rng) >> 10;
	unsigned int i = random_counter(g);

	switch (rng_below(&g->rig->rng, 4)) {
	case 0:
		return rig_msr_selector(g, i & 7);
	case 1:
		return rig_msr_counter(g, i);
	case 2:
		return rng_one_in(&g->rig->rng, 2) ? rig_msr_global(g) : rig_msr_status(g);
	default:
		return is_intel(g) ? intel[n % ARRAY_SIZE(intel)] : amd[n % ARRAY_SIZE(amd)];
	}
}

static void random_read(struct rig_vcpu *g)
{
	struct rig_access a = { .op = RIG_RDMSR, .index = random_msr(g) };

	(void)rig_access(g, &a);
}

static void random_rdpmc(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	unsigned int i = random_counter(g);
	struct rig_access a = { .op = RIG_RDPMC, .index = i, .user = rng_one_in(rng, 2),
				.pce = !rng_one_in(rng, 4) };

	if (i >= X86_PMU_FIXED)
		a.index = 0x40000000 | (i - X86_PMU_FIXED);
	if (rng_one_in(rng, 8))
		a.index = (uint32_t)rng_value(rng);
	(void)rig_access(g, &a);
}

/* What a profiler does: (k) counters that are about to overflow. */
static void program(struct rig_vcpu *g)
{
	uint64_t k = 1 + rng_below(&g->rig->rng, 3);

	while (k--) {
		unsigned int i = random_counter(g);

		write_msr(g, rig_msr_counter(g, i), random_value(g, i));
		if (i < X86_PMU_FIXED)
			write_msr(g, rig_msr_selector(g, i), random_selector(g));
		else
			write_msr(g, X86_MSR_FIXED_CTR_CTRL, random_fixed_ctrl(g));
	}
	if (rig_has_global(g))
		rig_wrmsr(g, rig_msr_global(g), counters(g));
	rig_lvtpc(g, 0);
}

/* One counter overflows within the run. */
static void sample(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	unsigned int i = (unsigned int)rng_below(rng, g->bare.config.gp);

	rig_lvtpc(g, 0);
	write_msr(g, rig_msr_selector(g, i), 0);
	if (rig_has_global(g)) {
		rig_wrmsr(g, rig_msr_reset(g), counters(g) | frozen(g));
		rig_wrmsr(g, rig_msr_global(g), counters(g));
	}
	write_msr(g, rig_msr_counter(g, i), rig_width(g, i) - 20 - rng_below(rng, 30));
	write_msr(g, rig_msr_selector(g, i), rig_event(g, X86_PMU_INSTRUCTIONS) | X86_SEL_EN |
		  X86_SEL_INT | X86_SEL_USR | X86_SEL_OS);
	rig_run(g, rng_one_in(rng, 2), 50);
}

/* What its interrupt handler does. */
static void handle(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	unsigned int i = random_counter(g);

	if (rig_has_global(g)) {
		(void)rig_rdmsr(g, rig_msr_status(g));
		if (!rng_one_in(rng, 6))
			rig_wrmsr(g, rig_msr_reset(g), counters(g) | frozen(g));
	}
	write_msr(g, rig_msr_counter(g, i), rig_width(g, i) - rng_below(rng, 40));
	if (rng_one_in(rng, 2) && rig_has_global(g))
		rig_wrmsr(g, rig_msr_global(g), counters(g));
	rig_lvtpc(g, rng_one_in(rng, 12) ? X86_LVTPC_MASKED : 0);
}

static void silence(struct rig_vcpu *g)
{
	if (rig_has_global(g)) {
		rig_wrmsr(g, rig_msr_global(g), 0);
		return;
	}
	for (unsigned int i = 0; i < g->bare.config.gp; i++)
		rig_wrmsr(g, rig_msr_selector(g, i), 0);
}

static void random_run(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;

	rig_run(g, rng_one_in(rng, 2),
		rng_one_in(rng, 10) ? rng_below(rng, BIT(38)) : rng_below(rng, 50));
}

/*
 * Exits in which nothing happens: enough for two looks at a guest that has fallen quiet (A1). One
 * does for the eager switch, which has no memory of exits.
 */
static void exit_often(struct rig_vcpu *g)
{
	bool lazy_guest = g->vm->kind == VPMU_SWITCH_LAZY;

	rig_exit(g);
	rig_take_interrupts(g->cpu);
	rig_enter(g);
	rig_bounce(g, lazy_guest && rig_is_quiet(g) ? 2 * VPMU_LOOK_INTERVAL : 1);
}

static void guest_step(struct rig_vcpu *g)
{
	stay_exact(g);
	switch (rng_below(&g->rig->rng, 32)) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		random_run(g);
		break;
	case 6: case 7:
		sample(g);
		break;
	case 8: case 9:
		program(g);
		break;
	case 10: case 11: case 12: case 13:
		handle(g);
		break;
	case 14:
		silence(g);
		if (!rng_one_in(&g->rig->rng, 3))
			exit_often(g);
		break;
	case 15:
		rig_lvtpc(g, rng_one_in(&g->rig->rng, 3) ? X86_LVTPC_MASKED : 0);
		break;
	case 16:
		random_debugctl(g);
		break;
	case 17: case 18: case 19: case 20: case 21: case 22:
		rig_exit(g);
		break;
	case 23: case 24: case 25: case 26:
		random_rdpmc(g);
		break;
	case 27: case 28:
		random_read(g);
		break;
	default:
		random_write(g);
	}
}

/* ---- What the hypervisor and the host do ---- */

static void count_some(struct rig_vcpu *g)
{
	struct rng *rng = &g->rig->rng;
	enum vpmu_event_class event = rng_one_in(rng, 3) ? VPMU_EVENT_BRANCHES
							  : VPMU_EVENT_INSTRUCTIONS;

	rig_count(g, event, rng_one_in(rng, 2),
		  rng_one_in(rng, 8) ? rng_value(rng) >> 16 : rng_below(rng, 9));
}

static void loaded_step(struct rig_vcpu *g)
{
	switch (rng_below(&g->rig->rng, 32)) {
	case 0: case 1:
		rig_put(g);
		break;
	case 2: case 3: case 4:
		rig_put(g);
		rig_load(g, g->last);
		break;
	case 5: case 6: case 7: case 8:
		rig_reclaim(g->cpu);
		break;
	case 9: case 10: case 11: case 12: case 13:
		rig_request_reclaim(g->cpu);
		break;
	case 14:
		rig_host_counts(g->cpu);
		break;
	case 15:
		rig_host_works(g->cpu);
		break;
	case 16: case 17: case 18: case 19:
		count_some(g);
		break;
	case 20:
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
	case 1: case 2: case 3: case 4: case 5: case 6: case 7:
		rig_migrate(g, false);
		break;
	case 8: case 9: case 10: case 11: case 12: case 13: case 14:
		rig_migrate(g, true);
		break;
	case 15:
		rig_compare(g);
		break;
	case 16: case 17: case 18: case 19: case 20: case 21: case 22: case 23:
		count_some(g);
		break;
	default:
		if (!c->loaded || rng_one_in(&r->rng, 8))
			preempt(g, c);
	}
}

static void machine_step(struct rig *r)
{
	struct rig_cpu *c = &r->cpus[rng_below(&r->rng, RIG_CPUS)];
	uint64_t policy = rng_below(&r->rng, RIG_POLICIES + 3);

	switch (rng_below(&r->rng, 8)) {
	case 0: case 1: case 2: case 3: case 4:
		rig_set_policy(r, &r->vms[rng_below(&r->rng, RIG_VMS)],
			       policy < RIG_POLICIES ? &r->policies[policy] : NULL);
		break;
	case 5: case 6:
		rig_request_reclaim(c);
		break;
	default:
		if (c->loaded)
			break;
		rig_host_works(c);
		rig_host_counts(c);
	}
}

/* Mostly one that is loaded. */
static struct rig_vcpu *random_vcpu(struct rig *r)
{
	struct rig_vcpu *loaded = r->cpus[rng_below(&r->rng, RIG_CPUS)].loaded;

	if (loaded && !rng_one_in(&r->rng, 6))
		return loaded;
	return &r->vcpus[rng_below(&r->rng, RIG_VCPUS)];
}

/*
 * The hypervisor's instructions around each access take most of the time, and a fault in their way
 * shows often.
 */
static void set_cost(struct rig *r)
{
	static const struct x86_pmu_events cost = { .instructions = 4, .cycles = 5, .branches = 1 };
	bool some = !r->exact || rng_one_in(&r->noise, 4);

	for (unsigned int i = 0; i < RIG_CPUS; i++)
		r->cpus[i].x86.cost = some ? &cost : NULL;
}

static void random_step(struct rig *r)
{
	struct rig_vcpu *g = random_vcpu(r);

	r->step++;
	set_cost(r);
	if (rng_one_in(&r->rng, 8))
		machine_step(r);
	else if (g->in_guest)
		guest_step(g);
	else if (g->cpu)
		loaded_step(g);
	else
		idle_step(g);
}

/* ---- The tests ---- */

static bool is_covered(const struct rig *r, enum rig_edge e, unsigned int v)
{
	return r->matrix[e][v] >= HITS || !rig_edge_exists(e, v, r->config.vendor);
}

static bool covered(const struct rig *r)
{
	for (unsigned int e = 0; e < EDGES; e++) {
		for (unsigned int v = 0; v < RIG_VCPUS; v++) {
			if (!is_covered(r, (enum rig_edge)e, v))
				return false;
		}
	}
	return true;
}

static void print_matrix(const struct rig *r)
{
	print_message("# %-18s %8s %8s %8s %8s %8s %8s %8s\n", "edge", "own/0", "own/1", "policy",
		      "old", "small", "first", "emulated");
	for (unsigned int e = 0; e < EDGES; e++) {
		print_message("# %-18s", rig_edge_names[e]);
		for (unsigned int v = 0; v < RIG_VCPUS; v++)
			print_message(" %8llu%s", (unsigned long long)r->matrix[e][v],
				      is_covered(r, (enum rig_edge)e, v) ? "" : "!");
		print_message("\n");
	}
	print_message("# steps %llu, direct accesses %llu, trapped %llu, vectors %llu, late %llu, "
		      "NMIs %llu, PMIs %llu\n", (unsigned long long)r->step,
		      (unsigned long long)r->direct, (unsigned long long)r->trapped,
		      (unsigned long long)r->vectors, (unsigned long long)r->late,
		      (unsigned long long)r->nmis, (unsigned long long)r->pmis);
}

static void lazy_equals_eager_equals_bare(void **state)
{
	(void)state;
	rig_init_plain(&lazy, class, VPMU_SWITCH_LAZY, seed);
	rig_init_plain(&eager, class, VPMU_SWITCH_EAGER, seed);
	for (unsigned int n = 0; n < CHUNKS_MAX * CHUNK; n++) {
		if (n % CHUNK == 0 && covered(&lazy))
			break;
		random_step(&lazy);
		random_step(&eager);
		if (lazy.trace != eager.trace)
			rig_fail(&lazy, "the switches differ in what guests see");
	}
	print_matrix(&lazy);
	assert_true(covered(&lazy));
}

/* Lazy and eager VMs on the same CPUs: what one leaves in the hardware, the other finds. */
static void lazy_beside_eager(void **state)
{
	struct rig_options options = { .class = class };

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		options.seed = seed + 9 + k;
		for (unsigned int i = 0; i < RIG_VMS; i++)
			options.kinds[i] = (i ^ k) & 1 ? VPMU_SWITCH_LAZY : VPMU_SWITCH_EAGER;
		rig_init(&lazy, &options);
		for (unsigned int i = 0; i < 5 * CHUNK; i++)
			random_step(&lazy);
	}
}

/* Interrupts 0 to K steps late, across put, load, reclaim and migration; status a few. */
static void late_interrupts(void **state)
{
	static const uint32_t skids[][2] = {
		{ 0, 1 }, { 0, 3 }, { 0, 8 }, { 0, 20 }, { 0, 60 }, { 0, 250 }, { 2, 0 }, { 2, 12 },
	};
	struct rig_options options = { .class = class };

	(void)state;
	for (unsigned int k = 0; k < 2 * ARRAY_SIZE(skids); k++) {
		options.seed = seed + 20 + k;
		options.status_skid = skids[k / 2][0];
		options.interrupt_skid = skids[k / 2][1];
		for (unsigned int i = 0; i < RIG_VMS; i++)
			options.kinds[i] = k & 1 && i & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		rig_init(&lazy, &options);
		for (unsigned int i = 0; i < CHUNK; i++)
			random_step(&lazy);
		assert_in_range(lazy.pmis, CHUNK / 300, CHUNK);
	}
}

/* ---- Errata (RULES F5) ---- */

/* User, kernel, both. */
static uint64_t rings(unsigned int i)
{
	return 1 + i / 3 % 3;
}

/* Counters in each ring and in both, of each event; values from 0, so that none overflows. */
static void program_all(struct rig_vcpu *g)
{
	uint64_t fixed = 0;

	for (unsigned int i = 0; i < g->bare.config.gp; i++) {
		enum x86_pmu_kind kind = i % 3 == 0 ? X86_PMU_INSTRUCTIONS
				       : i % 3 == 1 ? X86_PMU_BRANCHES : X86_PMU_CYCLES;
		uint64_t selector = rig_event(g, kind) | X86_SEL_EN | rings(i) << 16;

		assert_int_equal(vpmu_x86_set_msr(&g->v, rig_msr_selector(g, i), selector),
				 VPMU_HANDLED);
		assert_true(x86_pmu_wrmsr(&g->bare, rig_msr_selector(g, i), selector));
	}
	for (unsigned int i = 0; i < g->bare.config.fixed; i++)
		fixed |= (uint64_t)(1 + i % 3) << (4 * i);
	if (fixed) {
		assert_int_equal(vpmu_x86_set_msr(&g->v, X86_MSR_FIXED_CTR_CTRL, fixed),
				 VPMU_HANDLED);
		assert_true(x86_pmu_wrmsr(&g->bare, X86_MSR_FIXED_CTR_CTRL, fixed));
	}
	assert_int_equal(vpmu_x86_set_msr(&g->v, rig_msr_global(g), counters(g)), VPMU_HANDLED);
	assert_true(x86_pmu_wrmsr(&g->bare, rig_msr_global(g), counters(g)));
}

/* Once in and out again. */
static void execute_once(struct rig_vcpu *g, struct rng *rng)
{
	struct x86_pmu_events events = rig_events(g->rig, rng_below(rng, 100));
	bool user = rng_one_in(rng, 2);

	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
	x86_cpu_enter(&g->cpu->x86);
	x86_pmu_retire(&g->cpu->x86.pmu, user, &events);
	x86_pmu_retire(&g->bare, user, &events);
	x86_cpu_exit(&g->cpu->x86);
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
}

/* How much more than the bare machine may counter (i) have after (n) entries and exits? */
static uint64_t bound(const struct rig_vcpu *g, unsigned int i, uint64_t n)
{
	const struct x86_pmu_config *c = &g->rig->config;
	bool fixed = i >= X86_PMU_FIXED;
	/* A fixed counter's rings are the other way round. */
	bool kernel = fixed ? (i - X86_PMU_FIXED) % 3 != 1 : rings(i) & 2;
	bool instructions = fixed ? i == X86_PMU_FIXED : i % 3 == 0;
	bool branches = !fixed && i % 3 == 1;
	/* The instruction too many takes its cycle. */
	bool cycles = fixed ? !instructions : i % 3 == 2;

	if (!kernel)
		return 0;
	return ((instructions || cycles) && c->atom_instructions ? 2 * n : 0) +
	       (branches && c->atom_branches ? 2 * n : 0) +
	       (branches && c->amd_vmrun_branch ? n : 0);
}

static void counts_within_bounds(struct rig_options *options, bool atom_i, bool atom_b, bool vmrun)
{
	struct rig_vcpu *g = &lazy.vcpus[0];
	struct rng rng = { seed + 77 };
	struct vpmu_state s;
	uint64_t over = 0;

	options->atom_instructions = atom_i;
	options->atom_branches = atom_b;
	options->amd_vmrun_branch = vmrun;
	rig_init(&lazy, options);
	rig_load(g, &lazy.cpus[0]);
	program_all(g);
	for (unsigned int n = 0; n < 1000; n++) {
		execute_once(g, &rng);
		if (n % 50 == 49) {
			rig_put(g);
			rig_load(g, &lazy.cpus[n / 50 % RIG_CPUS]);
		}
	}
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t bare = i < X86_PMU_FIXED ? i < X86_PMU_GP_MAX ? g->bare.gp[i] : 0
				: i - X86_PMU_FIXED < 4 ? g->bare.fixed[i - X86_PMU_FIXED] : 0;

		assert_in_range(s.value[i] - bare, 0, bound(g, i, 1000));
		over += s.value[i] - bare;
	}
	assert_int_equal(over > 0, atom_i || atom_b || vmrun);
}

/* Each erratum miscounts in its own row only, and no more than documented. */
static void errata_within_their_bounds(void **state)
{
	bool intel = class != X86_CPU_ZEN4;

	(void)state;
	for (unsigned int kind = 0; kind < 2; kind++) {
		struct rig_options options = { .class = class, .seed = seed };

		for (unsigned int i = 0; i < RIG_VMS; i++)
			options.kinds[i] = kind ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		counts_within_bounds(&options, false, false, false);
		counts_within_bounds(&options, intel, false, !intel);
		counts_within_bounds(&options, false, intel, !intel);
		counts_within_bounds(&options, intel, intel, !intel);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(lazy_equals_eager_equals_bare),
		cmocka_unit_test(lazy_beside_eager),
		cmocka_unit_test(late_interrupts),
		cmocka_unit_test(errata_within_their_bounds),
	};
	size_t k = 0;

	while (k < ARRAY_SIZE(classes) && (argc < 2 || strcmp(argv[1], classes[k].name)))
		k++;
	if (k == ARRAY_SIZE(classes)) {
		print_error("usage: test-x86-schedules skylake|icelake|zen4 [SEED]\n");
		return 2;
	}
	class = classes[k].class;
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	return cmocka_run_group_tests_name(classes[k].name, all, NULL, NULL);
}
