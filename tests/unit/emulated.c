/* SPDX-License-Identifier: MIT */
/*
 * Emulated counters. Against the software PMU: whatever a guest writes and executes, it reads the same
 * from counters made of events as from registers (V3). Against a scripted source: what that costs, and
 * what happens when the source refuses, starves, fails or reports nonsense (RULES D1, E1).
 */
#include "model_source.h"
#include "script_source.h"
#include "support.h"

/* ---- Against the software PMU ---- */

struct twins {
	struct lone_guest g;
	struct vpmu_emulated emulated;
	struct vpmu_model_source source;
	struct model_pmu bare;
	uint64_t seed;
};

static void emulate(struct lone_guest *g)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };

	assert_int_equal(vpmu_arm_vm_init(&g->vm, &g->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
}

static void twins_init(struct twins *t, enum vpmu_arm_version version, unsigned int n, uint64_t seed)
{
	struct model_config config = { .version = version, .counters = n, .id = 0x4100, .mmir = 8,
				       .no_el2 = true };

	t->seed = seed;
	lone_guest_init(&t->g, version, n, NULL);
	emulate(&t->g);
	vpmu_model_source_init(&t->source, &t->g.v, VPMU_COUNTER_MAX, seed % 2);
	assert_int_equal(vpmu_vcpu_attach(&t->g.v, &t->emulated, &t->source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&t->g.v, NULL), 0);
	config.ceid[0] = t->g.model.ceid[0];
	config.ceid[1] = t->g.model.ceid[1];
	model_pmu_reset(&t->bare, &config, 0);
}

static bool is_typer(uint32_t reg)
{
	for (unsigned int n = 0; n < 31; n++) {
		if (reg == MODEL_PMEVTYPER(n))
			return true;
	}
	return reg == MODEL_PMXEVTYPER;
}

/*
 * A source does not say in which ring an event was the one that overflowed, so a chained counter that
 * filters other rings than its partner is not exact: CHAIN is never filtered here.
 */
static uint64_t chain_unfiltered(uint32_t reg, uint64_t value)
{
	return is_typer(reg) && (value & 0x3FF) == MODEL_EVENT_CHAIN ? MODEL_EVENT_CHAIN : value;
}

static void access_twins(struct twins *t, uint32_t reg, unsigned int el, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = (uint8_t)el, .write = write };
	uint64_t bare = chain_unfiltered(reg, value);
	int outcome;

	access.value = bare;
	outcome = vpmu_arm_access(&t->g.v, &access);
	if (model_guest_access(&t->bare, el, reg, write, &bare) != MODEL_EXECUTED)
		assert_int_not_equal(outcome, VPMU_HANDLED);
	else if (outcome != VPMU_HANDLED || access.value != bare)
		fail_msg("seed %llu: reg %#x: outcome %d, %#llx, bare %#llx",
			 (unsigned long long)t->seed, reg, outcome,
			 (unsigned long long)access.value, (unsigned long long)bare);
}

/* Something that counts, so that not all of it is rubbish. */
static void program_twins(struct twins *t, struct rng *rng)
{
	static const uint64_t events[] = { MODEL_EVENT_INST_RETIRED, MODEL_EVENT_CPU_CYCLES,
					   MODEL_EVENT_CHAIN, MODEL_EVENT_SW_INCR };
	unsigned int n = (unsigned int)rng_below(rng, 31);

	access_twins(t, MODEL_PMEVTYPER(n), 1, true, events[rng_below(rng, ARRAY_SIZE(events))]);
	access_twins(t, MODEL_PMCNTENSET, 1, true, BIT(n) | CYCLE_BIT);
	access_twins(t, MODEL_PMINTENSET, 1, true, rng_next(rng));
	access_twins(t, MODEL_PMCR, 1, true, MODEL_PMCR_E | (rng_next(rng) & MODEL_PMCR_LP));
	if (rng_one_in(rng, 2))
		access_twins(t, MODEL_PMEVCNTR(n), 1, true, (uint64_t)0 - rng_below(rng, 200));
}

