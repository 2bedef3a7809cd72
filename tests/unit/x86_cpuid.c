/* SPDX-License-Identifier: MIT */
/*
 * What an x86 guest is told that it has: CPUID, MISC_ENABLE, DEBUGCTL; which models there can be;
 * and the table that the library publishes.
 */
#include <string.h>

#include "script_source.h"
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
		/* Subleaf 0 of leaf 7 speaks of PT and LBR, subleaf 1 of leaf 23H. */
		expect_cpuid(&g, 7, 0, UINT32_MAX,
			     (uint32_t[4]){ UINT32_MAX, 0xFDFFFFFF, UINT32_MAX, 0xFFF7FFFF });
		expect_cpuid(&g, 7, 1, UINT32_MAX,
			     (uint32_t[4]){ 0xFFFFFEFF, UINT32_MAX, UINT32_MAX, UINT32_MAX });
		expect_cpuid(&g, 7, 2, UINT32_MAX,
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

/* Member by member: there is padding. */
static bool same_model(const struct vpmu_x86_model *a, const struct vpmu_x86_model *b)
{
	return a->size == b->size && a->vendor == b->vendor && a->version == b->version &&
	       a->gp == b->gp && a->gp_width == b->gp_width && a->fixed == b->fixed &&
	       a->fixed_width == b->fixed_width && a->events_length == b->events_length &&
	       a->events_missing == b->events_missing && a->pdcm == b->pdcm &&
	       a->full_width_writes == b->full_width_writes &&
	       a->core_extension == b->core_extension && a->tsx == b->tsx &&
	       a->debug_bits == b->debug_bits;
}

/* What a source lacks, in the order of CPUID.0AH:EBX; the last is TOPDOWN.SLOTS. */
static const enum vpmu_event_meaning architectural[] = {
	VPMU_MEANS_CYCLES, VPMU_MEANS_INSTRUCTIONS, VPMU_MEANS_REFERENCE_CYCLES,
	VPMU_MEANS_LLC_REFERENCES, VPMU_MEANS_LLC_MISSES, VPMU_MEANS_BRANCHES,
	VPMU_MEANS_BRANCH_MISSES, VPMU_MEANS_RAW,
};

/* Of a source that lacks (lacks), bits of EBX: how many of (m)'s fixed counters can count. */
static unsigned int fixed_left(const struct vpmu_x86_model *m, unsigned int lacks)
{
	static const unsigned int counts[] = { 1, 0, 2, 7 };   /* bits of EBX */
	unsigned int n = 0;

	while (n < m->fixed && !(lacks >> counts[n] & 1))
		n++;
	return n;
}

/* An Intel guest is not offered what would stand still (V12), whatever combination it is. */
static void a_source_limits_intel(void **state)
{
	struct vpmu_script_source source;
	struct guest g;

	(void)state;
	guest_init(&g, FULL_MODEL, NULL);
	vpmu_script_source_init(&source, &g.v, true);
	for (unsigned int i = 0; i < MODELS * 256; i++) {
		const struct vpmu_x86_model *m = &models[i / 256];
		struct vpmu_x86_model limited = *m;
		unsigned int lacks = i % 256;
		bool none = (lacks & 3) == 3 && m->version;

		if (!is_intel(m))
			continue;
		source.lacks = 0;
		for (unsigned int e = 0; e < 8; e++)
			source.lacks |= lacks >> e & 1 ? BIT(architectural[e]) : 0;
		assert_int_equal(vpmu_x86_model_limit(&limited, &source.source, NULL),
				 none ? VPMU_ERR_UNSUPPORTED : 0);
		if (none || !m->version)
			continue;
		assert_int_equal(limited.fixed, fixed_left(m, lacks));
		assert_int_equal(limited.events_missing,
				 m->events_missing | (lacks & (BIT(m->events_length) - 1)));
		guest_init(&g, &limited, NULL);
	}
}

/* So does a policy: its list for events, its bitmap alone for fixed counters. */
static void a_policy_limits(void **state)
{
	struct vpmu_x86_filter filter = {
		.deny = true, .count = 1, .fixed_bitmap = 2,
		.entry = { { .event = 0xC0, .mask = 0xFF, .match = 0 } },
	};
	const struct vpmu_policy policy = { .x86 = &filter };
	const struct vpmu_policy arm = { .allow_listed = true };

	(void)state;
	FOR_EACH_MODEL(m) {
		struct vpmu_x86_model limited = *m;
		int none = !is_intel(m) && m->version ? VPMU_ERR_UNSUPPORTED : 0;

		assert_int_equal(vpmu_x86_model_limit(&limited, NULL, &policy), none);
		if (none || !m->version)
			continue;
		assert_int_equal(limited.fixed, m->fixed ? 1 : 0);
		assert_int_equal(limited.events_missing,
				 m->events_missing | (2 & (BIT(m->events_length) - 1)));
		assert_int_equal(vpmu_x86_model_limit(&limited, NULL, &arm), VPMU_ERR_PARAM);
	}
}

/* AMD cannot say that an event is missing: all four or no PMU. */
static void a_source_limits_amd(void **state)
{
	const uint64_t expected = BIT(VPMU_MEANS_CYCLES) | BIT(VPMU_MEANS_INSTRUCTIONS) |
				  BIT(VPMU_MEANS_BRANCHES) | BIT(VPMU_MEANS_BRANCH_MISSES);
	struct vpmu_script_source source;
	struct guest g;

	(void)state;
	guest_init(&g, FULL_MODEL, NULL);
	vpmu_script_source_init(&source, &g.v, true);
	FOR_EACH_MODEL(m) {
		if (is_intel(m))
			continue;
		for (uint64_t lacks = 0; lacks < BIT(VPMU_MEANINGS); lacks++) {
			struct vpmu_x86_model limited = *m;
			bool none = lacks & expected && m->version;

			source.lacks = lacks;
			assert_int_equal(vpmu_x86_model_limit(&limited, &source.source, NULL),
					 none ? VPMU_ERR_UNSUPPORTED : 0);
			assert_true(same_model(&limited, m));
		}
	}
}

/* A machine's own PMU as a model, and a guest that has it. */
static void models_of_machines(void **state)
{
	struct vpmu_vm_config config = { .size = sizeof(config) };
	struct vpmu_hw_caps intel = {
		.counters = 0xFF | (uint64_t)0xF << FIXED0,
		.selectable = 0xFF | (uint64_t)0xF << FIXED0,
		.boundary = VPMU_BOUNDARY_ATOMIC, .status_set = 1, .exact_writes = 1, .version = 6,
		.identity = { VPMU_X86_IDENTITY(VPMU_X86_INTEL, 48, 47), 0x7D },
	};
	struct vpmu_hw_caps amd = {
		.counters = 0x3F, .selectable = 0x3F, .boundary = VPMU_BOUNDARY_GATED,
		.status_set = 1, .exact_writes = 1, .version = 2,
		.identity = { VPMU_X86_IDENTITY(VPMU_X86_AMD, 48, 0) },
	};
	const struct vpmu_x86_model intel_model = {
		INTEL(5), .gp = 8, .gp_width = 48, .fixed = 4, .fixed_width = 47,
		.events_length = 7, .events_missing = 0x02, .pdcm = true,
		.full_width_writes = true };
	const struct vpmu_x86_model amd_model = { AMD(2), GP48(6), .core_extension = true };
	struct vpmu_machine machine;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;

	(void)state;
	vpmu_machine_init(&machine);
	assert_int_equal(vpmu_x86_model_of(&machine, &model), VPMU_ERR_UNSUPPORTED);
	vpmu_machine_add(&machine, &intel);
	assert_int_equal(vpmu_x86_model_of(&machine, &model), 0);
	assert_true(same_model(&model, &intel_model));
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &model, &config), 0);
	model.gp_width = 40;
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &model, &config), VPMU_ERR_UNSUPPORTED);

	vpmu_machine_init(&machine);
	vpmu_machine_add(&machine, &amd);
	assert_int_equal(vpmu_x86_model_of(&machine, &model), 0);
	assert_true(same_model(&model, &amd_model));
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &model, &config), 0);
	/* Another vendor's guest. */
	assert_int_equal(vpmu_x86_vm_init(&vm, &machine, &intel_model, &config),
			 VPMU_ERR_UNSUPPORTED);
}

