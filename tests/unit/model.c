/* SPDX-License-Identifier: MIT */
/*
 * The oracle itself, hardware/model/model_pmu.c, against the manual's tables and truth tables and
 * against what was measured on other implementations and agrees with the architecture.
 */
#include <string.h>

#include "cmocka_vpmu.h"
#include "model_pmu.h"

#define N 6u
#define CYCLE VPMU_ARM_CYCLE
#define ALL (BIT(N) - 1)
#define C BIT(CYCLE)

static const struct model_event_count mem_access = { 0x13, 1 };

static struct model_config config_of(uint32_t version)
{
	return (struct model_config){
		.version = version, .counters = N, .id = 0x4100, .aarch32 = true,
		.ceid = { 0x7FFFFFFF, 0xFFFFFFFF }, .mmir = 8,
	};
}

static struct model_pmu pmu_of(uint32_t version, bool fgt)
{
	struct model_config config = config_of(version);
	struct model_pmu pmu;

	config.fgt = fgt;
	model_pmu_reset(&pmu, &config, 0);
	return pmu;
}

static void set(struct model_pmu *pmu, uint32_t reg, uint64_t value)
{
	assert_true(model_el2_access(pmu, reg, true, &value));
}

static uint64_t get(struct model_pmu *pmu, uint32_t reg)
{
	uint64_t value = 0;

	assert_true(model_el2_access(pmu, reg, false, &value));
	return value;
}

static enum model_result guest_write(struct model_pmu *pmu, unsigned int el, uint32_t reg,
				     uint64_t value)
{
	return model_guest_access(pmu, el, reg, true, &value);
}

static enum model_result guest_read(struct model_pmu *pmu, unsigned int el, uint32_t reg,
				    uint64_t *value)
{
	return model_guest_access(pmu, el, reg, false, value);
}

static uint64_t el1_get(struct model_pmu *pmu, uint32_t reg)
{
	uint64_t value = 0;

	assert_int_equal(guest_read(pmu, 1, reg, &value), MODEL_EXECUTED);
	return value;
}

static void run(struct model_pmu *pmu, unsigned int el, uint64_t n)
{
	struct model_events events = { .instructions = n, .cycles = n };

	model_retire(pmu, el, &events);
}

/* ---- arm.md 11.1: counting at EL2 ---- */

static const struct {
	bool hpme, e, hpmd, ctr0, ctr3, ccnt;
} el2_matrix[] = {
	{ 0, 0, 0, 0, 0, 0 }, { 0, 0, 1, 0, 0, 0 },
	{ 0, 1, 0, 1, 0, 1 }, { 0, 1, 1, 0, 0, 1 },
	{ 1, 0, 0, 0, 1, 0 }, { 1, 0, 1, 0, 1, 0 },
	{ 1, 1, 0, 1, 1, 1 }, { 1, 1, 1, 0, 1, 1 },
};

static void counting_matrix_at_el2(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(el2_matrix); i++) {
		struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, false);

		set(&pmu, MODEL_MDCR_EL2, 2 | (el2_matrix[i].hpme ? MODEL_MDCR_HPME : 0) |
						  (el2_matrix[i].hpmd ? MODEL_MDCR_HPMD : 0));
		set(&pmu, MODEL_PMEVTYPER(0), MODEL_EVENT_CPU_CYCLES | MODEL_FILTER_NSH);
		set(&pmu, MODEL_PMEVTYPER(3), MODEL_EVENT_CPU_CYCLES | MODEL_FILTER_NSH);
		set(&pmu, MODEL_PMCCFILTR, MODEL_FILTER_NSH);
		set(&pmu, MODEL_PMCNTENSET, BIT(0) | BIT(3) | C);
		set(&pmu, MODEL_PMCR, MODEL_PMCR_LC | (el2_matrix[i].e ? MODEL_PMCR_E : 0));
		run(&pmu, 2, 10006);
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(0)), el2_matrix[i].ctr0 ? 10006 : 0);
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(3)), el2_matrix[i].ctr3 ? 10006 : 0);
		assert_int_equal(get(&pmu, MODEL_PMCCNTR), el2_matrix[i].ccnt ? 10006 : 0);
	}
}

/* ---- arm.md 11.2, the column "Arm ARM" ---- */

enum { OK = MODEL_EXECUTED, TO1 = MODEL_TRAP_EL1, TO2 = MODEL_TRAP_EL2 };

static const struct {
	uint32_t reg;
	bool write;
} el0_accesses[] = {
	{ MODEL_PMCCNTR, false }, { MODEL_PMEVCNTR(0), false }, { MODEL_PMSELR, false },
	{ MODEL_PMSWINC, true },  { MODEL_PMCR, false },	{ MODEL_PMCCNTR, true },
	{ MODEL_PMUSERENR, false },
};

