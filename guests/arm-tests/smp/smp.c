/* SPDX-License-Identifier: MIT */
/* Two CPUs. Cycles and instructions are global to a QEMU machine, so these tests use SW_INCR. */
#include "bodies/common.h"
#include "image/cpu.h"
#include "image/run.h"

#define SMP_TESTS(T) \
	T(smp_both_count, "D13.3", PMU_SMP) \
	T(smp_registers_apart, "D13.3", PMU_SMP) \
	T(smp_interrupt_stays, "D13.3.1", PMU_SMP) \
	T(smp_off_on, "D13.3", PMU_SMP) \
	T(smp_on_is_fresh, "M88", PMU_SMP)

#define SMP_DECLARE(name, source, flags) void name(struct pmu_result *r);
SMP_TESTS(SMP_DECLARE)
#undef SMP_DECLARE

#define SMP_ENTRY(name, source, flags) { #name, source, flags, name },
static const struct pmu_test tests[] = { SMP_TESTS(SMP_ENTRY) };
#undef SMP_ENTRY

static const size_t test_count = sizeof(tests) / sizeof(tests[0]);

const char image_name[] = "smp-tests";
const unsigned image_level = 1;
const struct suite image_suites[] = { { tests, &test_count }, { NULL, NULL } };

#define OTHER 1u
#define OTHER_FAILED "second CPU does not answer"

/* What the second CPU found, for the first one to check. */
struct report {
	uint64_t value, enabled, status, pmcr;
	unsigned interrupts;
};

static bool other_runs(void (*job)(void *argument), void *argument)
{
	if (!cpus[OTHER].online && !secondary_on(OTHER))
		return false;
	return secondary_run(OTHER, job, argument);
}

