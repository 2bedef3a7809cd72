/* SPDX-License-Identifier: MIT */
/* The event policy against brute force over the whole 16-bit event space (V8). */
#include "support.h"

#define SPACE 0x10000u

struct draft {
	struct vpmu_event_range ranges[VPMU_POLICY_RANGES_MAX];
	struct vpmu_policy policy;
	bool listed[SPACE];
};

static struct draft draft;

/* Ranges of any size, overlapping, adjacent, at both ends of the space, and in any order. */
static void draw(struct rng *rng)
{
	uint32_t count =
		(uint32_t)rng_below(rng, rng_one_in(rng, 4) ? VPMU_POLICY_RANGES_MAX + 1 : 8);

	for (uint32_t e = 0; e < SPACE; e++)
		draft.listed[e] = false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t first = (uint32_t)(rng_one_in(rng, 8) ? 0 : rng_below(rng, SPACE));
		uint32_t size = (uint32_t)rng_below(rng, rng_one_in(rng, 4) ? SPACE : 16);
		uint32_t last = first + size < SPACE ? first + size : SPACE - 1;

		draft.ranges[i] = (struct vpmu_event_range){ first, last };
		for (uint32_t e = first; e <= last; e++)
			draft.listed[e] = true;
	}
	draft.policy = (struct vpmu_policy){ draft.ranges, count, rng_one_in(rng, 2), NULL, NULL };
}

static void matcher_equals_brute_force(void **state)
{
	struct rng rng = { 1 };

	(void)state;
	for (unsigned int round = 0; round < 60; round++) {
		draw(&rng);
		assert_int_equal(vpmu_policy_check(&draft.policy), 0);
		for (uint32_t e = 0; e < SPACE; e++) {
			bool allowed = draft.listed[e] == draft.policy.allow_listed;

			if (vpmu_policy_allows(&draft.policy, e) != allowed)
				fail_msg("round %u: event %#x", round, e);
		}
	}
}

/* What open says is always true: no event is denied. */
static void open_is_open(void **state)
{
	struct rng rng = { 2 };

	(void)state;
	assert_true(vpmu_policy_is_open(NULL));
	assert_true(vpmu_policy_allows(NULL, 0));
	assert_true(vpmu_policy_allows(NULL, UINT32_MAX));
	assert_true(vpmu_policy_is_open(&(struct vpmu_policy){ NULL, 0, false, NULL, NULL }));
	assert_false(vpmu_policy_is_open(&(struct vpmu_policy){ NULL, 0, true, NULL, NULL }));
	for (unsigned int round = 0; round < 200; round++) {
		draw(&rng);
		if (!vpmu_policy_is_open(&draft.policy))
			continue;
		for (uint32_t e = 0; e < SPACE; e++)
			assert_true(vpmu_policy_allows(&draft.policy, e));
	}
}

static void malformed(void **state)
{
	struct vpmu_event_range r[2] = { { 0, 0 }, { 5, 4 } };
	struct vpmu_policy p = { r, 2, true, NULL, NULL };

	(void)state;
	assert_int_equal(vpmu_policy_check(&p), VPMU_ERR_PARAM);
	r[1].last = 5;
	assert_int_equal(vpmu_policy_check(&p), 0);
	p.range_count = VPMU_POLICY_RANGES_MAX + 1;
	assert_int_equal(vpmu_policy_check(&p), VPMU_ERR_PARAM);
	p = (struct vpmu_policy){ NULL, 1, true, NULL, NULL };
	assert_int_equal(vpmu_policy_check(&p), VPMU_ERR_PARAM);
	p.range_count = 0;
	assert_int_equal(vpmu_policy_check(&p), 0);
}

/* What the guest sees: for every event and both kinds of counter, counting equals allowed. */
static bool counts(struct lone_guest *g, unsigned int i, uint32_t event)
{
	struct vpmu_counter_status status;

	if (i != CYCLE)
		guest_write(&g->v, MODEL_PMEVTYPER(i), event);
	assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
	if (i != CYCLE)
		assert_int_equal(guest_read(&g->v, MODEL_PMEVTYPER(i)), event);
	return status.state != VPMU_COUNTER_DENIED;
}

static void guest_counts_what_is_allowed(void **state)
{
	struct rng rng = { 3 };
	struct lone_guest g;

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		draw(&rng);
		lone_guest_init(&g, VPMU_ARM_V3P5, 2, &draft.policy);
		guest_write(&g.v, MODEL_PMCNTENSET, UINT64_MAX);
		guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E);
		for (uint32_t e = 0; e < SPACE; e++) {
			bool exempt = e == MODEL_EVENT_SW_INCR || e == MODEL_EVENT_CHAIN;
			bool allowed = draft.listed[e] == draft.policy.allow_listed;

			assert_int_equal(counts(&g, 1, e), exempt || allowed);
		}
		assert_int_equal(counts(&g, CYCLE, 0),
				 draft.listed[0x11] == draft.policy.allow_listed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matcher_equals_brute_force),
		cmocka_unit_test(open_is_open),
		cmocka_unit_test(malformed),
		cmocka_unit_test(guest_counts_what_is_allowed),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
