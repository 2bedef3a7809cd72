/* SPDX-License-Identifier: MIT */
/* Physical CPUs in software, for one PC or for several that take turns on them. */
#include "pmu_internal.h"

#include <stdlib.h>

/* The software CPU is told whose counters are whose before every access that it checks. */
static void tell_owned(struct x86_cpu *x86, void *context)
{
	const struct pc_host_cpu *on = context;

	x86->host_owned = on->cpu.host_counters;
}

static int init_cpu(struct pc_host *host, unsigned int number, const struct x86_pmu_config *config)
{
	struct pc_host_cpu *on = &host->cpu[number];
	int e = x86_cpu_init(&on->x86, config, true);

	if (e)
		return e;
	on->host = host;
	on->x86.hook = tell_owned;
	on->x86.hook_context = on;
	return vpmu_cpu_init(&on->cpu, number, &on->x86.x86.hw);
}

struct pc_host *pc_host_create(const struct pc_host_config *config, const char **why)
{
	struct x86_pmu_config physical;
	struct pc_host *host;
	int e = 0;

	*why = "a host has 1 to 8 CPUs";
	if (config->cpus < 1 || config->cpus > PC_HOST_CPUS_MAX)
		return NULL;
	*why = "no memory";
	host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->config = *config;
	pmu_physical_config(&config->model, &physical);
	physical.status_skid = physical.interrupt_skid = config->skid;
	vpmu_machine_init(&host->machine);
	for (unsigned int i = 0; i < config->cpus && !e; i++) {
		e = init_cpu(host, i, &physical);
		vpmu_machine_add(&host->machine, &host->cpu[i].x86.x86.hw.caps);
	}
	if (!e)
		return host;
	*why = vpmu_strerror(e);
	free(host);
	return NULL;
}

void pc_host_destroy(struct pc_host *host)
{
	free(host);
}

struct vpmu_machine *pc_host_machine(struct pc_host *host)
{
	return &host->machine;
}

struct vpmu_cpu *pc_host_cpu(struct pc_host *host, unsigned int cpu)
{
	return &host->cpu[cpu].cpu;
}

uint64_t pc_host_instructions(const struct pc_host *host, unsigned int cpu)
{
	return host->cpu[cpu].x86.host_instructions;
}

uint64_t pc_host_violations(const struct pc_host *host, const char **first)
{
	uint64_t n = 0;

	*first = NULL;
	for (unsigned int i = 0; i < host->config.cpus; i++) {
		if (!n)
			*first = host->cpu[i].x86.violation;
		n += host->cpu[i].x86.violations;
	}
	return n;
}

/* ---- Interrupts ---- */

static bool is_guests(struct pc_pmu *p, const struct vpmu_host_event *e)
{
	return p && p->config.mode == PC_PMU_EMULATED && vpmu_host_source_sample(&p->events, e);
}

/* What reached its period emulates a guest's counter, or is the host's own. */
static void take_samples(struct pc_host_cpu *on)
{
	const struct pc_host_config *config = &on->host->config;
	const struct vpmu_host_event *e;

	while ((e = vpmu_cpu_sample(&on->cpu)) != NULL) {
		if (!is_guests(on->loaded, e) && config->sampled)
			config->sampled(config->context, on->cpu.number, e);
	}
}

void pmu_host_take(struct pc_host_cpu *on)
{
	while (x86_pmu_take_interrupt(&on->x86.pmu) != X86_PMU_NO_INTERRUPT) {
		enum vpmu_pmi whose = vpmu_cpu_pmi(&on->cpu);

		if (whose == VPMU_PMI_HOST || whose == VPMU_PMI_BOTH)
			take_samples(on);
	}
}