static const struct {
	uint64_t user;
	bool tpm;
	int expect[ARRAY_SIZE(el0_accesses)];
} el0_table[] = {
	{ 0x0, false, { TO1, TO1, TO1, TO1, TO1, TO1, OK } },
	{ 0x1, false, { OK, OK, OK, OK, OK, OK, OK } },
	{ 0xE, false, { OK, OK, OK, OK, TO1, TO1, OK } },
	{ 0xF, false, { OK, OK, OK, OK, OK, OK, OK } },
	{ 0x0, true, { TO1, TO1, TO1, TO1, TO1, TO1, TO2 } },
	{ 0x1, true, { TO2, TO2, TO2, TO2, TO2, TO2, TO2 } },
	{ 0xE, true, { TO2, TO2, TO2, TO2, TO1, TO1, TO2 } },
	{ 0xF, true, { TO2, TO2, TO2, TO2, TO2, TO2, TO2 } },
};

static void el0_access_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(el0_table); i++) {
		struct model_pmu pmu = pmu_of(VPMU_ARM_V3P1, false);

		set(&pmu, MODEL_PMUSERENR, el0_table[i].user);
		set(&pmu, MODEL_MDCR_EL2, N | (el0_table[i].tpm ? MODEL_MDCR_TPM : 0));
		for (size_t k = 0; k < ARRAY_SIZE(el0_accesses); k++) {
			uint64_t value = 0;

			assert_int_equal(model_guest_access(&pmu, 0, el0_accesses[k].reg,
							    el0_accesses[k].write, &value),
					 el0_table[i].expect[k]);
		}
	}
}

/*
 * EL1 registers are UNDEF at EL0 whatever PMUSERENR and the traps say; so is the wrong direction.
 */
static void el0_never(void **state)
{
	static const struct {
		uint32_t reg;
		bool write;
	} never[] = {
		{ MODEL_PMINTENSET, false }, { MODEL_PMINTENSET, true },
		{ MODEL_PMINTENCLR, false }, { MODEL_PMINTENCLR, true },
		{ MODEL_PMMIR, false },	     { MODEL_PMUSERENR, true },
		{ MODEL_PMSWINC, false },    { MODEL_PMCEID0, true },
		{ MODEL_PMCEID1, true },     { MODEL_PMMIR, true },
		{ MODEL_MDCR_EL2, false },
	};

	(void)state;
	for (unsigned int bits = 0; bits < 4; bits++) {
		struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, true);

		set(&pmu, MODEL_PMUSERENR, bits & 1 ? 0xF : 0);
		set(&pmu, MODEL_MDCR_EL2, N | (bits & 2 ? MODEL_MDCR_TPM : 0));
		for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
			uint64_t value = 0;

			assert_int_equal(model_guest_access(&pmu, 0, never[i].reg, never[i].write,
							    &value), MODEL_UNDEF);
		}
	}
}

/* ---- arm.md 2.1: does the counter count? Every combination of its inputs ---- */

struct inputs {
	bool e, hpme, enabled, hpmd, hccd, dp, p, u, nsh, nsk, nsu;
};

static bool expect_counts(const struct inputs *in, unsigned int i, unsigned int hpmn,
			  unsigned int el, bool el3)
{
	bool range1 = i == CYCLE || i < hpmn;
	bool passes[3] = { in->u == (el3 && in->nsu), in->p == (el3 && in->nsk), in->nsh };

	if (!in->enabled || !(range1 ? in->e : in->hpme) || !passes[el])
		return false;
	if (el < 2 || !range1)
		return true;
	return i == CYCLE ? !in->hccd && !(in->hpmd && in->dp) : !in->hpmd;
}

static void apply(struct model_pmu *pmu, const struct inputs *in, unsigned int i, unsigned int hpmn)
{
	uint64_t filter = (in->p ? MODEL_FILTER_P : 0) | (in->u ? MODEL_FILTER_U : 0) |
			  (in->nsh ? MODEL_FILTER_NSH : 0) | (in->nsk ? MODEL_FILTER_NSK : 0) |
			  (in->nsu ? MODEL_FILTER_NSU : 0);

	set(pmu, MODEL_MDCR_EL2, hpmn | (in->hpme ? MODEL_MDCR_HPME : 0) |
					 (in->hpmd ? MODEL_MDCR_HPMD : 0) |
					 (in->hccd ? MODEL_MDCR_HCCD : 0));
	set(pmu, MODEL_PMCR,
	    MODEL_PMCR_LC | (in->e ? MODEL_PMCR_E : 0) | (in->dp ? MODEL_PMCR_DP : 0));
	set(pmu, MODEL_PMCNTENCLR, C | ALL);
	set(pmu, MODEL_PMCNTENSET, in->enabled ? BIT(i) : 0);
	set(pmu, i == CYCLE ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i), filter | 0x11);
}

