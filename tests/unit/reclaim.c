/* SPDX-License-Identifier: MIT */
/*
 * vpmu_cpu_reclaim(), the one door to a PMU that a guest is parked in (RULES A3): a test for each who
 * must knock, and that nothing is lost and nothing is seen by either side.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/arm.h>
#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "model_hw.h"
#include "x86_cpu.h"

#define INSTRUCTIONS 0xC0u
#define INST_RETIRED 0x08u
#define CYCLE VPMU_ARM_CYCLE
#define VALUE 0x5A5A00u          /* of counter 0, before it counts */

/* ---- One guest on one CPU: x86 ---- */

struct x86_bed {
	struct x86_cpu hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
};

static const enum x86_cpu_class vendors[] = { X86_CPU_SKYLAKE, X86_CPU_ZEN4 };

static bool x86_amd(const struct x86_bed *b)
{
	return b->model.vendor == VPMU_X86_AMD;
}

static void x86_write(struct x86_bed *b, uint32_t index, uint64_t value)
{
	assert_int_equal(vpmu_x86_wrmsr(&b->v, index, value), VPMU_HANDLED);
}

static uint64_t x86_value(struct x86_bed *b, unsigned int i)
{
	uint32_t index = x86_amd(b) ? X86_MSR_PERF_CTR(i) : X86_MSR_PERFCTR(i);
	uint64_t value = 0;

	assert_int_equal(vpmu_x86_rdmsr(&b->v, index, &value), VPMU_HANDLED);
	return value;
}

static void x86_cpu_starts(struct x86_bed *b, enum x86_cpu_class class)
{
	struct x86_pmu_config config;

	x86_cpu_class_config(class, &config);
	assert_int_equal(x86_cpu_init(&b->hw, &config, true), 0);
	b->hw.cost = NULL;
	/* What the host's driver, or the reset, left. */
	for (unsigned int i = 0; i < config.gp; i++)
		b->hw.pmu.gp[i] = 0xF00D00 + i;
}

static void x86_run(struct x86_bed *b, uint64_t n)
{
	const struct x86_pmu_events events = { .instructions = n, .cycles = n };

	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	x86_cpu_enter(&b->hw);
	x86_pmu_retire(&b->hw.pmu, false, &events);
	x86_cpu_exit(&b->hw);
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void x86_host_runs(struct x86_bed *b, uint64_t n)
{
	const struct x86_pmu_events events = { .instructions = n, .cycles = n };

	x86_cpu_host(&b->hw, false, &events);
	x86_cpu_host(&b->hw, true, &events);
}

/* Counters 0 and 1 count; the guest is PARKED after 100 instructions. */
static void x86_parked(struct x86_bed *b, enum x86_cpu_class class)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_MEDIATED };

	*b = (struct x86_bed){ .cpu = { .number = 0 } };
	x86_cpu_starts(b, class);
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.x86.hw), 0);
	assert_int_equal(vpmu_x86_model_of(&b->machine, &b->model), 0);
	assert_int_equal(vpmu_x86_vm_init(&b->vm, &b->machine, &b->model, &config), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu), 0);
	x86_write(b, x86_amd(b) ? X86_MSR_PERF_CTR(0) : X86_MSR_PERFCTR(0), VALUE);
	for (unsigned int i = 0; i < 2; i++)
		x86_write(b, x86_amd(b) ? X86_MSR_PERF_CTL(i) : X86_MSR_PERFEVTSEL(i),
			  X86_SEL_USR | X86_SEL_OS | X86_SEL_EN | INSTRUCTIONS);
	x86_write(b, x86_amd(b) ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, 3);
	x86_run(b, 100);
	assert_int_equal(vpmu_cpu_nmi_owner(&b->cpu), VPMU_OWNER_PARKED);
}

static void x86_counts(struct x86_bed *b, uint64_t n)
{
	assert_int_equal(x86_value(b, 0), VALUE + n);
	assert_int_equal(x86_value(b, 1), n);
	for (unsigned int i = 2; i < b->model.gp; i++)
		assert_int_equal(x86_value(b, i), 0);
}

static void x86_end(struct x86_bed *b)
{
	if (b->hw.violations)
		print_error("%s\n", b->hw.violation);
	assert_int_equal(b->hw.violations, 0);
}

/* ---- The same: Arm ---- */

