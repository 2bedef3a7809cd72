/* SPDX-License-Identifier: MIT */
/*
 * The lazy world switch (docs/design.md, RULES A1-A7).
 *
 *            enter, not quiet                 exit
 *   HOST ───────────────────────► LIVE ───────────────► PARKED
 *    ▲                              ▲                     │ │
 *    │                              └── enter: 0..3 ──────┘ │
 *    └──────── put, reclaim, quiet twice: save, scrub ──────┘
 *
 * While the guest is resident, v->in_hw says which scalars of v->state are stale because the guest
 * changes them untrapped, and v->in_hw_counters which counter values are.
 *
 * Order (A5). Load: route, counters, selectors, status, interrupt enables, enables, global control
 * last. Save: global control first. The guest's counters do not count at either time: in HOST no enable
 * is set, and in PARKED the boundary holds them (clear of NSH, HPMD and HCCD, or PMCR.E=0).
 */
#include "registers.h"

static const struct vpmu_hw_ops *ops_of(const struct vpmu_vcpu *v)
{
	return v->cpu->hw->ops;
}

/* ---- What the guest reaches ---- */

static enum vpmu_reach reach_for(const struct vpmu_vcpu *v)
{
	switch (v->reason) {
	case VPMU_REACH_FINE_TRAPS:
		return v->touched_counters ? VPMU_REACH_COUNTERS : VPMU_REACH_CONTROL;
	case VPMU_REACH_OPEN:
		return VPMU_REACH_ALL;
	case VPMU_REACH_POLICY:
	case VPMU_REACH_UNSAFE:
	case VPMU_REACH_SHAPE:
	case VPMU_REACH_SHARED:
	case VPMU_REACH_EMULATED:
		break;
	}
	return VPMU_REACH_NONE;
}

/* Does the guest write enables and control without a trap? */
static bool is_direct(const struct vpmu_vcpu *v)
{
	return v->cpu->reach != VPMU_REACH_NONE;
}

/* Does the host count beside the guest, and so share its registers? */
static bool is_shared(const struct vpmu_vcpu *v)
{
	return v->reason == VPMU_REACH_SHARED;
}

/* The guest's masks as the hardware has them. */
struct masks {
	uint64_t enabled;
	uint64_t interrupts;
	uint64_t status;
};

/*
 * In a register that the host needs too, what stops all of the guest's counters (x86: CTR_Frz, Arm: PMCR.E)
 * would stop the host's: there it is their own enables and interrupt enables that say so. And a counter that is
 * not the guest's now may be the host's: what the guest has of its status stays in memory.
 */
static struct masks share(const struct vpmu_vcpu *v, struct masks m, uint64_t global)
{
	const struct vpmu_hw_caps *caps = &v->cpu->hw->caps;

	m.enabled = v->vm->arch->active(v->vm, m.enabled, global, m.status);
	m.status &= v->in_hw_counters;
	m.interrupts &= v->in_hw_counters;
	if (caps->shared_enable && !(global & caps->global_enable))
		m.interrupts = 0;
	return m;
}

static struct masks masks_now(const struct vpmu_vcpu *v)
{
	struct masks m = { v->state.enabled, v->state.interrupts, v->state.status };

	return is_shared(v) ? share(v, m, v->state.global) : m;
}

static struct masks masks_before(const struct vpmu_vcpu *v, const struct vpmu_change *c)
{
	struct masks m = { c->enabled, c->interrupts, c->status };

	return is_shared(v) ? share(v, m, c->global) : m;
}

/* A guest with direct enables can start any counter: all must be right. */
static bool starts_alone(const struct vpmu_vcpu *v)
{
	return is_direct(v) && (!v->vm->arch->enables_in_selectors || v->cpu->reach == VPMU_REACH_ALL);
}

/*
 * Counters whose hardware value can differ from what was loaded. With direct enables any counter can
 * have run, except one that has had selector 0 (software increment) and value 0 all the time, while
 * increments and values still trap.
 */
