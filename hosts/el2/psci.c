/* SPDX-License-Identifier: MIT */
/*
 * psci.c - power: the guest's calls (PSCI 1.1, DEN 0022; SMCCC 1.1, DEN 0028), served here, and
 * ours to the firmware, by SMC. A CPU that the guest starts begins at secondary_entry and enters
 * the guest from there.
 */
#include "monitor.h"

#define PSCI_VERSION           0x84000000u
#define PSCI_CPU_SUSPEND       0x84000001u
#define PSCI_CPU_OFF           0x84000002u
#define PSCI_CPU_ON            0x84000003u
#define PSCI_AFFINITY_INFO     0x84000004u
#define PSCI_MIGRATE_INFO_TYPE 0x84000006u
#define PSCI_SYSTEM_OFF        0x84000008u
#define PSCI_SYSTEM_RESET      0x84000009u
#define PSCI_FEATURES          0x8400000Au
#define PSCI_SMC64             0x40000000u
#define SMCCC_VERSION          0x80000000u

/*
 * Ours (vendor specific hypervisor service): spin a1 times at EL2, to show that nothing counts it.
 */
#define DEBUG_SPIN             0xC6000001u
#define SPIN_MAX 1000000u

uint64_t firmware_call_hvc(uint64_t function, uint64_t a, uint64_t b, uint64_t c);

static _Noreturn void power_call(uint32_t function)
{
	/*
	 * HVC leads to the firmware only if we are not the hypervisor: entered at EL1 by mistake.
	 */
	if (machine.psci_hvc && FIELD(read_sysreg(CurrentEL), 2, 2) == 1)
		firmware_call_hvc(function, 0, 0, 0);
	else
		firmware_call(function, 0, 0, 0);
	for (;;)
		wfi();
}

void machine_off(void)
{
	power_call(PSCI_SYSTEM_OFF);
}

void machine_reset(void)
{
	power_call(PSCI_SYSTEM_RESET);
}

static _Noreturn void guest_end(struct cpu *c, uint32_t function)
{
	gic_stop_others(c);
	pmu_cpu_off(c);
	if (options.stats)
		stats_print();
	profile_print();
	power_call(function);
}

void cpu_stop_requested(struct cpu *c)
{
	pmu_cpu_off(c);
	atomic_store(&c->stopped, true);
	for (;;)
		wfi();
}

int64_t firmware_start_cpu(struct cpu *c)
{
	return (int64_t)firmware_call(PSCI_CPU_ON | PSCI_SMC64, c->mpidr, (uintptr_t)secondary_entry,
				      (uintptr_t)c);
}

/* A CPU may be asked to start by several others at once: one wins. */
static int64_t cpu_on(struct cpu *caller, uint64_t target, uint64_t entry, uint64_t context)
{
	int i = machine_cpu_index(target);
	uint32_t expected = CPU_OFF;
	int64_t result;
	struct cpu *c;

	(void)caller;
	if (i < 0 || cpu_affinity(target) != target)
		return PSCI_INVALID_PARAMETERS;
	if (entry % 4 || !machine_is_guest_ram((struct range){ entry, entry + 4 }))
		return PSCI_INVALID_ADDRESS;
	c = &cpus[i];
	if (!atomic_compare_exchange_strong(&c->power, &expected, CPU_ON_PENDING))
		return expected == CPU_ON ? PSCI_ALREADY_ON : PSCI_ON_PENDING;
	c->entry = entry;
	c->context = context;
	result = firmware_start_cpu(c);
	if (result != PSCI_SUCCESS)
		atomic_store(&c->power, CPU_OFF);  /* it may be on its way off still: ALREADY_ON */
	return result;
}

static int64_t cpu_off(struct cpu *c)
{
	pmu_cpu_off(c);
	gic_cpu_off(c);
	atomic_store(&c->power, CPU_OFF);
	firmware_call(PSCI_CPU_OFF, 0, 0, 0);
	machine_fail("the firmware does not switch off CPU %u\n", c->index);
}

