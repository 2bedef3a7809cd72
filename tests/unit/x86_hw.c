/* SPDX-License-Identifier: MIT */
/*
 * hardware/x86/x86_hw.c: which accesses each operation takes, exactly. hardware/model/x86_cpu.c:
 * that every check which the other tests rely on fires.
 */
#include "cmocka_vpmu.h"
#include "x86_cpu.h"

#include <string.h>

#define FX(n) BIT(X86_PMU_FIXED + (n))
#define INSTRUCTIONS 0xC0u
#define BOTH (X86_SEL_EN | X86_SEL_OS | X86_SEL_USR)
#define GUEST X86_SEL_GUEST_ONLY

static struct x86_cpu cpu;
static struct x86_cpu_access trace[32];
static unsigned int hooks;

static void hook(struct x86_cpu *c, void *context)
{
	(void)c;
	++*(unsigned int *)context;
}

static struct vpmu_hw *hw(void)
{
	return &cpu.x86.hw;
}

static const struct vpmu_hw_ops *ops(void)
{
	return cpu.x86.hw.ops;
}

/* ---- Traces ---- */

static void forget(void)
{
	cpu.trace_count = 0;
	cpu.x86.hw.accesses = 0;
	cpu.violations = 0;
	cpu.violation = NULL;
	hooks = 0;
}

static void watch(void)
{
	cpu.hook = hook;
	cpu.hook_context = &hooks;
	cpu.trace = trace;
	cpu.trace_size = ARRAY_SIZE(trace);
	forget();
}

static void start(enum x86_cpu_class class)
{
	struct x86_pmu_config config;

	x86_cpu_class_config(class, &config);
	assert_int_equal(x86_cpu_init(&cpu, &config, true), 0);
	watch();
}

/* As core's vpmu_machine_add() leaves it: everything off and known. */
static void start_known(enum x86_cpu_class class)
{
	start(class);
	ops()->stop(hw(), hw()->caps.counters);
	forget();
}

static bool is_register(enum x86_cpu_op op)
{
	return op <= X86_CPU_LVTPC;
}

/* Exactly these accesses happened, in this order, and broke no rule. */
static void expect_trace(const struct x86_cpu_access *want, size_t n)
{
	uint64_t accesses = 0;

	if (cpu.violations)
		fail_msg("%s", cpu.violation);
	for (size_t k = 0; k < n && k < cpu.trace_count; k++) {
		accesses += is_register(want[k].op);
		if (trace[k].op != want[k].op || trace[k].index != want[k].index ||
		    trace[k].value != want[k].value)
			fail_msg("access %zu: op %d index %#x value %#llx", k, (int)trace[k].op,
				 trace[k].index, (unsigned long long)trace[k].value);
	}
	assert_int_equal(cpu.trace_count, n);
	assert_int_equal(cpu.x86.hw.accesses, accesses);
	assert_int_equal(hooks, 2 * n);
	forget();
}

#define EXPECT(...) expect_trace((const struct x86_cpu_access[]){ __VA_ARGS__ }, \
	sizeof((const struct x86_cpu_access[]){ __VA_ARGS__ }) / sizeof(struct x86_cpu_access))
#define RD(index, value) { X86_CPU_RDMSR, index, value }
#define WR(index, value) { X86_CPU_WRMSR, index, value }
#define PMC(index, value) { X86_CPU_RDPMC, index, value }
#define LVTPC(value) { X86_CPU_LVTPC, 0, value }
#define GET_GUEST(value) { X86_CPU_GET_GUEST_GLOBAL, 0, value }
#define SET_GUEST(value) { X86_CPU_SET_GUEST_GLOBAL, 0, value }
#define SWITCH(on, host) { X86_CPU_SWITCH_GLOBAL, on, host }
#define SEL X86_MSR_PERFEVTSEL
#define FIXED_CTRL X86_MSR_FIXED_CTR_CTRL

static void expect_nothing(void)
{
	expect_trace(NULL, 0);
}

/* Exactly one, and it is this one. */
static void fired(const char *text)
{
	if (cpu.violations != 1 || strcmp(cpu.violation, text))
		fail_msg("%llu, %s; expected: %s", (unsigned long long)cpu.violations,
			 cpu.violation ? cpu.violation : "none", text);
	forget();
}

/* ---- Capabilities ---- */

