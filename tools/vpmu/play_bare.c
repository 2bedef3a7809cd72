/* SPDX-License-Identifier: MIT */
/*
 * Mode bare: the guest is alone on the software PMU, as on a machine without a hypervisor. What passes there and under
 * the library is not only what the library says of itself.
 */
#include "play_world.h"

static struct play_cpu *machine(struct play_run *r)
{
	return &r->world->cpus[0];
}

static void x86_new(struct play_run *r, const struct vpmu_x86_model *m)
{
	const struct x86_pmu_config config = {
		.vendor = m->vendor == VPMU_X86_AMD ? X86_PMU_AMD : X86_PMU_INTEL,
		.version = m->version,
		.gp = m->gp,
		.gp_width = m->gp_width ? m->gp_width : 48,
		.fixed = m->fixed,
		.fixed_width = m->fixed_width,
		.events_length = m->events_length,
		.events_missing = m->events_missing,
		.pdcm = m->pdcm,
		.full_width_writes = m->full_width_writes,
		.tsx = m->tsx,
		.core_extension = m->core_extension || m->version >= 2,
		.debugctl = m->debug_bits,
	};

	play_check_x86_config(r, &config);
	x86_pmu_reset(&machine(r)->x86.pmu, &config);
}

/* With a hypervisor's traps off, and without registers that a hypervisor would have had to set up. */
static void arm_new(struct play_run *r, const struct vpmu_arm_model *m)
{
	const struct model_config config = {
		.version = (uint32_t)m->version,
		.counters = m->counters,
		.id = m->id,
		.ceid = { m->ceid[0], m->ceid[1] },
		.mmir = m->mmir,
		.fgt = m->version >= VPMU_ARM_V3P5,
		.no_el2 = true,
		.aarch32 = true,
	};

	if (!m->version || m->counters > VPMU_ARM_EVENTS_MAX)
		play_senseless(r, "there is no such machine");
	model_pmu_reset(&machine(r)->arm_pmu, &config, 0);
}

struct play_cpu *play_bare(struct play_run *r)
{
	struct play_world *w = r->world;

	if (w->bare_exists)
		return machine(r);
	play_model_init(r, &w->bare_model, (const struct play_arg *const[]){ r->what->model->args }, 1);
	if (play_is(r, PLAY_X86))
		x86_new(r, &w->bare_model.x86);
	else
		arm_new(r, &w->bare_model.arm);
	w->bare_exists = true;
	return machine(r);
}

const struct play_model *play_current_model(struct play_run *r)
{
	if (!play_is_bare(r))
		return &play_vm(r)->model;
	(void)play_bare(r);
	return &r->world->bare_model;
}

/* The machine's interrupt controller: x86's has masked LVTPC itself; Arm's line is a level. */
void play_bare_interrupts(struct play_run *r)
{
	struct play_cpu *cpu = play_bare(r);
	bool line;

	if (play_is(r, PLAY_X86)) {
		while (x86_pmu_interrupt(&cpu->x86.pmu) != X86_PMU_NO_INTERRUPT) {
			(void)x86_pmu_take_interrupt(&cpu->x86.pmu);
			cpu->alone.pmis++;
		}
		return;
	}
	line = model_interrupt(&cpu->arm_pmu);
	cpu->alone.pmis += line && !cpu->line_taken;
	cpu->line_taken = line;
}

int play_bare_msr(struct play_run *r, uint32_t index, bool write, uint64_t *value)
{
	struct x86_pmu *pmu = &play_bare(r)->x86.pmu;
	bool fine = write ? x86_pmu_wrmsr(pmu, index, *value) : x86_pmu_rdmsr(pmu, index, value);

	play_bare_interrupts(r);
	return fine ? VPMU_HANDLED : VPMU_FAULT_GP;
}

int play_bare_rdpmc(struct play_run *r, struct vpmu_x86_rdpmc *p)
{
	const struct x86_pmu *pmu = &play_bare(r)->x86.pmu;

	return x86_pmu_rdpmc(pmu, p->index, p->cpl, p->pce, p->protected_mode, &p->value)
		       ? VPMU_HANDLED
		       : VPMU_FAULT_GP;
}

int play_bare_sysreg(struct play_run *r, struct vpmu_arm_access *access)
{
	enum model_result result = model_guest_access(&play_bare(r)->arm_pmu, access->el, access->reg,
						      access->write, &access->value);

	play_bare_interrupts(r);
	if (result == MODEL_EXECUTED)
		return VPMU_HANDLED;
	return result == MODEL_TRAP_EL1 ? VPMU_FAULT_EL1_TRAP : VPMU_FAULT_UNDEF;
}