static void counts_truth_table(void **state)
{
	static const unsigned int counters[] = { 0, 3, CYCLE };

	(void)state;
	for (unsigned int bits = 0; bits < 1u << 12; bits++) {
		struct inputs in = { bits & 1, bits & 2, bits & 4, bits & 8, bits & 16, bits & 32,
				     bits & 64, bits & 128, bits & 256, bits & 512, bits & 1024 };
		struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, false);

		pmu.config.el3 = bits & 2048;
		for (size_t k = 0; k < ARRAY_SIZE(counters); k++) {
			unsigned int i = counters[k];

			apply(&pmu, &in, i, 2);
			for (unsigned int el = 0; el < 3; el++)
				assert_int_equal(model_counts(&pmu, i, el),
						 expect_counts(&in, i, 2, el, pmu.config.el3));
		}
	}
}

/*
 * HPMD exists from p1, HCCD from p5: before, the cycle counter counts at EL2 if NSH says so (A4).
 */
static void boundary_by_version(void **state)
{
	static const struct {
		uint32_t version;
		bool event, cycle;
	} rows[] = {
		{ VPMU_ARM_V3, true, true }, { VPMU_ARM_V3P1, false, true },
		{ VPMU_ARM_V3P4, false, true }, { VPMU_ARM_V3P5, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct model_pmu pmu = pmu_of(rows[i].version, false);

		set(&pmu, MODEL_MDCR_EL2, N | MODEL_MDCR_HPMD | MODEL_MDCR_HCCD);
		set(&pmu, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED | MODEL_FILTER_NSH);
		set(&pmu, MODEL_PMCCFILTR, MODEL_FILTER_NSH);
		set(&pmu, MODEL_PMCNTENSET, BIT(0) | C);
		set(&pmu, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		run(&pmu, 2, 100);
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(0)), rows[i].event ? 100 : 0);
		assert_int_equal(get(&pmu, MODEL_PMCCNTR), rows[i].cycle ? 100 : 0);
	}
}

/* ---- arm.md 2.2: widths ---- */

static const struct {
	uint32_t version;
	unsigned int i;
	uint64_t pmcr, mdcr, start, n, end;
	bool overflow;
} widths[] = {
	/* Before p5 an event counter has 32 bits. */
	{ VPMU_ARM_V3, 0, 0, N, 0xFFFFFFFF, 1, 0, true },
	{ VPMU_ARM_V3P4, 0, MODEL_PMCR_LP, N, 0xFFFFFFFE, 1, 0xFFFFFFFF, false },
	{ VPMU_ARM_V3P1, 0, 0, N, 0xFFFFFFF0, 0x200000000, 0xFFFFFFF0, true },
	/* From p5 64, and LP says only where the overflow is. */
	{ VPMU_ARM_V3P5, 0, 0, N, 0xFFFFFFFF, 1, 0x100000000, true },
	{ VPMU_ARM_V3P5, 0, MODEL_PMCR_LP, N, 0xFFFFFFFF, 1, 0x100000000, false },
	{ VPMU_ARM_V3P5, 0, MODEL_PMCR_LP, N, UINT64_MAX, 3, 2, true },
	{ VPMU_ARM_V3P5, 0, 0, N, UINT64_MAX, 3, 2, true },
	/* Range 2 by HLP, not LP. */
	{ VPMU_ARM_V3P5, 3, MODEL_PMCR_LP, 2 | MODEL_MDCR_HPME, 0xFFFFFFFF, 1, 0x100000000, true },
	{ VPMU_ARM_V3P5, 3, 0, 2 | MODEL_MDCR_HPME | MODEL_MDCR_HLP, 0xFFFFFFFF, 1, 0x100000000,
	  false },
	{ VPMU_ARM_V3P5, 3, 0, 2 | MODEL_MDCR_HPME | MODEL_MDCR_HLP, UINT64_MAX, 1, 0, true },
	/* PMCCNTR has 64 bits always, and LC says where the overflow is. */
	{ VPMU_ARM_V3, CYCLE, 0, N, 0xFFFFFFFF, 1, 0x100000000, true },
	{ VPMU_ARM_V3, CYCLE, MODEL_PMCR_LC, N, 0xFFFFFFFF, 1, 0x100000000, false },
	{ VPMU_ARM_V3, CYCLE, MODEL_PMCR_LC, N, UINT64_MAX, 1, 0, true },
	{ VPMU_ARM_V3P5, CYCLE, MODEL_PMCR_LP, N, 0xFFFFFFFF, 1, 0x100000000, true },
};

