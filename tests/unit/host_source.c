/* SPDX-License-Identifier: MIT */
/*
 * sources/host: emulated guests that count on host events, beside partitioned guests and events of the
 * host's own.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/arm.h>

#include "host_source.h"
#include "model_hw.h"

#define INST_RETIRED 0x08u
#define CPU_CYCLES 0x11u
#define ARM_EVENT_BITS 0xFFFFu
#define CPUS 2u

struct bed {
	struct model_config config;
	struct model_pmu pmu[CPUS];
	struct model_hw hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine machine;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_host_source source;
	unsigned int at;             /* where v is loaded */
};

static void power_on(struct bed *b, enum model_class class, uint32_t counters)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };

	*b = (struct bed){ .at = 0 };
	model_class_config(class, &b->config);
	vpmu_machine_init(&b->machine);
	for (unsigned int i = 0; i < CPUS; i++) {
		model_pmu_reset(&b->pmu[i], &b->config, 1 + i);
		model_hw_init(&b->hw[i], &b->pmu[i]);
		vpmu_machine_add(&b->machine, &b->hw[i].hw.caps);
		assert_int_equal(vpmu_cpu_init(&b->cpu[i], i, &b->hw[i].hw), 0);
	}
	assert_int_equal(vpmu_arm_model_of(&b->machine, &b->model), 0);
	b->model.counters = counters;
	assert_int_equal(vpmu_arm_vm_init(&b->vm, &b->machine, &b->model, &config), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	vpmu_host_source_init(&b->source, &b->machine, &b->v, ARM_EVENT_BITS);
	assert_int_equal(vpmu_vcpu_attach(&b->v, &b->emulated, &b->source.source), 0);
}

static void load(struct bed *b, unsigned int cpu)
{
	b->at = cpu;
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu[cpu]), 0);
	vpmu_host_source_load(&b->source, &b->cpu[cpu]);
}

static void put(struct bed *b)
{
	vpmu_host_source_put(&b->source);
	assert_null(b->cpu[b->at].events);
	assert_int_equal(vpmu_vcpu_put(&b->v), 0);
}

static uint64_t trap(struct bed *b, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };

	assert_int_equal(vpmu_arm_access(&b->v, &access), VPMU_HANDLED);
	return access.value;
}

static void guest_counts(struct bed *b, unsigned int i, uint64_t selector)
{
	trap(b, i == 31 ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i), true, selector);
	trap(b, MODEL_PMCNTENSET, true, BIT(i));
	trap(b, MODEL_PMCR, true, MODEL_PMCR_E);
}

static void runs(struct bed *b, unsigned int el, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = 2 * n };

	model_retire(&b->pmu[b->at], el, &events);
	for (unsigned int i = 0; i < CPUS; i++)
		b->hw[i].time += n;
}

static void enter(struct bed *b)
{
	while (vpmu_vcpu_enter(&b->v, 0) == VPMU_AGAIN)
		;
	b->hw[b->at].guest_runs = true;
}

static void leave(struct bed *b)
{
	b->hw[b->at].guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void guest_runs(struct bed *b, unsigned int el, uint64_t n)
{
	enter(b);
	runs(b, el, n);
	leave(b);
}

/* The overflow interrupt is an exit. returns: whether it was one of the host's events. */
static bool interrupt(struct bed *b)
{
	struct vpmu_cpu *cpu = &b->cpu[b->at];
	struct vpmu_host_event *e;

	assert_int_equal(vpmu_cpu_pmi(cpu), VPMU_PMI_HOST);
	while ((e = vpmu_cpu_sample(cpu)) != NULL)
		if (!vpmu_host_source_sample(&b->source, e))
			return true;
	return false;
}

static void at_the_end(struct bed *b)
{
	assert_int_equal(vpmu_vcpu_detach(&b->v), 0);
	for (unsigned int i = 0; i < CPUS; i++) {
		if (b->hw[i].violations)
			print_error("%s\n", b->hw[i].violation);
		assert_int_equal(b->hw[i].violations, 0);
		assert_null(b->cpu[i].events);
		assert_int_equal(b->cpu[i].host_counters, 0);
		assert_int_equal(b->pmu[i].pmcnten | b->pmu[i].pminten | b->pmu[i].pmovs, 0);
	}
}

/* In the rings it asks for, and nothing of EL2; the count goes with the guest from CPU to CPU. */
static void counts_across_cpus(void **state)
{
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class, 5);
		load(&b, 0);
		guest_counts(&b, 0, INST_RETIRED);
		guest_counts(&b, 1, INST_RETIRED | MODEL_FILTER_P);
		guest_counts(&b, 31, MODEL_FILTER_U);
		for (unsigned int i = 0; i < 10; i++) {
			guest_runs(&b, 1, 100);
			runs(&b, 2, 1000);
			guest_runs(&b, 0, 3);
			put(&b);
			runs(&b, 1, 7);
			load(&b, i % CPUS);
		}
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 1030);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(1), false, 0), 30);
		assert_int_equal(trap(&b, MODEL_PMCCNTR, false, 0), 2000);
		put(&b);
		at_the_end(&b);
	}
}

static void overflows(void **state)
{
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class, 5);
		load(&b, 0);
		trap(&b, MODEL_PMINTENSET, true, 1);
		guest_counts(&b, 0, INST_RETIRED);
		trap(&b, MODEL_PMEVCNTR(0), true, 0xFFFFFFFF - 99);
		guest_runs(&b, 1, 99);
		assert_false(model_interrupt(&b.pmu[0]));
		put(&b);
		load(&b, 1);
		enter(&b);
		runs(&b, 0, 1);
		assert_true(model_interrupt(&b.pmu[1]));
		leave(&b);
		assert_false(interrupt(&b));
		assert_false(model_interrupt(&b.pmu[1]));
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 1);
		assert_int_equal((uint32_t)trap(&b, MODEL_PMEVCNTR(0), false, 0), 0);
		trap(&b, MODEL_PMOVSCLR, true, 1);
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 0);
		put(&b);
		at_the_end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_across_cpus),
		cmocka_unit_test(overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