static bool line(struct twins *t)
{
	return model_interrupt(&t->bare);
}

static void run_twins(struct twins *t, struct rng *rng)
{
	struct vpmu_model_burst burst = {
		.user = rng_one_in(rng, 2),
	};
	struct model_events events = {
		.instructions = rng_one_in(rng, 32) ? rng_value(rng) >> 20 : rng_below(rng, 300),
		.cycles = rng_one_in(rng, 32) ? rng_value(rng) >> 20 : rng_below(rng, 300),
	};
	bool before = line(t);
	bool kick;

	burst.counts[VPMU_MEANS_INSTRUCTIONS] = events.instructions;
	burst.counts[VPMU_MEANS_CYCLES] = events.cycles;
	while (vpmu_vcpu_enter(&t->g.v, 0) == VPMU_AGAIN)
		;
	kick = vpmu_model_source_run(&t->source, &burst);
	model_retire(&t->bare, burst.user ? 0 : 1, &events);
	/* Nobody would look for the overflow without a hint. */
	if (line(t) && !before && !kick)
		fail_msg("seed %llu: an overflow without a hint", (unsigned long long)t->seed);
	assert_int_equal(vpmu_vcpu_exit(&t->g.v, 0), 0);
}

static void move_twins(struct twins *t)
{
	assert_int_equal(vpmu_vcpu_put(&t->g.v), 0);
	assert_int_equal(vpmu_vcpu_load(&t->g.v, NULL), 0);
}

static void same_registers(struct twins *t)
{
	struct vpmu_state s;
	bool same;

	assert_int_equal(vpmu_vcpu_interrupt(&t->g.v), line(t));
	assert_int_equal(vpmu_vcpu_get_state(&t->g.v, &s), 0);
	same = s.value[CYCLE] == t->bare.pmccntr && s.status == t->bare.pmovs;
	for (unsigned int i = 0; i < t->bare.config.counters; i++)
		same = same && s.value[i] == t->bare.pmevcntr[i];
	if (!same)
		fail_msg("seed %llu: counts differ", (unsigned long long)t->seed);
}

static void twins_agree(enum vpmu_arm_version version, unsigned int n, uint64_t seed)
{
	struct rng rng = { seed };
	static struct twins t;

	twins_init(&t, version, n, seed);
	for (unsigned int step = 0; step < 3000; step++) {
		switch (rng_below(&rng, 6)) {
		case 0:
			program_twins(&t, &rng);
			break;
		case 1:
			if (rng_one_in(&rng, 8))
				move_twins(&t);
			break;
		case 2:
			access_twins(&t, rng_register(&rng), rng_one_in(&rng, 4) ? 0 : 1,
				     rng_one_in(&rng, 2), rng_value(&rng));
			break;
		default:
			run_twins(&t, &rng);
		}
		if (rng_one_in(&rng, 4))
			same_registers(&t);
	}
	same_registers(&t);
}

static void events_count_as_registers_do(void **state)
{
	static const enum vpmu_arm_version versions[] = { VPMU_ARM_V3, VPMU_ARM_V3P1, VPMU_ARM_V3P4,
							  VPMU_ARM_V3P5 };

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(versions); k++) {
		for (uint64_t seed = 1; seed <= 24; seed++)
			twins_agree(versions[k], (unsigned int)seed % 8, seed + 1000 * k);
	}
}

/* ---- A scripted source ---- */

struct scripted {
	struct lone_guest g;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
};

static void scripted_init(struct scripted *s, bool cheap_reads)
{
	lone_guest_init(&s->g, VPMU_ARM_V3P1, 8, NULL);
	emulate(&s->g);
	vpmu_script_source_init(&s->source, &s->g.v, cheap_reads);
	assert_int_equal(vpmu_vcpu_attach(&s->g.v, &s->emulated, &s->source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&s->g.v, NULL), 0);
	guest_write(&s->g.v, MODEL_PMCR, MODEL_PMCR_E);
}