static void overflow_widths(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(widths); k++) {
		struct model_pmu pmu = pmu_of(widths[k].version, false);
		unsigned int i = widths[k].i;
		uint32_t counter = i == CYCLE ? MODEL_PMCCNTR : MODEL_PMEVCNTR(i);

		set(&pmu, MODEL_MDCR_EL2, widths[k].mdcr);
		if (i != CYCLE)
			set(&pmu, MODEL_PMEVTYPER(i), MODEL_EVENT_CPU_CYCLES);
		set(&pmu, counter, widths[k].start);
		set(&pmu, MODEL_PMCNTENSET, BIT(i));
		set(&pmu, MODEL_PMCR, widths[k].pmcr | MODEL_PMCR_E);
		run(&pmu, 1, widths[k].n);
		assert_int_equal(get(&pmu, counter), widths[k].end);
		assert_int_equal(get(&pmu, MODEL_PMOVSSET), widths[k].overflow ? BIT(i) : 0);
	}
}

static void overflow_status_stays(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3, false);

	(void)state;
	set(&pmu, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
	set(&pmu, MODEL_PMEVCNTR(0), 0xFFFFFFFF);
	set(&pmu, MODEL_PMCNTENSET, 1);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E);
	run(&pmu, 1, 1);
	run(&pmu, 1, 1000);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_P | MODEL_PMCR_C);
	assert_int_equal(get(&pmu, MODEL_PMOVSSET), 1);
	set(&pmu, MODEL_PMOVSCLR, 1);
	assert_int_equal(get(&pmu, MODEL_PMOVSSET), 0);
}

/* PMCR.D divides by 64 if LC is 0, and is RES0 without AArch32. */
static void divider(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3, false);

	(void)state;
	set(&pmu, MODEL_PMCNTENSET, C);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_D);
	run(&pmu, 1, 63);
	run(&pmu, 1, 66);
	assert_int_equal(get(&pmu, MODEL_PMCCNTR), 2);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_D | MODEL_PMCR_LC);
	run(&pmu, 1, 100);
	assert_int_equal(get(&pmu, MODEL_PMCCNTR), 102);

	pmu.config.aarch32 = false;
	set(&pmu, MODEL_PMCR, MODEL_PMCR_D);
	assert_int_equal(get(&pmu, MODEL_PMCR) & 0xFF, MODEL_PMCR_LC);
}

/* ---- arm.md 2.3: CHAIN and SW_INCR ---- */

static struct model_pmu chained(uint32_t version, uint32_t low_event)
{
	struct model_pmu pmu = pmu_of(version, false);

	set(&pmu, MODEL_PMEVTYPER(0), low_event);
	set(&pmu, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN);
	set(&pmu, MODEL_PMEVCNTR(0), 0xFFFFFFFF);
	set(&pmu, MODEL_PMCNTENSET, 3);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E);
	return pmu;
}

static void expect_pair(struct model_pmu *pmu, uint64_t low, uint64_t high, uint64_t status)
{
	assert_int_equal(get(pmu, MODEL_PMEVCNTR(0)), low);
	assert_int_equal(get(pmu, MODEL_PMEVCNTR(1)), high);
	assert_int_equal(get(pmu, MODEL_PMOVSSET), status);
}

static void chain_carries(void **state)
{
	struct model_pmu pmu = chained(VPMU_ARM_V3, 0x08);

	(void)state;
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0, 1, 1);
	run(&pmu, 1, 0x300000000);
	expect_pair(&pmu, 0, 4, 1);
	set(&pmu, MODEL_PMEVCNTR(1), 0xFFFFFFFF);
	set(&pmu, MODEL_PMEVCNTR(0), 0xFFFFFFFF);
	run(&pmu, 0, 2);
	expect_pair(&pmu, 1, 0, 3);
}

static void chain_needs_the_odd_counter(void **state)
{
	struct model_pmu pmu = chained(VPMU_ARM_V3, 0x08);

	(void)state;
	set(&pmu, MODEL_PMCNTENCLR, 2);
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0, 0, 1);

	pmu = chained(VPMU_ARM_V3, 0x08);
	set(&pmu, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN | MODEL_FILTER_P);
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0, 0, 1);

	pmu = chained(VPMU_ARM_V3, 0x08);
	set(&pmu, MODEL_PMEVTYPER(1), MODEL_EVENT_INST_RETIRED);
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0, 1, 1);
}

static void chain_and_long_overflow(void **state)
{
	struct model_pmu pmu = chained(VPMU_ARM_V3P5, 0x08);

	(void)state;
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0x100000000, 1, 1);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LP);
	set(&pmu, MODEL_PMEVCNTR(0), 0xFFFFFFFF);
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0x100000000, 1, 1);
	set(&pmu, MODEL_PMEVCNTR(0), UINT64_MAX);
	run(&pmu, 1, 1);
	expect_pair(&pmu, 0, 1, 1);
}

/*
 * An odd counter chains nowhere, nor does the last of an odd number of counters, nor across HPMN.
 */
