/* SPDX-License-Identifier: MIT */
/*
 * vpmu/host.h - the host's own profiling beside guests: events on the counters of one physical CPU that no
 * guest has.
 *
 * A host event counts where its scope and exclusions say, or is refused when it is created; where it
 * could not count all the time, `running` is less than `enabled`. While a CPU has host events, guests on
 * it keep their counters direct, but what they share with the host is intercepted: on x86 GLOBAL_CTRL,
 * GLOBAL_STATUS and RDPMC, on Arm everything (RULES B), unless the guest has fewer counters than there are and the
 * hardware keeps it to them (caps.partitions): then nothing more is intercepted than without the events.
 *
 * BUSY rules. A mediated VM owns whatever counter it asks for while it runs, so an event that would
 * have to count inside it cannot be kept: while a mediated VM lives, such events are refused, and while
 * such an event lives, creating a mediated VM is refused. Both are one atomic word: there is no window.
 * Partitioned VMs own a fixed part, and events of any kind live beside them. A VM that is passed through
 * is like a mediated one, and besides the only one with counters of the hardware: it is refused while there
 * is another, mediated or partitioned, and they while it lives.
 *
 * The host's watchdog is such an event, and the one that nobody started by hand: what it keeps from being
 * made, and what keeps it from being made, fails with VPMU_ERR_WATCHDOG. Then either switch it off, or
 * partition the VMs: the watchdog keeps a counter of its own, and fires whatever a guest does.
 *
 * An embedder whose kernel has its own PMU driver uses none of this, and calls vpmu_cpu_reclaim().
 */
#ifndef VPMU_HOST_H
#define VPMU_HOST_H

#include <vpmu/vpmu.h>

enum vpmu_host_scope {
	VPMU_SCOPE_CPU,              /* whatever runs on the CPU */
	VPMU_SCOPE_VM,               /* one VM's vCPUs, while they run on it */
	VPMU_SCOPE_VCPU,
	VPMU_SCOPE_HYPERVISOR,       /* between exit and enter, and without a guest: the host itself */
};

struct vpmu_host_event_config {
	uint32_t size;               /* sizeof(struct vpmu_host_event_config) */
	enum vpmu_host_scope scope;
	const struct vpmu_vm *vm;    /* VPMU_SCOPE_VM */
	const struct vpmu_vcpu *vcpu; /* VPMU_SCOPE_VCPU */
	uint64_t event;              /* vendor encoding; x86: event select and unit mask */
	bool user;                   /* x86: ring 3, of guest and host. Arm: EL0 of guests */
	bool kernel;                 /* x86: ring 0. Arm: EL1 of guests; EL2 always counts as the host */
	bool exclude_guest;
	bool exclude_host;
	bool pinned;                 /* before events that are not, and never rotated out */
	bool watchdog;               /* says so in the error of what it is in the way of */
	/* Events between two samples; 0: counting only. At most 2^31. One taken late does not move the next. */
	uint64_t period;
};

/* One event. Caller-allocated; does not move while it lives. */
struct vpmu_host_event {
	struct vpmu_host_event_config config;
	struct vpmu_machine *machine;
	struct vpmu_cpu *cpu;
	struct vpmu_host_event *next;
	bool sampled;                /* overflowed, not yet handed out */
	bool placed;                 /* has counter (counter) */
	bool on;                     /* which is started */
	uint8_t counter;
	uint64_t total;              /* counted until (base) */
	uint64_t base;               /* hardware value that total includes */
	uint64_t left;               /* to the next sample */
	uint64_t enabled_time;       /* until (since) */
	uint64_t running_time;
	uint64_t since;
	bool wanted;                 /* should count, since then: what it counts is there */
};

/*
 * vpmu_host_event_create() - an event on (cpu), counting from now on.
 * returns: 0; VPMU_ERR_SIZE; VPMU_ERR_PARAM: nothing it could count (no ring, both excluded, a scope without
 * its object), or a period over 2^31; VPMU_ERR_UNSUPPORTED: the backend has no host events; VPMU_ERR_BUSY: it would
 * count inside guests, and a mediated VM lives: exclude guests, or partition the VM; or pinned, and the
 * pinned events have all counters; VPMU_ERR_WATCHDOG: the same of a watchdog beside a VM; VPMU_ERR_LIMIT:
 * over 65534 such events; VPMU_ERR_STATE: a guest runs on the CPU.
 * Context: [cpu].
 */
VPMU_API int vpmu_host_event_create(struct vpmu_host_event *e, struct vpmu_machine *machine,
				    struct vpmu_cpu *cpu,
				    const struct vpmu_host_event_config *config);

/*
 * vpmu_host_event_destroy() - returns: 0; VPMU_ERR_STATE: a guest runs on its CPU. Context: [cpu] of its CPU.
 */
VPMU_API int vpmu_host_event_destroy(struct vpmu_host_event *e);

/*
 * vpmu_host_event_read() - its count, and in nanoseconds how long it should have counted and did, if the
 * backend can tell the time (else 0). returns: 0; VPMU_ERR_STATE: a guest runs on its CPU.
 * Context: [cpu] of its CPU.
 */
VPMU_API int vpmu_host_event_read(struct vpmu_host_event *e, struct vpmu_count *out);

/*
 * vpmu_host_event_period() - a sampling event's next sample is due (period) events from now, and further ones that
 * far apart. A sample that is due already comes, too. At most 4 accesses.
 * returns: 0; VPMU_ERR_PARAM: (period) is 0 or over 2^31, or the event only counts; VPMU_ERR_STATE: a guest runs on
 * its CPU. Context: [cpu] of its CPU.
 */
VPMU_API int vpmu_host_event_period(struct vpmu_host_event *e, uint64_t period);

/*
 * vpmu_cpu_rotate() - events that wait for a counter take their turn; call it now and then (a tick).
 * returns: 0; VPMU_ERR_STATE: a guest runs. Context: [cpu].
 */
VPMU_API int vpmu_cpu_rotate(struct vpmu_cpu *cpu);

/*
 * vpmu_cpu_sample() - an event that reached its period, after vpmu_cpu_pmi() said VPMU_PMI_HOST or VPMU_PMI_BOTH;
 * NULL: no more. It is armed again. What was executing is the embedder's to know. Context: [cpu].
 */
VPMU_API struct vpmu_host_event *vpmu_cpu_sample(struct vpmu_cpu *cpu);

/*
 * vpmu_vm_end() - the VM ends; no vCPU of it is loaded. Gives back what vpmu_*_vm_init() claimed of the machine.
 * Idempotent. Context: [machine].
 */
VPMU_API void vpmu_vm_end(struct vpmu_vm *vm);

#endif