static void set(struct scripted *s, uint32_t reg, uint64_t value)
{
	guest_write(&s->g.v, reg, value);
}

static uint64_t get(struct scripted *s, uint32_t reg)
{
	return guest_read(&s->g.v, reg);
}

/* As an embedder does it: an interrupt that comes up on the way in is delivered first. */
static void enter(struct scripted *s)
{
	int answer = vpmu_vcpu_enter(&s->g.v, 0);

	if (answer == VPMU_AGAIN) {
		assert_int_equal(vpmu_vcpu_interrupt(&s->g.v), 1);
		answer = vpmu_vcpu_enter(&s->g.v, 0);
	}
	assert_int_equal(answer, 0);
}

/* The guest runs, and (n) events happen in (slot). */
static void run(struct scripted *s, unsigned int slot, uint64_t n)
{
	enter(s);
	vpmu_script_source_count(&s->source, slot, n);
	assert_int_equal(vpmu_vcpu_exit(&s->g.v, 0), 0);
}

/* Counter (n) counts event (event) from (value), with an interrupt if (irq). */
static void count_from(struct scripted *s, unsigned int n, uint64_t event, uint64_t value, bool irq)
{
	set(s, MODEL_PMEVTYPER(n), event);
	set(s, MODEL_PMEVCNTR(n), value);
	set(s, irq ? MODEL_PMINTENSET : MODEL_PMINTENCLR, BIT(n));
	set(s, MODEL_PMCNTENSET, BIT(n));
}

static void finish(struct scripted *s)
{
	assert_int_equal(vpmu_vcpu_put(&s->g.v), 0);
	assert_int_equal(vpmu_vcpu_detach(&s->g.v), 0);
	assert_int_equal(s->source.live, 0);
	assert_int_equal(s->source.misuse, 0);
}

static enum vpmu_counter_state state_of(struct scripted *s, unsigned int n)
{
	struct vpmu_counter_status status;

	assert_int_equal(vpmu_vcpu_counter(&s->g.v, n, &status), 0);
	return status.state;
}

/* Mail thread 2, M121: toggling an enable is not a new event, and costs no call where reads are cheap. */
static void toggles_are_free(void **state)
{
	struct scripted s;
	uint64_t calls;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, 0, false);
	run(&s, 0, 10);
	calls = s.source.source.calls;
	for (unsigned int k = 0; k < 1000; k++) {
		set(&s, MODEL_PMCNTENCLR, 1);
		run(&s, 0, 1000);
		set(&s, MODEL_PMCNTENSET, 1);
		run(&s, 0, 3);
	}
	assert_int_equal(s.source.source.calls, calls);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 10 + 3 * 1000);
	finish(&s);
}

/* Without cheap reads a stop is real, and still no new event. */
static void toggles_stop_and_start(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, false);
	count_from(&s, 0, 0x11, 0, false);
	for (unsigned int k = 0; k < 100; k++) {
		set(&s, MODEL_PMCNTENSET, 1);
		run(&s, 0, 3);
		set(&s, MODEL_PMCNTENCLR, 1);
		run(&s, 0, 1000);
	}
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 300);
	assert_int_equal(s.source.creates, 1);
	assert_int_equal(s.source.releases, 0);
	assert_int_equal(s.source.stops, 100);
	finish(&s);
}

/* M123: what is written between two enters is worked out once. */
static void writes_are_coalesced(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	for (unsigned int k = 0; k < 50; k++) {
		count_from(&s, 0, k % 2 ? 0x11 : 0x08, k, true);
		set(&s, MODEL_PMCNTENCLR, k % 3);
	}
	assert_int_equal(s.source.source.calls, 0);
	count_from(&s, 0, 0x08, 5, true);
	run(&s, 0, 7);
	assert_int_equal(s.source.creates, 1);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 12);
	set(&s, MODEL_PMEVTYPER(0), 0x11);
	run(&s, 0, 1);
	assert_int_equal(s.source.creates, 2);
	assert_int_equal(s.source.releases, 0);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 13);
	finish(&s);
}

