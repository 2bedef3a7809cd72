/* SPDX-License-Identifier: MIT */
/*
 * Emulated counters of an x86 guest: against the oracle over sources/model, against plain
 * arithmetic over sources/script, and what they cost in calls of the source. And vpmu_count(),
 * which is the same for all backings, by every rule that says what counts (V3).
 */
#include <string.h>

#include "model_source.h"
#include "script_source.h"
#include "support.h"
#include "x86_cpu.h"

#define FIXED X86_PMU_FIXED

struct guest {
	struct vpmu_machine machine;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	uint32_t lvtpc;
};

static struct vpmu_x86_model shape(enum vpmu_x86_vendor vendor, uint8_t version)
{
	struct vpmu_x86_model m = { .size = sizeof(m), .vendor = vendor, .version = version,
				    .gp_width = 48 };

	if (vendor == VPMU_X86_AMD) {
		m.gp = version == 2 ? 6 : 4;
		return m;
	}
	m.gp = 8;
	m.fixed = version >= 2 ? 3 : 0;
	m.fixed_width = version >= 2 ? 48 : 0;
	m.events_length = 7;
	m.pdcm = m.full_width_writes = version >= 2;
	return m;
}

static void init_vm(struct guest *g, const struct vpmu_x86_model *model,
		    const struct vpmu_policy *policy)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED,
					 .policy = policy };

	memset(g, 0, sizeof(*g));
	g->model = *model;
	g->lvtpc = X86_LVTPC_MASKED;
	vpmu_machine_init(&g->machine);
	assert_int_equal(vpmu_x86_vm_init(&g->vm, &g->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
}

static void scripted(struct guest *g, const struct vpmu_x86_model *model, bool cheap_reads)
{
	init_vm(g, model, NULL);
	vpmu_script_source_init(&g->source, &g->v, cheap_reads);
	assert_int_equal(vpmu_vcpu_attach(&g->v, &g->emulated, &g->source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&g->v, NULL), 0);
}

static void intel(struct guest *g, bool cheap_reads)
{
	struct vpmu_x86_model m = shape(VPMU_X86_INTEL, 4);

	scripted(g, &m, cheap_reads);
}

static void wr(struct guest *g, uint32_t index, uint64_t value)
{
	assert_int_equal(vpmu_x86_wrmsr(&g->v, index, value), VPMU_HANDLED);
}

static uint64_t rd(struct guest *g, uint32_t index)
{
	uint64_t value = 0;

	assert_int_equal(vpmu_x86_rdmsr(&g->v, index, &value), VPMU_HANDLED);
	return value;
}

static void set_lvtpc(struct guest *g, uint32_t value)
{
	g->lvtpc = value;
	assert_int_equal(vpmu_vcpu_lvtpc(&g->v, value), 0);
}

/* Before each enter: is there a PMI? An Intel entry masks itself. */
static int ask(struct guest *g)
{
	int given = vpmu_vcpu_pmi(&g->v);

	if (given == 1 && vpmu_x86_masks_lvtpc(&g->vm))
		set_lvtpc(g, g->lvtpc | X86_LVTPC_MASKED);
	return given;
}

static int enter(struct guest *g)
{
	int given = 0;

	do
		given += ask(g);
	while (vpmu_vcpu_enter(&g->v, 0) == VPMU_AGAIN);
	return given;
}

static void leave(struct guest *g)
{
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
}

/* The guest runs, and (n) events happen in (slot); hints come when they are due. */
static void run(struct guest *g, unsigned int slot, uint64_t n)
{
	bool due;

	(void)enter(g);
	due = g->source.slot[slot].left && n >= g->source.slot[slot].left &&
	      g->source.slot[slot].counts;
	vpmu_script_source_count(&g->source, slot, n);
	if (due)
		(void)vpmu_script_source_overflow(&g->source, slot);
	leave(g);
}

#define BOTH (X86_SEL_USR | X86_SEL_OS)
#define RAW(n) (0x0100u + (n))   /* events that mean nothing */

/* Counter (i) counts (event) from (value), with an interrupt if (irq). */
static void count_from(struct guest *g, unsigned int i, uint64_t event, uint64_t value, bool irq)
{
	wr(g, X86_MSR_PERFEVTSEL(i), 0);
	wr(g, X86_MSR_PMC(i), value);
	wr(g, X86_MSR_PERFEVTSEL(i), event | BOTH | X86_SEL_EN | (irq ? X86_SEL_INT : 0));
}

#define WIDTH (BIT(48) - 1)

static void finish(struct guest *g)
{
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	assert_int_equal(vpmu_vcpu_detach(&g->v), 0);
	assert_int_equal(g->source.live, 0);
	assert_int_equal(g->source.misuse, 0);
}

static enum vpmu_counter_state state_of(struct guest *g, unsigned int i)
{
	struct vpmu_counter_status status;

	assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
	return status.state;
}

static uint64_t calls(const struct guest *g)
{
	return g->source.source.calls;
}

/* ---- Against the oracle: V3 ---- */

struct twins {
	struct guest g;
	struct vpmu_model_source source;
	struct x86_pmu bare;
	struct rng rng;
	uint64_t seed;
	bool owed, given;
};

static void twins_init(struct twins *t, const struct vpmu_x86_model *m, uint64_t seed)
{
	struct x86_pmu_config config = {
		.vendor = m->vendor == VPMU_X86_AMD ? X86_PMU_AMD : X86_PMU_INTEL,
		.version = m->version, .gp = m->gp, .gp_width = m->gp_width, .fixed = m->fixed,
		.fixed_width = m->fixed_width, .events_length = m->events_length,
		.pdcm = m->pdcm, .full_width_writes = m->full_width_writes, .pin_control = true,
		.core_extension = m->core_extension,
	};

	init_vm(&t->g, m, NULL);
	vpmu_model_source_init(&t->source, &t->g.v, 64, seed & 1);
	assert_int_equal(vpmu_vcpu_attach(&t->g.v, &t->g.emulated, &t->source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&t->g.v, NULL), 0);
	x86_pmu_reset(&t->bare, &config);
	t->rng.state = t->seed = seed;
	t->owed = t->given = false;
}

#define differs(t, what, got, want) \
	do { \
		if ((got) != (want)) \
			fail_msg("seed %llu: %s is %#llx, bare %#llx", \
				 (unsigned long long)(t)->seed, what, (unsigned long long)(got), \
				 (unsigned long long)(want)); \
	} while (0)

static void twins_ask(struct twins *t)
{
	bool given = ask(&t->g) == 1;

	differs(t, "PMI", given, t->owed && !t->given);
	t->given |= given;
	t->owed &= !given;
	x86_pmu_set_lvtpc(&t->bare, t->g.lvtpc);
}

static void retire_bare(struct twins *t, bool user, const struct x86_pmu_events *events)
{
	uint64_t interrupts = t->bare.interrupts;

	x86_pmu_retire(&t->bare, user, events);
	(void)x86_pmu_take_interrupt(&t->bare);
	t->owed |= t->bare.interrupts != interrupts;
}

static void twins_run(struct twins *t)
{
	/* Less than what is too far for one run, 2^40. */
	uint64_t n = rng_one_in(&t->rng, 12) ? rng_value(&t->rng) >> 26 : rng_below(&t->rng, 200);
	struct vpmu_model_burst burst = { .user = rng_one_in(&t->rng, 2), .nanoseconds = 1 };
	struct x86_pmu_events events = { .instructions = n, .cycles = 2 * n,
					 .reference_cycles = 2 * n - n / 2, .branches = n / 5,
					 .branch_misses = n / 50, .llc_references = n / 3,
					 .llc_misses = n / 9 };
	bool kick, owed;

	burst.counts[VPMU_MEANS_INSTRUCTIONS] = events.instructions;
	burst.counts[VPMU_MEANS_CYCLES] = events.cycles;
	burst.counts[VPMU_MEANS_REFERENCE_CYCLES] = events.reference_cycles;
	burst.counts[VPMU_MEANS_BRANCHES] = events.branches;
	burst.counts[VPMU_MEANS_BRANCH_MISSES] = events.branch_misses;
	burst.counts[VPMU_MEANS_LLC_REFERENCES] = events.llc_references;
	burst.counts[VPMU_MEANS_LLC_MISSES] = events.llc_misses;
	do
		twins_ask(t);
	while (vpmu_vcpu_enter(&t->g.v, 0) == VPMU_AGAIN);
	kick = vpmu_model_source_run(&t->source, &burst);
	t->given = false;
	owed = t->owed;
	retire_bare(t, burst.user, &events);
	leave(&t->g);
	if (t->owed && !owed && !kick)
		fail_msg("seed %llu: an overflow without a hint", (unsigned long long)t->seed);
	twins_ask(t);
}

static void twins_count(struct twins *t)
{
	bool user = rng_one_in(&t->rng, 2), branches = rng_one_in(&t->rng, 2);
	uint64_t n = rng_one_in(&t->rng, 8) ? rng_value(&t->rng) >> 16 : rng_below(&t->rng, 60);
	struct x86_pmu_events events = { .instructions = branches ? 0 : n,
					 .branches = branches ? n : 0 };

	retire_bare(t, user, &events);
	assert_int_equal(vpmu_count(&t->g.v, branches ? VPMU_EVENT_BRANCHES
						      : VPMU_EVENT_INSTRUCTIONS, user, n), 0);
	twins_ask(t);
}

/* A guest that was given a PMI runs before its next access. */
static void twins_resume(struct twins *t)
{
	if (!t->given)
		return;
	do
		twins_ask(t);
	while (vpmu_vcpu_enter(&t->g.v, 0) == VPMU_AGAIN);
	leave(&t->g);
	t->given = false;
	twins_ask(t);
}

static void twins_write(struct twins *t, uint32_t index, uint64_t value)
{
	bool ok;

	twins_resume(t);
	ok = x86_pmu_is_msr(index) && x86_pmu_wrmsr(&t->bare, index, value);

	differs(t, "the outcome of a write", vpmu_x86_wrmsr(&t->g.v, index, value) == VPMU_HANDLED,
		ok);
}

static uint64_t random_selector(struct twins *t)
{
	static const uint16_t codes[2][7] = {
		{ 0x3C, 0xC0, 0x13C, 0x4F2E, 0x412E, 0xC4, 0xC5 },
		{ 0x76, 0xC0, 0xC2, 0xC3, 0x76, 0xC0, 0xC2 },
	};
	uint64_t selector = codes[t->bare.config.vendor == X86_PMU_AMD][rng_below(&t->rng, 7)];

	selector |= rng_below(&t->rng, 4) << 16;
	selector |= rng_one_in(&t->rng, 4) ? 0 : X86_SEL_EN;
	return selector | (rng_one_in(&t->rng, 3) ? 0 : X86_SEL_INT);
}

static void twins_program(struct twins *t)
{
	const struct x86_pmu_config *c = &t->bare.config;
	bool amd = c->vendor == X86_PMU_AMD, core = c->core_extension;
	unsigned int i = (unsigned int)rng_below(&t->rng, c->gp);
	uint64_t value = rng_one_in(&t->rng, 3) ? rng_value(&t->rng)
						: WIDTH - rng_below(&t->rng, 90);

	if (amd) {
		twins_write(t, core ? X86_MSR_PERF_CTL(i) : X86_MSR_K7_EVNTSEL(i),
			    random_selector(t));
		twins_write(t, core ? X86_MSR_PERF_CTR(i) : X86_MSR_K7_PERFCTR(i), value);
		return;
	}
	twins_write(t, X86_MSR_PERFEVTSEL(i), random_selector(t));
	twins_write(t, rng_one_in(&t->rng, 2) ? X86_MSR_PERFCTR(i) : X86_MSR_PMC(i), value & WIDTH);
	twins_write(t, X86_MSR_FIXED_CTR_CTRL, rng_next(&t->rng) >> 20 & 0xBBB);
	twins_write(t, X86_MSR_FIXED_CTR((unsigned int)rng_below(&t->rng, 3)), value & WIDTH);
}

static void twins_global(struct twins *t)
{
	bool amd = t->bare.config.vendor == X86_PMU_AMD;
	uint64_t all = x86_pmu_counters(&t->bare.config);
	uint64_t some = rng_one_in(&t->rng, 2) ? all : rng_next(&t->rng) & all;
	uint64_t frozen = t->bare.config.version >= 4 ? X86_STATUS_CTR_FRZ : 0;

	switch (rng_below(&t->rng, 8)) {
	case 0: case 1: case 2:
		twins_write(t, amd ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, some);
		break;
	case 3: case 4: case 5:
		twins_write(t, amd ? X86_MSR_AMD_STATUS_CLR : X86_MSR_STATUS_RESET, all | frozen);
		break;
	case 6:
		twins_write(t, amd ? X86_MSR_AMD_STATUS_SET : X86_MSR_STATUS_SET, some);
		break;
	default:
		if (!amd)
			twins_write(t, X86_MSR_DEBUGCTL,
				    rng_one_in(&t->rng, 2) ? X86_DEBUGCTL_FREEZE_PERFMON : 0);
	}
}

static void twins_lvtpc(struct twins *t)
{
	twins_resume(t);
	set_lvtpc(&t->g, rng_one_in(&t->rng, 5) ? X86_LVTPC_MASKED | 0x40 : 0x40);
	x86_pmu_set_lvtpc(&t->bare, t->g.lvtpc);
	/* What is masked before it is handed out is lost. */
	if (t->g.lvtpc & X86_LVTPC_MASKED)
		t->owed = false;
}

static void twins_compare(struct twins *t)
{
	const struct x86_pmu_config *c = &t->bare.config;
	struct vpmu_state s;

	assert_int_equal(vpmu_vcpu_get_state(&t->g.v, &s), 0);
	for (unsigned int i = 0; i < c->gp; i++) {
		differs(t, "a counter", s.value[i], t->bare.gp[i]);
		differs(t, "a selector", s.selector[i], t->bare.selector[i]);
	}
	for (unsigned int i = 0; i < c->fixed; i++)
		differs(t, "a fixed counter", s.value[FIXED + i], t->bare.fixed[i]);
	if (c->version < 2)
		return;
	differs(t, "GLOBAL_STATUS", s.status, t->bare.global_status);
	differs(t, "GLOBAL_CTRL", s.global, t->bare.global_ctrl);
}

static void twins_put(struct twins *t)
{
	assert_int_equal(vpmu_vcpu_put(&t->g.v), 0);
	twins_compare(t);
	assert_int_equal(vpmu_vcpu_load(&t->g.v, NULL), 0);
	t->given = false;
}

static void twins_agree(const struct vpmu_x86_model *m, uint64_t seed)
{
	static struct twins t;

	twins_init(&t, m, seed);
	for (unsigned int step = 0; step < 4000; step++) {
		switch (rng_below(&t.rng, 12)) {
		case 0: case 1:
			twins_program(&t);
			break;
		case 2: case 3:
			twins_global(&t);
			break;
		case 4: case 5:
			twins_lvtpc(&t);
			break;
		case 6:
			twins_count(&t);
			break;
		case 7:
			if (rng_one_in(&t.rng, 4))
				twins_put(&t);
			break;
		default:
			twins_run(&t);
		}
		if (rng_one_in(&t.rng, 4))
			twins_compare(&t);
	}
	twins_compare(&t);
}

static void events_count_as_registers_do(void **state)
{
	(void)state;
	for (uint8_t version = 1; version <= 5; version++) {
		struct vpmu_x86_model m = shape(VPMU_X86_INTEL, version);

		for (uint64_t seed = 1; seed <= 16; seed++)
			twins_agree(&m, 100 * version + seed);
	}
	for (uint8_t kind = 1; kind <= 3; kind++) {
		struct vpmu_x86_model m = shape(VPMU_X86_AMD, kind == 3 ? 1 : kind);

		m.core_extension = kind >= 2;
		m.gp = kind == 1 ? 4 : 6;
		for (uint64_t seed = 1; seed <= 16; seed++)
			twins_agree(&m, 1000 * kind + seed);
	}
}

/* ---- Against plain arithmetic: 10^6 stops and starts (RULES D1) ---- */

/* What counter 0 must be. AMD: nothing masks itself. */
struct plain {
	struct guest g;
	struct rng rng;
	uint64_t value;
	bool selected, global, overflowed;
	uint64_t owed;
};

static void plain_init(struct plain *p, bool cheap_reads)
{
	struct vpmu_x86_model m = shape(VPMU_X86_AMD, 2);

	memset(p, 0, sizeof(*p));
	scripted(&p->g, &m, cheap_reads);
	p->rng.state = 12345 + cheap_reads;
	p->global = true;
	set_lvtpc(&p->g, 0x40);
}

/* Events happen whether they count for the guest or not. */
static void plain_run(struct plain *p)
{
	struct rng *rng = &p->rng;
	uint64_t n = rng_one_in(rng, 6) ? rng_below(rng, 20000) : rng_below(rng, 60);
	struct vpmu_script_burst burst = { .user = true, .nanoseconds = 1 };
	bool overflows = p->selected && p->global && n > WIDTH - p->value;
	int given = enter(&p->g);

	assert_int_equal(given, p->owed != 0);
	p->owed = 0;
	burst.amount[VPMU_MEANS_INSTRUCTIONS] = n;
	if (rng_one_in(rng, 16))
		(void)vpmu_script_source_overflow(&p->g.source, 0);
	(void)vpmu_script_source_run(&p->g.source, &burst);
	if (rng_one_in(rng, 16))
		(void)vpmu_script_source_overflow(&p->g.source, 0);
	leave(&p->g);
	if (p->selected && p->global)
		p->value = (p->value + n) & WIDTH;
	p->overflowed |= overflows;
	p->owed |= overflows;
}

static void plain_toggle(struct plain *p)
{
	if (rng_one_in(&p->rng, 2)) {
		p->selected = !p->selected;
		wr(&p->g, X86_MSR_PERF_CTL(0), 0xC0 | BOTH | X86_SEL_INT |
		   (p->selected ? X86_SEL_EN : 0));
	} else {
		p->global = !p->global;
		wr(&p->g, X86_MSR_AMD_GLOBAL_CTL, p->global ? 0x3F : 0);
	}
}

static void plain_step(struct plain *p)
{
	struct rng *rng = &p->rng;

	switch (rng_below(rng, 8)) {
	case 0: case 1: case 2:
		plain_run(p);
		break;
	case 3:
		p->value = WIDTH - rng_below(rng, rng_one_in(rng, 2) ? 100 : 50000);
		wr(&p->g, X86_MSR_PERF_CTR(0), p->value);
		break;
	case 4:
		assert_int_equal(rd(&p->g, X86_MSR_PERF_CTR(0)), p->value);
		break;
	case 5:
		assert_int_equal(rd(&p->g, X86_MSR_AMD_GLOBAL_STATUS), p->overflowed);
		wr(&p->g, X86_MSR_AMD_STATUS_CLR, 1);
		p->overflowed = false;
		break;
	default:
		plain_toggle(p);
	}
}

static void a_million_stops_and_starts(void **state)
{
	static struct plain p;

	(void)state;
	for (unsigned int cheap = 0; cheap < 2; cheap++) {
		plain_init(&p, cheap);
		for (unsigned int step = 0; step < 1000000; step++) {
			plain_step(&p);
			if (step % 4096 == 0) {
				assert_int_equal(vpmu_vcpu_put(&p.g.v), 0);
				assert_int_equal(vpmu_vcpu_load(&p.g.v, NULL), 0);
			}
		}
		assert_in_range(p.g.source.creates, 1, 300);
		finish(&p.g);
	}
}

/* ---- Pauses ---- */

/*
 * M121: a guest's handler switches GLOBAL_CTRL off and on; where reads are cheap that is no call.
 */
static void toggles_are_free(void **state)
{
	struct guest g;
	uint64_t before;

	(void)state;
	intel(&g, true);
	for (unsigned int i = 0; i < 8; i++)
		count_from(&g, i, RAW(i), 0, false);
	run(&g, 0, 10);
	before = calls(&g);
	for (unsigned int k = 0; k < 1000; k++) {
		wr(&g, X86_MSR_GLOBAL_CTRL, 0);
		run(&g, 0, 1000);
		wr(&g, X86_MSR_GLOBAL_CTRL, 0xFF);
		run(&g, 0, 3);
	}
	assert_int_equal(calls(&g), before);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 10 + 3 * 1000);
	finish(&g);
}