static void capabilities(void **state)
{
	static const struct {
		uint64_t counters;
		uint8_t boundary, status_set, exact, masks, version;
		uint64_t status, identity, events;
	} want[X86_CPU_CLASSES] = {
		[X86_CPU_CORE2] = { 7 * BIT(32) | 3, VPMU_BOUNDARY_ATOMIC, 0, 0, 1, 2, 0,
				    0x2282801, 0x7F },
		[X86_CPU_HASWELL] = { 7 * BIT(32) | 0xF, VPMU_BOUNDARY_ATOMIC, 0, 1, 1, 3, 0,
				      0x3303001, 0x7F },
		[X86_CPU_SKYLAKE] = { 7 * BIT(32) | 0xFF, VPMU_BOUNDARY_ATOMIC, 1, 1, 1, 4,
				      X86_STATUS_CTR_FRZ, 0x3303001, 0x7F },
		[X86_CPU_ICELAKE] = { 15 * BIT(32) | 0xFF, VPMU_BOUNDARY_ATOMIC, 1, 1, 1, 5,
				      X86_STATUS_CTR_FRZ, 0x2303001, 0xFF },
		[X86_CPU_K7] = { 0xF, VPMU_BOUNDARY_NONE, 0, 1, 0, 1, 0, 0x2003002, 0 },
		[X86_CPU_ZEN2] = { 0x3F, VPMU_BOUNDARY_NONE, 0, 1, 0, 1, 0, 0x2003002, 0 },
		[X86_CPU_ZEN4] = { 0x3F, VPMU_BOUNDARY_GATED, 1, 1, 0, 2, 0, 0x2003002, 0 },
	};

	(void)state;
	for (enum x86_cpu_class class = 0; class < X86_CPU_CLASSES; class++) {
		const struct vpmu_hw_caps *caps = &cpu.x86.hw.caps;

		start(class);
		assert_int_equal(caps->counters, want[class].counters);
		assert_int_equal(caps->selectable, want[class].counters);
		assert_int_equal(caps->direct_values, 0);
		assert_int_equal(caps->status, want[class].status);
		assert_int_equal(caps->global_reset, 0);
		assert_int_equal(caps->global_enable, class == X86_CPU_K7 || class == X86_CPU_ZEN2 ?
				 0 : want[class].counters);
		assert_int_equal(caps->boundary, want[class].boundary);
		assert_int_equal(caps->fine_traps, 1);
		/* AnyThread. */
		assert_int_equal(caps->multithreaded,
				 class == X86_CPU_HASWELL || class == X86_CPU_SKYLAKE);
		assert_int_equal(caps->status_set, want[class].status_set);
		assert_int_equal(caps->exact_writes, want[class].exact);
		assert_int_equal(caps->self_masking, want[class].masks);
		assert_int_equal(caps->version, want[class].version);
		assert_int_equal(caps->identity[0], want[class].identity);
		assert_int_equal(caps->identity[1], want[class].events);
		assert_int_equal(ops()->size, sizeof(struct vpmu_hw_ops));
		assert_null(ops()->user);
		assert_null(ops()->pointer);
		/* Initialising touches nothing. */
		expect_nothing();
	}
}

static void no_controls_no_boundary(void **state)
{
	struct x86_pmu_config config;

	(void)state;
	x86_cpu_class_config(X86_CPU_SKYLAKE, &config);
	assert_int_equal(x86_cpu_init(&cpu, &config, false), 0);
	watch();
	assert_int_equal(cpu.x86.hw.caps.boundary, VPMU_BOUNDARY_NONE);
	ops()->boundary(hw(), 0xFF, 0);
	ops()->set_global(hw(), 1);
	assert_int_equal(ops()->global(hw()), 0);
	ops()->boundary(hw(), 0, 0xFF);
	expect_nothing();
}

static void no_op(void *context, uint32_t value)
{
	(void)context;
	(void)value;
}

