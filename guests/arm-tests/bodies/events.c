/* SPDX-License-Identifier: MIT */
/* What is advertised, SW_INCR, CHAIN. */
#include "common.h"

#define STALL_SLOT_EVENTS (BIT(0x1d) | BIT(0x1e) | BIT(0x1f))	/* 0x3D-0x3F in PMCEID1 */

void pmceid_mandatory(struct pmu_result *r)
{
	unsigned version = pmu_version();

	CHECK(r, "SW_INCR", has_event(EVENT_SW_INCR));
	CHECK(r, "CPU_CYCLES", has_event(EVENT_CPU_CYCLES));
	if (version >= PMUVER_P1) {
		CHECK(r, "STALL_FRONTEND", has_event(EVENT_STALL_FRONTEND));
		CHECK(r, "STALL_BACKEND", has_event(EVENT_STALL_BACKEND));
	}
	if (version >= PMUVER_P4)
		CHECK(r, "STALL", has_event(EVENT_STALL));
	CHECK_EQ_OR(r, PMU_ALLOW_no_instructions, "INST_RETIRED or INST_SPEC",
		    has_event(EVENT_INST_RETIRED) || has_event(EVENT_INST_SPEC), 1);
}

/* The upper halves tell of 0x4000 to 0x403F, which exist from PMUv3p1. */
void pmceid_reserved(struct pmu_result *r)
{
	REQUIRE(r, pmu_version() < PMUVER_P1, "PMUv3p1 defines the upper halves");
	CHECK_EQ(r, "PMCEID0[63:32]", pmu_read(PMCEID0_EL0) >> 32, 0);
	CHECK_EQ(r, "PMCEID1[63:32]", pmu_read(PMCEID1_EL0) >> 32, 0);
}

/* PMMIR exists from PMUv3p4. SLOTS = 0 hides the events that are measured in slots. */
void pmmir(struct pmu_result *r)
{
	uint64_t value = 0;
	enum pmu_end end = pmu_try_read(pmu_el(), PMMIR_EL1, &value);

	CHECK_EQ(r, "read ends", end, pmu_version() < PMUVER_P4 ? PMU_UNDEF : PMU_OK);
	CHECK_EQ(r, "write ends", pmu_try_write(pmu_el(), PMMIR_EL1, 0), PMU_UNDEF);
	if ((value & 0xff) == 0)
		CHECK_EQ(r, "STALL_SLOT events without slots",
			 pmu_read(PMCEID1_EL0) & STALL_SLOT_EVENTS, 0);
}

/* What 1000 instructions and one SW_INCR add to counter 0 typed `event`. */
static uint64_t provoke(unsigned event)
{
	start_counter(0, event | here(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 1000);
	pmu_write(PMSWINC_EL0, 1);
	stop_all();
	return pmu_read(PMEVCNTR0_EL0);
}

/* Events that any program causes must count when they are advertised. */
void pmceid_counts(struct pmu_result *r)
{
	static const unsigned sure[] = {
		EVENT_SW_INCR, EVENT_INST_RETIRED, EVENT_CPU_CYCLES, EVENT_INST_SPEC,
	};
	size_t i;

	for (i = 0; i < sizeof(sure) / sizeof(sure[0]); i++) {
		r->at = sure[i];
		if (has_event(sure[i]))
			CHECK(r, "advertised event counts", provoke(sure[i]) != 0);
	}
}

/* What is not advertised must not count (V12); it may on a bare machine. */
void pmceid_silent(struct pmu_result *r)
{
	unsigned event;

	for (event = 0; event < 0x40; event++) {
		r->at = event;
		if (!has_event(event))
			CHECK_EQ_OR(r, PMU_ALLOW_unadvertised, "counted", provoke(event), 0);
	}
}

static void increment(unsigned times, uint64_t bits)
{
	while (times-- > 0)
		pmu_write(PMSWINC_EL0, bits);
}

void swinc_exact(struct pmu_result *r)
{
	unsigned last = counter_count() - 1;

	REQUIRE(r, last >= 1 && last < 31, "fewer than two counters");
	start_counter(0, EVENT_SW_INCR | here(), 0);
	start_counter(last, EVENT_SW_INCR | here(), 5);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	increment(100, BIT(0) | BIT(last));
	increment(11, BIT(last));
	CHECK_EQ(r, "counter 0", pmu_read(PMEVCNTR0_EL0), 100);
	CHECK_EQ(r, "last counter", pmu_read(counter_reg(last)), 116);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), 0);
}

/* The event must pass every gate: E, PMCNTEN, the event number, the filter. */
void swinc_gates(struct pmu_result *r)
{
	static const struct {
		uint64_t pmcr, enable, event;
		bool counts;
	} rows[] = {
		{ PMCR_E, 1, EVENT_SW_INCR, true },
		{ 0, 1, EVENT_SW_INCR, false },
		{ PMCR_E, 0, EVENT_SW_INCR, false },
		{ PMCR_E, 2, EVENT_SW_INCR, false },
		{ PMCR_E, 1, EVENT_STALL_FRONTEND, false },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r->at = i;
		start_counter(0, rows[i].event | here(), 0);
		pmu_write(PMCNTENCLR_EL0, 1);
		pmu_write(PMCNTENSET_EL0, rows[i].enable);
		pmu_write(PMCR_EL0, rows[i].pmcr | PMCR_LC);
		increment(3, 1);
		CHECK_EQ(r, "counter 0", pmu_read(PMEVCNTR0_EL0), rows[i].counts ? 3 : 0);
		stop_all();
	}
}