struct arm_bed {
	struct model_pmu pmu;
	struct model_hw hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	uint64_t user;               /* PMUSERENR_EL0 of the host */
};

static uint64_t arm_access(struct arm_bed *b, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };

	assert_int_equal(vpmu_arm_access(&b->v, &access), VPMU_HANDLED);
	return access.value;
}

static void arm_run(struct arm_bed *b, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = n };

	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	b->hw.guest_runs = true;
	model_retire(&b->pmu, 1, &events);
	b->hw.guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void arm_host_runs(struct arm_bed *b, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = n };

	model_retire(&b->pmu, 2, &events);
}

/* Out of reset everything that the architecture leaves UNKNOWN is rubbish. */
static void arm_cpu_starts(struct arm_bed *b, enum model_class class, uint64_t seed)
{
	struct model_config config;

	model_class_config(class, &config);
	model_pmu_reset(&b->pmu, &config, seed);
	model_hw_init(&b->hw, &b->pmu);
	b->pmu.pmuserenr = b->user;
	b->pmu.pmselr = 3;
}

static void arm_parked(struct arm_bed *b, enum model_class class, uint64_t user)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_MEDIATED };

	*b = (struct arm_bed){ .user = user };
	arm_cpu_starts(b, class, 1);
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.hw), 0);
	assert_int_equal(vpmu_arm_model_of(&b->machine, &b->model), 0);
	assert_int_equal(vpmu_arm_vm_init(&b->vm, &b->machine, &b->model, &config), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu), 0);
	arm_access(b, MODEL_PMEVCNTR(0), true, VALUE);
	for (unsigned int i = 0; i < 2; i++)
		arm_access(b, MODEL_PMEVTYPER(i), true, INST_RETIRED);
	arm_access(b, MODEL_PMCNTENSET, true, 3);
	arm_access(b, MODEL_PMCR, true, MODEL_PMCR_E);
	arm_run(b, 100);
	assert_int_equal(vpmu_cpu_nmi_owner(&b->cpu), VPMU_OWNER_PARKED);
}

static void arm_counts(struct arm_bed *b, uint64_t n)
{
	assert_int_equal(arm_access(b, MODEL_PMEVCNTR(0), false, 0), VALUE + n);
	assert_int_equal(arm_access(b, MODEL_PMEVCNTR(1), false, 0), n);
	for (unsigned int i = 2; i < b->model.counters; i++)
		assert_int_equal(arm_access(b, MODEL_PMEVCNTR(i), false, 0), 0);
	assert_int_equal(arm_access(b, MODEL_PMCCNTR, false, 0), 0);
}

static void arm_end(struct arm_bed *b)
{
	if (b->hw.violations)
		print_error("%s\n", b->hw.violation);
	assert_int_equal(b->hw.violations, 0);
}

/* ---- The door itself ---- */

/* Idempotent; free in HOST; not while the guest runs. */
static void the_door(void **state)
{
	struct x86_bed x;
	struct arm_bed a;
	uint64_t accesses;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		x86_parked(&x, vendors[k]);
		assert_int_equal(vpmu_vcpu_enter(&x.v, 0), 0);
		accesses = x.hw.x86.hw.accesses;
		assert_int_equal(vpmu_cpu_reclaim(&x.cpu, 0), VPMU_ERR_STATE);
		assert_int_equal(x.hw.x86.hw.accesses, accesses);
		assert_int_equal(vpmu_vcpu_exit(&x.v, 0), 0);
		assert_int_equal(vpmu_cpu_reclaim(&x.cpu, 0), 0);
		assert_true(x.hw.x86.hw.accesses > accesses);
		accesses = x.hw.x86.hw.accesses;
		assert_int_equal(vpmu_cpu_reclaim(&x.cpu, 0), 0);
		assert_int_equal(x.hw.x86.hw.accesses, accesses);
		assert_int_equal(vpmu_cpu_nmi_owner(&x.cpu), VPMU_OWNER_HOST);
		x86_counts(&x, 100);
	}
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		arm_parked(&a, (enum model_class)class, 0xF);
		assert_int_equal(vpmu_vcpu_enter(&a.v, 0), 0);
		accesses = a.hw.hw.accesses;
		assert_int_equal(vpmu_cpu_reclaim(&a.cpu, 0), VPMU_ERR_STATE);
		assert_int_equal(a.hw.hw.accesses, accesses);
		assert_int_equal(vpmu_vcpu_exit(&a.v, 0), 0);
		assert_int_equal(vpmu_cpu_reclaim(&a.cpu, 0), 0);
		accesses = a.hw.hw.accesses;
		assert_int_equal(vpmu_cpu_reclaim(&a.cpu, 0), 0);
		assert_int_equal(a.hw.hw.accesses, accesses);
		assert_int_equal(vpmu_cpu_nmi_owner(&a.cpu), VPMU_OWNER_HOST);
		arm_counts(&a, 100);
	}
}

