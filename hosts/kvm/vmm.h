/* SPDX-License-Identifier: MIT */
/*
 * A small virtual machine monitor on Linux KVM: the memory, the ports and the loader of hosts/pc, the
 * interrupt controllers and timers of the kernel, a thread for each CPU, and libvpmu as the guest's PMU,
 * which KVM itself then does not have to offer. It shows how to embed the library; it is no product.
 */
#ifndef VPMU_KVM_VMM_H
#define VPMU_KVM_VMM_H

#include <vpmu/x86.h>

#define VMM_CPUS 8u

struct vmm;

enum vmm_source {
	VMM_SOURCE_AUTO,             /* perf where it counts anything, else time */
	VMM_SOURCE_PERF,
	VMM_SOURCE_TIME,
};

struct vmm_config {
	uint64_t ram;                /* as in struct pc_config */
	unsigned int cpus;           /* 1 to VMM_CPUS */
	struct vpmu_x86_model model; /* what the guest is to see at most; its vendor is the CPU's */
	const struct vpmu_policy *policy;    /* or NULL; outlives the machine */
	enum vmm_source source;
	bool no_patch;               /* never change guest text */
	void (*console)(void *context, uint8_t byte);
	/* A sentence for the user. Any thread, one at a time. */
	void (*say)(void *context, const char *text);
	void *context;
};

struct vmm_guest {
	const void *image;           /* Linux bzImage, or what pc_load() takes */
	size_t size;
	const void *initrd;          /* or NULL */
	size_t initrd_size;
	const char *command_line;
};

enum vmm_result {
	VMM_EXITED,                  /* isa-debug-exit: vmm_exit_code() */
	VMM_RESET,                   /* the guest reset the machine */
	VMM_SHUTDOWN,                /* triple fault */
	VMM_STOPPED,                 /* vmm_stop() */
	VMM_BROKEN,                  /* vmm_error() */
};

/* NULL: *why is a sentence. The guest's PMU is what vmm_pmu() says then. */
struct vmm *vmm_create(const struct vmm_config *config, const char **why);
void vmm_destroy(struct vmm *m);

/* 0, or -1 with a sentence in vmm_error(). */
int vmm_load(struct vmm *m, const struct vmm_guest *guest);

/* Runs until one of the results; (input) is a file that COM1 reads, or -1. */
enum vmm_result vmm_run(struct vmm *m, int input);
/* Ends a vmm_run(). Any thread, signal-safe. */
void vmm_stop(struct vmm *m);

/* What was written, as it was. */
int vmm_exit_code(const struct vmm *m);
const char *vmm_error(const struct vmm *m);

struct vmm_stats {
	uint64_t exits, msr_exits, pmis, pmis_masked, rdpmcs, sites, source_calls;
	uint64_t pauses;             /* times all CPUs were stopped to change guest text */
	struct vpmu_vcpu_stats vcpu; /* sums of enters, trapped accesses, faults */
};

struct vmm_pmu_info {
	struct vpmu_x86_model model; /* version 0: none */
	const char *why;             /* there is none, or NULL */
	const char *source;
	const char *rdpmc;           /* how RDPMC is served */
};

void vmm_pmu(const struct vmm *m, struct vmm_pmu_info *out);
/* After vmm_run(). */
void vmm_stats(const struct vmm *m, struct vmm_stats *out);
bool vmm_counter(struct vmm *m, unsigned int cpu, unsigned int i, struct vpmu_counter_status *out);

#endif