/* Off and on between two exits is nothing at all, whatever a read costs. */
static void toggles_within_an_exit(void **state)
{
	struct guest g;
	uint64_t before;

	(void)state;
	for (unsigned int cheap = 0; cheap < 2; cheap++) {
		intel(&g, cheap);
		count_from(&g, 0, 0xC0, 0, false);
		run(&g, 0, 10);
		before = calls(&g);
		wr(&g, X86_MSR_GLOBAL_CTRL, 0);
		wr(&g, X86_MSR_PERFEVTSEL(0), 0);
		wr(&g, X86_MSR_PERFEVTSEL(0), 0xC0 | BOTH | X86_SEL_EN);
		wr(&g, X86_MSR_GLOBAL_CTRL, 0xFF);
		run(&g, 0, 5);
		/* One look at the count, where that is a call. */
		assert_in_range(calls(&g) - before, 0, cheap ? 0 : 1);
		assert_int_equal(rd(&g, X86_MSR_PMC(0)), 15);
		finish(&g);
	}
}

static void toggles_stop_and_start(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, false);
	count_from(&g, 0, 0xC0, 0, false);
	for (unsigned int k = 0; k < 100; k++) {
		wr(&g, X86_MSR_GLOBAL_CTRL, 1);
		run(&g, 0, 3);
		wr(&g, X86_MSR_GLOBAL_CTRL, 0);
		run(&g, 0, 1000);
	}
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 300);
	assert_int_equal(g.source.creates, 1);
	assert_int_equal(g.source.releases, 0);
	assert_int_equal(g.source.stops, 100);
	finish(&g);
}