/* Mail thread 4, M121: events that take turns on too few counters are created once. */
static void turns_are_no_new_events(void **state)
{
	enum { EVENTS = 22, COUNTERS = 6, TURNS = 100 };
	uint64_t counts[EVENTS] = { 0 };
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	for (unsigned int k = 0; k < TURNS; k++) {
		for (unsigned int n = 0; n < COUNTERS; n++)
			count_from(&s, n, 0x100 + (k + n) % EVENTS, counts[(k + n) % EVENTS], k % 2);
		for (unsigned int n = 0; n < COUNTERS; n++)
			run(&s, n, k + n);
		for (unsigned int n = 0; n < COUNTERS; n++) {
			counts[(k + n) % EVENTS] += k + n;
			assert_int_equal(get(&s, MODEL_PMEVCNTR(n)), counts[(k + n) % EVENTS]);
		}
	}
	assert_int_equal(s.source.creates, EVENTS);
	assert_int_equal(s.source.releases, 0);
	finish(&s);
}

/* Up to 32 events are parked; then the one that has been longest goes. */
static void parking_is_bounded(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	for (unsigned int k = 0; k < 50; k++) {
		count_from(&s, 0, 0x100 + k, 0, false);
		run(&s, 0, 1);
		assert_int_equal(s.source.live, k < 33 ? k + 1 : 33);
	}
	count_from(&s, 0, 0x100 + 17, 0, false);
	run(&s, 0, 1);
	assert_int_equal(s.source.creates, 50);
	count_from(&s, 0, 0x100 + 16, 0, false);
	run(&s, 0, 1);
	assert_int_equal(s.source.creates, 51);
	finish(&s);
}

/* A source that is full gets back what is parked before a counter starves. */
static void parked_events_make_room(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	s.source.capacity = 3;
	for (unsigned int k = 0; k < 10; k++) {
		count_from(&s, 0, 0x100 + k, 0, false);
		run(&s, 0, 5);
		assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 5);
		assert_int_equal(state_of(&s, 0), VPMU_COUNTER_COUNTING);
	}
	finish(&s);
}

/* What nobody selects again is released after some residencies, what is selected again stays. */
static void parked_events_are_released(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	for (unsigned int k = 0; k < 4; k++) {
		count_from(&s, 0, 0x100 + k, 0, false);
		run(&s, 0, 1);
	}
	for (unsigned int k = 0; k < 65; k++) {
		assert_int_equal(s.source.live, 4);
		count_from(&s, 0, 0x100 + 2 + k % 2, 0, false);
		run(&s, 0, 1);
		assert_int_equal(vpmu_vcpu_put(&s.g.v), 0);
		assert_int_equal(vpmu_vcpu_load(&s.g.v, NULL), 0);
	}
	assert_int_equal(s.source.live, 2);
	assert_int_equal(s.source.creates, 4);
	finish(&s);
}

/* Six that stop are out of the way before six others start: no source needs room for twelve. */
static void stops_come_first(void **state)
{
	struct lone_guest g;
	struct vpmu_emulated emulated;
	struct vpmu_model_source source;
	uint64_t calls;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P1, 8, NULL);
	emulate(&g);
	vpmu_model_source_init(&source, &g.v, 1, true);
	assert_int_equal(vpmu_vcpu_attach(&g.v, &emulated, &source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&g.v, NULL), 0);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E);
	guest_write(&g.v, MODEL_PMEVTYPER(0), MODEL_EVENT_CPU_CYCLES);
	guest_write(&g.v, MODEL_PMEVTYPER(1), MODEL_EVENT_INST_RETIRED);
	for (unsigned int k = 0; k < 10; k++) {
		calls = source.source.calls;
		guest_write(&g.v, MODEL_PMCNTENCLR, 3);
		guest_write(&g.v, MODEL_PMCNTENSET, 2 - k % 2);
		assert_int_equal(vpmu_vcpu_enter(&g.v, 0), 0);
		assert_int_equal(vpmu_vcpu_exit(&g.v, 0), 0);
		assert_true(source.slot[0].exists == (k > 0) && source.slot[1].exists);
	}
	/* The paused one gives up its counter, not its place: refused, stop, start. */
	assert_int_equal(source.source.calls - calls, 3);
	assert_int_equal(vpmu_vcpu_put(&g.v), 0);
	assert_int_equal(vpmu_vcpu_detach(&g.v), 0);
}

