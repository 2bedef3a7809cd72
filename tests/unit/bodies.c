/* SPDX-License-Identifier: MIT */
/*
 * The portable test bodies of guests/arm-tests on the build host: on the software PMU alone
 * ("bare"), and as a guest of the library on each class of machine, while the monitor switches it
 * away and back at random.
 *
 * usage: test-bodies [NAME]      only the tests whose names begin so
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"
#include "seam.h"
#include "tests.h"

/* rig_run() makes two cycles of each instruction. */
#define CPI 2u

void pmu_quiet(void);

struct machine {
	const char *name;
	enum model_class class;
	bool bare;
	enum vpmu_switch_kind kind;
	unsigned int vcpu;
};

static const struct machine machines[] = {
	{ "bare-p5fgt", MODEL_P5_FGT, true, 0, 0 },
	{ "bare-p5", MODEL_P5, true, 0, 0 },
	{ "bare-p1", MODEL_P1, true, 0, 0 },
	{ "bare-v3", MODEL_V3, true, 0, 0 },
	{ "bare-p5hpmn", MODEL_P5_HPMN, true, 0, 0 },
	{ "lazy-p5hpmn", MODEL_P5_HPMN, false, VPMU_SWITCH_LAZY, 0 },
	{ "small-p5hpmn", MODEL_P5_HPMN, false, VPMU_SWITCH_LAZY, 3 },
	{ "small-eager-p5hpmn", MODEL_P5_HPMN, false, VPMU_SWITCH_EAGER, 3 },
	{ "lazy-p5fgt", MODEL_P5_FGT, false, VPMU_SWITCH_LAZY, 0 },
	{ "lazy-p5", MODEL_P5, false, VPMU_SWITCH_LAZY, 0 },
	{ "lazy-p1", MODEL_P1, false, VPMU_SWITCH_LAZY, 0 },
	{ "lazy-v3", MODEL_V3, false, VPMU_SWITCH_LAZY, 0 },
	{ "eager-p5fgt", MODEL_P5_FGT, false, VPMU_SWITCH_EAGER, 0 },
	{ "eager-p1", MODEL_P1, false, VPMU_SWITCH_EAGER, 0 },
	{ "small-p5fgt", MODEL_P5_FGT, false, VPMU_SWITCH_LAZY, 3 },
	{ "small-p1", MODEL_P1, false, VPMU_SWITCH_LAZY, 3 },
};

static const struct machine *machine;
static struct rig rig;
static struct model_pmu bare;
static jmp_buf failed;
static uint64_t first_values[PMU_REG_COUNT];

static void (*handler)(void *context);
static void *handler_context;
static bool irq_on;
static unsigned int irq_count;

#define ENCODING(name, op0, op1, crn, crm, op2) VPMU_ARM_SYSREG(op0, op1, crn, crm, op2),
static const uint32_t encodings[PMU_REG_COUNT] = { PMU_REGISTERS(ENCODING) };

/* ---- The guest's CPU ---- */

static struct rig_vcpu *self(void)
{
	return &rig.vcpus[machine->vcpu];
}

static bool line(void)
{
	return model_interrupt(machine->bare ? &bare : &self()->cpu->pmu);
}

/* The host does something else now and then: another guest, another CPU, its own counters. */
static void monitor_interferes(void)
{
	struct rig_vcpu *g = self(), *other = &rig.vcpus[1];
	struct rig_cpu *c = g->cpu;

	if (!rng_one_in(&rig.rng, 50))
		return;
	rig_exit(g);
	if (rng_one_in(&rig.rng, 2)) {
		rig_host_counts(c);
	} else {
		rig_put(g);
		rig_load(other, c);
		rig_enter(other);
		rig_run(other, 1, 10);
		rig_exit(other);
		rig_put(other);
		rig_load(g, &rig.cpus[rng_below(&rig.rng, RIG_CPUS)]);
	}
	rig_enter(g);
}

/* Level sensitive: taken again and again until a handler lowers the line or switches it off. */
static void take_interrupts(void)
{
	while (irq_on && line()) {
		if (!machine->bare) {
			rig_exit(self());
			rig_enter(self());
		}
		irq_count++;
		/* Masked while the handler runs. */
		irq_on = false;
		if (handler)
			handler(handler_context);
		irq_on = handler != NULL;
	}
}

static enum pmu_end end_of(int outcome)
{
	switch (outcome) {
	case VPMU_HANDLED:
		return PMU_OK;
	case VPMU_NOT_MINE:
	case VPMU_FAULT_UNDEF:
		return PMU_UNDEF;
	default:
		return PMU_TRAP;
	}
}

static enum pmu_end end_of_bare(enum model_result result)
{
	switch (result) {
	case MODEL_EXECUTED:
		return PMU_OK;
	case MODEL_UNDEF:
		return PMU_UNDEF;
	case MODEL_TRAP_EL1:
		return PMU_TRAP;
	default:
		return PMU_TRAP_EL2;
	}
}

/* The identification register is not the PMU's: the monitor answers it. */
static enum pmu_end identify(unsigned int el, bool write, uint64_t *value)
{
	if (el == 0 || write)
		return PMU_UNDEF;
	*value = machine->bare ? (uint64_t)bare.config.version << 8
			       : vpmu_arm_dfr0(&self()->vm->vm, 0);
	return PMU_OK;
}

static enum pmu_end access_reg(unsigned int el, enum pmu_reg reg, bool write, uint64_t *value)
{
	const struct model_events one = { .instructions = 1 };
	enum pmu_end end;

