/* SPDX-License-Identifier: MIT */
/*
 * What an x86 guest is told that it has: CPUID, MISC_ENABLE, DEBUGCTL; which models there can be;
 * and the table that the library publishes.
 */
#include <string.h>

#include "x86_rules.h"

/* ---- CPUID ---- */

#define LEFT 0xA5A5A5A5u   /* as the embedder answers */

static void expect_cpuid(const struct guest *g, uint32_t leaf, uint32_t subleaf, uint32_t given,
			 const uint32_t expected[4])
{
	uint32_t regs[4] = { given, given, given, given };

	vpmu_x86_cpuid(&g->vm, leaf, subleaf, regs);
	if (memcmp(regs, expected, sizeof(regs)))
		fail_msg("CPUID %#x.%u: %#x %#x %#x %#x (vendor %d, version %u)", leaf, subleaf,
			 regs[0], regs[1], regs[2], regs[3], (int)g->model.vendor,
			 g->model.version);
}

/* Leaf 0AH of each Intel model above, in the same order. */
static const uint32_t leaf_a[][4] = {
	{ 0, 0, 0, 0 },
	{ 0, 0, 0, 0 },
	{ 0x07200101, 0x7E, 0, 0 },
	{ 0x07280201, 0, 0, 0 },
	{ 0x07280102, 0, 0, 0x8501 },
	{ 0x07300802, 0, 0, 0x8603 },
	{ 0x03000002, 0, 0, 0x8404 },
	{ 0x07300403, 0x05, 0, 0x8603 },
	{ 0x08300804, 0, 0, 0x8604 },
	{ 0x08210605, 0x80, 0x3, 0x85E2 },
	{ 0x00300205, 0, 0, 0x8000 },
};

static void cpuid_intel(void **state)
{
	static const uint32_t none[4];
	static const uint32_t left[4] = { LEFT, LEFT, LEFT, LEFT };
	struct guest g;

	(void)state;
	for (size_t i = 0; i < MODELS; i++) {
		const struct vpmu_x86_model *m = &models[i];

		guest_init(&g, m, NULL);
		if (!is_intel(m)) {
			expect_cpuid(&g, 0xA, 0, LEFT, none);
			continue;
		}
		expect_cpuid(&g, 0xA, 0, LEFT, leaf_a[i]);
		expect_cpuid(&g, 0xA, 0, 0, leaf_a[i]);
		/* DTES64, DS-CPL and DS no, PDCM as the model says. */
		expect_cpuid(&g, 1, 0, 0,
			     (uint32_t[4]){ 0, 0, m->pdcm ? 0x8000 : 0, 0 });
		expect_cpuid(&g, 1, 0, UINT32_MAX,
			     (uint32_t[4]){ UINT32_MAX, UINT32_MAX,
					    0xFFFF7FEB | (m->pdcm ? 0x8000 : 0), 0xFFDFFFFF });
		expect_cpuid(&g, 0x80000001, 0, LEFT, left);
		expect_cpuid(&g, 0x80000022, 0, LEFT, none);
	}
}

static void cpuid_amd(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_MODEL(m) {
		uint32_t core = has_core(m) ? 0x00800000 : 0;
		uint32_t v2 = m->version == 2;

		if (is_intel(m))
			continue;
		guest_init(&g, m, NULL);
		/* PerfCtrExtCore; no IBS, northbridge or last-level counters. */
		expect_cpuid(&g, 0x80000001, 0, UINT32_MAX,
			     (uint32_t[4]){ UINT32_MAX, UINT32_MAX, 0xEE7FFBFF | core,
					    UINT32_MAX });
		expect_cpuid(&g, 0x80000001, 0, 0, (uint32_t[4]){ 0, 0, core, 0 });
		expect_cpuid(&g, 0x80000022, 0, LEFT, (uint32_t[4]){ v2, v2 * m->gp, 0, 0 });
	}
}

/* PT, LBR, version 6, IBS: not there, whatever the machine has. Other leaves are as they were. */
static void cpuid_others(void **state)
{
	static const uint32_t gone[] = { 0x14, 0x1C, 0x23, 0x8000001B };
	static const uint32_t kept[] = { 0, 2, 4, 6, 8, 9, 0xB, 0xD, 0x13, 0x15, 0x1B, 0x1D, 0x24,
					 0x40000000, 0x80000000, 0x80000002, 0x80000008,
					 0x8000001A, 0x8000001C, 0x80000021, 0x80000023 };
	static const uint32_t none[4];
	static const uint32_t left[4] = { LEFT, LEFT, LEFT, LEFT };
	struct guest g;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		for (uint32_t subleaf = 0; subleaf < 4; subleaf++) {
			for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
				expect_cpuid(&g, gone[i], subleaf, UINT32_MAX, none);
			for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
				expect_cpuid(&g, kept[i], subleaf, LEFT, left);
		}
		/* Only subleaf 0 of leaf 7 speaks of PT and LBR. */
		expect_cpuid(&g, 7, 0, UINT32_MAX,
			     (uint32_t[4]){ UINT32_MAX, 0xFDFFFFFF, UINT32_MAX, 0xFFF7FFFF });
		expect_cpuid(&g, 7, 1, UINT32_MAX,
			     (uint32_t[4]){ UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX });
	}
}

