/* SPDX-License-Identifier: MIT */
/*
 * What an exit and an enter cost with counters=K counters counting (0: the PMU is never touched).
 * Goes to EL2 rounds=N times by HVC, or by a trapped register read with "emulated", and prints the
 * ticks that took; under -icount they are instructions. bench/switch/run.sh reads the line.
 */
#include "bodies/common.h"
#include "image/cpu.h"
#include "image/run.h"

void switch_cost(struct pmu_result *r);
void hvc_loop(uint64_t n, uint64_t fid);
void id_loop(uint64_t n, uint64_t fid);

static const struct pmu_test tests[] = {
	{ "switch_cost", "bench/switch", 0, switch_cost },
};
static const size_t test_count = sizeof(tests) / sizeof(tests[0]);

const char image_name[] = "switch-bench";
const unsigned image_level = 1;
const struct suite image_suites[] = { { tests, &test_count }, { NULL, NULL } };

/* The first rounds load what the monitor loads lazily. */
#define WARM_UP 16u

static void put_value(const char *name, uint64_t value)
{
	put_string(name);
	put_decimal(value);
}

static void start_counters(uint64_t count)
{
	for (unsigned n = 0; n < count; n++)
		start_counter(n, EVENT_INST_RETIRED, 0);
	if (count)
		pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
}

void switch_cost(struct pmu_result *r)
{
	void (*loop)(uint64_t n, uint64_t fid) = option("emulated") ? id_loop : hvc_loop;
	uint64_t counters = option_number("counters", 0);
	uint64_t rounds = option_number("rounds", 1000);
	uint64_t ticks;

	REQUIRE(r, counters <= counter_count(), "not that many counters");
	start_counters(counters);
	loop(WARM_UP, PSCI_VERSION);
	ticks = sysreg_read("cntvct_el0");
	loop(rounds, PSCI_VERSION);
	ticks = sysreg_read("cntvct_el0") - ticks;
	put_value("switch-bench: counters=", counters);
	put_value(" rounds=", rounds);
	put_value(" ticks=", ticks);
	put_value(" hz=", sysreg_read("cntfrq_el0"));
	put_string("\n");
}
