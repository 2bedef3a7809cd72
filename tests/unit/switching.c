/* SPDX-License-Identifier: MIT */
/*
 * The world switch by the number and order of its hardware accesses: RULES A1 to A7 one by one,
 * on every class of machine. The random schedules (schedules.c) say that it is right; this says
 * that it is lazy.
 */
#include <string.h>

#include "rig.h"

static struct rig rig;
static struct model_access trace[512];

/* Is the guest stopped at the boundary by hardware, once it has everything direct? */
static bool stops_by_itself(enum model_class class)
{
	return class <= MODEL_P5;
}

static uint64_t accesses(const struct rig_vcpu *g)
{
	return g->cpu->hw.hw.accesses;
}

static struct rig_vcpu *start(enum model_class class, unsigned int vcpu)
{
	rig_init(&rig, class, VPMU_SWITCH_LAZY, 11 + class);
	rig_load(&rig.vcpus[vcpu], &rig.cpus[0]);
	rig_enter(&rig.vcpus[vcpu]);
	return &rig.vcpus[vcpu];
}

static void stop(struct rig_vcpu *g)
{
	if (g->in_guest)
		rig_exit(g);
	rig_put(g);
}

/* What profilers do first: counters 0..k-1 count instructions, with interrupts. */
static void program(struct rig_vcpu *g, unsigned int k)
{
	rig_write(g, MODEL_PMCR, MODEL_PMCR_P | MODEL_PMCR_C | MODEL_PMCR_LC);
	for (unsigned int i = 0; i < k; i++) {
		rig_write(g, MODEL_PMEVTYPER(i), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMEVCNTR(i), 0xFFFF0000u + i);
	}
	rig_write(g, MODEL_PMINTENSET, BIT(k) - 1);
	rig_write(g, MODEL_PMCNTENSET, BIT(k) - 1);
	rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
}

#define FOR_EACH_CLASS(c) for (enum model_class c = 0; c < MODEL_CLASSES; c++)

/* Accesses of (n) exit/enter pairs in which the guest executes a little. */
static uint64_t pairs(struct rig_vcpu *g, unsigned int n)
{
	uint64_t before = accesses(g);

	while (n--) {
		rig_run(g, 1, 10);
		rig_exit(g);
		rig_enter(g);
	}
	return accesses(g) - before;
}

/* ---- A1 ---- */

static void a1_quiet_costs_nothing(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);

			assert_int_equal(pairs(g, 3 * VPMU_LOOK_INTERVAL), 0);
			assert_int_equal(vpmu_vcpu_stats(&g->v)->quiet, 3 * VPMU_LOOK_INTERVAL + 1);
		}
	}
}

/*
 * Programmed but not enabled, or enabled one by one but not globally, is quiet: nothing is
 * loaded.
 */
static void a1_what_does_not_end_quietness(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t before = accesses(g);

		for (unsigned int i = 0; i < 6; i++) {
			rig_write(g, MODEL_PMEVTYPER(i), 8);
			rig_write(g, MODEL_PMEVCNTR(i), 99 + i);
		}
		rig_write(g, MODEL_PMCCNTR, 1234);
		rig_write(g, MODEL_PMOVSSET, 1);
		rig_write(g, MODEL_PMINTENSET, 1);
		rig_write(g, MODEL_PMCNTENSET, UINT64_MAX);
		rig_write(g, MODEL_PMSELR, 3);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_LC | MODEL_PMCR_DP);
		(void)rig_read(g, MODEL_PMCEID0);
		(void)rig_read(g, MODEL_PMXEVCNTR);
		assert_int_equal(pairs(g, 100), 0);
		assert_int_equal(accesses(g), before);
		assert_int_equal(vpmu_vcpu_stats(&g->v)->loads, 0);
	}
}

