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
	T(nsh_hypercall_cycles, "RULES A4", 0) \
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
/* A monitor without fine-grained traps may take this many entries to notice NSH (decision 0004). */
#define NOTICED 2048u

#define NO_CPI "cycles per instruction are not known"
#define NO_INSTRUCTIONS "INST_RETIRED is not advertised"

static bool leak_expected(void)
{
	return option_lists("expect", "leak", false);
}

static void spin_at_el2(uint64_t iterations, uint64_t unused)
{
	hvc_call(SPIN_AT_EL2, iterations, unused, 0);
}

static bool can_spin(void)
{
	return hvc_call(SPIN_AT_EL2, 0, 0, 0) == 0;
}

static void count_nsh(unsigned n, unsigned event)
{
	start_counter(n, event | FILTER_NSH, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
}

/* The first call may load what a monitor loads lazily, and does not count. */
static void check_spin(struct pmu_result *r, unsigned n)
{
	uint64_t without, with;

	REQUIRE(r, can_spin(), "no debug call that spins at EL2");
	counted_around(n, spin_at_el2, 0, 0);
	without = counted_around(n, spin_at_el2, 0, 0);
	with = counted_around(n, spin_at_el2, SPIN_ITERATIONS, 0);
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
	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	count_nsh(0, EVENT_CPU_CYCLES);
	check_spin(r, 0);
}

void nsh_spin_cycle_counter(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	count_nsh(CYCLE, 0);
	check_spin(r, CYCLE);
}

/* All at once, half of them instructions, and a long stay at EL2 with everything loaded. */
void nsh_spin_every_counter(struct pmu_result *r)
{
	unsigned n, count = counter_count();

	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	for (n = 0; n < count; n++)
		count_nsh(n, n & 1 ? EVENT_INST_RETIRED : EVENT_CPU_CYCLES);
	count_nsh(CYCLE, 0);
	for (n = 0; n < count; n++)
		CHECKED(r, check_spin(r, n));
	check_spin(r, CYCLE);
}

/* The loop counts what its own instructions are worth, `each` per instruction, and no more. */
static void check_loop(struct pmu_result *r, unsigned counter, uint64_t each,
		       void (*loop)(uint64_t n, uint64_t fid))
{
	uint64_t once, twice, want = ROUNDS * LOOP_INSTRUCTIONS * each;

	count_nsh(counter, EVENT_INST_RETIRED);
	counted_around(counter, loop, NOTICED, PSCI_VERSION);
	once = counted_around(counter, loop, ROUNDS, PSCI_VERSION);
	twice = counted_around(counter, loop, 2 * ROUNDS, PSCI_VERSION);
	r->at = counter;
	if (leak_expected())
		CHECK(r, "the leak is seen", twice - once > want + 10 * ROUNDS);
	else
		CHECK_EQ(r, "counted in 1000 entries", twice - once, want);
}

/* On a bare machine SMC goes to the emulated firmware, which takes no time at EL2. */
static void check_hypercalls(struct pmu_result *r, unsigned counter, uint64_t each)
{
	bool smc = psci_is_smc();

	if (!leak_expected() || !smc)
		CHECKED(r, check_loop(r, counter, each, smc ? smc_loop : hvc_loop));
	if (can_spin())
		check_loop(r, counter, each, hvc_loop);
}

/* HVC and SMC count once each; what EL2 does in between is nobody's. */
void nsh_hypercalls(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	check_hypercalls(r, 0, 1);
}

void nsh_hypercall_cycles(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	check_hypercalls(r, CYCLE, pmu_cpi());
}

/* A write that a monitor may trap and emulate counts once, as it does where it does not trap. */
void nsh_traps(struct pmu_result *r)
{
	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	REQUIRE(r, !leak_expected(), "nothing traps on this machine");
	check_loop(r, 0, 1, type_loop);
}