/* A pause makes the hint come early; it is armed again then, not at the end of each pause. */
static void short_pauses_leave_periods_alone(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, UINT32_MAX - 999999, true);
	run(&s, 0, 1);
	for (unsigned int k = 0; k < 20; k++) {
		set(&s, MODEL_PMCNTENCLR, 1);
		run(&s, 0, 1000);
		set(&s, MODEL_PMCNTENSET, 1);
		run(&s, 0, 1);
	}
	assert_int_equal(s.source.periods, 0);
	assert_int_equal(s.source.slot[0].left, 1000000 - 1 - 20 * 1001);
	/* A long one does not. */
	set(&s, MODEL_PMCNTENCLR, 1);
	run(&s, 0, 500000);
	set(&s, MODEL_PMCNTENSET, 1);
	run(&s, 0, 1);
	assert_int_equal(s.source.periods, 1);
	assert_int_equal(s.source.slot[0].event.period, 1000000 - 21);
	/* Nor does a hint that would come too late. */
	set(&s, MODEL_PMEVCNTR(0), UINT32_MAX - 99);
	run(&s, 0, 1);
	assert_int_equal(s.source.slot[0].event.period, 100);
	finish(&s);
}

/* An overflow of a wide counter is armed once, for where the guest's handler sets it, and not for 2^64. */
static void overflows_are_armed_once(void **state)
{
	const uint64_t reload = UINT64_MAX - 999;
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	set(&s, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	set(&s, MODEL_PMCCNTR, reload);
	set(&s, MODEL_PMINTENSET, CYCLE_BIT);
	set(&s, MODEL_PMCNTENSET, CYCLE_BIT);
	for (unsigned int k = 0; k < 10; k++) {
		run(&s, CYCLE, 1000);
		(void)vpmu_vcpu_overflow(&s.g.v, CYCLE);
		assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 1);
		run(&s, CYCLE, 5);
		assert_int_equal(s.source.periods, k);
		assert_int_equal(get(&s, MODEL_PMOVSSET), CYCLE_BIT);
		set(&s, MODEL_PMOVSCLR, CYCLE_BIT);
		set(&s, MODEL_PMCCNTR, reload);
		run(&s, CYCLE, 0);
		assert_int_equal(s.source.periods, k + 1);
		assert_int_equal(s.source.slot[CYCLE].left, 1000);
	}
	/* A guest that leaves it alone gets its next overflow too. */
	run(&s, CYCLE, 1000);
	(void)vpmu_vcpu_overflow(&s.g.v, CYCLE);
	assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 1);
	run(&s, CYCLE, 5);
	assert_int_equal(s.source.periods, 10);
	run(&s, CYCLE, 5);
	assert_int_equal(s.source.periods, 11);
	assert_int_equal(s.source.slot[CYCLE].event.period, (uint64_t)0 - 5);
	finish(&s);
}