/* M67: an overflow of an event that was paused, or of a counter that was stopped, is nobody's. */
static void late_hints_are_nobodys(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	set_lvtpc(&g, 0x40);
	count_from(&g, 0, 0xC0, WIDTH - 99999, true);
	run(&g, 0, 1);
	wr(&g, X86_MSR_GLOBAL_CTRL, 0);
	run(&g, 0, 200000);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 0);
	wr(&g, X86_MSR_GLOBAL_CTRL, 0xFF);
	run(&g, 0, 99998);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 0);
	assert_int_equal(ask(&g), 0);
	run(&g, 0, 1);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 1);
	assert_int_equal(ask(&g), 1);
	finish(&g);
}

/* An overflow exactly at the stop, and at the start. */
static void overflow_at_the_edges_of_a_pause(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned int cheap = 0; cheap < 2; cheap++) {
		intel(&g, cheap);
		set_lvtpc(&g, 0x40);
		count_from(&g, 0, 0xC0, WIDTH - 9999, true);
		/* The 10,000th event is the last before the stop. */
		run(&g, 0, 10000);
		wr(&g, X86_MSR_GLOBAL_CTRL, 0);
		assert_int_equal(vpmu_vcpu_interrupt(&g.v), 1);
		run(&g, 0, 7);
		assert_int_equal(rd(&g, X86_MSR_PMC(0)), 0);
		set_lvtpc(&g, 0x40);
		wr(&g, X86_MSR_STATUS_RESET, 1);
		/* And the first after the start. */
		wr(&g, X86_MSR_PMC(0), WIDTH);
		wr(&g, X86_MSR_GLOBAL_CTRL, 0xFF);
		run(&g, 0, 1);
		assert_int_equal(ask(&g), 1);
		assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 1);
		assert_int_equal(rd(&g, X86_MSR_PMC(0)), 0);
		finish(&g);
	}
}

