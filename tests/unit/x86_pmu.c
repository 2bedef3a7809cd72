/* SPDX-License-Identifier: MIT */
/*
 * hardware/model/x86_pmu.c and x86_msr.c: the oracle against the tables and figures of the manuals
 * (SDM vol. 3 ch. 20 and vol. 4, APM vol. 2 13.2). It must refuse what hardware refuses.
 */
#include "cmocka_vpmu.h"
#include "x86_cpu.h"

#define GLOBAL X86_MSR_GLOBAL_CTRL
#define STATUS X86_MSR_GLOBAL_STATUS
#define RESET X86_MSR_STATUS_RESET
#define SET X86_MSR_STATUS_SET
#define DEBUGCTL X86_MSR_DEBUGCTL
#define FIXED_CTRL X86_MSR_FIXED_CTR_CTRL
#define SEL X86_MSR_PERFEVTSEL
#define FX(n) BIT(X86_PMU_FIXED + (n))
#define MAX48 (BIT(48) - 1)

#define INSTRUCTIONS 0xC0u
#define KERNEL (X86_SEL_EN | X86_SEL_OS)
#define USER (X86_SEL_EN | X86_SEL_USR)
#define BOTH (KERNEL | USER)

static struct x86_pmu_config config;
static struct x86_pmu pmu;

static void machine(enum x86_cpu_class class)
{
	x86_cpu_class_config(class, &config);
	x86_pmu_reset(&pmu, &config);
}

static void again(void)
{
	x86_pmu_reset(&pmu, &config);
}

static void wr(uint32_t index, uint64_t value)
{
	if (!x86_pmu_wrmsr(&pmu, index, value))
		fail_msg("WRMSR %#x = %#llx faults", index, (unsigned long long)value);
}

static uint64_t rd(uint32_t index)
{
	uint64_t value = 0;

	if (!x86_pmu_rdmsr(&pmu, index, &value))
		fail_msg("RDMSR %#x faults", index);
	return value;
}

static void run(bool user, uint64_t instructions)
{
	const struct x86_pmu_events e = { .instructions = instructions, .cycles = instructions };

	x86_pmu_retire(&pmu, user, &e);
}

/* ---- Registers: what is written, and what it reads then ---- */

#define GP_FAULT UINT64_C(0xFA017FA017FA0170)

struct write_rule {
	enum x86_cpu_class class;
	uint32_t index;
	uint64_t value;
	uint64_t reads;              /* afterwards; GP_FAULT: the write faults */
};

