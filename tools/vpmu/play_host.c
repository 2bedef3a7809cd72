/* SPDX-License-Identifier: MIT */
/* What the hypervisor and the rest of the host do. */
#include "play_world.h"
#include "play_head.h"

#include <string.h>

/* ---- VMs and machines ---- */

static void create(struct play_run *r, const struct play_arg *args)
{
	struct play_world *w = r->world;
	uint64_t n = play_option(r, args, "vm", (uint64_t)(w->vcpus[r->vcpu].vm - w->vms));

	if (n >= r->what->file->vm_count)
		play_senseless(r, "there is no VM %llu", (unsigned long long)n);
	play_returned(r, "creating the VM", play_vm_create(r, (unsigned int)n, args));
}

static void machine(struct play_run *r, const struct play_arg *args)
{
	play_machine_new(r, args);
}

static void destroy(struct play_run *r, const struct play_arg *args)
{
	(void)args;
	play_vcpu_destroy(r, &r->world->vcpus[r->vcpu]);
}

static void detach(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);
	int said;

	(void)args;
	if (!r->by_hand)
		play_put(r, v);
	said = vpmu_vcpu_detach(&v->v);
	v->attached = v->attached && said;
	play_returned(r, "vpmu_vcpu_detach", said);
}

/* ---- Residency ---- */

static void load(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);
	uint64_t cpu = play_option(r, args, "cpu", v->cpu);
	int said;

	if (cpu >= r->what->file->cpu_count)
		play_senseless(r, "there is no CPU %llu", (unsigned long long)cpu);
	said = vpmu_vcpu_load(&v->v, play_on_hardware(r, v->vm) ? &r->world->cpus[cpu].cpu : NULL);
	if (!said) {
		v->cpu = (unsigned int)cpu;
		v->place = PLAY_OUT;
	}
	play_returned(r, "vpmu_vcpu_load", said);
}

static void enter(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);

	(void)args;
	if (r->by_hand) {
		play_returned(r, "vpmu_vcpu_enter", play_boundary(r, v, true));
		return;
	}
	play_load_vcpu(r, v);
	if (v->place == PLAY_IN)
		play_fail(r, "the guest runs already");
	play_enter(r, v);
}

static void leave(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);

	(void)args;
	if (!r->by_hand && v->place == PLAY_NOWHERE)
		play_go_in(r, v);
	play_returned(r, "vpmu_vcpu_exit", play_boundary(r, v, false));
}

static void put(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);
	int said;

	(void)args;
	if (!r->by_hand && v->place == PLAY_IN)
		play_exit(r, v);
	said = vpmu_vcpu_put(&v->v);
	if (!said)
		v->place = PLAY_NOWHERE;
	play_returned(r, "vpmu_vcpu_put", said);
}

static void migrate(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);
	enum play_place place = v->place;

	play_put(r, v);
	v->cpu = play_index(r, args, 0, r->what->file->cpu_count);
	if (place != PLAY_NOWHERE)
		play_load_vcpu(r, v);
	if (place == PLAY_IN)
		play_enter(r, v);
}

/* What a guest cannot notice has no meaning without a hypervisor, and no effect. */
#define UNNOTICED(name, call) \
	static void name(struct play_run *r, const struct play_arg *args) \
	{ \
		if (!play_is_bare(r)) \
			call(r, args); \
	}

UNNOTICED(load_or_not, load)
UNNOTICED(enter_or_not, enter)
UNNOTICED(leave_or_not, leave)
UNNOTICED(put_or_not, put)
UNNOTICED(migrate_or_not, migrate)

/* ---- The CPU ---- */

static unsigned int number_of(struct play_run *r, const struct play_cpu *cpu)
{
	return (unsigned int)(cpu - r->world->cpus);
}

/* The vCPU that runs on (cpu), with its counters there. */
static struct play_vcpu *running_on(struct play_run *r, const struct play_cpu *cpu)
{
	for (unsigned int i = 0; i < r->world->vcpu_count; i++) {
		struct play_vcpu *v = &r->world->vcpus[i];

		if (v->exists && v->place == PLAY_IN && v->cpu == number_of(r, cpu) &&
		    play_on_hardware(r, v->vm))
			return v;
	}
	return NULL;
}

struct play_vcpu *play_pause_cpu(struct play_run *r, const struct play_cpu *cpu)
{
	struct play_vcpu *v = running_on(r, cpu);