/* RULES D1: paused events make room for one that is needed. */
static void paused_events_make_room(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	g.source.capacity = 6;
	for (unsigned int i = 0; i < 6; i++)
		count_from(&g, i, RAW(i), 0, false);
	run(&g, 0, 1);
	for (unsigned int i = 0; i < 6; i++)
		wr(&g, X86_MSR_PERFEVTSEL(i), RAW(i) | BOTH);
	count_from(&g, 6, RAW(6), 0, false);
	run(&g, 6, 4);
	assert_int_equal(rd(&g, X86_MSR_PMC(6)), 4);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 1);
	assert_int_equal(state_of(&g, 6), VPMU_COUNTER_COUNTING);
	finish(&g);
}

/* ---- What it costs ---- */

/* M123: what is written between two enters is worked out once. */
static void writes_are_coalesced(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	for (unsigned int k = 0; k < 50; k++) {
		count_from(&g, 0, k % 2 ? 0x3C : 0xC0, k, true);
		wr(&g, X86_MSR_FIXED_CTR_CTRL, k % 2 ? 0xB : 0);
		wr(&g, X86_MSR_GLOBAL_CTRL, k % 3);
	}
	assert_int_equal(calls(&g), 0);
	wr(&g, X86_MSR_FIXED_CTR_CTRL, 0);
	wr(&g, X86_MSR_GLOBAL_CTRL, 1);
	count_from(&g, 0, 0xC0, 5, true);
	run(&g, 0, 7);
	assert_int_equal(g.source.creates, 1);
	assert_int_equal(calls(&g), 1);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 12);
	finish(&g);
}

