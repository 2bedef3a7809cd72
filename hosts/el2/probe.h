/* SPDX-License-Identifier: MIT */
/* probe.h - what this machine counts of an instruction that traps to EL2. */
#ifndef VPMU_EL2_PROBE_H
#define VPMU_EL2_PROBE_H

#define PROBE_COUNTS 8

#ifndef __ASSEMBLER__
#include <stdbool.h>

struct probe {
	bool sysreg_counts;          /* a trapped MRS or MSR */
	bool smc_counts;             /* a trapped SMC */
	bool wfi_counts;             /* a trapped WFI */
};

/* Runs at EL1 for a moment. Context: EL2, boot CPU, before there is a guest; there is a PMU. */
struct probe probe_machine(void);
#endif

#endif
