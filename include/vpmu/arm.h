/* SPDX-License-Identifier: MIT */
/*
 * vpmu/arm.h - the Arm PMUv3 guest: its model, and trapped accesses to its registers.
 *
 * Source: Arm Architecture Reference Manual for A-profile (DDI 0487), D13 and D24.5. Up to PMUv3p5.
 */
#ifndef VPMU_ARM_H
#define VPMU_ARM_H

#include <vpmu/vpmu.h>

/* ID_AA64DFR0_EL1.PMUVer. */
enum vpmu_arm_version {
	VPMU_ARM_V3 = 1,             /* Armv8.0 */
	VPMU_ARM_V3P1 = 4,           /* Armv8.1: 16-bit events */
	VPMU_ARM_V3P4 = 5,           /* Armv8.4: PMMIR */
	VPMU_ARM_V3P5 = 6,           /* Armv8.5: 64-bit event counters, PMCR.LP */
};

#define VPMU_ARM_CYCLE 31u       /* index of the cycle counter */
#define VPMU_ARM_EVENTS_MAX 31u  /* event counters 0..30 */

/* The guest's PMU, as its registers describe it. */
struct vpmu_arm_model {
	uint32_t size;               /* sizeof(struct vpmu_arm_model) */
	enum vpmu_arm_version version;
	uint32_t counters;           /* PMCR.N, 0..31 */
	uint32_t id;                 /* PMCR[31:16]: IMP and IDCODE */
	uint64_t ceid[2];            /* PMCEID0_EL0, PMCEID1_EL0 of the hardware; policy is applied on top */
	uint64_t mmir;               /* PMMIR_EL1, from PMUv3p4 */
	/*
	 * Events that PMCEID does not speak of do not exist. For guests that move between different PMUs: there
	 * the numbers that are the implementation's to give mean something else on each.
	 */
	bool listed_only;
};

/*
 * vpmu_arm_model_of() - the model that shows a guest the machine's own PMU: its counters, events and
 * identification, up to PMUv3p5. Events that count nothing without PMMIR.SLOTS are left out when it is 0.
 * returns: 0; VPMU_ERR_UNSUPPORTED: the machine has no PMUv3.
 * Context: any, after the CPUs' vpmu_cpu_init().
 */
VPMU_API int vpmu_arm_model_of(const struct vpmu_machine *machine, struct vpmu_arm_model *model);

/*
 * vpmu_arm_vm_init() - a VM with the PMU (model), which must outlive it.
 * returns: 0; VPMU_ERR_SIZE: a size member is wrong; VPMU_ERR_PARAM: version or counters out of range,
 * unknown mode or switch, or a malformed policy; VPMU_ERR_UNSUPPORTED: not emulated, and the machine has
 * fewer counters, or an older PMU; or passed through, with a policy, another PMU than the machine's, or selectors
 * that count other threads; VPMU_ERR_BUSY, VPMU_ERR_WATCHDOG: a host event, another VM, or the host's watchdog
 * is in the way; VPMU_ERR_LIMIT: too many VMs (vpmu/host.h). Context: [init], after the CPUs' vpmu_cpu_init().
 */
VPMU_API int vpmu_arm_vm_init(struct vpmu_vm *vm, struct vpmu_machine *machine,
			      const struct vpmu_arm_model *model,
			      const struct vpmu_vm_config *config);

/*
 * A system register by its encoding, laid out as in ESR_ELx.ISS of EC 0x18 without Rt and direction:
 * op0[21:20] op2[19:17] op1[16:14] CRn[13:10] CRm[4:1].
 */
#define VPMU_ARM_SYSREG(op0, op1, crn, crm, op2) \
	((uint32_t)(op0) << 20 | (uint32_t)(op2) << 17 | (uint32_t)(op1) << 14 | \
	 (uint32_t)(crn) << 10 | (uint32_t)(crm) << 1)
#define VPMU_ARM_SYSREG_MASK VPMU_ARM_SYSREG(3, 7, 15, 15, 7)

struct vpmu_arm_access {
	uint32_t reg;                /* VPMU_ARM_SYSREG() */
	uint8_t el;                  /* exception level of the guest: 0 or 1 */
	bool write;
	/*
	 * Count the instruction itself (vpmu_count()), under the enables it was executed with, if it is
	 * handled: one that traps does not retire, so nobody else counts it.
	 */
	bool count;
	uint64_t value;              /* in: the value written; out: the value read */
};

/*
 * vpmu_arm_access() - one trapped MRS or MSR.
 * returns: enum vpmu_outcome (>= 0); VPMU_ERR_STATE: the guest runs.
 * After VPMU_HANDLED the interrupt level may have changed: vpmu_vcpu_interrupt(), unless the vCPU's
 * counters are in the hardware, whose line then says it.
 * Context: [vcpu]; [cpu] while it is loaded. Between exit and enter.
 */
VPMU_API int vpmu_arm_access(struct vpmu_vcpu *v, struct vpmu_arm_access *access);

/*
 * vpmu_arm_dfr0() - ID_AA64DFR0_EL1 for the guest: the hardware's (host), its PMUVer replaced by the
 * model's. Context: any.
 */
VPMU_API uint64_t vpmu_arm_dfr0(const struct vpmu_vm *vm, uint64_t host);

/* ---- The register table, for documentation, tests and save lists ------------------------------- */

enum vpmu_arm_reg_access {
	VPMU_ARM_RW,
	VPMU_ARM_RO,
	VPMU_ARM_WO,
};

struct vpmu_arm_reg_info {
	const char *name;            /* "PMCR_EL0"; for a family, the stem "PMEVCNTR<n>_EL0" */
	uint32_t reg;                /* of member 0 */
	uint32_t members;            /* 1, or 31 for a family */
	enum vpmu_arm_reg_access access;
	enum vpmu_arm_version since; /* UNDEF before */
	bool offered;                /* false: later than this library's cap, always UNDEF */
	uint8_t el0_read;            /* PMUSERENR bits that let EL0 read; 0: EL1 only, 0xFF: always */
	uint8_t el0_write;
};

/*
 * vpmu_arm_reg_info() - row (row) of the table. returns: 0; VPMU_ERR_PARAM: no such row.
 * vpmu_arm_reg_member() - encoding of member (n) of a family whose member 0 is (reg). Context: any.
 */
VPMU_API int vpmu_arm_reg_info(size_t row, struct vpmu_arm_reg_info *out);
VPMU_API uint32_t vpmu_arm_reg_member(uint32_t reg, unsigned int n);

#endif
