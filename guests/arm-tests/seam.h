/* SPDX-License-Identifier: MIT */
/*
 * The seam between the PMU test bodies and the machine they run on.
 *
 * The bodies (bodies/) know no assembly, no libc and no machine. They reach a PMU only through
 * the functions below, which must be implemented by exactly one machine per program, chosen at
 * link time: image/seam.c (a bare-metal CPU, with or without a hypervisor below it) or a unit
 * test (the library's software PMU on the build host). All functions act on the calling CPU.
 */
#ifndef VPMU_ARM_TESTS_SEAM_H
#define VPMU_ARM_TESTS_SEAM_H

#include <stdbool.h>
#include <stdint.h>

#include "registers.h"

#define PMU_ENUM(name, op0, op1, crn, crm, op2) name,
enum pmu_reg { PMU_REGISTERS(PMU_ENUM) PMU_REG_COUNT };
#undef PMU_ENUM

/* How one register access ended. */
enum pmu_end {
	PMU_OK,
	PMU_UNDEF,	/* exception to EL1 (or the body's EL), EC 0x00 */
	PMU_TRAP,	/* the same, EC 0x18: trapped MSR/MRS */
	PMU_TRAP_EL2,	/* taken by a hypervisor that is part of the test, EC 0x18 */
	PMU_OTHER,	/* anything else, always a failure */
};

/*
 * Places where the machine underneath is known to differ from the architecture, or where the
 * architecture leaves a choice. The runner names those that it expects (allow=...); a body asks
 * before it accepts such an answer, and the result line says that it did.
 */
#define PMU_DEVIATIONS(D) \
	D(bounds, "counter >= N is CONSTRAINED UNPREDICTABLE without FEAT_FGT") \
	D(line, "interrupt line is not recomputed on PMCR writes") \
	D(event_irq, "event counter overflow noticed only at the next PMU access") \
	D(typer, "PMEVTYPER keeps RES0 bits") \
	D(lp, "PMCR.LP is writable before PMUv3p5") \
	D(absent, "registers exist without a PMU") \
	D(no_instructions, "neither INST_RETIRED nor INST_SPEC") \
	D(unadvertised, "an event that is not advertised counts")

#define PMU_DEVIATION_ENUM(name, text) PMU_ALLOW_##name,
enum pmu_deviation { PMU_DEVIATIONS(PMU_DEVIATION_ENUM) PMU_DEVIATION_COUNT };
#undef PMU_DEVIATION_ENUM

/* An access that must succeed. If it faults, the machine ends the test as failed. */
uint64_t pmu_read(enum pmu_reg reg);
void pmu_write(enum pmu_reg reg, uint64_t value);

/* An access at exception level `el` (0 or pmu_el()) that may fault. *value only if PMU_OK. */
enum pmu_end pmu_try_read(unsigned el, enum pmu_reg reg, uint64_t *value);
enum pmu_end pmu_try_write(unsigned el, enum pmu_reg reg, uint64_t value);

/*
 * Retire `n` instructions, n even and > 0, at exception level `el`, plus an overhead that may
 * depend on `el` but not on `n`. Interrupts are taken where they occur if they are unmasked.
 */
void pmu_run(unsigned el, uint64_t n);

/* The exception level that the body runs at: 1, or 2 for a bare machine's own EL2. */
unsigned pmu_el(void);

/* Cycles per instruction if they are exactly known, else 0. */
uint64_t pmu_cpi(void);

/* Does the runner expect this deviation? */
bool pmu_allows(enum pmu_deviation which);

/* What `reg` held before this guest's first write. */
uint64_t pmu_first_value(enum pmu_reg reg);

/* Is the overflow interrupt line high? Leaves the interrupt disabled and IRQs masked. */
bool pmu_line(void);

/*
 * Enable the overflow interrupt, unmask IRQs and call handler(context) on each. A handler that
 * does not lower the line must call pmu_irq_off(). Counting starts at 0.
 */
void pmu_irq_on(void (*handler)(void *context), void *context);
void pmu_irq_off(void);
unsigned pmu_irq_count(void);

#endif