static void refusals(void **state)
{
	struct x86_pmu_config config;
	struct vpmu_x86_model good, m;
	struct vpmu_x86_port port;
	struct vpmu_x86_hw x86;

	(void)state;
	start(X86_CPU_ICELAKE);
	x86_cpu_class_config(X86_CPU_ICELAKE, &config);
	x86_cpu_model(&config, &good);
	port = *cpu.x86.port;
#define REFUSED(error, change) do { \
	m = good; \
	port = *cpu.x86.port; \
	change; \
	assert_int_equal(vpmu_x86_hw_init(&x86, &m, &port, &cpu, 0xF5), error); \
} while (0)
	REFUSED(0, (void)0);
	REFUSED(VPMU_ERR_SIZE, m.size--);
	REFUSED(VPMU_ERR_SIZE, port.size--);
	REFUSED(VPMU_ERR_PARAM, m.vendor = (enum vpmu_x86_vendor)2);
	REFUSED(VPMU_ERR_PARAM, m.version = 0);
	REFUSED(VPMU_ERR_PARAM, m.gp = 15);
	REFUSED(0, m.gp = 14);
	REFUSED(VPMU_ERR_PARAM, m.gp_width = 64);
	REFUSED(VPMU_ERR_PARAM, m.gp_width = 31);
	REFUSED(VPMU_ERR_PARAM, m.fixed = 5);
	REFUSED(VPMU_ERR_PARAM, m.fixed_width = 0);
	REFUSED(0, m.fixed = m.fixed_width = 0);
	REFUSED(VPMU_ERR_PARAM, m.version = 1);
	REFUSED(0, m.version = 1; m.fixed = 0);
	REFUSED(0, m.gp_width = 63);
	REFUSED(0, m.fixed_width = 32);
	REFUSED(VPMU_ERR_PARAM, m.pdcm = false);
	REFUSED(VPMU_ERR_PARAM, m.events_length = 9);
	REFUSED(VPMU_ERR_PARAM, port.rdmsr = NULL);
	REFUSED(VPMU_ERR_PARAM, port.wrmsr = NULL);
	REFUSED(VPMU_ERR_PARAM, port.rdpmc = NULL);
	REFUSED(VPMU_ERR_PARAM, port.set_lvtpc = NULL);
	REFUSED(0, port.set_lvtpc = no_op);
	assert_int_equal(x86.hw.caps.boundary, VPMU_BOUNDARY_ATOMIC);
	assert_int_equal(vpmu_x86_hw_init(&x86, &good, &port, &cpu, 15), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_x86_hw_init(&x86, &good, &port, &cpu, 16), 0);
	REFUSED(0, port.guest_global = NULL);
	assert_int_equal(x86.hw.caps.boundary, VPMU_BOUNDARY_NONE);
	REFUSED(0, port.set_guest_global = NULL);
	assert_int_equal(x86.hw.caps.boundary, VPMU_BOUNDARY_NONE);
	REFUSED(0, port.switch_global = NULL);
	assert_int_equal(x86.hw.caps.boundary, VPMU_BOUNDARY_NONE);
	x86_cpu_class_config(X86_CPU_ZEN2, &config);
	x86_cpu_model(&config, &good);
	REFUSED(0, (void)0);
	REFUSED(VPMU_ERR_PARAM, m.version = 3);
	REFUSED(VPMU_ERR_PARAM, m.core_extension = false);
	REFUSED(VPMU_ERR_PARAM, m.gp = 7);
	REFUSED(VPMU_ERR_PARAM, m.gp = 0);
	REFUSED(VPMU_ERR_PARAM, m.fixed = 1);
	assert_true(x86.pmu.core_extension);
	REFUSED(0, m.gp = 1);
	/* PerfMonV2 implies the core extension. */
	REFUSED(0, m.version = 2; m.core_extension = false);
	assert_true(x86.pmu.core_extension);
}

/* ---- Counters ---- */

static void values(void **state)
{
	(void)state;
	start(X86_CPU_ICELAKE);
	ops()->write(hw(), 3, 0xF23456789ABC);
	EXPECT(WR(X86_MSR_PMC(3), 0xF23456789ABC));
	assert_int_equal(ops()->read(hw(), 3), 0xF23456789ABC);
	EXPECT(PMC(3, 0xF23456789ABC));
	ops()->write(hw(), 32, 0xFFFFFFFFFFFF);
	EXPECT(WR(X86_MSR_FIXED_CTR(0), 0xFFFFFFFFFFFF));
	ops()->write(hw(), 35, BIT(50) | 0xF23456789ABC);
	EXPECT(WR(X86_MSR_FIXED_CTR(3), 0xF23456789ABC));
	assert_int_equal(ops()->read(hw(), 35), 0xF23456789ABC);
	EXPECT(PMC(0x40000003, 0xF23456789ABC));
	start(X86_CPU_CORE2);
	ops()->write(hw(), 1, 0x1234);
	EXPECT(WR(X86_MSR_PERFCTR(1), 0x1234));
	start(X86_CPU_ZEN4);
	ops()->write(hw(), 5, BIT(50) | 0xF23456789ABC);
	EXPECT(WR(X86_MSR_PERF_CTR(5), 0xF23456789ABC));
	assert_int_equal(ops()->read(hw(), 5), 0xF23456789ABC);
	EXPECT(PMC(5, 0xF23456789ABC));
	start(X86_CPU_CORE2);
	cpu.x86.pmu.fixed_width = 47;
	ops()->write(hw(), 32, BIT(46) | 1);
	fired("a WRMSR that faults");
	ops()->write(hw(), 32, BIT(47) | 1);
	EXPECT(WR(X86_MSR_FIXED_CTR(0), 1));
	start(X86_CPU_K7);
	ops()->write(hw(), 3, 5);
	EXPECT(WR(X86_MSR_K7_PERFCTR(3), 5));
}

/* ---- Selectors ---- */

