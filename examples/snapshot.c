/* SPDX-License-Identifier: MIT */
/*
 * A guest counts software increments until the counter overflows; its PMU is copied to another VM, which
 * reads the same. No hardware is needed: a vCPU that is not loaded is served from memory.
 *
 * cc -std=c11 snapshot.c $(pkg-config --cflags --libs vpmu) && ./a.out
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <vpmu/arm.h>

#define PMCR VPMU_ARM_SYSREG(3, 3, 9, 12, 0)
#define PMCNTENSET VPMU_ARM_SYSREG(3, 3, 9, 12, 1)
#define PMSWINC VPMU_ARM_SYSREG(3, 3, 9, 12, 4)
#define PMINTENSET VPMU_ARM_SYSREG(3, 0, 9, 14, 1)
#define PMOVSSET VPMU_ARM_SYSREG(3, 3, 9, 14, 3)
#define PMEVCNTR0 VPMU_ARM_SYSREG(3, 3, 14, 8, 0)
#define PMEVTYPER0 VPMU_ARM_SYSREG(3, 3, 14, 12, 0)

struct guest {
	struct vpmu_vm vm;
	struct vpmu_vcpu vcpu;
};

static void check(int result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "snapshot: %s\n", vpmu_strerror(result));
	exit(1);
}

/* What a hypervisor does at a trap: decode the register, ask, deliver the fault or the value. */
static uint64_t trap(struct guest *g, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };
	int outcome = vpmu_arm_access(&g->vcpu, &access);

	check(outcome);
	if (outcome != VPMU_HANDLED) {
		fprintf(stderr, "snapshot: the guest faults (%d)\n", outcome);
		exit(1);
	}
	return access.value;
}

static void print(const char *name, struct guest *g)
{
	printf("%s: counter %" PRIu64 ", status %#" PRIx64 ", interrupt %d\n", name,
	       trap(g, PMEVCNTR0, false, 0), trap(g, PMOVSSET, false, 0),
	       vpmu_vcpu_interrupt(&g->vcpu));
}

int main(void)
{
	static struct vpmu_machine machine;
	static struct guest a, b;
	static struct vpmu_state state;
	const uint64_t counters = 0x8000003F;  /* six event counters and the cycle counter */
	const struct vpmu_hw_caps caps = { .counters = counters, .selectable = counters,
					   .version = VPMU_ARM_V3P1 };
	const struct vpmu_arm_model model = {
		.size = sizeof(model),
		.version = VPMU_ARM_V3P1,
		.counters = 6,
		.ceid = { 1u << 0 | 1u << 0x11, 0 },
	};
	const struct vpmu_vm_config config = { .size = sizeof(config) };

	vpmu_machine_init(&machine);
	vpmu_machine_add(&machine, &caps);
	check(vpmu_arm_vm_init(&a.vm, &machine, &model, &config));
	check(vpmu_arm_vm_init(&b.vm, &machine, &model, &config));
	vpmu_vcpu_init(&a.vcpu, &a.vm);
	vpmu_vcpu_init(&b.vcpu, &b.vm);

	trap(&a, PMEVTYPER0, true, 0);           /* event 0: software increment */
	trap(&a, PMEVCNTR0, true, 0xFFFFFFFE);   /* two before the overflow */
	trap(&a, PMINTENSET, true, 1);
	trap(&a, PMCNTENSET, true, 1);
	trap(&a, PMCR, true, 1);
	print("before", &a);
	for (int i = 0; i < 3; i++)
		trap(&a, PMSWINC, true, 1);
	print("after", &a);

	check(vpmu_vcpu_get_state(&a.vcpu, &state));
	check(vpmu_vcpu_set_state(&b.vcpu, &state));
	print("copy", &b);
	return 0;
}