static const struct write_rule write_rules[] = {
	/* Selectors, Intel: bits 63:32, 21 and 19 are reserved, but for AnyThread and TSX. */
	{ X86_CPU_ICELAKE, SEL(0), 0xFFD7FFFF, 0xFFD7FFFF },
	{ X86_CPU_ICELAKE, SEL(7), 0x4300C0, 0x4300C0 },
	{ X86_CPU_ICELAKE, SEL(0), X86_SEL_PC, GP_FAULT },
	{ X86_CPU_CORE2, SEL(0), X86_SEL_PC, X86_SEL_PC },
	{ X86_CPU_CORE2, SEL(0), X86_SEL_ANY, GP_FAULT },
	{ X86_CPU_HASWELL, SEL(0), X86_SEL_ANY, X86_SEL_ANY },
	{ X86_CPU_SKYLAKE, SEL(0), X86_SEL_ANY, X86_SEL_ANY },
	{ X86_CPU_ICELAKE, SEL(0), X86_SEL_ANY, GP_FAULT },
	{ X86_CPU_HASWELL, SEL(0), X86_SEL_IN_TX, X86_SEL_IN_TX },
	{ X86_CPU_HASWELL, SEL(1), X86_SEL_IN_TXCP, GP_FAULT },
	{ X86_CPU_HASWELL, SEL(2), X86_SEL_IN_TXCP, X86_SEL_IN_TXCP },
	{ X86_CPU_SKYLAKE, SEL(2), X86_SEL_IN_TXCP, X86_SEL_IN_TXCP },
	{ X86_CPU_ICELAKE, SEL(0), X86_SEL_IN_TX, GP_FAULT },
	{ X86_CPU_ICELAKE, SEL(2), X86_SEL_IN_TXCP, GP_FAULT },
	{ X86_CPU_HASWELL, SEL(0), BIT(34), GP_FAULT },
	{ X86_CPU_HASWELL, SEL(0), X86_SEL_GUEST_ONLY, GP_FAULT },
	{ X86_CPU_HASWELL, SEL(0), BIT(63), GP_FAULT },
	{ X86_CPU_CORE2, SEL(2), 0, GP_FAULT },
	{ X86_CPU_ICELAKE, SEL(8), 0, GP_FAULT },

	/* Counters, Intel: 32 bits sign-extended; or full width; above the width faults. */
	{ X86_CPU_ICELAKE, X86_MSR_PERFCTR(0), 0x7FFFFFFF, 0x7FFFFFFF },
	{ X86_CPU_ICELAKE, X86_MSR_PERFCTR(0), 0x80000000, 0xFFFF80000000 },
	{ X86_CPU_ICELAKE, X86_MSR_PERFCTR(1), 0x1234567800000001, 1 },
	{ X86_CPU_ICELAKE, X86_MSR_PERFCTR(7), ~UINT64_C(0), MAX48 },
	{ X86_CPU_CORE2, X86_MSR_PERFCTR(1), 0xFFFFFFFF, BIT(40) - 1 },
	{ X86_CPU_CORE2, X86_MSR_PERFCTR(2), 0, GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_PMC(0), MAX48, MAX48 },
	{ X86_CPU_ICELAKE, X86_MSR_PMC(7), 0x123456789ABC, 0x123456789ABC },
	{ X86_CPU_ICELAKE, X86_MSR_PMC(0), BIT(48), GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_PMC(8), 0, GP_FAULT },
	{ X86_CPU_CORE2, X86_MSR_PMC(0), 0, GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_FIXED_CTR(0), 0x123456789ABC, 0x123456789ABC },
	{ X86_CPU_ICELAKE, X86_MSR_FIXED_CTR(0), 0x80000000, 0x80000000 },
	{ X86_CPU_ICELAKE, X86_MSR_FIXED_CTR(3), MAX48, MAX48 },
	{ X86_CPU_ICELAKE, X86_MSR_FIXED_CTR(0), BIT(48), GP_FAULT },
	{ X86_CPU_CORE2, X86_MSR_FIXED_CTR(0), BIT(40), GP_FAULT },
	{ X86_CPU_SKYLAKE, X86_MSR_FIXED_CTR(3), 0, GP_FAULT },

	{ X86_CPU_ICELAKE, FIXED_CTRL, 0xBBBB, 0xBBBB },
	{ X86_CPU_ICELAKE, FIXED_CTRL, 4, GP_FAULT },
	{ X86_CPU_ICELAKE, FIXED_CTRL, 0x4000, GP_FAULT },
	{ X86_CPU_ICELAKE, FIXED_CTRL, 0x10000, GP_FAULT },
	{ X86_CPU_ICELAKE, FIXED_CTRL, BIT(32), GP_FAULT },
	{ X86_CPU_SKYLAKE, FIXED_CTRL, 0xFFF, 0xFFF },
	{ X86_CPU_SKYLAKE, FIXED_CTRL, 0x1000, GP_FAULT },
	{ X86_CPU_CORE2, FIXED_CTRL, 0x400, GP_FAULT },

	{ X86_CPU_ICELAKE, GLOBAL, FX(3) | 0xFF, FX(3) | 0xFF },
	{ X86_CPU_ICELAKE, GLOBAL, BIT(8), GP_FAULT },
	{ X86_CPU_ICELAKE, GLOBAL, FX(4), GP_FAULT },
	{ X86_CPU_ICELAKE, GLOBAL, BIT(48), GP_FAULT },
	{ X86_CPU_HASWELL, GLOBAL, BIT(4), GP_FAULT },
	{ X86_CPU_HASWELL, GLOBAL, FX(3), GP_FAULT },

	{ X86_CPU_ICELAKE, STATUS, 0, GP_FAULT },
	{ X86_CPU_HASWELL, RESET, FX(2) | 0xF | BIT(62) | BIT(63), 0 },
	{ X86_CPU_HASWELL, RESET, BIT(5), GP_FAULT },
	{ X86_CPU_HASWELL, RESET, X86_STATUS_CTR_FRZ, GP_FAULT },
	{ X86_CPU_HASWELL, RESET, X86_STATUS_LBR_FRZ, GP_FAULT },
	{ X86_CPU_SKYLAKE, RESET, BIT(58) | BIT(59) | BIT(62) | BIT(63), 0 },
	{ X86_CPU_SKYLAKE, RESET, BIT(55), GP_FAULT },
	{ X86_CPU_SKYLAKE, RESET, BIT(60), GP_FAULT },
	{ X86_CPU_SKYLAKE, RESET, BIT(61), GP_FAULT },
	{ X86_CPU_SKYLAKE, RESET, FX(3), GP_FAULT },
	{ X86_CPU_HASWELL, SET, 0, GP_FAULT },
	{ X86_CPU_SKYLAKE, SET, 3 | X86_STATUS_CTR_FRZ, 0 },
	{ X86_CPU_SKYLAKE, SET, X86_STATUS_COND_CHGD, GP_FAULT },
	{ X86_CPU_SKYLAKE, SET, FX(3), GP_FAULT },
	{ X86_CPU_SKYLAKE, X86_MSR_GLOBAL_INUSE, 0, GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_PERF_CAPABILITIES, X86_CAP_FW_WRITES, GP_FAULT },

	{ X86_CPU_ICELAKE, DEBUGCTL, 0x5003, 0x5003 },
	{ X86_CPU_CORE2, DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON, X86_DEBUGCTL_FREEZE_PERFMON },
	{ X86_CPU_CORE2, DEBUGCTL, X86_DEBUGCTL_FREEZE_SMM, GP_FAULT },
	{ X86_CPU_ICELAKE, DEBUGCTL, BIT(6), GP_FAULT },
	{ X86_CPU_ICELAKE, DEBUGCTL, BIT(7), GP_FAULT },
	{ X86_CPU_ICELAKE, DEBUGCTL, BIT(8), GP_FAULT },
	{ X86_CPU_ZEN4, DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON, GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_MISC_ENABLE, 0x1800, 0x1880 },
	{ X86_CPU_ICELAKE, X86_MSR_MISC_ENABLE, 0x1881, 0x1881 },
	{ X86_CPU_ICELAKE, X86_MSR_MISC_ENABLE, 0x0881, GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_MISC_ENABLE, 0x1081, GP_FAULT },
	{ X86_CPU_ICELAKE, X86_MSR_MISC_ENABLE, BIT(63) | 0x1881, GP_FAULT },
	{ X86_CPU_ZEN4, X86_MSR_MISC_ENABLE, 0x1880, GP_FAULT },

	/* AMD: nothing that exists faults; reserved bits stay 0, upper bits of counters go. */
	{ X86_CPU_ZEN4, X86_MSR_PERF_CTL(0), ~UINT64_C(0), UINT64_C(0x30FFFD7FFFF) },
	{ X86_CPU_K7, X86_MSR_K7_EVNTSEL(3), ~UINT64_C(0), UINT64_C(0x30FFFD7FFFF) },
	{ X86_CPU_ZEN4, X86_MSR_PERF_CTL(5), 0x1000430076, 0x430076 },
	{ X86_CPU_ZEN4, X86_MSR_PERF_CTL(5), 0x1004300C0, 0x1004300C0 },
	{ X86_CPU_ZEN4, X86_MSR_PERF_CTR(5), ~UINT64_C(0), MAX48 },
	{ X86_CPU_K7, X86_MSR_K7_PERFCTR(0), 0xFFFF80000000, 0xFFFF80000000 },
	{ X86_CPU_K7, X86_MSR_K7_PERFCTR(0), 0x80000000, 0x80000000 },
	{ X86_CPU_K7, X86_MSR_PERF_CTL(0), 0, GP_FAULT },
	{ X86_CPU_K7, X86_MSR_PERF_CTR(0), 0, GP_FAULT },
	{ X86_CPU_ZEN2, X86_MSR_PERF_CTR(0), 1, 1 },
	{ X86_CPU_ZEN2, X86_MSR_AMD_GLOBAL_CTL, 0, GP_FAULT },
	{ X86_CPU_ZEN4, X86_MSR_AMD_GLOBAL_CTL, ~UINT64_C(0), 0x3F },
	{ X86_CPU_ZEN4, X86_MSR_AMD_GLOBAL_STATUS, 0x3F, 0 },
	{ X86_CPU_ZEN4, X86_MSR_AMD_STATUS_CLR, ~UINT64_C(0), 0 },
	{ X86_CPU_ZEN4, X86_MSR_AMD_STATUS_SET, ~UINT64_C(0), 0 },
};

static void writes(void **state)
{
	(void)state;
	for (size_t row = 0; row < ARRAY_SIZE(write_rules); row++) {
		const struct write_rule *r = &write_rules[row];
		struct x86_pmu before;
		bool executed;

		machine(r->class);
		before = pmu;
		executed = x86_pmu_wrmsr(&pmu, r->index, r->value);
		if (executed != (r->reads != GP_FAULT))
			fail_msg("row %zu: WRMSR %#x = %#llx %s", row, r->index,
				 (unsigned long long)r->value, executed ? "executes" : "faults");
		if (!executed)
			assert_memory_equal(&pmu, &before, sizeof(pmu));
		else if (rd(r->index) != r->reads)
			fail_msg("row %zu: RDMSR %#x = %#llx", row, r->index,
				 (unsigned long long)rd(r->index));
		assert_true(x86_pmu_is_msr(r->index));
	}
}

/* ---- Registers: which exist ---- */

struct existence {
	uint32_t index;
	uint8_t stride;
	uint8_t members[X86_CPU_CLASSES]; /* CORE2 HASWELL SKYLAKE ICELAKE K7 ZEN2 ZEN4 */
};

