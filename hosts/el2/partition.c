/* SPDX-License-Identifier: MIT */
/* partition.c - the probe of HPMN: what EL1 does is in partition.S, what it means in hardware/armv8/hpmn.c. */
#include <hpmn.h>

#include "gic.h"
#include "monitor.h"
#include "partition.h"

#define WITNESS UINT64_C(2)          /* counter 1 */
#define EVENT_CPU_CYCLES 0x11u
#define EVTYPER_NSH BIT(27)
#define MDCR_HPME BIT(7)
#define MDCR_HPMD BIT(17)
#define PMCR_E 1u
/* An interrupt takes a moment from the PMU to the GIC. */
#define LINE_LOOKS 1000u

uint64_t partition_run(uint64_t values[PARTITION_VALUES]);

static void set_masks(uint64_t pattern)
{
	write_sysreg(pmcntenclr_el0, 0xFFFFFFFF);
	write_sysreg(pmintenclr_el1, 0xFFFFFFFF);
	write_sysreg(pmovsclr_el0, 0xFFFFFFFF);
	isb();
	write_sysreg(pmcntenset_el0, pattern);
	write_sysreg(pmovsset_el0, pattern);
	write_sysreg(pmintenset_el1, pattern);
	isb();
}

static void set_witness(uint64_t selector, uint64_t value)
{
	write_sysreg(pmevtyper1_el0, selector);
	write_sysreg(pmevcntr1_el0, value);
	isb();
}

/* ---- EL1 ---- */

static const char *try_at_el1(uint32_t counters, uint32_t hpmn, uint64_t pattern)
{
	struct vpmu_armv8_seen seen = { .counters = counters, .hpmn = hpmn, .pattern = pattern };
	uint64_t values[PARTITION_VALUES];

	write_sysreg(pmcr_el0, 0);
	write_sysreg(mdcr_el2, MDCR_BASE | MDCR_HPME | hpmn);
	set_witness(VPMU_ARMV8_SELECTOR, VPMU_ARMV8_VALUE);
	set_masks(pattern);
	seen.trapped = (uint32_t)partition_run(values);
	seen.pmcr = values[0];
	for (unsigned int i = 0; i < VPMU_ARMV8_MASKS; i++) {
		seen.set[i] = values[1 + 2 * i];
		seen.cleared[i] = values[2 + 2 * i];
	}
	seen.left[VPMU_ARMV8_ENABLES] = read_sysreg(pmcntenset_el0);
	seen.left[VPMU_ARMV8_INTERRUPTS] = read_sysreg(pmintenset_el1);
	seen.left[VPMU_ARMV8_STATUS] = read_sysreg(pmovsset_el0);
	seen.value = read_sysreg(pmevcntr1_el0);
	seen.selector = read_sysreg(pmevtyper1_el0);
	return vpmu_armv8_judge_el1(&seen);
}

/* Both ways round: a mask register that can be set or cleared only shows in one of them. */
static const char *el1_is_kept_out(uint32_t counters, uint32_t hpmn)
{
	uint64_t all = BIT(counters) - 1;
	const char *fault = try_at_el1(counters, hpmn, all & 0xAAAAAAAA);

	return fault ? fault : try_at_el1(counters, hpmn, all & 0x55555555);
}

/* ---- Range 2 at EL2 ---- */

static bool line(struct cpu *c)
{
	bool pending = false;

	for (unsigned int i = 0; i < LINE_LOOKS && !pending; i++)
		pending = gic_read(gic_bank(c, 0), GIC_ISPENDR) & 1u << PPI_PMU;
	return pending;
}

static void try_range2(struct cpu *c, uint64_t mdcr, uint64_t pmcr, bool *counts, bool *interrupt)
{
	write_sysreg(pmcr_el0, 0);
	write_sysreg(mdcr_el2, MDCR_BASE | MDCR_HPMD | 1 | mdcr);
	set_masks(0);
	set_witness(EVTYPER_NSH | EVENT_CPU_CYCLES, 0);
	write_sysreg(pmcr_el0, pmcr);
	isb();
	/* Last, because QEMU looks at its line here and not when PMCR is written. */
	set_masks(WITNESS);
	*interrupt = line(c);
	*counts = read_sysreg(pmevcntr1_el0);
}

static const char *range2_is_the_hosts(struct cpu *c)
{
	struct vpmu_armv8_range2 seen;

	try_range2(c, MDCR_HPME, 0, &seen.counts_by_hpme, &seen.line_by_hpme);
	try_range2(c, 0, PMCR_E, &seen.counts_by_e, &seen.line_by_e);
	return vpmu_armv8_judge_range2(&seen);
}

/* ---- Both ---- */

static void clean_up(void)
{
	write_sysreg(pmcr_el0, 0);
	set_masks(0);
	set_witness(0, 0);
	write_sysreg(pmselr_el0, 0);
}

static const char *ask(struct cpu *c, unsigned int *least)
{
	uint32_t counters = (uint32_t)FIELD(read_sysreg(pmcr_el0), 11, 5);
	bool hpmn0 = FIELD(read_sysreg(id_aa64dfr0_el1), 60, 4) == 1;
	const char *fault;

	if (!FIELD(read_sysreg(id_aa64mmfr0_el1), 56, 4))
		return "no fine-grained traps";
	if (counters < 2)
		return "no counter to share";
	fault = el1_is_kept_out(counters, 1);
	if (!fault)
		fault = range2_is_the_hosts(c);
	*least = hpmn0 && !el1_is_kept_out(counters, 0) ? 0 : 1;
	clean_up();
	return fault;
}

const char *partition_probe(struct cpu *c, unsigned int *least)
{
	uint64_t hcr = read_sysreg(hcr_el2), mdcr = read_sysreg(mdcr_el2);
	uint64_t sctlr = read_sysreg(sctlr_el1), vbar = read_sysreg(vbar_el1);
	const char *fault;

	write_sysreg(hcr_el2, HCR_RW);
	write_sysreg(sctlr_el1, 0x30D00800);
	isb();
	fault = ask(c, least);
	write_sysreg(mdcr_el2, mdcr);
	write_sysreg(vbar_el1, vbar);
	write_sysreg(sctlr_el1, sctlr);
	write_sysreg(hcr_el2, hcr);
	isb();
	return fault;
}
