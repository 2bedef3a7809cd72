/* SPDX-License-Identifier: MIT */
/*
 * Every register rule of the Arm guest, on a vCPU that is loaded nowhere. The expectations are
 * written down here from the manual (DDI 0487 D24.5) and are not derived from core's table.
 */
#include <string.h>

#include "support.h"

#define EN 1u
#define SW 2u
#define CR 4u
#define ER 8u
#define ALWAYS 0xFFu

static const enum vpmu_arm_version versions[] = {
	VPMU_ARM_V3, VPMU_ARM_V3P1, VPMU_ARM_V3P4, VPMU_ARM_V3P5,
};

static const struct expected {
	const char *name;
	uint32_t reg;
	uint32_t members;
	bool reads, writes;
	enum vpmu_arm_version since;
	unsigned int el0_read, el0_write;
} expected[] = {
	{ "PMCR_EL0", MODEL_PMCR, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMCNTENSET_EL0", MODEL_PMCNTENSET, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMCNTENCLR_EL0", MODEL_PMCNTENCLR, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMOVSCLR_EL0", MODEL_PMOVSCLR, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMOVSSET_EL0", MODEL_PMOVSSET, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMSWINC_EL0", MODEL_PMSWINC, 1, false, true, VPMU_ARM_V3, 0, EN | SW },
	{ "PMSELR_EL0", MODEL_PMSELR, 1, true, true, VPMU_ARM_V3, EN | ER, EN | ER },
	{ "PMCEID0_EL0", MODEL_PMCEID0, 1, true, false, VPMU_ARM_V3, EN, 0 },
	{ "PMCEID1_EL0", MODEL_PMCEID1, 1, true, false, VPMU_ARM_V3, EN, 0 },
	{ "PMCCNTR_EL0", MODEL_PMCCNTR, 1, true, true, VPMU_ARM_V3, EN | CR, EN },
	{ "PMXEVTYPER_EL0", MODEL_PMXEVTYPER, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMXEVCNTR_EL0", MODEL_PMXEVCNTR, 1, true, true, VPMU_ARM_V3, EN | ER, EN },
	{ "PMUSERENR_EL0", MODEL_PMUSERENR, 1, true, true, VPMU_ARM_V3, ALWAYS, 0 },
	{ "PMINTENSET_EL1", MODEL_PMINTENSET, 1, true, true, VPMU_ARM_V3, 0, 0 },
	{ "PMINTENCLR_EL1", MODEL_PMINTENCLR, 1, true, true, VPMU_ARM_V3, 0, 0 },
	{ "PMMIR_EL1", MODEL_PMMIR, 1, true, false, VPMU_ARM_V3P4, 0, 0 },
	{ "PMCCFILTR_EL0", MODEL_PMCCFILTR, 1, true, true, VPMU_ARM_V3, EN, EN },
	{ "PMEVCNTR<n>_EL0", MODEL_PMEVCNTR(0), 31, true, true, VPMU_ARM_V3, EN | ER, EN },
	{ "PMEVTYPER<n>_EL0", MODEL_PMEVTYPER(0), 31, true, true, VPMU_ARM_V3, EN, EN },
};

/* Newer than PMUv3p5: always UNDEF, never somebody else's. */
static const uint32_t later[] = {
	VPMU_ARM_SYSREG(2, 0, 14, 8, 0),  VPMU_ARM_SYSREG(2, 0, 14, 11, 6),
	VPMU_ARM_SYSREG(3, 0, 9, 13, 3),  VPMU_ARM_SYSREG(3, 0, 9, 14, 7),
	VPMU_ARM_SYSREG(3, 3, 9, 4, 0),	  VPMU_ARM_SYSREG(3, 3, 9, 6, 0),
	VPMU_ARM_SYSREG(3, 0, 9, 14, 4),  VPMU_ARM_SYSREG(3, 0, 9, 14, 5),
	VPMU_ARM_SYSREG(3, 3, 9, 13, 4),
};

static const struct {
	uint32_t set, clear;
} maps[] = {
	{ MODEL_PMCNTENSET, MODEL_PMCNTENCLR },
	{ MODEL_PMINTENSET, MODEL_PMINTENCLR },
	{ MODEL_PMOVSSET, MODEL_PMOVSCLR },
};

/* ---- The published table ---- */

static bool find_row(const char *name, struct vpmu_arm_reg_info *info)
{
	for (size_t row = 0; vpmu_arm_reg_info(row, info) == 0; row++) {
		if (strcmp(info->name, name) == 0)
			return true;
	}
	return false;
}

static void published_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct expected *e = &expected[i];
		struct vpmu_arm_reg_info info;

		assert_true(find_row(e->name, &info));
		assert_int_equal(info.reg, e->reg);
		assert_int_equal(info.members, e->members);
		assert_int_equal(info.access, e->reads && e->writes ? VPMU_ARM_RW
					      : e->reads	    ? VPMU_ARM_RO
								    : VPMU_ARM_WO);
		assert_int_equal(info.since, e->since);
		assert_true(info.offered);
		assert_int_equal(info.el0_read, e->el0_read);
		assert_int_equal(info.el0_write, e->el0_write);
	}
}