	return v && play_pause(r, v) ? v : NULL;
}

void play_resume_cpu(struct play_run *r, struct play_vcpu *paused)
{
	if (paused)
		play_resume(r, paused, true);
}

static void reclaim(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	uint64_t owns = play_option(r, args, "owns", cpu->hw->caps.counters);
	struct play_vcpu *paused = play_pause_cpu(r, cpu);

	play_returned(r, "vpmu_cpu_reclaim", vpmu_cpu_reclaim(&cpu->cpu, owns));
	play_resume_cpu(r, paused);
}

static void request_reclaim(struct play_run *r, const struct play_arg *args)
{
	unsigned int cpu = play_index(r, args, 0, r->what->file->cpu_count);

	play_need_machine(r);
	r->value = vpmu_cpu_request_reclaim(&r->world->cpus[cpu].cpu);
}

static void poll(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	struct play_vcpu *paused = play_pause_cpu(r, cpu);

	(void)args;
	vpmu_cpu_poll(&cpu->cpu);
	play_resume_cpu(r, paused);
}

static void interrupt(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	struct play_vcpu *paused = play_pause_cpu(r, cpu);

	(void)args;
	play_take_interrupt(r, cpu, play_vcpu(r), false);
	play_resume_cpu(r, paused);
}

static void ask(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);
	bool paused = play_pause(r, v);

	(void)args;
	play_deliver(r, v);
	play_resume(r, v, paused);
}

static void host(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	uint64_t reg = play_arg(r, args, 0), value = play_arg(r, args, 1);
	struct play_vcpu *paused = play_pause_cpu(r, cpu);
	bool fine = play_is(r, PLAY_X86)
			    ? x86_pmu_wrmsr(&cpu->x86.pmu, (uint32_t)reg, value)
			    : model_el2_access(&cpu->arm_pmu, (uint32_t)reg, true, &value);

	play_resume_cpu(r, paused);
	play_returned(r, "the host's write",
		      fine ? 0 : play_is(r, PLAY_X86) ? VPMU_FAULT_GP : VPMU_FAULT_UNDEF);
}

static void host_run(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	struct play_burst burst = play_burst_of(r, args);
	struct play_vcpu *paused = play_pause_cpu(r, cpu);

	play_host_ran(r, cpu, &burst);
	play_host_interrupts(r, cpu);
	play_resume_cpu(r, paused);
}

/* ---- Emulated instructions ---- */

static void emulate(struct play_run *r, const struct play_arg *args)
{
	uint64_t n = play_arg(r, args, 0), branches = play_option(r, args, "branches", 0);
	bool user = play_find_option(args, "user");
	struct play_vcpu *v = play_vcpu(r);
	bool paused = play_pause(r, v);
	int said = vpmu_count(&v->v, VPMU_EVENT_INSTRUCTIONS, user, n);

	if (!said && branches)
		said = vpmu_count(&v->v, VPMU_EVENT_BRANCHES, user, branches);
	play_returned(r, "vpmu_count", said);
	play_resume(r, v, paused);
}

/* ---- Policy ---- */

static void filter_new(struct play_run *r, const struct play_arg *args)
{
	struct play_filter *f = &r->world->filters[play_arg(r, args, 0)];

	memset(f, 0, sizeof(*f));
	f->kvm.action = (uint32_t)play_option(r, args, "action", 0);
	f->kvm.flags = (uint32_t)play_option(r, args, "flags", 0);
	f->kvm.fixed_counter_bitmap = (uint32_t)play_option(r, args, "fixed", 0);
	f->nevents = play_option(r, args, "nevents", UINT64_MAX);
	f->size = play_option(r, args, "size", UINT64_MAX);
}

static void filter_add(struct play_run *r, const struct play_arg *args)
{
	struct play_filter *f = &r->world->filters[play_arg(r, args, 0)];

	for (args = args->next; args; args = args->next) {
		uint64_t first = play_evaluate(r, args->value);
		uint64_t last = args->last ? play_evaluate(r, args->last) : first;
		struct vpmu_event_range range = { (uint32_t)first, (uint32_t)last };

		if (args->last && play_is(r, PLAY_X86))
			play_senseless(r, "an x86 filter has events and no ranges");
		f->is_compiled = false;
		if (f->count == PLAY_EVENTS_MAX)
			play_senseless(r, "more than %u events", PLAY_EVENTS_MAX);
		f->kvm.events[f->count] = first;
		f->ranges[f->count++] = range;
	}
}

