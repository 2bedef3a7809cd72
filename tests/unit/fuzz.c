/* SPDX-License-Identifier: MIT */
/*
 * Rubbish into every entry that guest input reaches, for a bounded time; meant for the build with
 * sanitizers. Nothing may crash, hang, fail otherwise than documented, or leave the state that
 * the model allows (V4, V10). schedules.c has the same with a machine below.
 */
#include <string.h>

#include "support.h"

#define ROUNDS 300000u

static const enum vpmu_arm_version versions[] = {
	VPMU_ARM_V3, VPMU_ARM_V3P1, VPMU_ARM_V3P4, VPMU_ARM_V3P5,
};

/* Any 32 bits, any EL a byte can hold. */
static void any_encoding(void **state)
{
	struct rng rng = { 1 };
	struct lone_guest g;

	(void)state;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct vpmu_arm_access access = { .reg = (uint32_t)rng_next(&rng),
						  .el = 1,
						  .write = rng_one_in(&rng, 2),
						  .value = rng_value(&rng) };
		int outcome;

		if (i % 1000 == 0)
			lone_guest_init(&g, versions[i / 1000 % 4],
					(unsigned int)rng_below(&rng, 32), NULL);
		if (rng_one_in(&rng, 4))
			access.reg = rng_register(&rng) | (uint32_t)BIT(rng_below(&rng, 32));
		access.el = (uint8_t)rng_below(&rng, 2);
		outcome = vpmu_arm_access(&g.v, &access);
		assert_in_range(outcome, VPMU_NOT_MINE, VPMU_FAULT_EL1_TRAP);
	}
}

/* Whatever a guest does, its state is one that set_state() accepts. */
static void state_stays_valid(void **state)
{
	struct rng rng = { 2 };
	struct lone_guest g;
	struct vpmu_state s;

	(void)state;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct vpmu_arm_access access = { .reg = rng_register(&rng),
						  .el = 1,
						  .write = !rng_one_in(&rng, 4),
						  .value = rng_value(&rng) };

		if (i % 1000 == 0)
			lone_guest_init(&g, versions[i / 1000 % 4],
					(unsigned int)rng_below(&rng, 32), NULL);
		(void)vpmu_arm_access(&g.v, &access);
		if (i % 100 != 99)
			continue;
		assert_int_equal(vpmu_vcpu_get_state(&g.v, &s), 0);
		assert_int_equal(vpmu_vcpu_set_state(&g.v, &s), 0);
	}
}

/* A saved state from an untrusted place: accepted or refused whole, and then harmless. */
static void any_saved_state(void **state)
{
	struct vpmu_state s, after;
	struct rng rng = { 3 };
	struct lone_guest g;
	unsigned int accepted = 0;

	(void)state;
	lone_guest_init(&g, VPMU_ARM_V3P5, 6, NULL);
	for (unsigned int i = 0; i < ROUNDS / 10; i++) {
		uint64_t *words = (uint64_t *)(void *)&s;
		size_t count = sizeof(s) / sizeof(*words);

		assert_int_equal(vpmu_vcpu_get_state(&g.v, &s), 0);
		words[rng_below(&rng, count)] = rng_value(&rng);
		words[rng_below(&rng, count)] = rng_value(&rng);
		if (vpmu_vcpu_set_state(&g.v, &s) == 0) {
			accepted++;
			assert_int_equal(vpmu_vcpu_get_state(&g.v, &after), 0);
			assert_memory_equal(&s, &after, sizeof(s));
		}
		(void)vpmu_vcpu_interrupt(&g.v);
		guest_write(&g.v, MODEL_PMSWINC, UINT64_MAX);
		assert_int_equal(vpmu_count(&g.v, VPMU_EVENT_INSTRUCTIONS, true, rng_value(&rng)),
				 0);
	}
	assert_in_range(accepted, 100, ROUNDS);
}

static void any_policy(void **state)
{
	struct vpmu_event_range ranges[4];
	struct rng rng = { 4 };

	(void)state;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct vpmu_policy p = { ranges, (uint32_t)rng_below(&rng, 5),
					 rng_one_in(&rng, 2), NULL, NULL };

		for (unsigned int k = 0; k < 4; k++)
			ranges[k] = (struct vpmu_event_range){ (uint32_t)rng_value(&rng),
							       (uint32_t)rng_value(&rng) };
		if (rng_one_in(&rng, 16))
			p.range_count = (uint32_t)rng_next(&rng) | 0x80000000u;
		if (vpmu_policy_check(&p) == 0)
			(void)vpmu_policy_allows(&p, (uint32_t)rng_value(&rng));
		(void)vpmu_policy_is_open(&p);
	}
}

static void any_capabilities(void **state)
{
	struct vpmu_vm_config config = { .size = sizeof(config) };
	struct rng rng = { 5 };

	(void)state;
	for (unsigned int i = 0; i < ROUNDS / 10; i++) {
		struct vpmu_hw_caps caps = { .counters = rng_value(&rng),
					     .selectable = rng_value(&rng),
					     .version = (uint8_t)rng_value(&rng),
					     .identity = { rng_next(&rng), rng_next(&rng),
							   rng_value(&rng), rng_value(&rng) } };
		struct vpmu_machine machine;
		struct vpmu_arm_model model;
		struct vpmu_vcpu v;
		struct vpmu_vm vm;
		uint64_t value;

		vpmu_machine_init(&machine);
		vpmu_machine_add(&machine, &caps);
		if (vpmu_arm_model_of(&machine, &model) ||
		    vpmu_arm_vm_init(&vm, &machine, &model, &config))
			continue;
		vpmu_vcpu_init(&v, &vm);
		(void)try_read(&v, 1, rng_register(&rng), &value);
		(void)try_write(&v, 1, rng_register(&rng), rng_value(&rng));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_encoding),
		cmocka_unit_test(state_stays_valid),
		cmocka_unit_test(any_saved_state),
		cmocka_unit_test(any_policy),
		cmocka_unit_test(any_capabilities),
	};

	return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}
