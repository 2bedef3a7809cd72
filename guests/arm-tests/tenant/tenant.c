/* SPDX-License-Identifier: MIT */
/*
 * A guest beside others: what it counts over many turns is what it counts alone, and of the others
 * it sees nothing. With "rounds=N" each test lasts as long as is wanted; a turn is some millions of
 * instructions.
 *
 * tenant_paints and tenant_finds_* are the two sides of one test (M88), in two guests.
 * tenant_spins never ends, and tenant_calls keeps EL2 busy; both must be asked for by name.
 */
#include "bodies/common.h"
#include "image/cpu.h"
#include "image/run.h"

#define TENANT_TESTS(T) \
	T(tenant_counts, "V3", 0) \
	T(tenant_counts_cycles, "V3", 0) \
	T(tenant_increments, "V3", 0) \
	T(tenant_shows, "V12", 0) \
	T(tenant_interrupts, "D13.3.1", 0) \
	T(tenant_paints, "M88", 0) \
	T(tenant_finds_reset, "M88", PMU_AS_FOUND) \
	T(tenant_finds_zeros, "M88", 0) \
	T(tenant_finds_none, "M88", PMU_ABSENT | PMU_BY_NAME) \
	T(tenant_calls, "RULES A4", PMU_BY_NAME) \
	T(tenant_spins, "RULES F2", PMU_BY_NAME)

#define TENANT_DECLARE(name, source, flags) void name(struct pmu_result *r);
TENANT_TESTS(TENANT_DECLARE)
#undef TENANT_DECLARE

#define TENANT_ENTRY(name, source, flags) { #name, source, flags, name },
static const struct pmu_test tests[] = { TENANT_TESTS(TENANT_ENTRY) };
#undef TENANT_ENTRY

static const size_t test_count = sizeof(tests) / sizeof(tests[0]);

const char image_name[] = "tenant-tests";
const unsigned image_level = 1;
const struct suite image_suites[] = { { tests, &test_count }, { NULL, NULL } };

#define ROUND 1000000u		/* instructions */
#define PATTERN UINT64_C(0xa5a5a5a5a5a5a5a5)

static uint64_t rounds(void)
{
	return option_number("rounds", 20);
}

/* A figure that a script compares with that of another run. */
static void put_figure(const char *name, uint64_t value)
{
	put_string("figure ");
	put_string(name);
	put_string(" ");
	put_decimal(value);
	put_string("\n");
}

/* ---- Counting ---- */

static void run_rounds(uint64_t n, uint64_t unused)
{
	(void)unused;
	while (n-- > 0)
		pmu_run(1, ROUND);
}

/* Of the counter (n): the loop's own instructions, and everything around it too. */
static void count_rounds(struct pmu_result *r, unsigned n, uint64_t type, uint64_t scale,
			 const char *name)
{
	uint64_t once, longer;

	start_counter(n, type, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	once = counted_around(n, run_rounds, 1, 0);
	longer = counted_around(n, run_rounds, 1 + rounds(), 0);
	stop_all();
	put_figure(name, longer);
	/* Each round is ROUND instructions and a few for the call and the loop, always as many. */
	CHECK(r, "a round counts at least its instructions", once >= scale * ROUND);
	start_counter(n, type, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	once = counted(n, 1, rounds() * ROUND);
	stop_all();
	CHECK_EQ(r, "instructions of a long loop", once, scale * rounds() * ROUND);
}

void tenant_counts(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), "INST_RETIRED is not advertised");
	count_rounds(r, 0, EVENT_INST_RETIRED, 1, "instructions");
}

void tenant_counts_cycles(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, "cycles per instruction are not known");
	count_rounds(r, CYCLE, 0, pmu_cpi(), "cycles");
}

/* Exact wherever it runs, on several CPUs too; its values wander with it. */
void tenant_increments(struct pmu_result *r)
{
	uint64_t i;

	start_counter(0, EVENT_SW_INCR, 0);
	start_counter(1, EVENT_SW_INCR, LOW32 - 5);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	for (i = 1; i <= rounds(); i++) {
		pmu_write(PMSWINC_EL0, 3);
		pmu_run(1, ROUND);
		r->at = i;
		CHECK_EQ(r, "increments", pmu_read(PMEVCNTR0_EL0), i);
		CHECK_EQ(r, "overflow status", pmu_read(PMOVSSET_EL0), i > 5 ? 2 : 0);
	}
	put_figure("increments", pmu_read(PMEVCNTR0_EL0));
}

