/* SPDX-License-Identifier: MIT */
/*
 * A test is a function that fills in a result. It returns at its first failed check. The runner
 * calls pmu_quiet() before each one, so no test depends on the order.
 */
#ifndef VPMU_ARM_TESTS_TEST_H
#define VPMU_ARM_TESTS_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pmu_verdict { PMU_PASS, PMU_FAIL, PMU_SKIP };

struct pmu_result {
	enum pmu_verdict verdict;
	bool has_values;	/* got, want and at say more than `what` */
	const char *what;	/* what failed, or why it was skipped */
	const char *deviation;	/* name of an accepted deviation, or NULL */
	uint64_t got, want;
	uint64_t at;		/* counter, row or value that a loop had reached */
};

struct pmu_test {
	const char *name;
	const char *source;	/* museum id or section of the manual */
	unsigned flags;
	void (*body)(struct pmu_result *r);
};

#define PMU_EL2_TOO 0x1u	/* also meaningful on a bare machine's EL2 */
#define PMU_ABSENT 0x2u		/* only where there is no PMU; the others need one */
#define PMU_SMP 0x4u		/* needs a second CPU */
#define PMU_AS_FOUND 0x8u	/* starts from the PMU as it is, not made quiet */
#define PMU_BY_NAME 0x10u	/* runs only if test= says so */

bool pmu_equal(struct pmu_result *r, const char *what, uint64_t got, uint64_t want);
bool pmu_excused(struct pmu_result *r, unsigned deviation);
void pmu_skip(struct pmu_result *r, const char *why);

#define CHECK_EQ(r, what, got, want) \
	do { \
		if (!pmu_equal(r, what, got, want)) \
			return; \
	} while (0)

/* As CHECK_EQ, but a difference that the runner expects is passed over, and named in the result. */
#define CHECK_EQ_OR(r, deviation, what, got, want) \
	do { \
		if (!pmu_equal(r, what, got, want) && !pmu_excused(r, deviation)) \
			return; \
	} while (0)

#define CHECK(r, what, condition) CHECK_EQ(r, what, (condition) ? 1 : 0, 1)

#define REQUIRE(r, condition, why) \
	do { \
		if (!(condition)) { \
			pmu_skip(r, why); \
			return; \
		} \
	} while (0)

/* A helper that checks: the caller ends when it failed. */
#define CHECKED(r, call) \
	do { \
		call; \
		if ((r)->verdict != PMU_PASS) \
			return; \
	} while (0)

#endif
