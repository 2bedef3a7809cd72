/* SPDX-License-Identifier: MIT */
/*
 * What accesses of an x86 guest's registers do, on a vCPU that is loaded nowhere: the guest's, the
 * host's, RDPMC, reset, save and restore, held against the rules of x86_rules.h.
 */
#include <string.h>

#include "script_source.h"
#include "x86_rules.h"

/* ---- Tests ---- */

/* Every register, every bit alone, all ones, all but one: from the guest and from the host. */
static void every_bit_of_every_register(void **state)
{
	struct rng rng = { 1 };
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		file_reset(&f, m);
		for (size_t i = 0; i < RULES * 8; i++) {
			const struct rule *r = &rules[i / 8];
			unsigned int n = i % 8;

			if (r->vendor != m->vendor || n >= r->members)
				continue;
			scramble(&g, &f, &rng);
			for (unsigned int v = 0; v < 2 * (64 + 64 + 4); v++) {
				uint64_t mask = r->mask(m, n);
				uint64_t values[] = { 0, UINT64_MAX, mask, ~mask };
				unsigned int bit = v / 2 % 64;
				uint64_t value = v < 256 ? BIT(bit) : values[v / 2 - 128];

				if (v >= 128 && v < 256)
					value = mask & ~BIT(bit);
				write_both(&g, &f, r, n, v % 2, value);
			}
			expect_reads(&g, &f, r->name);
		}
	}
}

/* Any accesses in any order; what one register does to another shows. */
static void any_sequence(void **state)
{
	struct rng rng = { 2 };
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		file_reset(&f, m);
		for (unsigned int round = 0; round < 60; round++) {
			scramble(&g, &f, &rng);
			expect_reads(&g, &f, "sequence");
		}
	}
}

/* What is not there faults for the guest and changes nothing; for the host it holds 0. */
static void absent_registers(void **state)
{
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		file_reset(&f, m);
		for (size_t i = 0; i < RULES * 8; i++) {
			const struct rule *r = &rules[i / 8];
			unsigned int n = i % 8;
			uint64_t value = 0x55;

			if (r->vendor != m->vendor || n >= r->members || is_there(r, m, n))
				continue;
			assert_int_equal(vpmu_x86_get_msr(&g.v, index_of(r, n), &value),
					 VPMU_HANDLED);
			assert_int_equal(value, 0);
			value = 0x55;
			if (is_p6_counter(r, n)) {
				assert_int_equal(vpmu_x86_rdmsr(&g.v, index_of(r, n), &value),
						 VPMU_HANDLED);
				assert_int_equal(value, 0);
			} else {
				assert_int_equal(vpmu_x86_rdmsr(&g.v, index_of(r, n), &value),
						 VPMU_FAULT_GP);
				assert_int_equal(value, 0x55);
			}
			expect_state(&g, &f, r->name);
		}
	}
}

/* Reads have no effect, and a fault counts as one. */
static void reads_change_nothing(void **state)
{
	struct rng rng = { 3 };
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		uint64_t value;

		guest_init(&g, m, NULL);
		file_reset(&f, m);
		scramble(&g, &f, &rng);
		for (uint32_t index = 0; index < 0x2000; index++) {
			(void)vpmu_x86_rdmsr(&g.v, index, &value);
			(void)vpmu_x86_get_msr(&g.v, index, &value);
			(void)vpmu_x86_rdmsr(&g.v, 0xC0000000 + index * 8, &value);
			(void)vpmu_x86_rdmsr(&g.v, 0xC0010000 + index, &value);
			(void)vpmu_x86_get_msr(&g.v, 0xC0010000 + index, &value);
		}
		expect_state(&g, &f, "reads");
		expect_reads(&g, &f, "reads");
	}
}

/* ---- What is not offered ---- */