/* What PMU it is. */
void tenant_shows(struct pmu_result *r)
{
	(void)r;
	put_figure("counters", counter_count());
	put_figure("version", pmu_version());
}

/* ---- Interrupts ---- */

#define DISTANCE 100000u	/* cycles to the overflow */

/* The handler outlasts its turn, with the line up all the time. */
static void handle_slowly(void *context)
{
	(void)context;
	pmu_run(1, 8 * ROUND);
	pmu_write(PMCNTENCLR_EL0, CYCLE_BIT);
	pmu_write(PMOVSCLR_EL0, CYCLE_BIT);
}

/*
 * Each overflow interrupts once, also if others had the CPU between its interrupt and the end of
 * it.
 */
void tenant_interrupts(struct pmu_result *r)
{
	unsigned i, wanted = (unsigned)(rounds() + 9) / 10;

	pmu_write(PMINTENSET_EL1, CYCLE_BIT);
	pmu_irq_on(handle_slowly, NULL);
	for (i = 1; i <= wanted; i++) {
		start_counter(CYCLE, 0, -(uint64_t)DISTANCE);
		pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
		/* Long enough for another turn, in which one too many would come. */
		pmu_run(1, 8 * ROUND);
		r->at = i;
		CHECK_EQ(r, "interrupts", pmu_irq_count(), i);
	}
	pmu_irq_off();
}

/* ---- The pattern ---- */

/* Registers that keep what is written, as far as they exist. PMCR last: it starts what counts. */
static const struct {
	enum pmu_reg reg;
	uint64_t mask;		/* what must read back while everything counts */
	int counters;		/* it has a bit for each */
} painted[] = {
	{ PMSELR_EL0, 0x1f, 0 },
	{ PMUSERENR_EL0, 0xf, 0 },
	{ PMCCFILTR_EL0, BIT(31), 0 },
	{ PMCCNTR_EL0, 0, 0 },
	{ PMCNTENSET_EL0, 0x25, 1 },
	{ PMINTENSET_EL1, 0x25, 1 },
	{ PMOVSSET_EL0, 0x25, 1 },
	{ PMCR_EL0, PMCR_E, 0 },
};

#define PAINTED (sizeof(painted) / sizeof(painted[0]))

static void paint(void)
{
	unsigned n, count = counter_count();
	size_t i;

	for (n = 0; n < count; n++) {
		pmu_write(type_reg(n), PATTERN);
		pmu_write(counter_reg(n), PATTERN);
	}
	for (i = 0; i < PAINTED; i++)
		pmu_write(painted[i].reg, PATTERN);
}

static void check_painted(struct pmu_result *r)
{
	unsigned n, count = counter_count();
	size_t i;

	for (i = 0; i < PAINTED; i++) {
		uint64_t mask = painted[i].mask;

		if (painted[i].counters)
			mask &= BIT(count) - 1;
		r->at = painted[i].reg;
		CHECK_EQ(r, "painted register", pmu_read(painted[i].reg) & mask, PATTERN & mask);
	}
	/* The pattern's event is none that this PMU has. */
	for (n = 0; n < count; n++) {
		r->at = n;
		CHECK_EQ(r, "painted event", pmu_read(type_reg(n)) & 0x3ff, PATTERN & 0x3ff);
		CHECK_EQ(r, "painted counter", pmu_read(counter_reg(n)) & LOW32, PATTERN & LOW32);
	}
}

void tenant_paints(struct pmu_result *r)
{
	uint64_t i;

	for (i = 0; i < rounds(); i++) {
		paint();
		pmu_run(1, ROUND);
		CHECKED(r, check_painted(r));
	}
}

/* ---- The other side: it has written nothing, and finds what a reset leaves ---- */

