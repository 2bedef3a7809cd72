/* SPDX-License-Identifier: MIT */
/*
 * The x86 event filter against a linear scan, written from Linux's documentation of
 * KVM_SET_PMU_EVENT_FILTER (V8, M94, M96).
 */
#include <stdlib.h>
#include <string.h>

#include <vpmu/x86.h>

#include "support.h"

#define ALLOW 0u
#define DENY 1u
#define MASKED 1u

#define HEADER 32u
#define MAX 300u

/* struct kvm_pmu_event_filter, with room for one event too many. */
struct kvm_filter {
	uint32_t action;
	uint32_t nevents;
	uint32_t fixed_counter_bitmap;
	uint32_t flags;
	uint32_t pad[4];
	uint64_t events[MAX + 1];
};

static const enum vpmu_x86_vendor vendors[] = { VPMU_X86_INTEL, VPMU_X86_AMD };

static size_t bytes_of(const struct kvm_filter *k)
{
	return HEADER + 8u * k->nevents;
}

static int try_compile(struct vpmu_x86_filter *f, enum vpmu_x86_vendor vendor,
		       const struct kvm_filter *k)
{
	return vpmu_x86_filter_compile(f, vendor, k, bytes_of(k));
}

static struct vpmu_x86_filter compile(enum vpmu_x86_vendor vendor, const struct kvm_filter *k)
{
	struct vpmu_x86_filter f;

	memset(&f, 0x5A, sizeof(f));
	assert_int_equal(try_compile(&f, vendor, k), 0);
	return f;
}

/* ---- What the documentation says, word by word ---- */

static unsigned int field(uint64_t value, unsigned int high, unsigned int low)
{
	return (unsigned int)(value >> low & (BIT(high - low + 1) - 1));
}

static bool same_event(enum vpmu_x86_vendor vendor, uint64_t a, uint64_t b)
{
	return field(a, 7, 0) == field(b, 7, 0) &&
	       (vendor == VPMU_X86_INTEL || field(a, 35, 32) == field(b, 35, 32));
}

static bool hits(enum vpmu_x86_vendor vendor, uint32_t flags, uint64_t entry, uint64_t selector)
{
	if (!same_event(vendor, entry, selector))
		return false;
	if (flags & MASKED)
		return (field(selector, 15, 8) & field(entry, 63, 56)) == field(entry, 15, 8);
	/* An event with a bit that is neither event select nor unit mask can match nothing. */
	if (field(entry, 31, 16) || field(entry, 63, 36) ||
	    (vendor == VPMU_X86_INTEL && field(entry, 35, 32)))
		return false;
	return field(selector, 15, 8) == field(entry, 15, 8);
}

static bool brute_force(enum vpmu_x86_vendor vendor, const struct kvm_filter *k, uint64_t selector)
{
	bool included = false;
	bool excluded = false;

	for (uint32_t i = 0; i < k->nevents; i++) {
		if (!hits(vendor, k->flags, k->events[i], selector))
			continue;
		if (k->flags & MASKED && field(k->events[i], 55, 55))
			excluded = true;
		else
			included = true;
	}
	return (included && !excluded) == (k->action == ALLOW);
}

/* Bits of a selector that have no say. */
static uint64_t noise(struct rng *rng, enum vpmu_x86_vendor vendor)
{
	uint64_t key = 0xFFFF | (vendor == VPMU_X86_AMD ? (uint64_t)0xF << 32 : 0);

	return rng_one_in(rng, 4) ? 0 : rng_next(rng) & ~key;
}

static void expect_answer(const struct vpmu_x86_filter *f, enum vpmu_x86_vendor vendor,
			  const struct kvm_filter *k, uint64_t selector)
{
	bool expected = brute_force(vendor, k, selector);

	if (vpmu_x86_filter_allows(f, vendor, selector) != expected)
		fail_msg("vendor %d, action %u, flags %u, %u events: selector %#llx should be %s",
			 (int)vendor, k->action, k->flags, k->nevents, (unsigned long long)selector,
			 expected ? "allowed" : "denied");
}