/* Where a look is a system call, one per counter and exit is enough. */
static void looks_once_per_exit(void **state)
{
	struct scripted s;
	uint64_t reads;

	(void)state;
	scripted_init(&s, false);
	count_from(&s, 0, 0x11, 0, false);
	count_from(&s, 1, 0x08, 0, false);
	run(&s, 0, 1);
	reads = s.source.reads;
	for (unsigned int k = 0; k < 5; k++) {
		(void)get(&s, MODEL_PMEVCNTR(0));
		(void)get(&s, MODEL_PMOVSSET);
		set(&s, MODEL_PMOVSCLR, 1);
	}
	assert_int_equal(s.source.reads - reads, 2);
	/* A stop and a start know where the count is. */
	set(&s, MODEL_PMCNTENCLR, 3);
	run(&s, 0, 10);
	set(&s, MODEL_PMCNTENSET, 3);
	run(&s, 0, 10);
	assert_int_equal(s.source.reads - reads, 2);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 11);
	finish(&s);
}

/* RULES D1: six paused events make room for a seventh that is needed. */
static void paused_events_make_room(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	s.source.capacity = 6;
	for (unsigned int n = 0; n < 6; n++)
		count_from(&s, n, 0x100 + n, 0, false);
	run(&s, 0, 1);
	set(&s, MODEL_PMCNTENCLR, 0x3F);
	count_from(&s, 6, 0x106, 0, false);
	run(&s, 6, 4);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(6)), 4);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 1);
	assert_int_equal(state_of(&s, 6), VPMU_COUNTER_COUNTING);
	finish(&s);
}

/* M51: an event that gets no hardware is not a counter that counts nothing. */
static void starving_shows(void **state)
{
	struct scripted s;
	struct vpmu_counter_status status;

	(void)state;
	scripted_init(&s, true);
	s.source.capacity = 1;
	count_from(&s, 0, 0x11, 0, false);
	count_from(&s, 1, 0x08, 0, false);
	run(&s, 0, 5);
	assert_int_equal(state_of(&s, 0), VPMU_COUNTER_COUNTING);
	assert_int_equal(state_of(&s, 1), VPMU_COUNTER_STARVED);
	s.source.capacity = 2;
	run(&s, 1, 5);
	assert_int_equal(state_of(&s, 1), VPMU_COUNTER_COUNTING);
	s.source.starved = 2;
	run(&s, 1, 5);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(1)), 5);
	assert_int_equal(vpmu_vcpu_counter(&s.g.v, 1, &status), 0);
	assert_int_equal(status.state, VPMU_COUNTER_STARVED);
	assert_int_equal(status.enabled_time, 10);
	assert_int_equal(status.running_time, 5);
	finish(&s);
}

/* RULES D1: a hint that comes early is no overflow, and what is left is armed again. */
static void hints_are_confirmed(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, UINT32_MAX - 9999, true);
	run(&s, 0, 4000);
	assert_int_equal(s.source.slot[0].event.period, 10000);
	assert_int_equal(vpmu_vcpu_enter(&s.g.v, 0), 0);
	assert_true(vpmu_vcpu_overflow(&s.g.v, 0));
	assert_int_equal(vpmu_vcpu_exit(&s.g.v, 0), 0);
	assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 0);
	run(&s, 0, 5999);
	assert_int_equal(s.source.slot[0].event.period, 6000);
	assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 0);
	run(&s, 0, 1);
	assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 1);
	assert_int_equal(get(&s, MODEL_PMOVSSET), 1);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 0);
	set(&s, MODEL_PMOVSCLR, 1);
	(void)vpmu_vcpu_overflow(&s.g.v, 0);
	run(&s, 0, 1);
	assert_int_equal(get(&s, MODEL_PMOVSSET), 0);
	finish(&s);
}

/* An interrupt of a chained counter needs hints from the one below, also when it is asked for later. */
static void chained_interrupts_get_hints(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, UINT32_MAX - 99, false);
	count_from(&s, 1, MODEL_EVENT_CHAIN, UINT32_MAX, false);
	run(&s, 0, 10);
	assert_int_equal(s.source.slot[0].event.period, 0);
	set(&s, MODEL_PMINTENSET, 2);
	run(&s, 0, 10);
	assert_int_equal(s.source.slot[0].event.period, 90);
	assert_int_equal(vpmu_vcpu_enter(&s.g.v, 0), 0);
	vpmu_script_source_count(&s.source, 0, 80);
	assert_true(vpmu_vcpu_overflow(&s.g.v, 0));
	assert_int_equal(vpmu_vcpu_exit(&s.g.v, 0), 0);
	assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 1);
	assert_int_equal(get(&s, MODEL_PMOVSSET), 3);
	assert_int_equal(s.source.creates, 1);
	finish(&s);
}

