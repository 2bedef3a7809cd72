/* SPDX-License-Identifier: MIT */
/*
 * The x86 world switch by the number and order of its hardware accesses: RULES A1 to A5, A7, C1, C2
 * and V7 one by one, on every class of machine that can be mediated. The random schedules
 * (x86_schedules.c) say that it is right; this says that it is lazy, and puts each way to lose or
 * double a PMI into a row.
 */
#include <string.h>

#include "x86_rig.h"

static struct rig rig;
static struct x86_cpu_access trace[1024];

static const enum x86_cpu_class classes[] = { X86_CPU_SKYLAKE, X86_CPU_ICELAKE, X86_CPU_ZEN4 };

#define FOR_EACH_CLASS(c) for (unsigned int c = 0; c < ARRAY_SIZE(classes); c++)

static bool is_intel(void)
{
	return rig.config.vendor == X86_PMU_INTEL;
}

static uint64_t accesses(const struct rig_vcpu *g)
{
	return g->cpu->x86.x86.hw.accesses;
}

static struct rig_vcpu *start_kind(unsigned int class, unsigned int vcpu, unsigned int kind)
{
	rig_init_plain(&rig, classes[class], (enum vpmu_switch_kind)kind, 11 + class);
	rig.calm = true;
	rig_load(&rig.vcpus[vcpu], &rig.cpus[0]);
	rig_enter(&rig.vcpus[vcpu]);
	return &rig.vcpus[vcpu];
}

static struct rig_vcpu *start(unsigned int class, unsigned int vcpu)
{
	return start_kind(class, vcpu, VPMU_SWITCH_LAZY);
}

static void stop(struct rig_vcpu *g)
{
	if (g->in_guest)
		rig_exit(g);
	rig_put(g);
}

static struct rig_vcpu *go(struct rig_vcpu *g)
{
	rig_load(g, &rig.cpus[0]);
	rig_enter(g);
	return g;
}

static uint64_t selector(struct rig_vcpu *g, bool irq)
{
	return rig_event(g, X86_PMU_INSTRUCTIONS) | X86_SEL_EN | X86_SEL_USR | X86_SEL_OS |
	       (irq ? X86_SEL_INT : 0);
}

/* Counter (i) counts instructions from (value). */
static void enable(struct rig_vcpu *g, unsigned int i, uint64_t value, bool irq)
{
	rig_wrmsr(g, rig_msr_selector(g, i), 0);
	rig_wrmsr(g, rig_msr_counter(g, i), value);
	rig_wrmsr(g, rig_msr_selector(g, i), selector(g, irq));
}

/* What profilers do first: counters 0..k-1, with interrupts that are far away. */
static void program(struct rig_vcpu *g, unsigned int k)
{
	for (unsigned int i = 0; i < k; i++)
		enable(g, i, 1000 + i, true);
	if (rig_has_global(g))
		rig_wrmsr(g, rig_msr_global(g), x86_pmu_counters(&g->bare.config));
	rig_lvtpc(g, 0);
}

/* Accesses of (n) exit/enter pairs in which the guest executes a little. */
static uint64_t pairs(struct rig_vcpu *g, unsigned int n)
{
	uint64_t before = accesses(g);

	while (n--) {
		rig_run(g, false, 10);
		rig_exit(g);
		rig_enter(g);
	}
	return accesses(g) - before;
}

static const struct vpmu_vcpu_stats *stats(const struct rig_vcpu *g)
{
	return vpmu_vcpu_stats(&g->v);
}

/* ---- A1 ---- */

static void a1_quiet_costs_nothing(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);

			assert_int_equal(pairs(g, 3 * VPMU_LOOK_INTERVAL), 0);
			if (g->vm->vm.mode == VPMU_MODE_MEDIATED)
				assert_int_equal(stats(g)->quiet, 3 * VPMU_LOOK_INTERVAL + 1);
			assert_int_equal(vpmu_x86_intercepts(&g->v), 0);
			rig_exit(g);
			rig_put(g);
			assert_int_equal(rig.cpus[0].x86.x86.hw.accesses,
					 rig.cpus[1].x86.x86.hw.accesses);
		}
	}
}

/* Programmed but not enabled, or enabled one by one but not globally: nothing is loaded. */
static void a1_what_does_not_end_quietness(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t before = accesses(g);

		for (unsigned int i = 0; i < 6; i++) {
			rig_wrmsr(g, rig_msr_selector(g, i), selector(g, true) & ~X86_SEL_EN);
			rig_wrmsr(g, rig_msr_counter(g, i), 99 + i);
		}
		rig_wrmsr(g, rig_msr_global(g), 0);
		for (unsigned int i = 0; i < 6; i++)
			rig_wrmsr(g, rig_msr_selector(g, i), selector(g, true));
		if (is_intel()) {
			rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0xBBB);
			rig_wrmsr(g, X86_MSR_FIXED_CTR(0), 1234);
			rig_wrmsr(g, X86_MSR_DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
			rig_wrmsr(g, X86_MSR_STATUS_SET, 1);
		} else {
			rig_wrmsr(g, X86_MSR_AMD_STATUS_SET, 1);
		}
		rig_lvtpc(g, 0);
		(void)rig_rdmsr(g, rig_msr_status(g));
		(void)rig_rdpmc(g, 0);
		assert_int_equal(pairs(g, 100), 0);
		assert_int_equal(accesses(g), before);
		assert_int_equal(stats(g)->loads, 0);
	}
}

/*
 * Each ends it alone, at the very next enter. GLOBAL_CTRL starts with all but the fixed counters
 * on.
 */
