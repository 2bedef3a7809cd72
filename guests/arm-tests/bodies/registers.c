/* SPDX-License-Identifier: MIT */
/* Bitmaps, PMCR, selectors, masks and widths: what a register keeps and what it shows. */
#include "common.h"

/* The three bitmaps, each with two views of one state (D24.5; PMOVSCLR reads like PMOVSSET). */
static const struct {
	enum pmu_reg set, clear;
} bitmaps[] = {
	{ PMCNTENSET_EL0, PMCNTENCLR_EL0 },
	{ PMINTENSET_EL1, PMINTENCLR_EL1 },
	{ PMOVSSET_EL0, PMOVSCLR_EL0 },
};

#define BITMAP_COUNT (sizeof(bitmaps) / sizeof(bitmaps[0]))

static void check_views(struct pmu_result *r, size_t i, uint64_t want)
{
	CHECK_EQ(r, "SET view", pmu_read(bitmaps[i].set), want);
	CHECK_EQ(r, "CLR view", pmu_read(bitmaps[i].clear), want);
}

static void check_one_bit(struct pmu_result *r, size_t i, unsigned n)
{
	uint64_t others = counter_mask() & ~BIT(n);

	r->at = n;
	pmu_write(bitmaps[i].set, BIT(n));
	CHECKED(r, check_views(r, i, BIT(n)));
	pmu_write(bitmaps[i].set, others);
	pmu_write(bitmaps[i].clear, BIT(n));
	CHECKED(r, check_views(r, i, others));
	pmu_write(bitmaps[i].clear, others);
	check_views(r, i, 0);
}

void bitmap_bits(struct pmu_result *r)
{
	uint64_t mask = counter_mask();
	unsigned n;
	size_t i;

	for (i = 0; i < BITMAP_COUNT; i++) {
		for (n = 0; n < 32; n++) {
			if (mask & BIT(n))
				CHECKED(r, check_one_bit(r, i, n));
		}
	}
}

/* Bits of counters that do not exist, and [63:32], are RAZ/WI. */
void bitmap_all_ones(struct pmu_result *r)
{
	size_t i;

	for (i = 0; i < BITMAP_COUNT; i++) {
		r->at = i;
		pmu_write(bitmaps[i].set, ~UINT64_C(0));
		CHECKED(r, check_views(r, i, counter_mask()));
		pmu_write(bitmaps[i].clear, ~UINT64_C(0));
		CHECKED(r, check_views(r, i, 0));
	}
}

void bitmap_zero_writes(struct pmu_result *r)
{
	size_t i;

	for (i = 0; i < BITMAP_COUNT; i++) {
		r->at = i;
		pmu_write(bitmaps[i].set, CYCLE_BIT | 1);
		pmu_write(bitmaps[i].set, 0);
		pmu_write(bitmaps[i].clear, 0);
		CHECKED(r, check_views(r, i, CYCLE_BIT | 1));
	}
}

void bitmap_independent(struct pmu_result *r)
{
	pmu_write(PMCNTENSET_EL0, 1);
	pmu_write(PMINTENSET_EL1, 2);
	pmu_write(PMOVSSET_EL0, CYCLE_BIT);
	CHECKED(r, check_views(r, 0, 1));
	CHECKED(r, check_views(r, 1, 2));
	CHECKED(r, check_views(r, 2, CYCLE_BIT));
}

/* N, IDCODE, IMP never change; bits 8, 10 and [63:33] are RES0 in every version. */
void pmcr_read_only(struct pmu_result *r)
{
	uint64_t fixed = UINT64_C(0xfffff800), res0 = ~(LOW32 | BIT(32)) | BIT(8) | BIT(10);
	uint64_t first = pmu_read(PMCR_EL0);

	pmu_write(PMCR_EL0, ~UINT64_C(0) & ~PMCR_E);
	CHECK_EQ(r, "fixed fields after writing ones", pmu_read(PMCR_EL0) & fixed, first & fixed);
	CHECK_EQ(r, "RES0 bits after writing ones", pmu_read(PMCR_EL0) & res0, 0);
	pmu_write(PMCR_EL0, 0);
	CHECK_EQ(r, "fixed fields after writing zeros", pmu_read(PMCR_EL0) & fixed, first & fixed);
}

