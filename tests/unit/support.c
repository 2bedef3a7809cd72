/* SPDX-License-Identifier: MIT */
#include "support.h"

uint64_t rng_next(struct rng *rng)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return rng->state * 0x2545F4914F6CDD1Du;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return (rng_next(rng) >> 16) % n;
}

bool rng_one_in(struct rng *rng, uint64_t n)
{
	return rng_below(rng, n) == 0;
}

uint64_t rng_value(struct rng *rng)
{
	uint64_t value = rng_next(rng);

	switch (rng_below(rng, 8)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return BIT(value & 63);
	case 3:
		return UINT32_MAX - (value & 15);
	case 4:
		return UINT64_MAX - (value & 15);
	case 5:
		return value & 0xFF;
	case 6:
		return value & UINT32_MAX;
	default:
		return value;
	}
}

uint32_t rng_register(struct rng *rng)
{
	static const uint32_t singles[] = {
		MODEL_PMCR,	 MODEL_PMCNTENSET, MODEL_PMCNTENCLR, MODEL_PMOVSCLR,
		MODEL_PMSWINC,	 MODEL_PMSELR,	   MODEL_PMCEID0,    MODEL_PMCEID1,
		MODEL_PMCCNTR,	 MODEL_PMXEVTYPER, MODEL_PMXEVCNTR,  MODEL_PMUSERENR,
		MODEL_PMOVSSET,	 MODEL_PMINTENSET, MODEL_PMINTENCLR, MODEL_PMMIR,
		MODEL_PMCCFILTR,
	};
	unsigned int n = (unsigned int)rng_below(rng, rng_one_in(rng, 8) ? 32 : 8);

	switch (rng_below(rng, 4)) {
	case 0:
		return MODEL_PMEVCNTR(n);
	case 1:
		return MODEL_PMEVTYPER(n);
	default:
		return singles[rng_below(rng, ARRAY_SIZE(singles))];
	}
}

struct vpmu_arm_model full_model(enum vpmu_arm_version version, unsigned int n)
{
	uint64_t all = version >= VPMU_ARM_V3P1 ? UINT64_MAX : UINT32_MAX;

	return (struct vpmu_arm_model){
		.size = sizeof(struct vpmu_arm_model), .version = version, .counters = n,
		.id = 0x4100, .ceid = { all, all }, .mmir = 8,
	};
}

void lone_guest_init(struct lone_guest *g, enum vpmu_arm_version version, unsigned int n,
		     const struct vpmu_policy *policy)
{
	struct vpmu_hw_caps caps = { .counters = UINT32_MAX, .selectable = UINT32_MAX,
				     .version = VPMU_ARM_V3P5 };
	struct vpmu_vm_config config = { .size = sizeof(config), .policy = policy };

	vpmu_machine_init(&g->machine);
	vpmu_machine_add(&g->machine, &caps);
	g->model = full_model(version, n);
	assert_int_equal(vpmu_arm_vm_init(&g->vm, &g->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
}

int try_read(struct vpmu_vcpu *v, unsigned int el, uint32_t reg, uint64_t *value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = (uint8_t)el };
	int outcome = vpmu_arm_access(v, &access);

	*value = access.value;
	return outcome;
}

int try_write(struct vpmu_vcpu *v, unsigned int el, uint32_t reg, uint64_t value)
{
	struct vpmu_arm_access access = {
		.reg = reg, .el = (uint8_t)el, .write = true, .value = value
	};

	return vpmu_arm_access(v, &access);
}

uint64_t guest_read(struct vpmu_vcpu *v, uint32_t reg)
{
	uint64_t value;

	assert_int_equal(try_read(v, 1, reg, &value), VPMU_HANDLED);
	return value;
}

void guest_write(struct vpmu_vcpu *v, uint32_t reg, uint64_t value)
{
	assert_int_equal(try_write(v, 1, reg, value), VPMU_HANDLED);
}
