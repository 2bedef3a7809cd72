/* SPDX-License-Identifier: MIT */
/* stats.c - what happened, one "vpmu: cpuN name value" per line, so that a script can read it. */
#include "monitor.h"

static const char *const exit_names[EXIT_CAUSE_COUNT] = {
	[EXIT_IRQ] = "irq",
	[EXIT_MAINTENANCE] = "maintenance",
	[EXIT_PMI] = "pmi",
	[EXIT_SGI] = "sgi",
	[EXIT_PMU] = "pmu",
	[EXIT_ID] = "id",
	[EXIT_SYSREG] = "sysreg",
	[EXIT_GICD] = "gicd",
	[EXIT_GICR] = "gicr",
	[EXIT_PSCI] = "psci",
	[EXIT_ABORT] = "abort",
	[EXIT_UNDEF] = "undef",
	[EXIT_SERROR] = "serror",
	[EXIT_WFI] = "wfi",
	[EXIT_TIMER] = "timer",
	[EXIT_KICK] = "kick",
	[EXIT_UART] = "uart",
};

const char *stats_exit_name(unsigned int cause)
{
	return exit_names[cause];
}

void stats_print_exits(unsigned int cpu)
{
	for (unsigned int cause = 0; cause < EXIT_CAUSE_COUNT; cause++)
		console_printf("vpmu: cpu%u exits.%s %lu\n", cpu, exit_names[cause], cpus[cpu].exits[cause]);
}

void stats_print(void)
{
	for (unsigned int i = 0; i < machine.cpu_count; i++) {
		stats_print_exits(i);
		pmu_stats(&cpus[i]);
	}
}
