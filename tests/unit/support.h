/* SPDX-License-Identifier: MIT */
/* What several unit tests need: random numbers, guests, and trapped accesses in one line. */
#ifndef VPMU_TESTS_SUPPORT_H
#define VPMU_TESTS_SUPPORT_H

#include "cmocka_vpmu.h"
#include "model_hw.h"

#include <vpmu/arm.h>

#define CYCLE VPMU_ARM_CYCLE
#define CYCLE_BIT BIT(CYCLE)

/* ---- Random numbers: xorshift64*, so that a seed in a message repeats the run ---- */

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n);
bool rng_one_in(struct rng *rng, uint64_t n);
/* Values that break things: 0, ones, single bits, just below a wrap, and plain rubbish. */
uint64_t rng_value(struct rng *rng);
/* An encoding of a PMU register, now and then of one that does not exist. */
uint32_t rng_register(struct rng *rng);

/* ---- A guest that is loaded nowhere ---- */

struct lone_guest {
	struct vpmu_machine machine;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
};

/* Every common event, counters n, PMMIR.SLOTS 8. */
struct vpmu_arm_model full_model(enum vpmu_arm_version version, unsigned int n);

void lone_guest_init(struct lone_guest *g, enum vpmu_arm_version version, unsigned int n,
		     const struct vpmu_policy *policy);

/* One access of (v) at EL (el); returns vpmu_arm_access()'s answer. */
int try_read(struct vpmu_vcpu *v, unsigned int el, uint32_t reg, uint64_t *value);
int try_write(struct vpmu_vcpu *v, unsigned int el, uint32_t reg, uint64_t value);
/* The same at EL1, where it must be handled. */
uint64_t guest_read(struct vpmu_vcpu *v, uint32_t reg);
void guest_write(struct vpmu_vcpu *v, uint32_t reg, uint64_t value);

#endif
