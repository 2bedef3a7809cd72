/* SPDX-License-Identifier: MIT */
/* Prints docs/arm-registers.md from the register table; scripts/check-registers.sh builds and runs it. */
#include <stdio.h>

#include <vpmu/arm.h>

static const char *access_name(enum vpmu_arm_reg_access access)
{
	static const char *const names[] = {
		[VPMU_ARM_RW] = "RW",
		[VPMU_ARM_RO] = "RO",
		[VPMU_ARM_WO] = "WO",
	};

	return names[access];
}

static const char *version_name(enum vpmu_arm_version version)
{
	switch (version) {
	case VPMU_ARM_V3:
		return "PMUv3";
	case VPMU_ARM_V3P1:
		return "PMUv3p1";
	case VPMU_ARM_V3P4:
		return "PMUv3p4";
	case VPMU_ARM_V3P5:
		return "PMUv3p5";
	}
	return "?";
}

/* PMUSERENR bits as "EN or CR". */
static void print_rights(uint8_t bits)
{
	static const char *const names[] = { "EN", "SW", "CR", "ER" };
	const char *between = "";

	if (!bits)
		printf("-");
	if (bits == 0xFF) {
		printf("always");
		return;
	}
	for (unsigned int i = 0; i < 4; i++) {
		if (!(bits >> i & 1))
			continue;
		printf("%s%s", between, names[i]);
		between = " or ";
	}
}

static void print_row(const struct vpmu_arm_reg_info *info)
{
	uint32_t reg = info->reg;

	printf("| `%s` | %u,%u,%u,%u,%u | ", info->name, reg >> 20 & 3, reg >> 14 & 7, reg >> 10 & 15,
	       reg >> 1 & 15, reg >> 17 & 7);
	if (!info->offered) {
		printf("UNDEF | later | - | - |\n");
		return;
	}
	printf("%s | %s | ", access_name(info->access), version_name(info->since));
	print_rights(info->el0_read);
	printf(" | ");
	print_rights(info->el0_write);
	printf(" |\n");
}

int main(void)
{
	struct vpmu_arm_reg_info info;

	printf("# The Arm guest's registers\n\n"
	       "Made by `scripts/check-registers.sh --write` from the table in `core/arm`; a check compares.\n"
	       "Encoding is op0,op1,CRn,CRm,op2; of a family, member 0: member n adds n[4:3] to CRm, n[2:0] to op2,\n"
	       "n = 0..30. \"EL0\" is what PMUSERENR must grant. \"later\": newer than PMUv3p5, always UNDEF.\n\n"
	       "| register | encoding | access | since | EL0 read | EL0 write |\n"
	       "|---|---|---|---|---|---|\n");
	for (size_t row = 0; !vpmu_arm_reg_info(row, &info); row++)
		print_row(&info);
	return 0;
}