static void selectors_wait_for_start(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->select(hw(), 5, 0x3C | BOTH | X86_SEL_INT);
	ops()->select(hw(), 33, 0xB);
	ops()->select(hw(), 32, 0x3);
	expect_nothing();
	assert_int_equal(ops()->selected(hw(), 5), 0x3C | BOTH | X86_SEL_INT);
	assert_int_equal(ops()->interrupts(hw()), BIT(5) | FX(1));
	ops()->select(hw(), 32, 0xB);
	assert_int_equal(ops()->interrupts(hw()), BIT(5) | FX(0) | FX(1));
	ops()->select(hw(), 32, 0x3);
	assert_int_equal(ops()->started(hw()), 0);
	expect_nothing();

	ops()->start(hw(), 0x21 | FX(0) | FX(1));
	EXPECT(WR(SEL(0), INSTRUCTIONS | BOTH), WR(SEL(5), 0x3C | BOTH | X86_SEL_INT),
	       WR(FIXED_CTRL, 0xB3));
	assert_int_equal(ops()->started(hw()), 0x21 | FX(0) | FX(1));
	/* Again: nothing differs. */
	ops()->start(hw(), 0x21 | FX(0) | FX(1));
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->select(hw(), 33, 0xB);
	expect_nothing();

	ops()->stop(hw(), 0x23 | FX(0) | FX(2));
	EXPECT(WR(SEL(0), 0), WR(SEL(5), 0), WR(FIXED_CTRL, 0xB0));
	assert_int_equal(ops()->started(hw()), FX(1));
	ops()->stop(hw(), hw()->caps.counters);
	EXPECT(WR(FIXED_CTRL, 0));
	ops()->stop(hw(), hw()->caps.counters);
	expect_nothing();
	/* A toggle needs no select(). */
	assert_int_equal(ops()->selected(hw(), 0), INSTRUCTIONS | BOTH);
	ops()->start(hw(), 1 | FX(1));
	EXPECT(WR(SEL(0), INSTRUCTIONS | BOTH), WR(FIXED_CTRL, 0xB0));
	ops()->start(hw(), BIT(5));
	EXPECT(WR(SEL(5), 0x3C | BOTH | X86_SEL_INT));
	assert_int_equal(ops()->started(hw()), 0x21 | FX(1));
}

/* Before anything is known, only what an operation is about is written. */
static void unknown_registers(void **state)
{
	(void)state;
	start(X86_CPU_SKYLAKE);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH);
	expect_nothing();
	ops()->start(hw(), 1);
	EXPECT(WR(SEL(0), INSTRUCTIONS | BOTH));
	ops()->stop(hw(), 2);
	EXPECT(WR(SEL(1), 0));
	assert_int_equal(ops()->selected(hw(), 2), 0);
	EXPECT(RD(SEL(2), 0));
	assert_int_equal(ops()->selected(hw(), 2), 0);
	expect_nothing();
	assert_true(x86_pmu_wrmsr(&cpu.pmu, FIXED_CTRL, 0x3));
	assert_int_equal(ops()->selected(hw(), 32), 3);
	EXPECT(RD(FIXED_CTRL, 3));
}

/* A partition: the guest's registers stay known, the host's do not. */
static void partition(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->select(hw(), 7, INSTRUCTIONS | BOTH);
	ops()->boundary(hw(), hw()->caps.counters, 0);
	ops()->start(hw(), 0x81);
	ops()->boundary(hw(), hw()->caps.counters & ~BIT(7), BIT(7));
	forget();
	assert_int_equal(ops()->started(hw()), 1);
	ops()->start(hw(), 1);
	expect_nothing();
	ops()->stop(hw(), 0x80);
	EXPECT(WR(SEL(7), 0));
	/* FIXED_CTR_CTRL has groups of both. */
	ops()->boundary(hw(), hw()->caps.counters & ~FX(1), FX(1));
	assert_true(x86_pmu_wrmsr(&cpu.pmu, FIXED_CTRL, 0xB0));
	ops()->select(hw(), 32, 3);
	ops()->select(hw(), 34, 1);
	forget();
	ops()->start(hw(), FX(0));
	EXPECT(RD(FIXED_CTRL, 0xB0), WR(FIXED_CTRL, 0xB3));
	assert_true(x86_pmu_wrmsr(&cpu.pmu, FIXED_CTRL, 0x93));
	ops()->start(hw(), FX(2));
	EXPECT(RD(FIXED_CTRL, 0x93), WR(FIXED_CTRL, 0x193));
	assert_int_equal(cpu.guest_enabled, 1 | FX(0) | FX(2));
	ops()->stop(hw(), FX(0) | FX(2));
	EXPECT(RD(FIXED_CTRL, 0x193), WR(FIXED_CTRL, 0x90));
	ops()->stop(hw(), FX(1));
	EXPECT(WR(FIXED_CTRL, 0));
	ops()->boundary(hw(), 0xFF | FX(0), FX(1) | FX(2));
	assert_true(x86_pmu_wrmsr(&cpu.pmu, FIXED_CTRL, 0x330));
	forget();
	ops()->start(hw(), FX(0));
	EXPECT(RD(FIXED_CTRL, 0x330), WR(FIXED_CTRL, 0x333));
}

