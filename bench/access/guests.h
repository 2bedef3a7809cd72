/* SPDX-License-Identifier: MIT */
/*
 * guests.h - vCPUs in each mode, that have exited. Their hardware and source do nothing and cost
 * nothing.
 */
#ifndef VPMU_BENCH_GUESTS_H
#define VPMU_BENCH_GUESTS_H

#include "doors.h"

#include "model_source.h"
#include "x86_hw.h"

enum guest_arch { GUEST_X86, GUEST_ARM, GUEST_ARCHS };

enum guest_mode {
	GUEST_EMULATED,              /* four counters count */
	GUEST_PARKED,                /* mediated; the same, in the hardware */
	GUEST_QUIET,                 /* mediated; nothing counts, nothing is in the hardware */
	GUEST_MODES,
};

/* Registers that are not there, but for two that somebody looks at. */
struct null_hw {
	struct vpmu_hw hw;
	uint64_t started;
	uint64_t global;
};

struct guest {
	struct vpmu_machine machine;
	struct vpmu_x86_model x86_model;
	struct vpmu_arm_model arm_model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_model_source source;
	struct vpmu_x86_hw x86;
	struct null_hw arm;
	struct vpmu_cpu cpu;
	uint64_t guest_global;       /* x86: of the VMCS */
};

/* returns: false: something of it was refused. */
bool guest_init(struct guest *g, enum guest_arch arch, enum guest_mode mode);

/* PMU register accesses so far. */
uint64_t guest_accesses(const struct guest *g);

#define ARM_PMCR VPMU_ARM_SYSREG(3, 3, 9, 12, 0)
#define ARM_PMCNTENSET VPMU_ARM_SYSREG(3, 3, 9, 12, 1)
#define ARM_PMOVSCLR VPMU_ARM_SYSREG(3, 3, 9, 12, 3)
#define ARM_PMCCNTR VPMU_ARM_SYSREG(3, 3, 9, 13, 0)
#define ARM_PMEVCNTR(n) VPMU_ARM_SYSREG(3, 3, 14, 8, (n))
#define ARM_PMEVTYPER(n) VPMU_ARM_SYSREG(3, 3, 14, 12, (n))
#define ARM_INSTRUCTIONS 0x08u
#define ARM_CYCLES 0x11u

#define X86_PERFEVTSEL(n) (0x186u + (n))
#define X86_GLOBAL_STATUS 0x38Eu
#define X86_GLOBAL_CTRL 0x38Fu
#define X86_STATUS_RESET 0x390u
#define X86_PMC(n) (0x4C1u + (n))
#define X86_INSTRUCTIONS 0x1300C0ull /* USR, OS and INT */
#define X86_CYCLES 0x13003Cull
#define X86_EN 0x400000ull

#endif