/* Each ends it alone, at the very next enter. */
static void a1_what_ends_quietness(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int how = 0; how < 3; how++) {
			struct rig_vcpu *g = start(class, 0);

			rig_write(g, MODEL_PMCR,
				  how ? MODEL_PMCR_E | MODEL_PMCR_LC : MODEL_PMCR_LC);
			rig_write(g, how == 2 ? MODEL_PMOVSSET : MODEL_PMCNTENSET, 1);
			rig_write(g, MODEL_PMINTENSET, 1);
			if (how == 0)
				rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
			assert_int_equal(vpmu_cpu_nmi_owner(&g->cpu->cpu), VPMU_OWNER_LIVE);
			assert_int_equal(vpmu_vcpu_stats(&g->v)->loads, 1);
		}
	}
}

/* program, put, run another vCPU, load, run without touching, read. */
static void a1_counts_after_load_without_a_touch(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0), *other = &rig.vcpus[1];

		rig_write(g, MODEL_PMEVTYPER(2), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMCNTENSET, BIT(2) | CYCLE_BIT);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		stop(g);
		rig_load(other, &rig.cpus[0]);
		rig_enter(other);
		program(other, 6);
		rig_run(other, 1, 1000);
		stop(other);
		rig_load(g, &rig.cpus[0]);
		rig_enter(g);
		assert_int_equal(vpmu_cpu_nmi_owner(&g->cpu->cpu), VPMU_OWNER_LIVE);
		rig_run(g, 1, 1000);
		assert_true(rig_read(g, MODEL_PMEVCNTR(2)) >= 1000);
		assert_int_equal(rig_read(g, MODEL_PMCCNTR), 2000);
	}
}

/* Without put, and without traps where the guest stops its counters directly. */
static void a1_back_to_zero_without_put(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		program(g, 4);
		rig_run(g, 1, 100);
		rig_write(g, MODEL_PMCNTENCLR, UINT64_MAX);
		/* One look is not enough: profilers stop and start again. */
		while (!vpmu_vcpu_stats(&g->v)->probes)
			(void)pairs(g, 1);
		assert_int_equal(vpmu_cpu_nmi_owner(&g->cpu->cpu), VPMU_OWNER_LIVE);
		(void)pairs(g, VPMU_LOOK_INTERVAL);
		assert_int_equal(vpmu_cpu_nmi_owner(&g->cpu->cpu), VPMU_OWNER_HOST);
		assert_int_equal(pairs(g, 2 * VPMU_LOOK_INTERVAL), 0);
		rig_exit(g);
		rig_compare(g);
	}
}

/* An overflow that waits for its guest is no quietness: it is not saved and loaded for ever. */
static void a1_pending_overflow_stays(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		rig_write(g, MODEL_PMINTENSET, 1);
		rig_write(g, MODEL_PMOVSSET, 1);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		(void)pairs(g, 3 * VPMU_LOOK_INTERVAL);
		assert_int_equal(vpmu_vcpu_stats(&g->v)->saves, 0);
	}
}

/* ---- A2 ---- */

/* A value in a counter whose selector is 0, and that was never enabled, by every path. */
static void a2_value_under_selector_0(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0), *other = &rig.vcpus[1];
		struct vpmu_counter_status status;
		struct vpmu_state s;
		uint64_t value = 0;

		rig_write(g, MODEL_PMCNTENSET, 1);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		rig_write(g, MODEL_PMEVCNTR(5), 0x1234);
		stop(g);
		rig_load(other, &rig.cpus[0]);
		rig_enter(other);
		program(other, 5);
		assert_int_equal(rig_read(other, MODEL_PMEVCNTR(5)), 0);
		rig_write(other, MODEL_PMSELR, 5);
		assert_int_equal(rig_read(other, MODEL_PMXEVCNTR), 0);
		stop(other);

		rig_load(g, &rig.cpus[0]);
		rig_enter(g);
		assert_int_equal(rig_read(g, MODEL_PMEVCNTR(5)), 0x1234);
		rig_write(g, MODEL_PMSELR, 5);
		assert_int_equal(rig_read(g, MODEL_PMXEVCNTR), 0x1234);
		rig_write(g, MODEL_PMUSERENR, 8);
		assert_int_equal(rig_access(g, 0, MODEL_PMXEVCNTR, false, &value), VPMU_HANDLED);
		assert_int_equal(value, 0x1234);
		rig_exit(g);
		assert_int_equal(vpmu_vcpu_counter(&g->v, 5, &status), 0);
		assert_int_equal(status.value, 0x1234);
		rig_put(g);
		assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
		assert_int_equal(s.value[5], 0x1234);
	}
}