/* ---- The host's PMU driver: what it is going to write is not scrubbed first ---- */

static void knock_of_the_driver(void **state)
{
	struct x86_bed x;
	struct arm_bed a;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		x86_parked(&x, vendors[k]);
		assert_int_equal(vpmu_cpu_reclaim(&x.cpu, 1), 0);
		assert_int_equal(x.hw.pmu.gp[0], VALUE + 100);
		assert_int_equal(x.hw.pmu.gp[1], 0);
		/* It counts, and leaves what it has in the way of the guest's 0. */
		for (unsigned int round = 0; round < 3; round++) {
			assert_int_equal(vpmu_cpu_reclaim(&x.cpu, 0x5), 0);
			x.hw.pmu.gp[0] = 0xD0;
			x.hw.pmu.gp[2] = 0xD2;
			x.hw.pmu.selector[2] = 0;
			x86_host_runs(&x, 11);
			x86_run(&x, 10);
			x86_counts(&x, 110 + 10 * round);
		}
		x86_end(&x);
	}
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		/* Selectors stay in the hardware if its user mode sees nothing. */
		arm_parked(&a, (enum model_class)class, 0);
		assert_int_equal(vpmu_cpu_reclaim(&a.cpu, 1), 0);
		assert_int_equal(a.pmu.pmevcntr[0], VALUE + 100);
		assert_int_equal(a.pmu.pmevcntr[1], 0);
		for (unsigned int round = 0; round < 3; round++) {
			assert_int_equal(vpmu_cpu_reclaim(&a.cpu, 0x5), 0);
			a.pmu.pmevcntr[0] = 0xD0;
			a.pmu.pmevcntr[2] = 0xD2;
			a.pmu.pmevtyper[0] = a.pmu.pmevtyper[2] = 0x3C;
			arm_host_runs(&a, 11);
			arm_run(&a, 10);
			arm_counts(&a, 110 + 10 * round);
		}
		arm_end(&a);
	}
}

/* ---- User mode: without the knock it would read the guest's counters ---- */

static uint64_t x86_ring3(const struct x86_bed *b, unsigned int i)
{
	uint64_t value = 0;

	assert_true(x86_pmu_rdpmc(&b->hw.pmu, i, 3, true, true, &value));
	return value;
}

static void knock_of_user_mode(void **state)
{
	struct x86_bed x;
	struct arm_bed a;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		x86_parked(&x, vendors[k]);
		assert_int_equal(x86_ring3(&x, 0), VALUE + 100);
		assert_int_equal(vpmu_cpu_reclaim(&x.cpu, 0), 0);
		x86_host_runs(&x, 50);
		for (unsigned int i = 0; i < 2; i++)
			assert_int_equal(x86_ring3(&x, i), 0);
		x86_run(&x, 1);
		x86_counts(&x, 101);
		x86_end(&x);
	}
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		arm_parked(&a, (enum model_class)class, 0xF);
		assert_int_equal(a.pmu.pmevcntr[0], VALUE + 100);
		/* The guest grants its EL0 nothing: parked, the host's has nothing either. */
		assert_int_equal(a.pmu.pmuserenr, 0);
		assert_int_equal(vpmu_cpu_reclaim(&a.cpu, 0), 0);
		assert_int_equal(a.pmu.pmuserenr, 0xF);
		assert_int_equal(a.pmu.pmselr, 3);
		for (unsigned int i = 0; i < 2; i++) {
			assert_int_equal(a.pmu.pmevcntr[i], 0);
			assert_int_equal(a.pmu.pmevtyper[i], 0);
		}
		arm_run(&a, 1);
		assert_int_equal(a.pmu.pmuserenr, 0);
		arm_counts(&a, 101);
		arm_end(&a);
	}
}

/* ---- CPU hotplug (M111): reclaim and put in either order, or put alone; then all is new ---- */