static void a1_what_ends_quietness(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int how = 0; how < 3; how++) {
			struct rig_vcpu *g = start(class, 0);

			if (how == 0) {
				rig_wrmsr(g, rig_msr_selector(g, 3), selector(g, false));
			} else if (how == 1) {
				rig_wrmsr(g, rig_msr_global(g), 0);
				rig_wrmsr(g, rig_msr_selector(g, 3), selector(g, false));
				assert_int_equal(stats(g)->loads, 0);
				rig_wrmsr(g, rig_msr_global(g), 8);
			} else if (is_intel()) {
				rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0x20);
				assert_int_equal(stats(g)->loads, 0);
				rig_wrmsr(g, X86_MSR_GLOBAL_CTRL, BIT(33));
			} else {
				continue;
			}
			assert_int_equal(rig_owner(g->cpu), VPMU_OWNER_LIVE);
			assert_int_equal(stats(g)->loads, 1);
		}
	}
}

/* A frozen PMU is quiet, and thawing it is not. */
static void a1_frozen_is_quiet(void **state)
{
	(void)state;
	for (unsigned int class = 0; class < 2; class++) {
		struct rig_vcpu *g = start(class, 0);

		rig_wrmsr(g, X86_MSR_STATUS_SET, X86_STATUS_CTR_FRZ);
		enable(g, 0, 0, false);
		assert_int_equal(stats(g)->loads, 0);
		rig_wrmsr(g, X86_MSR_STATUS_RESET, X86_STATUS_CTR_FRZ);
		assert_int_equal(rig_owner(g->cpu), VPMU_OWNER_LIVE);
	}
}

/* program, put, run another vCPU, load, run without touching, read. */
static void a1_counts_after_load_without_a_touch(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0), *other = &rig.vcpus[1];
		uint64_t value;

		enable(g, 2, 0, false);
		stop(g);
		go(other);
		program(other, 6);
		rig_run(other, false, 1000);
		stop(other);
		go(g);
		assert_int_equal(rig_owner(g->cpu), VPMU_OWNER_LIVE);
		rig_run(g, false, 1000);
		value = rig_rdmsr(g, rig_msr_counter(g, 2));
		assert_in_range(value, 1000, 1010);
	}
}

static void a1_back_to_zero_without_put(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		program(g, 4);
		rig_run(g, false, 100);
		/* Untrapped: GLOBAL_CTRL is direct. */
		assert_true(vpmu_x86_is_direct(&g->v, rig_msr_global(g), true));
		rig_wrmsr(g, rig_msr_global(g), 0);
		/* One look is not enough: profilers stop and start again. */
		while (!stats(g)->probes)
			(void)pairs(g, 1);
		assert_int_equal(rig_owner(g->cpu), VPMU_OWNER_LIVE);
		(void)pairs(g, VPMU_LOOK_INTERVAL);
		assert_int_equal(rig_owner(g->cpu), VPMU_OWNER_HOST);
		assert_int_equal(pairs(g, 2 * VPMU_LOOK_INTERVAL), 0);
		rig_exit(g);
		rig_compare(g);
	}
}

/* A look reads GLOBAL_CTRL: from the VMCS, or one register (AMD). */
static void a1_looks_cost_little(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		program(g, 2);
		assert_in_range(pairs(g, 64 * VPMU_LOOK_INTERVAL), 0, is_intel() ? 0 : 64);
		assert_int_equal(stats(g)->probes, 64);
	}
}

/* ---- A2 ---- */

/* A value in a counter whose selector is 0, and that was never enabled, by every path. */
static void check_value(struct rig_vcpu *g, unsigned int i, uint64_t value)
{
	struct vpmu_counter_status status;
	struct vpmu_state s;
	uint64_t got;

	assert_int_equal(rig_rdmsr(g, rig_msr_counter(g, i)), value);
	assert_int_equal(rig_rdmsr(g, is_intel() ? X86_MSR_PERFCTR(i) : X86_MSR_PERF_CTR(i)),
			 value);
	/* Trapped, and direct from then on. */
	for (unsigned int k = 0; k < 3; k++)
		assert_int_equal(rig_rdpmc(g, i), value);
	rig_exit(g);
	assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
	assert_int_equal(status.value, value);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	assert_int_equal(s.value[i], value);
	assert_int_equal(vpmu_x86_get_msr(&g->v, rig_msr_counter(g, i), &got), VPMU_HANDLED);
	assert_int_equal(got, value);
	rig_enter(g);
}

static void a2_value_under_selector_0(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0), *other = &rig.vcpus[1];

		enable(g, 0, 0, false);
		rig_wrmsr(g, rig_msr_counter(g, 5), 0x1234);
		stop(g);
		go(other);
		program(other, 5);
		check_value(other, 5, 0);
		stop(other);
		go(g);
		check_value(g, 5, 0x1234);
	}
}

static void assert_trapped(struct rig_vcpu *g, uint32_t index)
{
	assert_false(vpmu_x86_is_direct(&g->v, index, false));
	assert_false(vpmu_x86_is_direct(&g->v, index, true));
}

/* Selectors, FIXED_CTR_CTRL and DEBUGCTL never run direct, whatever the guest does. */
static void a2_selectors_are_never_direct(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);

			program(g, 4);
			(void)rig_rdpmc(g, 0);
			(void)rig_rdpmc(g, 1);
			for (unsigned int i = 0; i < 8; i++) {
				assert_trapped(g, X86_MSR_PERFEVTSEL(i));
				assert_trapped(g, X86_MSR_PERF_CTL(i));
				assert_trapped(g, X86_MSR_K7_EVNTSEL(i & 3));
			}
			assert_trapped(g, X86_MSR_FIXED_CTR_CTRL);
			assert_trapped(g, X86_MSR_DEBUGCTL);
			assert_trapped(g, X86_MSR_STATUS_SET);
			assert_trapped(g, X86_MSR_AMD_STATUS_SET);
			assert_trapped(g, X86_MSR_PERF_CAPABILITIES);
			assert_trapped(g, 0x10);
		}
	}
}

/*
 * A counter's MSRs open when it is first enabled, and stay open; global registers only in the
 * hardware's shape.
 */
