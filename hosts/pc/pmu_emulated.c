/* SPDX-License-Identifier: MIT */
/* libvpmu over events of sources/model, which hear from the engine what the guest did. */
#include "pmu_internal.h"

#define CYCLES (1u << VPMU_MEANS_CYCLES | 1u << VPMU_MEANS_REFERENCE_CYCLES)
#define LLC (1u << VPMU_MEANS_LLC_REFERENCES | 1u << VPMU_MEANS_LLC_MISSES)

static void leave(struct pc_pmu *p)
{
	(void)vpmu_vcpu_exit(&p->vcpu, 0);
}

static void emulated_enter(void *context)
{
	struct pc_pmu *p = context;

	do
		pmu_guest_pmi(p);
	while (vpmu_vcpu_enter(&p->vcpu, 0) == VPMU_AGAIN);
	p->exited = false;
	p->ran = false;
}

/* Nothing runs direct. */
static bool emulated_exit(void *context, enum pc_exit why, uint32_t index)
{
	struct pc_pmu *p = context;

	(void)index;
	if (!pmu_guest_takes(p, why))
		return false;
	leave(p);
	return true;
}

/* What a source's clock would be: 1 GHz, like the PC's. */
static bool run(struct pc_pmu *p, bool user, const struct pc_events *e)
{
	struct vpmu_model_burst burst = {
		.user = user,
		.counts = {
			[VPMU_MEANS_INSTRUCTIONS] = e->instructions,
			[VPMU_MEANS_CYCLES] = e->cycles,
			[VPMU_MEANS_REFERENCE_CYCLES] = e->cycles,
			[VPMU_MEANS_LLC_REFERENCES] = e->llc_references,
			[VPMU_MEANS_LLC_MISSES] = e->llc_misses,
			[VPMU_MEANS_BRANCHES] = e->branches,
			[VPMU_MEANS_BRANCH_MISSES] = e->branches_mispredicted,
		},
		.nanoseconds = e->cycles,
	};

	return vpmu_model_source_run(&p->source, &burst);
}

static struct pc_horizon emulated_retired(void *context, bool user, const struct pc_events *e)
{
	struct pc_pmu *p = context;

	/* While the host executes, the repetitions of an emulated REP are the host's. */
	if (!p->exited && e->cycles) {
		p->ran = true;
		p->stats.retired += e->instructions;
		if (run(p, user, e)) {
			(void)pmu_guest_takes(p, PC_PMU_EXIT_OVERFLOW);
			leave(p);
			emulated_enter(p);
		}
	}
	return (struct pc_horizon){
		.events = vpmu_model_source_horizon(&p->source, ~CYCLES),
		.cycles = vpmu_model_source_horizon(&p->source, CYCLES),
	};
}

static const struct pc_cpu_ops emulated_ops = {
	.size = sizeof(emulated_ops), .rdmsr = pmu_guest_rdmsr, .wrmsr = pmu_guest_wrmsr,
	.rdpmc = pmu_guest_rdpmc, .cpuid = pmu_guest_cpuid, .retired = emulated_retired,
	.emulated = pmu_guest_emulated, .exit = emulated_exit, .enter = emulated_enter,
	.lvtpc = pmu_guest_lvtpc,
};

const char *pmu_emulated_init(struct pc_pmu *p)
{
	const char *why;
	int e;

	vpmu_machine_init(&p->machine);
	vpmu_model_source_init(&p->source, &p->vcpu, VPMU_COUNTER_MAX, false);
	if (!p->config.caches)
		p->source.meanings &= ~LLC;
	why = pmu_guest_init(p, VPMU_MODE_EMULATED, &p->machine, &p->source.source);
	if (why)
		return why;
	e = vpmu_vcpu_attach(&p->vcpu, &p->emulated, &p->source.source);
	if (!e)
		e = vpmu_vcpu_load(&p->vcpu, NULL);
	p->ops = &emulated_ops;
	return e ? vpmu_strerror(e) : NULL;
}
