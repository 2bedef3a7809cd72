/* SPDX-License-Identifier: MIT */
/* Tests with two CPUs. Cycles and instructions are global to a QEMU machine, so they use SW_INCR. */
#ifndef VPMU_ARM_TESTS_SMP_H
#define VPMU_ARM_TESTS_SMP_H

#include "test.h"

#define SMP_TESTS(T) \
	T(smp_both_count, "D13.3", PMU_SMP) \
	T(smp_registers_apart, "D13.3", PMU_SMP) \
	T(smp_interrupt_stays, "D13.3.1", PMU_SMP) \
	T(smp_off_on, "D13.3", PMU_SMP)

#define SMP_DECLARE(name, source, flags) void name(struct pmu_result *r);
SMP_TESTS(SMP_DECLARE)
#undef SMP_DECLARE

extern const struct pmu_test smp_tests[];
extern const size_t smp_test_count;

#endif
