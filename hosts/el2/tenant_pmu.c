/* SPDX-License-Identifier: MIT */
/*
 * tenant_pmu.c - libvpmu's calls where guests take turns: a guest's PMU is loaded when its turn
 * begins and put when it ends. In between pmu.h's calls do what they do for one guest.
 *
 * The host uses the PMU by libvpmu's events alone (profile.c), so that nothing is reclaimed between turns:
 * what the next one loads, libvpmu knows to be scrubbed. The interrupt of a guest that is not loaded waits in its
 * state: the line rises again when it is loaded and entered.
 */
#include "tenant.h"

static bool machine_has_pmu;

static void must(int error)
{
	if (unlikely(error < 0))
		pmu_failed(error);
}

static bool is_emulated(const struct vcpu *v)
{
	return v->vm->options->mode == PMU_EMULATED;
}

static void init_vm(struct vm *vm)
{
	struct vpmu_machine *on;

	if (vm->options->mode == PMU_OFF)
		return;
	on = hetero_vm_init(vm);
	pmu_vm_init(&vm->pmu, on, &vm->pmu_model, vpmu_arm_attributes_policy(&vm->pmu_attributes),
		    vm->options);
	for (unsigned int i = 0; i < vm->cpu_count; i++) {
		struct vcpu *v = &vm->vcpu[i];

		pmu_vcpu_init(&v->pmu, &vm->pmu, is_emulated(v) ? &v->pmu_backing : NULL);
		v->has_pmu = true;
	}
}

void tenant_pmu_init(void)
{
	struct vpmu_machine *all = pmu_machine_init();

	machine_has_pmu = all;
	if (all)
		hetero_init(all);
	for (unsigned int i = 0; machine_has_pmu && i < vm_count; i++)
		init_vm(&vms[i]);
	profile_init();
}

void tenant_pmu_cpu_init(struct cpu *c)
{
	if (!machine_has_pmu)
		return;
	pmu_hw_init(c);
	hetero_cpu_init(c);
	profile_cpu_init(c);
}

void tenant_pmu_reset(struct vcpu *v)
{
	if (v->has_pmu)
		must(vpmu_vcpu_reset(&v->pmu));
}

/*
 * libvpmu leaves nothing open where nothing is loaded. Said again, for a guest that shall find no
 * PMU.
 */
void tenant_pmu_load(struct cpu *c, struct vcpu *v)
{
	pmu_set_present(&c->pmu, v->has_pmu);
	c->pmu.late = v->pmu_late;
	c->pmu.vcpu = &v->pmu;
	c->pmu.backing = is_emulated(v) ? &v->pmu_backing : NULL;
	if (v->has_pmu)
		pmu_load(&c->pmu);
	else
		write_sysreg(mdcr_el2, read_sysreg(mdcr_el2) | MDCR_NO_PMU);
}

void tenant_pmu_put(struct cpu *c, struct vcpu *v)
{
	profile_put(c);
	if (!v->has_pmu)
		return;
	pmu_put(&c->pmu);
	v->pmu_late = c->pmu.late;
	pmu_set_present(&c->pmu, false);
	profile_was_put(c);
}

/*
 * An emulated PMU's line is in software. It changes when the guest accesses its PMU, when an instruction is
 * counted for it, and when one of its events has sampled.
 */
void tenant_pmu_line(struct cpu *c)
{
	struct vcpu *v = c->vcpu;

	if (!v->has_pmu || !is_emulated(v) || !c->pmu.line_stale)
		return;
	c->pmu.line_stale = false;
	tgic_set_private_line(v, PPI_PMU, vpmu_vcpu_interrupt(&v->pmu) == 1);
}

bool tenant_pmu_due(struct vcpu *v)
{
	return v->has_pmu && tgic_takes(v, PPI_PMU) && vpmu_vcpu_interrupt(&v->pmu) == 1;
}
