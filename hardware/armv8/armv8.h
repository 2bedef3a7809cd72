/* SPDX-License-Identifier: MIT */
/*
 * hardware/armv8 - the PMU of an arm64 CPU, driven from EL2 by system registers. Links into bare-metal
 * programs that run at EL2 with HCR_EL2.E2H = 0.
 */
#ifndef VPMU_HARDWARE_ARMV8_H
#define VPMU_HARDWARE_ARMV8_H

#include <vpmu/hardware.h>

/* What the embedder wants in the trap registers besides the PMU's bits. */
struct vpmu_armv8_base {
	uint64_t mdcr_el2;       /* MDCR_EL2, e.g. TTRF, TPMS */
	uint64_t hdfgrtr_el2;    /* HDFGRTR_EL2, used if FEAT_FGT is there */
	uint64_t hdfgwtr_el2;    /* HDFGWTR_EL2 */
};

struct vpmu_armv8 {
	struct vpmu_hw hw;
	struct vpmu_armv8_base base;
	uint64_t mdcr;           /* as last written */
	uint64_t boundary;       /* MDCR_EL2 bits that stop counters at EL2 */
	uint64_t stop_bits;      /* those that this PMU version has */
	uint64_t guest;          /* counters that boundary() gave to a guest */
	uint64_t inside;         /* of host events: counters that count in guests, and outside */
	uint64_t outside;
	uint64_t global;         /* what set_global() was last given, while PMCR.E is shared */
	uint32_t counters;       /* PMCR.N: event counters */
	uint32_t hpmn;           /* event counters in range 1 */
	uint32_t resync;         /* an overflow status was written since PMCR */
};

/*
 * vpmu_armv8_init() - finds out what this CPU's PMU has and sets the trap registers: no PMU register
 * is left open to EL1 or EL0, all event counters belong to them (MDCR_EL2.HPMN = PMCR.N).
 * returns: 0; VPMU_ERR_UNSUPPORTED (-5): no architected PMUv3.
 * Context: [cpu], at EL2.
 */
int vpmu_armv8_init(struct vpmu_armv8 *pmu, const struct vpmu_armv8_base *base);

/*
 * vpmu_armv8_partition() - a probe (hpmn.h) has found that this CPU enforces MDCR_EL2.HPMN from (least) on, 1
 * or 0: guests may have fewer counters and direct access to them. Needs FEAT_FGT; without it nothing changes.
 * Context: after vpmu_armv8_init(), before vpmu_cpu_init().
 */
void vpmu_armv8_partition(struct vpmu_armv8 *pmu, unsigned int least);

#endif
