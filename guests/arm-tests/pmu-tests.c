/* SPDX-License-Identifier: MIT */
/* The image with the portable bodies. */
#include "image/run.h"
#include "tests.h"

const char image_name[] = "pmu-tests";
const unsigned image_level = 1;

const struct suite image_suites[] = {
	{ pmu_tests, &pmu_test_count },
	{ NULL, NULL },
};
