/* SPDX-License-Identifier: MIT */
/*
 * A guest on CPUs with different PMUs, which moves between them: what it was shown at its first instruction is
 * what it has wherever it is. Cycles and instructions are global to a QEMU machine, so that only software
 * increments are exact on several CPUs.
 *
 * It prints the number of its counters and its events, for a script to compare; "lacks=N" names an event that it
 * must not have, though some CPU of the machine does.
 */
#include "bodies/common.h"
#include "image/cpu.h"
#include "image/run.h"

#define HETERO_TESTS(T) \
	T(hetero_identity, "M100", 0) \
	T(hetero_increments, "V3", 0) \
	T(hetero_enables, "V3", 0) \
	T(hetero_cycles, "V3", 0) \
	T(hetero_interrupts, "D13.3.1", 0) \
	T(hetero_counts, "V12", 0) \
	T(hetero_lacks, "V12", 0)

#define HETERO_DECLARE(name, source, flags) void name(struct pmu_result *r);
HETERO_TESTS(HETERO_DECLARE)
#undef HETERO_DECLARE

#define HETERO_ENTRY(name, source, flags) { #name, source, flags, name },
static const struct pmu_test tests[] = { HETERO_TESTS(HETERO_ENTRY) };
#undef HETERO_ENTRY

static const size_t test_count = sizeof(tests) / sizeof(tests[0]);

const char image_name[] = "hetero-tests";
const unsigned image_level = 1;
const struct suite image_suites[] = { { tests, &test_count }, { NULL, NULL } };

#define ROUND 1000000u		/* instructions */
#define NONE 0xffffu		/* no event */

static uint64_t rounds(void)
{
	return option_number("rounds", 20);
}

static void put_figure(const char *name, uint64_t value)
{
	put_string("figure ");
	put_string(name);
	put_string(" ");
	put_decimal(value);
	put_string("\n");
}

static void start(void)
{
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
}

/* ---- What it is shown ---- */

static void check_absent(struct pmu_result *r, unsigned n)
{
	uint64_t value;

	pmu_write(PMCNTENSET_EL0, ~UINT64_C(0));
	CHECK_EQ(r, "PMCNTENSET", pmu_read(PMCNTENSET_EL0), counter_mask());
	pmu_write(PMCNTENCLR_EL0, ~UINT64_C(0));
	for (; n < CYCLE; n++) {
		r->at = n;
		CHECK_EQ(r, "counter from N on", pmu_try_read(1, counter_reg(n), &value), PMU_UNDEF);
		CHECK_EQ(r, "event from N on", pmu_try_write(1, type_reg(n), 0), PMU_UNDEF);
	}
}

void hetero_identity(struct pmu_result *r)
{
	uint64_t pmcr = pmu_read(PMCR_EL0), i;
	uint64_t ceid[2] = { pmu_read(PMCEID0_EL0), pmu_read(PMCEID1_EL0) };

	put_figure("counters", counter_count());
	put_figure("pmceid0", ceid[0]);
	put_figure("pmceid1", ceid[1]);
	for (i = 1; i <= rounds(); i++) {
		CHECKED(r, check_absent(r, counter_count()));
		pmu_run(1, ROUND);
		r->at = i;
		CHECK_EQ(r, "PMCR", pmu_read(PMCR_EL0), pmcr);
		CHECK_EQ(r, "PMCEID0", pmu_read(PMCEID0_EL0), ceid[0]);
		CHECK_EQ(r, "PMCEID1", pmu_read(PMCEID1_EL0), ceid[1]);
	}
}

/* ---- What counts, to the event ---- */

/* In all its counters, from a start of its own for each. */
void hetero_increments(struct pmu_result *r)
{
	unsigned n, count = counter_count();
	uint64_t i;

	REQUIRE(r, count > 0, "no event counter");
	for (n = 0; n < count; n++)
		start_counter(n, EVENT_SW_INCR, 1000 * n);
	start();
	for (i = 1; i <= rounds(); i++) {
		pmu_write(PMSWINC_EL0, counter_mask());
		pmu_run(1, ROUND);
		for (n = 0; n < count; n++) {
			r->at = n;
			CHECK_EQ(r, "increments", pmu_read(counter_reg(n)), 1000 * n + i);
		}
	}
	put_figure("increments", pmu_read(PMEVCNTR0_EL0));
}