/* Fine-grained traps keep untouched counters out of the hardware. */
static void a2_few_counters_cost_little(void **state)
{
	struct rig_vcpu *g = start(MODEL_P5_FGT, 0);
	uint64_t before;

	(void)state;
	rig_write(g, MODEL_PMCNTENSET, CYCLE_BIT);
	rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	rig_run(g, 1, 100);
	rig_exit(g);
	before = accesses(g);
	rig_reclaim(g->cpu);
	/*
	 * Control: 7 reads and 4 writes; the cycle counter: 1 and 1; user access and pointer
	 * back.
	 */
	assert_in_range(accesses(g) - before, 1, 16);
}

/* Event counters trap until the first access; from then on until put none does. */
static void a2_counters_open_at_the_first_access(void **state)
{
	struct rig_vcpu *g = start(MODEL_P5_FGT, 0);
	uint64_t trapped;

	(void)state;
	rig_write(g, MODEL_PMCNTENSET, CYCLE_BIT);
	rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	trapped = rig.trapped;
	(void)rig_read(g, MODEL_PMCCNTR);
	assert_int_equal(rig.trapped, trapped);
	(void)rig_read(g, MODEL_PMEVCNTR(4));
	assert_int_equal(rig.trapped, trapped + 1);
	for (unsigned int i = 0; i < 6; i++) {
		(void)rig_read(g, MODEL_PMEVCNTR(i));
		rig_write(g, MODEL_PMEVCNTR(i), i);
		rig_write(g, MODEL_PMSELR, i);
		(void)rig_read(g, MODEL_PMXEVCNTR);
		rig_write(g, MODEL_PMSWINC, BIT(i));
	}
	assert_int_equal(rig.trapped, trapped + 1);
}

/* ---- A4: what returns to the same guest ---- */

static void a4_resume_budget(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int k = 1; k <= 6; k++) {
			struct rig_vcpu *g = start(class, 0);
			unsigned int n = VPMU_LOOK_INTERVAL / 2;

			program(g, k);
			/* From a look on, so that none falls into the measured pairs. */
			while (vpmu_vcpu_stats(&g->v)->probes == 0)
				(void)pairs(g, 1);
			assert_int_equal(vpmu_cpu_nmi_owner(&g->cpu->cpu), VPMU_OWNER_LIVE);
			if (stops_by_itself(class))
				assert_int_equal(pairs(g, n), 0);
			else
				assert_in_range(pairs(g, n), 0, 3 * n);
			assert_int_equal(vpmu_vcpu_stats(&g->v)->loads, 1);
		}
	}
}

/* A guest whose accesses all trap cannot set NSH: the hardware stops it on every machine. */
static void a4_trapped_guests_resume_for_nothing(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 3);

		program(g, 3);
		assert_int_equal(pairs(g, VPMU_LOOK_INTERVAL / 2), 0);
	}
}

/* Looks are rare and cheap: two reads while the guest counts. */
static void a1_looks_cost_little(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t stop_cost = stops_by_itself(class) ? 0 : 3;
		unsigned int counters = (unsigned int)__builtin_popcountll(g->v.vm->counters);
		unsigned int n = 64 * VPMU_LOOK_INTERVAL;
		/*
		 * Every fourth look also reads the selectors where we stop the counters (decision
		 * 0004).
		 */
		uint64_t looks = 64 * 2 + (stop_cost ? 64 / 4 * counters : 0);

		program(g, 2);
		/* No overflow, for its interrupt would cost reads. */
		rig_write(g, MODEL_PMEVCNTR(0), 0);
		rig_write(g, MODEL_PMEVCNTR(1), 0);
		assert_in_range(pairs(g, n), 0, n * stop_cost + looks);
	}
}

static void host_at_el2(struct rig_cpu *c, uint64_t n)
{
	struct model_events many = { .instructions = n, .cycles = n };

	model_retire(&c->pmu, 2, &many);
}

