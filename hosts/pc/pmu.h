/* SPDX-License-Identifier: MIT */
/*
 * The PC's performance counters: what stands behind struct pc_cpu_ops. One guest, three ways:
 *
 *  bare      the guest has the physical PMU (in software, hardware/model);
 *  emulated  libvpmu, its counters are events of sources/model; every access exits;
 *  mediated  libvpmu, its counters are the physical PMU's; what it lets run direct does not exit.
 *
 * Glue only: it carries accesses, events and interrupts between the PC and whoever counts.
 */
#ifndef VPMU_PC_PMU_H
#define VPMU_PC_PMU_H

#include <vpmu/x86.h>

#include "pc.h"

enum pc_pmu_mode { PC_PMU_BARE, PC_PMU_EMULATED, PC_PMU_MEDIATED };

struct pc_pmu_config {
	enum pc_pmu_mode mode;
	struct vpmu_x86_model model;
	enum vpmu_switch_kind switch_kind;  /* mediated */
	const struct vpmu_policy *policy;   /* emulated, mediated; outlives the PMU */
	/* Of the physical PMU: instructions from an overflow to its status and interrupt. */
	unsigned int skid;
	bool caches;                        /* the engine models them: they can be counted */
};

struct pc_pmu;

/* NULL: *why says which part of (config) cannot be. */
struct pc_pmu *pc_pmu_create(const struct pc_pmu_config *config, const char **why);
/* For struct pc_config: its cpu and context. */
const struct pc_cpu_ops *pc_pmu_ops(const struct pc_pmu *pmu);
/* Before the PC's first run. The PMU outlives the PC. */
void pc_pmu_attach(struct pc_pmu *pmu, struct pc *pc);
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
	uint64_t source_calls;        /* emulated */
	uint64_t hardware_accesses;   /* mediated: PMU registers touched by the host */
	uint64_t violations;          /* mediated: of a world switch's rules, found by the model */
	const char *violation;        /* the first of them */
	struct vpmu_vcpu_stats vcpu;  /* not bare */
};

const char *pc_pmu_exit_name(unsigned int exit);
void pc_pmu_stats(const struct pc_pmu *pmu, struct pc_pmu_stats *out);
/* What counter (i) does. False: there is none, or nobody knows (bare). */
bool pc_pmu_counter(struct pc_pmu *pmu, unsigned int i, struct vpmu_counter_status *out);

#endif
