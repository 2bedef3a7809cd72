/* SPDX-License-Identifier: MIT */
/*
 * (c) A switch of everything around every exit, in the order of Linux 7.0's mediated vPMU for
 * Intel, with what it skips: counters whose value is there already, zeros, an empty status. Its
 * accesses are executed on the software CPU and counted one by one.
 *
 * Not counted: taking the host's perf events out and back in, which here are none, and fields of
 * the VMCS. Linux 7.0 switches less often than this: exits that its fast path handles leave the
 * guest loaded.
 */
#include "machine.h"

#define GP 8u
#define FIXED 3u
#define RDPMC_FIXED 0x40000000u
#define VECTOR_NMI X86_LVTPC_NMI

/*
 * What the hypervisor remembers of the guest. There is no filter, so the hardware copies are equal.
 */
static struct eager {
	struct machine machine;
	struct x86_cpu cpu;
	uint64_t gp[GP];
	uint64_t selector[GP];
	uint64_t fixed[FIXED];
	uint64_t fixed_ctrl;
	uint64_t status;
	uint64_t global;
	bool pmi;                    /* requested for the running guest */
} the;

/* ---- One access ---- */

static uint64_t rdmsr(uint32_t index)
{
	the.machine.tally.accesses++;
	return the.cpu.x86.port->rdmsr(&the.cpu, index);
}

static void wrmsr(uint32_t index, uint64_t value)
{
	the.machine.tally.accesses++;
	the.cpu.x86.port->wrmsr(&the.cpu, index, value);
}

static uint64_t rdpmc(uint32_t index)
{
	the.machine.tally.accesses++;
	return the.cpu.x86.port->rdpmc(&the.cpu, index);
}

static void set_lvtpc(uint32_t value)
{
	the.machine.tally.accesses++;
	the.cpu.x86.port->set_lvtpc(&the.cpu, value);
}

/* ---- Load ---- */

static void load_counters(void)
{
	for (unsigned int i = 0; i < GP; i++) {
		if (rdpmc(i) != the.gp[i])
			wrmsr(X86_MSR_PMC(i), the.gp[i]);
		wrmsr(X86_MSR_PERFEVTSEL(i), the.selector[i]);
	}
	for (unsigned int i = 0; i < FIXED; i++) {
		if (rdpmc(RDPMC_FIXED | i) != the.fixed[i])
			wrmsr(X86_MSR_FIXED_CTR(i), the.fixed[i]);
	}
}

static void load_status(void)
{
	uint64_t hardware = rdmsr(X86_MSR_GLOBAL_STATUS);
	uint64_t toggle = the.status ^ hardware;

	if (hardware & toggle)
		wrmsr(X86_MSR_STATUS_RESET, hardware & toggle);
	if (the.status & toggle)
		wrmsr(X86_MSR_STATUS_SET, the.status & toggle);
}

static void load(void)
{
	wrmsr(X86_MSR_GLOBAL_CTRL, 0);
	set_lvtpc(X86_CPU_VECTOR | (the.machine.lvtpc & X86_LVTPC_MASKED));
	load_counters();
	load_status();
	wrmsr(X86_MSR_FIXED_CTR_CTRL, the.fixed_ctrl);
	the.cpu.x86.port->set_guest_global(&the.cpu, the.global);
}

/* ---- Put ---- */

static void put_counters(void)
{
	for (unsigned int i = 0; i < GP; i++) {
		the.gp[i] = rdpmc(i);
		if (the.gp[i])
			wrmsr(X86_MSR_PMC(i), 0);
		if (the.selector[i])
			wrmsr(X86_MSR_PERFEVTSEL(i), 0);
	}
	for (unsigned int i = 0; i < FIXED; i++) {
		the.fixed[i] = rdpmc(RDPMC_FIXED | i);
		if (the.fixed[i])
			wrmsr(X86_MSR_FIXED_CTR(i), 0);
	}
}