static void a2_what_opens(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS - 1; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);
			bool all = g->v.vm->counters == x86_pmu_counters(&rig.config) &&
				   rig_has_global(g);

			assert_trapped(g, rig_msr_counter(g, 0));
			enable(g, 0, 5, false);
			assert_true(vpmu_x86_is_direct(&g->v, rig_msr_counter(g, 0), true));
			assert_trapped(g, rig_msr_counter(g, 1));
			assert_int_equal(vpmu_x86_is_direct(&g->v, rig_msr_global(g), true), all);
			assert_int_equal(vpmu_x86_is_direct(&g->v, rig_msr_status(g), false), all);
			assert_int_equal(vpmu_x86_is_direct(&g->v, rig_msr_reset(g), true), all);
			rig_wrmsr(g, rig_msr_selector(g, 0), 0);
			assert_true(vpmu_x86_is_direct(&g->v, rig_msr_counter(g, 0), false));
			/* GLOBAL_STATUS is never written direct, and its reset never read. */
			assert_false(vpmu_x86_is_direct(&g->v, rig_msr_status(g), true));
			assert_false(vpmu_x86_is_direct(&g->v, rig_msr_reset(g), false));
		}
	}
}

/* RDPMC is direct only while every counter that it can name shows the guest's value. */
static void a2_rdpmc(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);
			bool all = g->v.vm->counters == x86_pmu_counters(&rig.config) &&
				   rig_has_global(g) && g->vm->vm.mode == VPMU_MODE_MEDIATED;

			assert_false(vpmu_x86_rdpmc_is_direct(&g->v));
			rig_wrmsr(g, rig_msr_counter(g, 3), 77);
			enable(g, 0, 5, false);
			/* Nobody uses it: it stays closed, and the others out of the hardware. */
			assert_false(vpmu_x86_rdpmc_is_direct(&g->v));
			(void)rig_rdpmc(g, 1);
			assert_int_equal(vpmu_x86_rdpmc_is_direct(&g->v), all);
			assert_int_equal(rig_rdpmc(g, 3), 77);
			/* Trapped writes of what is not loaded are seen by direct reads. */
			rig_wrmsr(g, rig_msr_counter(g, 2), 99);
			assert_int_equal(rig_rdpmc(g, 2), 99);
			stop(g);
			go(g);
			assert_int_equal(rig_rdpmc(g, 2), 99);
			assert_int_equal(rig_rdpmc(g, 3), 77);
		}
	}
}

/* One counter in use: what load, save and the scrub cost does not depend on how many there are. */
static void a2_few_counters_cost_little(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t before;

		enable(g, 0, 5, false);
		rig_run(g, false, 100);
		rig_exit(g);
		before = accesses(g);
		rig_reclaim(g->cpu);
		/* Status, counter, selector, LVTPC, GLOBAL_CTRL; the host's GLOBAL_CTRL back. */
		assert_in_range(accesses(g) - before, 1, 8);
		before = accesses(g);
		rig_enter(g);
		/* And the sweep of what the host may have left: selectors and status. */
		assert_in_range(accesses(g) - before, 1, 8 + 8 + 2);
		rig_exit(g);
		rig_put(g);
		rig_load(g, &rig.cpus[0]);
		before = accesses(g);
		rig_enter(g);
		assert_in_range(accesses(g) - before, 1, 8);
	}
}

/* ---- A4 ---- */

static void a4_going_back_costs_nothing(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS - 1; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);

			program(g, 4);
			/* From a look on, so that none falls into the measured pairs. */
			while (stats(g)->probes == 0)
				(void)pairs(g, 1);
			assert_int_equal(pairs(g, VPMU_LOOK_INTERVAL / 2), 0);
			assert_int_equal(stats(g)->loads, 1);
		}
	}
}

/*
 * The hypervisor's and host's instructions, in any ring, are none of a guest that asks for all
 * rings.
 */
static void a4_counts_no_host_instruction(void **state)
{
	static const struct x86_pmu_events many = { .instructions = 10000, .cycles = 20000,
						    .branches = 3000 };

	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int kind = 0; kind < 2; kind++) {
			struct rig_vcpu *g = start_kind(class, 0, kind);

			program(g, 6);
			for (unsigned int n = 0; n < 100; n++) {
				rig_exit(g);
				x86_cpu_host(&g->cpu->x86, false, &many);
				rig_compare(g);
				rig_enter(g);
			}
			rig_exit(g);
			rig_compare(g);
		}
	}
}

/* What cannot stop its counters, set its status or write its counters is not mediated. */
static void a4_refusals(void **state)
{
	static const struct {
		enum x86_cpu_class class;
		bool vmx_controls;
		int error;
	} rows[] = {
		{ X86_CPU_CORE2, true, VPMU_ERR_UNSUPPORTED },
		{ X86_CPU_HASWELL, true, VPMU_ERR_UNSUPPORTED },
		{ X86_CPU_SKYLAKE, false, VPMU_ERR_UNSUPPORTED },
		{ X86_CPU_SKYLAKE, true, 0 },
		{ X86_CPU_ICELAKE, true, 0 },
		{ X86_CPU_K7, true, VPMU_ERR_UNSUPPORTED },
		{ X86_CPU_ZEN2, true, VPMU_ERR_UNSUPPORTED },
		{ X86_CPU_ZEN4, true, 0 },
	};

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(rows); k++) {
		struct vpmu_vm_config config = { .size = sizeof(config) };
		struct vpmu_machine machine;
		struct x86_pmu_config pmu;
		struct vpmu_x86_model model;
		struct vpmu_vm vm;
		static struct x86_cpu cpu;

		x86_cpu_class_config(rows[k].class, &pmu);
		assert_int_equal(x86_cpu_init(&cpu, &pmu, rows[k].vmx_controls), 0);
		vpmu_machine_init(&machine);
		vpmu_machine_add(&machine, &cpu.x86.hw.caps);
		assert_int_equal(vpmu_x86_model_of(&machine, &model), 0);
		assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &model, &config), rows[k].error);
		config.mode = VPMU_MODE_EMULATED;
		assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &model, &config), 0);
	}
}

/* ---- A5: order ---- */

static void trace_on(struct rig_cpu *c)
{
	c->x86.trace = trace;
	c->x86.trace_size = ARRAY_SIZE(trace);
	c->x86.trace_count = 0;
}