/* ---- Random filters ---- */

/* Few different events and unit masks, so that entries meet. */
static uint64_t draw_event(struct rng *rng, enum vpmu_x86_vendor vendor)
{
	uint64_t event = rng_below(rng, rng_one_in(rng, 4) ? 256 : 3);

	if (rng_one_in(rng, 2))
		event = event << 6 & 0xFF;
	event |= rng_below(rng, rng_one_in(rng, 2) ? 256 : 2) << 8;
	if (vendor == VPMU_X86_AMD && rng_one_in(rng, 2))
		event |= rng_below(rng, 16) << 32;
	return event;
}

/* Masks of all, none, one or any bits; most of the time the match lies within the mask. */
static uint64_t draw_masked(struct rng *rng, enum vpmu_x86_vendor vendor)
{
	static const uint64_t masks[] = { 0xFF, 0, 0x80, 0x01, 0xF0 };
	uint64_t event = draw_event(rng, vendor);
	uint64_t mask = rng_one_in(rng, 3) ? rng_below(rng, 256)
					   : masks[rng_below(rng, ARRAY_SIZE(masks))];

	if (!rng_one_in(rng, 8))
		event &= ~(0xFF00ull & ~(mask << 8));
	return event | mask << 56 | (uint64_t)rng_one_in(rng, 3) << 55;
}

static void draw(struct rng *rng, enum vpmu_x86_vendor vendor, uint32_t count, struct kvm_filter *k)
{
	memset(k, 0, sizeof(*k));
	k->action = rng_one_in(rng, 2) ? ALLOW : DENY;
	k->flags = rng_one_in(rng, 3) ? 0 : MASKED;
	k->nevents = count;
	for (uint32_t i = 0; i < count; i++) {
		k->events[i] = k->flags ? draw_masked(rng, vendor) : draw_event(rng, vendor);
		if (!k->flags && rng_one_in(rng, 8))
			k->events[i] |= BIT(16 + rng_below(rng, 48));
	}
}

static void every_key(void **state)
{
	struct rng rng = { 1 };
	struct kvm_filter k;

	(void)state;
	for (unsigned int round = 0; round < 24; round++) {
		enum vpmu_x86_vendor vendor = vendors[round % 2];
		unsigned int bits = vendor == VPMU_X86_AMD ? 20 : 16;
		struct vpmu_x86_filter f;

		draw(&rng, vendor, (uint32_t)rng_below(&rng, 12), &k);
		f = compile(vendor, &k);
		for (uint64_t key = 0; key < BIT(bits); key++) {
			uint64_t selector = (key & 0xFFFF) | key >> 16 << 32;

			expect_answer(&f, vendor, &k, selector | noise(&rng, vendor));
		}
	}
}

/* Each entry of a list of any size, and what is one off it in event, high event or unit mask. */
static void neighbours(void **state)
{
	static const uint64_t steps[] = { 0, 1, 1 << 8, 1ull << 32 };
	struct rng rng = { 2 };
	struct kvm_filter k;

	(void)state;
	for (unsigned int round = 0; round < 60; round++) {
		enum vpmu_x86_vendor vendor = vendors[round % 2];
		uint32_t count = round < 8 ? MAX : (uint32_t)rng_below(&rng, MAX + 1);
		struct vpmu_x86_filter f;

		draw(&rng, vendor, count, &k);
		f = compile(vendor, &k);
		for (uint32_t i = 0; i < count; i++) {
			for (size_t s = 0; s < ARRAY_SIZE(steps); s++) {
				uint64_t key = k.events[i] & 0xF0000FFFF;

				expect_answer(&f, vendor, &k, key + steps[s]);
				expect_answer(&f, vendor, &k, key - steps[s]);
				expect_answer(&f, vendor, &k,
					      key ^ steps[s] ^ noise(&rng, vendor));
			}
		}
	}
}

/*
 * Linux compared 36-bit events by a difference cut to 32 bits: entries that differ in bits 35:32
 * alone were equal, the list unsorted and the search blind (M94). All of them are here.
 */
