/* SPDX-License-Identifier: MIT */
/* seam.h on a bare-metal CPU. */
#include "seam.h"

#include "cpu.h"
#include "run.h"

#define THUNK_SIZE 16u
#define LINE_WAIT 200u		/* instructions within which a pending interrupt must arrive */

typedef uint64_t read_thunk(void);
typedef void write_thunk(uint64_t value);

static uint64_t first_values[PMU_REG_COUNT];

static void *thunk(char *base, enum pmu_reg reg)
{
	return base + THUNK_SIZE * (unsigned)reg;
}

uint64_t pmu_read(enum pmu_reg reg)
{
	return ((read_thunk *)(uintptr_t)thunk(read_thunks, reg))();
}

void pmu_write(enum pmu_reg reg, uint64_t value)
{
	((write_thunk *)(uintptr_t)thunk(write_thunks, reg))(value);
}

enum pmu_end pmu_try_read(unsigned el, enum pmu_reg reg, uint64_t *value)
{
	uint64_t got;
	enum pmu_end end;

	trap_expect();
	if (el == 0)
		got = call_el0(&cpu_self()->below[1], thunk(read_thunks, reg), 0);
	else
		got = pmu_read(reg);
	end = trap_kind(trap_end());
	if (end == PMU_OK)
		*value = got;
	return end;
}

enum pmu_end pmu_try_write(unsigned el, enum pmu_reg reg, uint64_t value)
{
	trap_expect();
	if (el == 0)
		call_el0(&cpu_self()->below[1], thunk(write_thunks, reg), value);
	else
		pmu_write(reg, value);
	return trap_kind(trap_end());
}

void pmu_run(unsigned el, uint64_t n)
{
	if (el == 0)
		call_el0(&cpu_self()->below[1], (void *)(uintptr_t)spin, n);
	else
		spin(n);
}

unsigned pmu_el(void)
{
	return cpu_el();
}

uint64_t pmu_cpi(void)
{
	return option_number("cpi", 0);
}

bool pmu_allows(enum pmu_deviation which)
{
#define NAME(name, text) #name,
	static const char *const names[] = { PMU_DEVIATIONS(NAME) };
#undef NAME

	return option_lists("allow", names[which], false);
}

void seam_start(void)
{
	unsigned reg;

	for (reg = 0; reg < PMU_REG_COUNT; reg++)
		pmu_try_read(cpu_el(), (enum pmu_reg)reg, &first_values[reg]);
}

uint64_t pmu_first_value(enum pmu_reg reg)
{
	return first_values[reg];
}

bool pmu_line(void)
{
	pmu_irq_on(NULL, NULL);		/* no handler: the interrupt is disabled when taken */
	spin(LINE_WAIT);
	pmu_irq_off();
	return pmu_irq_count() != 0;
}

void pmu_irq_on(void (*handler)(void *context), void *context)
{
	struct cpu *cpu = cpu_self();

	cpu->handler = handler;
	cpu->context = context;
	cpu->irq_count = 0;
	gic_enable(INTID_PMU);
	irq_unmask();
}

/* Also called by handlers, where IRQs are masked and stay so until the return. */
void pmu_irq_off(void)
{
	gic_disable(INTID_PMU);
	irq_mask();
}

unsigned pmu_irq_count(void)
{
	return cpu_self()->irq_count;
}