static void published_table_offers_nothing_else(void **state)
{
	struct vpmu_arm_reg_info info;
	size_t offered = 0;

	(void)state;
	for (size_t row = 0; vpmu_arm_reg_info(row, &info) == 0; row++)
		offered += info.offered;
	assert_int_equal(offered, ARRAY_SIZE(expected));
	assert_int_equal(vpmu_arm_reg_info(SIZE_MAX, &info), VPMU_ERR_PARAM);
	for (unsigned int n = 0; n < 31; n++) {
		assert_int_equal(vpmu_arm_reg_member(MODEL_PMEVCNTR(0), n), MODEL_PMEVCNTR(n));
		assert_int_equal(vpmu_arm_reg_member(MODEL_PMEVTYPER(0), n), MODEL_PMEVTYPER(n));
	}
}

/* arm.md 11.7: syndromes as a processor delivers them. */
static void measured_syndromes(void **state)
{
	static const struct {
		uint32_t esr, reg;
	} rows[] = {
		{ 0x6230E439, MODEL_PMCR },	 { 0x6230E438, MODEL_PMCR },
		{ 0x6232E439, MODEL_PMCNTENSET }, { 0x6234E439, MODEL_PMCNTENCLR },
		{ 0x6236E439, MODEL_PMOVSCLR },	 { 0x6238E438, MODEL_PMSWINC },
		{ 0x623AE439, MODEL_PMSELR },	 { 0x623CE439, MODEL_PMCEID0 },
		{ 0x623EE439, MODEL_PMCEID1 },	 { 0x6230E43B, MODEL_PMCCNTR },
		{ 0x6232E43B, MODEL_PMXEVTYPER }, { 0x6234E43B, MODEL_PMXEVCNTR },
		{ 0x6230E43D, MODEL_PMUSERENR }, { 0x6232243D, MODEL_PMINTENSET },
		{ 0x6234243D, MODEL_PMINTENCLR }, { 0x6236E43D, MODEL_PMOVSSET },
		{ 0x6230F831, MODEL_PMEVCNTR(0) }, { 0x6230F839, MODEL_PMEVTYPER(0) },
		{ 0x623EF81F, MODEL_PMCCFILTR },
	};
	struct lone_guest g;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P5, 6, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vpmu_arm_access access = { .reg = rows[i].esr & VPMU_ARM_SYSREG_MASK,
						  .el = 1,
						  .write = !(rows[i].esr & 1) };

		assert_int_equal(access.reg, rows[i].reg);
		assert_int_equal(vpmu_arm_access(&g.v, &access), VPMU_HANDLED);
	}
}

/* ---- Who may do what: every register, version, direction, EL and PMUSERENR ---- */

static int expect_outcome(const struct expected *e, enum vpmu_arm_version version, unsigned int el,
			  bool write, uint64_t user)
{
	unsigned int grant = write ? e->el0_write : e->el0_read;

	if (!(write ? e->writes : e->reads) || version < e->since)
		return VPMU_FAULT_UNDEF;
	if (el == 1 || grant == ALWAYS)
		return VPMU_HANDLED;
	if (grant == 0)
		return VPMU_FAULT_UNDEF;
	return user & grant ? VPMU_HANDLED : VPMU_FAULT_EL1_TRAP;
}