static void high_events_alone_differ(void **state)
{
	struct rng rng = { 3 };
	struct kvm_filter k;

	(void)state;
	for (unsigned int round = 0; round < 40; round++) {
		struct vpmu_x86_filter f;

		memset(&k, 0, sizeof(k));
		k.action = round % 2;
		k.nevents = MAX;
		for (uint32_t i = 0; i < MAX; i += 2) {
			k.events[i] = rng_next(&rng) & 0xF0000FFFF;
			k.events[i + 1] = k.events[i] ^ (1 + rng_below(&rng, 15)) << 32;
		}
		f = compile(VPMU_X86_AMD, &k);
		for (uint32_t i = 0; i < MAX; i++) {
			for (uint64_t high = 0; high < 16; high++) {
				uint64_t key = (k.events[i] & 0xFFFF) | high << 32;

				expect_answer(&f, VPMU_X86_AMD, &k, key);
				expect_answer(&f, VPMU_X86_AMD, &k, key + 1);
				expect_answer(&f, VPMU_X86_AMD, &k, key - 1);
			}
		}
	}
}

/* Intel has no event select above bit 7: 35:32 of a selector are other things there. */
static void intel_ignores_high_bits(void **state)
{
	struct kvm_filter k = { .action = ALLOW, .nevents = 1, .events = { 0x00C0 } };
	struct vpmu_x86_filter intel = compile(VPMU_X86_INTEL, &k);
	struct vpmu_x86_filter amd = compile(VPMU_X86_AMD, &k);

	(void)state;
	for (uint64_t high = 0; high < 16; high++) {
		uint64_t selector = 0x4300C0 | high << 32;

		assert_true(vpmu_x86_filter_allows(&intel, VPMU_X86_INTEL, selector));
		assert_int_equal(vpmu_x86_filter_allows(&amd, VPMU_X86_AMD, selector), high == 0);
	}
}

/* ---- Masked events, by hand ---- */

#define ENTRY(event, mask, match, exclude) \
	((uint64_t)(mask) << 56 | (uint64_t)(exclude) << 55 | (uint64_t)(match) << 8 | (event))

static void masked_events(void **state)
{
	static const struct {
		uint64_t events[3];
		uint32_t count;
		uint8_t umask;
		bool hit;
	} rows[] = {
		/* Every unit mask of an event. */
		{ { ENTRY(0xD0, 0, 0, 0) }, 1, 0x00, true },
		{ { ENTRY(0xD0, 0, 0, 0) }, 1, 0xFF, true },
		/* A match outside of its mask. */
		{ { ENTRY(0xD0, 0, 1, 0) }, 1, 0x01, false },
		{ { ENTRY(0xD0, 0xF0, 0x81, 0) }, 1, 0x81, false },
		/* One bit must be set, one must be clear. */
		{ { ENTRY(0xD0, 0x81, 0x80, 0) }, 1, 0xFE, true },
		{ { ENTRY(0xD0, 0x81, 0x80, 0) }, 1, 0x81, false },
		{ { ENTRY(0xD0, 0x81, 0x80, 0) }, 1, 0x7E, false },
		/* All but one; the order of the list says nothing. */
		{ { ENTRY(0xD0, 0, 0, 0), ENTRY(0xD0, 0xFF, 0x82, 1) }, 2, 0x81, true },
		{ { ENTRY(0xD0, 0, 0, 0), ENTRY(0xD0, 0xFF, 0x82, 1) }, 2, 0x82, false },
		{ { ENTRY(0xD0, 0xFF, 0x82, 1), ENTRY(0xD0, 0, 0, 0) }, 2, 0x81, true },
		{ { ENTRY(0xD0, 0xFF, 0x82, 1), ENTRY(0xD0, 0, 0, 0) }, 2, 0x82, false },
		/* Excluded from nothing: a deny list may not allow by an exclusion alone. */
		{ { ENTRY(0xD0, 0, 0, 1) }, 1, 0x82, false },
		/* Twice the same, and the same both ways. */
		{ { ENTRY(0xD0, 0xFF, 2, 0), ENTRY(0xD0, 0xFF, 2, 0) }, 2, 2, true },
		{ { ENTRY(0xD0, 0xFF, 2, 0), ENTRY(0xD0, 0xFF, 2, 1) }, 2, 2, false },
		/* Another event's exclusion. */
		{ { ENTRY(0xD0, 0, 0, 0), ENTRY(0xD1, 0, 0, 1) }, 2, 2, true },
		{ { ENTRY(0xCF, 0, 0, 1), ENTRY(0xD0, 0, 0, 0), ENTRY(0xD1, 0, 0, 1) }, 3, 2,
		  true },
	};

	(void)state;
	for (size_t r = 0; r < 4 * ARRAY_SIZE(rows); r++) {
		enum vpmu_x86_vendor vendor = vendors[r & 1];
		uint32_t action = r & 2 ? DENY : ALLOW;
		struct kvm_filter k = { .action = action, .nevents = rows[r / 4].count,
					.flags = MASKED };
		struct vpmu_x86_filter f;
		uint64_t selector = 0x4300D0 | (uint64_t)rows[r / 4].umask << 8;

		memcpy(k.events, rows[r / 4].events, sizeof(rows[0].events));
		f = compile(vendor, &k);
		if (vpmu_x86_filter_allows(&f, vendor, selector) !=
		    (rows[r / 4].hit == (action == ALLOW)))
			fail_msg("row %zu, vendor %d, action %u", r / 4, (int)vendor, action);
	}
}

