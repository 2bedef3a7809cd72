/* SPDX-License-Identifier: MIT */
/* Who may access what: directions, registers that do not exist, counters beyond N, EL0. */
#include "common.h"

#define REG_EL1_ONLY 0x1u	/* op1 = 0: UNDEF at EL0 whatever PMUSERENR says */
#define REG_READ_ONLY 0x2u
#define REG_WRITE_ONLY 0x4u
#define REG_ER_READ 0x10u
#define REG_ER_WRITE 0x20u
#define REG_CR_READ 0x40u
#define REG_SW_WRITE 0x80u
#define REG_USERENR 0x100u	/* readable at EL0 always, writable never */

/* One row per kind of register; the bounds tests cover the rest of the banks. */
static const struct {
	enum pmu_reg reg;
	unsigned flags;
} rules[] = {
	{ PMCR_EL0, 0 },
	{ PMCNTENSET_EL0, 0 },
	{ PMCNTENCLR_EL0, 0 },
	{ PMOVSCLR_EL0, 0 },
	{ PMSWINC_EL0, REG_WRITE_ONLY | REG_SW_WRITE },
	{ PMSELR_EL0, REG_ER_READ | REG_ER_WRITE },
	{ PMCEID0_EL0, REG_READ_ONLY },
	{ PMCEID1_EL0, REG_READ_ONLY },
	{ PMCCNTR_EL0, REG_CR_READ },
	{ PMXEVTYPER_EL0, 0 },
	{ PMXEVCNTR_EL0, REG_ER_READ },
	{ PMUSERENR_EL0, REG_USERENR },
	{ PMOVSSET_EL0, 0 },
	{ PMINTENSET_EL1, REG_EL1_ONLY },
	{ PMINTENCLR_EL1, REG_EL1_ONLY },
	{ PMEVCNTR0_EL0, REG_ER_READ },
	{ PMEVTYPER0_EL0, 0 },
	{ PMCCFILTR_EL0, 0 },
};

#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

/* MSR of a read-only and MRS of a write-only register have no encoding: UNDEF. */
void directions(struct pmu_result *r)
{
	uint64_t value;
	size_t i;

	for (i = 0; i < RULE_COUNT; i++) {
		r->at = rules[i].reg;
		if (rules[i].flags & REG_READ_ONLY)
			CHECK_EQ(r, "write ends", pmu_try_write(pmu_el(), rules[i].reg, 0),
				 PMU_UNDEF);
		if (rules[i].flags & REG_WRITE_ONLY)
			CHECK_EQ(r, "read ends", pmu_try_read(pmu_el(), rules[i].reg, &value),
				 PMU_UNDEF);
	}
}

#define NEWER_ENTRY(name, op0, op1, crn, crm, op2) name,
static const enum pmu_reg newer[] = { PMU_NEWER_REGISTERS(NEWER_ENTRY) };
#undef NEWER_ENTRY

static void check_undefined(struct pmu_result *r, enum pmu_reg reg)
{
	uint64_t value;

	r->at = reg;
	CHECK_EQ_OR(r, PMU_ALLOW_absent, "read ends", pmu_try_read(pmu_el(), reg, &value),
		    PMU_UNDEF);
	CHECK_EQ_OR(r, PMU_ALLOW_absent, "write ends", pmu_try_write(pmu_el(), reg, 0),
		    PMU_UNDEF);
}

void newer_registers(struct pmu_result *r)
{
	size_t i;

	REQUIRE(r, pmu_version() < PMUVER_P7, "the PMU may have them");
	for (i = 0; i < sizeof(newer) / sizeof(newer[0]); i++)
		CHECKED(r, check_undefined(r, newer[i]));
}

/* A machine without a PMU has none of its registers. */
void absent_undefined(struct pmu_result *r)
{
	unsigned reg;

	for (reg = PMCR_EL0; reg < PMSSCR_EL1; reg++)
		CHECKED(r, check_undefined(r, (enum pmu_reg)reg));
}

/* RAZ/WI, NOP and UNDEF are all allowed without FEAT_FGT (K1.2.6); UNDEF with it. */
static void check_beyond(struct pmu_result *r, unsigned el, enum pmu_reg reg)
{
	uint64_t value;

	CHECK_EQ_OR(r, PMU_ALLOW_bounds, "read ends", pmu_try_read(el, reg, &value), PMU_UNDEF);
	CHECK_EQ_OR(r, PMU_ALLOW_bounds, "write ends", pmu_try_write(el, reg, 0), PMU_UNDEF);
}

void beyond_direct(struct pmu_result *r)
{
	unsigned n;

	for (n = counter_count(); n < 31; n++) {
		r->at = n;
		CHECKED(r, check_beyond(r, pmu_el(), counter_reg(n)));
		CHECKED(r, check_beyond(r, pmu_el(), type_reg(n)));
	}
}

