/* SPDX-License-Identifier: MIT */
/*
 * tenant_pmu.c - libvpmu's calls where guests take turns: a guest's PMU is loaded when its turn
 * begins and put when it ends. In between pmu.h's calls do what they do for one guest.
 *
 * Nobody but guests uses the PMU here, so that nothing is reclaimed between turns: what the next
 * one loads, libvpmu knows to be scrubbed. The interrupt of a guest that is not loaded waits in its
 * state: the line rises again when it is loaded and entered.
 */
#include "tenant.h"

static bool machine_has_pmu;

static void must(int error)
{
	if (unlikely(error < 0))
		pmu_failed(error);
}

static void init_vm(struct vm *vm)
{
	if (vm->options->mode == PMU_OFF)
		return;
	pmu_vm_init(&vm->pmu, &vm->pmu_model, &vm->pmu_policy, vm->options);
	for (unsigned int i = 0; i < vm->cpu_count; i++) {
		vpmu_vcpu_init(&vm->vcpu[i].pmu, &vm->pmu);
		vm->vcpu[i].has_pmu = true;
	}
}

void tenant_pmu_init(void)
{
	machine_has_pmu = pmu_machine_init();
	for (unsigned int i = 0; machine_has_pmu && i < vm_count; i++)
		init_vm(&vms[i]);
}

void tenant_pmu_cpu_init(struct cpu *c)
{
	if (machine_has_pmu)
		pmu_hw_init(c);
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
	c->pmu.present = v->has_pmu;
	c->pmu.late = v->pmu_late;
	c->pmu.vcpu = &v->pmu;
	if (v->has_pmu)
		must(vpmu_vcpu_load(&v->pmu, &c->pmu.cpu));
	else
		write_sysreg(mdcr_el2, read_sysreg(mdcr_el2) | MDCR_NO_PMU);
}

void tenant_pmu_put(struct cpu *c, struct vcpu *v)
{
	if (!v->has_pmu)
		return;
	must(vpmu_vcpu_put(&v->pmu));
	v->pmu_late = c->pmu.late;
	c->pmu.present = false;
}

bool tenant_pmu_due(struct vcpu *v)
{
	return v->has_pmu && tgic_takes(v, PPI_PMU) && vpmu_vcpu_interrupt(&v->pmu) == 1;
}
