/* SPDX-License-Identifier: MIT */
/*
 * guest.h - a guest that profiles itself as Linux does on an Intel CPU of architectural version 4:
 * `perf record` of some events at 1,000 samples a second each, multiplexed if they are more than
 * its counters. Deterministic: a trace of work, PMU accesses and other exits.
 *
 * It has a register file of its own, which says what each access must show and when a PMI must
 * come: a machine that shows it anything else ends the program.
 */
#ifndef VPMU_BENCH_GUEST_H
#define VPMU_BENCH_GUEST_H

#include "machine.h"

struct load {
	const char *name;
	unsigned int events;
	unsigned int counters;       /* general-purpose ones that they share */
	/* Frequency mode: at each tick Linux stops every event, looks, and starts it again. */
	bool adjusts;
};

struct profile {
	uint64_t samples;            /* after the warm-up, like what follows */
	uint64_t rotations;
	uint64_t seconds;
	struct tally all;
	struct tally in_samples;     /* from the PMI's exit to the return from the handler */
	struct tally in_rotations;   /* between the timer's interrupt and the return from it */
	/* The whole run. */
	uint64_t counts[EVENTS];
	uint64_t digest;             /* of every sample: event, time, value */
};

#define CYCLES_PER_SECOND UINT64_C(2500000000)

/* The guest (load) on (m), a second to warm up and (seconds) more. */
void guest_run(struct machine *m, const struct load *load, unsigned int seconds,
	       struct profile *out);

#endif
