/* SPDX-License-Identifier: MIT */
/* Guests that print what they see, and whether two runs of one have seen the same. */
#ifndef VPMU_TESTS_RUNS_H
#define VPMU_TESTS_RUNS_H

#include "../unit/cmocka_vpmu.h"

#include "pc.h"
#include "pmu.h"

#define RUN_OUTPUT 65536u

struct image {
	uint8_t *bytes;
	size_t size;
};

struct run {
	const char *name;
	char output[RUN_OUTPUT];
	size_t length;
	uint64_t instructions;
	struct pc_pmu_stats stats;
};

/* An image of at most 1 MiB; free its bytes. Without the file its size is 0. */
struct image slurp(const char *path);
/* For struct pc_config: its console, with a struct run. */
void run_put(void *context, uint8_t byte);
/* At the end all counters stand still. */
void run_check_counters(struct pc_pmu *pmu);
/*
 * Line by line the same, and as many PMIs. A line that begins with ~ is about cycles: the second run has fewer,
 * by those of instructions that a hypervisor executed for it.
 */
void assert_same_output(const struct run *bare, const struct run *other);
void assert_same(const struct run *bare, const struct run *other);

#endif
