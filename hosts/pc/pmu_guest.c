/* SPDX-License-Identifier: MIT */
/* What a hypervisor asks libvpmu while the guest is out, whatever makes the counters count. */
#include "pmu_internal.h"

#define MSR_MISC_ENABLE 0x1a0u

/*
 * The guest is offered what can count, and what the policy lets count; on AMD the latter cannot be
 * said, and a denied event stands still.
 */
static const char *limit(struct pc_pmu *p, struct vpmu_source *source)
{
	struct vpmu_x86_model *m = &p->config.model;
	const struct vpmu_policy *policy = m->vendor == VPMU_X86_INTEL ? p->config.policy : NULL;

	if (m->version && vpmu_x86_model_limit(m, source, policy))
		return "neither instructions nor cycles can be counted, or not all of AMD's events";
	return NULL;
}

/* What an error of vpmu_x86_vm_init() means to who chose the mode. */
static const char *reason(enum vpmu_mode mode, int error)
{
	if (error == VPMU_ERR_BUSY && mode == VPMU_MODE_PASSTHROUGH)
		return "a guest is passed through only where no other has counters of the machine, and no "
		       "event of the host's counts inside guests";
	if (error == VPMU_ERR_BUSY)
		return "an event of the host's counts inside guests, or another guest is passed through";
	if (error == VPMU_ERR_UNSUPPORTED && mode == VPMU_MODE_PASSTHROUGH)
		return "a guest is passed through only with the machine's own PMU, of Intel's version 5, and "
		       "without a policy";
	return vpmu_strerror(error);
}

const char *pmu_guest_init(struct pc_pmu *p, enum vpmu_mode mode, struct vpmu_machine *machine,
			   struct vpmu_source *source)
{
	struct vpmu_vm_config config = {
		.size = sizeof(config), .mode = mode, .switch_kind = p->config.switch_kind,
		.policy = p->config.policy,
	};
	const char *why = limit(p, source);
	int e;

	if (why)
		return why;
	e = vpmu_x86_vm_init(&p->vm, machine, &p->config.model, &config);
	if (e)
		return reason(mode, e);
	vpmu_vcpu_init(&p->vcpu, &p->vm);
	return NULL;
}

static enum pc_answer answer(int outcome)
{
	if (outcome == VPMU_HANDLED)
		return PC_DONE;
	return outcome == VPMU_NOT_MINE ? PC_NOT_MINE : PC_FAULT;
}

enum pc_answer pmu_guest_rdmsr(void *context, uint32_t index, uint64_t *value)
{
	struct pc_pmu *p = context;
	enum pc_answer a = answer(vpmu_x86_rdmsr(&p->vcpu, index, value));

	if (a != PC_NOT_MINE || index != MSR_MISC_ENABLE ||
	    p->config.model.vendor != VPMU_X86_INTEL)
		return a;
	*value = vpmu_x86_misc_enable(&p->vm, pc_misc_enable(p->pc));
	return PC_DONE;
}

enum pc_answer pmu_guest_wrmsr(void *context, uint32_t index, uint64_t value)
{
	struct pc_pmu *p = context;

	return answer(vpmu_x86_wrmsr(&p->vcpu, index, value));
}

enum pc_answer pmu_guest_rdpmc(void *context, uint32_t index, unsigned int cpl, bool pce,
	uint64_t *value)
{
	struct pc_pmu *p = context;
	/* Where CR0.PE is 0, CPL is too. */
	struct vpmu_x86_rdpmc r = { .index = index, .cpl = (uint8_t)cpl, .pce = pce,
		.protected_mode = true };
	enum pc_answer a = answer(vpmu_x86_rdpmc(&p->vcpu, &r));

	*value = r.value;
	return a;
}

void pmu_guest_cpuid(void *context, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	struct pc_pmu *p = context;

	vpmu_x86_cpuid(&p->vm, leaf, subleaf, regs);
}

/* The guest's cycles are those that it executes itself: an emulated instruction has none. */
void pmu_guest_emulated(void *context, bool user, const struct pc_events *e)
{
	struct pc_pmu *p = context;

	(void)vpmu_count(&p->vcpu, VPMU_EVENT_INSTRUCTIONS, user, e->instructions);
	if (e->branches)
		(void)vpmu_count(&p->vcpu, VPMU_EVENT_BRANCHES, user, e->branches);
}

void pmu_guest_lvtpc(void *context, uint32_t value)
{
	struct pc_pmu *p = context;

	(void)vpmu_vcpu_lvtpc(&p->vcpu, value);
}

void pmu_guest_pmi(struct pc_pmu *p)
{
	if (vpmu_vcpu_pmi(&p->vcpu) != 1)
		return;
	if (!pc_pmi(p->pc)) {
		p->stats.pmis_masked++;
		return;
	}
	p->stats.pmis++;
	if (vpmu_x86_masks_lvtpc(&p->vm))
		(void)vpmu_vcpu_lvtpc(&p->vcpu, pc_lvtpc(p->pc));
}

bool pmu_guest_takes(struct pc_pmu *p, unsigned int why)
{
	if (why == PC_EXIT_INTERRUPT && !p->ran)
		return false;
	p->stats.exits[why]++;
	p->exited = true;
	return true;
}
