/* SPDX-License-Identifier: MIT */
/*
 * vpmu_arm_access() on a vCPU that is loaded nowhere, against the software PMU as seen from EL1:
 * two implementations of one manual. After every step both have the same registers, whatever was
 * written.
 *
 * Documented difference (docs/decisions/0002): a counter that does not exist is UNDEF here; where
 * EL0 is also denied, the model looks at the number first and core at PMUSERENR. Both are faults
 * to EL1.
 */
#include "support.h"

#define STEPS 2000u

struct pair {
	struct lone_guest g;
	struct model_pmu bare;
};

static void pair_init(struct pair *p, enum vpmu_arm_version version, unsigned int n)
{
	struct model_config config = { .version = version, .counters = n, .id = 0x4100, .mmir = 8,
				       .no_el2 = true };

	lone_guest_init(&p->g, version, n, NULL);
	config.ceid[0] = p->g.model.ceid[0];
	config.ceid[1] = p->g.model.ceid[1];
	model_pmu_reset(&p->bare, &config, 0);
}

static int outcome_of(enum model_result result)
{
	switch (result) {
	case MODEL_EXECUTED:
		return VPMU_HANDLED;
	case MODEL_UNDEF:
		return VPMU_FAULT_UNDEF;
	case MODEL_TRAP_EL1:
	case MODEL_TRAP_EL2:
		break;
	}
	return VPMU_FAULT_EL1_TRAP;
}

static void access_both(struct pair *p, struct rng *rng)
{
	struct vpmu_arm_access access = { .reg = rng_register(rng), .el = !rng_one_in(rng, 3),
					  .write = rng_one_in(rng, 2), .value = rng_value(rng) };
	uint64_t value = access.value;
	int bare = outcome_of(
		model_guest_access(&p->bare, access.el, access.reg, access.write, &value));
	int outcome = vpmu_arm_access(&p->g.v, &access);

	if (outcome == VPMU_NOT_MINE)
		outcome = VPMU_FAULT_UNDEF;
	if (access.el == 0 && bare == VPMU_FAULT_UNDEF && outcome == VPMU_FAULT_EL1_TRAP)
		outcome = bare;
	if (outcome != bare || value != access.value)
		fail_msg("reg %#x el %u write %d: outcome %d, bare %d; value %#llx, bare %#llx",
			 access.reg, access.el, access.write, outcome, bare,
			 (unsigned long long)access.value, (unsigned long long)value);
}

static void instructions_both(struct pair *p, struct rng *rng)
{
	bool user = rng_one_in(rng, 2);
	uint64_t n = rng_one_in(rng, 16) ? rng_value(rng) : rng_below(rng, 100);
	struct model_events events = { .instructions = n };

	model_retire(&p->bare, user ? 0 : 1, &events);
	assert_int_equal(vpmu_count(&p->g.v, VPMU_EVENT_INSTRUCTIONS, user, n), 0);
}

static void same(const char *what, unsigned int i, uint64_t value, uint64_t bare, uint64_t seed)
{
	if (value != bare)
		fail_msg("seed %llu: %s %u is %#llx, bare %#llx", (unsigned long long)seed, what, i,
			 (unsigned long long)value, (unsigned long long)bare);
}

static void compare(struct pair *p, uint64_t seed)
{
	const struct model_pmu *bare = &p->bare;
	struct vpmu_state s;

	assert_int_equal(vpmu_vcpu_get_state(&p->g.v, &s), 0);
	for (unsigned int i = 0; i < bare->config.counters; i++) {
		same("value", i, s.value[i], bare->pmevcntr[i], seed);
		same("selector", i, s.selector[i], bare->pmevtyper[i], seed);
	}
	same("value", CYCLE, s.value[CYCLE], bare->pmccntr, seed);
	same("selector", CYCLE, s.selector[CYCLE], bare->pmccfiltr, seed);
	same("PMCNTEN", 0, s.enabled, bare->pmcnten, seed);
	same("PMINTEN", 0, s.interrupts, bare->pminten, seed);
	same("PMOVS", 0, s.status, bare->pmovs, seed);
	same("PMUSERENR", 0, s.user, bare->pmuserenr, seed);
	same("PMSELR", 0, s.pointer, bare->pmselr, seed);
	same("PMCR", 0, s.global & ~(uint64_t)MODEL_PMCR_LC, bare->pmcr, seed);
	same("interrupt", 0, (uint64_t)vpmu_vcpu_interrupt(&p->g.v), model_interrupt(bare), seed);
}

/* Most selectors would be rubbish: makes counters that instructions and increments reach. */
static void program(struct pair *p, struct rng *rng)
{
	static const uint64_t events[] = { MODEL_EVENT_SW_INCR, MODEL_EVENT_INST_RETIRED,
					   MODEL_EVENT_CHAIN };
	unsigned int n = (unsigned int)rng_below(rng, 31);
	uint64_t value = events[rng_below(rng, ARRAY_SIZE(events))];

	if (n >= p->bare.config.counters)
		return;
	if (rng_one_in(rng, 4))
		value |= rng_value(rng) & (MODEL_FILTER_P | MODEL_FILTER_U);
	guest_write(&p->g.v, MODEL_PMEVTYPER(n), value);
	(void)model_guest_access(&p->bare, 1, MODEL_PMEVTYPER(n), true, &value);
}

static void agree(enum vpmu_arm_version version, unsigned int n, uint64_t seed)
{
	struct rng rng = { seed };
	struct pair p;

	pair_init(&p, version, n);
	compare(&p, seed);
	for (unsigned int step = 0; step < STEPS; step++) {
		switch (rng_below(&rng, 8)) {
		case 0:
			instructions_both(&p, &rng);
			break;
		case 1:
			program(&p, &rng);
			break;
		default:
			access_both(&p, &rng);
		}
		compare(&p, seed);
	}
}

static void agree_for_every_number_of_counters(enum vpmu_arm_version version)
{
	for (unsigned int n = 0; n < 32; n++) {
		for (uint64_t seed = 1; seed <= 4; seed++)
			agree(version, n, seed + 100 * n + 10000 * version);
	}
}

static void pmuv3(void **state)
{
	(void)state;
	agree_for_every_number_of_counters(VPMU_ARM_V3);
}

static void pmuv3p1(void **state)
{
	(void)state;
	agree_for_every_number_of_counters(VPMU_ARM_V3P1);
}

static void pmuv3p4(void **state)
{
	(void)state;
	agree_for_every_number_of_counters(VPMU_ARM_V3P4);
}

static void pmuv3p5(void **state)
{
	(void)state;
	agree_for_every_number_of_counters(VPMU_ARM_V3P5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pmuv3),
		cmocka_unit_test(pmuv3p1),
		cmocka_unit_test(pmuv3p4),
		cmocka_unit_test(pmuv3p5),
	};

	return cmocka_run_group_tests_name("differential", tests, NULL, NULL);
}
