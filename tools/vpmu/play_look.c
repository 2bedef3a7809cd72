/* SPDX-License-Identifier: MIT */
/* What a scenario can look at. */
#include "play_world.h"

#include <string.h>

#define LOOK(name) static uint64_t name(struct play_run *r, const struct play_arg *args)

/* ---- The case ---- */

#define CASE_LOOK(name, what) \
	LOOK(name) { (void)args; return (what); }

CASE_LOOK(is_intel, r->what->model->arch == PLAY_INTEL)
CASE_LOOK(is_amd, r->what->model->arch == PLAY_AMD)
CASE_LOOK(is_arm, r->what->model->arch == PLAY_ARM)
CASE_LOOK(is_x86, r->what->model->arch != PLAY_ARM)
CASE_LOOK(is_cheap, r->what->mode == PLAY_CHEAP)
CASE_LOOK(is_dear, r->what->mode == PLAY_DEAR)
/* A mode, as `only` and conditions name it. */
#define MODE_LOOK(name, word) \
	CASE_LOOK(name, play_word_holds(play_find_word(word), r->what->model->arch, r->what->mode))

MODE_LOOK(is_lazy, "lazy")
MODE_LOOK(is_eager, "eager")
MODE_LOOK(is_emulated, "emulated")
MODE_LOOK(is_mediated, "mediated")
MODE_LOOK(is_partitioned, "partitioned")
MODE_LOOK(is_passed_through, "passthrough")
MODE_LOOK(is_off, "off")
MODE_LOOK(is_bare, "bare")

static bool is_x86_case(const struct play_run *r)
{
	return r->what->model->arch != PLAY_ARM;
}

#define MODEL_LOOK(name, what) \
	LOOK(name) \
	{ \
		const struct play_model *m = play_current_model(r); \
		(void)args; \
		return (what); \
	}

MODEL_LOOK(version, is_x86_case(r) ? m->x86.version : m->arm.version)
MODEL_LOOK(gp, is_x86_case(r) ? m->x86.gp : m->arm.counters)
MODEL_LOOK(fixed, m->x86.fixed)
MODEL_LOOK(width, m->x86.gp_width)
MODEL_LOOK(fixed_width, m->x86.fixed_width)
MODEL_LOOK(core, m->x86.core_extension || m->x86.version >= 2)

/* ---- The loop and interrupts ---- */

CASE_LOOK(pmis, play_is_bare(r) ? play_bare(r)->alone.pmis : play_vcpu(r)->counts.pmis)
CASE_LOOK(pmis_masked, play_vcpu(r)->counts.pmis_masked)
CASE_LOOK(apic_errors, play_vcpu(r)->counts.apic_errors)
CASE_LOOK(pmis_taken, play_vcpu(r)->counts.pmis_taken)
CASE_LOOK(pmis_late, play_vcpu(r)->counts.pmis_late)
CASE_LOOK(host_nmis, play_vcpu(r)->counts.host_nmis)
CASE_LOOK(exits, play_vcpu(r)->counts.exits)
CASE_LOOK(enters, play_vcpu(r)->counts.enters)
CASE_LOOK(halted, play_vcpu(r)->halted)
CASE_LOOK(in_guest, play_vcpu(r)->place == PLAY_IN)
CASE_LOOK(executed, r->executed)
CASE_LOOK(outcome, r->outcome)
CASE_LOOK(value_read, r->value)
CASE_LOOK(owner, vpmu_cpu_nmi_owner(&play_cpu(r)->cpu))

static int checked(struct play_run *r, const char *what, int said)
{
	if (said < 0)
		play_must(r, what, said);
	return said;
}

/* While the counters are in the hardware, the guest's interrupt controller sees its line. */
LOOK(line)
{
	struct play_vcpu *v;
	struct play_cpu *cpu;
	bool paused;
	int level;

	(void)args;
	if (play_is_bare(r))
		return !is_x86_case(r) && model_interrupt(&play_bare(r)->arm_pmu);
	v = play_vcpu(r);
	cpu = &r->world->cpus[v->cpu];
	if (!is_x86_case(r) && v->place == PLAY_IN && play_is_mediated(v->vm) &&
	    vpmu_cpu_nmi_owner(&cpu->cpu) == VPMU_OWNER_LIVE)
		return model_interrupt(&cpu->arm_pmu);
	paused = play_pause(r, v);
	level = checked(r, "vpmu_vcpu_interrupt", vpmu_vcpu_interrupt(&v->v));
	play_resume(r, v, paused);
	return (uint64_t)level;
}

