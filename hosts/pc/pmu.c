/* SPDX-License-Identifier: MIT */
#include "pmu_internal.h"

#include <stdlib.h>

struct pc_pmu *pc_pmu_create(const struct pc_pmu_config *config, const char **why)
{
	static const char *(*const inits[])(struct pc_pmu *) = {
		[PC_PMU_BARE] = pmu_bare_init,
		[PC_PMU_EMULATED] = pmu_emulated_init,
		[PC_PMU_MEDIATED] = pmu_mediated_init,
		[PC_PMU_PARTITIONED] = pmu_mediated_init,
		[PC_PMU_PASSTHROUGH] = pmu_mediated_init,
		[PC_PMU_OFF] = pmu_mediated_init,
	};
	/* On a host all are over its counters. */
	enum pc_pmu_mode mode = config->host ? PC_PMU_MEDIATED : config->mode;
	struct pc_pmu *p = calloc(1, sizeof(*p));

	*why = "no memory";
	if (!p)
		return NULL;
	p->config = *config;
	p->exited = true;
	*why = config->host && config->mode == PC_PMU_BARE ? "a host is not bare" : inits[mode](p);
	if (*why) {
		pc_host_destroy(p->own);
		free(p);
		return NULL;
	}
	return p;
}

const struct pc_cpu_ops *pc_pmu_ops(const struct pc_pmu *pmu)
{
	return pmu->ops;
}

void pc_pmu_attach(struct pc_pmu *p, struct pc *pc)
{
	p->pc = pc;
	if (p->own)
		(void)pc_pmu_load(p, 0);
	else if (p->ops->enter && !p->host)
		p->ops->enter(p);
}

bool pc_pmu_load(struct pc_pmu *p, unsigned int cpu)
{
	struct pc_host_cpu *on = &p->host->cpu[cpu];

	if (p->on || vpmu_vcpu_load(&p->vcpu, &on->cpu))
		return false;
	on->loaded = p;
	p->on = on;
	if (p->config.mode == PC_PMU_EMULATED)
		vpmu_host_source_load(&p->events, &on->cpu);
	p->ops->enter(p);
	return true;
}

static void leave(struct pc_pmu *p)
{
	p->ran = true;
	if (!p->exited)
		(void)p->ops->exit(p, PC_EXIT_INTERRUPT, 0);
}

void pc_pmu_put(struct pc_pmu *p)
{
	if (!p->on)
		return;
	leave(p);
	if (p->config.mode == PC_PMU_EMULATED)
		vpmu_host_source_put(&p->events);
	(void)vpmu_vcpu_put(&p->vcpu);
	p->on->loaded = NULL;
	p->on = NULL;
}

void pc_pmu_detach(struct pc_pmu *p)
{
	if (p->config.mode == PC_PMU_BARE)
		return;
	if (p->host) {
		pc_pmu_put(p);
		return;
	}
	leave(p);
	(void)vpmu_vcpu_put(&p->vcpu);
}

void pc_pmu_destroy(struct pc_pmu *p)
{
	if (!p)
		return;
	if (p->config.mode == PC_PMU_EMULATED)
		(void)vpmu_vcpu_detach(&p->vcpu);
	if (p->host)
		vpmu_vm_end(&p->vm);
	pc_host_destroy(p->own);
	free(p);
}

/* ---- Between the PC's words and the model's ---- */

void pmu_physical_config(const struct vpmu_x86_model *model, struct x86_pmu_config *out)
{
	*out = (struct x86_pmu_config){
		.vendor = model->vendor == VPMU_X86_AMD ? X86_PMU_AMD : X86_PMU_INTEL,
		.version = model->version,
		.gp = model->gp,
		.gp_width = model->gp_width,
		.fixed = model->fixed,
		.fixed_width = model->fixed_width,
		.events_length = model->events_length,
		.events_missing = model->events_missing,
		.pdcm = model->pdcm,
		.full_width_writes = model->full_width_writes,
		.pin_control = true,
		.tsx = model->tsx,
		.core_extension = model->core_extension,
		.debugctl = model->debug_bits,
	};
}

/* The reference clock runs at the CPU's rate. */
struct x86_pmu_events pmu_physical_events(const struct pc_events *e)
{
	return (struct x86_pmu_events){
		.instructions = e->instructions,
		.cycles = e->cycles,
		.reference_cycles = e->cycles,
		.branches = e->branches,
		.branch_misses = e->branches_mispredicted,
		.llc_references = e->llc_references,
		.llc_misses = e->llc_misses,
	};
}

/* ---- Looking ---- */

const char *pc_pmu_exit_name(unsigned int exit)
{
	static const char *const names[PC_PMU_EXITS] = {
		[PC_EXIT_RDMSR] = "rdmsr", [PC_EXIT_WRMSR] = "wrmsr", [PC_EXIT_RDPMC] = "rdpmc",
		[PC_EXIT_CPUID] = "cpuid", [PC_EXIT_HALT] = "halt", [PC_EXIT_IO] = "io",
		[PC_EXIT_MMIO] = "mmio", [PC_EXIT_INTERRUPT] = "interrupt",
		[PC_PMU_EXIT_OVERFLOW] = "overflow",
	};

	return names[exit];
}

void pc_pmu_stats(const struct pc_pmu *p, struct pc_pmu_stats *out)
{
	*out = p->stats;
	if (p->config.mode == PC_PMU_BARE)
		return;
	out->vcpu = *vpmu_vcpu_stats(&p->vcpu);
	out->source_calls = p->host ? p->events.source.calls : p->source.source.calls;
	if (p->own)
		out->hardware_accesses = p->own->cpu[0].x86.x86.hw.accesses;
	if (p->host)
		out->violations = pc_host_violations(p->host, &out->violation);
}

const struct vpmu_vm *pc_pmu_vm(const struct pc_pmu *p)
{
	return &p->vm;
}

const struct vpmu_vcpu *pc_pmu_vcpu(const struct pc_pmu *p)
{
	return &p->vcpu;
}

bool pc_pmu_counter(struct pc_pmu *p, unsigned int i, struct vpmu_counter_status *out)
{
	return p->config.mode != PC_PMU_BARE && vpmu_vcpu_counter(&p->vcpu, i, out) == 0;
}