static const struct existence existing[] = {
	{ X86_MSR_PERFCTR(0), 1, { 2, 4, 8, 8, 0, 0, 0 } },
	{ X86_MSR_PERFEVTSEL(0), 1, { 2, 4, 8, 8, 0, 0, 0 } },
	{ X86_MSR_MISC_ENABLE, 1, { 1, 1, 1, 1, 0, 0, 0 } },
	{ X86_MSR_DEBUGCTL, 1, { 1, 1, 1, 1, 1, 1, 1 } },
	{ X86_MSR_FIXED_CTR(0), 1, { 3, 3, 3, 4, 0, 0, 0 } },
	{ X86_MSR_PERF_CAPABILITIES, 1, { 1, 1, 1, 1, 0, 0, 0 } },
	{ X86_MSR_FIXED_CTR_CTRL, 1, { 1, 1, 1, 1, 0, 0, 0 } },
	{ X86_MSR_GLOBAL_STATUS, 1, { 1, 1, 1, 1, 0, 0, 0 } },
	{ X86_MSR_GLOBAL_CTRL, 1, { 1, 1, 1, 1, 0, 0, 0 } },
	{ X86_MSR_STATUS_RESET, 1, { 1, 1, 1, 1, 0, 0, 0 } },
	{ X86_MSR_STATUS_SET, 1, { 0, 0, 1, 1, 0, 0, 0 } },
	{ X86_MSR_GLOBAL_INUSE, 1, { 0, 0, 1, 1, 0, 0, 0 } },
	{ X86_MSR_PMC(0), 1, { 0, 4, 8, 8, 0, 0, 0 } },
	{ X86_MSR_K7_EVNTSEL(0), 1, { 0, 0, 0, 0, 4, 4, 4 } },
	{ X86_MSR_K7_PERFCTR(0), 1, { 0, 0, 0, 0, 4, 4, 4 } },
	{ X86_MSR_PERF_CTL(0), 2, { 0, 0, 0, 0, 0, 6, 6 } },
	{ X86_MSR_PERF_CTR(0), 2, { 0, 0, 0, 0, 0, 6, 6 } },
	{ X86_MSR_AMD_GLOBAL_STATUS, 1, { 0, 0, 0, 0, 0, 0, 1 } },
	{ X86_MSR_AMD_GLOBAL_CTL, 1, { 0, 0, 0, 0, 0, 0, 1 } },
	{ X86_MSR_AMD_STATUS_CLR, 1, { 0, 0, 0, 0, 0, 0, 1 } },
	{ X86_MSR_AMD_STATUS_SET, 1, { 0, 0, 0, 0, 0, 0, 1 } },
};

static bool should_exist(enum x86_cpu_class class, uint32_t index)
{
	for (size_t row = 0; row < ARRAY_SIZE(existing); row++) {
		uint32_t offset = index - existing[row].index;

		if (index >= existing[row].index && offset % existing[row].stride == 0 &&
		    offset / existing[row].stride < existing[row].members[class])
			return true;
	}
	return false;
}

static void check_existence(enum x86_cpu_class class, uint32_t first, uint32_t last)
{
	for (uint32_t index = first; index <= last; index++) {
		uint64_t value;
		bool there = x86_pmu_rdmsr(&pmu, index, &value);

		if (there != should_exist(class, index))
			fail_msg("class %d: MSR %#x %s", (int)class, index,
				 there ? "exists" : "is missing");
		if (there)
			assert_true(x86_pmu_is_msr(index));
		else
			assert_false(x86_pmu_wrmsr(&pmu, index, 0));
	}
}

static void existence(void **state)
{
	(void)state;
	for (enum x86_cpu_class class = 0; class < X86_CPU_CLASSES; class++) {
		machine(class);
		check_existence(class, 0, 0x1FFF);
		check_existence(class, 0xC0000080, 0xC0000400);
		check_existence(class, 0xC0010000, 0xC00102FF);
		check_existence(class, 0xC0011000, 0xC00110FF);
	}
}

/* What is the PMU's, although no machine has it, and what is not: TSC, APIC, EFER, x2APIC ... */
static void foreign_msrs(void **state)
{
	static const struct { uint32_t first, last; } ranges[] = {
		{ 0xC1, 0xCE }, { 0x186, 0x193 }, { 0x1A0, 0x1A0 }, { 0x1A6, 0x1A7 },
		{ 0x1C8, 0x1C9 }, { 0x1D9, 0x1D9 }, { 0x309, 0x311 }, { 0x329, 0x329 },
		{ 0x345, 0x345 }, { 0x38D, 0x392 }, { 0x3F1, 0x3F2 }, { 0x3F6, 0x3F7 },
		{ 0x4C1, 0x4CE }, { 0x560, 0x561 }, { 0x570, 0x572 }, { 0x580, 0x587 },
		{ 0x600, 0x600 }, { 0x680, 0x69F }, { 0x6C0, 0x6DF }, { 0xDC0, 0xDDF },
		{ 0x1200, 0x121F }, { 0x14CE, 0x14CF }, { 0x1500, 0x151F }, { 0x1600, 0x161F },
		{ 0x1900, 0x19FF }, { 0xC0000300, 0xC000030F }, { 0xC0010000, 0xC0010007 },
		{ 0xC0010200, 0xC001020F }, { 0xC0010230, 0xC001024F }, { 0xC0011030, 0xC001103D },
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(ranges); k++) {
		assert_false(x86_pmu_is_msr(ranges[k].first - 1));
		for (uint32_t index = ranges[k].first; index <= ranges[k].last; index++)
			assert_true(x86_pmu_is_msr(index));
		assert_false(x86_pmu_is_msr(ranges[k].last + 1));
	}
}

static void reset_values(void **state)
{
	static const uint64_t global[] = { 3, 0xF, 0xFF, 0xFF };

	(void)state;
	for (enum x86_cpu_class class = X86_CPU_CORE2; class <= X86_CPU_ICELAKE; class++) {
		machine(class);
		assert_int_equal(rd(GLOBAL), global[class]);
		assert_int_equal(rd(STATUS), 0);
		assert_int_equal(rd(X86_MSR_MISC_ENABLE), 0x1881);
		assert_int_equal(rd(X86_MSR_PERF_CAPABILITIES), class == X86_CPU_CORE2 ? 0 :
				 X86_CAP_FW_WRITES | X86_CAP_FREEZE_SMM);
	}
	machine(X86_CPU_ZEN4);
	assert_int_equal(rd(X86_MSR_AMD_GLOBAL_CTL), 0x3F);
	assert_int_equal(pmu.lvtpc, X86_LVTPC_MASKED);
	config.pdcm = false;
	config.vendor = X86_PMU_INTEL;
	config.version = 5;
	config.full_width_writes = config.freeze_smm = true;
	again();
	assert_false(x86_pmu_rdmsr(&pmu, X86_MSR_PERF_CAPABILITIES, &(uint64_t){ 0 }));
	assert_false(x86_pmu_wrmsr(&pmu, X86_MSR_PMC(0), 0));
	assert_false(x86_pmu_wrmsr(&pmu, DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON));
	assert_false(x86_pmu_wrmsr(&pmu, DEBUGCTL, X86_DEBUGCTL_FREEZE_SMM));
	config.vendor = X86_PMU_AMD;
	config.pdcm = true;
	again();
	assert_false(x86_pmu_rdmsr(&pmu, X86_MSR_PERF_CAPABILITIES, &(uint64_t){ 0 }));
	/* A K7 register of a counter that PerfMonV2 does not have. */
	config.version = 2;
	config.gp = 2;
	again();
	assert_true(x86_pmu_wrmsr(&pmu, X86_MSR_K7_EVNTSEL(1), 0));
	assert_false(x86_pmu_wrmsr(&pmu, X86_MSR_K7_EVNTSEL(2), 0));
	assert_false(x86_pmu_wrmsr(&pmu, X86_MSR_PERF_CTR(2), 0));
}

