/* SPDX-License-Identifier: MIT */
/* Reading an event without a system call, through the page that the kernel shows of it. */
#ifndef VPMU_PERF_PAGE_H
#define VPMU_PERF_PAGE_H

#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>

struct vpmu_perf_reading {
	uint64_t value;
	uint64_t enabled;            /* nanoseconds */
	uint64_t running;
};

/* What the page says of an event. */
enum vpmu_perf_presence {
	VPMU_PERF_COUNTS,            /* in a counter of this CPU; (out) is up to date */
	VPMU_PERF_AWAY,              /* in no counter now; (out) is what it was when it left */
	VPMU_PERF_UNREADABLE,        /* ask the kernel */
};

/* Context: any, on the event's thread. */
enum vpmu_perf_presence vpmu_perf_page_read(const volatile struct perf_event_mmap_page *page,
					    struct vpmu_perf_reading *out);

/*
 * Chosen by file for each processor: user-mode reads of counter (i) and of the clock of
 * time_mult.
 */
bool vpmu_perf_reads_counters(void);
uint64_t vpmu_perf_counter(uint32_t i);
uint64_t vpmu_perf_cycles(void);

#endif