static void check_access(struct lone_guest *g, const struct expected *e, unsigned int n,
			 unsigned int bits)
{
	unsigned int el = bits & 1;
	bool write = bits & 2;
	uint64_t user = bits >> 2;
	struct vpmu_arm_access access = { .reg = vpmu_arm_reg_member(e->reg, n), .el = (uint8_t)el,
					  .write = write, .value = 1 };
	struct vpmu_state before, after;
	int outcome;

	guest_write(&g->v, MODEL_PMUSERENR, user);
	guest_write(&g->v, MODEL_PMSELR, 2);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &before), 0);
	outcome = vpmu_arm_access(&g->v, &access);
	assert_int_equal(outcome, expect_outcome(e, g->model.version, el, write, user));
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &after), 0);
	/* V5: what is refused changes nothing, nor does a read. */
	if (outcome != VPMU_HANDLED || !write)
		assert_memory_equal(&before, &after, sizeof(before));
}

static void every_access(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(versions); k++) {
		struct lone_guest g;

		lone_guest_init(&g, versions[k], 31, NULL);
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
			for (unsigned int n = 0; n < expected[i].members; n++) {
				for (unsigned int bits = 0; bits < 64; bits++)
					check_access(&g, &expected[i], n, bits);
			}
		}
	}
}

static void later_registers_are_undef(void **state)
{
	struct lone_guest g;
	uint64_t value;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P5, 31, NULL);
	guest_write(&g.v, MODEL_PMUSERENR, 0xF);
	for (size_t i = 0; i < ARRAY_SIZE(later); i++) {
		for (unsigned int el = 0; el < 2; el++) {
			assert_int_equal(try_read(&g.v, el, later[i], &value), VPMU_FAULT_UNDEF);
			assert_int_equal(try_write(&g.v, el, later[i], 1), VPMU_FAULT_UNDEF);
		}
	}
}

/* The whole encoding space of op0 = 2 and 3: nothing but the registers above is ours. */
static void everything_else_is_not_mine(void **state)
{
	struct lone_guest g;
	size_t mine = 0;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P5, 31, NULL);
	for (uint32_t bits = 0; bits < 1u << 15; bits++) {
		uint32_t reg = VPMU_ARM_SYSREG(2 + (bits >> 14), bits >> 11 & 7, bits >> 7 & 15,
					       bits >> 3 & 15, bits & 7);
		uint64_t value;

		mine += try_read(&g.v, 1, reg, &value) != VPMU_NOT_MINE;
	}
	assert_int_equal(mine, 17 + 2 * 31 + 7 + 31);
}

/* ---- Bitmaps ---- */

static void bitmaps(void **state)
{
	(void)state;
	for (unsigned int n = 0; n < 32; n++) {
		struct lone_guest g;
		uint64_t all = (BIT(n) - 1) | CYCLE_BIT;

		lone_guest_init(&g, VPMU_ARM_V3P1, n, NULL);
		for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
			guest_write(&g.v, maps[i].set, UINT64_MAX);
			assert_int_equal(guest_read(&g.v, maps[i].set), all);
			assert_int_equal(guest_read(&g.v, maps[i].clear), all);
			for (unsigned int k = 0; k < 64; k++) {
				guest_write(&g.v, maps[i].clear, BIT(k));
				assert_int_equal(guest_read(&g.v, maps[i].clear), all & ~BIT(k));
				guest_write(&g.v, maps[i].set, 0);
				guest_write(&g.v, maps[i].set, BIT(k));
				assert_int_equal(guest_read(&g.v, maps[i].set), all);
			}
			guest_write(&g.v, maps[i].clear, UINT64_MAX);
			assert_int_equal(guest_read(&g.v, maps[i].set), 0);
		}
	}
}

/* ---- PMCR ---- */

