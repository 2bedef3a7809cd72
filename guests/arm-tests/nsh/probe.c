/* SPDX-License-Identifier: MIT */
/*
 * Is any instruction of EL2 counted (RULES A4)? The probe asks for it: PMEVTYPERn.NSH and
 * PMCCFILTR.NSH are set everywhere. Then it enters EL2 often, or lets EL2 spin, and compares.
 *
 * With "expect=leak" the probe runs on a bare machine whose EL2 does count: it must see that, so
 * that a pass elsewhere means something.
 */
#include "bodies/common.h"
#include "image/cpu.h"
#include "image/run.h"
#include "loops.h"

#define PROBE_TESTS(T) \
	T(nsh_spin_instructions, "RULES A4", 0) \
	T(nsh_spin_cycles, "RULES A4", 0) \
	T(nsh_spin_cycle_counter, "RULES A4", 0) \
	T(nsh_spin_every_counter, "RULES A4", 0) \
	T(nsh_hypercalls, "RULES A4", 0) \
	T(nsh_traps, "RULES A7", 0)

#define PROBE_DECLARE(name, source, flags) void name(struct pmu_result *r);
PROBE_TESTS(PROBE_DECLARE)
#undef PROBE_DECLARE

#define PROBE_ENTRY(name, source, flags) { #name, source, flags, name },
static const struct pmu_test tests[] = { PROBE_TESTS(PROBE_ENTRY) };
#undef PROBE_ENTRY

static const size_t test_count = sizeof(tests) / sizeof(tests[0]);

const char image_name[] = "nsh-probe";
const unsigned image_level = 1;
const struct suite image_suites[] = { { tests, &test_count }, { NULL, NULL } };

#define SPIN_ITERATIONS 10000u	/* at EL2, at least one instruction each */
#define ROUNDS 1000u

#define NO_INSTRUCTIONS "INST_RETIRED is not advertised"

static bool leak_expected(void)
{
	return option_lists("expect", "leak", false);
}

static bool spin_at_el2(uint64_t iterations)
{
	return hvc_call(SPIN_AT_EL2, iterations, 0, 0) == 0;
}

/* What counter n counts around one call that spins at EL2. */
static uint64_t around_spin(unsigned n, uint64_t iterations)
{
	uint64_t before = pmu_read(value_reg(n));

	spin_at_el2(iterations);
	return pmu_read(value_reg(n)) - before;
}

static void count_nsh(unsigned n, unsigned event)
{
	start_counter(n, event | FILTER_NSH, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
}

/* The first call warms nothing up here, but may load what the monitor loads lazily. */
static void check_spin(struct pmu_result *r, unsigned n)
{
	uint64_t without, with;

	REQUIRE(r, spin_at_el2(0), "no debug call that spins at EL2");
	around_spin(n, 0);
	without = around_spin(n, 0);
	with = around_spin(n, SPIN_ITERATIONS);
	r->at = n;
	if (leak_expected())
		CHECK(r, "the leak is seen", with >= without + SPIN_ITERATIONS);
	else
		CHECK_EQ(r, "counted with EL2 spinning, against without", with, without);
}

void nsh_spin_instructions(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	count_nsh(0, EVENT_INST_RETIRED);
	check_spin(r, 0);
}

void nsh_spin_cycles(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, "cycles per instruction are not known");
	count_nsh(0, EVENT_CPU_CYCLES);
	check_spin(r, 0);
}

void nsh_spin_cycle_counter(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, "cycles per instruction are not known");
	count_nsh(CYCLE, 0);
	check_spin(r, CYCLE);
}

/* All at once, half of them instructions, and a long stay at EL2 with everything loaded. */
void nsh_spin_every_counter(struct pmu_result *r)
{
	unsigned n, count = counter_count();

	REQUIRE(r, pmu_cpi() != 0, "cycles per instruction are not known");
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	for (n = 0; n < count; n++)
		count_nsh(n, n & 1 ? EVENT_INST_RETIRED : EVENT_CPU_CYCLES);
	count_nsh(CYCLE, 0);
	for (n = 0; n < count; n++)
		CHECKED(r, check_spin(r, n));
	check_spin(r, CYCLE);
}

static uint64_t around_loop(void (*loop)(uint64_t n, uint64_t fid), uint64_t n)
{
	uint64_t before = pmu_read(PMEVCNTR0_EL0);

	loop(n, PSCI_VERSION);
	return pmu_read(PMEVCNTR0_EL0) - before;
}

static void check_loop(struct pmu_result *r, void (*loop)(uint64_t n, uint64_t fid))
{
	uint64_t once, twice;

	count_nsh(0, EVENT_INST_RETIRED);
	once = around_loop(loop, ROUNDS);
	twice = around_loop(loop, 2 * ROUNDS);
	if (leak_expected())
		CHECK(r, "the leak is seen", twice - once > ROUNDS * (LOOP_INSTRUCTIONS + 10));
	else
		CHECK_EQ(r, "instructions of 1000 entries", twice - once,
			 ROUNDS * LOOP_INSTRUCTIONS);
}

/* HVC and SMC retire once each; what EL2 does in between is nobody's. */
void nsh_hypercalls(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	if (!leak_expected() || !psci_is_smc())
		CHECKED(r, check_loop(r, psci_is_smc() ? smc_loop : hvc_loop));
	if (spin_at_el2(0))
		check_loop(r, hvc_loop);
}

/* A write that a monitor may trap and emulate counts once, as it does where it does not trap. */
void nsh_traps(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	REQUIRE(r, !leak_expected(), "nothing traps on this machine");
	check_loop(r, type_loop);
}
