/* SPDX-License-Identifier: MIT */
/*
 * sources/model - a counting source whose events are what its owner says the guest executed.
 *
 * For engines that know what they executed, and for tests. It counts meanings, no vendor's raw
 * events; (capacity) events can count at once, as if each were pinned to a hardware counter. No
 * allocation, no globals.
 */
#ifndef VPMU_MODEL_SOURCE_H
#define VPMU_MODEL_SOURCE_H

#include <vpmu/vpmu.h>

struct vpmu_model_event {
	struct vpmu_event event;
	uint64_t value;
	uint64_t left;               /* events to the next hint; 0: none */
	uint64_t enabled;            /* nanoseconds */
	bool exists;
	bool counts;
};

struct vpmu_model_source {
	struct vpmu_source source;
	struct vpmu_vcpu *v;
	unsigned int capacity;
	/* Meanings that it supports, as bits: all but RAW, unless its owner takes some out. */
	uint32_t meanings;
	struct vpmu_model_event slot[VPMU_COUNTER_MAX];
};

/* What the guest executed in one ring. */
struct vpmu_model_burst {
	bool user;
	uint64_t counts[VPMU_MEANINGS];  /* by enum vpmu_event_meaning */
	uint64_t nanoseconds;
};

/* Context: [init]. */
void vpmu_model_source_init(struct vpmu_model_source *s, struct vpmu_vcpu *v,
			    unsigned int capacity, bool cheap_reads);

/*
 * vpmu_model_source_run() - the guest executed (burst). returns: true: an overflow was reported,
 * the guest must exit. Context: [vcpu], between enter and exit.
 */
bool vpmu_model_source_run(struct vpmu_model_source *s, const struct vpmu_model_burst *burst);

/*
 * vpmu_model_source_horizon() - after how many events of a meaning in (meanings) does something
 * report an overflow? A longer burst reports it too late. UINT64_MAX: never. Whatever the ring.
 * Context: [vcpu].
 */
uint64_t vpmu_model_source_horizon(const struct vpmu_model_source *s, uint32_t meanings);

#endif
