/* SPDX-License-Identifier: MIT */
/*
 * vpmu/source.h - the seam to a counting source: what makes the counters of an emulated PMU count.
 *
 * A source (sources/model, sources/script, an embedder's own over its kernel's events) serves one vCPU.
 * It knows events, not guest registers: core asks for at most one event per guest counter, in a *slot*
 * numbered like the counter, and does the arithmetic of widths, overflow and status itself. Up to 32
 * stopped events, of selectors that a counter had before, wait in slots of no counter until the guest
 * selects them again.
 *
 * Clauses that hold for every operation:
 *  1. Context: [vcpu], between exit and enter; never from an overflow callback. It may sleep unless it
 *     says otherwise.
 *  2. An event counts only while the guest executes, and only in the rings it was asked for.
 *  3. Counts are 64 bit, start at 0 with create, and never go back. What stop keeps from being counted
 *     is not counted later.
 *     No hint of an event comes after its release has returned.
 *  4. create, start and period may fail and then change nothing; the others cannot fail.
 *  5. An overflow is reported by vpmu_vcpu_overflow(), from any context, at or after the event that
 *     reached the period, as often as the source likes: it is a hint, core looks at the count.
 */
#ifndef VPMU_SOURCE_H
#define VPMU_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

/* What an event means, for sources that do not speak the guest's vendor encoding. */
enum vpmu_event_meaning {
	VPMU_MEANS_RAW,              /* only the vendor's manual knows */
	VPMU_MEANS_INSTRUCTIONS,     /* retired */
	VPMU_MEANS_CYCLES,
	VPMU_MEANS_REFERENCE_CYCLES,
	VPMU_MEANS_LLC_REFERENCES,
	VPMU_MEANS_LLC_MISSES,
	VPMU_MEANS_BRANCHES,         /* retired */
	VPMU_MEANS_BRANCH_MISSES,
	VPMU_MEANINGS,
};

struct vpmu_event {
	uint64_t selector;           /* vendor encoding, event bits only: no enables, no rings */
	enum vpmu_event_meaning meaning;
	bool user;
	bool kernel;
	/* Rolled back with a transaction (x86 IN_TXCP): never has a period, nobody could say when. */
	bool checkpointed;
	uint64_t period;             /* events until the first hint; 0: none is needed */
};

/* A reading. (running) < (enabled): the source could not count all the time. */
struct vpmu_count {
	uint64_t value;
	uint64_t enabled;            /* nanoseconds */
	uint64_t running;
};

struct vpmu_source;

struct vpmu_source_ops {
	uint32_t size;               /* sizeof(struct vpmu_source_ops) */

	/* Could an event like (e) ever be created? Constant for the life of the source. */
	bool (*supports)(struct vpmu_source *s, const struct vpmu_event *e);
	/*
	 * A counting event in the empty (slot). returns: 0, or -1: not now (contention); core then marks
	 * the counter starved and tries again at a later enter.
	 */
	int (*create)(struct vpmu_source *s, unsigned int slot, const struct vpmu_event *e);
	void (*release)(struct vpmu_source *s, unsigned int slot);
	/* Stops and continues the event in (slot); start: 0 or -1 like create. */
	void (*stop)(struct vpmu_source *s, unsigned int slot);
	int (*start)(struct vpmu_source *s, unsigned int slot);
	/* The next hint is due (events) from now; 0: no hint. returns: 0 or -1. */
	int (*period)(struct vpmu_source *s, unsigned int slot, uint64_t events);
	struct vpmu_count (*read)(struct vpmu_source *s, unsigned int slot);
	/*
	 * The stopped event in (from) is in the empty slot (to) from now on, and reports its overflows
	 * for that. No system call.
	 */
	void (*move)(struct vpmu_source *s, unsigned int from, unsigned int to);
};

/* Embedded first in the source's own object; does not move while in use. */
struct vpmu_source {
	const struct vpmu_source_ops *ops;
	bool cheap_reads;            /* read makes no system call: stops may be virtual */
	uint64_t calls;              /* operations so far that did: for tests and benchmarks */
};

#endif