#define PROBES 10u

/*
 * The NSH probe: a guest that asks for EL2 everywhere; returns what it counted of (n)
 * instructions there.
 */
static uint64_t nsh_probe(enum model_class class, unsigned int vcpu, uint64_t n)
{
	struct rig_vcpu *g = start(class, vcpu);
	const uint64_t nsh = MODEL_FILTER_NSH | MODEL_FILTER_P | MODEL_FILTER_U;
	struct vpmu_state s;

	rig.hostile = true;
	rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	rig_write(g, MODEL_PMCNTENSET, 7 | CYCLE_BIT);
	rig_write(g, MODEL_PMCCFILTR, nsh);
	for (unsigned int i = 0; i < 3; i++)
		rig_write(g, MODEL_PMEVTYPER(i), nsh | (i ? 0x11 : 0x08));
	rig_write(g, MODEL_PMCR, MODEL_PMCR_P | MODEL_PMCR_C | MODEL_PMCR_E | MODEL_PMCR_LC);
	for (unsigned int k = 0; k < PROBES; k++) {
		rig_exit(g);
		host_at_el2(g->cpu, n);
		rig_check(&rig);
		rig_enter(g);
	}
	rig_exit(g);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	return s.value[0] + s.value[1] + s.value[2] + s.value[CYCLE];
}

/*
 * None of it is counted. Where the guest has its selectors direct and no hardware stops it at the
 * boundary, it can count EL2 up to the write of PMCR at exit, and from the one at enter: a few
 * instructions per exit, whatever EL2 does in between (4 sides of an access, 4 counters, 5 events
 * at most each).
 */
static void a4_nsh_counts_no_el2_instruction(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			bool exact = stops_by_itself(class) || vcpu >= 2;
			uint64_t few = nsh_probe(class, vcpu, 0);

			assert_int_equal(nsh_probe(class, vcpu, 10000), few);
			assert_in_range(few, 0, exact ? 0 : (PROBES + 1) * 4 * 4 * 5);
		}
	}
}

/* Decision 0004: such a guest loses direct access within 1,024 exits, and is exact from then on. */
static void a4_guest_at_el2_is_noticed(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		bool notices = !stops_by_itself(class);
		uint64_t before;

		rig.hostile = true;
		rig_write(g, MODEL_PMCNTENSET, CYCLE_BIT);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		rig_write(g, MODEL_PMCCFILTR, MODEL_FILTER_NSH | MODEL_FILTER_P | MODEL_FILTER_U);
		(void)pairs(g, 1024);
		assert_int_equal(vpmu_vcpu_reach_reason(&g->v) == VPMU_REACH_UNSAFE, notices);
		before = rig_read(g, MODEL_PMCCNTR);
		(void)pairs(g, 2 * VPMU_LOOK_INTERVAL);
		assert_int_equal(rig_read(g, MODEL_PMCCNTR), before);
		/* Put and load give it another chance, without the bit. */
		stop(g);
		rig_load(g, &rig.cpus[0]);
		assert_int_not_equal(vpmu_vcpu_reach_reason(&g->v), VPMU_REACH_UNSAFE);
		rig_enter(g);
		assert_int_equal(g->cpu->pmu.pmccfiltr & MODEL_FILTER_NSH, 0);
	}
}

/* ---- A5: order ---- */

static bool enables(const struct model_access *a)
{
	if (!a->write || !a->value)
		return false;
	return a->reg == MODEL_PMCNTENSET || (a->reg == MODEL_PMCR && a->value & MODEL_PMCR_E);
}

static bool sets_up(const struct model_access *a)
{
	const uint32_t members = VPMU_ARM_SYSREG(0, 0, 0, 3, 7);

	return a->write && (a->reg == MODEL_PMCCFILTR || a->reg == MODEL_PMCCNTR ||
			    a->reg == MODEL_PMOVSSET || a->reg == MODEL_PMINTENSET ||
			    (a->reg & ~members) == MODEL_PMEVCNTR(0) ||
			    (a->reg & ~members) == MODEL_PMEVTYPER(0));
}

