/* SPDX-License-Identifier: MIT */
/* (d) libvpmu's mediated mode: the lazy switch, on the software CPU. */
#include <vpmu/x86.h>

#include "machine.h"

static struct mediated {
	struct machine machine;
	struct x86_cpu cpu;
	struct vpmu_machine host;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_cpu owner;
	struct vpmu_vcpu v;
	uint64_t before;             /* the CPU's accesses at the last tally */
} the;

static void count(struct machine *m)
{
	m->tally.accesses += the.cpu.x86.hw.accesses - the.before;
	the.before = the.cpu.x86.hw.accesses;
}

static void leave(struct machine *m, enum exit_kind kind)
{
	m->tally.exits[kind]++;
	x86_cpu_exit(&the.cpu);
	machine_expect(vpmu_vcpu_exit(&the.v, 0) == 0, "mediated: exit");
	while (x86_pmu_take_interrupt(&the.cpu.pmu) != X86_PMU_NO_INTERRUPT)
		(void)vpmu_cpu_pmi(&the.owner);
}

static void enter(struct machine *m)
{
	do {
		if (vpmu_vcpu_pmi(&the.v) == 1 && machine_pmi(m))
			machine_expect(vpmu_vcpu_lvtpc(&the.v, m->lvtpc) == 0, "mediated: LVTPC");
	} while (vpmu_vcpu_enter(&the.v, 0) == VPMU_AGAIN);
	count(m);
	x86_cpu_enter(&the.cpu);
}

static void mediated_wrmsr(struct machine *m, uint32_t index, uint64_t value)
{
	if (vpmu_x86_is_direct(&the.v, index, true)) {
		machine_expect(x86_pmu_wrmsr(&the.cpu.pmu, index, value), "mediated: direct WRMSR");
		return;
	}
	leave(m, EXIT_ACCESS);
	machine_expect(vpmu_x86_wrmsr(&the.v, index, value) == VPMU_HANDLED, "mediated: WRMSR");
	enter(m);
}

static uint64_t mediated_rdmsr(struct machine *m, uint32_t index)
{
	uint64_t value = 0;

	if (vpmu_x86_is_direct(&the.v, index, false)) {
		machine_expect(x86_pmu_rdmsr(&the.cpu.pmu, index, &value),
			       "mediated: direct RDMSR");
		return value;
	}
	leave(m, EXIT_ACCESS);
	machine_expect(vpmu_x86_rdmsr(&the.v, index, &value) == VPMU_HANDLED, "mediated: RDMSR");
	enter(m);
	return value;
}

static uint64_t mediated_rdpmc(struct machine *m, uint32_t index)
{
	struct vpmu_x86_rdpmc r = { .index = index, .protected_mode = true };

	if (vpmu_x86_rdpmc_is_direct(&the.v)) {
		machine_expect(x86_pmu_rdpmc(&the.cpu.pmu, index, 0, false, true, &r.value),
			       "mediated: direct RDPMC");
		return r.value;
	}
	leave(m, EXIT_ACCESS);
	machine_expect(vpmu_x86_rdpmc(&the.v, &r) == VPMU_HANDLED, "mediated: RDPMC");
	enter(m);
	return r.value;
}

static void mediated_set_lvtpc(struct machine *m, uint32_t value)
{
	leave(m, EXIT_LVTPC);
	m->lvtpc = value;
	machine_expect(vpmu_vcpu_lvtpc(&the.v, value) == 0, "mediated: LVTPC");
	enter(m);
}

static void mediated_execute(struct machine *m, const struct work *w)
{
	machine_retire(&the.cpu, w);
	if (x86_pmu_interrupt(&the.cpu.pmu) == X86_PMU_NO_INTERRUPT)
		return;
	leave(m, EXIT_OVERFLOW);
	enter(m);
}

static void mediated_ordinary_exit(struct machine *m)
{
	leave(m, EXIT_ORDINARY);
	enter(m);
}

static void mediated_end(struct machine *m)
{
	leave(m, EXIT_ORDINARY);
	machine_expect(vpmu_vcpu_put(&the.v) == 0, "mediated: put");
	machine_expect(!the.cpu.violations, "mediated: an access that may not be");
}

static const struct machine_ops ops = {
	.name = "mediated",
	.wrmsr = mediated_wrmsr,
	.rdmsr = mediated_rdmsr,
	.rdpmc = mediated_rdpmc,
	.set_lvtpc = mediated_set_lvtpc,
	.execute = mediated_execute,
	.ordinary_exit = mediated_ordinary_exit,
	.end = mediated_end,
};

struct machine *machine_mediated(bool cheap)
{
	const struct vpmu_vm_config config = {
		.size = sizeof(config), .mode = VPMU_MODE_MEDIATED, .switch_kind = VPMU_SWITCH_LAZY,
	};
	struct x86_pmu_config physical;

	(void)cheap;
	the = (struct mediated){ .machine = { .ops = &ops, .lvtpc = X86_LVTPC_MASKED } };
	machine_config(&physical);
	x86_cpu_model(&physical, &the.model);
	machine_expect(x86_cpu_init(&the.cpu, &physical, true) == 0, "mediated: CPU");
	vpmu_machine_init(&the.host);
	vpmu_machine_add(&the.host, &the.cpu.x86.hw.caps);
	machine_expect(vpmu_cpu_init(&the.owner, 0, &the.cpu.x86.hw) == 0, "mediated: owner");
	machine_expect(vpmu_x86_vm_init(&the.vm, &the.host, &the.model, &config) == 0,
		       "mediated: VM");
	vpmu_vcpu_init(&the.v, &the.vm);
	machine_expect(vpmu_vcpu_load(&the.v, &the.owner) == 0, "mediated: load");
	enter(&the.machine);
	return &the.machine;
}