/* What a guest's handler does per PMI, in Linux's order. */
static void handle(struct guest *g, unsigned int i, uint64_t period)
{
	wr(g, X86_MSR_GLOBAL_CTRL, 0);
	assert_int_equal(rd(g, X86_MSR_GLOBAL_STATUS), BIT(i));
	wr(g, X86_MSR_STATUS_RESET, BIT(i));
	(void)rd(g, X86_MSR_PMC(i));
	wr(g, X86_MSR_PMC(i), WIDTH + 1 - period);
	wr(g, X86_MSR_GLOBAL_CTRL, 0xFF);
	set_lvtpc(g, 0x40);
}

/* One call per sample where reads are cheap; else two looks more, though each access is an exit. */
static void calls_per_sample(void **state)
{
	struct guest g;
	uint64_t before;

	(void)state;
	for (unsigned int cheap = 0; cheap < 2; cheap++) {
		unsigned int pmis = 0;

		intel(&g, cheap);
		set_lvtpc(&g, 0x40);
		count_from(&g, 3, 0xC0, WIDTH + 1 - 10000, true);
		run(&g, 3, 1);
		before = calls(&g);
		for (unsigned int k = 0; k < 1000; k++) {
			run(&g, 3, k ? 10000 : 9999);
			pmis += (unsigned int)enter(&g);
			leave(&g);
			handle(&g, 3, 10000);
		}
		assert_int_equal(pmis, 1000);
		assert_int_equal(g.source.creates, 1);
		/* The last one is armed when the guest is entered. */
		assert_in_range(calls(&g) - before, 999, cheap ? 999 : 2999);
		finish(&g);
	}
}

/* No guest access costs more calls than it has counters, and reads of what stands still none. */
static void bounded_calls_per_access(void **state)
{
	static const uint32_t msrs[] = {
		X86_MSR_PERFEVTSEL(0), X86_MSR_PERFEVTSEL(3), X86_MSR_PMC(0), X86_MSR_PMC(3),
		X86_MSR_FIXED_CTR_CTRL, X86_MSR_FIXED_CTR(0), X86_MSR_GLOBAL_CTRL,
		X86_MSR_GLOBAL_STATUS, X86_MSR_STATUS_RESET, X86_MSR_STATUS_SET,
		X86_MSR_GLOBAL_INUSE, X86_MSR_DEBUGCTL, X86_MSR_PERFCTR(1),
	};
	struct rng rng = { 99 };
	struct guest g;

	(void)state;
	intel(&g, false);
	for (unsigned int k = 0; k < 20000; k++) {
		uint32_t index = msrs[rng_below(&rng, ARRAY_SIZE(msrs))];
		uint64_t value = rng_next(&rng), before = calls(&g);

		if (rng_one_in(&rng, 2))
			(void)vpmu_x86_rdmsr(&g.v, index, &value);
		else
			(void)vpmu_x86_wrmsr(&g.v, index, value & (BIT(rng_below(&rng, 40)) - 1));
		assert_in_range(calls(&g) - before, 0, 11);
		before = calls(&g);
		(void)enter(&g);
		/* Stop or start, park or create, and the period: three for each counter. */
		assert_in_range(calls(&g) - before, 0, 3 * 11);
		leave(&g);
		assert_in_range(g.source.live, 0, 11 + 32);
	}
	finish(&g);
}

/* An event without use for a residency is released; one in use is kept. */
static void released_after_a_residency(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	count_from(&g, 0, 0xC0, 0, false);
	count_from(&g, 1, 0x3C, 0, false);
	run(&g, 0, 1);
	wr(&g, X86_MSR_PERFEVTSEL(1), 0x3C | BOTH);
	run(&g, 0, 1);
	for (unsigned int k = 0; k < 2; k++) {
		assert_int_equal(g.source.live, 2);
		assert_int_equal(vpmu_vcpu_put(&g.v), 0);
		assert_int_equal(vpmu_vcpu_load(&g.v, NULL), 0);
		if (k == 0)
			run(&g, 0, 1);
	}
	assert_int_equal(g.source.live, 1);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 3);
	finish(&g);
}

/* ---- Sources that refuse ---- */

/*
 * M47: a checkpointed event never has a period, nobody could say when it ends: it is not refused,
 * counts, and its overflow is found by whoever looks.
 */
static void checkpointed_events(void **state)
{
	const uint64_t selector = 0xC0 | BOTH | X86_SEL_EN | X86_SEL_INT | X86_SEL_IN_TXCP;
	struct vpmu_x86_model m = shape(VPMU_X86_INTEL, 4);
	struct guest g;

	(void)state;
	m.tsx = true;
	scripted(&g, &m, true);
	g.source.refuse_checkpointed = true;
	set_lvtpc(&g, 0x40);
	assert_int_equal(vpmu_x86_wrmsr(&g.v, X86_MSR_PERFEVTSEL(1), selector), VPMU_FAULT_GP);
	wr(&g, X86_MSR_PMC(2), WIDTH - 9);
	wr(&g, X86_MSR_PERFEVTSEL(2), selector);
	run(&g, 2, 5);
	assert_int_equal(state_of(&g, 2), VPMU_COUNTER_COUNTING);
	assert_int_equal(g.source.slot[2].event.period, 0);
	assert_true(g.source.slot[2].event.checkpointed);
	assert_int_equal(rd(&g, X86_MSR_PMC(2)), WIDTH - 4);
	run(&g, 2, 5);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 4);
	/* Rewriting the value arms nothing either. */
	wr(&g, X86_MSR_PMC(2), WIDTH);
	run(&g, 2, 0);
	assert_int_equal(g.source.slot[2].left, 0);
	assert_int_equal(g.source.periods, 0);
	finish(&g);
}