static void trace_on(struct rig_cpu *c)
{
	c->hw.trace = trace;
	c->hw.trace_size = ARRAY_SIZE(trace);
	c->hw.trace_count = 0;
}

/* Everything is in place before the first enable, and PMCR comes last. */
static void check_load_order(const struct rig_cpu *c)
{
	bool started = false, running = false;

	assert_in_range(c->hw.trace_count, 1, ARRAY_SIZE(trace));
	for (size_t i = 0; i < c->hw.trace_count; i++) {
		assert_false(started && sets_up(&trace[i]));
		assert_false(running && trace[i].write);
		started |= enables(&trace[i]);
		running |= trace[i].reg == MODEL_PMCR && enables(&trace[i]);
	}
	assert_true(running);
}

/* The first write stops all of it. */
static void check_save_order(const struct rig_cpu *c)
{
	size_t first = 0;

	assert_in_range(c->hw.trace_count, 1, ARRAY_SIZE(trace));
	while (first < c->hw.trace_count && !trace[first].write)
		first++;
	assert_int_equal(trace[first].reg, MODEL_PMCR);
	assert_false(trace[first].value & MODEL_PMCR_E);
	for (size_t i = 0; i < c->hw.trace_count; i++)
		assert_false(enables(&trace[i]));
}

static void a5_order(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 2 * MODEL_CLASSES; bits++) {
		enum vpmu_switch_kind kind = bits & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		struct rig_vcpu *g = &rig.vcpus[0];

		rig_init(&rig, (enum model_class)(bits >> 1), kind, 3);
		rig_load(g, &rig.cpus[0]);
		rig_enter(g);
		program(g, 6);
		rig_run(g, 1, 0x20000);
		stop(g);
		rig_load(g, &rig.cpus[0]);
		trace_on(g->cpu);
		rig_enter(g);
		check_load_order(g->cpu);
		trace_on(g->cpu);
		rig_exit(g);
		rig.cpus[0].host_value[0] = 0;
		rig_put(g);
		check_save_order(&rig.cpus[0]);
	}
}

/* ---- A6 ---- */

/*
 * Intercepted: 0 if the guest grants nothing, else EN alone; direct: the guest's value (measured
 * in arm.md 8.2).
 */
static void a6_user_access_and_pointer(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (uint64_t user = 0; user < 16; user++) {
			struct rig_vcpu *g = start(class, 0);

			rig_write(g, MODEL_PMUSERENR, user);
			rig_write(g, MODEL_PMSELR, 31);
			assert_int_equal(g->cpu->pmu.pmuserenr, user != 0);
			assert_int_equal(g->cpu->pmu.pmselr, 0);
			program(g, 1);
			assert_int_equal(g->cpu->pmu.pmuserenr, user);
			assert_int_equal(g->cpu->pmu.pmselr, 31);
			stop(g);
			assert_int_equal(rig.cpus[0].pmu.pmuserenr, rig.cpus[0].host_user);
			assert_int_equal(rig.cpus[0].pmu.pmselr, rig.cpus[0].host_pointer);
		}
	}
}

/* ---- A7 ---- */

/* Emulated instructions by (g)'s hypervisor; returns the accesses that they took. */
static uint64_t count(struct rig_vcpu *g, uint64_t n)
{
	uint64_t before;

	rig_exit(g);
	before = accesses(g);
	rig_count(g, false, n);
	before = accesses(g) - before;
	rig_compare(g);
	rig_enter(g);
	return before;
}

static void a7_emulated_instructions(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_CPU_CYCLES);
		rig_write(g, MODEL_PMCNTENSET, 1);
		rig_write(g, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		/* Nothing counts instructions. Direct selectors must be read to know that. */
		assert_in_range(count(g, 5), 0, class <= MODEL_P5_FGT ? 0 : 7);
		rig_write(g, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
		rig_write(g, MODEL_PMEVCNTR(0), UINT32_MAX - 5);
		assert_in_range(count(g, 5), 1, class <= MODEL_P5_FGT ? 6 : 6 + 7);
		assert_in_range(count(g, 1), 1, class <= MODEL_P5_FGT ? 7 : 7 + 7);
		assert_int_equal(rig_read(g, MODEL_PMOVSSET) & 1, 1);
		assert_int_equal(vpmu_count(&g->v, VPMU_EVENT_INSTRUCTIONS, false, 1),
				 VPMU_ERR_STATE);
	}
}