/* A CPU that we have let go is off when the firmware says so. */
static int64_t affinity_info(struct cpu *c, uint64_t target, uint64_t level)
{
	int i = machine_cpu_index(target);

	(void)c;
	if (i < 0 || level != 0)
		return PSCI_INVALID_PARAMETERS;
	switch (atomic_load(&cpus[i].power)) {
	case CPU_ON:
		return AFFINITY_ON;
	case CPU_ON_PENDING:
		return AFFINITY_ON_PENDING;
	default:
		return (int64_t)firmware_call(PSCI_AFFINITY_INFO | PSCI_SMC64, target, 0, 0);
	}
}

/*
 * Every state is entered as standby, which PSCI allows: an interrupt, physical or already with the
 * guest, ends it at once.
 */
static int64_t cpu_suspend(struct cpu *c)
{
	/* While we hold the counters stopped, a PMU interrupt that is due shows no line. */
	if (!gic_has_virtual_pending(c) && !pmu_interrupt(c)) {
		profile_wait(c);
		wfi();
		profile_waited(c);
	}
	return PSCI_SUCCESS;
}

/* The time is the caller's own, and bounded: two instructions each. A name of its own in a profile. */
static __attribute__((noinline)) int64_t debug_spin(uint64_t n)
{
	if (n > SPIN_MAX)
		return PSCI_INVALID_PARAMETERS;
	if (n)
		__asm__ volatile("1:	subs	%0, %0, #1\n"
				 "	b.ne	1b"
				 : "+r" (n) : : "cc");
	return PSCI_SUCCESS;
}

static void one_guest_end(struct cpu *c, uint32_t function)
{
	guest_end(c, function);
}

static const struct power_ops one_guest_power = {
	.suspend = cpu_suspend,
	.off = cpu_off,
	.on = cpu_on,
	.affinity = affinity_info,
	.end = one_guest_end,
};

static int64_t features(uint32_t function)
{
	switch (function) {
	case PSCI_VERSION:
	case PSCI_CPU_OFF:
	case PSCI_MIGRATE_INFO_TYPE:
	case PSCI_SYSTEM_OFF:
	case PSCI_SYSTEM_RESET:
	case PSCI_FEATURES:
	case SMCCC_VERSION:
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_ON:
	case PSCI_AFFINITY_INFO:
	case PSCI_CPU_SUSPEND | PSCI_SMC64:
	case PSCI_CPU_ON | PSCI_SMC64:
	case PSCI_AFFINITY_INFO | PSCI_SMC64:
		return PSCI_SUCCESS;
	}
	return PSCI_NOT_SUPPORTED;
}

static int64_t call(struct cpu *c, uint32_t function, const uint64_t *a)
{
	const struct power_ops *power = c->vcpu ? &tenant_power : &one_guest_power;

	switch (function) {
	case PSCI_VERSION:
		return 0x10001;
	case SMCCC_VERSION:
		return 0x10001;
	case PSCI_FEATURES:
		return features((uint32_t)a[0]);
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_SUSPEND | PSCI_SMC64:
		return power->suspend(c);
	case PSCI_CPU_OFF:
		return power->off(c);
	case PSCI_CPU_ON:
		return power->on(c, (uint32_t)a[0], (uint32_t)a[1], (uint32_t)a[2]);
	case PSCI_CPU_ON | PSCI_SMC64:
		return power->on(c, a[0], a[1], a[2]);
	case PSCI_AFFINITY_INFO:
		return power->affinity(c, (uint32_t)a[0], (uint32_t)a[1]);
	case PSCI_AFFINITY_INFO | PSCI_SMC64:
		return power->affinity(c, a[0], a[1]);
	case PSCI_MIGRATE_INFO_TYPE:
		return 2;  /* no trusted OS that would have to move */
	case DEBUG_SPIN:
		return debug_spin(a[0]);
	case PSCI_SYSTEM_OFF:
	case PSCI_SYSTEM_RESET:
		power->end(c, function);
	}
	return PSCI_NOT_SUPPORTED;
}

void psci_call(struct cpu *c, struct regs *r)
{
	count_exit(c, EXIT_PSCI);
	r->x[0] = (uint64_t)call(c, (uint32_t)r->x[0], &r->x[1]);
}
