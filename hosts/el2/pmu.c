/* SPDX-License-Identifier: MIT */
/* pmu.c - the PMU, for now open to the guest. */
#include "monitor.h"

void pmu_init(void)
{
}

void pmu_cpu_init(struct cpu *c)
{
	uint64_t n = FIELD(read_sysreg(pmcr_el0), 11, 5);

	(void)c;
	write_sysreg(mdcr_el2, read_sysreg(mdcr_el2) | n | BIT(17));
}

void pmu_cpu_off(struct cpu *c)
{
	(void)c;
}

void pmu_exit(struct cpu *c)
{
	(void)c;
}

void pmu_enter(struct cpu *c)
{
	(void)c;
}

enum pmu_outcome pmu_trap(struct cpu *c, struct regs *r, uint64_t esr)
{
	(void)c;
	(void)r;
	(void)esr;
	return PMU_NOT_MINE;
}

bool pmu_irq(struct cpu *c)
{
	(void)c;
	return true;
}

void pmu_skipped(struct cpu *c)
{
	(void)c;
}

uint64_t pmu_dfr0(struct cpu *c, uint64_t host)
{
	(void)c;
	return host;
}

void pmu_stats(struct cpu *c)
{
	(void)c;
}
