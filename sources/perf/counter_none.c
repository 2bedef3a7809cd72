/* SPDX-License-Identifier: MIT */
/* A processor whose counters user mode is not known to read: every read is a system call. */
#include "perf_page.h"

bool vpmu_perf_reads_counters(void)
{
	return false;
}

uint64_t vpmu_perf_counter(uint32_t i)
{
	(void)i;
	return 0;
}

uint64_t vpmu_perf_cycles(void)
{
	return 0;
}
