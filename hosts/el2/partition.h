/* SPDX-License-Identifier: MIT */
/* partition.h - is MDCR_EL2.HPMN enforced on this CPU? */
#ifndef VPMU_EL2_PARTITION_H
#define VPMU_EL2_PARTITION_H

#define PARTITION_VALUES 8

#ifndef __ASSEMBLER__
struct cpu;

/*
 * Asks this CPU's PMU, which nobody uses yet, at EL1 and EL2, and leaves nothing enabled in it. (*least): the
 * smallest HPMN that works. returns: NULL: enforced; else a phrase: why guests' parts are kept by traps.
 * Context: EL2, before the CPU has a guest; its GIC is set up, and there is a PMU.
 */
const char *partition_probe(struct cpu *c, unsigned int *least);
#endif

#endif