static void versions(void **state)
{
	(void)state;
	machine(X86_CPU_ICELAKE);
	config.version = 0;
	again();
	assert_false(x86_pmu_wrmsr(&pmu, X86_MSR_PERFCTR(0), 0));
	assert_false(x86_pmu_wrmsr(&pmu, GLOBAL, 0));
	assert_false(x86_pmu_rdpmc(&pmu, 0, 0, true, true, &(uint64_t){ 0 }));
	assert_int_equal(rd(X86_MSR_MISC_ENABLE), 0x1801);
	config.version = 1;
	again();
	assert_true(x86_pmu_wrmsr(&pmu, SEL(7), 0));
	assert_false(x86_pmu_wrmsr(&pmu, GLOBAL, 0));
	assert_false(x86_pmu_wrmsr(&pmu, FIXED_CTRL, 0));
	assert_false(x86_pmu_wrmsr(&pmu, X86_MSR_FIXED_CTR(0), 0));
	assert_false(x86_pmu_wrmsr(&pmu, RESET, 0));
	assert_false(x86_pmu_wrmsr(&pmu, DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON));
	assert_int_equal(x86_pmu_counters(&config), 0xFF);
	/* No GLOBAL_CTRL, or the one of vol. 4: what counts shows it. */
	wr(SEL(0), INSTRUCTIONS | BOTH);
	run(false, 5);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 5);
	config.global_ctrl_v1 = true;
	again();
	wr(SEL(0), INSTRUCTIONS | BOTH);
	wr(GLOBAL, 0xFE);
	run(false, 5);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
}

/* Rubbish in a configuration is cut to what can be. */
static void configurations(void **state)
{
	(void)state;
	config = (struct x86_pmu_config){
		.version = 255, .gp = 255, .fixed = 255, .gp_width = 255, .fixed_width = 0,
	};
	again();
	assert_int_equal(x86_pmu_counters(&config), 0xF00003FFF);
	wr(SEL(13), INSTRUCTIONS | BOTH);
	wr(X86_MSR_PERFCTR(13), ~UINT64_C(0));
	assert_int_equal(rd(X86_MSR_PERFCTR(13)), BIT(63) - 1);
	wr(FIXED_CTRL, 1);
	wr(GLOBAL, ~UINT64_C(0) & x86_pmu_counters(&config));
	run(false, 1);
	assert_int_equal(rd(STATUS), BIT(13));
	run(false, 1);
	assert_int_equal(rd(STATUS), BIT(13) | FX(0));
	config.vendor = X86_PMU_AMD;
	assert_int_equal(x86_pmu_counters(&config), 0x3F);
	config.version = 1;
	assert_int_equal(x86_pmu_counters(&config), 0xF);
}

/* Both addresses of AMD's counters 0 to 3, and both of Intel's counters. */
static void aliases(void **state)
{
	(void)state;
	machine(X86_CPU_ZEN2);
	wr(X86_MSR_K7_EVNTSEL(2), 0x4300C0);
	wr(X86_MSR_PERF_CTR(2), 77);
	assert_int_equal(rd(X86_MSR_PERF_CTL(2)), 0x4300C0);
	assert_int_equal(rd(X86_MSR_K7_PERFCTR(2)), 77);
	machine(X86_CPU_ICELAKE);
	wr(X86_MSR_PMC(4), 0x123456789ABC);
	assert_int_equal(rd(X86_MSR_PERFCTR(4)), 0x123456789ABC);
}

static void inuse(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	assert_int_equal(rd(X86_MSR_GLOBAL_INUSE), 0);
	wr(SEL(3), 0xC0);
	wr(SEL(4), 0xFF00);
	assert_int_equal(rd(X86_MSR_GLOBAL_INUSE), BIT(3));
	wr(SEL(0), 1);
	assert_int_equal(rd(X86_MSR_GLOBAL_INUSE), BIT(3) | BIT(0));
	wr(SEL(0), 0);
	wr(FIXED_CTRL, 0x20);
	assert_int_equal(rd(X86_MSR_GLOBAL_INUSE), BIT(3) | FX(1));
	wr(FIXED_CTRL, 0x80);
	assert_int_equal(rd(X86_MSR_GLOBAL_INUSE), BIT(3) | BIT(63));
	wr(FIXED_CTRL, 0);
	wr(SEL(4), X86_SEL_INT);
	assert_int_equal(rd(X86_MSR_GLOBAL_INUSE), BIT(3) | BIT(63));
}

static void rdpmc(void **state)
{
	static const struct { enum x86_cpu_class class; uint32_t ecx; bool ok; } rules[] = {
		{ X86_CPU_HASWELL, 0, true }, { X86_CPU_HASWELL, 3, true },
		{ X86_CPU_HASWELL, 4, false }, { X86_CPU_HASWELL, 0x40000000, true },
		{ X86_CPU_HASWELL, 0x40000002, true }, { X86_CPU_HASWELL, 0x40000003, false },
		{ X86_CPU_HASWELL, 0x80000000, false }, { X86_CPU_HASWELL, 0xC0000000, false },
		{ X86_CPU_HASWELL, 0x20000000, false }, { X86_CPU_HASWELL, 0x10000, false },
		{ X86_CPU_HASWELL, 0x40010000, false }, { X86_CPU_HASWELL, 0xFFFFFFFF, false },
		{ X86_CPU_K7, 3, true }, { X86_CPU_K7, 4, false }, { X86_CPU_ZEN4, 5, true },
		{ X86_CPU_ZEN4, 6, false }, { X86_CPU_ZEN4, 0x40000000, false },
	};
	/* CPL, CR4.PCE, CR0.PE. */
	static const struct { unsigned int cpl; bool pce, pe, ok; } rings[] = {
		{ 0, false, true, true }, { 3, false, true, false }, { 1, false, true, false },
		{ 3, true, true, true }, { 3, false, false, true }, { 0, false, false, true },
	};
	uint64_t value;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(rules); k++) {
		machine(rules[k].class);
		if (x86_pmu_rdpmc(&pmu, rules[k].ecx, 0, false, true, &value) != rules[k].ok)
			fail_msg("RDPMC(%#x), row %zu", rules[k].ecx, k);
	}
	machine(X86_CPU_ICELAKE);
	wr(X86_MSR_PERFCTR(1), 0xFFFFFFFF);
	wr(X86_MSR_FIXED_CTR(2), 22);
	for (size_t k = 0; k < ARRAY_SIZE(rings); k++) {
		assert_int_equal(x86_pmu_rdpmc(&pmu, 1, rings[k].cpl, rings[k].pce, rings[k].pe,
					       &value), rings[k].ok);
	}
	assert_int_equal(value, MAX48);
	assert_true(x86_pmu_rdpmc(&pmu, 0x40000002, 0, false, true, &value));
	assert_int_equal(value, 22);
}