static void pmcr_bits(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(versions); k++) {
		uint64_t lp = versions[k] >= VPMU_ARM_V3P5 ? MODEL_PMCR_LP : 0;
		struct lone_guest g;

		lone_guest_init(&g, versions[k], 5, NULL);
		assert_int_equal(guest_read(&g.v, MODEL_PMCR), 0x41002800 | MODEL_PMCR_LC);
		guest_write(&g.v, MODEL_PMCR, UINT64_MAX);
		/*
		 * No AArch32: LC is RES1, D RES0. P and C read as 0; N is fixed; X is not
		 * implemented.
		 */
		assert_int_equal(guest_read(&g.v, MODEL_PMCR),
				 0x41002800 | MODEL_PMCR_E | MODEL_PMCR_DP | MODEL_PMCR_LC | lp);
		guest_write(&g.v, MODEL_PMCR, 0);
		assert_int_equal(guest_read(&g.v, MODEL_PMCR), 0x41002800 | MODEL_PMCR_LC);
	}
}

static void pmcr_p_and_c_clear_values_only(void **state)
{
	struct lone_guest g;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P5, 31, NULL);
	guest_write(&g.v, MODEL_PMOVSSET, UINT64_MAX);
	for (unsigned int n = 0; n < 31; n++)
		guest_write(&g.v, MODEL_PMEVCNTR(n), UINT64_MAX - n);
	guest_write(&g.v, MODEL_PMCCNTR, UINT64_MAX);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_P);
	for (unsigned int n = 0; n < 31; n++)
		assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(n)), 0);
	assert_int_equal(guest_read(&g.v, MODEL_PMCCNTR), UINT64_MAX);
	guest_write(&g.v, MODEL_PMEVCNTR(3), 3);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_C);
	assert_int_equal(guest_read(&g.v, MODEL_PMCCNTR), 0);
	assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(3)), 3);
	assert_int_equal(guest_read(&g.v, MODEL_PMOVSCLR), UINT32_MAX);
}

/* ---- Counters, selectors, the indirect pair ---- */

static void widths(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(versions); k++) {
		uint64_t value = versions[k] >= VPMU_ARM_V3P5 ? UINT64_MAX : UINT32_MAX;
		uint64_t event = versions[k] >= VPMU_ARM_V3P1 ? 0xFFFF : 0x3FF;
		struct lone_guest g;

		lone_guest_init(&g, versions[k], 31, NULL);
		for (unsigned int n = 0; n < 31; n++) {
			guest_write(&g.v, MODEL_PMEVCNTR(n), UINT64_MAX);
			assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(n)), value);
			guest_write(&g.v, MODEL_PMEVTYPER(n), UINT64_MAX);
			assert_int_equal(guest_read(&g.v, MODEL_PMEVTYPER(n)), 0xC0000000 | event);
		}
		guest_write(&g.v, MODEL_PMCCNTR, UINT64_MAX);
		assert_int_equal(guest_read(&g.v, MODEL_PMCCNTR), UINT64_MAX);
		guest_write(&g.v, MODEL_PMCCFILTR, UINT64_MAX);
		assert_int_equal(guest_read(&g.v, MODEL_PMCCFILTR), 0xC0000000);
		guest_write(&g.v, MODEL_PMSELR, UINT64_MAX);
		assert_int_equal(guest_read(&g.v, MODEL_PMSELR), 0x1F);
		guest_write(&g.v, MODEL_PMUSERENR, UINT64_MAX);
		assert_int_equal(guest_read(&g.v, MODEL_PMUSERENR), 0xF);
	}
}

static void indirect_pair(void **state)
{
	struct lone_guest g;
	uint64_t value;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P1, 4, NULL);
	for (unsigned int n = 0; n < 32; n++) {
		int outcome = n < 4 ? VPMU_HANDLED : VPMU_FAULT_UNDEF;
		int typer = n == 31 ? VPMU_HANDLED : outcome;

		guest_write(&g.v, MODEL_PMSELR, n);
		assert_int_equal(try_write(&g.v, 1, MODEL_PMXEVTYPER, 0x80000000 | n), typer);
		assert_int_equal(try_write(&g.v, 1, MODEL_PMXEVCNTR, n + 0x12345), outcome);
		assert_int_equal(try_read(&g.v, 1, MODEL_PMXEVTYPER, &value), typer);
		assert_int_equal(try_read(&g.v, 1, MODEL_PMXEVCNTR, &value), outcome);
		if (n >= 4)
			continue;
		assert_int_equal(guest_read(&g.v, MODEL_PMEVTYPER(n)), 0x80000000 | n);
		assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(n)), n + 0x12345);
	}
	assert_int_equal(guest_read(&g.v, MODEL_PMCCFILTR), 0x80000000);
	assert_int_equal(guest_read(&g.v, MODEL_PMCCNTR), 0);
}

