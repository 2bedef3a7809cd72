/* SPDX-License-Identifier: MIT */
/*
 * Every PMU register of an x86 guest, once. Decoding, faults, what may run direct, save lists,
 * documentation and the test matrix are derived from this table. SDM vol. 4; APM vol. 2 appendix A.
 */
#include "x86.h"

#define INTEL_REG(number, first, v) \
	.name = (number), .index = (first), .vendor = VPMU_X86_INTEL, .since = (v), \
	.offered = true
#define AMD_REG(number, first, v) \
	.name = (number), .index = (first), .vendor = VPMU_X86_AMD, .since = (v), \
	.offered = true
#define ONE .members = 1, .stride = 1
#define FAMILY(n, step) .members = (n), .stride = (step)
#define RW .readable = true, .writable = true
#define RO .readable = true
#define GP .index = X86_INDEX_GP
#define FIXED .index = X86_INDEX_FIXED
/* Enables and interrupt enables are in them. */
#define SELECTOR_ITEMS (VPMU_ITEM_SELECTORS | VPMU_ITEM_ENABLED | VPMU_ITEM_INTERRUPTS)
/* Registers of what is not offered: every access faults, as on a machine without them. */
#define ABSENT(what, vnd, number, n, step) \
	{ .info = { .name = (what), .index = (number), .members = (n), .stride = (step), \
		    .vendor = (vnd) } }

static bool always(const struct vpmu_x86_model *m)
{
	(void)m;
	return true;
}

/* The legacy addresses of AMD's counters are other names for the first four (APM 13.2.1). */
static bool without_core_extension(const struct vpmu_x86_model *m)
{
	return !vpmu_x86_has_core_extension(m);
}