static void cpuid(void **state)
{
	static const uint32_t empty[] = { 0x14, 0x1C, 0x23, 0x8000001B, 0x80000022 };
	uint32_t r[4] = { ~0u, ~0u, ~0u, ~0u };

	(void)state;
	machine(X86_CPU_ICELAKE);
	x86_pmu_cpuid(&pmu, 0xA, 0, r);
	assert_int_equal(r[0], 0x08300805);
	assert_int_equal(r[1], 0);
	assert_int_equal(r[2], 0xF);
	assert_int_equal(r[3], 48 << 5 | 4 | 1 << 15);
	machine(X86_CPU_HASWELL);
	config.events_missing = 0x22;
	again();
	x86_pmu_cpuid(&pmu, 0xA, 0, r);
	assert_int_equal(r[0], 0x07300403);
	assert_int_equal(r[1], 0x22);
	assert_int_equal(r[2], 0);
	assert_int_equal(r[3], 48 << 5 | 3);
	config.fixed = 0;
	again();
	x86_pmu_cpuid(&pmu, 0xA, 0, r);
	assert_int_equal(r[3], 0);
	config.anythread = false;
	again();
	x86_pmu_cpuid(&pmu, 0xA, 0, r);
	assert_int_equal(r[3], 1 << 15);
	machine(X86_CPU_CORE2);
	x86_pmu_cpuid(&pmu, 0xA, 0, r);
	assert_int_equal(r[0], 0x07280202);
	assert_int_equal(r[3], 40 << 5 | 3);
	r[2] = ~0u;
	config.pdcm = false;
	again();
	x86_pmu_cpuid(&pmu, 1, 0, r);
	assert_int_equal(r[2], ~(1u << 2 | 1u << 4 | 1u << 15));
	machine(X86_CPU_HASWELL);
	r[0] = r[1] = r[2] = r[3] = ~0u;
	x86_pmu_cpuid(&pmu, 1, 0, r);
	assert_int_equal(r[2], ~(1u << 2 | 1u << 4));
	assert_int_equal(r[3], ~(1u << 21));
	x86_pmu_cpuid(&pmu, 7, 0, r);
	assert_int_equal(r[1], ~(1u << 25));
	assert_int_equal(r[0], ~0u);
	x86_pmu_cpuid(&pmu, 7, 2, r);
	assert_int_equal(r[0], ~0u);
	x86_pmu_cpuid(&pmu, 7, 1, r);
	assert_int_equal(r[0], ~(1u << 8));
	for (size_t k = 0; k < ARRAY_SIZE(empty); k++) {
		r[0] = r[1] = r[2] = r[3] = ~0u;
		x86_pmu_cpuid(&pmu, empty[k], 0, r);
		assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
	}
	r[2] = ~0u;
	x86_pmu_cpuid(&pmu, 0x80000001, 0, r);
	assert_int_equal(r[2], ~(1u << 10 | 1u << 23 | 1u << 24 | 1u << 28));
	machine(X86_CPU_ZEN4);
	x86_pmu_cpuid(&pmu, 0x80000022, 0, r);
	assert_int_equal(r[0], 1);
	assert_int_equal(r[1], 6);
	r[2] = 0;
	x86_pmu_cpuid(&pmu, 0x80000001, 0, r);
	assert_int_equal(r[2], 1u << 23);
	x86_pmu_cpuid(&pmu, 0xA, 0, r);
	assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
	r[0] = 0x1234;
	x86_pmu_cpuid(&pmu, 0, 0, r);
	assert_int_equal(r[0], 0x1234);
}

/* ---- Counting ---- */

/* Everything that can be told apart. */
static const struct x86_pmu_raw raws[] = {
	{ 0x1D0, 0x21, 31 }, { 0xD0, 0x21, 37 }, { 0xD0, 0x21, 1 },
};
static const struct x86_pmu_events distinct = {
	.instructions = 100, .cycles = 1000, .reference_cycles = 700, .branches = 20,
	.branch_misses = 3, .llc_references = 11, .llc_misses = 5, .raw = raws, .raw_count = 3,
};

static void intel_events(void **state)
{
	static const struct { uint16_t selector; uint64_t n; } events[] = {
		{ 0x003C, 1000 }, { 0x00C0, 100 }, { 0x013C, 700 }, { 0x4F2E, 11 }, { 0x412E, 5 },
		{ 0x00C4, 20 }, { 0x00C5, 3 }, { 0x01A4, 1000 }, { 0x01C0, 0 }, { 0x00C2, 0 },
		{ 0x21D0, 38 }, { 0x22D0, 0 }, { 0x0000, 0 },
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(events); k++) {
		machine(X86_CPU_ICELAKE);
		wr(SEL(1), events[k].selector | BOTH);
		x86_pmu_retire(&pmu, false, &distinct);
		assert_int_equal(rd(X86_MSR_PERFCTR(1)), events[k].n);
	}
	machine(X86_CPU_ICELAKE);
	wr(FIXED_CTRL, 0x3333);
	wr(GLOBAL, FX(0) | FX(1) | FX(2) | FX(3));
	x86_pmu_retire(&pmu, true, &distinct);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 100);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(1)), 1000);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(2)), 700);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(3)), 1000);
}

static void amd_events(void **state)
{
	static const struct { uint64_t selector, n; } events[] = {
		{ 0x0076, 1000 }, { 0x00C0, 100 }, { 0x100000120, 700 }, { 0xFF60, 11 },
		{ 0x0964, 5 },
		{ 0x00C2, 20 }, { 0x00C3, 3 }, { 0x00C4, 0 }, { 0x003C, 0 }, { 0x1000000C0, 0 },
		{ 0x21D0, 38 }, { 0x1000021D0, 31 },
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(events); k++) {
		machine(X86_CPU_ZEN4);
		wr(X86_MSR_PERF_CTL(1), events[k].selector | BOTH);
		x86_pmu_retire(&pmu, false, &distinct);
		assert_int_equal(rd(X86_MSR_PERF_CTR(1)), events[k].n);
	}
}

/* A missing event counts in no general-purpose counter, a constrained one in some. */
static void constraints(void **state)
{
	static const struct x86_pmu_constraint c[] = { { 0xD0, 0x21, 0xC } };
	static const struct x86_pmu_raw raw = { 0xD0, 0x22, 9 };
	static const struct x86_pmu_events other = { .raw = &raw, .raw_count = 1 };

	(void)state;
	machine(X86_CPU_HASWELL);
	config.events_missing = BIT(X86_PMU_INSTRUCTIONS);
	config.counters_of[X86_PMU_BRANCHES] = BIT(1);
	config.constraints = c;
	config.constraint_count = 1;
	again();
	wr(GLOBAL, FX(0) | 0xF);
	wr(FIXED_CTRL, 3);
	wr(SEL(0), 0xC0 | BOTH);
	wr(SEL(1), 0xC4 | BOTH);
	wr(SEL(2), 0xC4 | BOTH);
	wr(SEL(3), 0x21D0 | BOTH);
	x86_pmu_retire(&pmu, false, &distinct);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 20);
	assert_int_equal(rd(X86_MSR_PERFCTR(2)), 0);
	assert_int_equal(rd(X86_MSR_PERFCTR(3)), 38);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 100);
	wr(SEL(0), 0x21D0 | BOTH);
	wr(SEL(1), 0x22D0 | BOTH | X86_SEL_CMASK(1) | X86_SEL_INV);
	wr(X86_MSR_PERFCTR(1), 0);
	x86_pmu_retire(&pmu, false, &distinct);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 1000);
	/* Another umask is another event. */
	wr(SEL(0), 0x22D0 | BOTH);
	x86_pmu_retire(&pmu, false, &other);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 9);
	/* Beyond the length of the list the bit says nothing. */
	config.events_length = 1;
	again();
	wr(SEL(0), 0xC0 | BOTH);
	x86_pmu_retire(&pmu, false, &distinct);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 100);
}