/* A selector that changes while its counter is started is written, as when policy changes. */
static void selectors_of_started_counters(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	ops()->boundary(hw(), hw()->caps.counters, 0);
	ops()->select(hw(), 2, INSTRUCTIONS | X86_SEL_USR);
	ops()->start(hw(), 4 | FX(2));
	forget();
	ops()->select(hw(), 2, INSTRUCTIONS | BOTH);
	EXPECT(WR(SEL(2), INSTRUCTIONS | BOTH));
	ops()->select(hw(), 34, 3);
	EXPECT(WR(FIXED_CTRL, 0x300));
	ops()->select(hw(), 34, 0);
	EXPECT(WR(FIXED_CTRL, 0));
}

static void amd_selectors(void **state)
{
	(void)state;
	start_known(X86_CPU_ZEN4);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH | GUEST);
	ops()->start(hw(), 2);
	EXPECT(WR(X86_MSR_PERF_CTL(1), INSTRUCTIONS | BOTH | GUEST));
	ops()->stop(hw(), 0x3F);
	EXPECT(WR(X86_MSR_PERF_CTL(1), 0));
	start_known(X86_CPU_ZEN2);
	ops()->select(hw(), 5, INSTRUCTIONS | BOTH | GUEST);
	ops()->start(hw(), 0x20);
	EXPECT(WR(X86_MSR_PERF_CTL(5), INSTRUCTIONS | BOTH | GUEST));
	start_known(X86_CPU_K7);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH | GUEST);
	ops()->start(hw(), 2);
	EXPECT(WR(X86_MSR_K7_EVNTSEL(1), INSTRUCTIONS | BOTH | GUEST));
}

static void interrupts_are_in_selectors(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH | X86_SEL_INT);
	ops()->interrupts_set(hw(), 0xFF);
	ops()->interrupts_clear(hw(), 1);
	expect_nothing();
	assert_int_equal(ops()->interrupts(hw()), 1);
}

/* The host writes selectors itself: what registers hold is forgotten, what to write is not. */
static void the_host_had_them(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->boundary(hw(), hw()->caps.counters, 0);
	ops()->start(hw(), 1);
	ops()->stop(hw(), 1);
	ops()->boundary(hw(), 0, hw()->caps.counters);
	forget();
	assert_true(x86_pmu_wrmsr(&cpu.pmu, SEL(0), 0x3C | BOTH));
	assert_true(x86_pmu_wrmsr(&cpu.pmu, SEL(1), 0x3C | BOTH));
	assert_true(x86_pmu_wrmsr(&cpu.pmu, FIXED_CTRL, 0x333));
	ops()->boundary(hw(), hw()->caps.counters, 0);
	forget();
	assert_int_equal(ops()->selected(hw(), 1), 0x3C | BOTH);
	EXPECT(RD(SEL(1), 0x3C | BOTH));
	assert_int_equal(ops()->selected(hw(), 34), 3);
	EXPECT(RD(FIXED_CTRL, 0x333));
	ops()->stop(hw(), hw()->caps.counters);
	EXPECT(WR(SEL(0), 0), WR(SEL(1), 0), WR(SEL(2), 0), WR(SEL(3), 0), WR(SEL(4), 0),
	       WR(SEL(5), 0), WR(SEL(6), 0), WR(SEL(7), 0), WR(FIXED_CTRL, 0));
	ops()->start(hw(), 1);
	EXPECT(WR(SEL(0), INSTRUCTIONS | BOTH));
}

/* ---- Status, global control, boundary, route ---- */

static void status(void **state)
{
	(void)state;
	start(X86_CPU_SKYLAKE);
	ops()->status_set(hw(), 3 | FX(1) | X86_STATUS_CTR_FRZ);
	EXPECT(WR(X86_MSR_STATUS_SET, 3 | FX(1) | X86_STATUS_CTR_FRZ));
	cpu.pmu.global_status |= X86_STATUS_OVF_BUF;
	assert_int_equal(ops()->status(hw()), 3 | FX(1) | X86_STATUS_CTR_FRZ);
	EXPECT(RD(X86_MSR_GLOBAL_STATUS, 3 | FX(1) | X86_STATUS_CTR_FRZ | X86_STATUS_OVF_BUF));
	ops()->status_clear(hw(), 2 | X86_STATUS_CTR_FRZ);
	EXPECT(WR(X86_MSR_STATUS_RESET, 2 | X86_STATUS_CTR_FRZ));
	/* No register for it. */
	start(X86_CPU_HASWELL);
	ops()->status_set(hw(), 1);
	expect_nothing();
	start(X86_CPU_ZEN4);
	ops()->status_set(hw(), 0x21);
	EXPECT(WR(X86_MSR_AMD_STATUS_SET, 0x21));
	assert_int_equal(ops()->status(hw()), 0x21);
	EXPECT(RD(X86_MSR_AMD_GLOBAL_STATUS, 0x21));
	ops()->status_clear(hw(), 0x20);
	EXPECT(WR(X86_MSR_AMD_STATUS_CLR, 0x20));
	start(X86_CPU_ZEN2);
	ops()->status_set(hw(), 1);
	ops()->status_clear(hw(), 1);
	assert_int_equal(ops()->status(hw()), 0);
	expect_nothing();
}