static void compile(struct play_run *r, const struct play_arg *args)
{
	struct vpmu_x86_filter out;

	play_returned(r, "vpmu_x86_filter_compile", play_compile(r, play_arg(r, args, 0), &out));
}

static void policy(struct play_run *r, const struct play_arg *args)
{
	struct play_vm *vm = play_vm(r);
	const struct vpmu_policy *new;
	int said = play_policy_new(r, play_arg(r, args, 0), &new);

	if (!said)
		said = vpmu_vm_set_policy(&vm->vm, new);
	if (!said)
		vm->policy = new;
	play_returned(r, "vpmu_vm_set_policy", said);
}

/* ---- State ---- */

static void save(struct play_run *r, const struct play_arg *args)
{
	struct play_saved *s = &r->world->saved[play_arg(r, args, 0)];
	struct play_vcpu *v = play_vcpu(r);
	bool paused = play_pause(r, v);

	play_returned(r, "vpmu_vcpu_get_state", vpmu_vcpu_get_state(&v->v, &s->state));
	s->exists = true;
	play_resume(r, v, paused);
}

static struct play_saved *saved(struct play_run *r, const struct play_arg *args)
{
	struct play_saved *s = &r->world->saved[play_arg(r, args, 0)];

	if (!s->exists)
		play_senseless(r, "nothing was saved there");
	return s;
}

/* Another vCPU's LVTPC comes by other ways (the local APIC's state); here it is the same one. */
static void restore(struct play_run *r, const struct play_arg *args)
{
	const struct play_saved *s = saved(r, args);
	struct play_vcpu *v = play_vcpu(r);

	if (!r->by_hand)
		play_put(r, v);
	play_returned(r, "vpmu_vcpu_set_state", vpmu_vcpu_set_state(&v->v, &s->state));
}

static void save_msrs(struct play_run *r, const struct play_arg *args)
{
	struct play_saved *s = &r->world->saved[play_arg(r, args, 0)];
	struct play_vcpu *v = play_vcpu(r);
	uint32_t list[PLAY_MSRS_MAX];
	bool paused = play_pause(r, v);

	s->msr_count = vpmu_x86_msr_list(&v->vm->vm, list, PLAY_MSRS_MAX);
	if (s->msr_count > PLAY_MSRS_MAX)
		play_senseless(r, "more than %u MSRs", PLAY_MSRS_MAX);
	for (size_t i = 0; i < s->msr_count; i++) {
		s->msr[i].index = list[i];
		play_accessed(r, "vpmu_x86_get_msr",
			      vpmu_x86_get_msr(&v->v, list[i], &s->msr[i].value));
	}
	s->exists = true;
	play_resume(r, v, paused);
}

uint64_t play_random(struct play_run *r, uint64_t below)
{
	r->random ^= r->random >> 12;
	r->random ^= r->random << 25;
	r->random ^= r->random >> 27;
	return below ? r->random * 0x2545F4914F6CDD1Du % below : 0;
}

/* In which order the (count) MSRs are set. */
static void order(struct play_run *r, const struct play_arg *args, size_t count,
		  size_t out[PLAY_MSRS_MAX])
{
	bool reverse = play_find_option(args, "reverse");

	for (size_t i = 0; i < count; i++)
		out[i] = reverse ? count - 1 - i : i;
	for (size_t i = count; play_find_option(args, "shuffle") && i > 1; i--) {
		size_t other = (size_t)play_random(r, i), last = out[i - 1];

		out[i - 1] = out[other];
		out[other] = last;
	}
}

static void restore_msrs(struct play_run *r, const struct play_arg *args)
{
	const struct play_saved *s = saved(r, args);
	struct play_vcpu *v = play_vcpu(r);
	size_t which[PLAY_MSRS_MAX];

	if (!r->by_hand)
		play_put(r, v);
	order(r, args, s->msr_count, which);
	for (size_t i = 0; i < s->msr_count; i++)
		play_accessed(r, "vpmu_x86_set_msr",
			      vpmu_x86_set_msr(&v->v, s->msr[which[i]].index,
					       s->msr[which[i]].value));
}

