/* SPDX-License-Identifier: MIT */
/*
 * The portable tests: name of the body, where the rule comes from (M = museum id, otherwise the
 * section of the Arm ARM, DDI 0487, or of the register table), flags. One line here and one
 * function in bodies/ make a test.
 */
#ifndef VPMU_ARM_TESTS_TESTS_H
#define VPMU_ARM_TESTS_TESTS_H

#include "test.h"

#define PMU_TESTS(T) \
	T(fresh_start, "M88", 0) \
	T(absent_undefined, "M37", PMU_ABSENT) \
	T(bitmap_bits, "D24.5 PMCNTENSET", PMU_EL2_TOO) \
	T(bitmap_all_ones, "M36", PMU_EL2_TOO) \
	T(bitmap_zero_writes, "D24.5 PMCNTENSET", PMU_EL2_TOO) \
	T(bitmap_independent, "D24.5 PMCNTENSET", PMU_EL2_TOO) \
	T(pmcr_read_only, "D24.5 PMCR", PMU_EL2_TOO) \
	T(pmcr_writable, "D24.5 PMCR", PMU_EL2_TOO) \
	T(pmcr_pc_read_zero, "M33", PMU_EL2_TOO) \
	T(pmcr_pc_act_once, "M33", PMU_EL2_TOO) \
	T(pmcr_p, "M34", PMU_EL2_TOO) \
	T(pmcr_c, "M34", PMU_EL2_TOO) \
	T(pmcr_p_all_bits, "M34", PMU_EL2_TOO) \
	T(pmselr_mask, "D24.5 PMSELR", PMU_EL2_TOO) \
	T(pmselr_types, "M36", PMU_EL2_TOO) \
	T(pmselr_counters, "M36", PMU_EL2_TOO) \
	T(pmselr_cycle_filter, "D24.5 PMXEVTYPER", PMU_EL2_TOO) \
	T(pmselr_cycle_counter, "D24.5 PMXEVCNTR", PMU_EL2_TOO) \
	T(typer_mask, "M38", PMU_EL2_TOO) \
	T(typer_events_stick, "D24.5 PMEVTYPER", PMU_EL2_TOO) \
	T(ccfiltr_mask, "D24.5 PMCCFILTR", PMU_EL2_TOO) \
	T(userenr_mask, "D24.5 PMUSERENR", PMU_EL2_TOO) \
	T(counter_width, "D13.3 PMUv3p5", PMU_EL2_TOO) \
	T(cycle_width, "M31", PMU_EL2_TOO) \
	T(directions, "D24.5", PMU_EL2_TOO) \
	T(newer_registers, "D24.5", PMU_EL2_TOO) \
	T(beyond_direct, "M36", PMU_EL2_TOO) \
	T(beyond_indirect, "M36", PMU_EL2_TOO) \
	T(pmceid_mandatory, "D13.3 common events", PMU_EL2_TOO) \
	T(pmceid_reserved, "M40", PMU_EL2_TOO) \
	T(pmceid_counts, "M40", PMU_EL2_TOO) \
	T(pmceid_silent, "M40", PMU_EL2_TOO) \
	T(pmmir, "M40", PMU_EL2_TOO) \
	T(el0_denied, "M37", 0) \
	T(el0_en, "M37", 0) \
	T(el0_sw, "M37", 0) \
	T(el0_cr, "M37", 0) \
	T(el0_er, "M37", 0) \
	T(el0_all_but_en, "M37", 0) \
	T(el0_all, "M37", 0) \
	T(el0_same_registers, "M37", 0) \
	T(el0_beyond, "M36", 0) \
	T(swinc_exact, "D13.3 SW_INCR", PMU_EL2_TOO) \
	T(swinc_gates, "D13.3 SW_INCR", PMU_EL2_TOO) \
	T(swinc_wraps, "D13.3 overflow", PMU_EL2_TOO) \
	T(swinc_wraps_long, "D13.3 PMUv3p5", PMU_EL2_TOO) \
	T(swinc_el0, "D13.3 SW_INCR", 0) \
	T(chain_carries, "M55", PMU_EL2_TOO) \
	T(chain_odd_disabled, "M55", PMU_EL2_TOO) \
	T(chain_odd_wraps, "M55", PMU_EL2_TOO) \
	T(chain_only_odd, "M55", PMU_EL2_TOO) \
	T(chain_silent_long, "D13.3 CHAIN", PMU_EL2_TOO) \
	T(chain_absent, "D13.3 CHAIN", PMU_EL2_TOO) \
	T(instructions_exact, "D13.3 INST_RETIRED", PMU_EL2_TOO) \
	T(instructions_gates, "D13.3.2", PMU_EL2_TOO) \
	T(instructions_everywhere, "D13.3.2", PMU_EL2_TOO) \
	T(instructions_from_preset, "D13.3 PMEVCNTR", PMU_EL2_TOO) \
	T(cycles_exact, "D13.3 CPU_CYCLES", PMU_EL2_TOO) \
	T(cycles_gates, "D13.3.2", PMU_EL2_TOO) \
	T(cycles_increase, "D13.3 PMCCNTR", PMU_EL2_TOO) \
	T(stopped_keeps, "D13.3.2", PMU_EL2_TOO) \
	T(retype_running, "D13.3 PMEVTYPER", PMU_EL2_TOO) \
	T(denied_cycle_counter, "M99", PMU_EL2_TOO) \
	T(filter_instructions, "D13.3 filtering", 0) \
	T(filter_cycles, "D13.3 filtering", 0) \
	T(filter_per_counter, "D13.3 filtering", 0) \
	T(overflow_software, "D13.3.1", PMU_EL2_TOO) \
	T(overflow_sticky, "D13.3.1", PMU_EL2_TOO) \
	T(overflow_instructions, "D13.3.1", PMU_EL2_TOO) \
	T(overflow_long, "D13.3 PMUv3p5", PMU_EL2_TOO) \
	T(overflow_cycles, "D24.5 PMCR.LC", PMU_EL2_TOO) \
	T(overflow_cycles_short, "D24.5 PMCR.LC", PMU_EL2_TOO) \
	T(line_truth_table, "M71", PMU_EL2_TOO) \
	T(line_follows_pmcr, "M72", PMU_EL2_TOO) \
	T(line_follows_writes, "M72", PMU_EL2_TOO) \
	T(irq_disabled_counter, "M71", PMU_EL2_TOO) \
	T(irq_late_enable, "M72", PMU_EL2_TOO) \
	T(irq_not_enabled, "D13.3.1", PMU_EL2_TOO) \
	T(irq_cycle_once, "D13.3.1", PMU_EL2_TOO) \
	T(irq_event_once, "D13.3.1", PMU_EL2_TOO) \
	T(irq_all_counters, "D13.3.1", PMU_EL2_TOO) \
	T(irq_no_consumer, "M75", PMU_EL2_TOO) \
	T(irq_at_el0, "D13.3.1", 0) \
	T(sampling_cycles, "D13.3.1", PMU_EL2_TOO) \
	T(sampling_events, "D13.3.1", PMU_EL2_TOO)

#define PMU_DECLARE(name, source, flags) void name(struct pmu_result *r);
PMU_TESTS(PMU_DECLARE)
#undef PMU_DECLARE

extern const struct pmu_test pmu_tests[];
extern const size_t pmu_test_count;

#endif