static void empty_lists(void **state)
{
	struct rng rng = { 4 };

	(void)state;
	for (unsigned int i = 0; i < 400; i++) {
		struct kvm_filter k = { .action = i & 1, .flags = i >> 1 & 1 };
		enum vpmu_x86_vendor vendor = vendors[i >> 2 & 1];
		struct vpmu_x86_filter f = compile(vendor, &k);

		assert_int_equal(vpmu_x86_filter_allows(&f, vendor, rng_next(&rng)),
				 k.action == DENY);
	}
}

/* ---- Fixed counters ---- */

/* The bitmap alone decides, whatever the list says of the fixed counter's event (M96). */
static void fixed_counters(void **state)
{
	(void)state;
	for (uint32_t row = 0; row < 2 * 2 * 16; row++) {
		/* Bits of counters that nobody has are taken and mean nothing. */
		struct kvm_filter k = { .action = row & 1, .nevents = row >> 1 & 1,
					.fixed_counter_bitmap = 0xA5A5A5A0u | row >> 2,
					.events = { 0xC0 } };
		struct vpmu_x86_filter f = compile(VPMU_X86_INTEL, &k);

		assert_int_equal(vpmu_x86_filter_allows(&f, VPMU_X86_INTEL, 0x4300C0),
				 (k.nevents == 1) == (k.action == ALLOW));
		for (unsigned int i = 0; i < 4; i++) {
			bool named = row >> 2 >> i & 1;

			assert_int_equal(vpmu_x86_filter_allows_fixed(&f, i),
					 named == (k.action == ALLOW));
		}
		/* No shift past the bitmap, and no such counter. */
		assert_false(vpmu_x86_filter_allows_fixed(&f, 4));
		assert_false(vpmu_x86_filter_allows_fixed(&f, 32));
		assert_false(vpmu_x86_filter_allows_fixed(&f, UINT32_MAX));
	}
}

/* ---- What is refused ---- */

static bool is_legal_masked_bit(enum vpmu_x86_vendor vendor, unsigned int bit)
{
	return bit < 16 || bit >= 55 || (vendor == VPMU_X86_AMD && bit >= 32 && bit < 36);
}

