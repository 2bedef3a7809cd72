/* SPDX-License-Identifier: MIT */
#include "perf_page.h"

bool vpmu_perf_reads_counters(void)
{
	return true;
}

uint64_t vpmu_perf_counter(uint32_t i)
{
	uint32_t low, high;

	__asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(i));
	return (uint64_t)high << 32 | low;
}

uint64_t vpmu_perf_cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}