void beyond_indirect(struct pmu_result *r)
{
	unsigned n;

	for (n = counter_count(); n < 31; n++) {
		r->at = n;
		pmu_write(PMSELR_EL0, n);
		CHECKED(r, check_beyond(r, pmu_el(), PMXEVCNTR_EL0));
		pmu_write(PMSELR_EL0, n);
		CHECKED(r, check_beyond(r, pmu_el(), PMXEVTYPER_EL0));
	}
}

/* Legal at EL0, or without a meaning there? PMUSERENR comes after this question. */
static bool el0_encoded(unsigned flags, bool write)
{
	if (flags & REG_EL1_ONLY)
		return false;
	if (write)
		return !(flags & (REG_READ_ONLY | REG_USERENR));
	return !(flags & REG_WRITE_ONLY);
}

static bool el0_granted(unsigned flags, bool write, uint64_t userenr)
{
	unsigned er = write ? REG_ER_WRITE : REG_ER_READ;

	if (flags & REG_USERENR)
		return true;
	if (userenr & USERENR_EN)
		return true;
	if ((userenr & USERENR_SW) && write && (flags & REG_SW_WRITE))
		return true;
	if ((userenr & USERENR_CR) && !write && (flags & REG_CR_READ))
		return true;
	return (userenr & USERENR_ER) && (flags & er);
}

static enum pmu_end el0_expected(unsigned flags, bool write, uint64_t userenr)
{
	if (!el0_encoded(flags, write))
		return PMU_UNDEF;
	return el0_granted(flags, write, userenr) ? PMU_OK : PMU_TRAP;
}

static void check_el0(struct pmu_result *r, uint64_t userenr)
{
	uint64_t value;
	size_t i;

	pmu_write(PMUSERENR_EL0, userenr);
	for (i = 0; i < RULE_COUNT; i++) {
		r->at = rules[i].reg;
		CHECK_EQ(r, "EL0 read ends", pmu_try_read(0, rules[i].reg, &value),
			 el0_expected(rules[i].flags, false, userenr));
		CHECK_EQ(r, "EL0 write ends", pmu_try_write(0, rules[i].reg, 0),
			 el0_expected(rules[i].flags, true, userenr));
	}
}

void el0_denied(struct pmu_result *r)
{
	check_el0(r, 0);
}

void el0_en(struct pmu_result *r)
{
	check_el0(r, USERENR_EN);
}

void el0_sw(struct pmu_result *r)
{
	check_el0(r, USERENR_SW);
}

void el0_cr(struct pmu_result *r)
{
	check_el0(r, USERENR_CR);
}

void el0_er(struct pmu_result *r)
{
	check_el0(r, USERENR_ER);
}

void el0_all_but_en(struct pmu_result *r)
{
	check_el0(r, USERENR_SW | USERENR_CR | USERENR_ER);
}

void el0_all(struct pmu_result *r)
{
	check_el0(r, USERENR_EN | USERENR_SW | USERENR_CR | USERENR_ER);
}

/* What EL0 may reach is what EL1 sees. */
void el0_same_registers(struct pmu_result *r)
{
	uint64_t value = 0;

	pmu_write(PMUSERENR_EL0, USERENR_EN);
	pmu_write(PMEVCNTR0_EL0, 0x1111);
	pmu_write(PMCCNTR_EL0, 0x2222);
	CHECK_EQ(r, "PMEVCNTR0 read ends", pmu_try_read(0, PMEVCNTR0_EL0, &value), PMU_OK);
	CHECK_EQ(r, "PMEVCNTR0 at EL0", value, 0x1111);
	CHECK_EQ(r, "PMCCNTR read ends", pmu_try_read(0, PMCCNTR_EL0, &value), PMU_OK);
	CHECK_EQ(r, "PMCCNTR at EL0", value, 0x2222);
	CHECK_EQ(r, "PMUSERENR read ends", pmu_try_read(0, PMUSERENR_EL0, &value), PMU_OK);
	CHECK_EQ(r, "PMUSERENR at EL0", value, USERENR_EN);
	CHECK_EQ(r, "PMCR read ends", pmu_try_read(0, PMCR_EL0, &value), PMU_OK);
	CHECK_EQ(r, "PMCR at EL0", value, pmu_read(PMCR_EL0));
	CHECK_EQ(r, "write ends", pmu_try_write(0, PMEVTYPER0_EL0, 0x12), PMU_OK);
	CHECK_EQ(r, "PMEVTYPER0 at EL1", pmu_read(PMEVTYPER0_EL0), 0x12);
	CHECK_EQ(r, "write ends", pmu_try_write(0, PMCNTENSET_EL0, 1), PMU_OK);
	CHECK_EQ(r, "PMCNTENSET at EL1", pmu_read(PMCNTENSET_EL0), 1);
}

void el0_beyond(struct pmu_result *r)
{
	unsigned n;

	pmu_write(PMUSERENR_EL0, USERENR_EN);
	for (n = counter_count(); n < 31; n++) {
		r->at = n;
		CHECKED(r, check_beyond(r, 0, counter_reg(n)));
		CHECKED(r, check_beyond(r, 0, type_reg(n)));
	}
}
