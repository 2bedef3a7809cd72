/* SPDX-License-Identifier: MIT */
/*
 * Every PMU register of an Arm guest, once. Decoding, faults, save lists, documentation and the test
 * matrix are derived from this table. Encodings and access rules: DDI 0487 D24.5.
 */
#include "pmuv3.h"

#define REG(op0, op1, crn, crm, op2) .reg = VPMU_ARM_SYSREG(op0, op1, crn, crm, op2)
#define ONE .members = 1
#define FAMILY .members = VPMU_ARM_EVENTS_MAX
#define EL1_ONLY .el0_read = 0, .el0_write = 0
#define EL0_BY(r, w) .el0_read = (r), .el0_write = (w)
#define EN PMUSERENR_EN
/* Later than the cap of this library: UNDEF, as on a machine without them. */
#define LATER .members = 1, .access = VPMU_ARM_RW, .offered = false
#define OFFERED(version) .offered = true, .since = VPMU_ARM_##version

static const struct arm_reg table[] = {
	/* The families first: they are the ones trapped while a guest samples. */
	{ .info = { .name = "PMEVTYPER<n>_EL0", REG(3, 3, 14, 12, 0), FAMILY, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_SELECTORS, .index = ARM_INDEX_MEMBER,
	  .read = vpmu_arm_read_typer, .write = vpmu_arm_write_typer },
	{ .info = { .name = "PMEVCNTR<n>_EL0", REG(3, 3, 14, 8, 0), FAMILY, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN | PMUSERENR_ER, EN) },
	  .index = ARM_INDEX_MEMBER,
	  .read = vpmu_arm_read_counter, .write = vpmu_arm_write_counter },
	{ .info = { .name = "PMCCFILTR_EL0", REG(3, 3, 14, 15, 7), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_SELECTORS, .index = ARM_INDEX_CYCLE,
	  .read = vpmu_arm_read_typer, .write = vpmu_arm_write_typer },
	{ .info = { .name = "PMCR_EL0", REG(3, 3, 9, 12, 0), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_GLOBAL,
	  .read = vpmu_arm_read_pmcr, .write = vpmu_arm_write_pmcr },
	{ .info = { .name = "PMCNTENSET_EL0", REG(3, 3, 9, 12, 1), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_ENABLED,
	  .read = vpmu_arm_read_enabled, .write = vpmu_arm_write_cntenset },
	{ .info = { .name = "PMCNTENCLR_EL0", REG(3, 3, 9, 12, 2), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_ENABLED,
	  .read = vpmu_arm_read_enabled, .write = vpmu_arm_write_cntenclr },
	{ .info = { .name = "PMOVSCLR_EL0", REG(3, 3, 9, 12, 3), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_STATUS,
	  .read = vpmu_arm_read_status, .write = vpmu_arm_write_ovsclr },
	{ .info = { .name = "PMSWINC_EL0", REG(3, 3, 9, 12, 4), ONE, .access = VPMU_ARM_WO,
		    OFFERED(V3), EL0_BY(0, EN | PMUSERENR_SW) },
	  .uses = VPMU_ITEM_GLOBAL | VPMU_ITEM_ENABLED | VPMU_ITEM_STATUS | VPMU_ITEM_SELECTORS,
	  .write = vpmu_arm_write_swinc },
	{ .info = { .name = "PMSELR_EL0", REG(3, 3, 9, 12, 5), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN | PMUSERENR_ER, EN | PMUSERENR_ER) },
	  .uses = VPMU_ITEM_POINTER,
	  .read = vpmu_arm_read_selr, .write = vpmu_arm_write_selr },
	{ .info = { .name = "PMCEID0_EL0", REG(3, 3, 9, 12, 6), ONE, .access = VPMU_ARM_RO,
		    OFFERED(V3), EL0_BY(EN, 0) },
	  .read = vpmu_arm_read_ceid0 },
	{ .info = { .name = "PMCEID1_EL0", REG(3, 3, 9, 12, 7), ONE, .access = VPMU_ARM_RO,
		    OFFERED(V3), EL0_BY(EN, 0) },
	  .read = vpmu_arm_read_ceid1 },
	{ .info = { .name = "PMCCNTR_EL0", REG(3, 3, 9, 13, 0), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN | PMUSERENR_CR, EN) },
	  .index = ARM_INDEX_CYCLE,
	  .read = vpmu_arm_read_counter, .write = vpmu_arm_write_counter },
	{ .info = { .name = "PMXEVTYPER_EL0", REG(3, 3, 9, 13, 1), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_SELECTORS, .index = ARM_INDEX_TYPER,
	  .read = vpmu_arm_read_typer, .write = vpmu_arm_write_typer },
	{ .info = { .name = "PMXEVCNTR_EL0", REG(3, 3, 9, 13, 2), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN | PMUSERENR_ER, EN) },
	  .index = ARM_INDEX_COUNTER,
	  .read = vpmu_arm_read_counter, .write = vpmu_arm_write_counter },
	{ .info = { .name = "PMUSERENR_EL0", REG(3, 3, 9, 14, 0), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(0xFF, 0) },
	  .uses = VPMU_ITEM_USER,
	  .read = vpmu_arm_read_userenr, .write = vpmu_arm_write_userenr },
	{ .info = { .name = "PMOVSSET_EL0", REG(3, 3, 9, 14, 3), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL0_BY(EN, EN) },
	  .uses = VPMU_ITEM_STATUS,
	  .read = vpmu_arm_read_status, .write = vpmu_arm_write_ovsset },
	{ .info = { .name = "PMINTENSET_EL1", REG(3, 0, 9, 14, 1), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL1_ONLY },
	  .uses = VPMU_ITEM_INTERRUPTS,
	  .read = vpmu_arm_read_interrupts, .write = vpmu_arm_write_intenset },
	{ .info = { .name = "PMINTENCLR_EL1", REG(3, 0, 9, 14, 2), ONE, .access = VPMU_ARM_RW,
		    OFFERED(V3), EL1_ONLY },
	  .uses = VPMU_ITEM_INTERRUPTS,
	  .read = vpmu_arm_read_interrupts, .write = vpmu_arm_write_intenclr },
	{ .info = { .name = "PMMIR_EL1", REG(3, 0, 9, 14, 6), ONE, .access = VPMU_ARM_RO,
		    OFFERED(V3P4), EL1_ONLY },
	  .read = vpmu_arm_read_mmir },
	{ .info = { .name = "PMECR_EL1", REG(3, 0, 9, 14, 5), LATER } },
	{ .info = { .name = "PMUACR_EL1", REG(3, 0, 9, 14, 4), LATER } },
	{ .info = { .name = "PMIAR_EL1", REG(3, 0, 9, 14, 7), LATER } },
	{ .info = { .name = "PMSSCR_EL1", REG(3, 0, 9, 13, 3), LATER } },
	{ .info = { .name = "PMZR_EL0", REG(3, 3, 9, 13, 4), LATER } },
	{ .info = { .name = "PMICNTR_EL0", REG(3, 3, 9, 4, 0), LATER } },
	{ .info = { .name = "PMICFILTR_EL0", REG(3, 3, 9, 6, 0), LATER } },
	{ .info = { .name = "PMEVCNTSVR<n>_EL1", REG(2, 0, 14, 8, 0), FAMILY,
		    .access = VPMU_ARM_RW, .offered = false } },
};

#define ROWS (sizeof(table) / sizeof(table[0]))

uint32_t vpmu_arm_reg_member(uint32_t reg, unsigned int n)
{
	return reg + VPMU_ARM_SYSREG(0, 0, 0, n >> 3, n & 7);
}

int vpmu_arm_reg_info(size_t row, struct vpmu_arm_reg_info *out)
{
	if (row >= ROWS)
		return VPMU_ERR_PARAM;
	*out = table[row].info;
	return 0;
}

/* The member number that (reg) has in a family: CRm[1:0] and op2. */
static unsigned int member_of(uint32_t reg)
{
	return (reg >> 1 & 3) << 3 | (reg >> 17 & 7);
}

static bool is_member(const struct vpmu_arm_reg_info *family, uint32_t reg, unsigned int n)
{
	return n < family->members && vpmu_arm_reg_member(family->reg, n) == reg;
}

const struct arm_reg *vpmu_arm_table_find(uint32_t reg, unsigned int *member)
{
	*member = member_of(reg);
	for (size_t row = 0; row < ROWS; row++) {
		const struct vpmu_arm_reg_info *info = &table[row].info;

		if (info->reg == reg || (info->members > 1 && is_member(info, reg, *member)))
			return &table[row];
	}
	return NULL;
}