static void global_control(void **state)
{
	(void)state;
	start(X86_CPU_SKYLAKE);
	ops()->set_global(hw(), 0xF | FX(2) | FX(3));
	EXPECT(SET_GUEST(0xF | FX(2)));
	assert_int_equal(ops()->global(hw()), 0xF | FX(2));
	EXPECT(GET_GUEST(0xF | FX(2)));
	start(X86_CPU_ZEN4);
	ops()->set_global(hw(), 0x3);
	EXPECT(WR(X86_MSR_AMD_GLOBAL_CTL, 3));
	assert_int_equal(ops()->global(hw()), 3);
	EXPECT(RD(X86_MSR_AMD_GLOBAL_CTL, 3));
	start(X86_CPU_K7);
	ops()->set_global(hw(), 3);
	assert_int_equal(ops()->global(hw()), 0);
	expect_nothing();
}

static void intel_boundary(void **state)
{
	uint64_t all;

	(void)state;
	start(X86_CPU_SKYLAKE);
	all = hw()->caps.counters;
	/* The host's is put aside, once, and brought back. */
	ops()->boundary(hw(), all, 0);
	EXPECT(RD(X86_MSR_GLOBAL_CTRL, 0xFF), WR(X86_MSR_GLOBAL_CTRL, 0), SWITCH(1, 0));
	ops()->boundary(hw(), all, 0);
	EXPECT(SWITCH(1, 0));
	ops()->boundary(hw(), 0, all);
	EXPECT(SWITCH(0, 0), WR(X86_MSR_GLOBAL_CTRL, 0xFF));
	ops()->boundary(hw(), 0, all);
	expect_nothing();
	/* A host that counts nothing. */
	assert_true(x86_pmu_wrmsr(&cpu.pmu, X86_MSR_GLOBAL_CTRL, 0));
	ops()->boundary(hw(), all, 0);
	EXPECT(RD(X86_MSR_GLOBAL_CTRL, 0), SWITCH(1, 0));
	ops()->boundary(hw(), 0, all);
	EXPECT(SWITCH(0, 0));
	/* A partition: the host's counters go on outside. */
	assert_true(x86_pmu_wrmsr(&cpu.pmu, X86_MSR_GLOBAL_CTRL, 0xFF));
	ops()->boundary(hw(), all & ~BIT(7), BIT(7));
	EXPECT(RD(X86_MSR_GLOBAL_CTRL, 0xFF), WR(X86_MSR_GLOBAL_CTRL, BIT(7)), SWITCH(1, BIT(7)));
	assert_int_equal(cpu.pmu.host_global, BIT(7));
	ops()->boundary(hw(), 0, all);
	EXPECT(SWITCH(0, 0), WR(X86_MSR_GLOBAL_CTRL, 0xFF));
	start(X86_CPU_ZEN4);
	ops()->boundary(hw(), 0x3F, 0);
	ops()->boundary(hw(), 0, 0x3F);
	expect_nothing();
}

static void routes(void **state)
{
	(void)state;
	start(X86_CPU_SKYLAKE);
	ops()->route(hw(), VPMU_ROUTE_GUEST, 0);
	EXPECT(LVTPC(0xF5));
	ops()->route(hw(), VPMU_ROUTE_GUEST, 1);
	EXPECT(LVTPC(0x100F5));
	assert_int_equal(cpu.pmu.lvtpc, 0x100F5);
	ops()->route(hw(), VPMU_ROUTE_HOST, 0);
	EXPECT(LVTPC(0x400));
	ops()->reach(hw(), VPMU_REACH_CONTROL);
	expect_nothing();
}

/* ---- The CPU: a guest's counters count the guest, and the host's instructions stay out ---- */

static const struct x86_pmu_events hundred = { .instructions = 100, .cycles = 100 };

static void run_guest(void)
{
	x86_cpu_enter(&cpu);
	x86_pmu_retire(&cpu.pmu, false, &hundred);
	x86_cpu_exit(&cpu);
}