/* M51: an event that gets no hardware is not a counter that counts nothing. */
static void starving_shows(void **state)
{
	struct vpmu_counter_status status;
	struct guest g;

	(void)state;
	intel(&g, true);
	g.source.capacity = 1;
	count_from(&g, 0, 0x3C, 0, false);
	count_from(&g, 1, 0xC0, 0, false);
	run(&g, 0, 5);
	assert_int_equal(state_of(&g, 0), VPMU_COUNTER_COUNTING);
	assert_int_equal(state_of(&g, 1), VPMU_COUNTER_STARVED);
	g.source.capacity = 2;
	run(&g, 1, 5);
	assert_int_equal(state_of(&g, 1), VPMU_COUNTER_COUNTING);
	g.source.starved = 2;
	run(&g, 1, 5);
	assert_int_equal(rd(&g, X86_MSR_PMC(1)), 5);
	assert_int_equal(vpmu_vcpu_counter(&g.v, 1, &status), 0);
	assert_int_equal(status.state, VPMU_COUNTER_STARVED);
	assert_int_equal(status.enabled_time, 10);
	assert_int_equal(status.running_time, 5);
	finish(&g);
}

/* A source that lacks an event says so; the counter reads back, and does not count. */
static void unsupported_shows(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	g.source.lacks = BIT(VPMU_MEANS_CYCLES);
	count_from(&g, 0, 0x3C, 7, false);
	run(&g, 0, 5);
	assert_int_equal(state_of(&g, 0), VPMU_COUNTER_UNSUPPORTED);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 7);
	wr(&g, X86_MSR_PERFEVTSEL(0), 0xC0 | BOTH | X86_SEL_EN);
	run(&g, 0, 5);
	assert_int_equal(state_of(&g, 0), VPMU_COUNTER_COUNTING);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 12);
	finish(&g);
}

/* A guest that uses everything. */
static void busy_guest(struct guest *g)
{
	for (unsigned int k = 0; k < 8; k++) {
		for (unsigned int i = 0; i < 6; i++)
			count_from(g, i, RAW((i + k) % 9), 0, i % 2);
		for (unsigned int i = 0; i < 6; i++) {
			(void)enter(g);
			vpmu_script_source_count(&g->source, i, 10);
			leave(g);
		}
		wr(g, X86_MSR_GLOBAL_CTRL, 0xFF & ~k);
		if (k == 4) {
			assert_int_equal(vpmu_vcpu_put(&g->v), 0);
			assert_int_equal(vpmu_vcpu_load(&g->v, NULL), 0);
		}
	}
}

/* V10: the host may fail at any call; nothing is leaked or half-applied, and all counts again. */
static void fails_at_every_call(void **state)
{
	uint64_t n = 1, possible;
	struct guest g;

	(void)state;
	do {
		intel(&g, n % 2);
		g.source.fail_at = n;
		g.source.nmi = 0x15;
		g.source.nmi_left = n % 3 ? 200 : 0;
		busy_guest(&g);
		possible = g.source.can_fail;
		g.source.nmi_left = 0;
		wr(&g, X86_MSR_GLOBAL_CTRL, 4);
		count_from(&g, 2, 0xC0, 0, false);
		run(&g, 2, 7);
		assert_int_equal(rd(&g, X86_MSR_PMC(2)), 7);
		assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 0);
		finish(&g);
	} while (n++ < possible);
	assert_true(n > 40);
}

/* ---- Hints ---- */

/* RULES D1: a hint that comes early is no overflow, and what is left is armed again. */
static void hints_are_confirmed(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	set_lvtpc(&g, 0x40);
	count_from(&g, 0, 0x3C, WIDTH - 9999, true);
	run(&g, 0, 4000);
	assert_int_equal(g.source.slot[0].event.period, 10000);
	(void)enter(&g);
	assert_true(vpmu_vcpu_overflow(&g.v, 0));
	leave(&g);
	assert_int_equal(vpmu_vcpu_interrupt(&g.v), 0);
	run(&g, 0, 5999);
	assert_int_equal(g.source.slot[0].event.period, 6000);
	assert_int_equal(vpmu_vcpu_interrupt(&g.v), 0);
	run(&g, 0, 1);
	assert_int_equal(vpmu_vcpu_interrupt(&g.v), 1);
	assert_int_equal(ask(&g), 1);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 1);
	wr(&g, X86_MSR_STATUS_RESET, 1);
	set_lvtpc(&g, 0x40);
	(void)vpmu_vcpu_overflow(&g.v, 0);
	run(&g, 0, 1);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 0);
	assert_int_equal(ask(&g), 0);
	finish(&g);
}

/* RULES E1: an overflow while the guest is being entered is not slept over. */
static void enter_looks_again(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	set_lvtpc(&g, 0x40);
	count_from(&g, 0, 0x3C, WIDTH, true);
	g.source.nmi = 1;
	g.source.nmi_left = 1;
	assert_int_equal(vpmu_vcpu_enter(&g.v, 0), VPMU_AGAIN);
	assert_int_equal(vpmu_vcpu_exit(&g.v, 0), VPMU_ERR_STATE);
	run(&g, 0, 1);
	assert_int_equal(ask(&g), 1);
	finish(&g);
}

/* The report of an overflow comes when the guest is out already: before it is asked about, or after. */
static void hints_between_exit_and_enter(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned int asked_before = 0; asked_before < 2; asked_before++) {
		intel(&g, true);
		set_lvtpc(&g, 0x40);
		count_from(&g, 0, 0x3C, WIDTH, true);
		assert_int_equal(vpmu_vcpu_enter(&g.v, 0), 0);
		vpmu_script_source_count(&g.source, 0, 1);
		leave(&g);
		if (asked_before)
			assert_int_equal(ask(&g), 0);
		(void)vpmu_script_source_overflow(&g.source, 0);
		if (asked_before)
			assert_int_equal(vpmu_vcpu_enter(&g.v, 0), VPMU_AGAIN);
		assert_int_equal(ask(&g), 1);
		assert_int_equal(vpmu_vcpu_enter(&g.v, 0), 0);
		leave(&g);
		finish(&g);
	}
}