static void chain_only_in_pairs(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3, false);

	(void)state;
	for (unsigned int i = 0; i < N; i++)
		set(&pmu, MODEL_PMEVTYPER(i), MODEL_EVENT_CHAIN);
	set(&pmu, MODEL_PMEVTYPER(1), MODEL_EVENT_INST_RETIRED);
	set(&pmu, MODEL_PMEVTYPER(2), MODEL_EVENT_INST_RETIRED);
	set(&pmu, MODEL_PMEVCNTR(1), 0xFFFFFFFF);
	set(&pmu, MODEL_PMEVCNTR(2), 0xFFFFFFFF);
	set(&pmu, MODEL_MDCR_EL2, 3 | MODEL_MDCR_HPME);
	set(&pmu, MODEL_PMCNTENSET, ALL);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E);
	run(&pmu, 1, 1);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(i)), 0);
	assert_int_equal(get(&pmu, MODEL_PMOVSSET), 6);

	pmu.config.counters = 5;
	set(&pmu, MODEL_MDCR_EL2, 5);
	set(&pmu, MODEL_PMEVTYPER(4), MODEL_EVENT_INST_RETIRED);
	set(&pmu, MODEL_PMEVCNTR(4), 0xFFFFFFFF);
	run(&pmu, 1, 1);
	assert_int_equal(pmu.pmevcntr[5], 0);
}

static void software_increment(void **state)
{
	struct model_pmu pmu = chained(VPMU_ARM_V3, MODEL_EVENT_SW_INCR);

	(void)state;
	guest_write(&pmu, 1, MODEL_PMSWINC, 0xFFFFFFFF);
	expect_pair(&pmu, 0, 1, 1);
	set(&pmu, MODEL_PMEVTYPER(0), MODEL_FILTER_P);
	guest_write(&pmu, 1, MODEL_PMSWINC, 1);
	expect_pair(&pmu, 0, 1, 1);
	set(&pmu, MODEL_PMUSERENR, 2);
	assert_int_equal(guest_write(&pmu, 0, MODEL_PMSWINC, 1), MODEL_EXECUTED);
	expect_pair(&pmu, 1, 1, 1);
	set(&pmu, MODEL_PMCNTENCLR, 1);
	guest_write(&pmu, 0, MODEL_PMSWINC, 1);
	expect_pair(&pmu, 1, 1, 1);
	set(&pmu, MODEL_PMCNTENSET, 1);
	set(&pmu, MODEL_PMCR, 0);
	guest_write(&pmu, 0, MODEL_PMSWINC, 1);
	expect_pair(&pmu, 1, 1, 1);
	run(&pmu, 0, 100);
	expect_pair(&pmu, 1, 1, 1);
}

/* ---- arm.md 2.4 and 11.4: the interrupt ---- */

static void interrupt_truth_table(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 1u << 5; bits++) {
		for (unsigned int i = 0; i < 32; i++) {
			struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, false);
			bool e = bits & 1, hpme = bits & 2, ovs = bits & 4, inten = bits & 8;
			bool range1 = i == CYCLE || i < 2;

			if (i >= N && i != CYCLE)
				continue;
			set(&pmu, MODEL_MDCR_EL2, 2 | (hpme ? MODEL_MDCR_HPME : 0));
			set(&pmu, MODEL_PMCR, MODEL_PMCR_LC | (e ? MODEL_PMCR_E : 0));
			set(&pmu, MODEL_PMOVSSET, ovs ? BIT(i) : 0);
			set(&pmu, MODEL_PMINTENSET, inten ? BIT(i) : 0);
			set(&pmu, MODEL_PMCNTENSET, bits & 16 ? BIT(i) : 0);
			assert_int_equal(model_interrupt(&pmu),
					 (range1 ? e : hpme) && ovs && inten);
		}
	}
}

static void interrupt_arrives_late(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3, false);

	(void)state;
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E);
	set(&pmu, MODEL_PMINTENSET, 1);
	set(&pmu, MODEL_PMOVSSET, 1);
	model_interrupt_sample(&pmu);
	set(&pmu, MODEL_PMOVSCLR, 1);
	for (unsigned int k = 0; k < 63; k++) {
		for (unsigned int steps = 0; steps < 64; steps++)
			assert_int_equal(model_interrupt_late(&pmu, steps), steps == k);
		model_interrupt_sample(&pmu);
	}
}

/* ---- arm.md 1.2 to 1.5, 3: registers ---- */

static const uint32_t maps[][2] = {
	{ MODEL_PMCNTENSET, MODEL_PMCNTENCLR },
	{ MODEL_PMINTENSET, MODEL_PMINTENCLR },
	{ MODEL_PMOVSSET, MODEL_PMOVSCLR },
};

