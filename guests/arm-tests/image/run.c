/* SPDX-License-Identifier: MIT */
#include "run.h"

#include "cpu.h"

bool pmu_present(void);
void pmu_quiet(void);

static uint64_t totals[3];	/* by enum pmu_verdict */

struct one_run {
	const struct pmu_test *test;
	struct pmu_result result;
};

static void put_values(const struct pmu_result *r)
{
	put_string(" (at ");
	put_decimal(r->at);
	put_string(": got ");
	put_hex(r->got);
	put_string(", want ");
	put_hex(r->want);
	put_string(")");
}

static void put_result(const struct one_run *run)
{
	static const char *const words[] = { "ok ", "not ok ", "skip " };
	const struct pmu_result *r = &run->result;

	put_string(words[r->verdict]);
	put_string(run->test->name);
	if (r->verdict != PMU_PASS) {
		put_string(": ");
		put_string(r->what);
		if (r->has_values)
			put_values(r);
	} else if (r->deviation) {
		put_string(" # deviation ");
		put_string(r->deviation);
	}
	put_string("\n");
}

/* Why this test cannot run here, or NULL. */
static const char *obstacle(const struct pmu_test *test)
{
	if (test->flags & PMU_ABSENT)
		return pmu_present() ? "there is a PMU" : NULL;
	if (!pmu_present())
		return "no PMU";
	if (cpu_el() == 2 && !(test->flags & PMU_EL2_TOO))
		return "needs EL1";
	if ((test->flags & PMU_SMP) && option_number("smp", 1) < 2)
		return "needs two CPUs";
	return NULL;
}

static void run_body(void *argument)
{
	struct one_run *run = argument;

	if (pmu_present() && !(run->test->flags & PMU_AS_FOUND))
		pmu_quiet();
	run->test->body(&run->result);
}

static void run_test(const struct pmu_test *test)
{
	struct one_run run = { test, { 0 } };
	struct cpu *cpu = cpu_self();
	const char *why = obstacle(test);

	if (why) {
		pmu_skip(&run.result, why);
	} else {
		cpu->guard_el = cpu_el();
		if (call_guarded(&cpu->guard, run_body, &run) != 0) {
			run.result.verdict = PMU_FAIL;
			run.result.what = "unexpected exception, see above";
			run.result.has_values = false;
		}
		cpu->guard = 0;
		cpu->trap.expected = false;
		pmu_irq_off();
	}
	totals[run.result.verdict]++;
	put_result(&run);
}

static void list_test(const struct pmu_test *test)
{
	put_string("test ");
	put_string(test->name);
	put_string(" # ");
	put_string(test->source);
	put_string("\n");
}

static bool is_selected(const struct pmu_test *test)
{
	if (!option("test"))
		return !(test->flags & PMU_BY_NAME);
	return option_lists("test", test->name, !(test->flags & PMU_BY_NAME));
}

static void for_selected(void (*act)(const struct pmu_test *test))
{
	const struct suite *suite;
	size_t i;

	for (suite = image_suites; suite->tests; suite++) {
		for (i = 0; i < *suite->count; i++) {
			const struct pmu_test *test = &suite->tests[i];

			if (is_selected(test))
				act(test);
		}
	}
}

static void put_total(uint64_t count, const char *text)
{
	put_decimal(count);
	put_string(text);
}

/* The image's verdict: 0 = nothing failed, 1 = something did, 2 = nothing ran at all. */
static unsigned verdict(void)
{
	if (totals[PMU_FAIL] != 0)
		return 1;
	return totals[PMU_PASS] + totals[PMU_SKIP] == 0 ? 2 : 0;
}

static void run_selected(void)
{
	put_string("# ");
	put_string(image_name);
	put_string(" at EL");
	put_decimal(cpu_el());
	put_string("\n");
	for_selected(run_test);
	put_total(totals[PMU_PASS], " passed, ");
	put_total(totals[PMU_FAIL], " failed, ");
	put_total(totals[PMU_SKIP], " skipped\n");
	put_string("vpmu-verdict: ");
	put_decimal(verdict());
	put_string("\n");
}

