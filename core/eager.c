/* SPDX-License-Identifier: MIT */
/*
 * The eager world switch: everything is loaded at every enter and saved at every exit. Slow, and meant to
 * be obviously correct: the differential tests hold the lazy switch (core/mediated.c) against it. The
 * two share register accessors only (RULES A9).
 *
 * At exit the hardware is empty again, so trapped accesses always work on memory.
 */
#include "registers.h"

static enum vpmu_reach eager_reach(enum vpmu_reach_reason reason)
{
	if (reason == VPMU_REACH_FINE_TRAPS)
		return VPMU_REACH_COUNTERS;
	return reason == VPMU_REACH_OPEN ? VPMU_REACH_ALL : VPMU_REACH_NONE;
}

/* Beside host events nothing that stops all counters at once is in the hardware. */
static uint64_t eager_started(const struct vpmu_vcpu *v)
{
	if (v->reason != VPMU_REACH_SHARED)
		return v->state.enabled;
	return v->vm->arch->active(v->vm, v->state.enabled, v->state.global, v->state.status);
}

static uint64_t eager_interrupts(const struct vpmu_vcpu *v)
{
	const struct vpmu_hw_caps *caps = &v->cpu->hw->caps;
	bool off = caps->shared_enable && !(v->state.global & caps->global_enable);

	return v->reason == VPMU_REACH_SHARED && off ? 0 : v->state.interrupts;
}

static uint64_t eager_status(const struct vpmu_vcpu *v, uint64_t status)
{
	return v->reason == VPMU_REACH_SHARED ? status & v->vm->counters : status;
}

static void eager_enter(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	struct vpmu_hw *hw = cpu->hw;
	const struct vpmu_hw_ops *ops = hw->ops;
	const struct vpmu_state *s = &v->state;
	const struct vpmu_policy *policy = atomic_load(&v->policy);
	enum vpmu_reach reach = eager_reach(v->reason);
	uint64_t rest = v->vm->counters;

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	cpu->resident = v;
	vpmu_cpu_set_reach(cpu, reach);
	ops->boundary(hw, v->vm->counters, 0);
	if (ops->route && v->reason == VPMU_REACH_SHARED)
		ops->route(hw, VPMU_ROUTE_HOST, 0);
	else if (ops->route)
		ops->route(hw, VPMU_ROUTE_GUEST, v->interrupt_masked);
	cpu->host_global = ops->global(hw);
	ops->stop(hw, vpmu_cpu_spare(cpu));
	ops->interrupts_clear(hw, vpmu_cpu_spare(cpu));
	ops->status_clear(hw, vpmu_cpu_spare(cpu) | hw->caps.status);
	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		ops->write(hw, i, s->value[i]);
		ops->select(hw, i, v->vm->arch->filter(v->vm, policy, i, s->selector[i]));
	}
	ops->status_set(hw, eager_status(v, s->status));
	ops->interrupts_set(hw, eager_interrupts(v));
	ops->start(hw, eager_started(v));
	vpmu_cpu_set_user(cpu, reach == VPMU_REACH_NONE ? v->vm->arch->closed_user(v->vm, s) : s->user);
	vpmu_cpu_set_pointer(cpu, reach == VPMU_REACH_NONE ? 0 : s->pointer);
	ops->set_global(hw, s->global);
	v->in_hw_counters = v->vm->counters;
	v->stats.loads++;
	vpmu_cpu_own(cpu, VPMU_OWNER_LIVE);
}

static void eager_save_selectors(struct vpmu_vcpu *v)
{
	struct vpmu_hw *hw = v->cpu->hw;
	uint64_t rest = v->vm->counters;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		v->state.selector[i] = hw->ops->selected(hw, i);
	}
	v->counts_known = false;
}

/* The first access stops the counters, also where the boundary does not. */
static void eager_save_control(struct vpmu_vcpu *v)
{
	struct vpmu_hw *hw = v->cpu->hw;
	const struct vpmu_hw_ops *ops = hw->ops;
	struct vpmu_state *s = &v->state;
	uint32_t items = v->vm->arch->direct_items[v->cpu->reach];
	uint64_t global = ops->global(hw);
	uint64_t enabled, interrupts, status;

	ops->set_global(hw, hw->caps.global_reset);
	enabled = ops->started(hw);
	interrupts = ops->interrupts(hw);
	status = ops->status(hw) & ~v->cpu->host_counters;
	if (items & VPMU_ITEM_SELECTORS)
		eager_save_selectors(v);
	s->status = eager_status(v, status) | (s->status & ~eager_status(v, s->status));
	ops->stop(hw, v->vm->counters);
	ops->interrupts_clear(hw, v->vm->counters);
	ops->status_clear(hw, v->vm->counters | hw->caps.status);
	if (items & VPMU_ITEM_GLOBAL)
		s->global = global;
	if (items & VPMU_ITEM_ENABLED)
		s->enabled = enabled;
	if (items & VPMU_ITEM_INTERRUPTS)
		s->interrupts = interrupts;
	if (items & VPMU_ITEM_USER)
		v->cpu->user = s->user = ops->user(hw);
	if (items & VPMU_ITEM_POINTER)
		v->cpu->pointer = s->pointer = ops->pointer(hw);
}

static void eager_exit(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	struct vpmu_hw *hw = cpu->hw;
	uint64_t rest = v->vm->counters;

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	eager_save_control(v);
	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		v->state.value[i] = hw->ops->read(hw, i);
		hw->ops->write(hw, i, 0);
		/* User mode of a host that lets it at the PMU could read it, too. */
		if (cpu->host_user)
			hw->ops->select(hw, i, 0);
	}
	if (hw->ops->route)
		hw->ops->route(hw, VPMU_ROUTE_HOST, 0);
	hw->ops->boundary(hw, 0, vpmu_cpu_spare(cpu));
	vpmu_cpu_set_reach(cpu, VPMU_REACH_NONE);
	vpmu_cpu_set_user(cpu, v->vm->arch->closed_user(v->vm, &v->state));
	vpmu_cpu_set_pointer(cpu, 0);
	hw->ops->set_global(hw, cpu->host_global);
	v->in_hw_counters = 0;
	cpu->route = VPMU_CPU_ROUTE_UNKNOWN;
	cpu->known_value |= v->vm->counters;
	cpu->known_selector &= ~v->vm->counters;
	cpu->resident = NULL;
	v->stats.saves++;
	vpmu_cpu_own(cpu, VPMU_OWNER_HOST);
}

/* Nothing is in the hardware when these could be called. */
static void eager_evict(struct vpmu_vcpu *v, uint64_t host_owns)
{
	(void)v;
	(void)host_owns;
}

static void eager_pull(struct vpmu_vcpu *v, uint32_t items, uint64_t counters)
{
	(void)v;
	(void)items;
	(void)counters;
}

static void eager_push(struct vpmu_vcpu *v, const struct vpmu_change *change)
{
	(void)v;
	(void)change;
}

const struct vpmu_switch vpmu_eager_switch = {
	.enter = eager_enter,
	.exit = eager_exit,
	.evict = eager_evict,
	.pull = eager_pull,
	.push = eager_push,
};
