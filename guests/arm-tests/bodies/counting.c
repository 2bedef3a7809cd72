/* SPDX-License-Identifier: MIT */
/* What is counted, exactly: instructions and cycles, their gates and filters, fresh values. */
#include "common.h"

#define NO_INSTRUCTIONS "INST_RETIRED is not advertised"

/* A guest starts with the library's reset values: nothing enabled, nothing foreign. */
void fresh_start(struct pmu_result *r)
{
	static const enum pmu_reg zero[] = {
		PMCNTENSET_EL0, PMINTENSET_EL1, PMOVSSET_EL0, PMSELR_EL0, PMUSERENR_EL0,
		PMCCNTR_EL0, PMCCFILTR_EL0,
	};
	unsigned n, count = counter_count();
	size_t i;

	CHECK_EQ(r, "PMCR.E", pmu_first_value(PMCR_EL0) & PMCR_E, 0);
	for (i = 0; i < sizeof(zero) / sizeof(zero[0]); i++) {
		r->at = zero[i];
		CHECK_EQ(r, "register", pmu_first_value(zero[i]), 0);
	}
	for (n = 0; n < count; n++) {
		r->at = n;
		CHECK_EQ(r, "PMEVCNTRn", pmu_first_value(counter_reg(n)), 0);
		CHECK_EQ(r, "PMEVTYPERn", pmu_first_value(type_reg(n)), 0);
	}
}