static void intel_guest(void **state)
{
	(void)state;
	start(X86_CPU_ICELAKE);
	ops()->boundary(hw(), hw()->caps.counters, 0);
	ops()->route(hw(), VPMU_ROUTE_GUEST, 0);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->select(hw(), 32, 3);
	ops()->start(hw(), 1 | FX(0));
	ops()->set_global(hw(), 1 | FX(0));
	for (int k = 0; k < 5; k++)
		run_guest();
	ops()->set_global(hw(), 0);
	assert_int_equal(ops()->read(hw(), 0), 500);
	assert_int_equal(ops()->read(hw(), 32), 500);
	ops()->stop(hw(), 1 | FX(0));
	ops()->route(hw(), VPMU_ROUTE_HOST, 0);
	ops()->boundary(hw(), 0, hw()->caps.counters);
	assert_int_equal(cpu.violations, 0);
	assert_int_equal(cpu.pmu.global_ctrl, 0xFF);
}

static void amd_guest(void **state)
{
	(void)state;
	start(X86_CPU_ZEN4);
	ops()->boundary(hw(), 0x3F, 0);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH | GUEST);
	ops()->start(hw(), 1);
	ops()->set_global(hw(), 1);
	for (int k = 0; k < 5; k++)
		run_guest();
	assert_int_equal(ops()->read(hw(), 0), 500);
	assert_int_equal(cpu.violations, 0);
}

/* A quiet guest: nothing is switched, so the host's GLOBAL_CTRL is untouched by entry and exit. */
static void quiet_guest(void **state)
{
	(void)state;
	start(X86_CPU_ICELAKE);
	run_guest();
	assert_int_equal(cpu.pmu.global_ctrl, 0xFF);
	assert_int_equal(cpu.trace_count, 0);
}

/* A switch by hand lets the host's instructions before the boundary count, and this shows. */
static void a_wrong_switch_miscounts(void **state)
{
	struct x86_pmu_config config;

	(void)state;
	x86_cpu_class_config(X86_CPU_SKYLAKE, &config);
	assert_int_equal(x86_cpu_init(&cpu, &config, false), 0);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->start(hw(), 1);
	run_guest();
	assert_true(ops()->read(hw(), 0) > 100);
	/* After the exit too, and whatever else the host executes. */
	ops()->stop(hw(), 1);
	ops()->write(hw(), 0, 0);
	x86_cpu_enter(&cpu);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	assert_true(x86_pmu_wrmsr(&cpu.pmu, SEL(0), INSTRUCTIONS | BOTH));
	x86_cpu_exit(&cpu);
	assert_int_equal(cpu.pmu.gp[0], cpu.cost->instructions);
	x86_cpu_host(&cpu, true, &hundred);
	assert_int_equal(cpu.pmu.gp[0], cpu.cost->instructions + 100);
	/* And without a cost nobody would see it. */
	assert_int_equal(x86_cpu_init(&cpu, &config, false), 0);
	cpu.cost = NULL;
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->start(hw(), 1);
	run_guest();
	assert_int_equal(ops()->read(hw(), 0), 100);
}

/* ---- Violations ---- */

static void violations(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	ops()->write(hw(), 8, 1);
	fired("a WRMSR that faults");
	(void)ops()->read(hw(), 8);
	fired("a RDPMC that faults");
	ops()->status_set(hw(), BIT(20));
	fired("a WRMSR that faults");
	ops()->select(hw(), 0, X86_SEL_PC);
	ops()->start(hw(), 1);
	fired("a WRMSR that faults");

	/* GLOBAL_CTRL has its reset value: an enabled counter counts at once. */
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH);
	ops()->start(hw(), 2);
	forget();
	ops()->write(hw(), 1, 7);
	fired("a counter written while it counts");
	ops()->select(hw(), 1, 0x3C | BOTH);
	fired("a selector written while its counter counts");
	ops()->route(hw(), VPMU_ROUTE_GUEST, 0);
	assert_int_equal(cpu.violations, 0);
	ops()->route(hw(), VPMU_ROUTE_HOST, 0);
	fired("a guest's selector enabled while the host has the PMU");
	assert_true(x86_pmu_wrmsr(&cpu.pmu, X86_MSR_GLOBAL_CTRL, BIT(1)));
	ops()->boundary(hw(), 1, BIT(1));
	fired("a guest's counter enabled outside the guest");
	ops()->stop(hw(), 2);
	ops()->route(hw(), VPMU_ROUTE_HOST, 0);
	assert_int_equal(cpu.violations, 0);

	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 33, 3);
	ops()->start(hw(), FX(1));
	assert_true(x86_pmu_wrmsr(&cpu.pmu, X86_MSR_GLOBAL_CTRL, FX(1)));
	forget();
	ops()->write(hw(), 33, 7);
	fired("a counter written while it counts");
	ops()->select(hw(), 33, 1);
	fired("a selector written while its counter counts");
	/* What a register holds already changes nothing. */
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH);
	ops()->start(hw(), 2);
	cpu.x86.known = 0;
	ops()->start(hw(), 2);
	assert_int_equal(cpu.trace_count, 2);
	assert_int_equal(cpu.violations, 0);
	/* Giving the PMU back with a counter enabled. */
	start_known(X86_CPU_SKYLAKE);
	ops()->boundary(hw(), 0xFF, 0);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH);
	ops()->start(hw(), 2);
	forget();
	ops()->boundary(hw(), 0, 0xFF);
	fired("a guest's counter enabled outside the guest");
	/* A status register that is not there. */
	cpu.x86.pmu.vendor = VPMU_X86_AMD;
	(void)ops()->status(hw());
	fired("a RDMSR that faults");
	/* In user mode it would count too. */
	start_known(X86_CPU_SKYLAKE);
	ops()->select(hw(), 1, INSTRUCTIONS | X86_SEL_EN | X86_SEL_USR);
	ops()->start(hw(), 2);
	forget();
	ops()->write(hw(), 1, 7);
	fired("a counter written while it counts");
}

