/* SPDX-License-Identifier: MIT */
/* The host and its physical CPUs: who has each PMU, and requests between CPUs. */
#include "registers.h"

#define MAIL_RECLAIM 1u

void vpmu_machine_init(struct vpmu_machine *machine)
{
	machine->caps = (struct vpmu_hw_caps){ 0 };
	machine->anywhere[0] = 0;
	machine->anywhere[1] = 0;
	machine->whole = NULL;
	atomic_init(&machine->claims, 0);
}

void vpmu_machine_part(struct vpmu_machine *part, struct vpmu_machine *machine)
{
	vpmu_machine_init(part);
	part->whole = machine;
}

/* What both have; where they differ, what is safe on both. */
static void caps_meet(struct vpmu_hw_caps *all, const struct vpmu_hw_caps *one)
{
	all->counters &= one->counters;
	all->selectable &= one->selectable;
	all->fine_traps &= one->fine_traps;
	if (one->boundary < all->boundary)
		all->boundary = one->boundary;
	if (one->version < all->version)
		all->version = one->version;
	all->direct_values &= one->direct_values;
	all->status &= one->status;
	all->status_set &= one->status_set;
	all->exact_writes &= one->exact_writes;
	all->multithreaded |= one->multithreaded;
	all->reduced |= one->reduced;
	all->partitions &= one->partitions;
	if (one->partition_least > all->partition_least)
		all->partition_least = one->partition_least;
	for (unsigned int i = 0; i < 4; i++)
		all->identity[i] &= one->identity[i];
}

void vpmu_machine_add(struct vpmu_machine *machine, const struct vpmu_hw_caps *caps)
{
	if (!machine->caps.counters)
		machine->caps = *caps;
	else
		caps_meet(&machine->caps, caps);
	machine->anywhere[0] |= caps->identity[0];
	machine->anywhere[1] |= caps->identity[1];
}

int vpmu_cpu_init(struct vpmu_cpu *cpu, uint32_t number, struct vpmu_hw *hw)
{
	const struct vpmu_hw_ops *ops = hw->ops;
	uint64_t counters = hw->caps.counters;

	if (ops->size != sizeof(*ops))
		return VPMU_ERR_SIZE;

	*cpu = (struct vpmu_cpu){ .hw = hw, .number = number };
	atomic_init(&cpu->owner, VPMU_OWNER_HOST);
	atomic_init(&cpu->mailbox, 0);
	atomic_init(&cpu->occupied, false);
	ops->set_global(hw, hw->caps.global_reset);
	ops->stop(hw, counters);
	ops->interrupts_clear(hw, counters);
	ops->status_clear(hw, counters | hw->caps.status);
	ops->boundary(hw, 0, counters);
	return 0;
}

enum vpmu_owner vpmu_cpu_nmi_owner(const struct vpmu_cpu *cpu)
{
	return (enum vpmu_owner)atomic_load_explicit(&cpu->owner, memory_order_relaxed);
}

int vpmu_cpu_reclaim(struct vpmu_cpu *cpu, uint64_t host_owns)
{
	struct vpmu_vcpu *v = cpu->resident;

	if (cpu->loaded && cpu->loaded->in_guest)
		return VPMU_ERR_STATE;
	if (v)
		v->vm->sw->evict(v, host_owns);
	if (cpu->loaded) {
		/* User access is the host's again before anything of the host's runs (A6). */
		vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
		vpmu_cpu_set_user(cpu, cpu->host_user);
		vpmu_cpu_set_pointer(cpu, cpu->host_pointer);
		vpmu_cpu_own(cpu, VPMU_OWNER_HOST);
	}
	cpu->reclaimed = true;
	cpu->known_value &= ~host_owns;
	cpu->known_selector &= ~host_owns;
	return 0;
}

bool vpmu_cpu_request_reclaim(struct vpmu_cpu *cpu)
{
	atomic_fetch_or(&cpu->mailbox, MAIL_RECLAIM);
	return atomic_load(&cpu->occupied);
}

void vpmu_cpu_poll(struct vpmu_cpu *cpu)
{
	/* Reading first keeps the empty case free of a locked instruction: it is on every exit. */
	if (!atomic_load_explicit(&cpu->mailbox, memory_order_relaxed))
		return;
	/* The guest does not run here, so the reclaim cannot be refused. */
	if (!(atomic_exchange(&cpu->mailbox, 0) & MAIL_RECLAIM))
		return;
	(void)vpmu_cpu_reclaim(cpu, 0);
	/* Whoever asked did not say what it is going to write. */
	cpu->known_value = 0;
	cpu->known_selector = 0;
}