static bool is_write(const struct x86_cpu_access *a, uint32_t index)
{
	return a->op == X86_CPU_WRMSR && a->index == index;
}

static bool writes_counter(const struct rig_vcpu *g, const struct x86_cpu_access *a)
{
	for (unsigned int i = 0; i < 8; i++) {
		if (is_write(a, rig_msr_counter(g, i)))
			return true;
	}
	return false;
}

static bool writes_enable(const struct rig_vcpu *g, const struct x86_cpu_access *a)
{
	for (unsigned int i = 0; i < 8; i++) {
		if (is_write(a, rig_msr_selector(g, i)) && a->value & X86_SEL_EN)
			return true;
	}
	return is_write(a, X86_MSR_FIXED_CTR_CTRL) && a->value;
}

/* The route first; counters and status before any enable; the global enable last. */
static void check_load_order(const struct rig_vcpu *g, size_t count)
{
	bool routed = false, enabled = false, running = false;
	uint32_t set = is_intel() ? X86_MSR_STATUS_SET : X86_MSR_AMD_STATUS_SET;

	assert_in_range(count, 1, ARRAY_SIZE(trace));
	for (size_t i = 0; i < count; i++) {
		const struct x86_cpu_access *a = &trace[i];
		bool sets_up = writes_counter(g, a) || is_write(a, set);

		routed |= a->op == X86_CPU_LVTPC && (a->value & 0xFF) == X86_CPU_VECTOR;
		enabled |= writes_enable(g, a);
		running |= is_intel() ? a->op == X86_CPU_SET_GUEST_GLOBAL && a->value
				      : is_write(a, X86_MSR_AMD_GLOBAL_CTL) && a->value;
		assert_false(sets_up && (!routed || enabled || running));
		assert_false(running && writes_enable(g, a));
	}
	assert_true(routed && enabled && running);
}

/*
 * Off first: GLOBAL_CTRL; nothing is enabled again; the route goes back when nothing of the guest
 * is on.
 */
static void check_save_order(const struct rig_vcpu *g, size_t count)
{
	size_t first = 0;
	bool routed = false;

	assert_in_range(count, 1, ARRAY_SIZE(trace));
	while (first < count && trace[first].op != X86_CPU_WRMSR &&
	       trace[first].op != X86_CPU_SET_GUEST_GLOBAL)
		first++;
	if (is_intel())
		assert_int_equal(trace[first].op, X86_CPU_SET_GUEST_GLOBAL);
	else
		assert_int_equal(trace[first].index, X86_MSR_AMD_GLOBAL_CTL);
	assert_int_equal(trace[first].value, 0);
	for (size_t i = 0; i < count; i++) {
		assert_false(writes_enable(g, &trace[i]));
		routed |= trace[i].op == X86_CPU_LVTPC;
		assert_false(routed && writes_counter(g, &trace[i]));
	}
	assert_true(routed);
}

static void a5_order(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		program(g, 6);
		if (is_intel())
			rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0xBB);
		rig_wrmsr(g, is_intel() ? X86_MSR_STATUS_SET : X86_MSR_AMD_STATUS_SET, 4);
		rig_run(g, false, 0x20000);
		stop(g);
		rig_load(g, &rig.cpus[0]);
		trace_on(g->cpu);
		rig_enter(g);
		check_load_order(g, g->cpu->x86.trace_count);
		rig_run(g, false, 100);
		trace_on(g->cpu);
		rig_exit(g);
		rig_put(g);
		check_save_order(g, rig.cpus[0].x86.trace_count);
	}
}

/* ---- A7 ---- */

/* Emulated instructions by (g)'s hypervisor; returns the accesses that they took. */
static uint64_t count(struct rig_vcpu *g, enum vpmu_event_class event, uint64_t n)
{
	uint64_t before;

	rig_exit(g);
	before = accesses(g);
	rig_count(g, event, false, n);
	before = accesses(g) - before;
	rig_compare(g);
	rig_enter(g);
	return before;
}

static void a7_emulated_instructions(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);

		rig_wrmsr(g, rig_msr_selector(g, 0),
			  rig_event(g, X86_PMU_CYCLES) | X86_SEL_EN | X86_SEL_OS);
		/* Nothing counts them: nothing is looked at. */
		assert_int_equal(count(g, VPMU_EVENT_INSTRUCTIONS, 5), 0);
		assert_int_equal(count(g, VPMU_EVENT_BRANCHES, 5), 0);
		enable(g, 1, rig_width(g, 1) - 100, true);
		rig_lvtpc(g, 0);
		/* GLOBAL_CTRL, status, the counter and back. */
		assert_in_range(count(g, VPMU_EVENT_INSTRUCTIONS, 50), 1, 4);
		assert_int_equal(count(g, VPMU_EVENT_BRANCHES, 50), 0);
		assert_int_equal(rig.pmis, 0);
		/* And with an overflow, the status. */
		assert_in_range(count(g, VPMU_EVENT_INSTRUCTIONS, 60), 1, 5);
		assert_int_equal(rig.pmis, 1);
		assert_int_equal(rig_rdmsr(g, rig_msr_status(g)), 2);
		assert_int_equal(vpmu_count(&g->v, VPMU_EVENT_INSTRUCTIONS, false, 1),
				 VPMU_ERR_STATE);
	}
}

/* ---- C1 ---- */

/* What the guest's handler does, in Linux's order: clear, re-arm, unmask. */
static void handle(struct rig_vcpu *g, unsigned int i, uint64_t period)
{
	uint64_t status = rig_rdmsr(g, rig_msr_status(g));

	rig_wrmsr(g, rig_msr_reset(g), status);
	rig_wrmsr(g, rig_msr_counter(g, i), rig_width(g, i) + 1 - period);
	if (is_intel())
		rig_lvtpc(g, 0);
}

/*
 * 1,000 samples in one residency without put; the entry is written once per sample where it masks
 * itself.
 */