/* ---- Counting in software ---- */

/* Counter 0 counts (low_event) and is about to overflow at 32 bit, counter 1 counts CHAIN. */
static void chained(struct lone_guest *g, enum vpmu_arm_version version, uint32_t low_event)
{
	lone_guest_init(g, version, 6, NULL);
	guest_write(&g->v, MODEL_PMEVTYPER(0), low_event);
	guest_write(&g->v, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN);
	guest_write(&g->v, MODEL_PMEVCNTR(0), UINT32_MAX);
	guest_write(&g->v, MODEL_PMCNTENSET, 3);
	guest_write(&g->v, MODEL_PMCR, MODEL_PMCR_E);
}

static void expect_pair(struct lone_guest *g, uint64_t low, uint64_t high, uint64_t status)
{
	assert_int_equal(guest_read(&g->v, MODEL_PMEVCNTR(0)), low);
	assert_int_equal(guest_read(&g->v, MODEL_PMEVCNTR(1)), high);
	assert_int_equal(guest_read(&g->v, MODEL_PMOVSSET), status);
}

/* PMSWINC counts only through the global enable, PMCNTEN, event 0 and the filter of its own EL. */
static void software_increment_gates(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 1u << 6; bits++) {
		bool e = bits & 1, enabled = bits & 2, event0 = bits & 4, p = bits & 8,
		     u = bits & 16;
		unsigned int el = bits >> 5;
		struct lone_guest g;

		lone_guest_init(&g, VPMU_ARM_V3, 6, NULL);
		guest_write(&g.v, MODEL_PMUSERENR, SW);
		guest_write(&g.v, MODEL_PMEVTYPER(4), (event0 ? 0 : MODEL_EVENT_INST_RETIRED) |
			    (p ? MODEL_FILTER_P : 0) | (u ? MODEL_FILTER_U : 0));
		guest_write(&g.v, MODEL_PMCNTENSET, enabled ? BIT(4) : 0);
		guest_write(&g.v, MODEL_PMCR, e);
		assert_int_equal(try_write(&g.v, el, MODEL_PMSWINC, UINT64_MAX), VPMU_HANDLED);
		assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(4)),
				 e && enabled && event0 && !(el == 1 ? p : u));
		assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(0)), 0);
	}
}

static void software_increment_overflow(void **state)
{
	static const struct {
		enum vpmu_arm_version version;
		uint64_t pmcr, start, end, status;
	} rows[] = {
		{ VPMU_ARM_V3, 0, UINT32_MAX, 0, 1 },
		{ VPMU_ARM_V3P4, MODEL_PMCR_LP, UINT32_MAX, 0, 1 },
		{ VPMU_ARM_V3P5, 0, UINT32_MAX, 0x100000000, 1 },
		{ VPMU_ARM_V3P5, MODEL_PMCR_LP, UINT32_MAX, 0x100000000, 0 },
		{ VPMU_ARM_V3P5, 0, UINT64_MAX, 0, 1 },
		{ VPMU_ARM_V3P5, MODEL_PMCR_LP, UINT64_MAX, 0, 1 },
		{ VPMU_ARM_V3P5, MODEL_PMCR_LP, 5, 6, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct lone_guest g;

		lone_guest_init(&g, rows[i].version, 1, NULL);
		guest_write(&g.v, MODEL_PMEVCNTR(0), rows[i].start);
		guest_write(&g.v, MODEL_PMCNTENSET, 1);
		guest_write(&g.v, MODEL_PMCR, rows[i].pmcr | MODEL_PMCR_E);
		guest_write(&g.v, MODEL_PMSWINC, 1);
		assert_int_equal(guest_read(&g.v, MODEL_PMEVCNTR(0)), rows[i].end);
		assert_int_equal(guest_read(&g.v, MODEL_PMOVSCLR), rows[i].status);
	}
}

/* LC is RES1 for this guest: the cycle counter overflows at 64 bit, and not by PMSWINC. */
static void cycle_counter_has_no_software_increment(void **state)
{
	struct lone_guest g;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P5, 6, NULL);
	guest_write(&g.v, MODEL_PMCCNTR, UINT32_MAX);
	guest_write(&g.v, MODEL_PMCNTENSET, CYCLE_BIT);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E);
	guest_write(&g.v, MODEL_PMSWINC, CYCLE_BIT);
	assert_int_equal(guest_read(&g.v, MODEL_PMCCNTR), UINT32_MAX);
	assert_int_equal(guest_read(&g.v, MODEL_PMOVSSET), 0);
}

