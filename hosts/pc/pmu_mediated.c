/* SPDX-License-Identifier: MIT */
/*
 * libvpmu over the counters of a physical CPU in software: it executes the host on that CPU between
 * exit and enter, so that whatever a switch leaves counting shows in the guest's counts.
 */
#include "pmu_internal.h"

/*
 * What the host does about each exit, before it looks at interrupts. Long enough for what is late:
 * a guest that halts has it when it waits.
 */
static const struct x86_pmu_events host_work = {
	.instructions = 1000, .cycles = 1500, .reference_cycles = 1500, .branches = 200,
	.branch_misses = 10, .llc_references = 20, .llc_misses = 5,
};

/* Physical interrupts that have come in: all are the PMU's. */
static void take_physical(struct pc_pmu *p)
{
	while (x86_pmu_take_interrupt(&p->host.pmu) != X86_PMU_NO_INTERRUPT)
		(void)vpmu_cpu_pmi(&p->cpu);
}

static void leave(struct pc_pmu *p)
{
	x86_cpu_exit(&p->host);
	(void)vpmu_vcpu_exit(&p->vcpu, 0);
	x86_cpu_host(&p->host, false, &host_work);
	take_physical(p);
}

/* The VMCS's DEBUGCTL, or what a VMM writes; the host's own is 0. */
static void load_debugctl(struct pc_pmu *p)
{
	uint64_t value = vpmu_x86_debugctl(&p->vcpu, 0);

	if (p->config.model.vendor == VPMU_X86_INTEL && value != p->host.pmu.debugctl)
		(void)x86_pmu_wrmsr(&p->host.pmu, X86_MSR_DEBUGCTL, value);
}

static void mediated_enter(void *context)
{
	struct pc_pmu *p = context;

	do {
		take_physical(p);
		pmu_guest_pmi(p);
	} while (vpmu_vcpu_enter(&p->vcpu, 0) == VPMU_AGAIN);
	load_debugctl(p);
	x86_cpu_enter(&p->host);
	p->exited = false;
	p->ran = false;
}

static bool intercepted(const struct pc_pmu *p, enum pc_exit why, uint32_t index)
{
	switch (why) {
	case PC_EXIT_RDMSR:
		return !vpmu_x86_is_direct(&p->vcpu, index, false);
	case PC_EXIT_WRMSR:
		return !vpmu_x86_is_direct(&p->vcpu, index, true);
	case PC_EXIT_RDPMC:
		return !vpmu_x86_rdpmc_is_direct(&p->vcpu);
	default:
		return true;
	}
}

static bool mediated_exit(void *context, enum pc_exit why, uint32_t index)
{
	struct pc_pmu *p = context;

	if (!intercepted(p, why, index)) {
		p->stats.direct++;
		return false;
	}
	if (!pmu_guest_takes(p, why))
		return false;
	leave(p);
	return true;
}

static enum pc_answer mediated_rdmsr(void *context, uint32_t index, uint64_t *value)
{
	struct pc_pmu *p = context;

	if (p->exited)
		return pmu_guest_rdmsr(p, index, value);
	return x86_pmu_rdmsr(&p->host.pmu, index, value) ? PC_DONE : PC_FAULT;
}

static enum pc_answer mediated_wrmsr(void *context, uint32_t index, uint64_t value)
{
	struct pc_pmu *p = context;

	if (p->exited)
		return pmu_guest_wrmsr(p, index, value);
	return x86_pmu_wrmsr(&p->host.pmu, index, value) ? PC_DONE : PC_FAULT;
}

static enum pc_answer mediated_rdpmc(void *context, uint32_t index, unsigned int cpl, bool pce,
	uint64_t *value)
{
	struct pc_pmu *p = context;

	if (p->exited)
		return pmu_guest_rdpmc(p, index, cpl, pce, value);
	return x86_pmu_rdpmc(&p->host.pmu, index, cpl, pce, true, value) ? PC_DONE : PC_FAULT;
}

static struct pc_horizon mediated_retired(void *context, bool user, const struct pc_events *events)
{
	struct pc_pmu *p = context;
	struct x86_pmu_events e = pmu_physical_events(events);
	struct x86_pmu_horizon h;

	/* While the host executes, the repetitions of an emulated REP are the host's. */
	if (!p->exited && e.cycles) {
		p->ran = true;
		x86_pmu_retire(&p->host.pmu, user, &e);
		if (x86_pmu_interrupt(&p->host.pmu) != X86_PMU_NO_INTERRUPT) {
			(void)pmu_guest_takes(p, PC_PMU_EXIT_OVERFLOW);
			leave(p);
			mediated_enter(p);
		}
	}
	h = x86_pmu_horizon(&p->host.pmu, user);
	return (struct pc_horizon){ h.events, h.cycles };
}

static const struct pc_cpu_ops mediated_ops = {
	.size = sizeof(mediated_ops), .rdmsr = mediated_rdmsr, .wrmsr = mediated_wrmsr,
	.rdpmc = mediated_rdpmc, .cpuid = pmu_guest_cpuid, .retired = mediated_retired,
	.emulated = pmu_guest_emulated, .exit = mediated_exit, .enter = mediated_enter,
	.lvtpc = pmu_guest_lvtpc,
};

/*
 * The guest's PMU on a machine that can be mediated: one that sets overflow status and stops at the
 * boundary, version 4 or PerfMonV2, whatever older one the guest sees.
 */
static void host_config(const struct pc_pmu *p, struct x86_pmu_config *c)
{
	pmu_physical_config(&p->config.model, c);
	c->status_skid = c->interrupt_skid = p->config.skid;
	if (c->vendor == X86_PMU_AMD) {
		c->version = 2;
		c->core_extension = true;
		c->gp = c->gp < 6 && p->config.model.version < 2 ? 6 : c->gp;
		return;
	}
	c->version = c->version < 4 ? 4 : c->version;
	c->gp = c->gp ? c->gp : 8;
	c->gp_width = c->gp_width ? c->gp_width : 48;
	c->fixed = c->fixed ? c->fixed : 3;
	c->fixed_width = c->fixed_width ? c->fixed_width : c->gp_width;
	c->events_length = c->events_length ? c->events_length : 7;
	c->pdcm = c->full_width_writes = true;
}

const char *pmu_mediated_init(struct pc_pmu *p)
{
	struct x86_pmu_config config;
	const char *why;
	int e;

	host_config(p, &config);
	vpmu_machine_init(&p->machine);
	e = x86_cpu_init(&p->host, &config, true);
	if (e)
		return vpmu_strerror(e);
	vpmu_machine_add(&p->machine, &p->host.x86.hw.caps);
	e = vpmu_cpu_init(&p->cpu, 0, &p->host.x86.hw);
	if (e)
		return vpmu_strerror(e);
	why = pmu_guest_init(p, VPMU_MODE_MEDIATED);
	if (why)
		return why;
	e = vpmu_vcpu_load(&p->vcpu, &p->cpu);
	p->ops = &mediated_ops;
	return e ? vpmu_strerror(e) : NULL;
}