static uint64_t writable(const struct vpmu_vcpu *v)
{
	if (!starts_alone(v))
		return v->in_hw_counters;
	if (v->cpu->reach == VPMU_REACH_CONTROL)
		return v->may_differ | (v->vm->counters & v->cpu->hw->caps.direct_values);
	return v->vm->counters;
}

/* What must be in the hardware: what can count, and where the line is shared, what holds it up. */
static uint64_t needed(const struct vpmu_vcpu *v)
{
	uint64_t mask = v->state.enabled;

	if (starts_alone(v))
		return v->vm->counters;
	if (is_shared(v) && !v->vm->arch->edge)
		mask |= v->state.status & v->state.interrupts & v->vm->counters;
	return mask;
}

/* With everything direct the guest may let its counters count outside: no one but us stops them (A4). */
static bool must_stop(const struct vpmu_vcpu *v)
{
	return v->cpu->reach == VPMU_REACH_ALL &&
	       v->cpu->hw->caps.boundary == VPMU_BOUNDARY_NONE;
}

/* ---- Single counters ---- */

static void put_selector(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_cpu *cpu = v->cpu;
	const struct vpmu_policy *policy = atomic_load_explicit(&v->policy, memory_order_relaxed);
	uint64_t selector = v->vm->arch->filter(v->vm, policy, i, v->state.selector[i]);

	if (cpu->known_selector & VPMU_BIT(i) && cpu->hw_selector[i] == selector)
		return;
	cpu->hw->ops->select(cpu->hw, i, selector);
	cpu->hw_selector[i] = selector;
	cpu->known_selector |= VPMU_BIT(i);
}

/* From the host's 0: equal values are not written (A2). */
static void put_value(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_cpu *cpu = v->cpu;

	if (v->state.value[i] || !(cpu->known_value & VPMU_BIT(i)))
		cpu->hw->ops->write(cpu->hw, i, v->state.value[i]);
	cpu->known_value &= ~VPMU_BIT(i);
}

static void put_counters(struct vpmu_vcpu *v, uint64_t mask)
{
	v->in_hw_counters |= mask;
	while (mask) {
		unsigned int i = vpmu_mask_next(&mask);

		if (v->state.selector[i] || v->state.value[i])
			v->may_differ |= VPMU_BIT(i);
		put_value(v, i);
		put_selector(v, i);
	}
}

/*
 * RDPMC can name any counter, so it is direct only while all of them show the guest's values (A2): those that
 * were not loaded, because they never counted, too. They get there once the guest was seen to use it.
 */
static void show_all(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	uint64_t rest = v->vm->counters & ~v->in_hw_counters;

	if (!v->touched_counters || !v->vm->arch->enables_in_selectors || !is_direct(v))
		return;
	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		if (v->state.value[i]) {
			put_counters(v, VPMU_BIT(i));
		} else if (!(cpu->known_value & VPMU_BIT(i))) {
			cpu->hw->ops->write(cpu->hw, i, 0);
			cpu->known_value |= VPMU_BIT(i);
		}
	}
}

static void mediated_show(struct vpmu_vcpu *v)
{
	if (!vpmu_vcpu_is_resident(v))
		return;
	vpmu_cpu_own(v->cpu, VPMU_OWNER_TRANSITION);
	show_all(v);
	vpmu_cpu_own(v->cpu, VPMU_OWNER_PARKED);
}

/* ---- Load ---- */

static void open_view(struct vpmu_vcpu *v)
{
	if (is_direct(v)) {
		vpmu_cpu_set_user(v->cpu, v->state.user);
		vpmu_cpu_set_pointer(v->cpu, v->state.pointer);
	} else {
		vpmu_cpu_set_user(v->cpu, v->vm->arch->closed_user(v->vm, &v->state));
		vpmu_cpu_set_pointer(v->cpu, 0);
	}
}

