/* SPDX-License-Identifier: MIT */
/* A counting source that counts its own calls, by kind; as many counters as the machine has. */
#ifndef VPMU_BENCH_SOURCE_H
#define VPMU_BENCH_SOURCE_H

#include <vpmu/source.h>

#include "machine.h"

struct bench_event {
	struct vpmu_event event;
	uint64_t rate;               /* in a unit of work */
	uint64_t value;
	uint64_t left;               /* to the next hint; 0: none */
	bool exists;
	bool counts;
};

struct bench_source {
	struct vpmu_source source;
	struct tally *tally;
	struct bench_event slot[VPMU_COUNTER_MAX];
	/* An overflow; returns: the guest must exit. */
	bool (*overflow)(void *context, unsigned int slot);
	void *context;
};

void bench_source_init(struct bench_source *s, struct tally *tally, bool cheap);

/*
 * The guest executes up to (w->units), at most until an overflow is reported; takes what it
 * executed off (w->units). returns: the guest must exit.
 */
bool bench_source_execute(struct bench_source *s, struct work *w);

#endif