/* Stopped by its enable, and by PMCR.E, it keeps its value while it moves; then it goes on. */
void hetero_enables(struct pmu_result *r)
{
	uint64_t i, value = 0;

	start_counter(CYCLE, 0, 0);
	for (i = 1; i <= rounds(); i++) {
		start();
		pmu_write(PMCNTENSET_EL0, CYCLE_BIT);
		pmu_run(1, 1000);
		if (i % 2)
			pmu_write(PMCNTENCLR_EL0, CYCLE_BIT);
		else
			pmu_write(PMCR_EL0, PMCR_LC);
		value = pmu_read(PMCCNTR_EL0);
		pmu_run(1, ROUND);
		r->at = i;
		CHECK_EQ(r, "stopped", pmu_read(PMCCNTR_EL0), value);
	}
	CHECK(r, "counted between", value >= 1000 * rounds());
}

void hetero_cycles(struct pmu_result *r)
{
	uint64_t i, before = 0, now;

	start_counter(CYCLE, 0, 0);
	start();
	for (i = 1; i <= rounds(); i++) {
		pmu_run(1, ROUND);
		now = pmu_read(PMCCNTR_EL0);
		r->at = i;
		CHECK(r, "at least its own cycles", now - before >= ROUND);
		before = now;
	}
}

/* ---- Interrupts ---- */

static void clear_status(void *context)
{
	(void)context;
	pmu_write(PMOVSCLR_EL0, ~UINT64_C(0));
}

/* Of the cycle counter, which every PMU has: one for each overflow, on whichever CPU it then is. */
void hetero_interrupts(struct pmu_result *r)
{
	uint64_t i;

	pmu_write(PMINTENSET_EL1, CYCLE_BIT);
	pmu_irq_on(clear_status, NULL);
	for (i = 1; i <= rounds(); i++) {
		start_counter(CYCLE, 0, -UINT64_C(1000));
		start();
		pmu_run(1, ROUND);
		r->at = i;
		CHECK_EQ(r, "interrupts", pmu_irq_count(), i);
		CHECK_EQ(r, "overflow status", pmu_read(PMOVSSET_EL0), 0);
	}
	pmu_irq_off();
	put_figure("interrupts", pmu_irq_count());
}

/* ---- Events ---- */

void hetero_counts(struct pmu_result *r)
{
	uint64_t i, before = 0, now;

	REQUIRE(r, counter_count() > 0, "no event counter");
	REQUIRE(r, has_event(EVENT_INST_RETIRED), "INST_RETIRED is not advertised");
	start_counter(0, EVENT_INST_RETIRED, 0);
	start();
	for (i = 1; i <= rounds(); i++) {
		pmu_run(1, ROUND);
		now = pmu_read(PMEVCNTR0_EL0);
		r->at = i;
		CHECK(r, "at least its own instructions", ((now - before) & LOW32) >= ROUND);
		before = now;
	}
}

/* Not advertised, so it never counts, on no CPU; and it reads back. */
void hetero_lacks(struct pmu_result *r)
{
	unsigned event = (unsigned)option_number("lacks", NONE);
	uint64_t i;

	REQUIRE(r, event != NONE, "lacks= names no event");
	REQUIRE(r, counter_count() > 0, "no event counter");
	CHECK(r, "it is not advertised", !has_event(event));
	start_counter(0, event, 7);
	start();
	for (i = 1; i <= rounds(); i++) {
		pmu_run(1, ROUND);
		r->at = i;
		CHECK_EQ(r, "its count", pmu_read(PMEVCNTR0_EL0), 7);
		CHECK_EQ(r, "its event", pmu_read(type_reg(0)) & 0xffff, event);
	}
}
