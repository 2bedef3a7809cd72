/* SPDX-License-Identifier: MIT */
/* (b) libvpmu over a counting source: every access of the guest's exits. */
#include <vpmu/x86.h>

#include "source.h"

static struct emulated {
	struct machine machine;
	struct bench_source source;
	struct vpmu_machine host;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
} the;

static bool overflow(void *context, unsigned int slot)
{
	return vpmu_vcpu_overflow(context, slot);
}

static void leave(struct machine *m, enum exit_kind kind)
{
	m->tally.exits[kind]++;
	machine_expect(vpmu_vcpu_exit(&the.v, 0) == 0, "emulated: exit");
}

/* What a hypervisor asks before each entry. */
static void deliver(struct machine *m)
{
	if (vpmu_vcpu_pmi(&the.v) == 1 && machine_pmi(m))
		machine_expect(vpmu_vcpu_lvtpc(&the.v, m->lvtpc) == 0, "emulated: LVTPC");
}

static void enter(struct machine *m)
{
	do
		deliver(m);
	while (vpmu_vcpu_enter(&the.v, 0) == VPMU_AGAIN);
}

static void emulated_wrmsr(struct machine *m, uint32_t index, uint64_t value)
{
	leave(m, EXIT_ACCESS);
	machine_expect(vpmu_x86_wrmsr(&the.v, index, value) == VPMU_HANDLED, "emulated: WRMSR");
	enter(m);
}

static uint64_t emulated_rdmsr(struct machine *m, uint32_t index)
{
	uint64_t value = 0;

	leave(m, EXIT_ACCESS);
	machine_expect(vpmu_x86_rdmsr(&the.v, index, &value) == VPMU_HANDLED, "emulated: RDMSR");
	enter(m);
	return value;
}

static uint64_t emulated_rdpmc(struct machine *m, uint32_t index)
{
	struct vpmu_x86_rdpmc r = { .index = index, .protected_mode = true };

	leave(m, EXIT_ACCESS);
	machine_expect(vpmu_x86_rdpmc(&the.v, &r) == VPMU_HANDLED, "emulated: RDPMC");
	enter(m);
	return r.value;
}

static void emulated_set_lvtpc(struct machine *m, uint32_t value)
{
	leave(m, EXIT_LVTPC);
	m->lvtpc = value;
	machine_expect(vpmu_vcpu_lvtpc(&the.v, value) == 0, "emulated: LVTPC");
	enter(m);
}

static void emulated_execute(struct machine *m, const struct work *w)
{
	struct work rest = *w;

	while (rest.units) {
		if (!bench_source_execute(&the.source, &rest))
			continue;
		leave(m, EXIT_OVERFLOW);
		enter(m);
	}
}

static void emulated_ordinary_exit(struct machine *m)
{
	leave(m, EXIT_ORDINARY);
	enter(m);
}

static void emulated_end(struct machine *m)
{
	(void)m;
	machine_expect(vpmu_vcpu_exit(&the.v, 0) == 0, "emulated: exit");
	machine_expect(vpmu_vcpu_put(&the.v) == 0, "emulated: put");
	machine_expect(vpmu_vcpu_detach(&the.v) == 0, "emulated: detach");
}

static const struct machine_ops ops = {
	.name = "emulated",
	.wrmsr = emulated_wrmsr,
	.rdmsr = emulated_rdmsr,
	.rdpmc = emulated_rdpmc,
	.set_lvtpc = emulated_set_lvtpc,
	.execute = emulated_execute,
	.ordinary_exit = emulated_ordinary_exit,
	.end = emulated_end,
};

struct machine *machine_emulated(bool cheap)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };
	struct x86_pmu_config physical;

	the = (struct emulated){ .machine = { .ops = &ops, .lvtpc = X86_LVTPC_MASKED } };
	machine_config(&physical);
	x86_cpu_model(&physical, &the.model);
	vpmu_machine_init(&the.host);
	machine_expect(vpmu_x86_vm_init(&the.vm, &the.host, &the.model, &config) == 0,
		       "emulated: VM");
	vpmu_vcpu_init(&the.v, &the.vm);
	bench_source_init(&the.source, &the.machine.tally, cheap);
	the.source.overflow = overflow;
	the.source.context = &the.v;
	machine_expect(vpmu_vcpu_attach(&the.v, &the.emulated, &the.source.source) == 0,
		       "emulated: attach");
	machine_expect(vpmu_vcpu_load(&the.v, NULL) == 0, "emulated: load");
	enter(&the.machine);
	return &the.machine;
}
