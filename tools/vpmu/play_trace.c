/* SPDX-License-Identifier: MIT */
/* What the library did to sources and hardware: marks, breaches of contracts, the trace. */
#include "play_world.h"

#define SHOWN 12u

/* ---- Marks ---- */

static void mark_cpu(struct play_cpu *cpu)
{
	cpu->arm.trace_count = 0;
	cpu->x86.trace_count = 0;
	cpu->alone = (struct play_counts){ 0 };
	if (cpu->hw)
		cpu->marked_accesses = cpu->hw->accesses;
}

void play_mark(struct play_run *r)
{
	for (unsigned int i = 0; i < PLAY_CPUS_MAX; i++)
		mark_cpu(&r->world->cpus[i]);
	for (unsigned int i = 0; i < PLAY_SLOTS_MAX; i++)
		r->world->events[i].samples = r->world->events[i].guest_samples = 0;
	for (unsigned int i = 0; i < r->world->vcpu_count; i++) {
		struct play_vcpu *v = &r->world->vcpus[i];

		v->counts = (struct play_counts){ 0 };
		v->marked = v->source;
		v->call_count = 0;
		if (v->exists)
			v->marked_stats = *vpmu_vcpu_stats(&v->v);
	}
}

/* ---- NMIs between all accesses (RULES A3) ---- */

/* A status bit that the hardware would set, by the register that sets it: without interrupt. */
static void overflow(struct play_cpu *cpu)
{
	uint64_t bit = PLAY_BIT(cpu->overflow);

	if (!play_is(cpu->run, PLAY_X86))
		(void)model_el2_access(&cpu->arm_pmu, MODEL_PMOVSSET, true, &bit);
	else if (cpu->run->what->model->arch == PLAY_AMD)
		(void)x86_pmu_wrmsr(&cpu->x86.pmu, X86_MSR_AMD_STATUS_SET, bit);
	else
		(void)x86_pmu_wrmsr(&cpu->x86.pmu, X86_MSR_STATUS_SET, bit);
}

static void nmi(struct play_cpu *cpu)
{
	uint64_t accesses = cpu->hw->accesses;

	if (cpu->at_boundary)
		return;
	if (cpu->overflow_in && !--cpu->overflow_in)
		overflow(cpu);
	if (vpmu_cpu_nmi_owner(&cpu->cpu) == VPMU_OWNER_HOST)
		cpu->nmi_saw_host = true;
	if (cpu->hw->accesses != accesses)
		cpu->nmi_touched = true;
}

static void arm_nmi(struct model_hw *hw, void *context)
{
	(void)hw;
	nmi(context);
}

/* Which counters are no guest's changes with every event that comes, moves and goes. */
static void x86_nmi(struct x86_cpu *x86, void *context)
{
	x86->host_owned = ((struct play_cpu *)context)->cpu.host_counters;
	nmi(context);
}

void play_watch(struct play_run *r, struct play_cpu *cpu)
{
	if (play_is(r, PLAY_X86)) {
		cpu->x86.hook = x86_nmi;
		cpu->x86.hook_context = cpu;
		cpu->x86.trace = cpu->x86_trace;
		cpu->x86.trace_size = PLAY_TRACE_MAX;
	} else {
		cpu->arm.hook = arm_nmi;
		cpu->arm.hook_context = cpu;
		cpu->arm.trace = cpu->arm_trace;
		cpu->arm.trace_size = PLAY_TRACE_MAX;
	}
	/* What setting it up took is not remembered. */
	mark_cpu(cpu);
}

static const char *breach_of_cpu(struct play_run *r, const struct play_cpu *cpu)
{
	if (cpu->nmi_saw_host)
		return "an NMI while the PMU was being switched was told that the host has it";
	if (cpu->nmi_touched)
		return "vpmu_cpu_nmi_owner() touched a PMU register";
	if (play_is(r, PLAY_X86))
		return cpu->x86.violations ? cpu->x86.violation : NULL;
	return cpu->arm.violations ? cpu->arm.violation : NULL;
}