static void chain_by_long_overflow(void **state)
{
	struct lone_guest g;

	(void)state;
	chained(&g, VPMU_ARM_V3P5, MODEL_EVENT_SW_INCR);
	guest_write(&g.v, MODEL_PMSWINC, 1);
	expect_pair(&g, 0x100000000, 1, 1);

	chained(&g, VPMU_ARM_V3P5, MODEL_EVENT_SW_INCR);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LP);
	guest_write(&g.v, MODEL_PMSWINC, 1);
	expect_pair(&g, 0x100000000, 0, 0);
	guest_write(&g.v, MODEL_PMEVCNTR(0), UINT64_MAX);
	guest_write(&g.v, MODEL_PMSWINC, 1);
	expect_pair(&g, 0, 0, 1);
}

static void emulated_instructions_chain(void **state)
{
	struct lone_guest g;

	(void)state;
	chained(&g, VPMU_ARM_V3, MODEL_EVENT_INST_RETIRED);
	assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, false, 0x200000001), 0);
	expect_pair(&g, 0, 3, 1);
	guest_write(&g.v, MODEL_PMEVTYPER(1), MODEL_EVENT_CHAIN | MODEL_FILTER_P);
	guest_write(&g.v, MODEL_PMEVCNTR(0), UINT32_MAX);
	assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, false, 1), 0);
	expect_pair(&g, 0, 3, 1);
	guest_write(&g.v, MODEL_PMEVCNTR(0), UINT32_MAX);
	assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, true, 1), 0);
	expect_pair(&g, 0, 4, 1);
}

/* ---- Identification ---- */

static bool advertised(struct lone_guest *g, uint32_t event)
{
	uint64_t ceid = guest_read(&g->v, event & 0x20 ? MODEL_PMCEID1 : MODEL_PMCEID0);

	return ceid >> ((event & 31) + (event & 0x4000 ? 32 : 0)) & 1;
}

static void pmceid_by_version_and_policy(void **state)
{
	static const struct vpmu_event_range denied[] = { { 0x08, 0x0F }, { 0x1E, 0x1E }, { 0, 0 },
							  { 0x4010, 0x402F } };
	const struct vpmu_policy policy = { denied, ARRAY_SIZE(denied), false, NULL, NULL };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(versions) * 2; k++) {
		const struct vpmu_policy *p = k & 1 ? &policy : NULL;
		struct lone_guest g;

		lone_guest_init(&g, versions[k / 2], 6, p);
		for (uint32_t event = 0; event < 0x40; event++) {
			bool listed = p && event >= 0x08 && event <= 0x0F;
			bool high = p && event >= 0x10 && event <= 0x2F;

			/* SW_INCR and CHAIN are not subject to policy. */
			assert_int_equal(advertised(&g, event), !listed);
			assert_int_equal(advertised(&g, 0x4000 + event),
					 versions[k / 2] >= VPMU_ARM_V3P1 && !high);
		}
	}
}