static const struct x86_reg table[] = {
	/* The counters first: they are the ones read while a guest profiles. */
	{ .info = { INTEL_REG("IA32_PERFCTR<n>", 0xC1, 1), FAMILY(VPMU_X86_GP_MAX, 1), RW,
		    .may_be_direct = true },
	  GP, .direct = X86_DIRECT_VALUE, .saved = always,
	  .read = vpmu_x86_read_counter, .write = vpmu_x86_write_counter32,
	  .set = vpmu_x86_write_counter },
	{ .info = { INTEL_REG("IA32_PMC<n>", 0x4C1, 1), FAMILY(VPMU_X86_GP_MAX, 1), RW,
		    .may_be_direct = true, .condition = "PERF_CAPABILITIES.FW_WRITES" },
	  GP, .direct = X86_DIRECT_VALUE, .exists = vpmu_x86_has_full_width,
	  .read = vpmu_x86_read_counter, .faults = vpmu_x86_faults_width,
	  .refuses = vpmu_x86_faults_width, .write = vpmu_x86_write_counter,
	  .set = vpmu_x86_write_counter },
	{ .info = { INTEL_REG("IA32_FIXED_CTR<n>", 0x309, 2), FAMILY(VPMU_X86_FIXED_MAX, 1), RW,
		    .may_be_direct = true },
	  FIXED, .direct = X86_DIRECT_VALUE, .saved = always,
	  .read = vpmu_x86_read_counter, .faults = vpmu_x86_faults_width,
	  .write = vpmu_x86_write_counter, .set = vpmu_x86_write_counter },
	{ .info = { INTEL_REG("IA32_PERFEVTSEL<n>", 0x186, 1), FAMILY(VPMU_X86_GP_MAX, 1), RW,
		    .may_be_direct = true },
	  GP, .uses = SELECTOR_ITEMS, .direct = X86_DIRECT_SELECTOR, .saved = always,
	  .read = vpmu_x86_read_selector, .faults = vpmu_x86_faults_selector,
	  .refuses = vpmu_x86_faults_selector, .write = vpmu_x86_write_selector,
	  .set = vpmu_x86_write_selector },
	{ .info = { INTEL_REG("IA32_FIXED_CTR_CTRL", 0x38D, 2), ONE, RW, .may_be_direct = true },
	  .uses = SELECTOR_ITEMS, .direct = X86_DIRECT_SELECTOR, .saved = always,
	  .read = vpmu_x86_read_fixed_ctrl, .faults = vpmu_x86_faults_fixed_ctrl,
	  .refuses = vpmu_x86_faults_fixed_ctrl, .write = vpmu_x86_write_fixed_ctrl,
	  .set = vpmu_x86_write_fixed_ctrl },
	{ .info = { INTEL_REG("IA32_PERF_GLOBAL_STATUS", 0x38E, 2), ONE, RO,
		    .may_be_direct = true },
	  .uses = VPMU_ITEM_STATUS, .direct = X86_DIRECT_STATUS, .saved = always,
	  .read = vpmu_x86_read_status, .faults = vpmu_x86_faults_always,
	  .refuses = vpmu_x86_faults_status, .set = vpmu_x86_write_status },
	{ .info = { INTEL_REG("IA32_PERF_GLOBAL_CTRL", 0x38F, 2), ONE, RW, .may_be_direct = true },
	  .uses = VPMU_ITEM_GLOBAL, .direct = X86_DIRECT_GLOBAL, .saved = always,
	  .read = vpmu_x86_read_global, .faults = vpmu_x86_faults_global,
	  .refuses = vpmu_x86_faults_global, .write = vpmu_x86_write_global,
	  .set = vpmu_x86_write_global },
	{ .info = { INTEL_REG("IA32_PERF_GLOBAL_STATUS_RESET", 0x390, 2), ONE, RW,
		    .may_be_direct = true },
	  .uses = VPMU_ITEM_STATUS, .direct = X86_DIRECT_RESET,
	  .read = vpmu_x86_read_zero, .faults = vpmu_x86_faults_reset,
	  .write = vpmu_x86_write_reset },
	{ .info = { INTEL_REG("IA32_PERF_GLOBAL_STATUS_SET", 0x391, 4), ONE, RW },
	  .uses = VPMU_ITEM_STATUS,
	  .read = vpmu_x86_read_zero, .faults = vpmu_x86_faults_status,
	  .write = vpmu_x86_write_status_set },
	{ .info = { INTEL_REG("IA32_PERF_GLOBAL_INUSE", 0x392, 4), ONE, RO },
	  .uses = SELECTOR_ITEMS,
	  .read = vpmu_x86_read_inuse, .faults = vpmu_x86_faults_always },
	{ .info = { INTEL_REG("IA32_PERF_CAPABILITIES", 0x345, 0), ONE, RO,
		    .condition = "CPUID.PDCM" },
	  .exists = vpmu_x86_has_pdcm, .saved = always,
	  .read = vpmu_x86_read_capabilities, .faults = vpmu_x86_faults_always,
	  .refuses = vpmu_x86_refuses_capabilities },
	/* Uses the status: a freeze that the hardware made outlives the bit that allowed it. */
	{ .info = { INTEL_REG("IA32_DEBUGCTL", 0x1D9, 0), ONE, RW }, .saved = always,
	  .uses = VPMU_ITEM_STATUS,
	  .read = vpmu_x86_read_debug, .faults = vpmu_x86_faults_debug,
	  .refuses = vpmu_x86_faults_debug, .write = vpmu_x86_write_debug,
	  .set = vpmu_x86_write_debug },
	ABSENT("PERF_METRICS", VPMU_X86_INTEL, 0x329, 1, 1),
	ABSENT("IA32_PEBS_ENABLE", VPMU_X86_INTEL, 0x3F1, 1, 1),
	ABSENT("MSR_PEBS_DATA_CFG", VPMU_X86_INTEL, 0x3F2, 1, 1),
	ABSENT("MSR_PEBS_LD_LAT", VPMU_X86_INTEL, 0x3F6, 1, 1),
	ABSENT("MSR_PEBS_FRONTEND", VPMU_X86_INTEL, 0x3F7, 1, 1),
	ABSENT("IA32_DS_AREA", VPMU_X86_INTEL, 0x600, 1, 1),
	ABSENT("MSR_OFFCORE_RSP<n>", VPMU_X86_INTEL, 0x1A6, 2, 1),
	ABSENT("MSR_LBR_SELECT", VPMU_X86_INTEL, 0x1C8, 1, 1),
	ABSENT("MSR_LASTBRANCH_TOS", VPMU_X86_INTEL, 0x1C9, 1, 1),
	ABSENT("MSR_LASTBRANCH_<n>_FROM_IP", VPMU_X86_INTEL, 0x680, 32, 1),
	ABSENT("MSR_LASTBRANCH_<n>_TO_IP", VPMU_X86_INTEL, 0x6C0, 32, 1),
	ABSENT("MSR_LBR_INFO_<n>", VPMU_X86_INTEL, 0xDC0, 32, 1),
	ABSENT("IA32_LBR_CTL", VPMU_X86_INTEL, 0x14CE, 1, 1),
	ABSENT("IA32_LBR_DEPTH", VPMU_X86_INTEL, 0x14CF, 1, 1),
	ABSENT("IA32_LBR_<n>_INFO", VPMU_X86_INTEL, 0x1200, 32, 1),
	ABSENT("IA32_LBR_<n>_FROM_IP", VPMU_X86_INTEL, 0x1500, 32, 1),
	ABSENT("IA32_LBR_<n>_TO_IP", VPMU_X86_INTEL, 0x1600, 32, 1),
	ABSENT("IA32_RTIT_OUTPUT_<n>", VPMU_X86_INTEL, 0x560, 2, 1),
	ABSENT("IA32_RTIT_<n>", VPMU_X86_INTEL, 0x570, 3, 1),
	ABSENT("IA32_RTIT_ADDR<n>", VPMU_X86_INTEL, 0x580, 8, 1),
	ABSENT("MSR_UNC_<n>", VPMU_X86_INTEL, 0x700, 64, 1),
	ABSENT("MSR_UNC_PERF_FIXED_<n>", VPMU_X86_INTEL, 0x394, 2, 1),
	ABSENT("IA32_PMC_GP<n>", VPMU_X86_INTEL, 0x1900, 128, 1),
	ABSENT("IA32_PMC_FX<n>", VPMU_X86_INTEL, 0x1980, 64, 1),

	{ .info = { AMD_REG("PERF_CTR<n>", 0xC0010201, 1), FAMILY(6, 2), RW,
		    .may_be_direct = true, .condition = "PerfCtrExtCore" },
	  GP, .direct = X86_DIRECT_VALUE, .saved = always, .exists = vpmu_x86_has_core_extension,
	  .read = vpmu_x86_read_counter, .write = vpmu_x86_write_counter,
	  .set = vpmu_x86_write_counter },
	{ .info = { AMD_REG("PERF_CTL<n>", 0xC0010200, 1), FAMILY(6, 2), RW,
		    .condition = "PerfCtrExtCore" },
	  GP, .uses = VPMU_ITEM_SELECTORS, .saved = always, .exists = vpmu_x86_has_core_extension,
	  .read = vpmu_x86_read_selector, .refuses = vpmu_x86_faults_selector,
	  .write = vpmu_x86_write_selector, .set = vpmu_x86_write_selector },
	{ .info = { AMD_REG("K7_PERFCTR<n>", 0xC0010004, 1), FAMILY(4, 1), RW,
		    .may_be_direct = true },
	  GP, .direct = X86_DIRECT_VALUE, .saved = without_core_extension,
	  .read = vpmu_x86_read_counter, .write = vpmu_x86_write_counter,
	  .set = vpmu_x86_write_counter },
	{ .info = { AMD_REG("K7_EVNTSEL<n>", 0xC0010000, 1), FAMILY(4, 1), RW },
	  GP, .uses = VPMU_ITEM_SELECTORS, .saved = without_core_extension,
	  .read = vpmu_x86_read_selector, .refuses = vpmu_x86_faults_selector,
	  .write = vpmu_x86_write_selector, .set = vpmu_x86_write_selector },
	{ .info = { AMD_REG("PerfCntrGlobalStatus", 0xC0000300, 2), ONE, RO, .writable = true,
		    .may_be_direct = true },
	  .uses = VPMU_ITEM_STATUS, .direct = X86_DIRECT_STATUS, .saved = always,
	  .read = vpmu_x86_read_status, .refuses = vpmu_x86_faults_status,
	  .set = vpmu_x86_write_status },
	{ .info = { AMD_REG("PerfCntrGlobalCtl", 0xC0000301, 2), ONE, RW, .may_be_direct = true },
	  .uses = VPMU_ITEM_GLOBAL, .direct = X86_DIRECT_GLOBAL, .saved = always,
	  .read = vpmu_x86_read_global, .refuses = vpmu_x86_faults_global,
	  .write = vpmu_x86_write_global, .set = vpmu_x86_write_global },
	{ .info = { AMD_REG("PerfCntrGlobalStatusClr", 0xC0000302, 2), ONE, RW,
		    .may_be_direct = true },
	  .uses = VPMU_ITEM_STATUS, .direct = X86_DIRECT_RESET,
	  .read = vpmu_x86_read_zero, .write = vpmu_x86_write_reset },
	{ .info = { AMD_REG("PerfCntrGlobalStatusSet", 0xC0000303, 2), ONE, RW },
	  .uses = VPMU_ITEM_STATUS,
	  .read = vpmu_x86_read_zero, .write = vpmu_x86_write_status_set },
	ABSENT("IBS_<n>", VPMU_X86_AMD, 0xC0011030, 12, 1),
	ABSENT("L3_PMC<n>", VPMU_X86_AMD, 0xC0010230, 12, 1),
	ABSENT("NB_PMC<n>", VPMU_X86_AMD, 0xC0010240, 8, 1),
	ABSENT("LBR_V2_<n>", VPMU_X86_AMD, 0xC0010300, 32, 1),
	ABSENT("LBR_SELECT", VPMU_X86_AMD, 0xC000010E, 2, 1),
};

#define ROWS (sizeof(table) / sizeof(table[0]))

const struct x86_reg *vpmu_x86_table_row(size_t row)
{
	return row < ROWS ? &table[row] : NULL;
}

/* AMD's two core families interleave: only a member's own address is in a family. */
static bool holds(const struct x86_reg *r, uint32_t index, unsigned int *member)
{
	uint32_t distance = index - r->info.index;

	if (index < r->info.index || distance % r->info.stride)
		return false;
	*member = distance / r->info.stride;
	return *member < r->info.members;
}

const struct x86_reg *vpmu_x86_table_find(enum vpmu_x86_vendor vendor, uint32_t index,
					  unsigned int *member)
{
	for (size_t row = 0; row < ROWS; row++) {
		if (table[row].info.vendor == vendor && holds(&table[row], index, member)) {
			*member = vpmu_clamp(*member, table[row].info.members);
			return &table[row];
		}
	}
	return NULL;
}

int vpmu_x86_reg_info(size_t row, struct vpmu_x86_reg_info *out)
{
	if (row >= ROWS)
		return VPMU_ERR_PARAM;
	*out = table[row].info;
	if (!out->condition)
		out->condition = "";
	return 0;
}