/* Each bit alone, in the first, a middle and the last of three entries: all or nothing. */
static void masked_entries_are_checked(void **state)
{
	(void)state;
	for (unsigned int n = 0; n < 2 * 64 * 3; n++) {
		enum vpmu_x86_vendor vendor = vendors[n % 2];
		unsigned int bit = n / 2 % 64;
		struct kvm_filter k = { .nevents = 3, .flags = MASKED };
		struct vpmu_x86_filter f;

		k.events[n / 128] = BIT(bit);
		if (try_compile(&f, vendor, &k) !=
		    (is_legal_masked_bit(vendor, bit) ? 0 : VPMU_ERR_PARAM))
			fail_msg("vendor %d, bit %u of entry %u", (int)vendor, bit, n / 128);
	}
}

/* Without masks the same bits are accepted, and their entry matches nothing. */
static void other_entries_are_dropped(void **state)
{
	(void)state;
	for (unsigned int n = 0; n < 2 * 64; n++) {
		enum vpmu_x86_vendor vendor = vendors[n % 2];
		unsigned int bit = n / 2;
		bool key = bit < 16 || (vendor == VPMU_X86_AMD && bit >= 32 && bit < 36);
		bool changed = !(0x02C0 & BIT(bit));
		struct kvm_filter k = { .nevents = 2, .events = { 0x02C0 | BIT(bit), 0x04C1 } };
		struct vpmu_x86_filter f = compile(vendor, &k);

		assert_int_equal(vpmu_x86_filter_allows(&f, vendor, k.events[0]), key);
		assert_int_equal(vpmu_x86_filter_allows(&f, vendor, 0x02C0), !changed);
		assert_true(vpmu_x86_filter_allows(&f, vendor, 0x04C1));
	}
}

static void limits(void **state)
{
	struct kvm_filter k = { .nevents = MAX };
	struct vpmu_x86_filter f;

	(void)state;
	assert_int_equal(VPMU_X86_FILTER_EVENTS_MAX, MAX);
	for (uint32_t i = 0; i <= MAX; i++)
		k.events[i] = i;
	assert_int_equal(try_compile(&f, VPMU_X86_INTEL, &k), 0);
	assert_true(vpmu_x86_filter_allows(&f, VPMU_X86_INTEL, MAX - 1));
	assert_false(vpmu_x86_filter_allows(&f, VPMU_X86_INTEL, MAX));

	/* Also for entries that would be dropped, and before the bytes are looked at. */
	for (uint32_t i = 0; i <= MAX; i++)
		k.events[i] = UINT64_MAX;
	assert_int_equal(try_compile(&f, VPMU_X86_INTEL, &k), 0);
	k.nevents = MAX + 1;
	assert_int_equal(try_compile(&f, VPMU_X86_INTEL, &k), VPMU_ERR_LIMIT);
	assert_int_equal(vpmu_x86_filter_compile(&f, VPMU_X86_AMD, &k, HEADER), VPMU_ERR_LIMIT);
	k.nevents = UINT32_MAX;
	assert_int_equal(vpmu_x86_filter_compile(&f, VPMU_X86_AMD, &k, sizeof(k)), VPMU_ERR_LIMIT);
}

/* Exactly as many bytes as there are: a sanitizer sees each byte too many. */
static int compile_prefix(const struct kvm_filter *k, size_t size)
{
	struct vpmu_x86_filter f;
	char *bytes = malloc(size ? size : 1);
	int answer;

	assert_non_null(bytes);
	memcpy(bytes, k, size);
	answer = vpmu_x86_filter_compile(&f, VPMU_X86_AMD, bytes, size);
	free(bytes);
	return answer;
}

static void truncated(void **state)
{
	static const uint32_t counts[] = { 0, 1, 2, 7, MAX };
	struct kvm_filter k = { .flags = MASKED };

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		k.nevents = counts[c];
		for (size_t size = 0; size <= bytes_of(&k) + 8 && size <= sizeof(k); size++)
			assert_int_equal(compile_prefix(&k, size),
					 size < bytes_of(&k) ? VPMU_ERR_SIZE : 0);
	}
	/* What the header says comes first. */
	k.action = 2;
	assert_int_equal(compile_prefix(&k, HEADER), VPMU_ERR_PARAM);
	assert_int_equal(compile_prefix(&k, HEADER - 1), VPMU_ERR_SIZE);
}