enum offline { RECLAIM_AND_PUT, PUT_AND_RECLAIM, PUT_ALONE, PUT_WITH_A_REQUEST, OFFLINES };

static void go_offline(struct vpmu_cpu *cpu, struct vpmu_vcpu *v, enum offline way)
{
	if (way == RECLAIM_AND_PUT)
		assert_int_equal(vpmu_cpu_reclaim(cpu, 0), 0);
	/* Asked for by another CPU, and not yet done. */
	if (way == PUT_WITH_A_REQUEST)
		assert_true(vpmu_cpu_request_reclaim(cpu));
	assert_int_equal(vpmu_vcpu_put(v), 0);
	if (way == PUT_AND_RECLAIM)
		assert_int_equal(vpmu_cpu_reclaim(cpu, ~UINT64_C(0)), 0);
	assert_false(vpmu_cpu_request_reclaim(cpu));
}

static void knock_of_hotplug(void **state)
{
	struct x86_bed x;
	struct arm_bed a;

	(void)state;
	for (unsigned int k = 0; k < OFFLINES * ARRAY_SIZE(vendors); k++) {
		enum x86_cpu_class class = vendors[k / OFFLINES];

		x86_parked(&x, class);
		for (uint64_t life = 1; life < 4; life++) {
			go_offline(&x.cpu, &x.v, (enum offline)(k % OFFLINES));
			/* Powered off and on: nothing that was known of it is so. */
			x86_cpu_starts(&x, class);
			assert_int_equal(vpmu_cpu_init(&x.cpu, 0, &x.hw.x86.hw), 0);
			vpmu_cpu_poll(&x.cpu);
			assert_int_equal(vpmu_vcpu_load(&x.v, &x.cpu), 0);
			x86_run(&x, 10);
			x86_counts(&x, 100 + 10 * life);
		}
		x86_end(&x);
	}
	for (unsigned int k = 0; k < OFFLINES * MODEL_CLASSES; k++) {
		enum model_class class = (enum model_class)(k / OFFLINES);

		arm_parked(&a, class, 0xF);
		for (uint64_t life = 1; life < 4; life++) {
			go_offline(&a.cpu, &a.v, (enum offline)(k % OFFLINES));
			assert_int_equal(a.pmu.pmuserenr, 0xF);
			arm_cpu_starts(&a, class, life + 1);
			assert_int_equal(vpmu_cpu_init(&a.cpu, 0, &a.hw.hw), 0);
			vpmu_cpu_poll(&a.cpu);
			assert_int_equal(vpmu_vcpu_load(&a.v, &a.cpu), 0);
			arm_run(&a, 10);
			arm_counts(&a, 100 + 10 * life);
		}
		arm_end(&a);
	}
}

/* ---- Host events and other guests knock by themselves ---- */

static void those_who_knock_by_themselves(void **state)
{
	const struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = INSTRUCTIONS,
		.user = true, .kernel = true, .exclude_guest = true,
	};
	struct vpmu_host_event e;
	struct vpmu_vcpu other;
	struct x86_bed x;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(vendors); k++) {
		x86_parked(&x, vendors[k]);
		x.hw.host_owned = 0xF0;
		assert_int_equal(vpmu_host_event_create(&e, &x.machine, &x.cpu, &config), 0);
		assert_null(x.cpu.resident);
		for (unsigned int i = 0; i < 2; i++)
			assert_int_equal(x86_ring3(&x, i), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		x86_run(&x, 5);
		x86_counts(&x, 105);
		vpmu_vcpu_init(&other, &x.vm);
		assert_int_equal(vpmu_vcpu_load(&other, &x.cpu), VPMU_ERR_STATE);
		assert_int_equal(vpmu_vcpu_put(&x.v), 0);
		assert_null(x.cpu.resident);
		for (unsigned int i = 0; i < 2; i++)
			assert_int_equal(x86_ring3(&x, i), 0);
		assert_int_equal(vpmu_vcpu_load(&other, &x.cpu), 0);
		assert_int_equal(vpmu_vcpu_put(&other), 0);
		assert_int_equal(vpmu_vcpu_load(&x.v, &x.cpu), 0);
		x86_run(&x, 5);
		x86_counts(&x, 110);
		x86_end(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_door),
		cmocka_unit_test(knock_of_the_driver),
		cmocka_unit_test(knock_of_user_mode),
		cmocka_unit_test(knock_of_hotplug),
		cmocka_unit_test(those_who_knock_by_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
