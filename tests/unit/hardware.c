/* SPDX-License-Identifier: MIT */
/*
 * hardware/model/model_hw.c: every operation does one access to the right register, and every
 * check that the other tests rely on fires.
 */
#include "support.h"

#define MASK 0x8000003Fu

static struct model_pmu pmu;
static struct model_hw mhw;
static struct model_access trace[4];
static unsigned int hooks;

static void hook(struct model_hw *m, void *context)
{
	(void)m;
	++*(unsigned int *)context;
}

static void start(enum model_class class)
{
	struct model_config config;

	model_class_config(class, &config);
	model_pmu_reset(&pmu, &config, 42);
	model_hw_init(&mhw, &pmu);
	mhw.hook = hook;
	mhw.hook_context = &hooks;
	mhw.trace = trace;
	mhw.trace_size = ARRAY_SIZE(trace);
	hooks = 0;
}

static const struct vpmu_hw_ops *ops(void)
{
	return mhw.hw.ops;
}

/* Exactly this access happened, and nothing else. */
static void expect(uint32_t reg, bool write, uint64_t value)
{
	assert_int_equal(mhw.hw.accesses, 1);
	assert_int_equal(mhw.trace_count, 1);
	assert_int_equal(hooks, 2);
	assert_int_equal(trace[0].reg, reg);
	assert_int_equal(trace[0].write, write);
	assert_int_equal(trace[0].value, value);
	assert_int_equal(mhw.violations, 0);
	mhw.hw.accesses = 0;
	mhw.trace_count = 0;
	hooks = 0;
}

static void each_operation_is_one_access(void **state)
{
	(void)state;
	for (enum model_class class = 0; class < MODEL_CLASSES; class++) {
		struct vpmu_hw *hw = &mhw.hw;

		start(class);
		ops()->set_global(hw, MODEL_PMCR_LC);
		expect(MODEL_PMCR, true, MODEL_PMCR_LC);
		ops()->stop(hw, MASK);
		expect(MODEL_PMCNTENCLR, true, MASK);
		ops()->start(hw, 5);
		expect(MODEL_PMCNTENSET, true, 5);
		assert_int_equal(ops()->started(hw), 5);
		expect(MODEL_PMCNTENSET, false, 5);
		ops()->write(hw, 3, 0x1234);
		expect(MODEL_PMEVCNTR(3), true, 0x1234);
		assert_int_equal(ops()->read(hw, 3), 0x1234);
		expect(MODEL_PMEVCNTR(3), false, 0x1234);
		ops()->write(hw, CYCLE, 0x5678);
		expect(MODEL_PMCCNTR, true, 0x5678);
		assert_int_equal(ops()->read(hw, CYCLE), 0x5678);
		expect(MODEL_PMCCNTR, false, 0x5678);
		ops()->select(hw, 2, 0x11);
		expect(MODEL_PMEVTYPER(2), true, 0x11);
		assert_int_equal(ops()->selected(hw, 2), 0x11);
		expect(MODEL_PMEVTYPER(2), false, 0x11);
		ops()->select(hw, CYCLE, MODEL_FILTER_U);
		expect(MODEL_PMCCFILTR, true, MODEL_FILTER_U);
		assert_int_equal(ops()->selected(hw, CYCLE), MODEL_FILTER_U);
		expect(MODEL_PMCCFILTR, false, MODEL_FILTER_U);
		ops()->status_clear(hw, MASK);
		expect(MODEL_PMOVSCLR, true, MASK);
		ops()->status_set(hw, 6);
		expect(MODEL_PMOVSSET, true, 6);
		assert_int_equal(ops()->status(hw), 6);
		expect(MODEL_PMOVSSET, false, 6);
		ops()->interrupts_clear(hw, MASK);
		expect(MODEL_PMINTENCLR, true, MASK);
		ops()->interrupts_set(hw, 9);
		expect(MODEL_PMINTENSET, true, 9);
		assert_int_equal(ops()->interrupts(hw), 9);
		expect(MODEL_PMINTENSET, false, 9);
		ops()->set_user(hw, 0xE);
		expect(MODEL_PMUSERENR, true, 0xE);
		assert_int_equal(ops()->user(hw), 0xE);
		expect(MODEL_PMUSERENR, false, 0xE);
		ops()->set_pointer(hw, 7);
		expect(MODEL_PMSELR, true, 7);
		assert_int_equal(ops()->pointer(hw), 7);
		expect(MODEL_PMSELR, false, 7);
		assert_int_equal(ops()->global(hw), MODEL_PMCR_LC);
		assert_int_equal(mhw.hw.accesses, 1);
	}
}

static void configuration_is_no_access(void **state)
{
	(void)state;
	for (enum model_class class = 0; class < MODEL_CLASSES; class++) {
		bool p1 = class != MODEL_V3, p5 = class <= MODEL_P5;

		start(class);
		ops()->boundary(&mhw.hw, MASK, 0);
		assert_int_equal(!!(pmu.mdcr_el2 & MODEL_MDCR_HPMD), p1);
		assert_int_equal(!!(pmu.mdcr_el2 & MODEL_MDCR_HCCD), p5);
		ops()->boundary(&mhw.hw, 0, MASK);
		assert_int_equal(pmu.mdcr_el2 & (MODEL_MDCR_HPMD | MODEL_MDCR_HCCD), 0);
		ops()->reach(&mhw.hw, VPMU_REACH_ALL);
		assert_int_equal(pmu.mdcr_el2 & MODEL_MDCR_TPM, 0);
		ops()->reach(&mhw.hw, VPMU_REACH_NONE);
		assert_int_equal(pmu.mdcr_el2 & MODEL_MDCR_TPM, MODEL_MDCR_TPM);
		assert_int_equal(mhw.hw.accesses, 0);
		assert_int_equal(hooks, 0);
		assert_int_equal(mhw.violations, 0);
	}
}