/* The host is done with the PMU (it called reclaim to get it), but may have left bits behind. */
static void sweep(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	uint64_t left = vpmu_cpu_spare(cpu);

	if (!cpu->reclaimed)
		return;
	ops_of(v)->stop(cpu->hw, left);
	ops_of(v)->interrupts_clear(cpu->hw, left);
	ops_of(v)->status_clear(cpu->hw, left | cpu->hw->caps.status);
	cpu->reclaimed = false;
}

/* An edge's status bit may come later than the save that was to read it: then it is nobody's (C2). */
static void drop_late_status(struct vpmu_vcpu *v)
{
	uint64_t late;

	if (!v->vm->arch->edge)
		return;
	late = ops_of(v)->status(v->cpu->hw) & ~v->cpu->host_counters;
	if (late)
		ops_of(v)->status_clear(v->cpu->hw, late);
}

/* There is one entry per CPU: shared, it is the host's. */
static uint8_t wanted_route(const struct vpmu_vcpu *v)
{
	if (is_shared(v))
		return VPMU_CPU_ROUTE_HOST;
	return v->interrupt_masked ? VPMU_CPU_ROUTE_MASKED : VPMU_CPU_ROUTE_GUEST;
}

/* Is the interrupt's entry not yet what the guest asks for (C1)? */
static bool route_differs(const struct vpmu_vcpu *v)
{
	return ops_of(v)->route && v->cpu->route != wanted_route(v);
}

static void set_route(struct vpmu_vcpu *v)
{
	if (!route_differs(v))
		return;
	v->cpu->route = wanted_route(v);
	ops_of(v)->route(v->cpu->hw, is_shared(v) ? VPMU_ROUTE_HOST : VPMU_ROUTE_GUEST,
			 v->cpu->route == VPMU_CPU_ROUTE_MASKED);
}

static void unset_route(struct vpmu_vcpu *v)
{
	if (!ops_of(v)->route || v->cpu->route == VPMU_CPU_ROUTE_HOST)
		return;
	ops_of(v)->route(v->cpu->hw, VPMU_ROUTE_HOST, 0);
	v->cpu->route = VPMU_CPU_ROUTE_HOST;
}

static void load(struct vpmu_vcpu *v)
{
	const struct vpmu_hw_ops *ops = ops_of(v);
	struct vpmu_cpu *cpu = v->cpu;
	struct vpmu_hw *hw = cpu->hw;
	struct masks m;

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	cpu->resident = v;
	cpu->stopped = false;
	vpmu_cpu_set_reach(cpu, reach_for(v));
	vpmu_host_yield(cpu, needed(v));
	ops->boundary(hw, v->vm->counters, 0);
	set_route(v);
	cpu->host_global = ops->global(hw);
	sweep(v);
	drop_late_status(v);
	v->in_hw = v->vm->arch->direct_items[cpu->reach];
	v->in_hw_counters = 0;
	put_counters(v, needed(v));
	show_all(v);
	m = masks_now(v);
	if (m.status)
		ops->status_set(hw, m.status);
	if (m.interrupts)
		ops->interrupts_set(hw, m.interrupts);
	if (m.enabled)
		ops->start(hw, m.enabled);
	open_view(v);
	ops->set_global(hw, v->state.global);
	v->quiet_looks = 0;
	v->exits = 0;
	v->stats.loads++;
}

/* ---- Save ---- */

/* The hardware's (status) without the host's counters; shared, what freezes the guest is not in it. */
static uint64_t own_status(const struct vpmu_vcpu *v, uint64_t status)
{
	status &= ~v->cpu->host_counters;
	if (!is_shared(v))
		return status;
	return (status & v->in_hw_counters) | (v->state.status & ~v->in_hw_counters);
}