/* V6: several counters, hints in any number, and the hypervisor's own instruction: one PMI. */
static void one_pmi_per_exit(void **state)
{
	struct guest g;

	(void)state;
	intel(&g, true);
	set_lvtpc(&g, 0x40);
	for (unsigned int i = 0; i < 4; i++)
		count_from(&g, i, 0xC0, WIDTH - 9, true);
	(void)enter(&g);
	for (unsigned int i = 0; i < 3; i++) {
		vpmu_script_source_count(&g.source, i, 10);
		(void)vpmu_script_source_overflow(&g.source, i);
	}
	leave(&g);
	assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, true, 10), 0);
	assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 0xF);
	assert_int_equal(ask(&g), 1);
	/*
	 * Unmasked at once, by a guest that is emulated: what overflows now waits for the next
	 * exit.
	 */
	set_lvtpc(&g, 0x40);
	wr(&g, X86_MSR_STATUS_RESET, 0xF);
	wr(&g, X86_MSR_PMC(3), WIDTH);
	assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, true, 1), 0);
	assert_int_equal(ask(&g), 0);
	assert_int_equal(vpmu_vcpu_interrupt(&g.v), 1);
	assert_int_equal(enter(&g), 0);
	leave(&g);
	assert_int_equal(ask(&g), 1);
	finish(&g);
}

/* FREEZE_PERFMON_ON_PMI: by CTR_Frz from version 4, by GLOBAL_CTRL before; masked or not. */
static void a_pmi_freezes(void **state)
{
	struct guest g;

	(void)state;
	for (uint8_t version = 2; version <= 5; version++) {
		for (unsigned int masked = 0; masked < 2; masked++) {
			struct vpmu_x86_model m = shape(VPMU_X86_INTEL, version);
			uint64_t frozen = version >= 4 ? X86_STATUS_CTR_FRZ : 0;

			scripted(&g, &m, true);
			set_lvtpc(&g, masked ? X86_LVTPC_MASKED : 0x40);
			wr(&g, X86_MSR_DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
			count_from(&g, 0, 0xC0, WIDTH - 9, true);
			run(&g, 0, 10);
			assert_int_equal(ask(&g), !masked);
			assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 1 | frozen);
			assert_int_equal(rd(&g, X86_MSR_GLOBAL_CTRL), frozen ? 0xFF : 0);
			run(&g, 0, 50);
			assert_int_equal(rd(&g, X86_MSR_PMC(0)), 0);
			wr(&g, X86_MSR_STATUS_RESET, 1 | frozen);
			wr(&g, X86_MSR_GLOBAL_CTRL, 0xFF);
			run(&g, 0, 50);
			assert_int_equal(rd(&g, X86_MSR_PMC(0)), 50);
			finish(&g);
		}
	}
}

/* ---- Policy ---- */

static void compile(struct vpmu_x86_filter *filter, enum vpmu_x86_vendor vendor, bool deny,
		    uint32_t fixed, uint64_t event)
{
	const struct {
		uint32_t action, nevents, fixed, flags, pad[4];
		uint64_t events[1];
	} kvm = { deny, event != 0, fixed, 0, { 0 }, { event } };

	assert_int_equal(vpmu_x86_filter_compile(filter, vendor, &kvm, sizeof(kvm)), 0);
}

/* A policy change takes effect at the next enter (V8); no pause survives it. */
static void policy_stops_events(void **state)
{
	struct vpmu_x86_filter filter;
	const struct vpmu_policy deny = { .x86 = &filter };
	struct guest g;

	(void)state;
	compile(&filter, VPMU_X86_INTEL, true, 1, 0xC0);
	intel(&g, true);
	count_from(&g, 0, 0xC0, 0, false);
	wr(&g, X86_MSR_FIXED_CTR_CTRL, 3);
	wr(&g, X86_MSR_GLOBAL_CTRL, BIT(32) | 0xFF);
	run(&g, 0, 5);
	run(&g, 32, 6);
	assert_int_equal(vpmu_vm_set_policy(&g.vm, &deny), 0);
	run(&g, 0, 5);
	run(&g, 32, 5);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 5);
	assert_int_equal(rd(&g, X86_MSR_FIXED_CTR(0)), 6);
	assert_int_equal(state_of(&g, 0), VPMU_COUNTER_DENIED);
	assert_int_equal(state_of(&g, 32), VPMU_COUNTER_DENIED);
	assert_int_equal(rd(&g, X86_MSR_PERFEVTSEL(0)), 0xC0 | BOTH | X86_SEL_EN);
	assert_int_equal(vpmu_vm_set_policy(&g.vm, NULL), 0);
	run(&g, 0, 5);
	run(&g, 32, 5);
	assert_int_equal(rd(&g, X86_MSR_PMC(0)), 10);
	assert_int_equal(rd(&g, X86_MSR_FIXED_CTR(0)), 11);
	finish(&g);
}

/* ---- vpmu_count(), by every rule ---- */

/* One case: what the guest asked for, and what the hypervisor executed. */
struct rule {
	enum vpmu_x86_vendor vendor;
	uint64_t selector;
	bool global;
	unsigned int policy;         /* 0: none; 1: denies the event; 2: allows it alone */
};

static bool is_event(enum vpmu_x86_vendor vendor, uint64_t selector, enum vpmu_event_class event)
{
	uint64_t code = selector & (vendor == VPMU_X86_AMD ? UINT64_C(0xF0000FFFF) : 0xFFFF);

	if (event == VPMU_EVENT_INSTRUCTIONS)
		return code == 0xC0;
	return code == (vendor == VPMU_X86_AMD ? 0xC2 : 0xC4);
}

/*
 * The manual's rules for one event alone in its cycle. INV counts only with a CMASK, and then the
 * cycles without the event; what edges are nobody can say, so they are not counted.
 */
static bool counts(const struct rule *r, enum vpmu_event_class event, bool user)
{
	uint64_t s = r->selector, cmask = s >> 24 & 0xFF;

	if (!is_event(r->vendor, s, event) || !(s & X86_SEL_EN) || !r->global)
		return false;
	if (!(s & (user ? X86_SEL_USR : X86_SEL_OS)) || r->policy == 1)
		return false;
	return cmask <= 1 && !(s & X86_SEL_EDGE) && !(s & X86_SEL_INV && cmask) &&
	       !(r->vendor == VPMU_X86_INTEL && s & X86_SEL_IN_TX);
}