/* What each reach lets EL1 do, by trying (hardware.h, enum vpmu_reach). */
static void reaches(void **state)
{
	static const struct {
		uint32_t reg;
		bool write;
		enum vpmu_reach from;
	} rows[] = {
		{ MODEL_PMCR, true, VPMU_REACH_CONTROL },
		{ MODEL_PMCNTENSET, true, VPMU_REACH_CONTROL },
		{ MODEL_PMINTENCLR, true, VPMU_REACH_CONTROL },
		{ MODEL_PMOVSCLR, false, VPMU_REACH_CONTROL },
		{ MODEL_PMSELR, true, VPMU_REACH_CONTROL },
		{ MODEL_PMUSERENR, true, VPMU_REACH_CONTROL },
		{ MODEL_PMCCNTR, true, VPMU_REACH_CONTROL },
		{ MODEL_PMEVCNTR(0), false, VPMU_REACH_COUNTERS },
		{ MODEL_PMXEVCNTR, true, VPMU_REACH_COUNTERS },
		{ MODEL_PMSWINC, true, VPMU_REACH_COUNTERS },
		{ MODEL_PMEVTYPER(0), true, VPMU_REACH_ALL },
		{ MODEL_PMEVTYPER(0), false, VPMU_REACH_ALL },
		{ MODEL_PMXEVTYPER, true, VPMU_REACH_ALL },
		{ MODEL_PMCCFILTR, true, VPMU_REACH_ALL },
		{ MODEL_PMCEID0, false, VPMU_REACH_ALL },
		{ MODEL_PMMIR, false, VPMU_REACH_ALL },
	};

	(void)state;
	start(MODEL_P5_FGT);
	ops()->set_pointer(&mhw.hw, 0);
	for (enum vpmu_reach reach = VPMU_REACH_NONE; reach <= VPMU_REACH_ALL; reach++) {
		ops()->reach(&mhw.hw, reach);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			uint64_t value = 0;
			enum model_result result = model_guest_access(&pmu, 1, rows[i].reg,
								      rows[i].write, &value);

			assert_int_equal(result, reach >= rows[i].from ? MODEL_EXECUTED
								       : MODEL_TRAP_EL2);
		}
	}
}

static void cost_counts_at_el2(void **state)
{
	const struct model_events cost = { .instructions = 3, .cycles = 5 };

	(void)state;
	start(MODEL_P1);
	pmu.pmccntr = 0;
	pmu.pmccfiltr = MODEL_FILTER_NSH;
	pmu.pmcnten = CYCLE_BIT;
	pmu.pmcr = MODEL_PMCR_E | MODEL_PMCR_LC;
	mhw.cost = &cost;
	(void)ops()->status(&mhw.hw);
	assert_int_equal(pmu.pmccntr, 10);
	ops()->set_global(&mhw.hw, MODEL_PMCR_LC);
	assert_int_equal(pmu.pmccntr, 15);
}

static void fired(const char *what)
{
	if (mhw.violations != 1)
		fail_msg("not noticed: %s", what);
	mhw.violations = 0;
}

static void violations(void **state)
{
	struct vpmu_hw *hw = &mhw.hw;

	(void)state;
	start(MODEL_P1);
	ops()->stop(hw, MASK);
	mhw.guest_runs = true;
	(void)ops()->status(hw);
	fired("an operation while the guest runs");
	ops()->reach(hw, VPMU_REACH_NONE);
	fired("interception changed while the guest runs");
	mhw.guest_runs = false;
	ops()->start(hw, BIT(6));
	fired("a mask too wide");
	(void)ops()->read(hw, 6);
	fired("an index too high");
	ops()->write(hw, 40, 1);
	fired("an index far too high");
	ops()->select(hw, 64, 1);
	fired("an index beyond any");
	ops()->set_global(hw, MODEL_PMCR_P);
	fired("PMCR.P");
	ops()->boundary(hw, 3, 1);
	fired("both sides of the boundary");
	ops()->reach(hw, VPMU_REACH_COUNTERS);
	fired("fine traps that do not exist");
	ops()->boundary(hw, 0, MASK);
	ops()->select(hw, 0, MODEL_FILTER_NSH);
	ops()->start(hw, 1);
	ops()->set_global(hw, MODEL_PMCR_E);
	ops()->write(hw, 0, 1);
	fired("a running counter written");
	ops()->select(hw, 0, 1);
	fired("a running selector written");
	assert_non_null(mhw.violation);
	/* The trace ends where its storage does, and goes on counting. */
	assert_in_range(mhw.trace_count, ARRAY_SIZE(trace) + 1, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_operation_is_one_access),
		cmocka_unit_test(configuration_is_no_access),
		cmocka_unit_test(reaches),
		cmocka_unit_test(cost_counts_at_el2),
		cmocka_unit_test(violations),
	};

	return cmocka_run_group_tests_name("hardware", tests, NULL, NULL);
}
