/* SPDX-License-Identifier: MIT */
/* What the files of the PC's performance counters share. */
#ifndef VPMU_PC_PMU_INTERNAL_H
#define VPMU_PC_PMU_INTERNAL_H

#include "host_source.h"
#include "model_source.h"
#include "pmu.h"
#include "x86_cpu.h"

struct pc_host_cpu {
	struct pc_host *host;
	struct x86_cpu x86;
	struct vpmu_cpu cpu;
	struct pc_pmu *loaded;
};

struct pc_host {
	struct pc_host_config config;
	struct vpmu_machine machine;
	struct pc_host_cpu cpu[PC_HOST_CPUS_MAX];
};

struct pc_pmu {
	struct pc_pmu_config config;
	const struct pc_cpu_ops *ops;
	struct pc *pc;
	struct pc_pmu_stats stats;

	struct x86_pmu bare;         /* bare: the machine's PMU, and the guest's */

	/* All but bare. */
	struct vpmu_machine machine; /* without a host */
	struct vpmu_vm vm;
	struct vpmu_vcpu vcpu;
	bool exited;                 /* the host executes */
	bool ran;                    /* the guest has executed since the last entry */

	struct vpmu_emulated emulated;
	struct vpmu_model_source source;

	/* On physical CPUs: config.host, or its own. */
	struct pc_host *host, *own;
	struct pc_host_cpu *on;      /* where it is loaded, or NULL */
	struct vpmu_host_source events;
};

/* One per mode: NULL, or why it cannot be. */
const char *pmu_bare_init(struct pc_pmu *p);
const char *pmu_emulated_init(struct pc_pmu *p);
const char *pmu_mediated_init(struct pc_pmu *p);

/* pmu_host.c: physical interrupts that have come in are the PMU's; whose they are is found out. */
void pmu_host_take(struct pc_host_cpu *on);

/* pmu.c */
void pmu_physical_config(const struct vpmu_x86_model *model, struct x86_pmu_config *out);
struct x86_pmu_events pmu_physical_events(const struct pc_events *e);

/*
 * pmu_guest.c: the guest's side of libvpmu, in both its modes. While the guest is out. (context) is a
 * struct pc_pmu, as in struct pc_cpu_ops.
 */
const char *pmu_guest_init(struct pc_pmu *p, enum vpmu_mode mode, struct vpmu_machine *machine,
			   struct vpmu_source *source);
enum pc_answer pmu_guest_rdmsr(void *context, uint32_t index, uint64_t *value);
enum pc_answer pmu_guest_wrmsr(void *context, uint32_t index, uint64_t value);
enum pc_answer pmu_guest_rdpmc(void *context, uint32_t index, unsigned int cpl, bool pce,
	uint64_t *value);
void pmu_guest_cpuid(void *context, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
void pmu_guest_emulated(void *context, bool user, const struct pc_events *events);
void pmu_guest_lvtpc(void *context, uint32_t value);
/* Delivers what vpmu_vcpu_pmi() says is to be delivered. */
void pmu_guest_pmi(struct pc_pmu *p);
/* Is this exit to be taken? Counts it. An interrupt may be part of the entry just made. */
bool pmu_guest_takes(struct pc_pmu *p, unsigned int why);

#endif
