/* SPDX-License-Identifier: MIT */
/*
 * hardware/armv8/hpmn.h - does this CPU enforce MDCR_EL2.HPMN? Asked, not believed: QEMU (10.0) has
 * the field and FEAT_HPMN0, and lets EL1 past both (RULES B2).
 *
 * The caller, at EL2, with interrupts off and nobody's counter in use, does what struct vpmu_armv8_seen says and
 * notes what it sees; the rest is judgement. Pure: no register is touched here.
 */
#ifndef VPMU_HARDWARE_HPMN_H
#define VPMU_HARDWARE_HPMN_H

#include <stdbool.h>
#include <stdint.h>

/* The mask registers, in this order. */
enum vpmu_armv8_mask { VPMU_ARMV8_ENABLES, VPMU_ARMV8_INTERRUPTS, VPMU_ARMV8_STATUS, VPMU_ARMV8_MASKS };

/* What EL1 tries with a counter that is not its own, each of which traps to EL2 (with FEAT_FGT). */
#define VPMU_ARMV8_TRIES 8u

/* Before EL1 runs, these are in counter 1: SW_INCR, in all rings. */
#define VPMU_ARMV8_VALUE 0x5A5A1234u
#define VPMU_ARMV8_SELECTOR 0u

/*
 * One run with MDCR_EL2.HPMN = (hpmn), 1 or, with FEAT_HPMN0, 0; HPME set, HPMD and all traps clear; PMCR.E
 * clear; all three masks = (pattern), a subset of the counters.
 */
struct vpmu_armv8_seen {
	uint32_t counters;           /* PMCR.N at EL2, at least 2 */
	uint32_t hpmn;
	uint64_t pattern;
	/* EL1: PMCR; for each mask all ones to SET, a look, all ones to CLR, a look. */
	uint64_t pmcr;
	uint64_t set[VPMU_ARMV8_MASKS];
	uint64_t cleared[VPMU_ARMV8_MASKS];
	/*
	 * Then PMSWINC = all ones, with every counter enabled that EL1 cannot disable; PMCR = P and C; reads and
	 * writes of counter 1's value and selector, by name and through PMSELR, four reads and four writes: how many trapped?
	 */
	uint32_t trapped;
	/* EL2 afterwards. */
	uint64_t left[VPMU_ARMV8_MASKS];
	uint64_t value;
	uint64_t selector;
};

/*
 * Range 2 at EL2, HPMN = 1, HPMD set: counter 1 with CPU_CYCLES and NSH, and with status and interrupt enable
 * set; once with HPME alone, once with PMCR.E alone.
 */
struct vpmu_armv8_range2 {
	bool counts_by_hpme, counts_by_e;
	bool line_by_hpme, line_by_e;
};

/* Each returns: NULL: as the architecture says; else what is not, a phrase. Context: any. */
const char *vpmu_armv8_judge_el1(const struct vpmu_armv8_seen *seen);
const char *vpmu_armv8_judge_range2(const struct vpmu_armv8_range2 *seen);

#endif