/* EBX of leaf 0AH has what the creation policy denies; a later policy changes nothing (V12). */
static void cpuid_obeys_the_creation_policy(void **state)
{
	static const uint64_t codes[] = { 0x003C, 0x00C0, 0x013C, 0x4F2E, 0x412E, 0x00C4, 0x00C5,
					  0x01A4 };
	const struct vpmu_x86_model m = *FULL_MODEL;
	struct guest g;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		struct vpmu_x86_filter deny = { .deny = true, .count = 1, .entry = { {
			.event = (uint16_t)(codes[i] & 0xFF), .mask = 0xFF,
			.match = (uint8_t)(codes[i] >> 8) } } };
		const struct vpmu_policy policy = { .x86 = &deny };
		uint32_t regs[4];

		guest_init(&g, &m, &policy);
		vpmu_x86_cpuid(&g.vm, 0xA, 0, regs);
		assert_int_equal(regs[1], BIT(i));
		assert_int_equal(vpmu_vm_set_policy(&g.vm, NULL), 0);
		vpmu_x86_cpuid(&g.vm, 0xA, 0, regs);
		assert_int_equal(regs[1], BIT(i));

		guest_init(&g, &m, NULL);
		assert_int_equal(vpmu_vm_set_policy(&g.vm, &policy), 0);
		vpmu_x86_cpuid(&g.vm, 0xA, 0, regs);
		assert_int_equal(regs[1], 0);
	}
}

/* ---- MISC_ENABLE, DEBUGCTL, LVTPC ---- */

/* BTS and PEBS are unavailable, and that is read-only; EMON is what says that there is a PMU. */
static void misc_enable(void **state)
{
	struct guest g;
	uint64_t value;

	(void)state;
	FOR_EACH_MODEL(m) {
		if (!is_intel(m))
			continue;
		guest_init(&g, m, NULL);
		for (uint64_t bits = 0; bits < 4; bits++) {
			int expected = bits == 3 ? VPMU_NOT_MINE : VPMU_FAULT_GP;

			assert_int_equal(vpmu_x86_wrmsr(&g.v, 0x1A0, bits << 11), expected);
			assert_int_equal(vpmu_x86_wrmsr(&g.v, 0x1A0, bits << 11 | BIT(0) | BIT(7)),
					 expected);
		}
		assert_int_equal(vpmu_x86_rdmsr(&g.v, 0x1A0, &value), VPMU_NOT_MINE);
		assert_int_equal(vpmu_x86_misc_enable(&g.vm, 0),
				 BIT(11) | BIT(12) | (m->version ? BIT(7) : 0));
		assert_int_equal(vpmu_x86_misc_enable(&g.vm, UINT64_MAX),
				 m->version ? UINT64_MAX : ~BIT(7));
	}
}

/* The host's FREEZE_WHILE_SMM and the guest's bits that the embedder implements, nothing else. */
static void debugctl(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_MODEL(m) {
		uint64_t legal = mask_debugctl(m, 0);

		if (!is_intel(m))
			continue;
		guest_init(&g, m, NULL);
		assert_int_equal(vpmu_x86_debugctl(&g.v, UINT64_MAX), BIT(14));
		assert_int_equal(vpmu_x86_debugctl(&g.v, ~BIT(14)), 0);
		assert_int_equal(vpmu_x86_wrmsr(&g.v, 0x1D9, legal), VPMU_HANDLED);
		assert_int_equal(vpmu_x86_debugctl(&g.v, 0), m->debug_bits);
		assert_int_equal(vpmu_x86_debugctl(&g.v, BIT(14)), m->debug_bits | BIT(14));
	}
}

/* Intel's LVTPC masks itself, AMD's does not: Linux on PerfMonV2 would stop after one sample. */
static void who_masks_lvtpc(void **state)
{
	struct guest g;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		assert_int_equal(vpmu_x86_masks_lvtpc(&g.vm), is_intel(m));
	}
}

/* ---- Models ---- */

#define GP48(n) .gp = (n), .gp_width = 48
#define FIXED48(n) .fixed = (n), .fixed_width = 48

