/* SPDX-License-Identifier: MIT */
/*
 * The PC's performance counters: what stands behind struct pc_cpu_ops. One guest, several ways:
 *
 *  bare      the guest has the physical PMU (in software, hardware/model);
 *  emulated  libvpmu, its counters are events of sources/model, or on a host of sources/host; every
 *            access exits;
 *  mediated  libvpmu, its counters are the physical PMU's; what it lets run direct does not exit;
 *  partitioned, passed through, off: see enum vpmu_mode. On a host only.
 *
 * Several PCs may take turns on the CPUs of one host, and the host may count beside them. Glue only: it carries accesses, events and interrupts between the PC and whoever counts.
 */
#ifndef VPMU_PC_PMU_H
#define VPMU_PC_PMU_H

#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "pc.h"

enum pc_pmu_mode {
	PC_PMU_BARE, PC_PMU_EMULATED, PC_PMU_MEDIATED, PC_PMU_PARTITIONED, PC_PMU_PASSTHROUGH, PC_PMU_OFF,
};

struct pc_pmu;
struct pc_host;

/* ---- Physical CPUs that several PCs share ---- */

#define PC_HOST_CPUS_MAX 8u

struct pc_host_config {
	struct vpmu_x86_model model;        /* the machine's PMU */
	unsigned int cpus;                  /* 1..PC_HOST_CPUS_MAX */
	/* Instructions from an overflow to its status and interrupt. */
	unsigned int skid;
	/* An event of the host's on CPU (cpu) reached its period; NULL: nobody wants to know. */
	void (*sampled)(void *context, unsigned int cpu, const struct vpmu_host_event *event);
	void *context;
};

/* NULL: *why says which part of (config) cannot be. */
struct pc_host *pc_host_create(const struct pc_host_config *config, const char **why);
/* After all PCs of it. */
void pc_host_destroy(struct pc_host *host);
/* For host events (vpmu/host.h), while no PC is loaded on that CPU. */
struct vpmu_machine *pc_host_machine(struct pc_host *host);
struct vpmu_cpu *pc_host_cpu(struct pc_host *host, unsigned int cpu);
/* The VM and the vCPU of (pmu), for an event's scope. */
const struct vpmu_vm *pc_pmu_vm(const struct pc_pmu *pmu);
const struct vpmu_vcpu *pc_pmu_vcpu(const struct pc_pmu *pmu);
/* Instructions that the host itself has executed on (cpu), as the software CPU knows. */
uint64_t pc_host_instructions(const struct pc_host *host, unsigned int cpu);
/* Violations of a world switch's rules so far; (first): the first, or NULL. */
uint64_t pc_host_violations(const struct pc_host *host, const char **first);

/* ---- One PC ---- */

struct pc_pmu_config {
	enum pc_pmu_mode mode;
	struct pc_host *host;               /* NULL: a CPU of its own */
	struct vpmu_x86_model model;
	enum vpmu_switch_kind switch_kind;  /* mediated */
	const struct vpmu_policy *policy;   /* emulated, mediated; outlives the PMU */
	/* Of the physical PMU: instructions from an overflow to its status and interrupt. */
	unsigned int skid;
	bool caches;                        /* the engine models them: they can be counted */
};

/* NULL: *why says which part of (config) cannot be. */
struct pc_pmu *pc_pmu_create(const struct pc_pmu_config *config, const char **why);
/* For struct pc_config: its cpu and context. */
const struct pc_cpu_ops *pc_pmu_ops(const struct pc_pmu *pmu);
/* Before the PC's first run. The PMU outlives the PC. */
void pc_pmu_attach(struct pc_pmu *pmu, struct pc *pc);
/*
 * On a host: the PC's turn on (cpu) begins, before pc_run(), and ends, after it. returns: false: it cannot
 * run there.
 */
bool pc_pmu_load(struct pc_pmu *pmu, unsigned int cpu);
void pc_pmu_put(struct pc_pmu *pmu);
/* After its last one: the guest leaves the physical PMU. */
void pc_pmu_detach(struct pc_pmu *pmu);
void pc_pmu_destroy(struct pc_pmu *pmu);

/* ---- Looking, after pc_pmu_detach() ---- */

/* Why an exit was taken: enum pc_exit, and two that only the PMU causes. */
enum { PC_PMU_EXIT_OVERFLOW = PC_EXIT_INTERRUPT + 1, PC_PMU_EXITS };

struct pc_pmu_stats {
	uint64_t exits[PC_PMU_EXITS];
	uint64_t direct;              /* PMU accesses that ran without an exit */
	uint64_t pmis, pmis_masked;   /* delivered; arrived while LVTPC was masked */
	uint64_t retired;             /* not bare: instructions that ran direct */
	uint64_t source_calls;        /* emulated */
	uint64_t hardware_accesses;   /* with a CPU of its own: PMU registers touched by the host */
	uint64_t violations;          /* mediated: of a world switch's rules, found by the model */
	const char *violation;        /* the first of them */
	struct vpmu_vcpu_stats vcpu;  /* not bare */
};

const char *pc_pmu_exit_name(unsigned int exit);
void pc_pmu_stats(const struct pc_pmu *pmu, struct pc_pmu_stats *out);
/* What counter (i) does. False: there is none, or nobody knows (bare). */
bool pc_pmu_counter(struct pc_pmu *pmu, unsigned int i, struct vpmu_counter_status *out);

#endif
