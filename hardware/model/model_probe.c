/* SPDX-License-Identifier: MIT */
/* The probe of hardware/armv8/hpmn.h on a software PMU: the monitor's is hosts/el2/partition.c. */
#include "model_hw.h"

#include "../armv8/hpmn.h"

#define BIT(n) ((uint64_t)1 << (n))
#define WITNESS 1u

static const uint32_t set_of[VPMU_ARMV8_MASKS] = { MODEL_PMCNTENSET, MODEL_PMINTENSET, MODEL_PMOVSSET };
static const uint32_t clear_of[VPMU_ARMV8_MASKS] = { MODEL_PMCNTENCLR, MODEL_PMINTENCLR, MODEL_PMOVSCLR };

static void el2_write(struct model_pmu *pmu, uint32_t reg, uint64_t value)
{
	(void)model_el2_access(pmu, reg, true, &value);
}

static uint64_t el2_read(struct model_pmu *pmu, uint32_t reg)
{
	uint64_t value = 0;

	(void)model_el2_access(pmu, reg, false, &value);
	return value;
}

static uint64_t el1_read(struct model_pmu *pmu, uint32_t reg)
{
	uint64_t value = 0;

	(void)model_guest_access(pmu, 1, reg, false, &value);
	return value;
}

static void el1_write(struct model_pmu *pmu, uint32_t reg, uint64_t value)
{
	(void)model_guest_access(pmu, 1, reg, true, &value);
}

static void open_to_el1(struct model_pmu *pmu, uint64_t mdcr)
{
	el2_write(pmu, MODEL_HDFGRTR_EL2, 0);
	el2_write(pmu, MODEL_HDFGWTR_EL2, 0);
	el2_write(pmu, MODEL_MDCR_EL2, mdcr);
	el2_write(pmu, MODEL_PMCR, 0);
}

static void set_masks(struct model_pmu *pmu, uint64_t pattern)
{
	for (unsigned int i = 0; i < VPMU_ARMV8_MASKS; i++) {
		el2_write(pmu, clear_of[i], ~(uint64_t)0);
		el2_write(pmu, set_of[i], pattern);
	}
}

static uint32_t tries(struct model_pmu *pmu)
{
	const uint32_t regs[] = { MODEL_PMEVCNTR(WITNESS), MODEL_PMEVTYPER(WITNESS), MODEL_PMXEVCNTR,
				  MODEL_PMXEVTYPER };
	uint32_t trapped = 0;

	el1_write(pmu, MODEL_PMSELR, WITNESS);
	for (unsigned int i = 0; i < VPMU_ARMV8_TRIES; i++) {
		uint64_t value = 0x3F;

		trapped += model_guest_access(pmu, 1, regs[i / 2], i % 2, &value) == MODEL_TRAP_EL2;
	}
	return trapped;
}

static const char *run(struct model_pmu pmu, unsigned int hpmn, uint64_t pattern)
{
	struct vpmu_armv8_seen seen = { .counters = pmu.config.counters, .hpmn = hpmn,
					.pattern = pattern };

	open_to_el1(&pmu, hpmn | MODEL_MDCR_HPME);
	set_masks(&pmu, pattern);
	el2_write(&pmu, MODEL_PMEVTYPER(WITNESS), VPMU_ARMV8_SELECTOR);
	el2_write(&pmu, MODEL_PMEVCNTR(WITNESS), VPMU_ARMV8_VALUE);
	seen.pmcr = el1_read(&pmu, MODEL_PMCR);
	for (unsigned int i = 0; i < VPMU_ARMV8_MASKS; i++) {
		el1_write(&pmu, set_of[i], ~(uint64_t)0);
		seen.set[i] = el1_read(&pmu, set_of[i]);
		el1_write(&pmu, clear_of[i], ~(uint64_t)0);
		seen.cleared[i] = el1_read(&pmu, clear_of[i]);
	}
	el1_write(&pmu, MODEL_PMSWINC, ~(uint64_t)0);
	el1_write(&pmu, MODEL_PMCR, MODEL_PMCR_P | MODEL_PMCR_C);
	seen.trapped = tries(&pmu);
	for (unsigned int i = 0; i < VPMU_ARMV8_MASKS; i++)
		seen.left[i] = el2_read(&pmu, set_of[i]);
	seen.value = el2_read(&pmu, MODEL_PMEVCNTR(WITNESS));
	seen.selector = el2_read(&pmu, MODEL_PMEVTYPER(WITNESS));
	return vpmu_armv8_judge_el1(&seen);
}

/* Does the witness count at EL2, and is its interrupt there, with these enables? */
static void look(struct model_pmu pmu, uint64_t mdcr, uint64_t pmcr, bool *counts, bool *line)
{
	const struct model_events cycles = { .cycles = 100 };

	open_to_el1(&pmu, 1 | MODEL_MDCR_HPMD | mdcr);
	set_masks(&pmu, BIT(WITNESS));
	el2_write(&pmu, MODEL_PMEVTYPER(WITNESS), MODEL_FILTER_NSH | MODEL_EVENT_CPU_CYCLES);
	el2_write(&pmu, MODEL_PMEVCNTR(WITNESS), 0);
	el2_write(&pmu, MODEL_PMCR, pmcr);
	model_retire(&pmu, 2, &cycles);
	*counts = el2_read(&pmu, MODEL_PMEVCNTR(WITNESS));
	*line = model_interrupt(&pmu);
}

static const char *range2(const struct model_pmu *pmu)
{
	struct vpmu_armv8_range2 seen;

	look(*pmu, MODEL_MDCR_HPME, 0, &seen.counts_by_hpme, &seen.line_by_hpme);
	look(*pmu, 0, MODEL_PMCR_E, &seen.counts_by_e, &seen.line_by_e);
	return vpmu_armv8_judge_range2(&seen);
}

/* Both ways round: a mask register that can be set or cleared only shows in one of them. */
static const char *with(const struct model_pmu *pmu, unsigned int hpmn)
{
	uint64_t counters = BIT(pmu->config.counters) - 1;
	const char *fault = run(*pmu, hpmn, counters & 0xAAAAAAAA);

	return fault ? fault : run(*pmu, hpmn, counters & 0x55555555);
}

const char *model_probe(const struct model_pmu *pmu, unsigned int *least)
{
	const char *fault;

	if (!pmu->config.fgt)
		return "no fine-grained traps";
	if (pmu->config.counters < 2)
		return "no counter to share";
	fault = with(pmu, 1);
	if (!fault)
		fault = range2(pmu);
	*least = pmu->config.hpmn0 && !with(pmu, 0) ? 0 : 1;
	return fault;
}
