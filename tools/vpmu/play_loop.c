/* SPDX-License-Identifier: MIT */
/* The loop of a hypervisor: load, enter, exit, put, and who gets which interrupt: vpmu-play(5). */
#include "play_world.h"

static struct play_cpu *cpu_of(struct play_run *r, const struct play_vcpu *v)
{
	return &r->world->cpus[v->cpu];
}

/* ---- Interrupts ---- */

/* The guest's local APIC: what is accepted masks LVTPC where the vendor does so, and wakes. */
static void deliver_x86(struct play_run *r, struct play_vcpu *v)
{
	int due = vpmu_vcpu_pmi(&v->v);
	bool fixed = !(v->lvtpc >> 8 & 7);

	if (due < 0)
		play_must(r, "vpmu_vcpu_pmi", due);
	if (!due)
		return;
	if (v->lvtpc & VPMU_X86_LVTPC_MASKED) {
		v->counts.pmis_masked++;
		return;
	}
	if (fixed && (v->lvtpc & 0xFF) < 16) {
		v->counts.apic_errors++;
		return;
	}
	v->counts.pmis++;
	v->halted = false;
	if (!vpmu_x86_masks_lvtpc(&v->vm->vm))
		return;
	v->lvtpc |= VPMU_X86_LVTPC_MASKED;
	play_must(r, "vpmu_vcpu_lvtpc", vpmu_vcpu_lvtpc(&v->v, v->lvtpc));
}

static void deliver_arm(struct play_run *r, struct play_vcpu *v)
{
	int level = vpmu_vcpu_interrupt(&v->v);

	if (level < 0)
		play_must(r, "vpmu_vcpu_interrupt", level);
	if (level && !v->line)
		v->counts.pmis++;
	/* A level wakes, an old one too. */
	if (level)
		v->halted = false;
	v->line = level;
}

void play_deliver(struct play_run *r, struct play_vcpu *v)
{
	if (play_is(r, PLAY_X86))
		deliver_x86(r, v);
	else
		deliver_arm(r, v);
}

static struct play_counts *counts_of(struct play_cpu *cpu, struct play_vcpu *v)
{
	return v ? &v->counts : &cpu->alone;
}

void play_take_interrupt(struct play_run *r, struct play_cpu *cpu, struct play_vcpu *v,
			 bool in_guest)
{
	enum vpmu_pmi whose = vpmu_cpu_pmi(&cpu->cpu);
	struct play_counts *counts = counts_of(cpu, v);

	counts->pmis_taken += whose == VPMU_PMI_GUEST || whose == VPMU_PMI_BOTH;
	counts->pmis_late += whose == VPMU_PMI_LATE;
	if (whose == VPMU_PMI_HOST || whose == VPMU_PMI_BOTH)
		play_take_samples(r, cpu, in_guest);
}

/* The host's own interrupt may be a guest's overflow, and the other way round. */
static bool is_shared(const struct play_cpu *cpu)
{
	const struct vpmu_vcpu *v = cpu->cpu.loaded;

	return cpu->cpu.events || (v && v->vm->mode == VPMU_MODE_PARTITIONED);
}

/* Is there something for the host to take? What it took stays active while the line is high. */
static bool is_interrupted(struct play_run *r, struct play_cpu *cpu)
{
	bool line;

	if (play_is(r, PLAY_X86))
		return x86_pmu_interrupt(&cpu->x86.pmu) != X86_PMU_NO_INTERRUPT;
	line = model_interrupt(&cpu->arm_pmu);
	if (!line)
		cpu->line_taken = false;
	/* An old overflow of the guest's hides none of the host's. */
	if (cpu->arm_pmu.pmovs & cpu->arm_pmu.pminten & cpu->cpu.host_counters)
		return true;
	return line && !cpu->line_taken;
}

/* An NMI is the host's own, and none of the guest's, unless they share the entry. */
static void take_x86(struct play_run *r, struct play_cpu *cpu, struct play_vcpu *v, bool in_guest)
{
	while (x86_pmu_interrupt(&cpu->x86.pmu) != X86_PMU_NO_INTERRUPT) {
		bool nmi = x86_pmu_take_interrupt(&cpu->x86.pmu) != (int)X86_CPU_VECTOR;

		counts_of(cpu, v)->host_nmis += nmi;
		if (!nmi || is_shared(cpu))
			play_take_interrupt(r, cpu, v, in_guest);
	}
}

static void take_pending(struct play_run *r, struct play_cpu *cpu, struct play_vcpu *v, bool before)
{
	if (play_is(r, PLAY_X86)) {
		take_x86(r, cpu, v, true);
	} else if (before) {
		cpu->line_taken = true;
		play_take_interrupt(r, cpu, v, true);
	}
}

/* ---- Load, enter, exit, put ---- */

static struct play_vcpu *resident(struct play_run *r, unsigned int cpu)
{
	for (unsigned int i = 0; i < r->world->vcpu_count; i++) {
		struct play_vcpu *v = &r->world->vcpus[i];

		if (v->exists && v->place != PLAY_NOWHERE && v->cpu == cpu &&
		    play_on_hardware(r, v->vm))
			return v;
	}
	return NULL;
}

void play_host_interrupts(struct play_run *r, struct play_cpu *cpu)
{
	struct play_vcpu *v = resident(r, (unsigned int)(cpu - r->world->cpus));

	if (!is_shared(cpu) || !is_interrupted(r, cpu))
		return;
	if (play_is(r, PLAY_X86)) {
		take_x86(r, cpu, v, false);
	} else {
		cpu->line_taken = true;
		play_take_interrupt(r, cpu, v, false);
	}
}