static void check_pmcr_bit(struct pmu_result *r, uint64_t bit)
{
	uint64_t lc = PMCR_LC & ~bit;

	r->at = bit;
	pmu_write(PMCR_EL0, lc | bit);
	CHECK_EQ(r, "bit after writing 1", pmu_read(PMCR_EL0) & bit, bit);
	pmu_write(PMCR_EL0, lc);
	CHECK_EQ(r, "bit after writing 0", pmu_read(PMCR_EL0) & bit, 0);
}

/*
 * E and DP are RW everywhere. LC is RW with AArch32, RES1 without; LP and FZO are RES0 before
 * PMUv3p5 and p7. D and X may be RAZ/WI.
 */
void pmcr_writable(struct pmu_result *r)
{
	unsigned version = pmu_version();

	CHECKED(r, check_pmcr_bit(r, PMCR_E));
	CHECKED(r, check_pmcr_bit(r, PMCR_DP));
	pmu_write(PMCR_EL0, PMCR_LC | PMCR_LP | PMCR_FZO);
	CHECK_EQ(r, "LC after writing 1", pmu_read(PMCR_EL0) & PMCR_LC, PMCR_LC);
	if (version < PMUVER_P5)
		CHECK_EQ_OR(r, PMU_ALLOW_lp, "LP before PMUv3p5",
			    pmu_read(PMCR_EL0) & PMCR_LP, 0);
	else
		CHECKED(r, check_pmcr_bit(r, PMCR_LP));
	if (version < PMUVER_P7)
		CHECK_EQ(r, "FZO before PMUv3p7", pmu_read(PMCR_EL0) & PMCR_FZO, 0);
}

void pmcr_pc_read_zero(struct pmu_result *r)
{
	pmu_write(PMCR_EL0, PMCR_P | PMCR_C | PMCR_LC);
	CHECK_EQ(r, "P and C", pmu_read(PMCR_EL0) & (PMCR_P | PMCR_C), 0);
}

/* P and C act when written and are not remembered: a later write of PMCR must not replay them. */
void pmcr_pc_act_once(struct pmu_result *r)
{
	pmu_write(PMCR_EL0, PMCR_P | PMCR_C | PMCR_LC);
	pmu_write(PMEVCNTR0_EL0, 0x1234);
	pmu_write(PMCCNTR_EL0, 0x5678);
	pmu_write(PMCR_EL0, pmu_read(PMCR_EL0));
	pmu_write(PMSELR_EL0, 0);
	CHECK_EQ(r, "PMEVCNTR0", pmu_read(PMEVCNTR0_EL0), 0x1234);
	CHECK_EQ(r, "PMCCNTR", pmu_read(PMCCNTR_EL0), 0x5678);
}

static void fill_counters(uint64_t value)
{
	unsigned n, count = counter_count();

	for (n = 0; n < count; n++)
		pmu_write(counter_reg(n), value);
	pmu_write(PMCCNTR_EL0, value);
}

static void check_counters(struct pmu_result *r, uint64_t want)
{
	unsigned n, count = counter_count();

	for (n = 0; n < count; n++) {
		r->at = n;
		CHECK_EQ(r, "event counter", pmu_read(counter_reg(n)), want);
	}
}

void pmcr_p(struct pmu_result *r)
{
	fill_counters(7);
	pmu_write(PMOVSSET_EL0, counter_mask());
	pmu_write(PMCR_EL0, PMCR_P | PMCR_LC);
	CHECKED(r, check_counters(r, 0));
	CHECK_EQ(r, "PMCCNTR", pmu_read(PMCCNTR_EL0), 7);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), counter_mask());
}