static void pull_scalars(struct vpmu_vcpu *v, uint32_t items)
{
	const struct vpmu_hw_ops *ops = ops_of(v);
	struct vpmu_cpu *cpu = v->cpu;
	struct vpmu_hw *hw = cpu->hw;

	if (items & VPMU_ITEM_GLOBAL)
		v->state.global = cpu->stopped ? cpu->parked_global : ops->global(hw);
	if (items & VPMU_ITEM_ENABLED)
		v->state.enabled = ops->started(hw) & v->vm->counters;
	if (items & VPMU_ITEM_INTERRUPTS)
		v->state.interrupts = ops->interrupts(hw) & v->vm->counters;
	if (items & VPMU_ITEM_STATUS)
		v->state.status = own_status(v, ops->status(hw));
	if (items & VPMU_ITEM_USER)
		cpu->user = v->state.user = ops->user(hw);
	if (items & VPMU_ITEM_POINTER)
		cpu->pointer = v->state.pointer = ops->pointer(hw);
}

static void save_selectors(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	uint64_t rest = v->vm->counters & cpu->hw->caps.selectable;

	v->counts_known = false;
	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		cpu->hw_selector[i] = cpu->hw->ops->selected(cpu->hw, i);
		v->state.selector[i] = cpu->hw_selector[i];
		cpu->known_selector |= VPMU_BIT(i);
	}
}

/* Everything of this owner off, global control first. What stops a counter may be in its selector. */
static void silence(struct vpmu_vcpu *v)
{
	const struct vpmu_hw_ops *ops = ops_of(v);
	struct vpmu_cpu *cpu = v->cpu;
	struct vpmu_hw *hw = cpu->hw;
	struct masks m;

	pull_scalars(v, v->in_hw & VPMU_ITEM_GLOBAL);
	ops->set_global(hw, hw->caps.global_reset);
	cpu->stopped = false;
	pull_scalars(v, v->in_hw & ~(uint32_t)(VPMU_ITEM_GLOBAL | VPMU_ITEM_SELECTORS));
	if (v->in_hw & VPMU_ITEM_SELECTORS)
		save_selectors(v);
	vpmu_vcpu_note(v);
	m = masks_now(v);
	/* Of a guest that wrote its selectors itself, all of them. */
	if (v->in_hw & VPMU_ITEM_SELECTORS && v->vm->arch->enables_in_selectors) {
		m.enabled = v->vm->counters;
		cpu->known_selector &= ~m.enabled;
	}
	if (m.enabled)
		ops->stop(hw, m.enabled);
	if (m.interrupts)
		ops->interrupts_clear(hw, m.interrupts);
	if (m.status)
		ops->status_clear(hw, m.status);
}

/* Values of (mask) into the state. What the host will not overwrite goes back to 0 (V2). */
static void save_and_scrub(struct vpmu_vcpu *v, uint64_t mask, uint64_t host_owns)
{
	struct vpmu_cpu *cpu = v->cpu;

	while (mask) {
		unsigned int i = vpmu_mask_next(&mask);

		v->state.value[i] = cpu->hw->ops->read(cpu->hw, i);
		if (host_owns & VPMU_BIT(i))
			continue;
		if (v->state.value[i])
			cpu->hw->ops->write(cpu->hw, i, 0);
		cpu->known_value |= VPMU_BIT(i);
	}
}

/* With everything direct, the guest's selectors may have bits that its PMU does not have. */
static void note_escape(struct vpmu_vcpu *v)
{
	if (!must_stop(v) || !v->vm->arch->escapes(v->vm, &v->state))
		return;
	v->unsafe = true;
	v->reason = VPMU_REACH_UNSAFE;
}

/* User mode of a host that lets it at the PMU could read them, too (V2). */
static void hide_selectors(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	uint64_t rest = cpu->host_user ? v->in_hw_counters : 0;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		if (!cpu->hw_selector[i])
			continue;
		cpu->hw->ops->select(cpu->hw, i, 0);
		cpu->hw_selector[i] = 0;
	}
}