static void run_image(void)
{
	gic_start(cpu_self());
	seam_start();
	if (option("list"))
		for_selected(list_test);
	else
		run_selected();
	psci_off();
}

static uint8_t el2_stacks[CPU_MAX][4096] __attribute__((aligned(16)));

/* Runs fn at the exception level that el= asks for, as far as there is a choice. */
static void at_wanted_level(struct cpu *cpu, void (*fn)(void))
{
	cpu_enter(cpu);
	if (cpu_el() == 2) {
		cpu_el2_defaults();
		if (option_number("el", image_level) != 2)
			drop_to_el1(fn, (uintptr_t)el2_stacks[cpu->index + 1]);
		cpu_el2_interrupts();
	}
	fn();
}

void image_main(const void *fdt)
{
	options_set(fdt_string(fdt, "chosen", "bootargs"));
	psci_setup(fdt_string(fdt, "psci", "method"));
	cpus[0].online = true;
	at_wanted_level(&cpus[0], run_image);
}

/* Secondary CPUs wait for one job after the other. */
static void barrier(void)
{
	__asm__ volatile("dsb sy\n\tsev" : : : "memory");
}

static void secondary_loop(void)
{
	struct cpu *cpu = cpu_self();

	gic_start(cpu);
	cpu->online = true;
	barrier();
	for (;;) {
		while (!cpu->job)
			__asm__ volatile("wfe" : : : "memory");
		cpu->job(cpu->job_argument);
		cpu->job = NULL;
		cpu->jobs_done++;
		barrier();
	}
}

void secondary_main(struct cpu *cpu)
{
	at_wanted_level(cpu, secondary_loop);
}

/* A CPU that never answers must not hang the tests; one that has to wait for its turn must be waited for. */
#define SECONDARY_TRIES 50000000u

/* QEMU under -icount runs one CPU at a time and switches early only at a yield. */
static void relax(void)
{
	__asm__ volatile("yield" : : : "memory");
}

static uint8_t stacks[CPU_MAX][CPU_STACK] __attribute__((aligned(16)));

static bool wait_online(const struct cpu *cpu, bool online)
{
	unsigned tries;

	for (tries = 0; tries < SECONDARY_TRIES; tries++, relax()) {
		if (cpu->online == online)
			return true;
	}
	return false;
}

/* virt numbers its CPUs by MPIDR.Aff0. */
bool secondary_on(unsigned index)
{
	struct cpu *cpu = &cpus[index];

	cpu->index = index;
	cpu->stack_end = (uintptr_t)stacks[index] + CPU_STACK;
	cpu->job = NULL;
	if (psci_call(PSCI_CPU_ON, index, (uintptr_t)secondary_start, (uintptr_t)cpu) != 0)
		return false;
	return wait_online(cpu, true);
}

bool secondary_run(unsigned index, void (*job)(void *argument), void *argument)
{
	struct cpu *cpu = &cpus[index];
	unsigned tries, before = cpu->jobs_done;

	cpu->job_argument = argument;
	cpu->job = job;
	barrier();
	for (tries = 0; tries < SECONDARY_TRIES; tries++, relax()) {
		if (cpu->jobs_done != before)
			return true;
	}
	return false;
}

static void switch_off(void *argument)
{
	struct cpu *cpu = argument;

	cpu->online = false;
	barrier();
	psci_call(PSCI_CPU_OFF, 0, 0, 0);
}

#define PSCI_STATE_OFF 1u

bool secondary_off(unsigned index)
{
	struct cpu *cpu = &cpus[index];
	unsigned tries;

	cpu->job_argument = cpu;
	cpu->job = switch_off;
	barrier();
	for (tries = 0; tries < SECONDARY_TRIES; tries++, relax()) {
		if (psci_call(PSCI_AFFINITY_INFO, index, 0, 0) == PSCI_STATE_OFF)
			return true;
	}
	return false;
}
