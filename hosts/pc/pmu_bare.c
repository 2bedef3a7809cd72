/* SPDX-License-Identifier: MIT */
/* The guest has the physical PMU, and there is no hypervisor. */
#include "pmu_internal.h"

static struct x86_pmu *pmu_of(void *context)
{
	return &((struct pc_pmu *)context)->bare;
}

static enum pc_answer bare_rdmsr(void *context, uint32_t index, uint64_t *value)
{
	if (!x86_pmu_is_msr(index))
		return PC_NOT_MINE;
	return x86_pmu_rdmsr(pmu_of(context), index, value) ? PC_DONE : PC_FAULT;
}

static enum pc_answer bare_wrmsr(void *context, uint32_t index, uint64_t value)
{
	if (!x86_pmu_is_msr(index))
		return PC_NOT_MINE;
	return x86_pmu_wrmsr(pmu_of(context), index, value) ? PC_DONE : PC_FAULT;
}

/* Where CR0.PE is 0, CPL is too. */
static enum pc_answer bare_rdpmc(void *context, uint32_t index, unsigned int cpl, bool pce,
	uint64_t *value)
{
	return x86_pmu_rdpmc(pmu_of(context), index, cpl, pce, true, value) ? PC_DONE : PC_FAULT;
}

static void bare_cpuid(void *context, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	x86_pmu_cpuid(pmu_of(context), leaf, subleaf, regs);
}

/* The PMU has decided that its interrupt passes LVTPC; the PC's entry is the same. */
static void interrupt(struct pc_pmu *p)
{
	while (x86_pmu_take_interrupt(&p->bare) != X86_PMU_NO_INTERRUPT)
		*(pc_pmi(p->pc) ? &p->stats.pmis : &p->stats.pmis_masked) += 1;
}

static struct pc_horizon bare_retired(void *context, bool user, const struct pc_events *events)
{
	struct pc_pmu *p = context;
	struct x86_pmu_events e = pmu_physical_events(events);
	struct x86_pmu_horizon h;

	x86_pmu_retire(&p->bare, user, &e);
	interrupt(p);
	h = x86_pmu_horizon(&p->bare, user);
	return (struct pc_horizon){ h.events, h.cycles };
}

/* A CPU that halts does not keep what an instruction of its has caused. */
static void bare_halted(void *context)
{
	struct pc_pmu *p = context;

	while (p->bare.late_status | p->bare.late_interrupt)
		x86_pmu_step(&p->bare);
	interrupt(p);
}

static void bare_lvtpc(void *context, uint32_t value)
{
	x86_pmu_set_lvtpc(pmu_of(context), value);
}

static const struct pc_cpu_ops bare_ops = {
	.size = sizeof(bare_ops), .rdmsr = bare_rdmsr, .wrmsr = bare_wrmsr, .rdpmc = bare_rdpmc,
	.cpuid = bare_cpuid, .retired = bare_retired, .halted = bare_halted, .lvtpc = bare_lvtpc,
};

const char *pmu_bare_init(struct pc_pmu *p)
{
	struct x86_pmu_config config;

	pmu_physical_config(&p->config.model, &config);
	config.status_skid = config.interrupt_skid = p->config.skid;
	x86_pmu_reset(&p->bare, &config);
	p->ops = &bare_ops;
	return NULL;
}