/* ---- V11: bounded work ---- */

static void v11_bounded_accesses(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t n = g->bare.config.counters + 1, before;

		program(g, 6);
		rig_run(g, 1, 0x20000);
		rig_exit(g);
		before = accesses(g);
		rig_reclaim(g->cpu);
		/* The host gives EL0 some access: the selectors go, too. */
		assert_in_range(accesses(g) - before, 1, 4 * n + 14);
		before = accesses(g);
		rig_enter(g);
		assert_in_range(accesses(g) - before, 1, 2 * n + 12);
		stop(g);
	}
}

static void v11_traps_are_bounded(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 3);
		struct rng rng = { 5 };

		program(g, 3);
		for (unsigned int i = 0; i < 5000; i++) {
			uint32_t reg = rng_register(&rng);
			uint64_t value = rng_value(&rng), before = accesses(g);

			if (reg == MODEL_PMCR)
				value = (value & ~(uint64_t)MODEL_PMCR_D) | MODEL_PMCR_LC;
			(void)rig_access(g, 1, reg, rng_one_in(&rng, 2), &value);
			/*
			 * A trap may load all of the guest's 4 counters, and a look may save
			 * them.
			 */
			assert_in_range(accesses(g) - before, 0, 2 * (3 * 4 + 14));
		}
	}
}

/* ---- Calls at the wrong time ---- */

static void wrong_order_of_calls(void **state)
{
	struct rig_vcpu *g = &rig.vcpus[0], *other = &rig.vcpus[1];
	struct vpmu_counter_status status;
	struct vpmu_state s;

	(void)state;
	rig_init(&rig, MODEL_P5_FGT, VPMU_SWITCH_LAZY, 1);
	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_put(&g->v), VPMU_ERR_STATE);
	rig_load(g, &rig.cpus[0]);
	assert_int_equal(vpmu_vcpu_load(&g->v, &rig.cpus[1].cpu), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_load(&other->v, &rig.cpus[0].cpu), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_enter(&g->v, 1), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_vcpu_reset(&g->v), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	assert_int_equal(vpmu_vcpu_set_state(&g->v, &s), VPMU_ERR_STATE);
	rig_enter(g);
	program(g, 1);
	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_exit(&g->v, 1), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_vcpu_put(&g->v), VPMU_ERR_STATE);
	assert_int_equal(vpmu_cpu_reclaim(&rig.cpus[0].cpu, 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_counter(&g->v, 0, &status), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_interrupt(&g->v), VPMU_ERR_STATE);
	assert_int_equal(try_read(&g->v, 1, MODEL_PMCR, &s.global), VPMU_ERR_STATE);
	rig_exit(g);
	assert_int_equal(vpmu_vcpu_counter(&g->v, VPMU_COUNTER_MAX, &status), VPMU_ERR_PARAM);
	rig_check(&rig);
}

static void a_cpu_with_too_few_counters(void **state)
{
	(void)state;
	rig_init(&rig, MODEL_P1, VPMU_SWITCH_LAZY, 1);
	rig.cpus[1].hw.hw.caps.counters = 0x8000000F;
	assert_int_equal(vpmu_vcpu_load(&rig.vcpus[0].v, &rig.cpus[1].cpu), VPMU_ERR_UNSUPPORTED);
	rig_load(&rig.vcpus[3], &rig.cpus[1]);
}

static void old_operation_table(void **state)
{
	struct vpmu_hw_ops ops;
	struct vpmu_cpu cpu;
	struct vpmu_hw hw = { .ops = &ops };

	(void)state;
	memset(&ops, 0, sizeof(ops));
	ops.size = sizeof(ops) - sizeof(void *);
	assert_int_equal(vpmu_cpu_init(&cpu, 0, &hw), VPMU_ERR_SIZE);
}