static const struct {
	const char *what;
	enum vpmu_x86_vendor vendor;
	uint32_t first, last, step;
} not_offered[] = {
	{ "PERF_METRICS", VPMU_X86_INTEL, 0x329, 0x329, 1 },
	{ "PEBS_ENABLE, PEBS_DATA_CFG", VPMU_X86_INTEL, 0x3F1, 0x3F2, 1 },
	{ "PEBS_LD_LAT, PEBS_FRONTEND", VPMU_X86_INTEL, 0x3F6, 0x3F7, 1 },
	{ "DS_AREA", VPMU_X86_INTEL, 0x600, 0x600, 1 },
	{ "OFFCORE_RSP_0, _1", VPMU_X86_INTEL, 0x1A6, 0x1A7, 1 },
	{ "LBR_SELECT, LASTBRANCH_TOS", VPMU_X86_INTEL, 0x1C8, 0x1C9, 1 },
	{ "LASTBRANCH_n_FROM_IP", VPMU_X86_INTEL, 0x680, 0x69F, 1 },
	{ "LASTBRANCH_n_TO_IP", VPMU_X86_INTEL, 0x6C0, 0x6DF, 1 },
	{ "LBR_INFO_n", VPMU_X86_INTEL, 0xDC0, 0xDDF, 1 },
	{ "LBR_CTL, LBR_DEPTH", VPMU_X86_INTEL, 0x14CE, 0x14CF, 1 },
	{ "LBR_n_FROM_IP", VPMU_X86_INTEL, 0x1500, 0x151F, 1 },
	{ "LBR_n_TO_IP", VPMU_X86_INTEL, 0x1600, 0x161F, 1 },
	{ "LBR_n_INFO", VPMU_X86_INTEL, 0x1200, 0x121F, 1 },
	{ "RTIT_OUTPUT_BASE, _MASK_PTRS", VPMU_X86_INTEL, 0x560, 0x561, 1 },
	{ "RTIT_CTL, _STATUS, _CR3_MATCH", VPMU_X86_INTEL, 0x570, 0x572, 1 },
	{ "RTIT_ADDRn_A, _B", VPMU_X86_INTEL, 0x580, 0x587, 1 },
	{ "uncore", VPMU_X86_INTEL, 0x394, 0x395, 1 },
	{ "version 6 general-purpose", VPMU_X86_INTEL, 0x1900, 0x190F, 1 },
	{ "version 6 fixed", VPMU_X86_INTEL, 0x1980, 0x198F, 1 },
	{ "IBS", VPMU_X86_AMD, 0xC0011030, 0xC001103B, 1 },
	{ "L3", VPMU_X86_AMD, 0xC0010230, 0xC001023B, 1 },
	{ "northbridge", VPMU_X86_AMD, 0xC0010240, 0xC0010247, 1 },
};

static void what_is_not_offered_faults(void **state)
{
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		file_reset(&f, m);
		for (size_t i = 0; i < ARRAY_SIZE(not_offered); i++) {
			if (not_offered[i].vendor != m->vendor)
				continue;
			for (uint32_t at = not_offered[i].first; at <= not_offered[i].last;
			     at += not_offered[i].step) {
				uint64_t value = 0x55;

				assert_int_equal(vpmu_x86_rdmsr(&g.v, at, &value), VPMU_FAULT_GP);
				assert_int_equal(vpmu_x86_wrmsr(&g.v, at, 0), VPMU_FAULT_GP);
				assert_int_equal(vpmu_x86_wrmsr(&g.v, at, 1), VPMU_FAULT_GP);
				assert_int_equal(vpmu_x86_get_msr(&g.v, at, &value), VPMU_HANDLED);
				assert_int_equal(value, 0);
				assert_int_equal(vpmu_x86_set_msr(&g.v, at, 0), VPMU_HANDLED);
				assert_int_equal(vpmu_x86_set_msr(&g.v, at, 1), VPMU_ERR_PARAM);
			}
		}
		expect_state(&g, &f, "not offered");
	}
}

/* Somebody else's, among them neighbours of the PMU's and the other vendor's. */
static void not_mine(void **state)
{
	static const uint32_t both[] = { 0x10, 0x1B, 0x8B, 0x802, 0xC0000080, 0xC0000102,
					 0xC0010015 };
	struct guest g;
	uint64_t value = 0x55;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		for (size_t i = 0; i < ARRAY_SIZE(both) + RULES; i++) {
			const struct rule *r = i < RULES ? &rules[i] : NULL;
			uint32_t index = r ? r->index : both[i - RULES];

			if (r && r->vendor == m->vendor)
				continue;
			assert_int_equal(vpmu_x86_rdmsr(&g.v, index, &value), VPMU_NOT_MINE);
			assert_int_equal(vpmu_x86_wrmsr(&g.v, index, 0), VPMU_NOT_MINE);
			assert_int_equal(vpmu_x86_get_msr(&g.v, index, &value), VPMU_NOT_MINE);
			assert_int_equal(vpmu_x86_set_msr(&g.v, index, 0), VPMU_NOT_MINE);
			assert_int_equal(value, 0x55);
		}
	}
}

/* ---- RDPMC ---- */

/* Which counter of (m) ECX names; -1: none. */
static int rdpmc_names(const struct vpmu_x86_model *m, uint32_t ecx)
{
	if (!is_intel(m))
		return ecx < m->gp ? (int)ecx : -1;
	if (ecx < m->gp)
		return (int)ecx;
	if (ecx >= 0x40000000 && ecx - 0x40000000 < m->fixed)
		return (int)(FIXED0 + ecx - 0x40000000);
	return -1;
}