static void check_reset(struct pmu_result *r)
{
	static const enum pmu_reg zero[] = {
		PMCNTENSET_EL0, PMINTENSET_EL1, PMOVSSET_EL0, PMSELR_EL0, PMUSERENR_EL0,
		PMCCNTR_EL0, PMCCFILTR_EL0,
	};
	unsigned n, count = counter_count();
	uint64_t value;
	size_t i;

	for (i = 0; i < sizeof(zero) / sizeof(zero[0]); i++) {
		r->at = zero[i];
		CHECK_EQ(r, "untouched register", pmu_read(zero[i]), 0);
	}
	CHECK_EQ(r, "PMCR", pmu_read(PMCR_EL0), pmu_first_value(PMCR_EL0));
	CHECK_EQ(r, "PMCR.E", pmu_read(PMCR_EL0) & PMCR_E, 0);
	for (n = 0; n < count; n++) {
		r->at = n;
		CHECK_EQ(r, "untouched event", pmu_read(type_reg(n)), 0);
		CHECK_EQ(r, "untouched counter", pmu_read(counter_reg(n)), 0);
	}
	r->at = 0;
	CHECK_EQ(r, "PMCCNTR from EL0", pmu_try_read(0, PMCCNTR_EL0, &value), PMU_TRAP);
	CHECK(r, "no overflow interrupt", !gic_pending(INTID_PMU));
}

void tenant_finds_reset(struct pmu_result *r)
{
	uint64_t i;

	for (i = 0; i < rounds(); i++) {
		CHECKED(r, check_reset(r));
		pmu_run(1, ROUND);
	}
}

static void check_zeros(struct pmu_result *r)
{
	unsigned n, count = counter_count();
	uint64_t value = 1;

	CHECK_EQ(r, "PMCNTENSET", pmu_read(PMCNTENSET_EL0), CYCLE_BIT);
	CHECK_EQ(r, "PMINTENSET", pmu_read(PMINTENSET_EL1), 0);
	CHECK_EQ(r, "PMOVSSET", pmu_read(PMOVSSET_EL0), 0);
	for (n = 0; n < count; n++) {
		r->at = n;
		CHECK_EQ(r, "event", pmu_read(type_reg(n)), 0);
		CHECK_EQ(r, "counter", pmu_read(counter_reg(n)), 0);
		CHECK_EQ(r, "counter from EL0", pmu_try_read(0, counter_reg(n), &value), PMU_OK);
		CHECK_EQ(r, "its value", value, 0);
		pmu_write(PMSELR_EL0, n);
		CHECK_EQ(r, "counter through PMSELR", pmu_read(PMXEVCNTR_EL0), 0);
	}
}

/* The same with one counter counting, so that what it does not use is in the hardware too. */
void tenant_finds_zeros(struct pmu_result *r)
{
	uint64_t i, before = 0;

	start_counter(CYCLE, 0, 0);
	pmu_write(PMUSERENR_EL0, USERENR_ER);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	for (i = 0; i < rounds(); i++) {
		uint64_t now = pmu_read(PMCCNTR_EL0);

		CHECKED(r, check_zeros(r));
		r->at = i;
		CHECK(r, "its cycles go on, and are its own",
		      now >= before && now - before < 2 * 8 * ROUND);
		before = now;
		pmu_run(1, ROUND);
	}
}

/* In a guest without a PMU, whatever the others have in theirs; and nothing of it gets there. */
static void check_none(struct pmu_result *r, enum pmu_reg reg)
{
	uint64_t value;

	r->at = reg;
	CHECK_EQ(r, "read ends", pmu_try_read(1, reg, &value), PMU_UNDEF);
	CHECK_EQ(r, "write ends", pmu_try_write(1, reg, PATTERN), PMU_UNDEF);
	CHECK(r, "EL0 reads nothing", pmu_try_read(0, reg, &value) != PMU_OK);
}

void tenant_finds_none(struct pmu_result *r)
{
	uint64_t i;
	unsigned reg;

	for (i = 0; i < rounds(); i++) {
		for (reg = PMCR_EL0; reg < PMSSCR_EL1; reg++)
			CHECKED(r, check_none(r, (enum pmu_reg)reg));
		pmu_run(1, ROUND);
	}
}

/* Each round is one call, of "spins=N" times two instructions at EL2, and few here. */
void tenant_calls(struct pmu_result *r)
{
	uint64_t i, spins = option_number("spins", ROUND);

	for (i = 0; i < rounds(); i++) {
		r->at = i;
		CHECK_EQ(r, "answer of the spinning call", hvc_call(SPIN_AT_EL2, spins, 0, 0), 0);
	}
}

/* Interrupts stay masked: nothing but the end of its turn takes the CPU from it. */
void tenant_spins(struct pmu_result *r)
{
	(void)r;
	for (;;)
		pmu_run(1, ROUND);
}