static void count_software(unsigned times)
{
	pmu_quiet();
	start_counter(0, EVENT_SW_INCR, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	while (times-- > 0)
		pmu_write(PMSWINC_EL0, 1);
}

static void read_back(void *argument)
{
	struct report *report = argument;

	report->value = pmu_read(PMEVCNTR0_EL0);
	report->enabled = pmu_read(PMCNTENSET_EL0);
	report->status = pmu_read(PMOVSSET_EL0);
	report->pmcr = pmu_read(PMCR_EL0);
}

static void other_counts(void *argument)
{
	count_software(100);
	read_back(argument);
}

void smp_both_count(struct pmu_result *r)
{
	struct report report = { 0 };

	count_software(40);
	CHECK(r, OTHER_FAILED, other_runs(other_counts, &report));
	pmu_write(PMSWINC_EL0, 1);
	CHECK_EQ(r, "second CPU", report.value, 100);
	CHECK_EQ(r, "first CPU", pmu_read(PMEVCNTR0_EL0), 41);
	CHECK(r, OTHER_FAILED, other_runs(read_back, &report));
	CHECK_EQ(r, "second CPU, later", report.value, 100);
}

/* Stopping, enabling and overflowing on one CPU is invisible on the other. */
void smp_registers_apart(struct pmu_result *r)
{
	struct report report = { 0 };

	CHECK(r, OTHER_FAILED, other_runs(other_counts, &report));
	pmu_quiet();
	pmu_write(PMOVSSET_EL0, CYCLE_BIT);
	pmu_write(PMCNTENSET_EL0, 2);
	CHECK(r, OTHER_FAILED, other_runs(read_back, &report));
	CHECK_EQ(r, "PMCNTEN of the second CPU", report.enabled, 1);
	CHECK_EQ(r, "PMOVS of the second CPU", report.status, 0);
	CHECK_EQ(r, "PMCR.E of the second CPU", report.pmcr & PMCR_E, PMCR_E);
	CHECK_EQ(r, "counter of the second CPU", report.value, 100);
	CHECK_EQ(r, "PMCR.E of the first CPU", pmu_read(PMCR_EL0) & PMCR_E, 0);
	CHECK_EQ(r, "PMCNTEN of the first CPU", pmu_read(PMCNTENSET_EL0), 2);
}

static void clear_status(void *context)
{
	(void)context;
	pmu_write(PMOVSCLR_EL0, ~UINT64_C(0));
}

static void other_overflows(void *argument)
{
	struct report *report = argument;

	pmu_quiet();
	pmu_irq_on(clear_status, NULL);
	start_counter(0, EVENT_SW_INCR, LOW32);
	pmu_write(PMINTENSET_EL1, 1);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_write(PMSWINC_EL0, 1);
	pmu_run(1, 1000);
	pmu_irq_off();
	report->interrupts = pmu_irq_count();
}

/* PPI 23 is private: it arrives where the counter overflowed. */
void smp_interrupt_stays(struct pmu_result *r)
{
	struct report report = { 0 };

	pmu_irq_on(clear_status, NULL);
	CHECK(r, OTHER_FAILED, other_runs(other_overflows, &report));
	pmu_irq_off();
	CHECK_EQ(r, "interrupts of the second CPU", report.interrupts, 1);
	CHECK_EQ(r, "interrupts of the first CPU", pmu_irq_count(), 0);
}

/* A CPU that went off and on starts with E = 0; the other one went on as it was. */
void smp_off_on(struct pmu_result *r)
{
	struct report report = { 0 };

	count_software(40);
	CHECK(r, OTHER_FAILED, other_runs(other_counts, &report));
	CHECK(r, "second CPU goes off", secondary_off(OTHER));
	pmu_write(PMSWINC_EL0, 1);
	CHECK_EQ(r, "first CPU while the second is off", pmu_read(PMEVCNTR0_EL0), 41);
	CHECK(r, OTHER_FAILED, other_runs(read_back, &report));
	CHECK_EQ(r, "PMCR.E after CPU_ON", report.pmcr & PMCR_E, 0);
	CHECK(r, OTHER_FAILED, other_runs(other_counts, &report));
	CHECK_EQ(r, "second CPU counts again", report.value, 100);
	CHECK_EQ(r, "first CPU", pmu_read(PMEVCNTR0_EL0), 41);
}

/* Registers that keep a pattern, and that a CPU must not find again after it was off. */
static const struct {
	enum pmu_reg reg;
	uint64_t pattern;
} marks[] = {
	{ PMEVCNTR0_EL0, 0xa5a5a5a5 }, { PMEVCNTR1_EL0, 0x5a5a5a5a }, { PMEVTYPER0_EL0, 0x11 },
	{ PMCCNTR_EL0, 0xa5a5a5a55a5a5a5a }, { PMCCFILTR_EL0, FILTER_P }, { PMSELR_EL0, 5 },
	{ PMCNTENSET_EL0, 3 }, { PMINTENSET_EL1, 3 }, { PMOVSSET_EL0, CYCLE_BIT },
	{ PMUSERENR_EL0, 0xf },
};

#define MARK_COUNT (sizeof(marks) / sizeof(marks[0]))

static void leave_marks(void *unused)
{
	size_t i;

	(void)unused;
	pmu_quiet();
	for (i = 0; i < MARK_COUNT; i++)
		pmu_write(marks[i].reg, marks[i].pattern);
}

static void read_marks(void *argument)
{
	uint64_t *found = argument;
	size_t i;

	for (i = 0; i < MARK_COUNT; i++)
		found[i] = pmu_read(marks[i].reg);
}

void smp_on_is_fresh(struct pmu_result *r)
{
	uint64_t found[MARK_COUNT];
	size_t i;

	CHECK(r, OTHER_FAILED, other_runs(leave_marks, NULL));
	CHECK(r, "second CPU goes off", secondary_off(OTHER));
	CHECK(r, OTHER_FAILED, other_runs(read_marks, found));
	for (i = 0; i < MARK_COUNT; i++) {
		r->at = marks[i].reg;
		CHECK_EQ(r, "register after CPU_ON", found[i], 0);
	}
}