/* arm.md 11.3, the architecture's answer. */
static void hpmn_bounds_the_guest(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, true);
	uint64_t value;

	(void)state;
	set(&pmu, MODEL_MDCR_EL2, 2);
	assert_int_equal(el1_get(&pmu, MODEL_PMCR) >> 11 & 0x1F, 2);
	assert_int_equal(get(&pmu, MODEL_PMCR) >> 11 & 0x1F, N);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		set(&pmu, maps[i][0], BIT(4));
		assert_int_equal(guest_write(&pmu, 1, maps[i][0], ~UINT64_C(0)), MODEL_EXECUTED);
		assert_int_equal(el1_get(&pmu, maps[i][0]), 0x80000003);
		assert_int_equal(el1_get(&pmu, maps[i][1]), 0x80000003);
		assert_int_equal(get(&pmu, maps[i][0]), 0x80000013);
		guest_write(&pmu, 1, maps[i][1], ~UINT64_C(0));
		assert_int_equal(get(&pmu, maps[i][0]), 0x10);
	}
	for (unsigned int n = 0; n < 31; n++) {
		int expect = n < 2 ? MODEL_EXECUTED : n < N ? MODEL_TRAP_EL2 : MODEL_UNDEF;

		assert_int_equal(guest_read(&pmu, 1, MODEL_PMEVCNTR(n), &value), expect);
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMEVTYPER(n), &value), expect);
		guest_write(&pmu, 1, MODEL_PMSELR, n);
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMXEVCNTR, &value), expect);
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMXEVTYPER, &value), expect);
	}
}

/* M34. A P written at EL1 stops at HPMN; at EL2 it takes all. */
static void pmcr_p_and_c(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, true);

	(void)state;
	set(&pmu, MODEL_MDCR_EL2, 2);
	for (unsigned int i = 0; i < N; i++)
		set(&pmu, MODEL_PMEVCNTR(i), 7);
	set(&pmu, MODEL_PMCCNTR, 7);
	guest_write(&pmu, 1, MODEL_PMCR, MODEL_PMCR_P);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(i)), i < 2 ? 0 : 7);
	assert_int_equal(get(&pmu, MODEL_PMCCNTR), 7);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_P);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(i)), 0);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_C);
	assert_int_equal(get(&pmu, MODEL_PMCCNTR), 0);
	assert_int_equal(get(&pmu, MODEL_PMCR) & 6, 0);
}

static void writable_bits(void **state)
{
	static const struct {
		uint32_t version;
		bool el3, aarch32;
		uint64_t pmcr, typer, counter, filter;
	} rows[] = {
		{ VPMU_ARM_V3, false, false, 0x61, 0xC80003FF, 0xFFFFFFFF, 0xC8000000 },
		{ VPMU_ARM_V3P1, true, true, 0x69, 0xFC00FFFF, 0xFFFFFFFF, 0xFC000000 },
		{ VPMU_ARM_V3P5, false, true, 0xE9, 0xC800FFFF, UINT64_MAX, 0xC8000000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct model_pmu pmu = pmu_of(rows[i].version, false);

		pmu.config.el3 = rows[i].el3;
		pmu.config.aarch32 = rows[i].aarch32;
		set(&pmu, MODEL_PMCR, UINT64_MAX);
		set(&pmu, MODEL_PMEVTYPER(1), UINT64_MAX);
		set(&pmu, MODEL_PMEVCNTR(1), UINT64_MAX);
		set(&pmu, MODEL_PMCCFILTR, UINT64_MAX);
		set(&pmu, MODEL_PMSELR, UINT64_MAX);
		set(&pmu, MODEL_PMUSERENR, UINT64_MAX);
		assert_int_equal(get(&pmu, MODEL_PMCR), 0x41003000 | rows[i].pmcr);
		assert_int_equal(get(&pmu, MODEL_PMEVTYPER(1)), rows[i].typer);
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(1)), rows[i].counter);
		assert_int_equal(get(&pmu, MODEL_PMCCFILTR), rows[i].filter);
		assert_int_equal(get(&pmu, MODEL_PMSELR), 0x1F);
		assert_int_equal(get(&pmu, MODEL_PMUSERENR), 0xF);
		for (size_t k = 0; k < ARRAY_SIZE(maps); k++) {
			set(&pmu, maps[k][0], UINT64_MAX);
			assert_int_equal(get(&pmu, maps[k][1]), C | ALL);
		}
	}
}

