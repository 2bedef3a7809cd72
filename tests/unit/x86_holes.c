/* SPDX-License-Identifier: MIT */
/* What a hostile review of the x86 half found, each hole as a test. */
#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "script_source.h"
#include "x86_cpu.h"

#define SELI (X86_SEL_USR | X86_SEL_OS | X86_SEL_INT | X86_SEL_EN | 0xC0u)

struct bed {
	struct x86_pmu_config config;
	struct x86_cpu hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
};

static void power_on(struct bed *b, const struct x86_pmu_config *config)
{
	*b = (struct bed){ .config = *config };
	assert_int_equal(x86_cpu_init(&b->hw, &b->config, true), 0);
	b->hw.cost = NULL;
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.x86.hw), 0);
	x86_cpu_model(config, &b->model);
}

static int make_vm(struct bed *b, struct vpmu_vm *vm, const struct vpmu_x86_model *model)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_MEDIATED };

	return vpmu_x86_vm_init(vm, &b->machine, model, &config);
}

static void make_guest(struct bed *b)
{
	assert_int_equal(make_vm(b, &b->vm, &b->model), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu), 0);
}

static void guest_write(struct bed *b, uint32_t index, uint64_t value)
{
	assert_int_equal(vpmu_x86_wrmsr(&b->v, index, value), VPMU_HANDLED);
}

static void enter(struct bed *b)
{
	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	x86_cpu_enter(&b->hw);
}

static void leave(struct bed *b)
{
	x86_cpu_exit(&b->hw);
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void runs(struct bed *b, uint64_t n)
{
	const struct x86_pmu_events events = { .instructions = n, .cycles = n };

	x86_pmu_retire(&b->hw.pmu, false, &events);
}

/* What a selector may have, the machine must have (V4, V10). */
static void transactions_need_the_machine(void **state)
{
	struct x86_pmu_config config;
	struct bed b;

	(void)state;
	x86_cpu_class_config(X86_CPU_SKYLAKE, &config);
	config.tsx = false;
	power_on(&b, &config);
	b.model.tsx = true;
	assert_int_equal(make_vm(&b, &b.vm, &b.model), VPMU_ERR_UNSUPPORTED);
	config.tsx = true;
	power_on(&b, &config);
	assert_true(b.model.tsx);
	assert_int_equal(make_vm(&b, &b.vm, &b.model), 0);
	vpmu_vm_end(&b.vm);
	assert_int_equal(vpmu_x86_model_of(&b.machine, &b.model), 0);
	assert_true(b.model.tsx);
}

/* GLOBAL_CTRL[48] and RDPMC 20000000H would reach the machine's PERF_METRICS. */
static void metrics_are_not_reached(void **state)
{
	struct x86_pmu_config config;
	struct vpmu_x86_model pmu;
	struct bed b;

	(void)state;
	for (unsigned int metrics = 0; metrics < 2; metrics++) {
		x86_cpu_class_config(X86_CPU_ICELAKE, &config);
		power_on(&b, &config);
		pmu = b.model;
		pmu.metrics = metrics;
		assert_int_equal(vpmu_x86_hw_init(&b.hw.x86, &pmu, b.hw.x86.port, &b.hw,
						  X86_CPU_VECTOR), 0);
		vpmu_machine_init(&b.machine);
		vpmu_machine_add(&b.machine, &b.hw.x86.hw.caps);
		assert_int_equal(make_vm(&b, &b.vm, &pmu), metrics ? VPMU_ERR_PARAM : 0);
		vpmu_vm_end(&b.vm);
		assert_int_equal(vpmu_cpu_init(&b.cpu, 0, &b.hw.x86.hw), 0);
		make_guest(&b);
		guest_write(&b, X86_MSR_PERFEVTSEL(0), SELI);
		enter(&b);
		assert_true(vpmu_x86_is_direct(&b.v, X86_MSR_PERFCTR(0), true));
		assert_int_equal(vpmu_x86_is_direct(&b.v, X86_MSR_GLOBAL_CTRL, true), !metrics);
		leave(&b);
	}
}

/* An event that the machine lacks is not advertised, whatever the model says (V12). */
static void missing_events(void **state)
{
	struct x86_pmu_config config;
	uint32_t regs[4];
	struct bed b;

	(void)state;
	x86_cpu_class_config(X86_CPU_SKYLAKE, &config);
	config.events_missing = 1u << VPMU_X86_BRANCHES;
	power_on(&b, &config);
	b.model.events_missing = 0;
	assert_int_equal(make_vm(&b, &b.vm, &b.model), 0);
	vpmu_x86_cpuid(&b.vm, 0xA, 0, regs);
	assert_int_equal(regs[1], 1u << VPMU_X86_BRANCHES);
}

/* A guest that never clears its status gets a PMI for each overflow, with other old ones beside it. */
static void never_clears(void **state)
{
	static const enum x86_cpu_class classes[] = { X86_CPU_SKYLAKE, X86_CPU_ZEN4 };
	struct x86_pmu_config config;
	struct bed b;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		bool amd = classes[k] == X86_CPU_ZEN4;

		x86_cpu_class_config(classes[k], &config);
		power_on(&b, &config);
		make_guest(&b);
		for (uint32_t i = 0; i < 2; i++) {
			guest_write(&b, amd ? X86_MSR_PERF_CTL(i) : X86_MSR_PERFEVTSEL(i), SELI);
			guest_write(&b, amd ? X86_MSR_PERF_CTR(i) : X86_MSR_PERFCTR(i), 0);
		}
		guest_write(&b, amd ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, 3);
		for (uint32_t round = 0; round < 8; round++) {
			uint32_t i = round % 2;

			assert_int_equal(vpmu_vcpu_lvtpc(&b.v, 0x400), 0);
			guest_write(&b, amd ? X86_MSR_PERF_CTR(i) : X86_MSR_PERFCTR(i), 0 - (uint64_t)10);
			enter(&b);
			runs(&b, 10);
			leave(&b);
			assert_int_equal(x86_pmu_take_interrupt(&b.hw.pmu), X86_CPU_VECTOR);
			assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_GUEST);
			assert_int_equal(vpmu_vcpu_pmi(&b.v), 1);
			if (!amd)
				assert_int_equal(vpmu_vcpu_lvtpc(&b.v, 0x10400), 0);
		}
		assert_int_equal(b.hw.violations, 0);
	}
}