static void set(struct play_run *r, const struct play_arg *args)
{
	uint32_t index = (uint32_t)play_arg(r, args, 0);
	uint64_t value = play_arg(r, args, 1);
	struct play_vcpu *v = play_vcpu(r);
	bool paused = play_pause(r, v);

	play_accessed(r, "vpmu_x86_set_msr", vpmu_x86_set_msr(&v->v, index, value));
	play_resume(r, v, paused);
}

static void reset(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v;
	int said;

	(void)args;
	if (play_is_bare(r)) {
		r->world->bare_exists = false;
		return;
	}
	v = play_vcpu(r);
	if (!r->by_hand)
		play_put(r, v);
	said = vpmu_vcpu_reset(&v->v);
	if (!said) {
		v->lvtpc = VPMU_X86_LVTPC_RESET;
		v->halted = false;
	}
	if (!said && play_is(r, PLAY_X86))
		said = vpmu_vcpu_lvtpc(&v->v, v->lvtpc);
	play_returned(r, "vpmu_vcpu_reset", said);
}

static void wait(struct play_run *r, const struct play_arg *args)
{
	struct play_vcpu *v = play_vcpu(r);

	play_go_in(r, v);
	if (!play_is_mediated(v->vm))
		vpmu_script_source_wait(&v->source, play_arg(r, args, 0));
}

static void mark(struct play_run *r, const struct play_arg *args)
{
	(void)args;
	play_mark(r);
}

static const struct play_command add_to_filter = {
	.name = "add", .run = filter_add, .min = 1, .max = 255,
};

#define STATE .min = 0, .names = PLAY_STATE_NAME
#define X86_ONLY .needs = PLAY_NEEDS_X86
#define MEDIATED .needs = PLAY_NEEDS_MEDIATED

const struct play_command play_host_commands[] = {
	{ .name = "create", .run = create, .options = "vm= mode=@ policy=@ cpus= " PLAY_MODEL_KEYS },
	{ .name = "machine", .run = machine, .options = "cpu= " PLAY_HARDWARE_KEYS },
	{ .name = "destroy", .run = destroy },
	{ .name = "detach", .run = detach },
	{ .name = "load", .run = load_or_not, .needs = PLAY_TAKES_BARE, .options = "cpu=" },
	{ .name = "enter", .run = enter_or_not, .needs = PLAY_TAKES_BARE },
	{ .name = "exit", .run = leave_or_not, .needs = PLAY_TAKES_BARE },
	{ .name = "put", .run = put_or_not, .needs = PLAY_TAKES_BARE },
	{ .name = "migrate", .run = migrate_or_not, .needs = PLAY_TAKES_BARE, .min = 1, .max = 1 },
	{ .name = "reclaim", .run = reclaim, .options = "owns=" },
	{ .name = "request_reclaim", .run = request_reclaim, .min = 1, .max = 1 },
	{ .name = "poll", .run = poll },
	{ .name = "interrupt", .run = interrupt },
	{ .name = "ask", .run = ask },
	{ .name = "emulate", .run = emulate, .min = 1, .max = 1, .options = "branches= user" },
	{ .name = "filter", .run = filter_new, .names = PLAY_FILTER_NAME, .more = &add_to_filter,
	  .options = "action= flags= fixed= nevents= size=" },
	{ .name = "compile", .run = compile, .names = PLAY_FILTER_NAME, X86_ONLY },
	{ .name = "policy", .run = policy, .names = PLAY_FILTER_NAME },
	{ .name = "save", .run = save, STATE },
	{ .name = "restore", .run = restore, STATE },
	{ .name = "save_msrs", .run = save_msrs, STATE, X86_ONLY },
	{ .name = "restore_msrs", .run = restore_msrs, STATE, X86_ONLY,
	  .options = "reverse shuffle" },
	{ .name = "set", .run = set, .assigns = true, X86_ONLY },
	{ .name = "reset", .run = reset, .needs = PLAY_TAKES_BARE },
	{ .name = "time", .run = wait, .min = 1, .max = 1 },
	{ .name = "host", .run = host, .assigns = true, MEDIATED },
	{ .name = "host_run", .run = host_run, .min = 1, .max = 1, .options = PLAY_RUN_KEYS },
	{ .name = "mark", .run = mark, .needs = PLAY_TAKES_BARE },
	{ 0 },
};
