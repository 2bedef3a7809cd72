/* SPDX-License-Identifier: MIT */
/*
 * sources/time - a counting source for hosts without hardware counters: core cycles and reference
 * cycles are guest run time at a fixed frequency, and overflow by a timer. It supports nothing
 * else.
 *
 * The timer runs in real time, of which the guest gets a part: it is never late but for what
 * follows, and early it is set again for what is left. While the guest hardly runs at all (HLT
 * inside the kernel) that would wake it for nothing at every period; after a few such times the
 * timer waits longer, and the first overflow after the halt may be VPMU_TIME_LATE nanoseconds
 * late.
 *
 * A clock does not see rings: an event of one ring only is not supported, unless the embedder
 * prefers too much to nothing (any_ring).
 *
 * Reads make no system call if the embedder's clock makes none. No allocation.
 */
#ifndef VPMU_TIME_SOURCE_H
#define VPMU_TIME_SOURCE_H

#include <vpmu/vpmu.h>

#include <signal.h>
#include <sys/types.h>
#include <time.h>

#define VPMU_TIME_LATE 4000000u

/*
 * The timers: replaceable, so that a test can refuse any call at any time. Each returns 0 or
 * -errno.
 */
struct vpmu_time_system {
	/* A timer that sends (signal) with (slot) as its value to thread (tid). */
	int (*create)(struct vpmu_time_system *sys, int signal, pid_t tid, unsigned int slot,
		      timer_t *timer);
	/* It expires once, in (nanoseconds); 0: never. */
	int (*set)(struct vpmu_time_system *sys, timer_t timer, uint64_t nanoseconds);
	void (*destroy)(struct vpmu_time_system *sys, timer_t timer);
};

/* The kernel's. */
extern const struct vpmu_time_system vpmu_time_linux;

struct vpmu_time_config {
	struct vpmu_time_system *system;     /* outlives the source */
	/*
	 * Nanoseconds of guest execution so far, never less than before. It stands still between exit
	 * and enter: an overflow that came there would find nobody who asks for interrupts again.
	 * Context: [vcpu].
	 */
	uint64_t (*clock)(void *context);
	/* An overflow was reported and the guest runs: make it exit. Signal-safe; may be NULL. */
	void (*kick)(void *context);
	void *context;               /* of both */
	uint64_t core_khz;           /* 0: core cycles are not supported */
	uint64_t reference_khz;      /* likewise: the TSC's */
	pid_t tid;                   /* the vCPU's thread; 0: the caller's */
	int signal;                  /* see vpmu_time_signal_init(); 0: no hints */
	bool any_ring;
};

struct vpmu_time_event {
	bool exists;
	bool counts;
	uint64_t khz;
	uint64_t nanoseconds;        /* that it has counted, but for those since: */
	uint64_t since;              /* clock when it was started */
	uint64_t due;                /* count of the next hint; 0: none */
};

/* A slot's timer, made when it is first needed, and kept. */
struct vpmu_time_timer {
	timer_t timer;
	bool exists;
	_Atomic bool is_set;         /* its signal is about something */
	_Atomic bool fired;
	uint8_t idle;                /* so many times it fired and the guest had hardly run */
	uint64_t clock;              /* when it was set, */
	uint64_t nanoseconds;        /* for so many */
};

struct vpmu_time_source {
	struct vpmu_source source;
	struct vpmu_vcpu *v;
	struct vpmu_time_config config;
	struct vpmu_time_event event[VPMU_COUNTER_MAX];
	struct vpmu_time_timer timer[VPMU_COUNTER_MAX];
};

/* Context: [init]. */
void vpmu_time_source_init(struct vpmu_time_source *s, struct vpmu_vcpu *v,
			   const struct vpmu_time_config *config);

/* Ends the timers. Context: [vcpu], the vCPU is not used any more. */
void vpmu_time_source_fini(struct vpmu_time_source *s);

/*
 * vpmu_time_signal_init() - installs the handler of (signal), once per process. returns: 0 or
 * -errno. Context: [init].
 */
int vpmu_time_signal_init(int signal);

/* The calling thread's signals are about (s) from now on; NULL: about nothing. Context: [vcpu]. */
void vpmu_time_signal_target(struct vpmu_time_source *s);

/* What the handler does, for embedders with one of their own. Context: [nmi]. */
void vpmu_time_source_overflow(struct vpmu_time_source *s, unsigned int slot);

/* ---- Arithmetic, which saturates (M74) ---- */

/* Cycles at (khz) in (nanoseconds), rounded down; and nanoseconds until (cycles) are complete. */
uint64_t vpmu_time_cycles(uint64_t nanoseconds, uint64_t khz);
uint64_t vpmu_time_nanoseconds(uint64_t cycles, uint64_t khz);

#endif
