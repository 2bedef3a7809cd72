/* SPDX-License-Identifier: MIT */
/* The whole way: a KVM guest's emulated PMU, its registers in core, its counts from a real one. */
#include "cases.h"

#include <vpmu/arm.h>

#include <unistd.h>

#define PMCR VPMU_ARM_SYSREG(3, 3, 9, 12, 0)
#define PMCNTENSET VPMU_ARM_SYSREG(3, 3, 9, 12, 1)
#define PMOVSCLR VPMU_ARM_SYSREG(3, 3, 9, 12, 3)
#define PMCCNTR VPMU_ARM_SYSREG(3, 3, 9, 13, 0)
#define PMINTENSET VPMU_ARM_SYSREG(3, 0, 9, 14, 1)
#define PMEVCNTR0 VPMU_ARM_SYSREG(3, 3, 14, 8, 0)
#define PMEVTYPER0 VPMU_ARM_SYSREG(3, 3, 14, 12, 0)

#define CYCLES_BIT (1u << VPMU_ARM_CYCLE)
#define INST_RETIRED 0x08u
#define NOT_EL1 0x80000000u
#define NOT_EL0 0x40000000u

static struct vpmu_machine machine;
static struct vpmu_vm vm;
static struct vpmu_vcpu v;
static struct vpmu_emulated emulated;

static const struct vpmu_arm_model model = {
	.size = sizeof(model),
	.version = VPMU_ARM_V3P5,
	.counters = 4,
	.ceid = { 1u << INST_RETIRED | 1u << 0x11 },
};

static uint64_t access_register(uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };

	check(vpmu_arm_access(&v, &access) == VPMU_HANDLED, "no access to register %#x", reg);
	return access.value;
}

static void set(uint32_t reg, uint64_t value)
{
	(void)access_register(reg, true, value);
}

static uint64_t get(uint32_t reg)
{
	return access_register(reg, false, 0);
}

static void start_vcpu(void)
{
	const struct vpmu_vm_config config = { .size = sizeof(config),
					       .mode = VPMU_MODE_EMULATED };

	vpmu_machine_init(&machine);
	check(!vpmu_arm_vm_init(&vm, &machine, &model, &config), "no VM");
	vpmu_vcpu_init(&v, &vm);
	start_source_of(&v, false, end_guest);
	check(!vpmu_vcpu_attach(&v, &emulated, &source.source), "no source");
	check(!vpmu_vcpu_load(&v, NULL), "not loaded");
}

static void stop_vcpu(void)
{
	check(!vpmu_vcpu_put(&v), "not put");
	check(!vpmu_vcpu_detach(&v), "not detached");
	stop_source();
}

/*
 * Into the guest and out again; a hint in between counts. returns: true: to the end of the loop.
 */
static bool enter_and_exit(void)
{
	bool ended;

	allow_guest();
	while (vpmu_vcpu_enter(&v, 0) == VPMU_AGAIN)
		;
	ended = enter_guest();
	check(!vpmu_vcpu_exit(&v, 0), "no exit");
	return ended;
}

static uint64_t counted_by_guest(uint64_t iterations)
{
	uint64_t before = get(PMEVCNTR0);

	set_guest_loop(iterations);
	check(enter_and_exit(), "a signal for nothing");
	return get(PMEVCNTR0) - before;
}

static void emulated_counts(void)
{
	static const uint64_t lengths[] = { 1, 1000, 123457, 2000000 };

	start_vcpu();
	set(PMEVTYPER0, INST_RETIRED);
	set(PMCNTENSET, 1);
	set(PMCR, 1);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint64_t n = counted_by_guest(lengths[i]), expected = guest_length(lengths[i]);

		check(n == expected, "%lu of %lu instructions", n, expected);
		loop(100000);
	}
	set(PMCR, 0);
	check(counted_by_guest(1000) == 0, "it counts though it is off");
	set(PMCR, 1);
	set(PMEVTYPER0, INST_RETIRED | NOT_EL1);
	check(counted_by_guest(1000) == 0, "it counts EL1, which it excludes");
	set(PMEVTYPER0, INST_RETIRED | NOT_EL0);
	check(counted_by_guest(1000) == guest_length(1000), "it does not count EL1");
	stop_vcpu();
}

#define SAMPLES 20u
#define PERIOD 500009u

/* As a guest's kernel samples: each overflow is an interrupt, whose handler sets the next. */
static void emulated_sampling(void)
{
	unsigned int after_warm_up = 0;

	start_vcpu();
	set(PMCCNTR, (uint64_t)0 - PERIOD);
	set(PMINTENSET, CYCLES_BIT);
	set(PMCNTENSET, CYCLES_BIT);
	set(PMCR, 0x41);
	set_guest_loop(UINT64_MAX);
	for (unsigned int i = 0; i < SAMPLES; i++) {
		uint64_t late;

		check(!enter_and_exit(), "the loop has an end");
		check(vpmu_vcpu_interrupt(&v) == 1, "sample %u: no interrupt", i);
		late = get(PMCCNTR);
		check(late < 100000, "sample %u: %lu cycles late", i, late);
		set(PMCCNTR, (uint64_t)0 - PERIOD);
		set(PMOVSCLR, CYCLES_BIT);
		check(vpmu_vcpu_interrupt(&v) == 0, "sample %u: the interrupt stays", i);
		if (i == 0)
			after_warm_up = opened;
	}
	check(opened == after_warm_up, "%u events opened while sampling", opened - after_warm_up);
	stop_vcpu();
	allow_guest();
	set_guest_loop(1);
	check(enter_guest(), "the guest does not end");
}

void cases_of_emulated_guests(void)
{
	if (access("/dev/kvm", R_OK | W_OK)) {
		skip_case("emulated_guest", "this machine has no EL2: no /dev/kvm");
		return;
	}
	(void)set_kernel("perf_user_access", 0);
	run_case("emulated_counts", emulated_counts);
	run_case("emulated_sampling", emulated_sampling);
	if (!set_kernel("perf_user_access", 1))
		return;
	run_case("emulated_counts_with_user_reads", emulated_counts);
	run_case("emulated_sampling_with_user_reads", emulated_sampling);
}
