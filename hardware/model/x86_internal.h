/* SPDX-License-Identifier: MIT */
/* hardware/model/x86_internal.h - what x86_pmu.c and x86_msr.c share. */
#ifndef VPMU_MODEL_X86_INTERNAL_H
#define VPMU_MODEL_X86_INTERNAL_H

#include "x86_pmu.h"

#define BIT(n) ((uint64_t)1 << (n))

static inline bool x86_is_intel(const struct x86_pmu *pmu)
{
	return pmu->config.vendor == X86_PMU_INTEL;
}

static inline bool x86_intel_since(const struct x86_pmu *pmu, unsigned int version)
{
	return x86_is_intel(pmu) && pmu->config.version >= version;
}

static inline bool x86_amd_since(const struct x86_pmu *pmu, unsigned int version)
{
	return !x86_is_intel(pmu) && pmu->config.version >= version;
}

/* Does GLOBAL_CTRL exist? Without it nothing but the selector stands in a counter's way. */
static inline bool x86_has_global(const struct x86_pmu *pmu)
{
	return x86_intel_since(pmu, pmu->config.global_ctrl_v1 ? 1 : 2) || x86_amd_since(pmu, 2);
}

static inline bool x86_has_status(const struct x86_pmu *pmu)
{
	return x86_intel_since(pmu, 2) || x86_amd_since(pmu, 2);
}

/* AnyThread: architectural from version 3, deprecated in version 5. */
static inline bool x86_has_anythread(const struct x86_pmu *pmu)
{
	return x86_intel_since(pmu, 3) && pmu->config.version < 5 && pmu->config.anythread;
}

static inline uint64_t x86_gp_mask(const struct x86_pmu *pmu)
{
	return BIT(pmu->config.gp_width) - 1;
}

static inline uint64_t x86_fixed_mask(const struct x86_pmu *pmu)
{
	return BIT(pmu->config.fixed_width) - 1;
}

#endif