static void expect_rdpmc(struct guest *g, const struct file *f, uint32_t ecx, unsigned int rights)
{
	struct vpmu_x86_rdpmc p = { .index = ecx, .cpl = rights & 3, .pce = rights >> 2 & 1,
				    .protected_mode = rights >> 3 & 1, .value = 0x55 };
	int n = rdpmc_names(&g->model, ecx);
	bool may = !(rights & 3) || rights & 4 || !(rights & 8);
	int outcome = vpmu_x86_rdpmc(&g->v, &p);

	if (outcome != (n >= 0 && may ? VPMU_HANDLED : VPMU_FAULT_GP) ||
	    p.value != (n >= 0 && may ? f->value[n] : 0x55))
		fail_msg("RDPMC of %#x, rights %u: %d, %#llx (vendor %d, version %u)", ecx, rights,
			 outcome, (unsigned long long)p.value, (int)g->model.vendor,
			 g->model.version);
}

/* Indices near something, under every type, with every combination of CPL, CR4.PCE and CR0.PE. */
static void rdpmc(void **state)
{
	static const uint32_t types[] = { 0, 0x0001, 0x2000, 0x4000, 0x4001, 0x6000, 0x8000, 0xC000,
					  0xFFFF };
	struct rng rng = { 4 };
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		file_reset(&f, m);
		scramble(&g, &f, &rng);
		for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
			for (uint32_t i = 0; i < 40; i++) {
				for (unsigned int rights = 0; rights < 16; rights++) {
					expect_rdpmc(&g, &f, types[t] << 16 | i, rights);
					expect_rdpmc(&g, &f, types[t] << 16 | (0xFFFF - i), rights);
				}
			}
		}
		for (unsigned int i = 0; i < 2000; i++)
			expect_rdpmc(&g, &f, (uint32_t)rng_next(&rng), (unsigned int)i % 16);
		for (unsigned int bit = 0; bit < 32; bit++)
			expect_rdpmc(&g, &f, (uint32_t)BIT(bit), 0);
		expect_state(&g, &f, "RDPMC");
	}
}

/* ---- Reset, save and restore ---- */

/* All enabled globally but the fixed counters, whether the guest has the register or not. */
static void reset(void **state)
{
	struct rng rng = { 5 };
	struct guest g;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		guest_init(&g, m, NULL);
		file_reset(&f, m);
		expect_state(&g, &f, "power-on");
		expect_reads(&g, &f, "power-on");
		scramble(&g, &f, &rng);
		file_reset(&f, m);
		assert_int_equal(vpmu_vcpu_reset(&g.v), 0);
		expect_state(&g, &f, "reset");
	}
}

static void shuffle(struct rng *rng, uint32_t *list, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)rng_below(rng, i);
		uint32_t t = list[i - 1];

		list[i - 1] = list[j];
		list[j] = t;
	}
}

static size_t count_in(const uint32_t *list, size_t count, uint32_t index)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += list[i] == index;
	return n;
}

/* Each register that holds something once, no alias, nothing that reads 0. */
static void save_list(void **state)
{
	uint32_t list[64];
	struct guest g;

	(void)state;
	FOR_EACH_MODEL(m) {
		size_t count, expected = 0;

		guest_init(&g, m, NULL);
		count = vpmu_x86_msr_list(&g.vm, list, ARRAY_SIZE(list));
		assert_true(count <= ARRAY_SIZE(list));
		for (size_t i = 0; i < RULES; i++) {
			for (unsigned int n = 0; is_there(&rules[i], m, n); n++) {
				bool saved = is_saved(&rules[i], m);

				expected += saved;
				if (count_in(list, count, index_of(&rules[i], n)) != saved)
					fail_msg("%s %u: vendor %d, version %u", rules[i].name, n,
						 (int)m->vendor, m->version);
			}
		}
		assert_int_equal(count, expected);
		/* A short buffer is filled, and the answer is the same. */
		for (size_t max = 0; max < count; max++) {
			uint32_t part[64] = { 0 };

			assert_int_equal(vpmu_x86_msr_list(&g.vm, part, max), count);
			assert_memory_equal(part, list, max * sizeof(list[0]));
			assert_int_equal(part[max], 0);
		}
	}
}

/* Save, restore in any order onto any state, save: the identity (V9). */
static void restore_in_any_order(void **state)
{
	struct rng rng = { 6 };
	uint32_t list[64];
	struct guest from, to;
	struct file f, other;

	(void)state;
	FOR_EACH_MODEL(m) {
		for (unsigned int round = 0; round < 40; round++) {
			size_t count;

			guest_init(&from, m, NULL);
			guest_init(&to, m, NULL);
			file_reset(&f, m);
			other = f;
			scramble(&from, &f, &rng);
			if (round % 2)
				scramble(&to, &other, &rng);
			count = vpmu_x86_msr_list(&from.vm, list, ARRAY_SIZE(list));
			shuffle(&rng, list, count);
			for (size_t i = 0; i < count; i++) {
				uint64_t value;

				assert_int_equal(vpmu_x86_get_msr(&from.v, list[i], &value),
						 VPMU_HANDLED);
				assert_int_equal(vpmu_x86_set_msr(&to.v, list[i], value),
						 VPMU_HANDLED);
			}
			expect_state(&to, &f, "restore");
			expect_reads(&to, &f, "restore");
			/* Reading to save has no effect. */
			expect_state(&from, &f, "save");
		}
	}
}