static void c1_samples_in_one_residency(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t routes = 0, before;

		enable(g, 0, rig_width(g, 0) + 1 - 200, true);
		rig_lvtpc(g, 0);
		before = accesses(g);
		for (unsigned int n = 0; n < 1000; n++) {
			uint64_t pmis = rig.pmis;

			trace_on(g->cpu);
			while (rig.pmis == pmis)
				rig_run(g, n & 1, 40);
			handle(g, 0, 200);
			for (size_t i = 0; i < g->cpu->x86.trace_count; i++)
				routes += trace[i].op == X86_CPU_LVTPC;
		}
		assert_int_equal(rig.pmis, 1000);
		assert_int_equal(rig.late, 0);
		assert_int_equal(stats(g)->loads, 1);
		assert_int_equal(routes, is_intel() ? 1000 : 0);
		/*
		 * Per sample the status is read when the vector comes. Intel: LVTPC is unmasked,
		 * before which the status is read, and the trapped write counts: GLOBAL_CTRL is in
		 * the VMCS, status, the counter and back. AMD: the status is cleared in a trap,
		 * which counts as well.
		 */
		assert_in_range(accesses(g) - before, 1000, 1000 * (is_intel() ? 6 : 7) + 10);
	}
}

/* ---- C2 ---- */

/* One more event overflows counter (i), and the vector stays latched. */
static void overflow_and_leave(struct rig_vcpu *g)
{
	rig_retire(g, false, 20);
	rig_leave(g);
	assert_int_equal(x86_pmu_interrupt(&g->cpu->x86.pmu), X86_CPU_VECTOR);
}

static struct rig_vcpu *armed(unsigned int class, unsigned int vcpu)
{
	struct rig_vcpu *g = start(class, vcpu);

	enable(g, 1, rig_width(g, 1) - 9, true);
	rig_lvtpc(g, 0);
	return g;
}

/* exit(v), put(v), load(w): v's vector is nobody's, and v gets its PMI once. */
static void c2_put_before_the_vector(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS - 1; vcpu++) {
			struct rig_vcpu *g = armed(class, vcpu), *w = &rig.vcpus[vcpu ? 0 : 1];

			overflow_and_leave(g);
			rig_put(g);
			go(w);
			program(w, 2);
			assert_int_equal(rig.late, 1);
			assert_int_equal(rig.pmis, 0);
			stop(w);
			go(g);
			assert_int_equal(rig.pmis, 1);
			rig_run(g, false, 100);
			(void)pairs(g, 10);
			assert_int_equal(rig.pmis, 1);
		}
	}
}

/*
 * The next guest was told of an overflow by a vector and has not cleared it: another's vector is
 * not a second.
 */
static void c2_the_next_guest_was_told(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *w = armed(class, 1), *g = &rig.vcpus[0];

		rig_run(w, false, 20);
		assert_int_equal(rig.pmis, 1);
		rig_lvtpc(w, 0);
		stop(w);
		go(g);
		enable(g, 1, rig_width(g, 1) - 9, true);
		rig_lvtpc(g, 0);
		overflow_and_leave(g);
		rig_put(g);
		go(w);
		rig_run(w, false, 1);
		assert_int_equal(rig.late, 1);
		assert_int_equal(rig.pmis, 1);
		stop(w);
		go(g);
		assert_int_equal(rig.pmis, 2);
	}
}

/* Whoever looks first tells it, and the vector that follows is late. */
static void c2_looked_at_before_the_vector(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int how = 0; how < 4; how++) {
			struct rig_vcpu *g = armed(class, 0);
			struct vpmu_state s;
			uint64_t value;

			overflow_and_leave(g);
			if (how == 0)
				assert_int_equal(vpmu_vcpu_interrupt(&g->v), 1);
			else if (how == 1)
				assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
			else if (how == 2)
				assert_int_equal(vpmu_x86_rdmsr(&g->v, rig_msr_status(g), &value),
						 VPMU_HANDLED);
			else
				rig_reclaim(g->cpu);
			assert_int_equal(vpmu_vcpu_interrupt(&g->v), 1);
			rig_take_interrupts(g->cpu);
			assert_int_equal(rig.late, 1);
			rig_enter(g);
			assert_int_equal(rig.pmis, 1);
			(void)pairs(g, 10);
			assert_int_equal(rig.pmis, 1);
			assert_int_equal(stats(g)->pmi_late, 1);
		}
	}
}

/* An overflow with the interrupt off owes none, also when it is switched on afterwards. */
static void c2_switched_on_later(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);

			rig_lvtpc(g, 0);
			enable(g, 1, rig_width(g, 1) - 9, false);
			rig_run(g, false, 20);
			rig_wrmsr(g, rig_msr_selector(g, 1), selector(g, true));
			rig_exit(g);
			assert_int_equal(vpmu_vcpu_interrupt(&g->v), 0);
			rig_enter(g);
			stop(g);
			go(g);
			assert_int_equal(rig.pmis, 0);
			/* It is not deaf either. */
			if (rig_has_global(g))
				rig_wrmsr(g, rig_msr_reset(g), 2);
			rig_wrmsr(g, rig_msr_counter(g, 1), rig_width(g, 1) - 9);
			rig_run(g, false, 20);
			assert_int_equal(rig.pmis, 1);
		}
	}
}

/* An overflow whose interrupt is switched off before the vector comes is still owed. */
static void c2_switched_off_before_the_vector(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = armed(class, 0);
		uint64_t off = selector(g, false);

		overflow_and_leave(g);
		/* The exit was the WRMSR's. */
		assert_int_equal(vpmu_x86_wrmsr(&g->v, rig_msr_selector(g, 1), off), VPMU_HANDLED);
		assert_true(x86_pmu_wrmsr(&g->bare, rig_msr_selector(g, 1), off));
		rig_take_interrupts(g->cpu);
		rig_enter(g);
		assert_int_equal(rig.pmis, 1);
	}
}

/*
 * What was told is cleared and comes again before a put: it is told again, although its vector
 * finds nobody.
 */