static void actions_and_flags(void **state)
{
	struct kvm_filter k = { 0 };
	struct vpmu_x86_filter f;

	(void)state;
	for (unsigned int bit = 0; bit < 32; bit++) {
		k.action = (uint32_t)BIT(bit);
		k.flags = 0;
		assert_int_equal(try_compile(&f, VPMU_X86_AMD, &k), bit == 0 ? 0 : VPMU_ERR_PARAM);
		k.action = DENY;
		k.flags = (uint32_t)BIT(bit);
		assert_int_equal(try_compile(&f, VPMU_X86_AMD, &k), bit == 0 ? 0 : VPMU_ERR_PARAM);
		k.flags |= MASKED;
		assert_int_equal(try_compile(&f, VPMU_X86_AMD, &k), bit == 0 ? 0 : VPMU_ERR_PARAM);
	}
	/* Unknown flags come before too many events. */
	k.nevents = MAX + 1;
	assert_int_equal(try_compile(&f, VPMU_X86_AMD, &k), VPMU_ERR_PARAM);
}

/* A refusal leaves a filter that is in use as it was. */
static void refusals_change_nothing(void **state)
{
	struct kvm_filter k = { .action = DENY, .nevents = 2, .fixed_counter_bitmap = 5,
				.flags = MASKED, .events = { 0x11C0 } };
	struct vpmu_x86_filter f = compile(VPMU_X86_INTEL, &k);
	struct vpmu_x86_filter before;

	(void)state;
	memcpy(&before, &f, sizeof(f));
	k.action = ALLOW;
	k.fixed_counter_bitmap = 0;
	k.events[0] = 0x22C1;
	k.events[1] = BIT(16);
	assert_int_equal(try_compile(&f, VPMU_X86_INTEL, &k), VPMU_ERR_PARAM);
	assert_memory_equal(&before, &f, sizeof(f));
	k.events[1] = 0;
	assert_int_equal(vpmu_x86_filter_compile(&f, VPMU_X86_INTEL, &k, bytes_of(&k) - 1),
			 VPMU_ERR_SIZE);
	assert_memory_equal(&before, &f, sizeof(f));
}

/* ---- What has no say ---- */

static void padding_and_alignment(void **state)
{
	struct rng rng = { 5 };
	static char bytes[sizeof(struct kvm_filter) + 8];
	struct kvm_filter k;

	(void)state;
	for (unsigned int round = 0; round < 64; round++) {
		enum vpmu_x86_vendor vendor = vendors[round % 2];
		char *at = bytes + round % 8;
		struct vpmu_x86_filter f, copy;

		draw(&rng, vendor, 20, &k);
		for (size_t i = 0; i < ARRAY_SIZE(k.pad); i++)
			k.pad[i] = (uint32_t)rng_next(&rng);
		memcpy(at, &k, sizeof(k));
		assert_int_equal(vpmu_x86_filter_compile(&f, vendor, at, bytes_of(&k)), 0);
		/* The bytes are not needed any more, and a copy is as good. */
		memset(bytes, 0xFF, sizeof(bytes));
		copy = f;
		memset(&f, 0, sizeof(f));
		for (uint32_t i = 0; i < k.nevents; i++)
			expect_answer(&copy, vendor, &k, k.events[i] & 0xF0000FFFF);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key),
		cmocka_unit_test(neighbours),
		cmocka_unit_test(high_events_alone_differ),
		cmocka_unit_test(intel_ignores_high_bits),
		cmocka_unit_test(masked_events),
		cmocka_unit_test(empty_lists),
		cmocka_unit_test(fixed_counters),
		cmocka_unit_test(masked_entries_are_checked),
		cmocka_unit_test(other_entries_are_dropped),
		cmocka_unit_test(limits),
		cmocka_unit_test(truncated),
		cmocka_unit_test(actions_and_flags),
		cmocka_unit_test(refusals_change_nothing),
		cmocka_unit_test(padding_and_alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
