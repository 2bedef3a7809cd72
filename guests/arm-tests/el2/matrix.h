/* SPDX-License-Identifier: MIT */
/*
 * What QEMU's PMU does below EL2's controls, as tests that run at EL2 of the bare machine. They
 * are regression tests of the machine that the monitor is tested on: a value that changes tells
 * that the monitor's work-arounds must be looked at again. The values are in expected.h.
 */
#ifndef VPMU_ARM_TESTS_MATRIX_H
#define VPMU_ARM_TESTS_MATRIX_H

#include "test.h"

#define MATRIX_TESTS(T) \
	T(matrix_counting, "arm.md 11.1", PMU_EL2_TOO) \
	T(matrix_stop_at_el2, "RULES A4", PMU_EL2_TOO) \
	T(matrix_el0_access, "arm.md 11.2", PMU_EL2_TOO) \
	T(matrix_el0_access_tpm, "arm.md 11.2", PMU_EL2_TOO) \
	T(matrix_tpmcr, "arm.md 8.2", PMU_EL2_TOO) \
	T(matrix_hpmn_bitmaps, "arm.md 11.3", PMU_EL2_TOO) \
	T(matrix_hpmn_counters, "arm.md 11.3", PMU_EL2_TOO) \
	T(matrix_hpmn_reset, "arm.md 11.3", PMU_EL2_TOO) \
	T(matrix_line, "arm.md 11.4", PMU_EL2_TOO) \
	T(matrix_line_ranges, "arm.md 11.4", PMU_EL2_TOO) \
	T(matrix_latency_cycles, "arm.md 11.5", PMU_EL2_TOO) \
	T(matrix_latency_events, "arm.md 11.5", PMU_EL2_TOO) \
	T(matrix_latency_shadow, "arm.md 11.5", PMU_EL2_TOO) \
	T(matrix_chain, "arm.md 11.6", PMU_EL2_TOO) \
	T(matrix_syndromes, "arm.md 11.7", PMU_EL2_TOO) \
	T(matrix_fine_traps, "arm.md 3.2", PMU_EL2_TOO) \
	T(matrix_trapped_instructions, "RULES A7", PMU_EL2_TOO)

#define MATRIX_DECLARE(name, source, flags) void name(struct pmu_result *r);
MATRIX_TESTS(MATRIX_DECLARE)
#undef MATRIX_DECLARE

#endif
