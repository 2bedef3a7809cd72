/* SPDX-License-Identifier: MIT */
/*
 * core/registers.h - register accessors: one operation each on the hardware of a CPU, and the owner
 * word. The two world switches share these and nothing else (RULES A9).
 */
#ifndef VPMU_CORE_REGISTERS_H
#define VPMU_CORE_REGISTERS_H

#include "internal.h"

/* An NMI on this CPU sees the owner before the first and after the last register access of a change. */
static inline void vpmu_cpu_own(struct vpmu_cpu *cpu, enum vpmu_owner owner)
{
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&cpu->owner, owner, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

/* Counters that no host event has. */
static inline uint64_t vpmu_cpu_spare(const struct vpmu_cpu *cpu)
{
	return cpu->hw->caps.counters & ~cpu->host_counters;
}

static inline void vpmu_cpu_set_user(struct vpmu_cpu *cpu, uint64_t value)
{
	if (cpu->user == value)
		return;
	cpu->hw->ops->set_user(cpu->hw, value);
	cpu->user = value;
}

static inline void vpmu_cpu_set_pointer(struct vpmu_cpu *cpu, uint64_t value)
{
	if (cpu->pointer == value)
		return;
	cpu->hw->ops->set_pointer(cpu->hw, value);
	cpu->pointer = value;
}

static inline void vpmu_cpu_set_reach(struct vpmu_cpu *cpu, enum vpmu_reach reach)
{
	if (cpu->reach == reach)
		return;
	cpu->hw->ops->reach(cpu->hw, reach);
	cpu->reach = reach;
}

#endif