static void indirect_registers(void **state)
{
	uint64_t value = 0;

	(void)state;
	for (unsigned int fgt = 0; fgt < 2; fgt++) {
		struct model_pmu pmu = pmu_of(VPMU_ARM_V3P1, fgt);

		guest_write(&pmu, 1, MODEL_PMSELR, 3);
		guest_write(&pmu, 1, MODEL_PMXEVTYPER, 0x1B);
		guest_write(&pmu, 1, MODEL_PMXEVCNTR, 0x1234);
		assert_int_equal(get(&pmu, MODEL_PMEVTYPER(3)), 0x1B);
		assert_int_equal(get(&pmu, MODEL_PMEVCNTR(3)), 0x1234);
		guest_write(&pmu, 1, MODEL_PMSELR, 31);
		guest_write(&pmu, 1, MODEL_PMXEVTYPER, MODEL_FILTER_U);
		assert_int_equal(get(&pmu, MODEL_PMCCFILTR), MODEL_FILTER_U);
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMXEVCNTR, &value), MODEL_UNDEF);
		pmu.config.out_of_range_raz = true;
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMXEVCNTR, &value),
				 fgt ? MODEL_UNDEF : MODEL_EXECUTED);
		/* RULES A6: a stale selector is UNDEF before any trap. */
		set(&pmu, MODEL_MDCR_EL2, N | MODEL_MDCR_TPM);
		pmu.config.out_of_range_raz = false;
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMXEVCNTR, &value), MODEL_UNDEF);
		set(&pmu, MODEL_PMSELR, 0);
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMXEVCNTR, &value), MODEL_TRAP_EL2);
	}
}

/* ---- arm.md 3.2: fine-grained traps ---- */

static const struct {
	unsigned int bit;
	uint32_t reg;
	bool reads, writes;
} fine_traps[] = {
	{ 12, MODEL_PMEVCNTR(5), true, true },	{ 12, MODEL_PMXEVCNTR, true, true },
	{ 13, MODEL_PMEVTYPER(5), true, true }, { 13, MODEL_PMXEVTYPER, true, true },
	{ 14, MODEL_PMCCFILTR, true, true },	{ 15, MODEL_PMCCNTR, true, true },
	{ 16, MODEL_PMCNTENSET, true, true },	{ 16, MODEL_PMCNTENCLR, true, true },
	{ 17, MODEL_PMINTENSET, true, true },	{ 17, MODEL_PMINTENCLR, true, true },
	{ 18, MODEL_PMOVSSET, true, true },	{ 18, MODEL_PMOVSCLR, true, true },
	{ 19, MODEL_PMSELR, true, true },	{ 20, MODEL_PMSWINC, false, true },
	{ 21, MODEL_PMCR, false, true },	{ 22, MODEL_PMMIR, true, false },
	{ 57, MODEL_PMUSERENR, true, true },	{ 58, MODEL_PMCEID0, true, false },
	{ 58, MODEL_PMCEID1, true, false },
};

static void each_fine_trap(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, true);

		set(&pmu, MODEL_HDFGRTR_EL2, BIT(bit));
		set(&pmu, MODEL_HDFGWTR_EL2, BIT(bit));
		for (size_t i = 0; i < ARRAY_SIZE(fine_traps); i++) {
			bool hit = fine_traps[i].bit == bit;
			uint64_t value = 0;
			enum model_result read = guest_read(&pmu, 1, fine_traps[i].reg, &value);
			enum model_result write = guest_write(&pmu, 1, fine_traps[i].reg, 0);

			if (fine_traps[i].reads)
				assert_int_equal(read, hit ? MODEL_TRAP_EL2 : MODEL_EXECUTED);
			if (fine_traps[i].writes)
				assert_int_equal(write, hit ? MODEL_TRAP_EL2 : MODEL_EXECUTED);
		}
		/* PMCR reads have none. */
		assert_int_equal(guest_read(&pmu, 1, MODEL_PMCR, &(uint64_t){ 0 }), MODEL_EXECUTED);
	}
}

static void coarse_traps(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, false);

	(void)state;
	set(&pmu, MODEL_MDCR_EL2, N | MODEL_MDCR_TPM);
	for (size_t i = 0; i < ARRAY_SIZE(fine_traps); i++) {
		if (fine_traps[i].writes)
			assert_int_equal(guest_write(&pmu, 1, fine_traps[i].reg, 0),
					 MODEL_TRAP_EL2);
		else
			assert_int_equal(guest_read(&pmu, 1, fine_traps[i].reg, &(uint64_t){ 0 }),
					 MODEL_TRAP_EL2);
	}
	set(&pmu, MODEL_MDCR_EL2, N | MODEL_MDCR_TPMCR);
	for (size_t i = 0; i < ARRAY_SIZE(fine_traps); i++) {
		bool pmcr = fine_traps[i].reg == MODEL_PMCR;

		if (fine_traps[i].writes)
			assert_int_equal(guest_write(&pmu, 1, fine_traps[i].reg, 0),
					 pmcr ? MODEL_TRAP_EL2 : MODEL_EXECUTED);
	}
}

/* ---- Versions, identification, reset ---- */