/* M67: an overflow of an event that was paused, or of a counter that was stopped, is nobody's. */
static void late_hints_are_nobodys(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, UINT32_MAX - 99999, true);
	run(&s, 0, 1);
	set(&s, MODEL_PMCNTENCLR, 1);
	run(&s, 0, 200000);
	assert_int_equal(s.source.stops, 0);
	(void)vpmu_vcpu_overflow(&s.g.v, 0);
	run(&s, 0, 200000);
	assert_int_equal(s.source.stops, 1);
	assert_int_equal(get(&s, MODEL_PMOVSSET), 0);
	set(&s, MODEL_PMCNTENSET, 1);
	run(&s, 0, 99998);
	assert_int_equal(get(&s, MODEL_PMOVSSET), 0);
	assert_int_equal(s.source.slot[0].event.period, 99999);
	run(&s, 0, 1);
	assert_int_equal(get(&s, MODEL_PMOVSSET), 1);
	/* Close to its overflow an event is stopped for real. */
	set(&s, MODEL_PMEVCNTR(0), UINT32_MAX - 10);
	run(&s, 0, 1);
	set(&s, MODEL_PMCNTENCLR, 1);
	run(&s, 0, 100);
	assert_int_equal(s.source.stops, 2);
	finish(&s);
}

/* RULES E1: an overflow while the guest is being entered is not slept over. */
static void enter_looks_again(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, UINT32_MAX, true);
	s.source.nmi = 1;
	s.source.nmi_left = 1;
	assert_int_equal(vpmu_vcpu_enter(&s.g.v, 0), VPMU_AGAIN);
	assert_int_equal(vpmu_vcpu_exit(&s.g.v, 0), VPMU_ERR_STATE);
	assert_false(vpmu_vcpu_overflow(&s.g.v, 0));
	run(&s, 0, 1);
	assert_int_equal(vpmu_vcpu_interrupt(&s.g.v), 1);
	assert_false(vpmu_vcpu_overflow(&s.g.v, VPMU_COUNTER_MAX));
	finish(&s);
}

/* A guest that uses everything; the counts that a source without failures would give. */
static void busy_guest(struct scripted *s)
{
	for (unsigned int k = 0; k < 8; k++) {
		for (unsigned int n = 0; n < 6; n++)
			count_from(s, n, 0x11 + (n + k) % 4, 0, n % 2);
		for (unsigned int n = 0; n < 6; n++) {
			while (vpmu_vcpu_enter(&s->g.v, 0) == VPMU_AGAIN)
				;
			vpmu_script_source_count(&s->source, n, 10);
			assert_int_equal(vpmu_vcpu_exit(&s->g.v, 0), 0);
		}
		set(s, MODEL_PMCNTENCLR, k);
	}
}

/* V10: the host may fail at any call; nothing is lost, leaked or half-applied. */
static void fails_at_every_call(void **state)
{
	uint64_t n = 1;
	uint64_t possible;

	(void)state;
	do {
		struct scripted s;

		scripted_init(&s, n % 2);
		s.source.fail_at = n;
		s.source.nmi = 0x15;
		s.source.nmi_left = n % 3 ? 200 : 0;
		busy_guest(&s);
		possible = s.source.can_fail;
		s.source.nmi_left = 0;
		/* One failure is over: everything counts again. */
		set(&s, MODEL_PMCNTENCLR, 0xFF);
		count_from(&s, 2, 0x11, 0, false);
		run(&s, 2, 7);
		assert_int_equal(get(&s, MODEL_PMEVCNTR(2)), 7);
		assert_int_equal(get(&s, MODEL_PMOVSSET), 0);
		finish(&s);
	} while (n++ < possible);
	assert_true(n > 40);
}