	if (reg == ID_AA64DFR0_EL1)
		return identify(el, write, value);
	if (machine->bare) {
		model_retire(&bare, el, &one);
		end = end_of_bare(model_guest_access(&bare, el, encodings[reg], write, value));
	} else {
		end = end_of(rig_access(self(), el, encodings[reg], write, value));
		monitor_interferes();
	}
	take_interrupts();
	return end;
}

/* ---- seam.h ---- */

enum pmu_end pmu_try_read(unsigned el, enum pmu_reg reg, uint64_t *value)
{
	uint64_t got = 0;
	enum pmu_end end = access_reg(el, reg, false, &got);

	if (end == PMU_OK)
		*value = got;
	return end;
}

enum pmu_end pmu_try_write(unsigned el, enum pmu_reg reg, uint64_t value)
{
	return access_reg(el, reg, true, &value);
}

uint64_t pmu_read(enum pmu_reg reg)
{
	uint64_t value = 0;

	if (pmu_try_read(1, reg, &value) != PMU_OK)
		longjmp(failed, 1);
	return value;
}

void pmu_write(enum pmu_reg reg, uint64_t value)
{
	if (pmu_try_write(1, reg, value) != PMU_OK)
		longjmp(failed, 1);
}

static void run_bare(unsigned int el, uint64_t n)
{
	const struct model_event_count speculative = { 0x1B, n };
	const struct model_events events = { n, CPI * n, &speculative, 1 };

	model_retire(&bare, el, &events);
}

/* One by one while an interrupt may come, with some skid in long runs; all at once if none may. */
void pmu_run(unsigned el, uint64_t n)
{
	while (n) {
		uint64_t skid = n > 1000 ? 50 : 1;
		uint64_t step = irq_on ? skid : n;

		if (machine->bare) {
			run_bare(el, step);
		} else {
			rig_run(self(), el, step);
			monitor_interferes();
		}
		take_interrupts();
		n -= step;
	}
}

unsigned pmu_el(void)
{
	return 1;
}

uint64_t pmu_cpi(void)
{
	return CPI;
}

/* Hardware with EL2 and EL3 keeps their filter bits where a guest writes selectors directly. */
bool pmu_allows(enum pmu_deviation which)
{
	return which == PMU_ALLOW_typer && (machine->bare || machine->class > MODEL_P5_FGT);
}

uint64_t pmu_first_value(enum pmu_reg reg)
{
	return first_values[reg];
}

bool pmu_line(void)
{
	pmu_irq_off();
	return line();
}

void pmu_irq_on(void (*fn)(void *context), void *context)
{
	handler = fn;
	handler_context = context;
	irq_count = 0;
	irq_on = true;
	take_interrupts();
}

void pmu_irq_off(void)
{
	irq_on = false;
	handler = NULL;
}

unsigned pmu_irq_count(void)
{
	return irq_count;
}

/* ---- The runner ---- */

static void start(void)
{
	struct model_config config;

	pmu_irq_off();
	if (machine->bare) {
		model_class_config(machine->class, &config);
		model_pmu_reset(&bare, &config, 0);
	} else {
		rig_init(&rig, machine->class, machine->kind, 5);
		/*
		 * The bodies know what to expect, RES0 bits included; the invariants are checked.
		 */
		rig.hostile = true;
		rig_load(self(), &rig.cpus[0]);
		rig_enter(self());
	}
	for (unsigned int reg = 0; reg < PMU_REG_COUNT; reg++)
		(void)pmu_try_read(1, (enum pmu_reg)reg, &first_values[reg]);
}

static void run(const struct pmu_test *test, struct pmu_result *result)
{
	start();
	if (test->flags & (PMU_ABSENT | PMU_SMP)) {
		pmu_skip(result, "needs another machine");
	} else if (setjmp(failed)) {
		result->verdict = PMU_FAIL;
		result->what = "unexpected exception";
	} else {
		pmu_quiet();
		test->body(result);
	}
	if (!machine->bare) {
		rig_exit(self());
		rig_put(self());
	}
}

static bool report(const struct pmu_test *test, const struct pmu_result *r)
{
	static const char *const words[] = { "ok", "not ok", "skip" };

	printf("%s %s/%s", words[r->verdict], machine->name, test->name);
	if (r->verdict != PMU_PASS)
		printf(": %s", r->what);
	if (r->verdict == PMU_FAIL && r->has_values)
		printf(" (at %llu: got %#llx, want %#llx)", (unsigned long long)r->at,
		       (unsigned long long)r->got, (unsigned long long)r->want);
	if (r->verdict == PMU_PASS && r->deviation)
		printf(" # deviation %s", r->deviation);
	printf("\n");
	return r->verdict != PMU_FAIL;
}

static bool run_all(const char *prefix)
{
	bool good = true;

	for (size_t i = 0; i < pmu_test_count; i++) {
		struct pmu_result result = { .verdict = PMU_PASS };

		if (strncmp(pmu_tests[i].name, prefix, strlen(prefix)))
			continue;
		run(&pmu_tests[i], &result);
		good &= report(&pmu_tests[i], &result);
	}
	return good;
}

static void all_machines(void **state)
{
	bool good = true;

	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		machine = &machines[i];
		good &= run_all(*state);
	}
	assert_true(good);
}

int main(int argc, char **argv)
{
	static char everything[] = "";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(all_machines, argc > 1 ? argv[1] : everything),
	};

	return cmocka_run_group_tests_name("bodies", tests, NULL, NULL);
}