static const struct vpmu_x86_model impossible[] = {
	{ INTEL(6), GP48(4) },
	{ INTEL(2), GP48(9) },
	{ INTEL(2), .gp = 4, .gp_width = 31 },
	{ INTEL(2), .gp = 4, .gp_width = 49 },
	{ INTEL(2), GP48(4), FIXED48(5) },
	{ INTEL(2), GP48(4), .fixed = 3, .fixed_width = 0 },
	{ INTEL(2), GP48(4), .fixed = 3, .fixed_width = 49 },
	{ INTEL(1), GP48(4), FIXED48(1) },
	{ INTEL(0), GP48(4) },
	{ INTEL(2), GP48(4), .events_length = 9 },
	{ INTEL(2), GP48(4), .events_length = 7, .events_missing = 0x80 },
	{ INTEL(2), GP48(4), .full_width_writes = true },
	{ INTEL(2), GP48(4), .core_extension = true },
	{ INTEL(2), GP48(4), .debug_bits = BIT(0) },
	{ INTEL(2), GP48(4), .debug_bits = BIT(12) },
	{ INTEL(2), GP48(4), .debug_bits = BIT(14) },
	{ AMD(3), GP48(6) },
	{ AMD(0), GP48(4) },
	{ AMD(1), GP48(6) },
	{ AMD(1), GP48(4), .core_extension = true },
	{ AMD(2), GP48(0) },
	{ AMD(2), GP48(7) },
	{ AMD(2), .gp = 6, .gp_width = 47 },
	{ AMD(2), GP48(6), FIXED48(1) },
	{ AMD(2), GP48(6), .tsx = true },
	{ AMD(2), GP48(6), .pdcm = true },
	{ .size = sizeof(struct vpmu_x86_model), .vendor = (enum vpmu_x86_vendor)2 },
};

static void models_are_checked(void **state)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_EMULATED };
	struct vpmu_x86_model model = *FULL_MODEL;
	struct vpmu_machine machine;
	struct vpmu_vm vm;

	(void)state;
	vpmu_machine_init(&machine);
	for (size_t i = 0; i < ARRAY_SIZE(impossible); i++) {
		if (vpmu_x86_vm_init(&vm, &machine, &impossible[i], &config) != VPMU_ERR_PARAM)
			fail_msg("row %zu", i);
	}
	model.size--;
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &model, &config), VPMU_ERR_SIZE);
	config.size--;
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, FULL_MODEL, &config), VPMU_ERR_SIZE);
	config.size++;
	config.mode = (enum vpmu_mode)7;
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, FULL_MODEL, &config), VPMU_ERR_PARAM);
	/* A machine without a PMU. */
	config.mode = VPMU_MODE_MEDIATED;
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, FULL_MODEL, &config),
			 VPMU_ERR_UNSUPPORTED);
}

/* ---- The published table ---- */

static bool find_row(const char *name, struct vpmu_x86_reg_info *info)
{
	for (size_t row = 0; vpmu_x86_reg_info(row, info) == 0; row++) {
		if (strcmp(info->name, name) == 0)
			return true;
	}
	return false;
}

static const struct rule *find_rule(const struct vpmu_x86_reg_info *info)
{
	for (size_t i = 0; i < RULES; i++) {
		if (strcmp(rules[i].name, info->name) == 0)
			return &rules[i];
	}
	return NULL;
}

static void published_table(void **state)
{
	struct vpmu_x86_reg_info info;
	size_t row;

	(void)state;
	for (size_t i = 0; i < RULES; i++) {
		const struct rule *r = &rules[i];

		if (!find_row(r->name, &info))
			fail_msg("%s is missing", r->name);
		assert_int_equal(info.index, r->index);
		assert_int_equal(info.members, r->members);
		assert_int_equal(info.stride, r->stride);
		assert_int_equal(info.vendor, r->vendor);
		assert_int_equal(info.since, r->since);
		assert_true(info.offered && info.readable);
		assert_int_equal(info.writable, r->guest != REFUSED);
		assert_int_equal(info.condition[0] != 0, r->needs != NEEDS_NOTHING);
		/* The control plane never runs direct. */
		if (r->holds == SELECTOR || r->holds == FIXED_CTRL || r->holds == DEBUG)
			assert_false(info.may_be_direct);
	}
	for (row = 0; vpmu_x86_reg_info(row, &info) == 0; row++)
		assert_int_equal(info.offered, find_rule(&info) != NULL);
	assert_int_equal(vpmu_x86_reg_info(row, &info), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_x86_reg_info(SIZE_MAX, &info), VPMU_ERR_PARAM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpuid_intel),
		cmocka_unit_test(cpuid_amd),
		cmocka_unit_test(cpuid_others),
		cmocka_unit_test(cpuid_obeys_the_creation_policy),
		cmocka_unit_test(misc_enable),
		cmocka_unit_test(debugctl),
		cmocka_unit_test(who_masks_lvtpc),
		cmocka_unit_test(models_are_checked),
		cmocka_unit_test(published_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
