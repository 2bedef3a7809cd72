/* SPDX-License-Identifier: MIT */
/* pmu.h - the monitor's only contact with the PMU: libvpmu, called at the right moments. */
#ifndef VPMU_EL2_PMU_H
#define VPMU_EL2_PMU_H

#include <stdbool.h>
#include <stdint.h>

#include <vpmu/arm.h>
#include <vpmu/host.h>

#include <armv8.h>

#include "host_source.h"

struct cpu;
struct regs;

enum pmu_outcome { PMU_NOT_MINE, PMU_HANDLED, PMU_UNDEF, PMU_EL1_TRAP };

/* What an emulated guest CPU counts on. */
struct pmu_backing {
	struct vpmu_emulated emulated;
	struct vpmu_host_source source;
};

/* One CPU: its PMU, and the PMU of the vCPU that is on it. */
struct pmu {
	bool present;                /* that vCPU has one */
	bool plain;                  /* and the host does not profile */
	struct vpmu_vcpu *vcpu;
	struct pmu_backing *backing; /* NULL: it is not emulated */
	bool line_stale;             /* emulated: its interrupt line may have changed */
	struct vpmu_cpu cpu;
	struct vpmu_armv8 hw;
	const char *unpartitioned;   /* why parts of it are kept by traps; NULL: MDCR_EL2.HPMN does it */
	uint64_t late;               /* PPI 23 that no overflow of the guest explains */
};

/* Once, before any CPU enters the guest. */
void pmu_init(void);
/* The CPU is about to enter its guest for the first time since it was on / leaves it for good. */
void pmu_cpu_init(struct cpu *c);
void pmu_cpu_off(struct cpu *c);
/* A call that only a bug of the monitor's can make fail. */
_Noreturn void pmu_failed(int error);

/* One guest, its PMU emulated: tells it the level of its interrupt line. */
void pmu_line(struct pmu *pmu);

/* The same where the host profiles, or there is no PMU (profile.c). */
void profile_exit(struct pmu *pmu);
void profile_enter(struct pmu *pmu);

/* Each exit, each entry: on the shortest path, hence inline. */
static inline void pmu_exit(struct pmu *pmu)
{
	int error;

	if (__builtin_expect(!pmu->plain, 0)) {
		profile_exit(pmu);
		return;
	}
	error = vpmu_vcpu_exit(pmu->vcpu, 0);
	if (__builtin_expect(error < 0, 0))
		pmu_failed(error);
}

static inline void pmu_enter(struct pmu *pmu)
{
	int error;

	if (__builtin_expect(!pmu->plain, 0)) {
		profile_enter(pmu);
		return;
	}
	if (__builtin_expect(pmu->line_stale, 0))
		pmu_line(pmu);
	/* Nothing comes up while interrupts are masked, as they are: going on at once is enough. */
	do {
		error = vpmu_vcpu_enter(pmu->vcpu, 0);
	} while (__builtin_expect(error == VPMU_AGAIN, 0));
	if (__builtin_expect(error < 0, 0))
		pmu_failed(error);
}

/* One trapped MRS or MSR. */
enum pmu_outcome pmu_trap(struct cpu *c, struct regs *r, uint64_t esr);
/* PPI 23 was taken. returns: whether it is for the guest, who may not be the only one. */
bool pmu_irq(struct cpu *c);
/* After that, or NULL: a host event that sampled, and is no emulated guest's. */
struct vpmu_host_event *pmu_sample(struct cpu *c);
/* The level of the guest's overflow interrupt line, wherever its PMU is. */
bool pmu_interrupt(struct cpu *c);
/* An instruction of the guest is skipped: the monitor has done it. It counts once. */
enum skipped { SKIPPED_SYSREG, SKIPPED_SMC, SKIPPED_WFI, SKIPPED_MEMORY, SKIPPED_KINDS };
void pmu_skipped(struct cpu *c, enum skipped kind);
/* ID_AA64DFR0_EL1 for the guest. */
uint64_t pmu_dfr0(struct cpu *c, uint64_t host);
void pmu_stats(struct cpu *c);
/* How guests are kept to their part of the CPU's PMU. */
void pmu_print_partition(struct cpu *c);
/* (name): whose, "cpu0". */
void pmu_print(const char *name, struct vpmu_vcpu *v, uint64_t late);

/* ---- Several guests: tenant_pmu.c does with these what is above for one ---- */

struct vm_options;

/* What the machine has. returns: NULL: no PMU. */
struct vpmu_machine *pmu_machine_init(void);
/* The number of event counters of a guest's PMU, where (there) are that many. */
uint32_t pmu_choose_counters(const struct vm_options *o, uint32_t there);
/* A guest's, for CPUs of (on), by its options. (model), (policy) outlive it. */
void pmu_vm_init(struct vpmu_vm *vm, struct vpmu_machine *on, struct vpmu_arm_model *model,
		 const struct vpmu_policy *policy, const struct vm_options *o);
/* A guest CPU's; (backing) is used if the VM is emulated. */
void pmu_vcpu_init(struct vpmu_vcpu *v, struct vpmu_vm *vm, struct pmu_backing *backing);
/* The guest CPU whose PMU is (vcpu) begins to run here, or ends: present, vcpu and backing are set. */
void pmu_load(struct pmu *pmu);
void pmu_put(struct pmu *pmu);
/* This CPU's own. */
void pmu_hw_init(struct cpu *c);
/* What is loaded now has a PMU, or not. */
void pmu_set_present(struct pmu *pmu, bool present);
/* The machine, for events of the host; NULL: no PMU. */
struct vpmu_machine *pmu_the_machine(void);
/* The event counters that no partitioned guest has. */
uint64_t pmu_host_counters(void);

#endif
