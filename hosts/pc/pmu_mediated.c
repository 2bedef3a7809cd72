/* SPDX-License-Identifier: MIT */
/*
 * libvpmu over the counters of a physical CPU in software, which are the guest's, or make events that
 * emulate the guest's: it executes the host on that CPU between
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

static void leave(struct pc_pmu *p)
{
	x86_cpu_exit(&p->on->x86);
	(void)vpmu_vcpu_exit(&p->vcpu, 0);
	x86_cpu_host(&p->on->x86, false, &host_work);
	pmu_host_take(p->on);
}

/* The VMCS's DEBUGCTL, or what a VMM writes; the host's own is 0. */
static void load_debugctl(struct pc_pmu *p)
{
	uint64_t value = vpmu_x86_debugctl(&p->vcpu, 0);

	if (p->config.model.vendor == VPMU_X86_INTEL && value != p->on->x86.pmu.debugctl)
		(void)x86_pmu_wrmsr(&p->on->x86.pmu, X86_MSR_DEBUGCTL, value);
}

static void mediated_enter(void *context)
{
	struct pc_pmu *p = context;

	do {
		pmu_host_take(p->on);
		pmu_guest_pmi(p);
	} while (vpmu_vcpu_enter(&p->vcpu, 0) == VPMU_AGAIN);
	load_debugctl(p);
	x86_cpu_enter(&p->on->x86);
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
	return x86_pmu_rdmsr(&p->on->x86.pmu, index, value) ? PC_DONE : PC_FAULT;
}

static enum pc_answer mediated_wrmsr(void *context, uint32_t index, uint64_t value)
{
	struct pc_pmu *p = context;

	if (p->exited)
		return pmu_guest_wrmsr(p, index, value);
	return x86_pmu_wrmsr(&p->on->x86.pmu, index, value) ? PC_DONE : PC_FAULT;
}

static enum pc_answer mediated_rdpmc(void *context, uint32_t index, unsigned int cpl, bool pce,
	uint64_t *value)
{
	struct pc_pmu *p = context;

	if (p->exited)
		return pmu_guest_rdpmc(p, index, cpl, pce, value);
	return x86_pmu_rdpmc(&p->on->x86.pmu, index, cpl, pce, true, value) ? PC_DONE : PC_FAULT;
}

static struct pc_horizon mediated_retired(void *context, bool user, const struct pc_events *events)
{
	struct pc_pmu *p = context;
	struct x86_pmu_events e = pmu_physical_events(events);
	struct x86_pmu_horizon h;

	/* While the host executes, the repetitions of an emulated REP are the host's. */
	if (!p->exited && e.cycles) {
		p->ran = true;
		p->stats.retired += e.instructions;
		p->on->x86.time += e.cycles;
		x86_pmu_retire(&p->on->x86.pmu, user, &e);
		if (x86_pmu_interrupt(&p->on->x86.pmu) != X86_PMU_NO_INTERRUPT) {
			(void)pmu_guest_takes(p, PC_PMU_EXIT_OVERFLOW);
			leave(p);
			mediated_enter(p);
		}
	}
	h = x86_pmu_horizon(&p->on->x86.pmu, user);
	return (struct pc_horizon){ h.events, h.cycles };
}

static const struct pc_cpu_ops mediated_ops = {
	.size = sizeof(mediated_ops), .rdmsr = mediated_rdmsr, .wrmsr = mediated_wrmsr,
	.rdpmc = mediated_rdpmc, .cpuid = pmu_guest_cpuid, .retired = mediated_retired,
	.emulated = pmu_guest_emulated, .exit = mediated_exit, .enter = mediated_enter,
	.lvtpc = pmu_guest_lvtpc,
};

/* What of a selector the machine's host events understand. */
static uint64_t event_bits(const struct pc_pmu *p)
{
	return p->host->config.model.vendor == VPMU_X86_AMD ? 0xF0000FFFF : 0xFFFF;
}

static const char *make_vcpu(struct pc_pmu *p)
{
	static const enum vpmu_mode modes[] = {
		[PC_PMU_EMULATED] = VPMU_MODE_EMULATED,
		[PC_PMU_MEDIATED] = VPMU_MODE_MEDIATED,
		[PC_PMU_PARTITIONED] = VPMU_MODE_PARTITIONED,
		[PC_PMU_PASSTHROUGH] = VPMU_MODE_PASSTHROUGH,
		[PC_PMU_OFF] = VPMU_MODE_OFF,
	};
	bool emulated = p->config.mode == PC_PMU_EMULATED;
	const char *why;

	vpmu_host_source_init(&p->events, &p->host->machine, &p->vcpu, event_bits(p));
	why = pmu_guest_init(p, modes[p->config.mode], &p->host->machine,
			     emulated ? &p->events.source : NULL);
	if (!why && emulated)
		(void)vpmu_vcpu_attach(&p->vcpu, &p->emulated, &p->events.source);
	return why;
}

/*
 * A machine that can be mediated for the guest's PMU: one that sets overflow status and stops at the
 * boundary, version 4 or PerfMonV2, whatever older one the guest sees.
 */
static struct vpmu_x86_model machine_for(const struct vpmu_x86_model *guest)
{
	struct vpmu_x86_model m = *guest;

	if (m.vendor == VPMU_X86_AMD) {
		m.gp = m.gp < 6 && guest->version < 2 ? 6 : m.gp;
		m.version = 2;
		m.core_extension = true;
		return m;
	}
	m.version = m.version < 4 ? 4 : m.version;
	m.gp = m.gp ? m.gp : 8;
	m.gp_width = m.gp_width ? m.gp_width : 48;
	m.fixed = m.fixed ? m.fixed : 3;
	m.fixed_width = m.fixed_width ? m.fixed_width : m.gp_width;
	m.events_length = m.events_length ? m.events_length : 7;
	m.pdcm = m.full_width_writes = true;
	return m;
}

const char *pmu_mediated_init(struct pc_pmu *p)
{
	const struct pc_host_config alone = {
		.model = machine_for(&p->config.model), .cpus = 1, .skid = p->config.skid,
	};
	const char *why;

	p->ops = &mediated_ops;
	p->host = p->config.host;
	if (!p->host)
		p->host = p->own = pc_host_create(&alone, &why);
	if (!p->host)
		return why;
	return make_vcpu(p);
}