/* A status bit that comes after the put is not the next guest's (C2, V2). */
static void late_status(void **state)
{
	static const enum x86_cpu_class classes[] = { X86_CPU_SKYLAKE, X86_CPU_ZEN4 };
	struct x86_pmu_config config;
	struct vpmu_vcpu other;
	struct bed b;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		bool amd = classes[k] == X86_CPU_ZEN4;
		uint64_t status = 0;

		x86_cpu_class_config(classes[k], &config);
		config.status_skid = config.interrupt_skid = 50;
		power_on(&b, &config);
		make_guest(&b);
		assert_int_equal(vpmu_vcpu_lvtpc(&b.v, 0x400), 0);
		guest_write(&b, amd ? X86_MSR_PERF_CTL(0) : X86_MSR_PERFEVTSEL(0), SELI);
		guest_write(&b, amd ? X86_MSR_PERF_CTR(0) : X86_MSR_PERFCTR(0), 0 - (uint64_t)10);
		guest_write(&b, amd ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, 1);
		enter(&b);
		runs(&b, 10);
		leave(&b);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		for (unsigned int i = 0; i < 60; i++)
			x86_pmu_step(&b.hw.pmu);
		vpmu_vcpu_init(&other, &b.vm);
		b.v = other;
		assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu), 0);
		assert_int_equal(vpmu_vcpu_lvtpc(&b.v, 0x400), 0);
		guest_write(&b, amd ? X86_MSR_PERF_CTL(0) : X86_MSR_PERFEVTSEL(0), SELI);
		enter(&b);
		runs(&b, 1);
		leave(&b);
		(void)x86_pmu_take_interrupt(&b.hw.pmu);
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_LATE);
		assert_int_equal(vpmu_vcpu_pmi(&b.v), 0);
		assert_int_equal(vpmu_x86_rdmsr(&b.v, amd ? X86_MSR_AMD_GLOBAL_STATUS
							  : X86_MSR_GLOBAL_STATUS, &status),
				 VPMU_HANDLED);
		assert_int_equal(status, 0);
	}
}

/* "One per exit" is about this residency's exits. */
static void given_before_the_restore(void **state)
{
	struct x86_pmu_config config;
	struct vpmu_state saved;
	struct bed b;

	(void)state;
	x86_cpu_class_config(X86_CPU_SKYLAKE, &config);
	power_on(&b, &config);
	make_guest(&b);
	assert_int_equal(vpmu_vcpu_lvtpc(&b.v, 0x400), 0);
	guest_write(&b, X86_MSR_PERFEVTSEL(0), SELI);
	guest_write(&b, X86_MSR_PERFCTR(0), 0 - (uint64_t)1);
	assert_int_equal(vpmu_count(&b.v, VPMU_EVENT_INSTRUCTIONS, false, 1), 0);
	assert_int_equal(vpmu_vcpu_get_state(&b.v, &saved), 0);
	assert_int_equal(saved.pending, 1);
	assert_int_equal(vpmu_vcpu_pmi(&b.v), 1);
	assert_int_equal(vpmu_vcpu_put(&b.v), 0);
	assert_int_equal(vpmu_vcpu_set_state(&b.v, &saved), 0);
	assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu), 0);
	assert_int_equal(vpmu_vcpu_pmi(&b.v), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transactions_need_the_machine),
		cmocka_unit_test(metrics_are_not_reached),
		cmocka_unit_test(missing_events),
		cmocka_unit_test(never_clears),
		cmocka_unit_test(late_status),
		cmocka_unit_test(given_before_the_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