static void c2_cleared_and_again(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = armed(class, 0), *w = &rig.vcpus[1];

		rig_run(g, false, 20);
		assert_int_equal(rig.pmis, 1);
		/* Intel: while the entry is masked, clearing is direct; else it is seen. */
		assert_int_equal(vpmu_x86_is_direct(&g->v, rig_msr_reset(g), true), is_intel());
		if (is_intel()) {
			rig_lvtpc(g, 0);
			assert_false(vpmu_x86_is_direct(&g->v, rig_msr_reset(g), true));
		}
		rig_wrmsr(g, rig_msr_reset(g), 2);
		assert_true(vpmu_x86_is_direct(&g->v, rig_msr_reset(g), true));
		rig_wrmsr(g, rig_msr_counter(g, 1), rig_width(g, 1) - 9);
		overflow_and_leave(g);
		rig_put(g);
		go(w);
		rig_run(w, false, 1);
		stop(w);
		go(g);
		assert_int_equal(rig.pmis, 2);
	}
}

/*
 * Software that never clears GLOBAL_STATUS, because it is older than that, looks at the counters:
 * it gets a PMI for each overflow, of every shape, and goes on after one was found at a put.
 */
static void c2_a_guest_that_never_clears(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = armed(class, vcpu);

			for (unsigned int n = 1; n <= 20; n++) {
				rig_run(g, false, 20);
				assert_int_equal(rig.pmis, n);
				rig_wrmsr(g, rig_msr_counter(g, 1), rig_width(g, 1) - 9);
				if (is_intel())
					rig_lvtpc(g, 0);
				if (n % 7 == 0) {
					stop(g);
					go(g);
				}
			}
		}
	}
}

/* A masked entry: nothing is owed then or later, and the hardware's is masked. */
static void c2_masked(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = armed(class, vcpu);
			bool mediated = g->vm->vm.mode == VPMU_MODE_MEDIATED;

			rig_lvtpc(g, X86_LVTPC_MASKED);
			assert_int_equal(g->cpu->x86.pmu.lvtpc,
					 mediated ? X86_CPU_VECTOR | X86_LVTPC_MASKED
						  : X86_LVTPC_NMI);
			rig_run(g, false, 20);
			rig_exit(g);
			rig_count(g, VPMU_EVENT_INSTRUCTIONS, false, BIT(47));
			assert_int_equal(vpmu_vcpu_interrupt(&g->v), 0);
			rig_enter(g);
			rig_lvtpc(g, 0);
			(void)pairs(g, 3);
			stop(g);
			go(g);
			assert_int_equal(rig.pmis, 0);
			assert_int_equal(rig.vectors, 0);
		}
	}
}

/* V6: two overflows, and one that the hypervisor's instruction caused, are one PMI at one exit. */
static void c2_one_pmi_per_exit(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int vcpu = 0; vcpu < RIG_VCPUS; vcpu++) {
			struct rig_vcpu *g = start(class, vcpu);

			for (unsigned int i = 0; i < 3; i++)
				enable(g, i, rig_width(g, i) - (i == 2 ? 200 : 60), true);
			rig_lvtpc(g, 0);
			rig_run(g, false, 20);
			if (g->vm->vm.mode == VPMU_MODE_MEDIATED) {
				rig_retire(g, false, 60);
				rig_leave(g);
			} else {
				rig_run(g, false, 10);
				rig_exit(g);
			}
			assert_int_equal(rig.pmis, 0);
			rig_count(g, VPMU_EVENT_INSTRUCTIONS, false, 200);
			rig_take_interrupts(g->cpu);
			rig_enter(g);
			assert_int_equal(rig.pmis, 1);
			assert_int_equal(vpmu_vcpu_exit(&g->v, 0) | vpmu_vcpu_pmi(&g->v), 0);
		}
	}
}

/*
 * Version 2 freezes by clearing GLOBAL_CTRL, whatever the hardware does: CTR_Frz is not for this
 * guest.
 */
static void an_old_guest_freezes_as_of_old(void **state)
{
	(void)state;
	for (unsigned int class = 0; class < 2; class++) {
		for (unsigned int vcpu = 3; vcpu < 5; vcpu++) {
			struct rig_vcpu *g = armed(class, vcpu);
			uint64_t value;

			rig_wrmsr(g, X86_MSR_DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
			rig_run(g, false, 20);
			assert_int_equal(rig.pmis, 1);
			assert_int_equal(rig_rdmsr(g, X86_MSR_GLOBAL_CTRL), 0);
			assert_int_equal(rig_rdmsr(g, X86_MSR_GLOBAL_STATUS), 2);
			value = rig_rdmsr(g, rig_msr_counter(g, 1));
			rig_run(g, false, 100);
			assert_int_equal(rig_rdmsr(g, rig_msr_counter(g, 1)), value);
			rig_wrmsr(g, X86_MSR_STATUS_RESET, 2);
			rig_wrmsr(g, X86_MSR_GLOBAL_CTRL, 2);
			rig_run(g, false, 100);
			value = rig_rdmsr(g, rig_msr_counter(g, 1)) - value;
			assert_in_range(value, 100, 110);
		}
	}
}

/*
 * The hardware has frozen a guest, which nobody looked at: not even the instruction that takes the
 * bit away that allowed it counts.
 */
static void frozen_is_frozen(void **state)
{
	(void)state;
	for (unsigned int class = 0; class < 2; class++) {
		struct rig_vcpu *g = start(class, 0);

		enable(g, 0, 0, false);
		enable(g, 1, rig_width(g, 1) - 9, true);
		rig_wrmsr(g, X86_MSR_DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
		/* LVTPC is masked: no exit. */
		rig_run(g, false, 20);
		assert_int_equal(g->cpu->x86.pmu.global_status, X86_STATUS_CTR_FRZ | 2);
		rig_wrmsr(g, X86_MSR_DEBUGCTL, 0);
		rig_exit(g);
		rig_compare(g);
	}
}

/* ---- Policy ---- */

/*
 * From the next enter on: a denied counter stands still and reads back as written; then it goes on.
 */
static void policy_at_the_next_enter(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int kind = 0; kind < 2; kind++) {
			struct rig_vcpu *g = start_kind(class, 0, kind);
			struct vpmu_counter_status status;
			uint64_t value, before;

			enable(g, 1, 0, true);
			rig_run(g, false, 100);
			rig_exit(g);
			/* Denies instructions. */
			g->vm->policy = &rig.policies[0];
			assert_int_equal(vpmu_vm_set_policy(&g->vm->vm, &g->vm->policy->policy),
					 0);
			before = accesses(g);
			rig_enter(g);
			assert_in_range(accesses(g) - before, kind ? 0 : 1, 64);
			value = rig_rdmsr(g, rig_msr_counter(g, 1));
			rig_run(g, false, 1000);
			assert_int_equal(rig_rdmsr(g, rig_msr_counter(g, 1)), value);
			assert_int_equal(rig_rdmsr(g, rig_msr_selector(g, 1)), selector(g, true));
			rig_exit(g);
			assert_int_equal(vpmu_vcpu_counter(&g->v, 1, &status), 0);
			assert_int_equal(status.state, VPMU_COUNTER_DENIED);
			rig_enter(g);
			rig_set_policy(&rig, g->vm, NULL);
			rig_run(g, false, 1000);
			value = rig_rdmsr(g, rig_msr_counter(g, 1)) - value;
			assert_in_range(value, 1000, 1010);
		}
	}
}

