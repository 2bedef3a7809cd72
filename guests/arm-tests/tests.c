/* SPDX-License-Identifier: MIT */
#include "tests.h"

#include "seam.h"

#define PMU_ENTRY(name, source, flags) { #name, source, flags, name },
const struct pmu_test pmu_tests[] = { PMU_TESTS(PMU_ENTRY) };
#undef PMU_ENTRY

const size_t pmu_test_count = sizeof(pmu_tests) / sizeof(pmu_tests[0]);

#define PMU_DEVIATION_NAME(name, text) #name,
static const char *const deviations[] = { PMU_DEVIATIONS(PMU_DEVIATION_NAME) };
#undef PMU_DEVIATION_NAME

bool pmu_equal(struct pmu_result *r, const char *what, uint64_t got, uint64_t want)
{
	if (got == want)
		return true;
	r->verdict = PMU_FAIL;
	r->what = what;
	r->got = got;
	r->want = want;
	r->has_values = true;
	return false;
}

/* Turns a failure into a pass that names its excuse, if the runner expects that excuse. */
bool pmu_excused(struct pmu_result *r, unsigned deviation)
{
	if (!pmu_allows((enum pmu_deviation)deviation))
		return false;
	r->verdict = PMU_PASS;
	r->deviation = deviations[deviation];
	return true;
}

void pmu_skip(struct pmu_result *r, const char *why)
{
	r->verdict = PMU_SKIP;
	r->what = why;
	r->has_values = false;
}
