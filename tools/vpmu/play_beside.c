/* SPDX-License-Identifier: MIT */
/* What the host counts beside its guests (vpmu/host.h). */
#include "play_world.h"

/* ---- Which one ---- */

static struct play_host_event *slot(struct play_run *r, const struct play_arg *args)
{
	return &r->world->events[play_index(r, args, 0, PLAY_SLOTS_MAX)];
}

static struct play_host_event *living(struct play_run *r, const struct play_arg *args)
{
	struct play_host_event *h = slot(r, args);

	if (!h->exists)
		play_senseless(r, "this host event does not live");
	return h;
}

static struct play_vcpu *vcpu_numbered(struct play_run *r, uint64_t n)
{
	unsigned int outer = r->vcpu;
	struct play_vcpu *v;

	if (n >= r->world->vcpu_count)
		play_senseless(r, "there is no vCPU %llu", (unsigned long long)n);
	r->vcpu = (unsigned int)n;
	v = play_vcpu(r);
	r->vcpu = outer;
	return v;
}

static struct play_vm *vm_numbered(struct play_run *r, uint64_t n)
{
	if (n >= r->what->file->vm_count)
		play_senseless(r, "there is no VM %llu", (unsigned long long)n);
	return vcpu_numbered(r, r->world->vms[n].first)->vm;
}

/* ---- Creation ---- */

static void scope_of(struct play_run *r, const struct play_arg *args, struct play_host_event *h,
		     struct vpmu_host_event_config *c)
{
	bool vm = play_find_option(args, "vm"), vcpu = play_find_option(args, "vcpu");
	bool hypervisor = play_find_option(args, "hypervisor");

	if (vm + vcpu + hypervisor > 1)
		play_senseless(r, "a host event has one scope");
	if (hypervisor)
		c->scope = VPMU_SCOPE_HYPERVISOR;
	if (vm) {
		h->vm = vm_numbered(r, play_option(r, args, "vm", 0));
		c->scope = VPMU_SCOPE_VM;
		c->vm = &h->vm->vm;
	}
	if (vcpu) {
		h->vcpu = vcpu_numbered(r, play_option(r, args, "vcpu", 0));
		c->scope = VPMU_SCOPE_VCPU;
		c->vcpu = &h->vcpu->v;
	}
}

static struct vpmu_host_event_config config_of(struct play_run *r, const struct play_arg *args,
					       struct play_host_event *h)
{
	bool user = play_find_option(args, "user"), kernel = play_find_option(args, "kernel");
	struct vpmu_host_event_config c = {
		.size = sizeof(c),
		.scope = VPMU_SCOPE_CPU,
		.event = play_option(r, args, "event", play_is(r, PLAY_X86) ? 0xC0 : 0x08),
		.user = user || !kernel,
		.kernel = kernel || !user,
		.exclude_guest = play_find_option(args, "exclude_guest"),
		.exclude_host = play_find_option(args, "exclude_host"),
		.pinned = play_find_option(args, "pinned"),
		.watchdog = play_find_option(args, "watchdog"),
		.period = play_option(r, args, "period", 0),
	};

	scope_of(r, args, h, &c);
	return c;
}

static void create(struct play_run *r, const struct play_arg *args)
{
	struct play_host_event *h = slot(r, args);
	struct vpmu_host_event_config config;
	struct play_vcpu *paused;
	int said;

	if (h->exists)
		play_senseless(r, "this host event lives already");
	*h = (struct play_host_event){ .cpu = play_cpu(r) };
	config = config_of(r, args, h);
	paused = play_pause_cpu(r, h->cpu);
	said = vpmu_host_event_create(&h->event, &r->world->machine, &h->cpu->cpu, &config);
	h->exists = !said;
	play_resume_cpu(r, paused);
	play_returned(r, "vpmu_host_event_create", said);
}

static void period(struct play_run *r, const struct play_arg *args)
{
	struct play_host_event *h = living(r, args);
	struct play_vcpu *paused = play_pause_cpu(r, h->cpu);
	int said = vpmu_host_event_period(&h->event, play_arg(r, args, 1));

	play_resume_cpu(r, paused);
	play_returned(r, "vpmu_host_event_period", said);
}

static void end_event(struct play_run *r, const struct play_arg *args)
{
	struct play_host_event *h = living(r, args);
	struct play_vcpu *paused = play_pause_cpu(r, h->cpu);
	int said = vpmu_host_event_destroy(&h->event);

	h->exists = said;
	play_resume_cpu(r, paused);
	play_returned(r, "vpmu_host_event_destroy", said);
}

