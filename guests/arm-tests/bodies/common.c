/* SPDX-License-Identifier: MIT */
#include "common.h"

unsigned pmu_version(void)
{
	return (unsigned)(pmu_read(ID_AA64DFR0_EL1) >> 8) & 0xf;
}

/* 0xF is a PMU of another architecture. */
bool pmu_present(void)
{
	unsigned version = pmu_version();

	return version != 0 && version != 0xf;
}

unsigned counter_count(void)
{
	return (unsigned)(pmu_read(PMCR_EL0) >> 11) & 0x1f;
}

uint64_t counter_mask(void)
{
	return (BIT(counter_count()) - 1) | CYCLE_BIT;
}

/* PMCEIDx[31:0] tell of 0x00 to 0x3F. */
bool has_event(unsigned event)
{
	uint64_t bits = pmu_read(event < 0x20 ? PMCEID0_EL0 : PMCEID1_EL0);

	return bits & BIT(event & 0x1f);
}

/* EL2 is counted only with NSH (D13.3, filtering). */
uint64_t here(void)
{
	return pmu_el() == 2 ? FILTER_NSH : 0;
}

/* Every register of the PMU as after a reset, whatever the test before did. */
void pmu_quiet(void)
{
	unsigned n, count = counter_count();

	pmu_write(PMCR_EL0, PMCR_LC);
	pmu_write(PMCNTENCLR_EL0, ~UINT64_C(0));
	pmu_write(PMINTENCLR_EL1, ~UINT64_C(0));
	for (n = 0; n < count; n++) {
		pmu_write(type_reg(n), 0);
		pmu_write(counter_reg(n), 0);
	}
	pmu_write(PMCCFILTR_EL0, 0);
	pmu_write(PMCCNTR_EL0, 0);
	pmu_write(PMSELR_EL0, 0);
	pmu_write(PMUSERENR_EL0, 0);
	pmu_write(PMOVSCLR_EL0, ~UINT64_C(0));
}

/* Type, value and enable of one counter, off first; PMCR.E is left to the caller. */
void start_counter(unsigned n, uint64_t type, uint64_t value)
{
	uint64_t filters = type & (FILTER_P | FILTER_U | FILTER_NSH);

	pmu_write(PMCNTENCLR_EL0, BIT(n));
	pmu_write(filter_reg(n), n == CYCLE ? filters : type);
	pmu_write(value_reg(n), value);
	pmu_write(PMCNTENSET_EL0, BIT(n));
}

void stop_all(void)
{
	pmu_write(PMCR_EL0, pmu_read(PMCR_EL0) & ~PMCR_E);
}

/* What counter n counts for one call, and for what surrounds it: always the same code. */
uint64_t counted_around(unsigned n, void (*fn)(uint64_t a, uint64_t b), uint64_t a, uint64_t b)
{
	uint64_t before = pmu_read(value_reg(n));

	fn(a, b);
	return pmu_read(value_reg(n)) - before;
}

static void run_at(uint64_t el, uint64_t instructions)
{
	pmu_run((unsigned)el, instructions);
}

/* The function behind a pointer that no compiler looks through, nor makes two copies of. */
static uint64_t (*volatile around)(unsigned n, void (*fn)(uint64_t a, uint64_t b), uint64_t a,
				   uint64_t b) = counted_around;

/*
 * What counter n counts for `instructions` more instructions at `el`. The difference of two runs
 * cancels everything that surrounds them, traps included.
 */
uint64_t counted(unsigned n, unsigned el, uint64_t instructions)
{
	uint64_t once = around(n, run_at, el, instructions);

	return around(n, run_at, el, 2 * instructions) - once;
}