static void versions(void **state)
{
	uint64_t value;

	(void)state;
	for (uint32_t version = VPMU_ARM_V3P1; version <= VPMU_ARM_V3P5; version++) {
		struct model_pmu pmu = pmu_of(version, false);

		assert_int_equal(guest_read(&pmu, 1, MODEL_PMMIR, &value),
				 version >= VPMU_ARM_V3P4 ? MODEL_EXECUTED : MODEL_UNDEF);
	}
}

/* Encodings around the families are not theirs. */
static void neighbours_are_undef(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3P5, true);
	static const uint32_t others[] = {
		VPMU_ARM_SYSREG(3, 3, 14, 11, 7), VPMU_ARM_SYSREG(3, 3, 14, 7, 0),
		VPMU_ARM_SYSREG(3, 3, 9, 12, 3) + 1, VPMU_ARM_SYSREG(3, 3, 9, 13, 3),
		VPMU_ARM_SYSREG(3, 0, 9, 14, 4), VPMU_ARM_SYSREG(3, 3, 9, 4, 0),
		VPMU_ARM_SYSREG(2, 0, 14, 8, 0), 0,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(guest_read(&pmu, 1, others[i], &(uint64_t){ 0 }), MODEL_UNDEF);
		assert_int_equal(guest_write(&pmu, 1, others[i], 1), MODEL_UNDEF);
		assert_false(model_el2_access(&pmu, others[i], false, &(uint64_t){ 0 }));
	}
}

static void events_that_do_not_exist(void **state)
{
	struct model_pmu pmu = pmu_of(VPMU_ARM_V3P1, false);
	struct model_events events = { .others = &mem_access, .other_count = 1 };

	(void)state;
	set(&pmu, MODEL_PMEVTYPER(0), 0x13);
	set(&pmu, MODEL_PMCNTENSET, 1);
	set(&pmu, MODEL_PMCR, MODEL_PMCR_E);
	model_retire(&pmu, 1, &events);
	assert_int_equal(get(&pmu, MODEL_PMEVCNTR(0)), 1);
	pmu.config.ceid[0] &= ~BIT(0x13);
	model_retire(&pmu, 1, &events);
	assert_int_equal(get(&pmu, MODEL_PMEVCNTR(0)), 1);
	assert_int_equal(get(&pmu, MODEL_PMEVTYPER(0)), 0x13);
}

/* RULES F5: what is UNKNOWN after reset is not quietly 0, but never beyond the implemented bits. */
static void reset_is_poisoned(void **state)
{
	struct model_config config = config_of(VPMU_ARM_V3P5);
	uint64_t seen[8] = { 0 };

	(void)state;
	config.fgt = true;
	for (uint64_t seed = 1; seed < 200; seed++) {
		struct model_pmu pmu;

		model_pmu_reset(&pmu, &config, seed);
		assert_int_equal(pmu.mdcr_el2 & 0x1F, N);
		assert_false(pmu.pmcr & MODEL_PMCR_E);
		assert_int_equal((pmu.pmcnten | pmu.pminten | pmu.pmovs) & ~(C | ALL), 0);
		seen[0] |= pmu.pmcnten, seen[1] |= pmu.pminten, seen[2] |= pmu.pmovs;
		seen[3] |= pmu.pmevcntr[5], seen[4] |= pmu.pmccntr, seen[5] |= pmu.pmuserenr;
		seen[6] |= pmu.pmselr, seen[7] |= pmu.pmevtyper[2];
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(seen[i], C | ALL);
	assert_int_equal(seen[3], UINT64_MAX);
	assert_int_equal(seen[4], UINT64_MAX);
	assert_int_equal(seen[5], 0xF);
	assert_int_equal(seen[6], 0x1F);
	assert_int_equal(seen[7], 0xC800FFFF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counting_matrix_at_el2),
		cmocka_unit_test(el0_access_table),
		cmocka_unit_test(el0_never),
		cmocka_unit_test(counts_truth_table),
		cmocka_unit_test(boundary_by_version),
		cmocka_unit_test(overflow_widths),
		cmocka_unit_test(overflow_status_stays),
		cmocka_unit_test(divider),
		cmocka_unit_test(chain_carries),
		cmocka_unit_test(chain_needs_the_odd_counter),
		cmocka_unit_test(chain_and_long_overflow),
		cmocka_unit_test(chain_only_in_pairs),
		cmocka_unit_test(software_increment),
		cmocka_unit_test(interrupt_truth_table),
		cmocka_unit_test(interrupt_arrives_late),
		cmocka_unit_test(hpmn_bounds_the_guest),
		cmocka_unit_test(pmcr_p_and_c),
		cmocka_unit_test(writable_bits),
		cmocka_unit_test(indirect_registers),
		cmocka_unit_test(each_fine_trap),
		cmocka_unit_test(coarse_traps),
		cmocka_unit_test(versions),
		cmocka_unit_test(neighbours_are_undef),
		cmocka_unit_test(events_that_do_not_exist),
		cmocka_unit_test(reset_is_poisoned),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