/* ---- The source ---- */

#define SOURCE_LOOK(name, member) \
	CASE_LOOK(name, play_emulated_vcpu(r, #name)->source.member - play_vcpu(r)->marked.member)

SOURCE_LOOK(creates, creates)
SOURCE_LOOK(releases, releases)
SOURCE_LOOK(starts, starts)
SOURCE_LOOK(stops, stops)
SOURCE_LOOK(periods, periods)
SOURCE_LOOK(reads, reads)
SOURCE_LOOK(calls, source.calls)
CASE_LOOK(live, play_emulated_vcpu(r, "live")->source.live)


static const struct vpmu_script_event *event(struct play_run *r, const struct play_arg *args)
{
	unsigned int slot = play_index(r, args, 0, VPMU_COUNTER_MAX);

	return &play_emulated_vcpu(r, "event")->source.slot[slot];
}

#define EVENT_LOOK(name, member) \
	LOOK(name) { return event(r, args)->member; }

EVENT_LOOK(event_exists, exists)
EVENT_LOOK(event_counts, counts)
EVENT_LOOK(event_value, value)
EVENT_LOOK(event_selector, event.selector)
EVENT_LOOK(event_meaning, event.meaning)
EVENT_LOOK(event_user, event.user)
EVENT_LOOK(event_kernel, event.kernel)
EVENT_LOOK(event_checkpointed, event.checkpointed)
EVENT_LOOK(event_period, event.period)

/* ---- The guest's PMU, from the host ---- */

static struct vpmu_counter_status counter(struct play_run *r, const struct play_arg *args)
{
	unsigned int i = play_index(r, args, 0, UINT32_MAX);
	struct play_vcpu *v = play_vcpu(r);
	bool paused = play_pause(r, v);
	struct vpmu_counter_status found = { 0 };
	int said = vpmu_vcpu_counter(&v->v, i, &found);

	play_resume(r, v, paused);
	play_returned(r, "vpmu_vcpu_counter", said);
	return found;
}

LOOK(status) { return counter(r, args).state; }
LOOK(value) { return args ? counter(r, args).value : value_read(r, args); }
LOOK(enabled_time) { return counter(r, args).enabled_time; }
LOOK(running_time) { return counter(r, args).running_time; }

static struct vpmu_state state(struct play_run *r)
{
	struct play_vcpu *v = play_vcpu(r);
	bool paused = play_pause(r, v);
	struct vpmu_state s;

	play_must(r, "vpmu_vcpu_get_state", vpmu_vcpu_get_state(&v->v, &s));
	play_resume(r, v, paused);
	return s;
}

CASE_LOOK(state_enabled, state(r).enabled)
CASE_LOOK(state_interrupts, state(r).interrupts)
CASE_LOOK(state_status, state(r).status)
CASE_LOOK(state_global, state(r).global)
CASE_LOOK(state_user, state(r).user)
CASE_LOOK(state_pointer, state(r).pointer)
CASE_LOOK(state_debug, state(r).debug)
CASE_LOOK(state_pending, state(r).pending)
LOOK(state_value) { return state(r).value[play_index(r, args, 0, VPMU_COUNTER_MAX)]; }
LOOK(state_selector) { return state(r).selector[play_index(r, args, 0, VPMU_COUNTER_MAX)]; }

static const struct vpmu_state *saved_state(struct play_run *r, const struct play_arg *args,
					    unsigned int n)
{
	const struct play_saved *s = &r->world->saved[play_index(r, args, n, PLAY_SLOTS_MAX)];

	if (!s->exists)
		play_senseless(r, "nothing was saved there");
	return &s->state;
}

LOOK(same)
{
	const struct vpmu_state *a = saved_state(r, args, 0);
	struct vpmu_state now;

	if (play_arg_count(args) > 1)
		return !memcmp(a, saved_state(r, args, 1), sizeof(*a));
	now = state(r);
	return !memcmp(a, &now, sizeof(now));
}

LOOK(get_msr)
{
	struct play_vcpu *v = play_vcpu(r);
	uint32_t index = (uint32_t)play_arg(r, args, 0);
	bool paused = play_pause(r, v);
	uint64_t read = 0;
	int said = vpmu_x86_get_msr(&v->v, index, &read);

	play_resume(r, v, paused);
	play_accessed(r, "vpmu_x86_get_msr", said);
	return r->value = read;
}

#define STATS_LOOK(name) \
	LOOK(stats_##name) \
	{ \
		struct play_vcpu *v = play_vcpu(r); \
		(void)args; \
		return vpmu_vcpu_stats(&v->v)->name - v->marked_stats.name; \
	}

STATS_LOOK(enters)
STATS_LOOK(quiet)
STATS_LOOK(resumed)
STATS_LOOK(loads)
STATS_LOOK(saves)
STATS_LOOK(probes)
STATS_LOOK(switch_accesses)
STATS_LOOK(trapped_reads)
STATS_LOOK(trapped_writes)
STATS_LOOK(trap_accesses)
STATS_LOOK(faults)
STATS_LOOK(pmi_taken)
STATS_LOOK(pmi_late)
STATS_LOOK(pmi_given)
STATS_LOOK(emulated_counted)

/* ---- What runs direct ---- */

static struct play_vcpu *running(struct play_run *r)
{
	struct play_vcpu *v = play_vcpu(r);

	play_go_in(r, v);
	return v;
}

LOOK(direct) { return vpmu_x86_is_direct(&running(r)->v, (uint32_t)play_arg(r, args, 0), false); }
LOOK(direct_write)
{
	return vpmu_x86_is_direct(&running(r)->v, (uint32_t)play_arg(r, args, 0), true);
}
CASE_LOOK(rdpmc_direct, vpmu_x86_rdpmc_is_direct(&running(r)->v))
CASE_LOOK(intercepts, vpmu_x86_intercepts(&running(r)->v))
CASE_LOOK(reach, vpmu_vcpu_reach_reason(&running(r)->v))
LOOK(debugctl) { return vpmu_x86_debugctl(&play_vcpu(r)->v, play_arg(r, args, 0)); }

/* ---- The physical PMU ---- */

CASE_LOOK(accesses, play_cpu(r)->hw->accesses - play_cpu(r)->marked_accesses)

LOOK(phys)
{
	struct play_cpu *cpu = play_cpu(r);
	uint64_t reg = play_arg(r, args, 0), read = 0;
	bool there = is_x86_case(r) ? x86_pmu_rdmsr(&cpu->x86.pmu, (uint32_t)reg, &read)
				    : model_el2_access(&cpu->arm_pmu, (uint32_t)reg, false, &read);

	if (!there)
		play_senseless(r, "the machine has no register %#llx", (unsigned long long)reg);
	return read;
}

CASE_LOOK(phys_lvtpc, play_cpu(r)->x86.pmu.lvtpc)

/* One remembered access, whatever the architecture. */
struct access {
	bool real;                   /* of a PMU register: not of a field of the VMCS */
	bool write;
	uint64_t reg, value;
};

static size_t trace_count(struct play_run *r)
{
	const struct play_cpu *cpu = play_cpu(r);
	size_t n = is_x86_case(r) ? cpu->x86.trace_count : cpu->arm.trace_count;

	if (n > PLAY_TRACE_MAX)
		play_senseless(r, "more than %u accesses since the last mark", PLAY_TRACE_MAX);
	return n;
}

/* LVTPC is written, and is no MSR. */
static struct access x86_access(const struct x86_cpu_access *a)
{
	bool msr = a->op == X86_CPU_RDMSR || a->op == X86_CPU_WRMSR;

	return (struct access){
		.real = msr || a->op == X86_CPU_RDPMC || a->op == X86_CPU_LVTPC,
		.write = a->op == X86_CPU_WRMSR || a->op == X86_CPU_LVTPC,
		.reg = msr ? a->index : UINT64_MAX,
		.value = a->value,
	};
}

static struct access trace_at(struct play_run *r, size_t n)
{
	const struct play_cpu *cpu = play_cpu(r);
	const struct model_access *arm;

	if (is_x86_case(r))
		return x86_access(&cpu->x86_trace[n]);
	arm = &cpu->arm_trace[n];
	return (struct access){ true, arm->write, arm->reg, arm->value };
}

static bool is_write_to(struct play_run *r, size_t n, uint64_t reg)
{
	struct access a = trace_at(r, n);

	return a.write && a.reg == reg;
}

LOOK(writes)
{
	uint64_t reg = play_arg(r, args, 0), n = 0;

	for (size_t i = 0; i < trace_count(r); i++)
		n += is_write_to(r, i, reg);
	return n;
}

LOOK(first_write)
{
	uint64_t reg = play_arg(r, args, 0);

	for (size_t i = 0; i < trace_count(r); i++) {
		if (is_write_to(r, i, reg))
			return i + 1;
	}
	return 0;
}

LOOK(last_write)
{
	uint64_t reg = play_arg(r, args, 0);

	for (size_t i = trace_count(r); i > 0; i--) {
		if (is_write_to(r, i - 1, reg))
			return i;
	}
	return 0;
}

LOOK(written)
{
	uint64_t last = last_write(r, args);

	if (!last)
		play_fail(r, "expected a write of that register since the last mark, seen none");
	return trace_at(r, last - 1).value;
}

/* The fields of the VMCS are in the trace and are no register accesses. */
static uint64_t count_accesses(struct play_run *r, bool write)
{
	uint64_t n = 0;

	for (size_t i = 0; i < trace_count(r); i++) {
		struct access a = trace_at(r, i);

		n += a.real && a.write == write;
	}
	return n;
}

CASE_LOOK(hw_reads, count_accesses(r, false))
CASE_LOOK(hw_writes, count_accesses(r, true))

/* ---- Policies ---- */

/* Compiled once: a scenario asks thousands of times. */
static const struct vpmu_x86_filter *compiled(struct play_run *r, const struct play_arg *args)
{
	unsigned int number = play_index(r, args, 0, PLAY_SLOTS_MAX);
	struct play_filter *f = &r->world->filters[number];

	if (!f->is_compiled)
		play_must(r, "vpmu_x86_filter_compile", play_compile(r, number, &f->compiled));
	f->is_compiled = true;
	return &f->compiled;
}

LOOK(allows)
{
	uint64_t event_asked = play_arg(r, args, 1);

	if (is_x86_case(r))
		return vpmu_x86_filter_allows(compiled(r, args),
					      r->what->model->arch == PLAY_AMD ? VPMU_X86_AMD
									       : VPMU_X86_INTEL,
					      event_asked);
	return play_filter_allows(r, play_index(r, args, 0, PLAY_SLOTS_MAX), event_asked);
}

LOOK(allows_fixed)
{
	return vpmu_x86_filter_allows_fixed(compiled(r, args), play_index(r, args, 1, 32));
}

/* ---- Numbers ---- */

LOOK(random_number) { return play_random(r, play_arg(r, args, 0)); }

LOOK(popcount) { return (uint64_t)__builtin_popcountll(play_arg(r, args, 0)); }

#define X86 PLAY_NEEDS_X86
#define EMULATED PLAY_NEEDS_EMULATED
#define MEDIATED PLAY_NEEDS_MEDIATED
#define PLAIN(name, call) { name, 0, 0, 0, NULL, call }
#define BARE PLAY_TAKES_BARE
#define BARE_TOO(name, call) { name, 0, 0, BARE, NULL, call }
#define STATS(name) PLAIN("stats." #name, stats_##name)
#define SOURCE(name) { #name, 0, 0, EMULATED, NULL, name }
#define EVENT(name) { "event." #name, 1, 1, EMULATED, NULL, event_##name }
#define STATE(name) PLAIN("state." #name, state_##name)

const struct play_function play_look_functions[] = {
	BARE_TOO("intel", is_intel), BARE_TOO("amd", is_amd), BARE_TOO("arm", is_arm), BARE_TOO("x86", is_x86),
	BARE_TOO("cheap", is_cheap), BARE_TOO("dear", is_dear), BARE_TOO("lazy", is_lazy),
	BARE_TOO("eager", is_eager), BARE_TOO("emulated", is_emulated), BARE_TOO("mediated", is_mediated),
	BARE_TOO("partitioned", is_partitioned), BARE_TOO("passthrough", is_passed_through),
	BARE_TOO("off", is_off), BARE_TOO("bare", is_bare),
	BARE_TOO("version", version), BARE_TOO("gp", gp), BARE_TOO("n", gp),
	BARE_TOO("fixed", fixed), { "width", 0, 0, X86 | BARE, NULL, width },
	{ "fixed_width", 0, 0, X86 | BARE, NULL, fixed_width }, { "core", 0, 0, BARE, NULL, core },

	BARE_TOO("pmis", pmis), PLAIN("pmis_taken", pmis_taken), PLAIN("pmis_late", pmis_late),
	{ "pmis_masked", 0, 0, X86, NULL, pmis_masked },
	{ "apic_errors", 0, 0, X86, NULL, apic_errors },
	{ "host_nmis", 0, 0, X86, NULL, host_nmis },
	PLAIN("exits", exits), PLAIN("enters", enters), PLAIN("halted", halted),
	PLAIN("in_guest", in_guest), BARE_TOO("executed", executed), BARE_TOO("outcome", outcome),
	PLAIN("owner", owner), BARE_TOO("line", line),

	SOURCE(creates), SOURCE(releases), SOURCE(starts), SOURCE(stops), SOURCE(periods),
	SOURCE(reads), SOURCE(calls), SOURCE(live),
	{ "event", 1, 1, EMULATED, NULL, NULL },
	EVENT(exists), EVENT(counts), EVENT(value), EVENT(selector), EVENT(meaning), EVENT(user),
	EVENT(kernel), EVENT(checkpointed), EVENT(period),

	{ "status", 1, 1, 0, NULL, status }, { "value", 0, 1, BARE, NULL, value },
	{ "enabled_time", 1, 1, 0, NULL, enabled_time },
	{ "running_time", 1, 1, 0, NULL, running_time },
	STATE(enabled), STATE(interrupts), STATE(status), STATE(global), STATE(user),
	STATE(pointer), STATE(debug), STATE(pending),
	{ "state.value", 1, 1, 0, NULL, state_value },
	{ "state.selector", 1, 1, 0, NULL, state_selector },
	{ "same", 1, 2, 0, NULL, same },
	{ "get", 1, 1, X86, NULL, get_msr },
	STATS(enters), STATS(quiet), STATS(resumed), STATS(loads), STATS(saves), STATS(probes),
	STATS(switch_accesses), STATS(trapped_reads), STATS(trapped_writes), STATS(trap_accesses),
	STATS(faults), STATS(pmi_taken), STATS(pmi_late), STATS(pmi_given), STATS(emulated_counted),

	{ "direct", 1, 1, X86, NULL, direct }, { "direct_write", 1, 1, X86, NULL, direct_write },
	{ "rdpmc_direct", 0, 0, X86, NULL, rdpmc_direct },
	{ "intercepts", 0, 0, X86, NULL, intercepts },
	{ "reach", 0, 0, MEDIATED, NULL, reach }, { "debugctl", 1, 1, X86, NULL, debugctl },

	{ "accesses", 0, 0, MEDIATED, NULL, accesses },
	{ "hw_reads", 0, 0, MEDIATED, NULL, hw_reads },
	{ "hw_writes", 0, 0, MEDIATED, NULL, hw_writes },
	{ "phys", 1, 1, MEDIATED, NULL, phys },
	{ "phys_lvtpc", 0, 0, MEDIATED | X86, NULL, phys_lvtpc },
	{ "writes", 1, 1, MEDIATED, NULL, writes },
	{ "first_write", 1, 1, MEDIATED, NULL, first_write },
	{ "last_write", 1, 1, MEDIATED, NULL, last_write },
	{ "written", 1, 1, MEDIATED, NULL, written },

	{ "allows", 2, 2, 0, NULL, allows }, { "allows_fixed", 2, 2, X86, NULL, allows_fixed },
	{ "random", 1, 1, BARE, NULL, random_number }, { "popcount", 1, 1, BARE, NULL, popcount },
	{ 0 },
};