/*
 * FIXED_CTR_CTRL is one register of many counters: a write of one group does not let a denied one
 * count again.
 */
static void policy_and_the_other_groups(void **state)
{
	(void)state;
	for (unsigned int class = 0; class < 2; class++) {
		struct rig_vcpu *g = start(class, 0);

		rig_set_policy(&rig, g->vm, &rig.policies[0]);
		rig_wrmsr(g, X86_MSR_GLOBAL_CTRL, UINT64_C(7) << 32);
		rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0x3);
		rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0x33);
		rig_run(g, false, 100);
		assert_int_equal(rig_rdmsr(g, X86_MSR_FIXED_CTR(0)), 0);
		assert_int_equal(rig_rdmsr(g, X86_MSR_FIXED_CTR(1)), 200);
		assert_int_equal(rig_rdmsr(g, X86_MSR_FIXED_CTR_CTRL), 0x33);
		rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0x333);
		rig_run(g, false, 100);
		assert_int_equal(rig_rdmsr(g, X86_MSR_FIXED_CTR(0)), 0);
	}
}

/* ---- V1, V2, V7: the host ---- */

static void host_write(struct rig_cpu *c, uint32_t index, uint64_t value)
{
	assert_true(x86_pmu_wrmsr(&c->x86.pmu, index, value));
	c->left = c->x86.pmu;
}

/*
 * GLOBAL_CTRL and LVTPC after a put are what they were before; counters, selectors and status are
 * 0.
 */
static void v7_what_the_host_finds(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int kind = 0; kind < 2; kind++) {
			for (unsigned int how = 0; how < 3; how++) {
				struct rig_vcpu *g = start_kind(class, 0, kind);
				struct x86_pmu *pmu = &rig.cpus[0].x86.pmu;
				uint64_t global = how == 0 ? 0 : how == 1 ? 0x15 : 0x3F;

				stop(g);
				assert_int_equal(vpmu_cpu_reclaim(&rig.cpus[0].cpu, 0), 0);
				host_write(&rig.cpus[0], rig_msr_global(g), global);
				go(g);
				program(g, 5);
				rig_run(g, false, 500);
				if (is_intel() && kind == VPMU_SWITCH_LAZY) {
					rig_exit(g);
					assert_int_equal(pmu->global_ctrl, 0);
					rig_enter(g);
				}
				stop(g);
				assert_int_equal(pmu->global_ctrl, global);
				assert_int_equal(pmu->lvtpc, X86_LVTPC_NMI);
				assert_int_equal(pmu->global_status, 0);
				for (unsigned int i = 0; i < 5; i++) {
					assert_int_equal(pmu->gp[i], 0);
					assert_int_equal(pmu->selector[i], 0);
				}
			}
		}
	}
}

/* The host's events live on while quiet guests run, and are swept away when one is loaded. */
static void v7_host_events_beside_quiet_guests(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		struct rig_cpu *c = g->cpu;
		uint64_t on = selector(g, true) & ~X86_SEL_OS;

		rig_exit(g);
		assert_int_equal(vpmu_cpu_reclaim(&c->cpu, 1), 0);
		host_write(c, is_intel() ? X86_MSR_PMC(0) : X86_MSR_PERF_CTR(0), 500);
		host_write(c, is_intel() ? X86_MSR_PERFEVTSEL(0) : X86_MSR_PERF_CTL(0), on);
		host_write(c, rig_msr_global(g), 0x3F);
		rig_enter(g);
		assert_int_equal(pairs(g, 10), 0);
		rig_exit(g);
		assert_int_equal(c->x86.pmu.selector[0], on);
		assert_int_equal(c->x86.pmu.gp[0], 500);
		assert_int_equal(c->x86.pmu.global_ctrl, 0x3F);
		rig_enter(g);
		enable(g, 1, 7, false);
		assert_int_equal(c->x86.pmu.selector[0], 0);
		rig_run(g, true, 100);
		assert_int_equal(rig_rdpmc(g, 0), 0);
		stop(g);
	}
}

/* Everything on, and set. */
static void host_forgets(struct rig_vcpu *g, struct rig_cpu *c)
{
	for (unsigned int i = 0; i < 6; i++) {
		host_write(c, is_intel() ? X86_MSR_PMC(i) : X86_MSR_PERF_CTR(i), 500);
		host_write(c, is_intel() ? X86_MSR_PERFEVTSEL(i) : X86_MSR_PERF_CTL(i),
			   selector(g, true));
	}
	host_write(c, is_intel() ? X86_MSR_STATUS_SET : X86_MSR_AMD_STATUS_SET, 0x3F);
	if (is_intel()) {
		host_write(c, X86_MSR_FIXED_CTR_CTRL, 0xBBB);
		host_write(c, X86_MSR_STATUS_SET, X86_STATUS_CTR_FRZ);
	}
	host_write(c, rig_msr_global(g), x86_pmu_counters(&rig.config));
}

