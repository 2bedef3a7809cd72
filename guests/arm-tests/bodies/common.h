/* SPDX-License-Identifier: MIT */
/* What several test bodies need: bits, events, and ways to count. */
#ifndef VPMU_ARM_TESTS_COMMON_H
#define VPMU_ARM_TESTS_COMMON_H

#include "seam.h"
#include "tests.h"

#define BIT(n) (UINT64_C(1) << (n))
#define LOW32 UINT64_C(0xffffffff)

#define PMCR_E BIT(0)
#define PMCR_P BIT(1)
#define PMCR_C BIT(2)
#define PMCR_D BIT(3)
#define PMCR_X BIT(4)
#define PMCR_DP BIT(5)
#define PMCR_LC BIT(6)
#define PMCR_LP BIT(7)
#define PMCR_FZO BIT(9)

#define CYCLE 31u		/* index of PMCCNTR in the bitmaps */
#define CYCLE_BIT BIT(CYCLE)

#define FILTER_P BIT(31)
#define FILTER_U BIT(30)
#define FILTER_NSH BIT(27)

#define EVENT_SW_INCR 0x00u
#define EVENT_INST_RETIRED 0x08u
#define EVENT_CPU_CYCLES 0x11u
#define EVENT_INST_SPEC 0x1bu
#define EVENT_CHAIN 0x1eu
#define EVENT_STALL_FRONTEND 0x23u
#define EVENT_STALL_BACKEND 0x24u
#define EVENT_STALL 0x3cu

#define USERENR_EN BIT(0)
#define USERENR_SW BIT(1)
#define USERENR_CR BIT(2)
#define USERENR_ER BIT(3)

/* ID_AA64DFR0.PMUVer */
#define PMUVER_V3 1u
#define PMUVER_P1 4u
#define PMUVER_P4 5u
#define PMUVER_P5 6u
#define PMUVER_P7 7u
#define PMUVER_P9 9u

static inline enum pmu_reg counter_reg(unsigned n)
{
	return (enum pmu_reg)(PMEVCNTR0_EL0 + n);
}

static inline enum pmu_reg type_reg(unsigned n)
{
	return (enum pmu_reg)(PMEVTYPER0_EL0 + n);
}

/* Value and control register of counter n or of the cycle counter (CYCLE). */
static inline enum pmu_reg value_reg(unsigned n)
{
	return n == CYCLE ? PMCCNTR_EL0 : counter_reg(n);
}

static inline enum pmu_reg filter_reg(unsigned n)
{
	return n == CYCLE ? PMCCFILTR_EL0 : type_reg(n);
}

unsigned pmu_version(void);
bool pmu_present(void);
void pmu_quiet(void);

unsigned counter_count(void);
uint64_t counter_mask(void);	/* N low bits and bit 31 */
bool has_event(unsigned event);
uint64_t here(void);		/* filter bits that let this exception level count */

void start_counter(unsigned n, uint64_t type, uint64_t value);
void stop_all(void);
uint64_t counted_around(unsigned n, void (*fn)(uint64_t a, uint64_t b), uint64_t a, uint64_t b);
uint64_t counted(unsigned n, unsigned el, uint64_t instructions);

#endif
