/* SPDX-License-Identifier: MIT */
/*
 * tenant_trap.c - exceptions where guests take turns: as in trap.c, with list registers read back
 * first, and the scheduler's word last.
 */
#include "tenant.h"

/* ---- Interrupts of this CPU ---- */

static void end(uint32_t intid)
{
	write_sysreg(icc_eoir1_el1, intid);
}

static void end_and_deactivate(uint32_t intid)
{
	end(intid);
	write_sysreg(icc_dir_el1, intid);
}

/* It stays active in the hardware, so that it cannot storm, until the guest has ended it. */
static void overflow_interrupt(struct cpu *c)
{
	count_exit(c, EXIT_PMI);
	if (!pmu_irq(c)) {
		end_and_deactivate(PPI_PMU);
		return;
	}
	end(PPI_PMU);
	tgic_hardware(c, PPI_PMU);
}

void tenant_interrupt(struct cpu *c, uint32_t intid)
{
	switch (intid) {
	case PPI_PMU:
		overflow_interrupt(c);
		return;
	case PPI_HYP_TIMER:
		count_exit(c, EXIT_TIMER);
		end_and_deactivate(intid);
		if (c->vcpu)
			sched_slice_ended(c);
		return;
	case PPI_MAINTENANCE:
		count_exit(c, EXIT_MAINTENANCE);
		end_and_deactivate(intid);
		return;
	}
	if (intid < 16) {            /* sched.c's */
		count_exit(c, EXIT_KICK);
		end_and_deactivate(intid);
		return;
	}
	count_exit(c, EXIT_IRQ);
	end(intid);
	tgic_hardware(c, intid);
}

/* Acknowledged before the PMU is touched, as in trap.c. */
void tenant_irq(struct regs *r)
{
	struct cpu *c = this_cpu();
	uint32_t intid = (uint32_t)read_sysreg(icc_iar1_el1);

	pmu_exit(&c->pmu);
	tgic_sync(c);
	if (intid < INTID_SPECIAL)
		tenant_interrupt(c, intid);
	sched_leave(c, r);
}

void tenant_fiq(struct regs *r)
{
	struct cpu *c = this_cpu();
	uint32_t intid = (uint32_t)read_sysreg(icc_iar0_el1);

	pmu_exit(&c->pmu);
	tgic_sync(c);
	if (intid < INTID_SPECIAL) {
		write_sysreg(icc_eoir0_el1, intid);
		write_sysreg(icc_dir_el1, intid);
	}
	sched_leave(c, r);
}

/* ---- What the guest does ---- */

void tenant_sync(struct regs *r)
{
	struct cpu *c = this_cpu();

	pmu_exit(&c->pmu);
	tgic_sync(c);
	trap_handle(c, r);
	sched_leave(c, r);
}

void tenant_serror(struct regs *r)
{
	struct cpu *c = this_cpu();

	pmu_exit(&c->pmu);
	tgic_sync(c);
	count_exit(c, EXIT_SERROR);
	guest_complaint("system error (syndrome, state)", read_sysreg(esr_el2), guest_spsr(c));
	write_sysreg(hcr_el2, read_sysreg(hcr_el2) | HCR_VSE);
	sched_leave(c, r);
}

bool tenant_mmio(struct cpu *c, struct mmio *m)
{
	if (tgic_access(c, m))
		return true;
	if (!vuart_access(c->vcpu->vm, m))
		return false;
	count_exit(c, EXIT_UART);
	return true;
}

void tenant_send_sgi(struct cpu *c, uint64_t value, bool group1)
{
	tgic_send_sgi(c->vcpu, value, group1);
}

void tenant_wfi(struct cpu *c)
{
	count_exit(c, EXIT_WFI);
	sched_wait(c);
}

/* ---- Power ---- */

static int64_t tenant_suspend(struct cpu *c)
{
	sched_wait(c);
	return PSCI_SUCCESS;
}

static int64_t tenant_off(struct cpu *c)
{
	sched_vcpu_off(c);
	return PSCI_SUCCESS;         /* to nobody: it comes back at another entry */
}

static bool is_ram_of(const struct vm *vm, uint64_t address)
{
	struct range r = { address + vm->offset, address + vm->offset + 4 };

	return vm->index ? range_covers(vm->ram, r) : machine_is_guest_ram(r);
}

static int64_t tenant_on(struct cpu *c, uint64_t target, uint64_t entry, uint64_t context)
{
	struct vm *vm = c->vcpu->vm;

	if (target >= vm->cpu_count)
		return PSCI_INVALID_PARAMETERS;
	if (entry % 4 || !is_ram_of(vm, entry))
		return PSCI_INVALID_ADDRESS;
	return sched_vcpu_on(&vm->vcpu[target], entry, context) ? PSCI_SUCCESS : PSCI_ALREADY_ON;
}

static int64_t tenant_affinity(struct cpu *c, uint64_t target, uint64_t level)
{
	struct vm *vm = c->vcpu->vm;

	if (target >= vm->cpu_count || level != 0)
		return PSCI_INVALID_PARAMETERS;
	return sched_is_off(&vm->vcpu[target]) ? AFFINITY_OFF : AFFINITY_ON;
}

/* A guest that resets has ended too: the machine would be the others' to reset. */
static void tenant_end(struct cpu *c, uint32_t function)
{
	(void)function;
	sched_vm_off(c);
}

const struct power_ops tenant_power = {
	.suspend = tenant_suspend,
	.off = tenant_off,
	.on = tenant_on,
	.affinity = tenant_affinity,
	.end = tenant_end,
};