static void mediated_evict(struct vpmu_vcpu *v, uint64_t host_owns)
{
	struct vpmu_cpu *cpu = v->cpu;
	uint64_t changed;

	if (cpu->resident != v)
		return;
	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	silence(v);
	note_escape(v);
	changed = writable(v);
	save_and_scrub(v, changed, host_owns);
	/* The others have had the value 0 all the time. */
	cpu->known_value |= v->in_hw_counters & ~changed;
	hide_selectors(v);
	v->vm->arch->clean(v->vm, &v->state);
	unset_route(v);
	ops_of(v)->boundary(cpu->hw, 0, vpmu_cpu_spare(cpu));
	vpmu_cpu_set_reach(cpu, VPMU_REACH_NONE);
	vpmu_cpu_set_user(cpu, v->vm->arch->closed_user(v->vm, &v->state));
	vpmu_cpu_set_pointer(cpu, 0);
	if (cpu->host_global != cpu->hw->caps.global_reset)
		ops_of(v)->set_global(cpu->hw, cpu->host_global);
	v->in_hw = 0;
	v->in_hw_counters = 0;
	v->may_differ = 0;
	v->busy = vpmu_state_is_busy(v->vm, &v->state);
	cpu->resident = NULL;
	v->stats.saves++;
	vpmu_cpu_own(cpu, VPMU_OWNER_HOST);
}

/* ---- State in the hardware ---- */

static void mediated_pull(struct vpmu_vcpu *v, uint32_t items, uint64_t counters)
{
	const struct vpmu_hw_ops *ops;

	if (!vpmu_vcpu_is_resident(v))
		return;
	ops = ops_of(v);
	items &= v->in_hw;
	counters &= v->in_hw_counters;
	pull_scalars(v, items);
	if (items & VPMU_ITEM_SELECTORS)
		save_selectors(v);
	while (counters) {
		unsigned int i = vpmu_mask_next(&counters);

		v->state.value[i] = ops->read(v->cpu->hw, i) & v->vm->arch->width(v->vm, i);
	}
}

static void push_counters(struct vpmu_vcpu *v, const struct vpmu_change *c)
{
	uint64_t fresh = needed(v) & ~v->in_hw_counters;
	uint64_t values = c->values & v->in_hw_counters;
	uint64_t selectors = c->selectors & v->in_hw_counters & ~fresh;

	v->may_differ |= c->selectors | c->values;
	vpmu_host_yield(v->cpu, fresh);
	put_counters(v, fresh);
	while (values) {
		unsigned int i = vpmu_mask_next(&values);

		ops_of(v)->write(v->cpu->hw, i, v->state.value[i]);
	}
	while (selectors)
		put_selector(v, vpmu_mask_next(&selectors));
}

static void push_global(struct vpmu_vcpu *v)
{
	if (v->cpu->stopped)
		v->cpu->parked_global = v->state.global;
	else
		ops_of(v)->set_global(v->cpu->hw, v->state.global);
}

/* (gone) and (come): bits of a mask register that a change cleared and set. */
static void push_bits(struct vpmu_hw *hw, uint64_t old, uint64_t now,
		      void (*clear)(struct vpmu_hw *, uint64_t),
		      void (*set)(struct vpmu_hw *, uint64_t))
{
	uint64_t gone = old & ~now;
	uint64_t come = now & ~old;

	if (gone)
		clear(hw, gone);
	if (come)
		set(hw, come);
}

static void mediated_push(struct vpmu_vcpu *v, const struct vpmu_change *c)
{
	const struct vpmu_hw_ops *ops;
	struct vpmu_hw *hw;
	struct masks old, now;

	if (!vpmu_vcpu_is_resident(v))
		return;
	ops = ops_of(v);
	hw = v->cpu->hw;
	old = masks_before(v, c);
	now = masks_now(v);
	vpmu_cpu_own(v->cpu, VPMU_OWNER_TRANSITION);
	if (old.enabled & ~now.enabled)
		ops->stop(hw, old.enabled & ~now.enabled);
	push_counters(v, c);
	now = masks_now(v);
	push_bits(hw, old.status, now.status, ops->status_clear, ops->status_set);
	push_bits(hw, old.interrupts, now.interrupts, ops->interrupts_clear, ops->interrupts_set);
	if (now.enabled & ~old.enabled)
		ops->start(hw, now.enabled & ~old.enabled);
	open_view(v);
	if (c->global != v->state.global)
		push_global(v);
	vpmu_cpu_own(v->cpu, VPMU_OWNER_PARKED);
}