static void rings(void **state)
{
	static const struct {
		uint64_t selector;
		unsigned int group;
		uint64_t user, kernel;
	} rules[] = {
		{ X86_SEL_EN, 0, 0, 0 },
		{ USER, X86_FIXED_USR, 1, 0 },
		{ KERNEL, X86_FIXED_OS, 0, 1 },
		{ BOTH, X86_FIXED_OS | X86_FIXED_USR, 1, 1 },
		{ BOTH & ~X86_SEL_EN, X86_FIXED_PMI, 0, 0 },
	};
	uint64_t n;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(rules); k++) {
		machine(X86_CPU_SKYLAKE);
		wr(SEL(0), INSTRUCTIONS | rules[k].selector);
		wr(FIXED_CTRL, rules[k].group << 4);
		wr(GLOBAL, 1 | FX(1));
		run(true, 3);
		run(false, 50);
		n = 3 * rules[k].user + 50 * rules[k].kernel;
		assert_int_equal(rd(X86_MSR_PERFCTR(0)), n);
		assert_int_equal(rd(X86_MSR_FIXED_CTR(1)), n);
		assert_int_equal(x86_pmu_counts(&pmu, 0, true), rules[k].user);
		assert_int_equal(x86_pmu_counts(&pmu, 33, false), rules[k].kernel);
	}
	assert_false(x86_pmu_counts(&pmu, 8, false));
	assert_false(x86_pmu_counts(&pmu, 36, false));
	assert_false(x86_pmu_counts(&pmu, 63, false));
}

static void global_enable(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	wr(SEL(0), INSTRUCTIONS | BOTH);
	wr(SEL(1), INSTRUCTIONS | BOTH);
	wr(FIXED_CTRL, 3);
	run(false, 2);
	/* After reset the fixed counters are off. */
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 0);
	wr(GLOBAL, FX(0) | BIT(1));
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 2);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 5);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 3);
	machine(X86_CPU_ZEN4);
	wr(X86_MSR_PERF_CTL(0), INSTRUCTIONS | BOTH);
	wr(X86_MSR_AMD_GLOBAL_CTL, 0x3E);
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERF_CTR(0)), 0);
	machine(X86_CPU_ZEN2);
	wr(X86_MSR_PERF_CTL(0), INSTRUCTIONS | BOTH);
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERF_CTR(0)), 3);
}

/* Never more than one event of a kind in a cycle. */
static void conditions(void **state)
{
	static const struct { uint64_t bits, instructions, cycles, reference; } rules[] = {
		{ 0, 100, 1000, 700 },
		{ X86_SEL_INV, 100, 1000, 700 }, /* ignored with CMASK 0 */
		{ X86_SEL_CMASK(1), 100, 1000, 700 },
		{ X86_SEL_CMASK(2), 0, 0, 0 },
		{ X86_SEL_CMASK(255), 0, 0, 0 },
		{ X86_SEL_CMASK(1) | X86_SEL_INV, 900, 0, 300 },
		{ X86_SEL_CMASK(2) | X86_SEL_INV, 1000, 1000, 1000 },
		{ X86_SEL_EDGE, 100, 0, 0 },
		{ X86_SEL_EDGE | X86_SEL_CMASK(1), 100, 0, 0 },
		{ X86_SEL_EDGE | X86_SEL_CMASK(1) | X86_SEL_INV, 100, 0, 0 },
		{ X86_SEL_EDGE | X86_SEL_CMASK(2), 0, 0, 0 },
		{ X86_SEL_EDGE | X86_SEL_CMASK(2) | X86_SEL_INV, 0, 0, 0 },
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(rules); k++) {
		machine(X86_CPU_ICELAKE);
		wr(SEL(0), INSTRUCTIONS | BOTH | rules[k].bits);
		wr(SEL(1), 0x3C | BOTH | rules[k].bits);
		wr(SEL(2), 0x13C | BOTH | rules[k].bits);
		wr(SEL(3), 0x1A4 | BOTH | rules[k].bits);
		x86_pmu_retire(&pmu, false, &distinct);
		assert_int_equal(rd(X86_MSR_PERFCTR(0)), rules[k].instructions);
		assert_int_equal(rd(X86_MSR_PERFCTR(1)), rules[k].cycles);
		assert_int_equal(rd(X86_MSR_PERFCTR(2)), rules[k].reference);
		assert_int_equal(rd(X86_MSR_PERFCTR(3)), rules[k].cycles);
	}
	/* A missing event never happens; the cycles without it are all of them. */
	config.events_missing = BIT(X86_PMU_INSTRUCTIONS);
	again();
	wr(SEL(0), INSTRUCTIONS | BOTH | X86_SEL_CMASK(1) | X86_SEL_INV);
	x86_pmu_retire(&pmu, false, &distinct);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 1000);
}

static void transactions(void **state)
{
	(void)state;
	machine(X86_CPU_HASWELL);
	wr(SEL(0), INSTRUCTIONS | BOTH | X86_SEL_IN_TX);
	wr(SEL(2), INSTRUCTIONS | BOTH | X86_SEL_IN_TXCP);
	run(false, 7);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	assert_int_equal(rd(X86_MSR_PERFCTR(2)), 7);
}

/* The neighbour on the core counts where AnyThread is set, by its own ring, and nowhere else. */
static void sibling(void **state)
{
	(void)state;
	machine(X86_CPU_HASWELL);
	wr(SEL(0), INSTRUCTIONS | BOTH);
	wr(SEL(1), INSTRUCTIONS | KERNEL | X86_SEL_ANY);
	wr(FIXED_CTRL, 0x73);
	wr(GLOBAL, 3 | FX(0) | FX(1));
	x86_pmu_retire_sibling(&pmu, false, &distinct);
	x86_pmu_retire_sibling(&pmu, true, &distinct);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 100);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 0);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(1)), 2000);
	run(false, 1);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 101);
}

/* ---- Guest and host ---- */

static void vmx_switch(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	pmu.vmx_controls = true;
	wr(SEL(0), INSTRUCTIONS | BOTH);
	wr(SEL(1), INSTRUCTIONS | BOTH);
	wr(GLOBAL, 0);
	pmu.guest_global = 1;
	pmu.host_global = 2;
	run(false, 1000);
	assert_true(x86_pmu_vmenter(&pmu));
	run(false, 10);
	wr(GLOBAL, 5);
	x86_pmu_vmexit(&pmu);
	run(false, 300);
	assert_int_equal(pmu.guest_global, 5);
	assert_int_equal(rd(GLOBAL), 2);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 10);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 300);
	/* Reserved bits in the fields make the entry fail. */
	pmu.guest_global = BIT(8);
	assert_false(x86_pmu_vmenter(&pmu));
	assert_false(pmu.guest);
	assert_int_equal(rd(GLOBAL), 2);
	pmu.guest_global = 0;
	pmu.host_global = FX(3);
	assert_false(x86_pmu_vmenter(&pmu));
	/* Without the controls nothing is switched. */
	pmu.vmx_controls = false;
	assert_true(x86_pmu_vmenter(&pmu));
	assert_int_equal(rd(GLOBAL), 2);
	x86_pmu_vmexit(&pmu);
	assert_int_equal(rd(GLOBAL), 2);
}

static void amd_gating(void **state)
{
	static const struct { uint64_t bits; bool svme; uint64_t guest, host; } rules[] = {
		{ 0, false, 1, 1 },
		{ 0, true, 1, 1 },
		{ X86_SEL_GUEST_ONLY, false, 0, 0 },
		{ X86_SEL_GUEST_ONLY, true, 1, 0 },
		{ X86_SEL_HOST_ONLY, false, 0, 0 },
		{ X86_SEL_HOST_ONLY, true, 0, 1 },
		{ X86_SEL_GUEST_ONLY | X86_SEL_HOST_ONLY, false, 0, 0 },
		{ X86_SEL_GUEST_ONLY | X86_SEL_HOST_ONLY, true, 1, 1 },
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(rules); k++) {
		machine(X86_CPU_ZEN4);
		pmu.svme = rules[k].svme;
		wr(X86_MSR_PERF_CTL(0), INSTRUCTIONS | BOTH | rules[k].bits);
		run(false, 300);
		assert_true(x86_pmu_vmenter(&pmu));
		run(false, 10);
		wr(X86_MSR_AMD_GLOBAL_CTL, 1);
		x86_pmu_vmexit(&pmu);
		/* VMRUN and #VMEXIT leave GlobalCtl alone. */
		assert_int_equal(rd(X86_MSR_AMD_GLOBAL_CTL), 1);
		assert_int_equal(rd(X86_MSR_PERF_CTR(0)),
				 10 * rules[k].guest + 300 * rules[k].host);
	}
}