static void put(void)
{
	the.global = the.cpu.x86.port->guest_global(&the.cpu);
	the.status = rdmsr(X86_MSR_GLOBAL_STATUS);
	if (the.status)
		wrmsr(X86_MSR_STATUS_RESET, the.status);
	if (the.fixed_ctrl)
		wrmsr(X86_MSR_FIXED_CTR_CTRL, 0);
	put_counters();
	set_lvtpc(VECTOR_NMI);
}

/* ---- Around the guest ---- */

static void leave(struct machine *m, enum exit_kind kind)
{
	m->tally.exits[kind]++;
	x86_cpu_exit(&the.cpu);
	put();
	if (x86_pmu_take_interrupt(&the.cpu.pmu) == (int)X86_CPU_VECTOR)
		the.pmi = true;
}

static void enter(struct machine *m)
{
	if (the.pmi)
		(void)machine_pmi(m);
	the.pmi = false;
	load();
	x86_cpu_enter(&the.cpu);
}

/*
 * Only selectors and FIXED_CTR_CTRL are intercepted, as the guest's counters are all the machine's.
 */
static void eager_wrmsr(struct machine *m, uint32_t index, uint64_t value)
{
	machine_expect(index != X86_MSR_FIXED_CTR_CTRL, "eager: this guest has no use for it");
	if (index - X86_MSR_PERFEVTSEL(0) >= GP) {
		machine_expect(x86_pmu_wrmsr(&the.cpu.pmu, index, value), "eager: direct WRMSR");
		return;
	}
	leave(m, EXIT_ACCESS);
	the.selector[index - X86_MSR_PERFEVTSEL(0)] = value;
	enter(m);
}

static uint64_t eager_rdmsr(struct machine *m, uint32_t index)
{
	uint64_t value = 0;

	(void)m;
	machine_expect(x86_pmu_rdmsr(&the.cpu.pmu, index, &value), "eager: direct RDMSR");
	return value;
}

static uint64_t eager_rdpmc(struct machine *m, uint32_t index)
{
	uint64_t value = 0;

	(void)m;
	machine_expect(x86_pmu_rdpmc(&the.cpu.pmu, index, 0, false, true, &value),
		       "eager: direct RDPMC");
	return value;
}

static void eager_set_lvtpc(struct machine *m, uint32_t value)
{
	leave(m, EXIT_LVTPC);
	m->lvtpc = value;
	enter(m);
}

static void eager_execute(struct machine *m, const struct work *w)
{
	machine_retire(&the.cpu, w);
	if (x86_pmu_interrupt(&the.cpu.pmu) == X86_PMU_NO_INTERRUPT)
		return;
	leave(m, EXIT_OVERFLOW);
	enter(m);
}

static void eager_ordinary_exit(struct machine *m)
{
	leave(m, EXIT_ORDINARY);
	enter(m);
}

static void eager_end(struct machine *m)
{
	leave(m, EXIT_ORDINARY);
	machine_expect(!the.cpu.violations, "eager: an access that may not be");
}

static const struct machine_ops ops = {
	.name = "eager",
	.wrmsr = eager_wrmsr,
	.rdmsr = eager_rdmsr,
	.rdpmc = eager_rdpmc,
	.set_lvtpc = eager_set_lvtpc,
	.execute = eager_execute,
	.ordinary_exit = eager_ordinary_exit,
	.end = eager_end,
};

struct machine *machine_eager(bool cheap)
{
	struct x86_pmu_config physical;

	(void)cheap;
	the = (struct eager){ .machine = { .ops = &ops, .lvtpc = X86_LVTPC_MASKED } };
	machine_config(&physical);
	machine_expect(physical.gp == GP && physical.fixed == FIXED, "eager: another machine");
	machine_expect(x86_cpu_init(&the.cpu, &physical, true) == 0, "eager: CPU");
	the.cpu.x86.port->switch_global(&the.cpu, true, 0);
	the.global = (1u << GP) - 1;
	enter(&the.machine);
	return &the.machine;
}

uint64_t eager_idle_accesses(void)
{
	struct machine *m = machine_eager(true);
	uint64_t before = m->tally.accesses;

	eager_ordinary_exit(m);
	return m->tally.accesses - before;
}
