/* SPDX-License-Identifier: MIT */
/* The KVM host with guests of a few instructions, its exits taken here, its system calls counted. */
#ifndef VPMU_BENCH_KVM_H
#define VPMU_BENCH_KVM_H

#include "../../hosts/kvm/internal.h"

enum program {
	PROGRAM_READ,                /* reads a counter, for ever, while nothing counts */
	PROGRAM_WRITE,               /* writes one */
	PROGRAM_READ_COUNTING,       /* reads one that counts */
	PROGRAM_SAMPLE,              /* takes interrupts as Linux does */
	PROGRAM_SWITCH,              /* switches two profiled tasks, and says so at PORT_SWITCHED */
};

#define PORT_SWITCHED 0x99u

struct tally {
	uint64_t calls;              /* system calls of this process, exits included */
	uint64_t exits;              /* KVM_RUN */
	uint64_t source;             /* calls of the counting source's: timers, perf events */
	uint64_t creates;            /* of them, that create or end something */
	uint64_t switches;
};

/* guest.c: into its memory, at (*s) its first instruction. False: it does not fit. */
bool guest_load(struct vmm *m, enum program program, struct pc_state *s, uint64_t *entry);

/* machine.c: NULL: *why. (software): over the kernel's software perf events, not time. */
struct vmm *machine_new(enum program program, bool software, const char **why);
void machine_free(struct vmm *m);
/* One exit, served as hosts/kvm does. False: the guest is at an end that is not expected. */
bool machine_step(struct vmm *m);
/* Until the host has settled down: 4 seconds at most, while it looks for RDPMC. */
bool machine_settle(struct vmm *m);
/* One exit for an MSR, answered with 0 by nobody. */
bool machine_bare_step(struct vmm *m);
/* Software events as this host's PMU. False: the kernel gives none to this user. */
bool machine_software(struct vpmu_perf_host *host, struct vpmu_perf_system *sys);

/* calls.c */
extern struct tally tally;
void calls_count(struct vpmu_perf_system *perf, struct vpmu_time_system *time);

#endif