static void errata(void **state)
{
	(void)state;
	machine(X86_CPU_ZEN4);
	config.amd_vmrun_branch = true;
	again();
	pmu.svme = true;
	wr(X86_MSR_PERF_CTL(0), 0xC2 | BOTH | X86_SEL_GUEST_ONLY);
	wr(X86_MSR_PERF_CTL(1), 0xC0 | BOTH | X86_SEL_GUEST_ONLY);
	wr(X86_MSR_PERF_CTL(2), 0xC2 | USER | X86_SEL_GUEST_ONLY);
	for (int k = 0; k < 10; k++) {
		assert_true(x86_pmu_vmenter(&pmu));
		x86_pmu_vmexit(&pmu);
	}
	assert_int_equal(rd(X86_MSR_PERF_CTR(0)), 10);
	assert_int_equal(rd(X86_MSR_PERF_CTR(1)), 0);
	assert_int_equal(rd(X86_MSR_PERF_CTR(2)), 0);

	machine(X86_CPU_SKYLAKE);
	config.atom_instructions = config.atom_branches = true;
	again();
	pmu.vmx_controls = true;
	pmu.guest_global = 3;
	wr(SEL(0), 0xC4 | BOTH);
	wr(SEL(1), 0xC0 | BOTH);
	wr(GLOBAL, 0);
	for (int k = 0; k < 10; k++) {
		assert_true(x86_pmu_vmenter(&pmu));
		x86_pmu_vmexit(&pmu);
	}
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 20);
	assert_int_equal(rd(X86_MSR_PERFCTR(1)), 20);
}

/* ---- Overflow ---- */

/* Counter 0 and fixed counter 0, so many instructions before they wrap. */
static void near_overflow(uint64_t left, uint64_t bits)
{
	bool fixed = pmu.config.vendor == X86_PMU_INTEL;

	wr(fixed ? SEL(0) : X86_MSR_PERF_CTL(0), INSTRUCTIONS | BOTH | bits);
	wr(fixed ? X86_MSR_PERFCTR(0) : X86_MSR_PERF_CTR(0), (0 - left) & MAX48);
	if (!fixed)
		return;
	wr(X86_MSR_FIXED_CTR(0), (0 - left) & MAX48);
	wr(FIXED_CTRL, 3 | (bits & X86_SEL_INT ? X86_FIXED_PMI : 0));
	wr(GLOBAL, 1 | FX(0));
}

static void wraps(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	near_overflow(5, 0);
	run(false, 4);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), MAX48);
	assert_int_equal(rd(STATUS), 0);
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 2);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 2);
	assert_int_equal(rd(STATUS), 1 | FX(0));
	assert_int_equal(pmu.interrupts + pmu.interrupts_masked, 0);
	/* More than once around is one overflow. */
	wr(RESET, FX(0));
	assert_int_equal(rd(STATUS), 1);
	run(false, ~UINT64_C(0));
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 1);
	assert_int_equal(rd(STATUS), 1 | FX(0));
	/* At the counter's own width. */
	machine(X86_CPU_CORE2);
	wr(SEL(0), INSTRUCTIONS | BOTH);
	wr(X86_MSR_PERFCTR(0), 0xFFFFFFFF);
	run(false, 1);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	assert_int_equal(rd(STATUS), 1);
	wr(X86_MSR_PERFCTR(1), 0);
	machine(X86_CPU_ZEN4);
	near_overflow(1, 0);
	run(false, 1);
	assert_int_equal(rd(X86_MSR_AMD_GLOBAL_STATUS), 1);
	wr(X86_MSR_AMD_STATUS_SET, 0xF0);
	assert_int_equal(rd(X86_MSR_AMD_GLOBAL_STATUS), 0x31);
	wr(X86_MSR_AMD_STATUS_CLR, 0x1F);
	assert_int_equal(rd(X86_MSR_AMD_GLOBAL_STATUS), 0x20);
	/* Without PerfMonV2 there is no status, but there is the interrupt. */
	machine(X86_CPU_ZEN2);
	x86_pmu_set_lvtpc(&pmu, X86_LVTPC_NMI);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	assert_int_equal(pmu.global_status, 0);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), X86_PMU_NMI);
}

static void status_set(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	x86_pmu_set_lvtpc(&pmu, X86_LVTPC_NMI);
	near_overflow(9, X86_SEL_INT);
	wr(SET, 1);
	wr(SET, FX(2));
	assert_int_equal(rd(STATUS), 1 | FX(2));
	/* Setting status is no overflow. */
	assert_int_equal(x86_pmu_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	wr(SET, X86_STATUS_CTR_FRZ);
	run(false, 100);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), MAX48 - 8);
	wr(RESET, X86_STATUS_CTR_FRZ);
	run(false, 1);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), MAX48 - 7);
}

static void lvtpc(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	x86_pmu_set_lvtpc(&pmu, 0xFFFFFFFF & ~X86_LVTPC_MASKED);
	assert_int_equal(pmu.lvtpc, 0x7FF);
	x86_pmu_set_lvtpc(&pmu, 0xF5);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	/* Two counters at once: one interrupt. Intel's entry masks itself. */
	assert_int_equal(pmu.interrupts, 1);
	assert_int_equal(pmu.lvtpc, X86_LVTPC_MASKED | 0xF5);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	assert_int_equal(pmu.interrupts, 1);
	assert_int_equal(pmu.interrupts_masked, 1);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), 0xF5);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	/* What was lost is lost. */
	x86_pmu_set_lvtpc(&pmu, X86_LVTPC_NMI);
	run(false, 5);
	assert_int_equal(x86_pmu_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	assert_int_equal(x86_pmu_interrupt(&pmu), X86_PMU_NMI);

	machine(X86_CPU_ZEN4);
	x86_pmu_set_lvtpc(&pmu, 0xF5);
	for (int k = 0; k < 3; k++) {
		near_overflow(1, X86_SEL_INT);
		run(false, 1);
	}
	/* AMD's does not; the same vector is latched once. */
	assert_int_equal(pmu.lvtpc, 0xF5);
	assert_int_equal(pmu.interrupts, 3);
	x86_pmu_set_lvtpc(&pmu, 0xF0);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	x86_pmu_set_lvtpc(&pmu, 16);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	x86_pmu_set_lvtpc(&pmu, X86_LVTPC_NMI);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), X86_PMU_NMI);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), 0xF5);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), 0xF0);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), 16);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	/* Vectors below 16 are an APIC error. */
	x86_pmu_set_lvtpc(&pmu, 0);
	near_overflow(1, X86_SEL_INT);
	run(false, 1);
	assert_int_equal(x86_pmu_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	assert_int_equal(pmu.interrupts_illegal, 1);
}