/* The host used the PMU after a reclaim, and forgot to clean up: none of it becomes the guest's. */
static void a3_what_the_host_left_behind(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 2 * MODEL_CLASSES; bits++) {
		enum vpmu_switch_kind kind = bits & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		struct rig_vcpu *g = &rig.vcpus[0];
		uint64_t all = 0x8000003F;

		rig_init(&rig, (enum model_class)(bits >> 1), kind, 3);
		rig_load(g, &rig.cpus[0]);
		rig_enter(g);
		program(g, 1);
		rig_exit(g);
		assert_int_equal(vpmu_cpu_reclaim(&g->cpu->cpu, 0), 0);
		assert_true(model_el2_access(&g->cpu->pmu, MODEL_PMCNTENSET, true, &all));
		assert_true(model_el2_access(&g->cpu->pmu, MODEL_PMINTENSET, true, &all));
		assert_true(model_el2_access(&g->cpu->pmu, MODEL_PMOVSSET, true, &all));
		rig_enter(g);
		rig_run(g, 1, 10);
		assert_int_equal(rig_read(g, MODEL_PMCNTENSET), 1);
		assert_int_equal(rig_read(g, MODEL_PMINTENSET), 1);
		assert_int_equal(rig_read(g, MODEL_PMOVSSET), 0);
		rig_exit(g);
		rig_compare(g);
	}
}

/* ---- Policies in use ---- */

static void policy_unused_when_nobody_obeys_it(void **state)
{
	static const struct vpmu_policy open;
	struct vpmu_vcpu *vcpus[2];

	(void)state;
	rig_init(&rig, MODEL_P5_FGT, VPMU_SWITCH_LAZY, 1);
	for (unsigned int i = 0; i < 2; i++) {
		vcpus[i] = &rig.vcpus[i].v;
		rig_load(&rig.vcpus[i], &rig.cpus[i]);
	}
	rig_set_policy(&rig, &rig.vms[0], &open);
	assert_false(vpmu_policy_unused(vcpus, 2, &open));
	for (unsigned int i = 0; i < 2; i++)
		rig_enter(&rig.vcpus[i]);
	assert_int_equal(vpmu_vm_set_policy(&rig.vms[0].vm, NULL), 0);
	rig.vms[0].policy = NULL;
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(vpmu_policy_unused(vcpus, 2, &open));
		rig_exit(&rig.vcpus[i]);
		rig_enter(&rig.vcpus[i]);
	}
	assert_true(vpmu_policy_unused(vcpus, 2, &open));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a1_quiet_costs_nothing),
		cmocka_unit_test(a1_what_does_not_end_quietness),
		cmocka_unit_test(a1_what_ends_quietness),
		cmocka_unit_test(a1_counts_after_load_without_a_touch),
		cmocka_unit_test(a1_back_to_zero_without_put),
		cmocka_unit_test(a1_pending_overflow_stays),
		cmocka_unit_test(a1_looks_cost_little),
		cmocka_unit_test(a2_value_under_selector_0),
		cmocka_unit_test(a2_few_counters_cost_little),
		cmocka_unit_test(a2_counters_open_at_the_first_access),
		cmocka_unit_test(a4_resume_budget),
		cmocka_unit_test(a4_trapped_guests_resume_for_nothing),
		cmocka_unit_test(a4_nsh_counts_no_el2_instruction),
		cmocka_unit_test(a4_guest_at_el2_is_noticed),
		cmocka_unit_test(a5_order),
		cmocka_unit_test(a6_user_access_and_pointer),
		cmocka_unit_test(a7_emulated_instructions),
		cmocka_unit_test(v11_bounded_accesses),
		cmocka_unit_test(v11_traps_are_bounded),
		cmocka_unit_test(wrong_order_of_calls),
		cmocka_unit_test(a_cpu_with_too_few_counters),
		cmocka_unit_test(old_operation_table),
		cmocka_unit_test(a3_what_the_host_left_behind),
		cmocka_unit_test(policy_unused_when_nobody_obeys_it),
	};

	return cmocka_run_group_tests_name("switching", tests, NULL, NULL);
}
