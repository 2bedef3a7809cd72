/* SPDX-License-Identifier: MIT */
/*
 * sources/perf - a counting source over the perf events of a Linux host: one pinned event of the
 * vCPU's thread for each slot, which counts guest execution only; on a hybrid host one for each
 * kind of core.
 *
 * Reads make no system call where the kernel shows its counters to user mode; `cheap_reads` then.
 * An event that the kernel cannot place counts nothing; reads report that (running < enabled) and
 * try to place it again.
 *
 * Overflows come as a signal to the thread, which ends KVM_RUN. On a hybrid host (RULES D2) no
 * overflow is more than VPMU_PERF_LATE events late for each further kind of core, wherever the
 * thread moves meanwhile, at the price of hints that come early; an embedder that pins the thread
 * to one kind of core says so (`only`) and pays nothing.
 *
 * No allocation. Must be used by the vCPU's thread, which user-mode reads and signals belong to.
 */
#ifndef VPMU_PERF_SOURCE_H
#define VPMU_PERF_SOURCE_H

#include "perf_host.h"

#include <vpmu/vpmu.h>

#include <signal.h>

#define VPMU_PERF_LATE 4096u

/* Raw selectors that the kernel has refused: not tried again. */
#define VPMU_PERF_REFUSED 16u

struct vpmu_perf_slot {
	_Atomic int fd[VPMU_PERF_PMUS];  /* -1: none */
	void *page[VPMU_PERF_PMUS];  /* or NULL */
	bool exists;
	bool counts;
	bool can_overflow;
	bool notifies;
	uint64_t value;              /* as last read; never less */
	uint64_t enabled;
	uint64_t lost;               /* of enabled, what it did not count, */
	uint64_t forgiven;           /* but for this */
};

struct vpmu_perf_config {
	const struct vpmu_perf_host *host;   /* probed; outlives the source */
	struct vpmu_perf_system *system;     /* likewise */
	pid_t tid;                   /* the vCPU's thread; 0: the caller's */
	/* What raw selectors are in: the guest's vendor. */
	enum vpmu_perf_encoding encoding;
	int signal;                  /* real-time, see vpmu_perf_signal_init(); 0: no hints */
	/* An overflow was reported and the guest runs: make it exit. Signal-safe; may be NULL. */
	void (*kick)(void *context);
	void *context;
	/* The thread is pinned to the cores of this PMU of the host; -1: it is not. */
	int only;
	bool count_host;             /* tests without a guest: count the thread itself, too */
};

struct vpmu_perf_source {
	struct vpmu_source source;
	struct vpmu_vcpu *v;
	struct vpmu_perf_config config;
	unsigned int first;          /* PMUs of the host in use */
	unsigned int pmus;
	uint64_t system_calls;       /* so far */
	enum vpmu_perf_error error;  /* of the last operation that failed */
	unsigned int refusals;
	uint64_t refused[VPMU_PERF_REFUSED];
	struct vpmu_perf_slot slot[VPMU_COUNTER_MAX];
};

/*
 * vpmu_perf_source_init() - (s) counts for (v). returns: VPMU_PERF_OK, or why the host gives no
 * events at all; (s) then supports none. Context: [init].
 */
enum vpmu_perf_error vpmu_perf_source_init(struct vpmu_perf_source *s, struct vpmu_vcpu *v,
					   const struct vpmu_perf_config *config);

/* Closes what is open. Context: [vcpu], the vCPU is not used any more. */
void vpmu_perf_source_fini(struct vpmu_perf_source *s);

/*
 * vpmu_perf_signal_init() - installs the handler of (signal), once per process, and of SIGIO,
 * which the kernel sends in its place when too many are pending, unless that has a handler.
 * returns: 0 or -errno. Context: [init].
 */
int vpmu_perf_signal_init(int signal);

/* The calling thread's signals are about (s) from now on; NULL: about nothing. Context: [vcpu]. */
void vpmu_perf_signal_target(struct vpmu_perf_source *s);

/*
 * What the handler does, for embedders with one of their own: file (fd) has overflowed; -1: any
 * may have. Context: [nmi].
 */
void vpmu_perf_source_overflow(struct vpmu_perf_source *s, int fd);

#endif
