/* SPDX-License-Identifier: MIT */
/*
 * sources/host - a counting source whose events are host events (vpmu/host.h): an emulated guest counts
 * on counters of the hardware that nobody else has at the moment.
 *
 * Each event counts one vCPU, in the rings that it was asked for, pinned. It lives on the CPU where the
 * vCPU is loaded; the source keeps its count across CPUs:
 *
 *   vpmu_vcpu_load ─► vpmu_host_source_load ─► enter, exit ... ─► vpmu_host_source_put ─► vpmu_vcpu_put
 *
 * A counter that no event of the hardware can be had for starves, and says so. No allocation, no globals.
 */
#ifndef VPMU_HOST_SOURCE_H
#define VPMU_HOST_SOURCE_H

#include <vpmu/host.h>

struct vpmu_host_source_event {
	struct vpmu_host_event living;   /* if it is in vpmu_host_source.living */
	struct vpmu_event event;
	struct vpmu_count before;        /* counted by those that lived before */
	uint64_t due;                    /* count at which a hint is due */
};

struct vpmu_host_source {
	struct vpmu_source source;
	struct vpmu_machine *machine;
	struct vpmu_vcpu *v;
	struct vpmu_cpu *cpu;            /* where (v) is loaded, or NULL */
	uint64_t event_bits;
	/* Slots. */
	uint64_t counting;
	uint64_t living;
	struct vpmu_host_source_event slot[VPMU_COUNTER_MAX];
};

/*
 * vpmu_host_source_init() - the source of (v), not attached yet. (event_bits): what of a selector the
 * machine's host events understand; others are not supported. Arm: 0xFFFF. Context: [init].
 */
void vpmu_host_source_init(struct vpmu_host_source *s, struct vpmu_machine *machine,
			   struct vpmu_vcpu *v, uint64_t event_bits);

/*
 * vpmu_host_source_load() - (v) was loaded on (cpu): its events count there. One that finds no counter waits
 * for one. Context: [cpu].
 */
void vpmu_host_source_load(struct vpmu_host_source *s, struct vpmu_cpu *cpu);

/*
 * vpmu_host_source_put() - (v) is going to be put: no event of it is left on the CPU. Idempotent.
 * Context: [cpu].
 */
void vpmu_host_source_put(struct vpmu_host_source *s);

/*
 * vpmu_host_source_sample() - is (e), which vpmu_cpu_sample() has handed out, an event of this source's? Then
 * its overflow is reported, if it is one. Context: [cpu], as vpmu_cpu_sample().
 */
bool vpmu_host_source_sample(struct vpmu_host_source *s, const struct vpmu_host_event *e);

#endif
