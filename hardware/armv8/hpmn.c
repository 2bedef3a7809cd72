/* SPDX-License-Identifier: MIT */
/* See hpmn.h. DDI 0487 D24.3 (MDCR_EL2.HPMN), D24.5 (what EL1 reads and writes). */
#include "hpmn.h"

#include <stddef.h>

#include <vpmu/arm.h>

#define UNENFORCED "HPMN is advertised but not enforced: "
#define CYCLE_BIT ((uint64_t)1 << VPMU_ARM_CYCLE)

static uint64_t first(unsigned int n)
{
	return ((uint64_t)1 << n) - 1;
}

static bool mask_is_split(const struct vpmu_armv8_seen *s, unsigned int i)
{
	uint64_t range1 = first(s->hpmn) | CYCLE_BIT;

	if (s->set[i] != range1 || s->cleared[i])
		return false;
	return s->left[i] == (s->pattern & ~range1);
}

const char *vpmu_armv8_judge_el1(const struct vpmu_armv8_seen *s)
{
	static const char *const masks[VPMU_ARMV8_MASKS] = {
		[VPMU_ARMV8_ENABLES] = UNENFORCED "EL1 reaches enables of range 2",
		[VPMU_ARMV8_INTERRUPTS] = UNENFORCED "EL1 reaches interrupt enables of range 2",
		[VPMU_ARMV8_STATUS] = UNENFORCED "EL1 reaches the overflow status of range 2",
	};

	if ((s->pmcr >> 11 & 0x1F) != s->hpmn)
		return UNENFORCED "PMCR.N at EL1 is not HPMN";
	for (unsigned int i = 0; i < VPMU_ARMV8_MASKS; i++) {
		if (!mask_is_split(s, i))
			return masks[i];
	}
	if (s->trapped != VPMU_ARMV8_TRIES)
		return UNENFORCED "EL1 reaches a counter of range 2";
	if (s->value == 0)
		return UNENFORCED "PMCR.P at EL1 clears range 2";
	if (s->value != VPMU_ARMV8_VALUE || s->selector != VPMU_ARMV8_SELECTOR)
		return UNENFORCED "EL1 changes a counter of range 2";
	return NULL;
}

const char *vpmu_armv8_judge_range2(const struct vpmu_armv8_range2 *s)
{
	if (!s->counts_by_hpme || s->counts_by_e)
		return UNENFORCED "range 2 does not count by HPME";
	if (!s->line_by_hpme || s->line_by_e)
		return UNENFORCED "the interrupt of range 2 does not follow HPME";
	return NULL;
}
