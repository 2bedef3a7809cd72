/* SPDX-License-Identifier: MIT */
/*
 * MRS, MSR and ISB of hardware/armv8/armv8.c on a software PMU, with the instructions of EL2 around each, and what
 * the manual asks of whoever writes them.
 */
#ifndef VPMU_TESTS_ARMV8_SIM_H
#define VPMU_TESTS_ARMV8_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "model_pmu.h"

/* The CPU that executes. */
struct armv8_sim {
	struct model_pmu *pmu;
	const struct model_events *cost;  /* on each side of an access */
	void (*hook)(void *context);      /* before and after each access to the PMU */
	void *hook_context;
	bool guest_runs;
	bool written;                /* PMCR, and no ISB since */
	uint64_t time;               /* nanoseconds */
};

extern struct armv8_sim *armv8_sim_here;

uint64_t armv8_sim_read(const char *name);
void armv8_sim_write(const char *name, uint64_t value);
void armv8_sim_isb(void);

#endif