static void violations_of_the_boundary(void **state)
{
	(void)state;
	start_known(X86_CPU_SKYLAKE);
	x86_cpu_enter(&cpu);
	(void)ops()->read(hw(), 0);
	fired("an access while the guest runs");
	(void)ops()->global(hw());
	fired("an access while the guest runs");
	x86_cpu_host(&cpu, false, &hundred);
	fired("the host executes while the guest runs");
	x86_cpu_enter(&cpu);
	fired("an access while the guest runs");
	x86_cpu_exit(&cpu);
	assert_int_equal(cpu.violations, 0);
	x86_cpu_exit(&cpu);
	fired("a VM exit without an entry");
	ops()->boundary(hw(), 1, 0);
	cpu.pmu.guest_global = BIT(20);
	x86_cpu_enter(&cpu);
	fired("a VM entry that fails");

	start_known(X86_CPU_ZEN4);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH);
	ops()->start(hw(), 1);
	fired("an enabled selector that is not for guests only");
	ops()->write(hw(), 0, 1);
	fired("a counter written while it counts");
	ops()->write(hw(), 1, 1);
	ops()->select(hw(), 1, INSTRUCTIONS | BOTH | GUEST);
	ops()->start(hw(), 2);
	assert_int_equal(cpu.violations, 0);
	ops()->stop(hw(), 1);
	ops()->select(hw(), 0, INSTRUCTIONS | BOTH | GUEST | X86_SEL_HOST_ONLY);
	ops()->start(hw(), 1);
	fired("an enabled selector that is not for guests only");
	ops()->stop(hw(), 1);
	ops()->select(hw(), 0, INSTRUCTIONS | X86_SEL_OS);
	ops()->start(hw(), 1);
	assert_int_equal(cpu.violations, 0);
}

/* The trace ends where its storage does, and goes on counting. */
static void long_traces(void **state)
{
	(void)state;
	start(X86_CPU_SKYLAKE);
	cpu.trace_size = 2;
	trace[2].op = X86_CPU_OPS;
	for (int k = 0; k < 5; k++)
		(void)ops()->read(hw(), 0);
	assert_int_equal(cpu.trace_count, 5);
	assert_int_equal(trace[2].op, X86_CPU_OPS);
	cpu.trace = NULL;
	cpu.trace_count = 0;
	(void)ops()->read(hw(), 0);
	assert_int_equal(cpu.trace_count, 1);
	cpu.trace_count = 5;
	(void)ops()->read(hw(), 0);
	assert_int_equal(cpu.trace_count, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capabilities),
		cmocka_unit_test(no_controls_no_boundary),
		cmocka_unit_test(refusals),
		cmocka_unit_test(values),
		cmocka_unit_test(selectors_wait_for_start),
		cmocka_unit_test(selectors_of_started_counters),
		cmocka_unit_test(unknown_registers),
		cmocka_unit_test(partition),
		cmocka_unit_test(amd_selectors),
		cmocka_unit_test(interrupts_are_in_selectors),
		cmocka_unit_test(the_host_had_them),
		cmocka_unit_test(status),
		cmocka_unit_test(global_control),
		cmocka_unit_test(intel_boundary),
		cmocka_unit_test(routes),
		cmocka_unit_test(intel_guest),
		cmocka_unit_test(amd_guest),
		cmocka_unit_test(quiet_guest),
		cmocka_unit_test(a_wrong_switch_miscounts),
		cmocka_unit_test(violations),
		cmocka_unit_test(violations_of_the_boundary),
		cmocka_unit_test(long_traces),
	};

	return cmocka_run_group_tests_name("x86_hw", tests, NULL, NULL);
}