static void pmmir_and_slot_events(void **state)
{
	const struct vpmu_vm_config config = { .size = sizeof(config) };
	struct lone_guest g;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P4, 6, NULL);
	assert_int_equal(guest_read(&g.v, MODEL_PMMIR), 8);
	g.model.mmir = 0;
	assert_int_equal(vpmu_arm_vm_init(&g.vm, &g.machine, &g.model, &config), 0);
	assert_int_equal(guest_read(&g.v, MODEL_PMMIR), 0);
	for (uint32_t event = 0x30; event < 0x40; event++)
		assert_int_equal(advertised(&g, event), event < 0x3D);
}

static void dfr0_shows_the_model(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(versions); k++) {
		struct lone_guest g;

		lone_guest_init(&g, versions[k], 6, NULL);
		assert_int_equal(vpmu_arm_dfr0(&g.vm, UINT64_C(0x1234567890ABCDEF)),
				 UINT64_C(0x1234567890ABC0EF) | (uint64_t)versions[k] << 8);
	}
}

static void model_of_a_machine(void **state)
{
	static const struct {
		uint64_t pmuver;
		int error;
		enum vpmu_arm_version version;
	} rows[] = {
		{ 0, VPMU_ERR_UNSUPPORTED, 0 }, { 0xF, VPMU_ERR_UNSUPPORTED, 0 },
		{ 1, 0, VPMU_ARM_V3 },		{ 4, 0, VPMU_ARM_V3P1 },
		{ 5, 0, VPMU_ARM_V3P4 },	{ 6, 0, VPMU_ARM_V3P5 },
		{ 7, 0, VPMU_ARM_V3P5 },	{ 9, 0, VPMU_ARM_V3P5 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vpmu_hw_caps caps = {
			.counters = 0x8000003F,
			.version = (uint8_t)rows[i].pmuver,
			.identity = { 0x11, 0x22, 0x33, 0x4101 },
		};
		struct vpmu_machine machine;
		struct vpmu_arm_model model;

		vpmu_machine_init(&machine);
		vpmu_machine_add(&machine, &caps);
		assert_int_equal(vpmu_arm_model_of(&machine, &model), rows[i].error);
		if (rows[i].error)
			continue;
		assert_int_equal(model.version, rows[i].version);
		assert_int_equal(model.counters, 6);
		assert_int_equal(model.id, 0x4101);
		assert_int_equal(model.ceid[0], 0x11);
		assert_int_equal(model.ceid[1], 0x22);
		assert_int_equal(model.mmir, 0x33);
	}
}

/* ---- Arguments ---- */

static int init_with(struct vpmu_arm_model *model, struct vpmu_vm_config *config, uint64_t counters)
{
	struct vpmu_hw_caps caps = { .counters = counters, .version = VPMU_ARM_V3P5 };
	struct vpmu_machine machine;
	struct vpmu_vm vm;

	vpmu_machine_init(&machine);
	vpmu_machine_add(&machine, &caps);
	return vpmu_arm_vm_init(&vm, &machine, model, config);
}

static void vm_init_errors(void **state)
{
	struct vpmu_arm_model model = full_model(VPMU_ARM_V3, 6);
	struct vpmu_vm_config config = { .size = sizeof(config) };
	struct vpmu_event_range backwards = { 2, 1 };
	struct vpmu_policy policy = { &backwards, 1, true, NULL, NULL };

	(void)state;
	assert_int_equal(init_with(&model, &config, 0x8000003F), 0);
	assert_int_equal(init_with(&model, &config, 0x8000001F), VPMU_ERR_UNSUPPORTED);
	model.size--;
	assert_int_equal(init_with(&model, &config, 0x8000003F), VPMU_ERR_SIZE);
	model.size++;
	config.size--;
	assert_int_equal(init_with(&model, &config, 0x8000003F), VPMU_ERR_SIZE);
	config.size++;
	config.switch_kind = (enum vpmu_switch_kind)7;
	assert_int_equal(init_with(&model, &config, 0x8000003F), VPMU_ERR_PARAM);
	config.switch_kind = VPMU_SWITCH_EAGER;
	config.policy = &policy;
	assert_int_equal(init_with(&model, &config, 0x8000003F), VPMU_ERR_PARAM);
	config.policy = NULL;
	model.counters = 32;
	assert_int_equal(init_with(&model, &config, UINT32_MAX), VPMU_ERR_PARAM);
	model.counters = 31;
	model.version = (enum vpmu_arm_version)2;
	assert_int_equal(init_with(&model, &config, UINT32_MAX), VPMU_ERR_PARAM);
	model.version = (enum vpmu_arm_version)7;
	assert_int_equal(init_with(&model, &config, UINT32_MAX), VPMU_ERR_PARAM);
}

static void set_state_errors(void **state)
{
	static const struct {
		size_t offset;
		uint64_t value;
	} wrong[] = {
		{ offsetof(struct vpmu_state, value) + 8 * 2, BIT(32) },
		{ offsetof(struct vpmu_state, value) + 8 * 6, 1 },
		{ offsetof(struct vpmu_state, value) + 8 * 63, 1 },
		{ offsetof(struct vpmu_state, selector) + 8 * 2, 0x400 },
		{ offsetof(struct vpmu_state, selector) + 8 * 2, MODEL_FILTER_NSH },
		{ offsetof(struct vpmu_state, selector) + 8 * CYCLE, 1 },
		{ offsetof(struct vpmu_state, enabled), BIT(6) },
		{ offsetof(struct vpmu_state, interrupts), BIT(32) },
		{ offsetof(struct vpmu_state, status), BIT(30) },
		{ offsetof(struct vpmu_state, global), 0 },
		{ offsetof(struct vpmu_state, global), MODEL_PMCR_LC | MODEL_PMCR_LP },
		{ offsetof(struct vpmu_state, global), MODEL_PMCR_LC | MODEL_PMCR_P },
		{ offsetof(struct vpmu_state, user), 0x10 },
		{ offsetof(struct vpmu_state, pointer), 0x20 },
	};
	struct vpmu_state good, bad, after;
	struct lone_guest g;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3, 6, NULL);
	assert_int_equal(vpmu_vcpu_get_state(&g.v, &good), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		bad = good;
		memcpy((char *)&bad + wrong[i].offset, &wrong[i].value, sizeof(uint64_t));
		assert_int_equal(vpmu_vcpu_set_state(&g.v, &bad), VPMU_ERR_PARAM);
		assert_int_equal(vpmu_vcpu_get_state(&g.v, &after), 0);
		assert_memory_equal(&good, &after, sizeof(good));
	}
	assert_int_equal(vpmu_vcpu_set_state(&g.v, &good), 0);
}

