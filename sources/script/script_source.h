/* SPDX-License-Identifier: MIT */
/*
 * sources/script - a counting source that does what a test says: counts by hand, refuses, starves, fails
 * at a given call, and reports overflows too early, too often, or in the middle of an operation, as from
 * an NMI. It supports every event. No allocation, no globals.
 */
#ifndef VPMU_SCRIPT_SOURCE_H
#define VPMU_SCRIPT_SOURCE_H

#include <vpmu/vpmu.h>

struct vpmu_script_event {
	struct vpmu_event event;
	uint64_t value;
	uint64_t enabled;
	uint64_t running;
	bool exists;
	bool counts;
};

struct vpmu_script_source {
	struct vpmu_source source;
	struct vpmu_vcpu *v;
	struct vpmu_script_event slot[VPMU_COUNTER_MAX];
	unsigned int live;           /* events that exist */
	unsigned int capacity;       /* at most so many: a create beyond is refused */
	uint64_t fail_at;            /* 1..: the so-manieth operation that can fail does; 0: none */
	uint64_t can_fail;           /* operations so far that can fail */
	uint64_t starved;            /* mask: time passes and nothing is counted */
	uint64_t nmi;                /* mask: overflow of these slots during an operation, */
	uint64_t nmi_left;           /* in so many of the next ones */
	uint64_t creates, releases, starts, stops, periods, reads;
	unsigned int misuse;         /* operations that the contract does not allow */
};

/* Context: [init]. */
void vpmu_script_source_init(struct vpmu_script_source *s, struct vpmu_vcpu *v, bool cheap_reads);

/* (n) events in (slot) and as many nanoseconds, if it counts and is not starved. Reports nothing. */
void vpmu_script_source_count(struct vpmu_script_source *s, unsigned int slot, uint64_t n);

#endif