/* 32-bit overflow; from PMUv3p5 the increment carries into [63:32] all the same. */
void swinc_wraps(struct pmu_result *r)
{
	uint64_t want = pmu_version() < PMUVER_P5 ? 1 : BIT(32) + 1;

	start_counter(0, EVENT_SW_INCR | here(), LOW32 - 1);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	increment(1, 1);
	CHECK_EQ(r, "PMOVS before the wrap", pmu_read(PMOVSSET_EL0), 0);
	increment(2, 1);
	CHECK_EQ(r, "PMOVS after the wrap", pmu_read(PMOVSSET_EL0), 1);
	CHECK_EQ(r, "counter 0", pmu_read(PMEVCNTR0_EL0), want);
}

/* LP = 1: nothing at bit 31, overflow at bit 63. */
void swinc_wraps_long(struct pmu_result *r)
{
	REQUIRE(r, pmu_version() >= PMUVER_P5, "no long counters before PMUv3p5");
	start_counter(0, EVENT_SW_INCR | here(), LOW32);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC | PMCR_LP);
	increment(1, 1);
	CHECK_EQ(r, "PMOVS after 2^32", pmu_read(PMOVSSET_EL0), 0);
	CHECK_EQ(r, "counter 0 after 2^32", pmu_read(PMEVCNTR0_EL0), BIT(32));
	pmu_write(PMEVCNTR0_EL0, ~UINT64_C(0));
	increment(1, 1);
	CHECK_EQ(r, "PMOVS after 2^64", pmu_read(PMOVSSET_EL0), 1);
	CHECK_EQ(r, "counter 0 after 2^64", pmu_read(PMEVCNTR0_EL0), 0);
}

/* EL0's increments count with U = 0, EL1's do not with P = 1, and the other way round. */
void swinc_el0(struct pmu_result *r)
{
	static const struct {
		uint64_t filter, want;
	} rows[] = {
		{ 0, 2 }, { FILTER_P, 1 }, { FILTER_U, 1 }, { FILTER_P | FILTER_U, 0 },
	};
	size_t i;

	pmu_write(PMUSERENR_EL0, USERENR_SW);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r->at = i;
		start_counter(0, EVENT_SW_INCR | rows[i].filter, 0);
		pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
		increment(1, 1);
		CHECK_EQ(r, "EL0 write ends", pmu_try_write(0, PMSWINC_EL0, 1), PMU_OK);
		CHECK_EQ(r, "counter 0", pmu_read(PMEVCNTR0_EL0), rows[i].want);
		stop_all();
	}
}

/* Counters 0 and 1 as a chained pair, the even one about to wrap. */
static void make_pair(uint64_t odd)
{
	start_counter(0, EVENT_SW_INCR | here(), LOW32);
	start_counter(1, EVENT_CHAIN | here(), odd);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
}

static bool can_chain(void)
{
	return counter_count() >= 2 && has_event(EVENT_CHAIN);
}

#define NO_CHAIN "CHAIN is not advertised"

static void check_pair(struct pmu_result *r, uint64_t even, uint64_t odd, uint64_t status)
{
	CHECK_EQ(r, "even counter, 32 bits", pmu_read(PMEVCNTR0_EL0) & LOW32, even);
	CHECK_EQ(r, "odd counter", pmu_read(PMEVCNTR1_EL0), odd);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), status);
}

void chain_carries(struct pmu_result *r)
{
	REQUIRE(r, can_chain(), NO_CHAIN);
	make_pair(7);
	increment(1, 1);
	CHECKED(r, check_pair(r, 0, 8, 1));
	increment(1, 1);
	check_pair(r, 1, 8, 1);
}

void chain_odd_disabled(struct pmu_result *r)
{
	REQUIRE(r, can_chain(), NO_CHAIN);
	make_pair(7);
	pmu_write(PMCNTENCLR_EL0, 2);
	increment(1, 1);
	check_pair(r, 0, 7, 1);
}

/* Both status bits, each by its own counter. From PMUv3p5 the odd counter is 64 bits wide. */
void chain_odd_wraps(struct pmu_result *r)
{
	REQUIRE(r, can_chain(), NO_CHAIN);
	make_pair(LOW32);
	increment(1, 1);
	check_pair(r, 0, pmu_version() < PMUVER_P5 ? 0 : BIT(32), 3);
}

/* No CHAIN event without an overflow of the even counter, and none by SW_INCR of the odd one. */
void chain_only_odd(struct pmu_result *r)
{
	REQUIRE(r, can_chain(), NO_CHAIN);
	make_pair(7);
	pmu_write(PMCNTENCLR_EL0, 1);
	increment(3, 3);
	check_pair(r, LOW32, 7, 0);
}

void chain_silent_long(struct pmu_result *r)
{
	REQUIRE(r, can_chain(), NO_CHAIN);
	REQUIRE(r, pmu_version() >= PMUVER_P5, "no long counters before PMUv3p5");
	make_pair(7);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC | PMCR_LP);
	increment(1, 1);
	CHECKED(r, check_pair(r, 0, 7, 0));
	pmu_write(PMEVCNTR0_EL0, ~UINT64_C(0));
	increment(1, 1);
	check_pair(r, 0, 7, 1);
}

/* Not advertised: the even counter wraps, the odd one stays (arm.md 11.6). */
void chain_absent(struct pmu_result *r)
{
	REQUIRE(r, counter_count() >= 2, "fewer than two counters");
	REQUIRE(r, !has_event(EVENT_CHAIN), "CHAIN is advertised");
	make_pair(7);
	increment(1, 1);
	check_pair(r, 0, 7, 1);
}
