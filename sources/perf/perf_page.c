/* SPDX-License-Identifier: MIT */
#include "perf_page.h"

#include <stdatomic.h>

/* The kernel's updates are short, and on this CPU: a second try is rare. */
#define TRIES 16u

/*
 * Nanoseconds since the kernel last wrote the page's times; see the kernel's description of the
 * page.
 */
static uint64_t nanoseconds_since(const volatile struct perf_event_mmap_page *page)
{
	uint64_t cycles = vpmu_perf_cycles();
	uint64_t quotient = cycles >> page->time_shift;
	uint64_t rest = cycles & (((uint64_t)1 << page->time_shift) - 1);

	return page->time_offset + quotient * page->time_mult +
	       ((rest * page->time_mult) >> page->time_shift);
}

/* The counter's (width) bits are the low end of a signed number. */
static uint64_t sign_extended(uint64_t value, unsigned int width)
{
	unsigned int unused = 64 - width;

	if (!width || width > 64)
		return value;
	return (uint64_t)((int64_t)(value << unused) >> unused);
}

static enum vpmu_perf_presence look(const volatile struct perf_event_mmap_page *page,
				    struct vpmu_perf_reading *out)
{
	uint32_t index = page->index;

	*out = (struct vpmu_perf_reading){
		(uint64_t)page->offset, page->time_enabled, page->time_running,
	};
	if (!index)
		return VPMU_PERF_AWAY;
	if (page->cap_user_time) {
		uint64_t since = nanoseconds_since(page);

		out->enabled += since;
		out->running += since;
	}
	out->value += sign_extended(vpmu_perf_counter(index - 1), page->pmc_width);
	return VPMU_PERF_COUNTS;
}

enum vpmu_perf_presence vpmu_perf_page_read(const volatile struct perf_event_mmap_page *page,
					    struct vpmu_perf_reading *out)
{
	if (!page->cap_user_rdpmc || !vpmu_perf_reads_counters())
		return VPMU_PERF_UNREADABLE;
	for (unsigned int i = 0; i < TRIES; i++) {
		uint32_t sequence = page->lock;
		enum vpmu_perf_presence presence;

		/* The kernel writes on this CPU: only the compiler could change the order. */
		atomic_signal_fence(memory_order_seq_cst);
		presence = look(page, out);
		atomic_signal_fence(memory_order_seq_cst);
		if (page->lock == sequence && !(sequence & 1))
			return presence;
	}
	return VPMU_PERF_UNREADABLE;
}