/* Mediated: what cannot be switched exactly is refused when the VM is made (RULES A4, M80). */
static void what_mediated_needs(void **state)
{
	const struct vpmu_hw_caps good = {
		.counters = 0xF | (uint64_t)7 << FIXED0, .selectable = 0xF | (uint64_t)7 << FIXED0,
		.boundary = VPMU_BOUNDARY_ATOMIC, .status_set = 1, .exact_writes = 1, .version = 4,
		.identity = { VPMU_X86_IDENTITY(VPMU_X86_INTEL, 48, 48), 0x7F },
	};
	const struct vpmu_x86_model m = { INTEL(4), GP48(4), FIXED48(3) };
	struct vpmu_vm_config config = { .size = sizeof(config) };
	struct vpmu_vm vm;

	(void)state;
	for (unsigned int i = 0; i < 9; i++) {
		struct vpmu_hw_caps caps = good;
		struct vpmu_machine machine;

		switch (i) {
		case 1:
			caps.boundary = VPMU_BOUNDARY_NONE;
			break;
		case 2:
			caps.status_set = 0;
			break;
		case 3:
			caps.exact_writes = 0;
			break;
		case 4:
			caps.counters = caps.selectable &= ~BIT(3);
			break;
		case 5:
			caps.counters = caps.selectable &= ~BIT(FIXED0 + 2);
			break;
		case 6:
			caps.identity[0] = VPMU_X86_IDENTITY(VPMU_X86_INTEL, 40, 48);
			break;
		case 7:
			caps.identity[0] = VPMU_X86_IDENTITY(VPMU_X86_INTEL, 48, 40);
			break;
		case 8:
			caps.identity[0] = VPMU_X86_IDENTITY(VPMU_X86_AMD, 48, 48);
			break;
		default:
			break;
		}
		vpmu_machine_init(&machine);
		vpmu_machine_add(&machine, &caps);
		if (vpmu_x86_vm_init(&vm, &machine, &m, &config) != (i ? VPMU_ERR_UNSUPPORTED : 0))
			fail_msg("case %u", i);
	}
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
		/* What to count runs direct only where there is nothing to enforce: never on AMD. */
		if (r->holds == SELECTOR || r->holds == FIXED_CTRL)
			assert_int_equal(info.may_be_direct, info.vendor == VPMU_X86_INTEL);
		if (r->holds == DEBUG)
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
		cmocka_unit_test(a_source_limits_intel),
		cmocka_unit_test(a_policy_limits),
		cmocka_unit_test(a_source_limits_amd),
		cmocka_unit_test(models_of_machines),
		cmocka_unit_test(what_mediated_needs),
		cmocka_unit_test(published_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