/* Who is on the CPU leaves it. */
void play_load_vcpu(struct play_run *r, struct play_vcpu *v)
{
	struct play_vcpu *other = resident(r, v->cpu);

	if (v->place != PLAY_NOWHERE)
		return;
	if (other && play_on_hardware(r, v->vm))
		play_put(r, other);
	play_must(r, "vpmu_vcpu_load",
		  vpmu_vcpu_load(&v->v, play_on_hardware(r, v->vm) ? &cpu_of(r, v)->cpu : NULL));
	v->place = PLAY_OUT;
}

/* The guest and host fields of the VMCS. */
static void load_debugctl(struct play_run *r, struct play_cpu *cpu, uint64_t value)
{
	if (!x86_pmu_wrmsr(&cpu->x86.pmu, X86_MSR_DEBUGCTL, value))
		play_fail(r, "expected a DEBUGCTL that the machine has, seen %#llx",
			  (unsigned long long)value);
}

static void x86_enters(struct play_run *r, struct play_vcpu *v, struct play_cpu *cpu)
{
	if (v->vm->model.x86.vendor == VPMU_X86_INTEL) {
		cpu->host_debugctl = cpu->x86.pmu.debugctl;
		load_debugctl(r, cpu, vpmu_x86_debugctl(&v->v, cpu->host_debugctl));
	}
	cpu->at_boundary = true;
	x86_cpu_enter(&cpu->x86);
	cpu->at_boundary = false;
}

static void x86_exits(struct play_run *r, struct play_vcpu *v, struct play_cpu *cpu)
{
	cpu->at_boundary = true;
	x86_cpu_exit(&cpu->x86);
	cpu->at_boundary = false;
	if (v->vm->model.x86.vendor == VPMU_X86_INTEL)
		load_debugctl(r, cpu, cpu->host_debugctl);
}

static void hardware_enters(struct play_run *r, struct play_vcpu *v)
{
	if (!play_on_hardware(r, v->vm))
		return;
	if (play_is(r, PLAY_X86))
		x86_enters(r, v, cpu_of(r, v));
	else
		cpu_of(r, v)->arm.guest_runs = true;
}

static void hardware_exits(struct play_run *r, struct play_vcpu *v)
{
	if (!play_on_hardware(r, v->vm))
		return;
	if (play_is(r, PLAY_X86))
		x86_exits(r, v, cpu_of(r, v));
	else
		cpu_of(r, v)->arm.guest_runs = false;
}

static int enter(struct play_run *r, struct play_vcpu *v)
{
	int error = vpmu_vcpu_enter(&v->v, 0);

	if (error)
		return error;
	v->place = PLAY_IN;
	v->counts.enters++;
	hardware_enters(r, v);
	return 0;
}

static int leave(struct play_run *r, struct play_vcpu *v)
{
	struct play_cpu *cpu = cpu_of(r, v);
	bool there = play_on_hardware(r, v->vm);
	bool interrupted = there && is_interrupted(r, cpu);
	int error;

	if (v->place != PLAY_IN)
		return vpmu_vcpu_exit(&v->v, 0);
	hardware_exits(r, v);
	error = vpmu_vcpu_exit(&v->v, 0);
	if (error)
		return error;
	v->place = PLAY_OUT;
	v->counts.exits++;
	if (there)
		take_pending(r, cpu, v, interrupted);
	return 0;
}

int play_boundary(struct play_run *r, struct play_vcpu *v, bool in)
{
	return in ? enter(r, v) : leave(r, v);
}

#define AGAIN_MAX 1000u

void play_enter(struct play_run *r, struct play_vcpu *v)
{
	if (v->halted)
		play_senseless(r, "the vCPU is halted: only an interrupt wakes it");
	for (unsigned int n = 0; n < AGAIN_MAX; n++) {
		int error;

		play_deliver(r, v);
		error = enter(r, v);
		if (error != VPMU_AGAIN) {
			play_must(r, "vpmu_vcpu_enter", error);
			/* What is interrupting already does so before the first instruction. */
			if (n == 0)
				play_service(r, v);
			return;
		}
	}
	play_fail(r, "vpmu_vcpu_enter said VPMU_AGAIN %u times", AGAIN_MAX);
}

void play_exit(struct play_run *r, struct play_vcpu *v)
{
	play_must(r, "vpmu_vcpu_exit", leave(r, v));
}

void play_put(struct play_run *r, struct play_vcpu *v)
{
	if (v->place == PLAY_IN)
		play_exit(r, v);
	if (v->place == PLAY_NOWHERE)
		return;
	play_must(r, "vpmu_vcpu_put", vpmu_vcpu_put(&v->v));
	v->place = PLAY_NOWHERE;
}

void play_go_in(struct play_run *r, struct play_vcpu *v)
{
	play_load_vcpu(r, v);
	if (v->place == PLAY_OUT)
		play_enter(r, v);
}

bool play_pause(struct play_run *r, struct play_vcpu *v)
{
	if (r->by_hand || v->place != PLAY_IN)
		return false;
	play_exit(r, v);
	return true;
}

void play_resume(struct play_run *r, struct play_vcpu *v, bool paused)
{
	if (paused && v->place == PLAY_OUT)
		play_enter(r, v);
}

/* Interrupts of the physical CPU, while the guest runs; an interrupt for a halted guest. */
void play_service(struct play_run *r, struct play_vcpu *v)
{
	if (v->place == PLAY_IN && play_on_hardware(r, v->vm) && is_interrupted(r, cpu_of(r, v))) {
		play_exit(r, v);
		play_deliver(r, v);
		play_must(r, "vpmu_vcpu_enter", enter(r, v));
	}
	if (v->halted && v->place == PLAY_OUT && vpmu_vcpu_interrupt(&v->v) > 0) {
		play_deliver(r, v);
		if (!v->halted)
			play_enter(r, v);
	}
}