const char *play_breach(struct play_run *r)
{
	const struct play_world *w = r->world;

	for (unsigned int i = 0; w->machine_exists && i < r->what->file->cpu_count; i++) {
		const char *breach = breach_of_cpu(r, &w->cpus[i]);

		if (breach)
			return breach;
	}
	for (unsigned int i = 0; i < w->vcpu_count; i++) {
		if (w->vcpus[i].exists && w->vcpus[i].source.misuse)
			return "an operation that the source's contract does not allow";
	}
	return NULL;
}

/* ---- The end of the trace ---- */

static void print_calls(const struct play_vcpu *v, unsigned int n)
{
	static const char *const names[VPMU_SCRIPT_OPS] = {
		[VPMU_SCRIPT_CREATE] = "create", [VPMU_SCRIPT_RELEASE] = "release",
		[VPMU_SCRIPT_STOP] = "stop",	 [VPMU_SCRIPT_START] = "start",
		[VPMU_SCRIPT_PERIOD] = "period", [VPMU_SCRIPT_READ] = "read",
	};
	uint64_t first = v->call_count > SHOWN ? v->call_count - SHOWN : 0;

	if (!v->call_count)
		return;
	printf("    vCPU %u, source since the mark: %llu operations%s\n", n,
	       (unsigned long long)v->call_count, first ? ", the last:" : ":");
	for (uint64_t i = first; i < v->call_count; i++) {
		const struct vpmu_script_call *call = &v->calls[i % PLAY_CALLS_MAX];

		printf("      %s slot %u %#llx%s\n", names[call->op], call->slot,
		       (unsigned long long)call->value, call->failed ? " fails" : "");
	}
}

static void print_x86(struct play_run *r, const struct x86_cpu_access *a)
{
	static const char *const names[X86_CPU_OPS] = {
		[X86_CPU_RDMSR] = "RDMSR",
		[X86_CPU_WRMSR] = "WRMSR",
		[X86_CPU_RDPMC] = "RDPMC",
		[X86_CPU_LVTPC] = "write LVTPC",
		[X86_CPU_GET_GUEST_GLOBAL] = "read VMCS guest GLOBAL_CTRL",
		[X86_CPU_SET_GUEST_GLOBAL] = "write VMCS guest GLOBAL_CTRL",
		[X86_CPU_SWITCH_GLOBAL] = "VMCS host GLOBAL_CTRL",
	};
	char name[64] = "";

	if (a->op == X86_CPU_RDMSR || a->op == X86_CPU_WRMSR)
		(void)play_register_name(r->what->model->arch, a->index, name);
	if (a->op == X86_CPU_RDPMC)
		snprintf(name, sizeof(name), "%#x", a->index);
	printf("      %s %s%s%#llx\n", names[a->op], name, *name ? " = " : "= ",
	       (unsigned long long)a->value);
}

static void print_arm(struct play_run *r, const struct model_access *a)
{
	char name[64];

	printf("      %s %s = %#llx\n", a->write ? "MSR" : "MRS",
	       play_register_name(r->what->model->arch, a->reg, name),
	       (unsigned long long)a->value);
}

static void print_accesses(struct play_run *r, const struct play_cpu *cpu, unsigned int n)
{
	bool x86 = play_is(r, PLAY_X86);
	size_t all = x86 ? cpu->x86.trace_count : cpu->arm.trace_count;
	size_t kept = all < PLAY_TRACE_MAX ? all : PLAY_TRACE_MAX;
	size_t first = kept > SHOWN ? kept - SHOWN : 0;

	if (!all)
		return;
	printf("    CPU %u, accesses since the mark: %zu%s\n", n, all,
	       first ? ", the last:" : ":");
	for (size_t i = first; i < kept; i++) {
		if (x86)
			print_x86(r, &cpu->x86_trace[i]);
		else
			print_arm(r, &cpu->arm_trace[i]);
	}
}

void play_print_trace(struct play_run *r)
{
	const struct play_world *w = r->world;

	for (unsigned int i = 0; i < w->vcpu_count; i++)
		print_calls(&w->vcpus[i], i);
	for (unsigned int i = 0; i < PLAY_CPUS_MAX; i++)
		print_accesses(r, &w->cpus[i], i);
}