/* All of them, at the end of a case. */
void play_host_events_end(struct play_run *r)
{
	for (unsigned int i = 0; i < PLAY_SLOTS_MAX; i++) {
		struct play_host_event *h = &r->world->events[i];

		if (h->exists)
			play_must(r, "vpmu_host_event_destroy", vpmu_host_event_destroy(&h->event));
		h->exists = false;
	}
}

/* What ends here must not be what an event is about. */
void play_check_no_event(struct play_run *r, const struct play_vm *vm, const struct play_vcpu *v)
{
	for (unsigned int i = 0; i < PLAY_SLOTS_MAX; i++) {
		const struct play_host_event *h = &r->world->events[i];

		if (h->exists && ((vm && h->vm == vm) || (v && h->vcpu == v)))
			play_senseless(r, "a host event counts in what is to end: end it first");
	}
}

static void rotate(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	struct play_vcpu *paused = play_pause_cpu(r, cpu);
	int said = vpmu_cpu_rotate(&cpu->cpu);

	(void)args;
	play_resume_cpu(r, paused);
	play_returned(r, "vpmu_cpu_rotate", said);
}

static void vm_end(struct play_run *r, const struct play_arg *args)
{
	struct play_world *w = r->world;
	uint64_t n = play_option(r, args, "vm", (uint64_t)(w->vcpus[r->vcpu].vm - w->vms));

	if (n >= r->what->file->vm_count)
		play_senseless(r, "there is no VM %llu", (unsigned long long)n);
	play_vm_end(r, &w->vms[n]);
}

/* ---- Samples ---- */

/* The host took the interrupt of (cpu) and was told that events of its own overflowed. */
void play_take_samples(struct play_run *r, struct play_cpu *cpu, bool in_guest)
{
	struct vpmu_host_event *e;

	while ((e = vpmu_cpu_sample(&cpu->cpu))) {
		for (unsigned int i = 0; i < PLAY_SLOTS_MAX; i++) {
			struct play_host_event *h = &r->world->events[i];

			h->samples += e == &h->event;
			h->guest_samples += e == &h->event && in_guest;
		}
	}
}

/* ---- Looking ---- */

static struct vpmu_count counted(struct play_run *r, const struct play_arg *args)
{
	struct play_host_event *h = living(r, args);
	struct play_vcpu *paused = play_pause_cpu(r, h->cpu);
	struct vpmu_count count = { 0 };
	int said = vpmu_host_event_read(&h->event, &count);

	play_resume_cpu(r, paused);
	play_returned(r, "vpmu_host_event_read", said);
	return count;
}

#define LOOK(name) static uint64_t name(struct play_run *r, const struct play_arg *args)

LOOK(event_lives) { return slot(r, args)->exists; }
LOOK(event_count) { return counted(r, args).value; }
LOOK(event_enabled) { return counted(r, args).enabled; }
LOOK(event_running) { return counted(r, args).running; }
LOOK(event_samples) { return slot(r, args)->samples; }
LOOK(event_guest_samples) { return slot(r, args)->guest_samples; }

const struct play_command play_beside_commands[] = {
	{ .name = "host_event", .run = create, .names = PLAY_EVENT_NAME,
	  .more = &(const struct play_command){ .name = "end", .run = end_event,
						.names = PLAY_EVENT_NAME },
	  .options = "vm= vcpu= hypervisor event= period= user kernel exclude_guest exclude_host "
		     "pinned watchdog" },
	{ .name = "host_period", .run = period, .min = 1, .max = 1, .names = PLAY_EVENT_NAME },
	{ .name = "rotate", .run = rotate },
	{ .name = "vm_end", .run = vm_end, .options = "vm=" },
	{ 0 },
};

const struct play_function play_beside_functions[] = {
	{ "host_event", 1, 1, 0, NULL, NULL },
	{ "host_event.lives", 1, 1, 0, NULL, event_lives },
	{ "host_event.count", 1, 1, 0, NULL, event_count },
	{ "host_event.enabled", 1, 1, 0, NULL, event_enabled },
	{ "host_event.running", 1, 1, 0, NULL, event_running },
	{ "host_event.samples", 1, 1, 0, NULL, event_samples },
	{ "host_event.guest_samples", 1, 1, 0, NULL, event_guest_samples },
	{ 0 },
};