/* ---- Enter and exit ---- */

static void resume(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;

	/* A trap opened more since: the values are all in the hardware already. */
	vpmu_cpu_set_reach(cpu, reach_for(v));
	if (route_differs(v)) {
		vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
		set_route(v);
	}
	if (cpu->stopped) {
		vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
		cpu->hw->ops->set_global(cpu->hw, cpu->parked_global);
		cpu->stopped = false;
	}
	v->stats.resumed++;
}

static void mediated_enter(struct vpmu_vcpu *v)
{
	if (v->cpu->resident == v) {
		resume(v);
	} else if (v->busy) {
		load(v);
	} else {
		vpmu_cpu_own(v->cpu, VPMU_OWNER_TRANSITION);
		open_view(v);
		vpmu_cpu_own(v->cpu, VPMU_OWNER_HOST);
		v->stats.quiet++;
		return;
	}
	vpmu_cpu_own(v->cpu, VPMU_OWNER_LIVE);
}

/* Looks at the enables only, then, if nothing counts, at what is pending. */
static bool looks_quiet(struct vpmu_vcpu *v)
{
	v->stats.probes++;
	mediated_pull(v, vpmu_enables(v), 0);
	if (vpmu_active(v->vm, &v->state))
		return false;
	if (v->vm->arch->edge)
		return true;
	mediated_pull(v, VPMU_ITEM_STATUS | VPMU_ITEM_INTERRUPTS, 0);
	return !v->vm->arch->interrupt(v->vm, &v->state);
}

/* Looks at the enables for one at the selectors, which costs a read per counter. */
#define SELECTOR_LOOKS 4u

/*
 * A guest that made its counters count at EL2, where only our first and last instructions stop them,
 * gets everything trapped until put: then its selectors are filtered, and its counts exact again.
 */
static bool escaped(struct vpmu_vcpu *v)
{
	if (!must_stop(v) || v->exits % (SELECTOR_LOOKS * VPMU_LOOK_INTERVAL) != VPMU_LOOK_INTERVAL)
		return false;
	mediated_pull(v, VPMU_ITEM_SELECTORS, 0);
	note_escape(v);
	return v->unsafe;
}

/* The way back to zero cost does not wait for put: a static partition never puts (A1). */
static void look(struct vpmu_vcpu *v)
{
	if (escaped(v)) {
		mediated_evict(v, 0);
		return;
	}
	v->quiet_looks = looks_quiet(v) ? v->quiet_looks + 1 : 0;
	if (v->quiet_looks == 2)
		mediated_evict(v, 0);
}

static void stop(struct vpmu_cpu *cpu)
{
	struct vpmu_hw *hw = cpu->hw;

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	cpu->parked_global = hw->ops->global(hw);
	cpu->stopped = cpu->parked_global & hw->caps.global_enable;
	if (cpu->stopped)
		hw->ops->set_global(hw, cpu->parked_global & ~hw->caps.global_enable);
}

static void mediated_exit(struct vpmu_vcpu *v)
{
	if (v->cpu->resident != v)
		return;
	if (must_stop(v))
		stop(v->cpu);
	vpmu_cpu_own(v->cpu, VPMU_OWNER_PARKED);
	if (++v->exits % VPMU_LOOK_INTERVAL == 0)
		look(v);
}

const struct vpmu_switch vpmu_mediated_switch = {
	.enter = mediated_enter,
	.exit = mediated_exit,
	.evict = mediated_evict,
	.pull = mediated_pull,
	.push = mediated_push,
	.show = mediated_show,
};