/* C zeroes all 64 bits whatever LC is. */
void pmcr_c(struct pmu_result *r)
{
	fill_counters(7);
	pmu_write(PMCCNTR_EL0, 0x700000007);
	pmu_write(PMOVSSET_EL0, counter_mask());
	pmu_write(PMCR_EL0, PMCR_C);
	CHECKED(r, check_counters(r, 7));
	CHECK_EQ(r, "PMCCNTR", pmu_read(PMCCNTR_EL0), 0);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), counter_mask());
}

void pmcr_p_all_bits(struct pmu_result *r)
{
	REQUIRE(r, pmu_version() >= PMUVER_P5, "event counters have 32 bits");
	fill_counters(UINT64_C(0x7000000007));
	pmu_write(PMCR_EL0, PMCR_P);
	check_counters(r, 0);
}

void pmselr_mask(struct pmu_result *r)
{
	pmu_write(PMSELR_EL0, ~UINT64_C(0));
	CHECK_EQ(r, "PMSELR after writing ones", pmu_read(PMSELR_EL0), 0x1f);
	pmu_write(PMSELR_EL0, 0);
	CHECK_EQ(r, "PMSELR after writing 0", pmu_read(PMSELR_EL0), 0);
}

/* `indirect` with PMSELR.SEL = n and `direct` are one register. */
static void check_alias(struct pmu_result *r, unsigned n, enum pmu_reg indirect,
			enum pmu_reg direct, uint64_t value)
{
	r->at = n;
	pmu_write(PMSELR_EL0, n);
	pmu_write(direct, value);
	CHECK_EQ(r, "written directly, read indirectly", pmu_read(indirect), value);
	pmu_write(indirect, value + 1);
	CHECK_EQ(r, "written indirectly, read directly", pmu_read(direct), value + 1);
	CHECK_EQ(r, "written indirectly, read indirectly", pmu_read(indirect), value + 1);
}

void pmselr_types(struct pmu_result *r)
{
	unsigned n, count = counter_count();

	for (n = 0; n < count; n++)
		CHECKED(r, check_alias(r, n, PMXEVTYPER_EL0, type_reg(n), FILTER_P | 0x10));
	for (n = 0; n < count; n++)
		CHECK_EQ(r, "after all", pmu_read(type_reg(n)), FILTER_P | 0x11);
}

void pmselr_counters(struct pmu_result *r)
{
	unsigned n, count = counter_count();

	for (n = 0; n < count; n++)
		CHECKED(r, check_alias(r, n, PMXEVCNTR_EL0, counter_reg(n), n + 0x12345));
	for (n = 0; n < count; n++)
		CHECK_EQ(r, "after all", pmu_read(counter_reg(n)), n + 0x12346);
}

void pmselr_cycle_filter(struct pmu_result *r)
{
	pmu_write(PMSELR_EL0, 31);
	pmu_write(PMXEVTYPER_EL0, FILTER_U);
	CHECK_EQ(r, "PMCCFILTR", pmu_read(PMCCFILTR_EL0), FILTER_U);
	pmu_write(PMCCFILTR_EL0, FILTER_P);
	CHECK_EQ(r, "PMXEVTYPER, SEL=31", pmu_read(PMXEVTYPER_EL0), FILTER_P);
}

/*
 * UNDEF with FEAT_FGT; without, UNDEF, RAZ/WI, NOP or a counter (arm.md 1.5). Whatever is
 * chosen, no event counter and no bit of the control plane may change.
 */
void pmselr_cycle_counter(struct pmu_result *r)
{
	uint64_t value;
	enum pmu_end end;

	fill_counters(7);
	pmu_write(PMSELR_EL0, 31);
	end = pmu_try_read(pmu_el(), PMXEVCNTR_EL0, &value);
	CHECK(r, "read ends OK or UNDEF", end == PMU_OK || end == PMU_UNDEF);
	end = pmu_try_write(pmu_el(), PMXEVCNTR_EL0, 0x1234);
	CHECK(r, "write ends OK or UNDEF", end == PMU_OK || end == PMU_UNDEF);
	CHECKED(r, check_counters(r, 7));
	CHECK_EQ(r, "PMCCFILTR", pmu_read(PMCCFILTR_EL0), 0);
}

