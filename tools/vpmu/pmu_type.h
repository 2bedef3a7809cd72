/* SPDX-License-Identifier: MIT */
/* vpmu run --pmu-type: physical CPUs that have another PMU. */
#ifndef VPMU_TOOLS_PMU_TYPE_H
#define VPMU_TOOLS_PMU_TYPE_H

/*
 * (spec): NAME,KEY=VALUE,... with commas in values doubled. returns: the monitor's word for it. Exits with a
 * message if it makes no sense.
 */
const char *pmu_type_word(const char *spec);

/* 1 to 15 letters a-z, digits, - and _. */
void check_pmu_name(const char *option, const char *value);

#endif /* VPMU_TOOLS_PMU_TYPE_H */