/* The host forgot everything it had on: none of it becomes the guest's. */
static void a3_what_the_host_left_behind(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		for (unsigned int kind = 0; kind < 2; kind++) {
			struct rig_vcpu *g = start_kind(class, 0, kind);
			struct rig_cpu *c = g->cpu;

			enable(g, 0, 0, true);
			rig_exit(g);
			assert_int_equal(vpmu_cpu_reclaim(&c->cpu, UINT64_MAX), 0);
			host_forgets(g, c);
			rig_enter(g);
			rig_run(g, false, 10);
			assert_int_equal(rig_rdmsr(g, rig_msr_status(g)), 0);
			for (unsigned int i = 1; i < 6; i++)
				assert_int_equal(rig_rdpmc(g, i), 0);
			rig_exit(g);
			rig_compare(g);
		}
	}
}

/* ---- V11 ---- */

static void v11_bounded_accesses(void **state)
{
	(void)state;
	FOR_EACH_CLASS(class) {
		struct rig_vcpu *g = start(class, 0);
		uint64_t n = (uint64_t)__builtin_popcountll(g->v.vm->counters), before;

		program(g, rig.config.gp);
		if (is_intel())
			rig_wrmsr(g, X86_MSR_FIXED_CTR_CTRL, 0xBBB);
		(void)rig_rdpmc(g, 0);
		rig_run(g, false, 0x20000);
		rig_exit(g);
		before = accesses(g);
		rig_reclaim(g->cpu);
		/* A counter: read, write, selector. */
		assert_in_range(accesses(g) - before, 1, 3 * n + 6);
		before = accesses(g);
		rig_enter(g);
		/* And swept first. */
		assert_in_range(accesses(g) - before, 1, 3 * n + 6);
		rig_exit(g);
	}
}

/* ---- Calls at the wrong time ---- */

static void wrong_order_of_calls(void **state)
{
	struct rig_vcpu *g = &rig.vcpus[0], *other = &rig.vcpus[1];
	struct vpmu_x86_rdpmc rdpmc = { .index = 0 };
	uint64_t value;

	(void)state;
	rig_init_plain(&rig, X86_CPU_SKYLAKE, VPMU_SWITCH_LAZY, 1);
	rig.calm = true;
	assert_int_equal(vpmu_vcpu_load(&g->v, NULL), VPMU_ERR_UNSUPPORTED);
	rig_load(g, &rig.cpus[0]);
	assert_int_equal(vpmu_vcpu_load(&other->v, &rig.cpus[0].cpu), VPMU_ERR_STATE);
	rig_enter(g);
	program(g, 1);
	assert_int_equal(vpmu_x86_rdmsr(&g->v, X86_MSR_PERFEVTSEL(0), &value), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_wrmsr(&g->v, X86_MSR_PERFEVTSEL(0), 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_get_msr(&g->v, X86_MSR_PERFEVTSEL(0), &value), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_set_msr(&g->v, X86_MSR_PERFEVTSEL(0), 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_rdpmc(&g->v, &rdpmc), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_lvtpc(&g->v, 0), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_pmi(&g->v), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_interrupt(&g->v), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_put(&g->v), VPMU_ERR_STATE);
	assert_int_equal(vpmu_cpu_reclaim(&rig.cpus[0].cpu, 0), VPMU_ERR_STATE);
	rig_exit(g);
	rig_compare(g);
	/* A vector with nobody loaded is nobody's. */
	assert_int_equal(vpmu_cpu_pmi(&rig.cpus[1].cpu), VPMU_PMI_LATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a1_quiet_costs_nothing),
		cmocka_unit_test(a1_what_does_not_end_quietness),
		cmocka_unit_test(a1_what_ends_quietness),
		cmocka_unit_test(a1_frozen_is_quiet),
		cmocka_unit_test(a1_counts_after_load_without_a_touch),
		cmocka_unit_test(a1_back_to_zero_without_put),
		cmocka_unit_test(a1_looks_cost_little),
		cmocka_unit_test(a2_value_under_selector_0),
		cmocka_unit_test(a2_selectors_are_never_direct),
		cmocka_unit_test(a2_what_opens),
		cmocka_unit_test(a2_rdpmc),
		cmocka_unit_test(a2_few_counters_cost_little),
		cmocka_unit_test(a3_what_the_host_left_behind),
		cmocka_unit_test(a4_going_back_costs_nothing),
		cmocka_unit_test(a4_counts_no_host_instruction),
		cmocka_unit_test(a4_refusals),
		cmocka_unit_test(a5_order),
		cmocka_unit_test(a7_emulated_instructions),
		cmocka_unit_test(c1_samples_in_one_residency),
		cmocka_unit_test(c2_put_before_the_vector),
		cmocka_unit_test(c2_the_next_guest_was_told),
		cmocka_unit_test(c2_looked_at_before_the_vector),
		cmocka_unit_test(c2_switched_on_later),
		cmocka_unit_test(c2_switched_off_before_the_vector),
		cmocka_unit_test(c2_cleared_and_again),
		cmocka_unit_test(c2_a_guest_that_never_clears),
		cmocka_unit_test(c2_masked),
		cmocka_unit_test(c2_one_pmi_per_exit),
		cmocka_unit_test(an_old_guest_freezes_as_of_old),
		cmocka_unit_test(frozen_is_frozen),
		cmocka_unit_test(policy_at_the_next_enter),
		cmocka_unit_test(policy_and_the_other_groups),
		cmocka_unit_test(v7_what_the_host_finds),
		cmocka_unit_test(v7_host_events_beside_quiet_guests),
		cmocka_unit_test(v11_bounded_accesses),
		cmocka_unit_test(wrong_order_of_calls),
	};

	return cmocka_run_group_tests_name("x86-switching", tests, NULL, NULL);
}
