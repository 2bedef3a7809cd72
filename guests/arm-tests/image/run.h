/* SPDX-License-Identifier: MIT */
/* An image is a list of suites; run.c runs what the boot arguments select. */
#ifndef VPMU_ARM_TESTS_RUN_H
#define VPMU_ARM_TESTS_RUN_H

#include "test.h"

struct suite {
	const struct pmu_test *tests;
	const size_t *count;
};

/* Must be implemented by the image. A NULL `tests` ends the list. */
extern const char image_name[];
extern const unsigned image_level;	/* exception level unless el= says otherwise */
extern const struct suite image_suites[];

void image_main(const void *fdt);
void seam_start(void);
bool secondary_run(unsigned index, void (*job)(void *argument), void *argument);
bool secondary_on(unsigned index);
bool secondary_off(unsigned index);

#endif