/* An event that was of no use for a whole residency is released; one in use is kept. */
static void released_after_a_residency(void **state)
{
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, 0, false);
	count_from(&s, 1, 0x08, 0, false);
	run(&s, 0, 1);
	set(&s, MODEL_PMCNTENCLR, 2);
	run(&s, 0, 1);
	for (unsigned int k = 0; k < 2; k++) {
		assert_int_equal(s.source.live, 2);
		assert_int_equal(vpmu_vcpu_put(&s.g.v), 0);
		assert_int_equal(vpmu_vcpu_load(&s.g.v, NULL), 0);
		if (k == 0)
			run(&s, 0, 1);
	}
	assert_int_equal(s.source.live, 1);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 3);
	finish(&s);
}

/* A policy change takes effect at the next enter (V8). */
static void policy_stops_events(void **state)
{
	static const struct vpmu_event_range cycles = { 0x11, 0x11 };
	static const struct vpmu_policy deny = { &cycles, 1, false, NULL, NULL };
	struct scripted s;

	(void)state;
	scripted_init(&s, true);
	count_from(&s, 0, 0x11, 0, false);
	run(&s, 0, 5);
	assert_int_equal(vpmu_vm_set_policy(&s.g.vm, &deny), 0);
	run(&s, 0, 5);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 5);
	assert_int_equal(state_of(&s, 0), VPMU_COUNTER_DENIED);
	assert_int_equal(get(&s, MODEL_PMEVTYPER(0)), 0x11);
	assert_int_equal(vpmu_vm_set_policy(&s.g.vm, NULL), 0);
	run(&s, 0, 5);
	assert_int_equal(get(&s, MODEL_PMEVCNTR(0)), 10);
	finish(&s);
}

static void wrong_order_of_calls(void **state)
{
	struct scripted s;
	struct lone_guest mediated;
	struct vpmu_emulated emulated;

	(void)state;
	scripted_init(&s, true);
	assert_int_equal(vpmu_vcpu_attach(&s.g.v, &emulated, &s.source.source), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_detach(&s.g.v), VPMU_ERR_STATE);
	finish(&s);
	assert_int_equal(vpmu_vcpu_load(&s.g.v, NULL), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_detach(&s.g.v), 0);
	lone_guest_init(&mediated, VPMU_ARM_V3, 4, NULL);
	assert_int_equal(vpmu_vcpu_attach(&mediated.v, &emulated, &s.source.source), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_load(&mediated.v, NULL), VPMU_ERR_UNSUPPORTED);
	assert_false(vpmu_vcpu_overflow(&mediated.v, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_count_as_registers_do),
		cmocka_unit_test(toggles_are_free),
		cmocka_unit_test(toggles_stop_and_start),
		cmocka_unit_test(writes_are_coalesced),
		cmocka_unit_test(turns_are_no_new_events),
		cmocka_unit_test(parking_is_bounded),
		cmocka_unit_test(parked_events_make_room),
		cmocka_unit_test(parked_events_are_released),
		cmocka_unit_test(stops_come_first),
		cmocka_unit_test(short_pauses_leave_periods_alone),
		cmocka_unit_test(overflows_are_armed_once),
		cmocka_unit_test(looks_once_per_exit),
		cmocka_unit_test(paused_events_make_room),
		cmocka_unit_test(starving_shows),
		cmocka_unit_test(hints_are_confirmed),
		cmocka_unit_test(chained_interrupts_get_hints),
		cmocka_unit_test(late_hints_are_nobodys),
		cmocka_unit_test(enter_looks_again),
		cmocka_unit_test(fails_at_every_call),
		cmocka_unit_test(released_after_a_residency),
		cmocka_unit_test(policy_stops_events),
		cmocka_unit_test(wrong_order_of_calls),
	};

	return cmocka_run_group_tests_name("emulated", tests, NULL, NULL);
}