static void check_rule(struct guest *g, const struct rule *r)
{
	bool amd = r->vendor == VPMU_X86_AMD;
	uint32_t value = amd ? X86_MSR_PERF_CTR(0) : X86_MSR_PMC(0);

	wr(g, amd ? X86_MSR_PERF_CTL(0) : X86_MSR_PERFEVTSEL(0), r->selector);
	wr(g, amd ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, r->global);
	for (unsigned int k = 0; k < 4; k++) {
		enum vpmu_event_class event = k & 1 ? VPMU_EVENT_BRANCHES : VPMU_EVENT_INSTRUCTIONS;
		bool user = k & 2;

		wr(g, value, 100);
		assert_int_equal(vpmu_count(&g->v, event, user, 7), 0);
		if (rd(g, value) != (counts(r, event, user) ? 107u : 100u))
			fail_msg("selector %#llx, global %d, policy %u: event %d in ring %d",
				 (unsigned long long)r->selector, r->global, r->policy, event,
				 user ? 3 : 0);
	}
}

static void check_rules(struct guest *g, struct rule *r, uint64_t event)
{
	for (unsigned int bits = 0; bits < 128; bits++) {
		for (unsigned int cmask = 0; cmask < 3; cmask++) {
			r->selector = event | (uint64_t)(bits & 7) << 16 | X86_SEL_CMASK(cmask) |
				      (bits & 8 ? X86_SEL_EN : 0) | (bits & 16 ? X86_SEL_INV : 0) |
				      (bits & 32 ? X86_SEL_INT : 0);
			if (bits & 64 && r->vendor == VPMU_X86_INTEL)
				r->selector |= X86_SEL_IN_TX;
			for (unsigned int global = 0; global < 2; global++) {
				r->global = global;
				check_rule(g, r);
			}
		}
	}
}

static void counts_by_every_rule(void **state)
{
	static const uint64_t events[2][4] = {
		{ 0xC0, 0xC4, 0x3C, 0x1C0 }, { 0xC0, 0xC2, 0xC4, UINT64_C(0x1000000C0) },
	};
	struct guest g;

	(void)state;
	for (unsigned int vendor = 0; vendor < 2; vendor++) {
		for (unsigned int k = 0; k < 12; k++) {
			struct rule r = { (enum vpmu_x86_vendor)vendor, 0, false, k % 3 };
			uint64_t event = events[vendor][k / 3];
			struct vpmu_x86_model m = shape(r.vendor, vendor ? 2 : 4);
			struct vpmu_x86_filter filter;
			const struct vpmu_policy policy = { .x86 = &filter };

			m.tsx = !vendor;
			init_vm(&g, &m, NULL);
			compile(&filter, r.vendor, r.policy == 1, 0, event);
			assert_int_equal(vpmu_vm_set_policy(&g.vm, r.policy ? &policy : NULL), 0);
			vpmu_vcpu_init(&g.v, &g.vm);
			check_rules(&g, &r, event);
		}
	}
}

/* Fixed counter 0 is instructions; no other counts what the hypervisor executes. */
static void fixed_counters_count_too(void **state)
{
	struct vpmu_x86_model m = shape(VPMU_X86_INTEL, 5);
	struct guest g;

	(void)state;
	m.fixed = 4;
	init_vm(&g, &m, NULL);
	wr(&g, X86_MSR_GLOBAL_CTRL, UINT64_C(0xF) << 32);
	for (uint64_t rings = 0; rings < 4; rings++) {
		for (unsigned int user = 0; user < 2; user++) {
			wr(&g, X86_MSR_FIXED_CTR_CTRL, rings * 0x1111);
			for (unsigned int i = 0; i < 4; i++)
				wr(&g, X86_MSR_FIXED_CTR(i), 0);
			assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, user, 3), 0);
			assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_BRANCHES, user, 5), 0);
			assert_int_equal(rd(&g, X86_MSR_FIXED_CTR(0)),
					 rings & (user ? X86_FIXED_USR : X86_FIXED_OS) ? 3 : 0);
			for (unsigned int i = 1; i < 4; i++)
				assert_int_equal(rd(&g, X86_MSR_FIXED_CTR(i)), 0);
		}
	}
	assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_CLASSES, false, 1), VPMU_ERR_PARAM);
}

/* An overflow by vpmu_count(): status once, a PMI if asked for and not masked, the value wraps. */
static void counting_overflows(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned int bits = 0; bits < 8; bits++) {
		bool irq = bits & 1, masked = bits & 2;
		uint64_t n = bits & 4 ? BIT(48) - 1 : 3;

		intel(&g, true);
		set_lvtpc(&g, masked ? X86_LVTPC_MASKED : 0x40);
		count_from(&g, 1, 0xC4, WIDTH - 1, irq);
		assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_BRANCHES, false, n), 0);
		assert_int_equal(rd(&g, X86_MSR_PMC(1)), (WIDTH - 1 + n) & WIDTH);
		assert_int_equal(rd(&g, X86_MSR_GLOBAL_STATUS), 2);
		assert_int_equal(vpmu_vcpu_interrupt(&g.v), irq && !masked);
		assert_int_equal(ask(&g), irq && !masked);
		assert_int_equal(ask(&g), 0);
		/* What was masked is lost. */
		set_lvtpc(&g, 0x40);
		assert_int_equal(ask(&g), 0);
		finish(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_count_as_registers_do),
		cmocka_unit_test(a_million_stops_and_starts),
		cmocka_unit_test(toggles_are_free),
		cmocka_unit_test(toggles_within_an_exit),
		cmocka_unit_test(toggles_stop_and_start),
		cmocka_unit_test(late_hints_are_nobodys),
		cmocka_unit_test(overflow_at_the_edges_of_a_pause),
		cmocka_unit_test(paused_events_make_room),
		cmocka_unit_test(writes_are_coalesced),
		cmocka_unit_test(calls_per_sample),
		cmocka_unit_test(bounded_calls_per_access),
		cmocka_unit_test(released_after_a_residency),
		cmocka_unit_test(checkpointed_events),
		cmocka_unit_test(starving_shows),
		cmocka_unit_test(unsupported_shows),
		cmocka_unit_test(fails_at_every_call),
		cmocka_unit_test(hints_are_confirmed),
		cmocka_unit_test(enter_looks_again),
		cmocka_unit_test(hints_between_exit_and_enter),
		cmocka_unit_test(one_pmi_per_exit),
		cmocka_unit_test(a_pmi_freezes),
		cmocka_unit_test(policy_stops_events),
		cmocka_unit_test(counts_by_every_rule),
		cmocka_unit_test(fixed_counters_count_too),
		cmocka_unit_test(counting_overflows),
	};

	return cmocka_run_group_tests_name("x86-emulated", tests, NULL, NULL);
}