/* struct vpmu_state does the same, and refuses what the model cannot have. */
static void states(void **state)
{
	struct rng rng = { 7 };
	struct guest from, to;
	struct file f;

	(void)state;
	FOR_EACH_MODEL(m) {
		struct vpmu_state s, bad;

		guest_init(&from, m, NULL);
		guest_init(&to, m, NULL);
		file_reset(&f, m);
		scramble(&from, &f, &rng);
		assert_int_equal(vpmu_vcpu_get_state(&from.v, &s), 0);
		assert_int_equal(vpmu_vcpu_set_state(&to.v, &s), 0);
		expect_state(&to, &f, "state");
		for (unsigned int bit = 0; bit < 64; bit++) {
			uint64_t *const members[] = { &bad.global, &bad.status, &bad.debug };
			const uint64_t legal[] = {
				counters_of(m), m->version >= 2 ? mask_status(m, 0) : 0,
				is_intel(m) ? mask_debugctl(m, 0) : 0,
			};

			for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
				if (legal[i] & BIT(bit))
					continue;
				bad = s;
				*members[i] |= BIT(bit);
				assert_int_equal(vpmu_vcpu_set_state(&to.v, &bad), VPMU_ERR_PARAM);
			}
			/* Without the register, nothing can have changed what it would hold. */
			bad = s;
			bad.global ^= BIT(bit);
			if (m->version < 2)
				assert_int_equal(vpmu_vcpu_set_state(&to.v, &bad), VPMU_ERR_PARAM);
			bad = s;
			bad.value[bit] |= BIT(m->gp_width ? m->gp_width : 1) | BIT(63);
			assert_int_equal(vpmu_vcpu_set_state(&to.v, &bad), VPMU_ERR_PARAM);
			bad = s;
			bad.selector[bit] |= BIT(21);
			assert_int_equal(vpmu_vcpu_set_state(&to.v, &bad), VPMU_ERR_PARAM);
			bad = s;
			bad.enabled ^= BIT(bit);
			assert_int_equal(vpmu_vcpu_set_state(&to.v, &bad), VPMU_ERR_PARAM);
		}
		expect_state(&to, &f, "refused state");
	}
}

/* ---- Context ---- */

/* Nothing of it may be called while the guest runs, and nothing changes if it is. */
static void not_while_the_guest_runs(void **state)
{
	struct vpmu_x86_rdpmc p = { .value = 0x55 };
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	struct guest g;
	uint64_t value = 0x55;
	struct file f;

	(void)state;
	guest_init(&g, FULL_MODEL, NULL);
	file_reset(&f, FULL_MODEL);
	vpmu_script_source_init(&source, &g.v, true);
	assert_int_equal(vpmu_vcpu_attach(&g.v, &emulated, &source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&g.v, NULL), 0);
	assert_int_equal(vpmu_vcpu_enter(&g.v, 0), 0);
	assert_int_equal(vpmu_x86_rdmsr(&g.v, 0xC1, &value), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_wrmsr(&g.v, 0xC1, 1), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_get_msr(&g.v, 0xC1, &value), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_set_msr(&g.v, 0xC1, 1), VPMU_ERR_STATE);
	assert_int_equal(vpmu_x86_rdpmc(&g.v, &p), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_lvtpc(&g.v, 0xF5), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_pmi(&g.v), VPMU_ERR_STATE);
	assert_int_equal(vpmu_vcpu_exit(&g.v, 0), 0);
	assert_int_equal(vpmu_vcpu_put(&g.v), 0);
	assert_int_equal(value, 0x55);
	assert_int_equal(p.value, 0x55);
	expect_state(&g, &f, "refused calls");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_of_every_register),
		cmocka_unit_test(any_sequence),
		cmocka_unit_test(absent_registers),
		cmocka_unit_test(reads_change_nothing),
		cmocka_unit_test(what_is_not_offered_faults),
		cmocka_unit_test(not_mine),
		cmocka_unit_test(rdpmc),
		cmocka_unit_test(reset),
		cmocka_unit_test(save_list),
		cmocka_unit_test(restore_in_any_order),
		cmocka_unit_test(states),
		cmocka_unit_test(not_while_the_guest_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