static void error_texts(void **state)
{
	(void)state;
	for (int error = -100; error < 100; error++)
		assert_non_null(vpmu_strerror(error));
	assert_non_null(vpmu_strerror(INT32_MIN));
	assert_string_not_equal(vpmu_strerror(VPMU_ERR_STATE), vpmu_strerror(VPMU_ERR_UNSUPPORTED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_table),
		cmocka_unit_test(published_table_offers_nothing_else),
		cmocka_unit_test(measured_syndromes),
		cmocka_unit_test(every_access),
		cmocka_unit_test(later_registers_are_undef),
		cmocka_unit_test(everything_else_is_not_mine),
		cmocka_unit_test(bitmaps),
		cmocka_unit_test(pmcr_bits),
		cmocka_unit_test(pmcr_p_and_c_clear_values_only),
		cmocka_unit_test(widths),
		cmocka_unit_test(indirect_pair),
		cmocka_unit_test(software_increment_gates),
		cmocka_unit_test(software_increment_overflow),
		cmocka_unit_test(cycle_counter_has_no_software_increment),
		cmocka_unit_test(chain_by_long_overflow),
		cmocka_unit_test(emulated_instructions_chain),
		cmocka_unit_test(pmceid_by_version_and_policy),
		cmocka_unit_test(pmmir_and_slot_events),
		cmocka_unit_test(dfr0_shows_the_model),
		cmocka_unit_test(model_of_a_machine),
		cmocka_unit_test(vm_init_errors),
		cmocka_unit_test(set_state_errors),
		cmocka_unit_test(error_texts),
	};

	return cmocka_run_group_tests_name("registers", tests, NULL, NULL);
}