/*
 * P, U and the event are kept. Event bits 15:10 are RES0 before PMUv3p1, [63:32] without
 * FEAT_PMUv3_TH; the bits between belong to features and may be RES0.
 */
void typer_mask(struct pmu_result *r)
{
	bool p1 = pmu_version() >= PMUVER_P1;
	uint64_t want = FILTER_P | FILTER_U | (p1 ? 0xffff : 0x3ff);
	uint64_t feature = UINT64_C(0x3ff00000);	/* NSK to T: may be RES0 */
	unsigned n, count = counter_count();

	for (n = 0; n < count; n++) {
		r->at = n;
		pmu_write(type_reg(n), LOW32);
		CHECK_EQ_OR(r, PMU_ALLOW_typer, "after writing ones",
			    pmu_read(type_reg(n)) & ~feature, want);
		pmu_write(type_reg(n), 0);
		CHECK_EQ(r, "after writing 0", pmu_read(type_reg(n)), 0);
	}
}

/* Advertised or not, an event number reads back as written in 0x00-0x3F (D24.5). */
void typer_events_stick(struct pmu_result *r)
{
	unsigned event;

	for (event = 0; event < 0x40; event++) {
		r->at = event;
		pmu_write(PMEVTYPER0_EL0, event);
		CHECK_EQ(r, "PMEVTYPER0", pmu_read(PMEVTYPER0_EL0), event);
	}
}

void ccfiltr_mask(struct pmu_result *r)
{
	pmu_write(PMCCFILTR_EL0, ~UINT64_C(0));
	CHECK_EQ(r, "P and U", pmu_read(PMCCFILTR_EL0) & (FILTER_P | FILTER_U),
		 FILTER_P | FILTER_U);
	CHECK_EQ(r, "RES0 bits", pmu_read(PMCCFILTR_EL0) & (BIT(20) - 1), 0);
	pmu_write(PMCCFILTR_EL0, 0);
	CHECK_EQ(r, "after writing 0", pmu_read(PMCCFILTR_EL0), 0);
}

void userenr_mask(struct pmu_result *r)
{
	uint64_t mask = pmu_version() < PMUVER_P9 ? 0xf : 0x7f;

	pmu_write(PMUSERENR_EL0, ~UINT64_C(0));
	CHECK_EQ(r, "low bits after writing ones", pmu_read(PMUSERENR_EL0) & 0xf, 0xf);
	CHECK_EQ(r, "RES0 bits after writing ones", pmu_read(PMUSERENR_EL0) & ~mask, 0);
	pmu_write(PMUSERENR_EL0, 0);
	CHECK_EQ(r, "after writing 0", pmu_read(PMUSERENR_EL0), 0);
}

void counter_width(struct pmu_result *r)
{
	uint64_t wide = UINT64_C(0xa5a5a5a55a5a5a5a);
	uint64_t want = pmu_version() < PMUVER_P5 ? wide & LOW32 : wide;
	unsigned n, count = counter_count();

	for (n = 0; n < count; n++) {
		r->at = n;
		pmu_write(counter_reg(n), wide);
		CHECK_EQ(r, "PMEVCNTRn", pmu_read(counter_reg(n)), want);
	}
}

/* PMCCNTR has 64 bits stopped, running and stopped again. */
void cycle_width(struct pmu_result *r)
{
	uint64_t value;

	pmu_write(PMCCNTR_EL0, UINT64_C(0xa5a5a5a55a5a5a5a));
	CHECK_EQ(r, "stopped", pmu_read(PMCCNTR_EL0), UINT64_C(0xa5a5a5a55a5a5a5a));
	start_counter(CYCLE, here(), BIT(32));
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 1000);
	pmu_write(PMCNTENCLR_EL0, CYCLE_BIT);
	value = pmu_read(PMCCNTR_EL0);
	CHECK_EQ(r, "upper half after a run", value >> 32, 1);
	CHECK(r, "lower half has counted", (value & LOW32) != 0);
	stop_all();
	CHECK_EQ(r, "after PMCR.E=0", pmu_read(PMCCNTR_EL0), value);
}