static void freezing(void **state)
{
	(void)state;
	machine(X86_CPU_HASWELL);
	near_overflow(3, X86_SEL_INT);
	wr(DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
	run(false, 3);
	assert_int_equal(rd(GLOBAL), 0);
	assert_int_equal(rd(STATUS), 1 | FX(0));
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	wr(GLOBAL, 1);
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 3);

	machine(X86_CPU_SKYLAKE);
	near_overflow(3, X86_SEL_INT);
	wr(DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
	run(false, 3);
	assert_int_equal(rd(GLOBAL), 1 | FX(0));
	assert_int_equal(rd(STATUS), 1 | FX(0) | X86_STATUS_CTR_FRZ);
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	wr(RESET, 1 | FX(0) | X86_STATUS_CTR_FRZ);
	run(false, 3);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 3);
	/* An overflow without an interrupt freezes nothing. */
	near_overflow(3, 0);
	run(false, 4);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 1);
}

/* ---- Skid ---- */

static void skid(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	config.status_skid = 3;
	config.interrupt_skid = 5;
	again();
	x86_pmu_set_lvtpc(&pmu, 0xF5);
	near_overflow(2, X86_SEL_INT);
	run(false, 2);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 0);
	assert_int_equal(x86_pmu_horizon(&pmu, false).events, 3);
	run(true, 2);
	assert_int_equal(rd(STATUS), 0);
	x86_pmu_step(&pmu);
	assert_int_equal(rd(STATUS), 1 | FX(0));
	assert_int_equal(x86_pmu_horizon(&pmu, false).events, 2);
	assert_int_equal(x86_pmu_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	/* The interrupt takes the LVTPC that it finds. */
	x86_pmu_set_lvtpc(&pmu, X86_LVTPC_NMI);
	x86_pmu_step(&pmu);
	assert_int_equal(x86_pmu_interrupt(&pmu), X86_PMU_NO_INTERRUPT);
	x86_pmu_step(&pmu);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), X86_PMU_NMI);
	assert_int_equal(pmu.interrupts, 1);
	for (int k = 0; k < 20; k++)
		x86_pmu_step(&pmu);
	assert_int_equal(pmu.interrupts, 1);
	/* It comes though the counter has been stopped and the status cleared meanwhile. */
	near_overflow(1, X86_SEL_INT);
	x86_pmu_set_lvtpc(&pmu, 0xF5);
	run(false, 1);
	wr(SEL(0), 0);
	wr(FIXED_CTRL, 0);
	run(false, 4);
	assert_int_equal(rd(STATUS), 1 | FX(0));
	wr(RESET, 1 | FX(0));
	run(false, 1);
	assert_int_equal(x86_pmu_take_interrupt(&pmu), 0xF5);
	assert_int_equal(rd(STATUS), 0);
}

/* A freeze comes with the interrupt: what happens in between counts. */
static void skid_of_freezing(void **state)
{
	(void)state;
	machine(X86_CPU_SKYLAKE);
	config.interrupt_skid = 4;
	again();
	near_overflow(1, X86_SEL_INT);
	wr(DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
	run(false, 1);
	for (int k = 0; k < 10; k++)
		run(false, 1);
	assert_int_equal(rd(X86_MSR_PERFCTR(0)), 4);
	assert_int_equal(rd(STATUS), 1 | FX(0) | X86_STATUS_CTR_FRZ);
}

/* ---- Horizon ---- */

static void horizon(void **state)
{
	struct x86_pmu_horizon h;

	(void)state;
	machine(X86_CPU_SKYLAKE);
	h = x86_pmu_horizon(&pmu, false);
	assert_true(h.events == UINT64_MAX && h.cycles == UINT64_MAX);
	near_overflow(12, 0);
	wr(SEL(1), 0x3C | KERNEL);
	wr(X86_MSR_PERFCTR(1), 0xFFFFFF00);
	wr(GLOBAL, 3);
	h = x86_pmu_horizon(&pmu, false);
	assert_int_equal(h.events, 12);
	assert_int_equal(h.cycles, 256);
	h = x86_pmu_horizon(&pmu, true);
	assert_int_equal(h.events, 12);
	assert_true(h.cycles == UINT64_MAX);
	/* The cycles without an event are cycles; what never counts sets no limit. */
	wr(SEL(0), INSTRUCTIONS | BOTH | X86_SEL_CMASK(1) | X86_SEL_INV);
	wr(SEL(1), 0);
	h = x86_pmu_horizon(&pmu, false);
	assert_true(h.events == UINT64_MAX);
	assert_int_equal(h.cycles, 12);
	wr(SEL(0), INSTRUCTIONS | BOTH | X86_SEL_CMASK(2));
	h = x86_pmu_horizon(&pmu, false);
	assert_true(h.events == UINT64_MAX && h.cycles == UINT64_MAX);
	/* A wrapped counter at 0 has its whole width left. */
	wr(SEL(0), INSTRUCTIONS | BOTH);
	wr(X86_MSR_PERFCTR(0), 0);
	assert_int_equal(x86_pmu_horizon(&pmu, false).events, BIT(48));
}

/* Steps as long as the horizon allows see everything where single steps do. */
static void horizon_is_exact(void **state)
{
	struct x86_pmu single;
	uint64_t done = 0;

	(void)state;
	machine(X86_CPU_SKYLAKE);
	config.status_skid = 2;
	config.interrupt_skid = 7;
	again();
	x86_pmu_set_lvtpc(&pmu, 0xF5);
	near_overflow(100, X86_SEL_INT);
	wr(X86_MSR_FIXED_CTR(0), MAX48 - 41);
	wr(DEBUGCTL, X86_DEBUGCTL_FREEZE_PERFMON);
	single = pmu;
	while (done < 500) {
		uint64_t n = x86_pmu_horizon(&pmu, false).events;

		n = n < 500 - done ? n : 500 - done;
		assert_true(n >= 1);
		run(false, n);
		done += n;
		for (uint64_t k = 0; k < n; k++) {
			const struct x86_pmu_events e = { .instructions = 1, .cycles = 1 };

			x86_pmu_retire(&single, false, &e);
		}
		assert_memory_equal(&pmu, &single, sizeof(pmu));
	}
	assert_int_equal(rd(STATUS), FX(0) | X86_STATUS_CTR_FRZ);
	assert_int_equal(rd(X86_MSR_FIXED_CTR(0)), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes),
		cmocka_unit_test(existence),
		cmocka_unit_test(foreign_msrs),
		cmocka_unit_test(reset_values),
		cmocka_unit_test(versions),
		cmocka_unit_test(configurations),
		cmocka_unit_test(aliases),
		cmocka_unit_test(inuse),
		cmocka_unit_test(rdpmc),
		cmocka_unit_test(cpuid),
		cmocka_unit_test(intel_events),
		cmocka_unit_test(amd_events),
		cmocka_unit_test(constraints),
		cmocka_unit_test(rings),
		cmocka_unit_test(global_enable),
		cmocka_unit_test(conditions),
		cmocka_unit_test(transactions),
		cmocka_unit_test(sibling),
		cmocka_unit_test(vmx_switch),
		cmocka_unit_test(amd_gating),
		cmocka_unit_test(errata),
		cmocka_unit_test(wraps),
		cmocka_unit_test(status_set),
		cmocka_unit_test(lvtpc),
		cmocka_unit_test(freezing),
		cmocka_unit_test(skid),
		cmocka_unit_test(skid_of_freezing),
		cmocka_unit_test(horizon),
		cmocka_unit_test(horizon_is_exact),
	};

	return cmocka_run_group_tests_name("x86_pmu", tests, NULL, NULL);
}