void instructions_exact(struct pmu_result *r)
{
	static const uint64_t lengths[] = { 2, 1000, 4444, 100000 };
	size_t i;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	start_counter(0, EVENT_INST_RETIRED | here(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		r->at = i;
		CHECK_EQ(r, "counted", counted(0, pmu_el(), lengths[i]), lengths[i]);
	}
}

/* Rows of the enable rule: PMCR.E and PMCNTEN, both needed, for any kind of counter. */
static const struct {
	uint64_t e, enable;
	bool counts;
} gates[] = {
	{ 0, 0, false }, { 0, 1, false }, { PMCR_E, 0, false }, { PMCR_E, 1, true },
};

static void check_gates(struct pmu_result *r, unsigned n, uint64_t type)
{
	size_t i;

	for (i = 0; i < sizeof(gates) / sizeof(gates[0]); i++) {
		r->at = i;
		start_counter(n, type, 9);
		if (!gates[i].enable)
			pmu_write(PMCNTENCLR_EL0, BIT(n));
		pmu_write(PMCR_EL0, gates[i].e | PMCR_LC);
		pmu_run(pmu_el(), 1000);
		stop_all();
		CHECK_EQ(r, "counted", pmu_read(value_reg(n)) >= 1000, gates[i].counts);
		if (!gates[i].counts)
			CHECK_EQ(r, "value", pmu_read(value_reg(n)), 9);
	}
}

void instructions_gates(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	check_gates(r, 0, EVENT_INST_RETIRED | here());
}

void cycles_gates(struct pmu_result *r)
{
	CHECKED(r, check_gates(r, CYCLE, here()));
	check_gates(r, 0, EVENT_CPU_CYCLES | here());
}

/* All counters on one event, started and stopped together, agree to the last instruction. */
void instructions_everywhere(struct pmu_result *r)
{
	unsigned n, count = counter_count();
	uint64_t first;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	for (n = 0; n < count; n++)
		start_counter(n, EVENT_INST_RETIRED | here(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 10000);
	stop_all();
	first = pmu_read(PMEVCNTR0_EL0);
	CHECK(r, "counter 0 counted", first >= 10000);
	for (n = 1; n < count; n++) {
		r->at = n;
		CHECK_EQ(r, "PMEVCNTRn", pmu_read(counter_reg(n)), first);
	}
}

/* A written value is where counting goes on, also when it is written while counting. */
void instructions_from_preset(struct pmu_result *r)
{
	uint64_t value;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	start_counter(0, EVENT_INST_RETIRED | here(), 0x10000);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 1000);
	value = pmu_read(PMEVCNTR0_EL0);
	CHECK(r, "from a preset", value >= 0x10000 + 1000 && value < 0x10000 + 3000);
	pmu_write(PMEVCNTR0_EL0, 0x20000);
	pmu_run(pmu_el(), 1000);
	value = pmu_read(PMEVCNTR0_EL0);
	CHECK(r, "from a value written while counting",
	      value >= 0x20000 + 1000 && value < 0x20000 + 3000);
}

static void check_cycles(struct pmu_result *r, unsigned n)
{
	uint64_t cycles = counted(n, pmu_el(), 5000);

	r->at = n;
	if (pmu_cpi() != 0)
		CHECK_EQ(r, "cycles of 5000 instructions", cycles, 5000 * pmu_cpi());
}

/* PMCCNTR and CPU_CYCLES count alike; exactly where the machine's cycles per instruction are known. */
void cycles_exact(struct pmu_result *r)
{
	start_counter(CYCLE, here(), 0);
	start_counter(0, EVENT_CPU_CYCLES | here(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	CHECKED(r, check_cycles(r, CYCLE));
	CHECKED(r, check_cycles(r, 0));
	stop_all();
	CHECK(r, "PMCCNTR counted", pmu_read(PMCCNTR_EL0) != 0);
	CHECK_EQ(r, "CPU_CYCLES against PMCCNTR", pmu_read(PMEVCNTR0_EL0),
		 pmu_read(PMCCNTR_EL0));
}

void cycles_increase(struct pmu_result *r)
{
	uint64_t before, now;
	unsigned i;

	start_counter(CYCLE, here(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	before = pmu_read(PMCCNTR_EL0);
	for (i = 0; i < 100; i++) {
		r->at = i;
		pmu_run(pmu_el(), 100);
		now = pmu_read(PMCCNTR_EL0);
		CHECK(r, "later read is larger", now > before);
		before = now;
	}
}

/* A stopped counter keeps its value, and reading does not change it. */
void stopped_keeps(struct pmu_result *r)
{
	uint64_t event, cycles;

	start_counter(CYCLE, here(), 0);
	start_counter(0, EVENT_CPU_CYCLES | here(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 1000);
	pmu_write(PMCNTENCLR_EL0, CYCLE_BIT | 1);
	event = pmu_read(PMEVCNTR0_EL0);
	cycles = pmu_read(PMCCNTR_EL0);
	pmu_run(pmu_el(), 1000);
	CHECK_EQ(r, "PMEVCNTR0", pmu_read(PMEVCNTR0_EL0), event);
	CHECK_EQ(r, "PMCCNTR", pmu_read(PMCCNTR_EL0), cycles);
	stop_all();
	CHECK_EQ(r, "PMEVCNTR0 after E=0", pmu_read(PMEVCNTR0_EL0), event);
	CHECK_EQ(r, "PMCCNTR after E=0", pmu_read(PMCCNTR_EL0), cycles);
}

/* A new event on a running counter starts and stops its counting, and keeps the value. */
void retype_running(struct pmu_result *r)
{
	uint64_t value;

	start_counter(0, EVENT_SW_INCR | here(), 100);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 1000);
	CHECK_EQ(r, "before", pmu_read(PMEVCNTR0_EL0), 100);
	pmu_write(PMEVTYPER0_EL0, EVENT_CPU_CYCLES | here());
	pmu_run(pmu_el(), 1000);
	pmu_write(PMEVTYPER0_EL0, EVENT_SW_INCR | here());
	value = pmu_read(PMEVCNTR0_EL0);
	CHECK(r, "counted as CPU_CYCLES", value > 100 + 500);
	pmu_run(pmu_el(), 1000);
	CHECK_EQ(r, "after", pmu_read(PMEVCNTR0_EL0), value);
}

/* P stops EL1, U stops EL0 (Non-secure, NSK = NSU = 0). */
static const struct {
	uint64_t filter;
	bool at[2];	/* counts at EL0, EL1 */
} filters[] = {
	{ 0, { true, true } },
	{ FILTER_P, { true, false } },
	{ FILTER_U, { false, true } },
	{ FILTER_P | FILTER_U, { false, false } },
};

#define FILTER_COUNT (sizeof(filters) / sizeof(filters[0]))

static void check_filters(struct pmu_result *r, unsigned n, uint64_t event, uint64_t each)
{
	unsigned el;
	size_t i;

	for (i = 0; i < FILTER_COUNT; i++) {
		start_counter(n, event | filters[i].filter, 0);
		pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
		for (el = 0; el <= 1; el++) {
			r->at = i * 2 + el;
			CHECK_EQ(r, "counted by filter and EL", counted(n, el, 2000),
				 filters[i].at[el] ? 2000 * each : 0);
		}
		stop_all();
	}
}

void filter_instructions(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	check_filters(r, 0, EVENT_INST_RETIRED, 1);
}

void filter_cycles(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, "cycles per instruction are not known");
	CHECKED(r, check_filters(r, CYCLE, 0, pmu_cpi()));
	check_filters(r, 0, EVENT_CPU_CYCLES, pmu_cpi());
}

/* Counter n has filter n; all count the same run. */
void filter_per_counter(struct pmu_result *r)
{
	unsigned n;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	REQUIRE(r, counter_count() >= FILTER_COUNT, "fewer than four counters");
	for (n = 0; n < FILTER_COUNT; n++)
		start_counter(n, EVENT_INST_RETIRED | filters[n].filter, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(0, 5000);
	pmu_run(1, 100000);
	stop_all();
	CHECK(r, "EL0 and EL1", pmu_read(PMEVCNTR0_EL0) >= 105000);
	CHECK(r, "EL0 only", pmu_read(PMEVCNTR1_EL0) >= 5000 &&
	      pmu_read(PMEVCNTR1_EL0) < 6000);
	CHECK_EQ(r, "EL1 only", pmu_read(PMEVCNTR2_EL0),
		 pmu_read(PMEVCNTR0_EL0) - pmu_read(PMEVCNTR1_EL0));
	CHECK_EQ(r, "neither", pmu_read(PMEVCNTR3_EL0), 0);
}

/* A policy that hides CPU_CYCLES stops PMCCNTR too; it still reads back what was written. */
void denied_cycle_counter(struct pmu_result *r)
{
	REQUIRE(r, !has_event(EVENT_CPU_CYCLES), "CPU_CYCLES is advertised");
	start_counter(CYCLE, here(), 0x1234);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 10000);
	CHECK_EQ(r, "PMCCNTR", pmu_read(PMCCNTR_EL0), 0x1234);
	CHECK_EQ(r, "PMCNTENSET", pmu_read(PMCNTENSET_EL0), CYCLE_BIT);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), 0);
}
