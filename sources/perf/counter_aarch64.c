/* SPDX-License-Identifier: MIT */
#include "perf_page.h"

bool vpmu_perf_reads_counters(void)
{
	return true;
}

#define COUNTER(n)                                                              \
	case n:                                                                 \
		__asm__ volatile("mrs %0, pmevcntr" #n "_el0" : "=r"(value));   \
		break;

/* A register per counter: PMSELR_EL0 would be shared with whatever interrupts us. */
uint64_t vpmu_perf_counter(uint32_t i)
{
	uint64_t value = 0;

	switch (i) {
	COUNTER(0) COUNTER(1) COUNTER(2) COUNTER(3) COUNTER(4) COUNTER(5) COUNTER(6) COUNTER(7)
	COUNTER(8) COUNTER(9) COUNTER(10) COUNTER(11) COUNTER(12) COUNTER(13) COUNTER(14)
	COUNTER(15) COUNTER(16) COUNTER(17) COUNTER(18) COUNTER(19) COUNTER(20) COUNTER(21)
	COUNTER(22) COUNTER(23) COUNTER(24) COUNTER(25) COUNTER(26) COUNTER(27) COUNTER(28)
	COUNTER(29) COUNTER(30)
	case 31:
		__asm__ volatile("mrs %0, pmccntr_el0" : "=r"(value));
		break;
	default:
		break;
	}
	return value;
}

uint64_t vpmu_perf_cycles(void)
{
	uint64_t value;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value));
	return value;
}
