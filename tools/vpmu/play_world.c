/* SPDX-License-Identifier: MIT */
/* Machines, VMs and vCPUs come and go. The library's objects live here and do not move. */
#include "play_world.h"

#include <stdlib.h>
#include <string.h>

/* ---- The machine ---- */

static int arm_cpu_init(struct play_run *r, struct play_cpu *cpu, uint32_t number)
{
	/* EL2's own instructions around every access: a switch that leaves a counter on shows. */
	static const struct model_events cost = { .instructions = 3, .cycles = 5 };
	struct model_config config;

	play_arm_config(r, number, &config);
	model_pmu_reset(&cpu->arm_pmu, &config, r->what->file->seed * 4 + number + 1);
	model_hw_init(&cpu->arm, &cpu->arm_pmu);
	cpu->arm.cost = &cost;
	cpu->hw = &cpu->arm.hw;
	return 0;
}

static int x86_cpu_new(struct play_run *r, struct play_cpu *cpu, uint32_t number)
{
	struct x86_pmu_config config;
	bool vmx;
	int error;

	play_x86_config(r, number, &config, &vmx);
	error = x86_cpu_init(&cpu->x86, &config, vmx);
	cpu->hw = &cpu->x86.x86.hw;
	return error;
}

static void cpu_new(struct play_run *r, uint32_t number)
{
	struct play_cpu *cpu = &r->world->cpus[number];

	*cpu = (struct play_cpu){
		.run = r, .arm_trace = cpu->arm_trace, .x86_trace = cpu->x86_trace,
	};
	play_must(r, "the software PMU", play_is(r, PLAY_X86) ? x86_cpu_new(r, cpu, number)
							       : arm_cpu_init(r, cpu, number));
	vpmu_machine_add(&r->world->machine, &cpu->hw->caps);
	play_must(r, "vpmu_cpu_init", vpmu_cpu_init(&cpu->cpu, number, cpu->hw));
	play_watch(r, cpu);
}

void play_machine_new(struct play_run *r, const struct play_arg *args)
{
	struct play_world *w = r->world;

	for (unsigned int i = 0; i < w->vcpu_count; i++)
		play_vcpu_destroy(r, &w->vcpus[i]);
	for (unsigned int i = 0; i < r->what->file->vm_count; i++)
		w->vms[i].exists = false;
	/* Policies end with the VMs that have them, events with their CPU. */
	memset(w->events, 0, sizeof(w->events));
	memset(w->policies, 0, sizeof(w->policies));
	w->machine_args = args;
	w->machine_exists = true;
	vpmu_machine_init(&w->machine);
	for (unsigned int i = 0; i < r->what->file->cpu_count; i++)
		cpu_new(r, i);
}

void play_need_machine(struct play_run *r)
{
	if (play_is_bare(r))
		play_senseless(r, "there is no hypervisor to do it");
	if (!r->world->machine_exists)
		play_machine_new(r, NULL);
}

/* ---- Policies ---- */

int play_compile(struct play_run *r, uint64_t number, struct vpmu_x86_filter *out)
{
	const struct play_filter *filter = &r->world->filters[number];
	struct play_filter *lying = malloc(sizeof(*lying));
	size_t size = offsetof(struct play_filter, kvm.events) +
		      filter->count * sizeof(uint64_t);
	int error;

	if (!lying)
		die(EXIT_CANNOT, "out of memory");
	*lying = *filter;
	lying->kvm.nevents = filter->nevents == UINT64_MAX ? filter->count
							   : (uint32_t)filter->nevents;
	if (filter->size != UINT64_MAX)
		size = filter->size < sizeof(lying->kvm) ? (size_t)filter->size
							 : sizeof(lying->kvm);
	error = vpmu_x86_filter_compile(out, r->what->model->arch == PLAY_AMD ? VPMU_X86_AMD
									       : VPMU_X86_INTEL,
					&lying->kvm, size);
	free(lying);
	return error;
}

bool play_filter_allows(struct play_run *r, uint64_t number, uint64_t event)
{
	const struct play_filter *filter = &r->world->filters[number];
	const struct vpmu_policy policy = {
		.ranges = filter->ranges,
		.range_count = filter->count,
		.allow_listed = filter->kvm.action == 0,
	};

	play_must(r, "vpmu_policy_check", vpmu_policy_check(&policy));
	return vpmu_policy_allows(&policy, (uint32_t)event);
}

static bool is_in_use(struct play_world *w, const struct vpmu_policy *policy)
{
	for (unsigned int i = 0; i < PLAY_VMS_MAX; i++) {
		struct vpmu_vcpu *vcpus[PLAY_VCPUS_MAX];
		size_t count = 0;

		if (!w->vms[i].exists)
			continue;
		for (unsigned int n = 0; n < w->vms[i].count; n++) {
			if (w->vcpus[w->vms[i].first + n].exists)
				vcpus[count++] = &w->vcpus[w->vms[i].first + n].v;
		}
		/* The VM's own pointer, and what its vCPUs still obey. */
		if (w->vms[i].policy == policy || !vpmu_policy_unused(vcpus, count, policy))
			return true;
	}
	return false;
}

static struct play_policy *free_policy(struct play_run *r)
{
	struct play_world *w = r->world;

	for (unsigned int i = 0; i < PLAY_POLICIES_MAX; i++) {
		struct play_policy *p = &w->policies[i];

		if (p->taken && is_in_use(w, &p->policy))
			continue;
		memset(p, 0, sizeof(*p));
		p->taken = true;
		return p;
	}
	play_senseless(r, "more than %u policies are in use", PLAY_POLICIES_MAX);
}

int play_policy_new(struct play_run *r, uint64_t number, const struct vpmu_policy **policy)
{
	const struct play_filter *filter;
	struct play_policy *p;
	int error = 0;

	*policy = NULL;
	if (number == UINT64_MAX)
		return 0;
	filter = &r->world->filters[number];
	p = free_policy(r);
	*policy = &p->policy;
	if (play_is(r, PLAY_X86)) {
		p->policy.x86 = &p->x86;
		error = play_compile(r, number, &p->x86);
	} else {
		memcpy(p->ranges, filter->ranges, sizeof(p->ranges));
		p->policy.ranges = p->ranges;
		p->policy.range_count = filter->count;
		p->policy.allow_listed = filter->kvm.action == 0;
	}
	p->taken = !error;
	return error;
}

/* ---- VMs ---- */

static enum play_mode mode_of(struct play_run *r, unsigned int n, const struct play_arg *args)
{
	const struct play_shape *shape = r->what->file->vms;
	uint64_t mode = r->what->mode;

	for (unsigned int i = 1; n && i < n; i++)
		shape = shape->next;
	if (n)
		mode = play_option(r, shape->args, "mode", mode);
	return (enum play_mode)play_option(r, args, "mode", mode);
}

static void model_of(struct play_run *r, unsigned int n, const struct play_arg *args,
		     struct play_model *model)
{
	const struct play_shape *shape = r->what->file->vms;
	const struct play_arg *lists[3] = { r->what->model->args, NULL, args };

	for (unsigned int i = 1; n && i < n; i++)
		shape = shape->next;
	if (n)
		lists[1] = shape->args;
	play_model_init(r, model, lists, PLAY_COUNT(lists));
}

/* The CPUs that the VM may run on: a part of the machine, if some were named. */
static struct vpmu_machine *machine_of(struct play_run *r, struct play_vm *vm, uint64_t cpus)
{
	struct play_world *w = r->world;

	if (cpus == UINT64_MAX)
		return &w->machine;
	if (!cpus || cpus >> r->what->file->cpu_count)
		play_senseless(r, "cpus=%#llx is no set of this machine's CPUs",
			       (unsigned long long)cpus);
	vpmu_machine_part(&vm->part, &w->machine);
	for (unsigned int i = 0; i < r->what->file->cpu_count; i++) {
		if (cpus >> i & 1)
			vpmu_machine_add(&vm->part, &w->cpus[i].hw->caps);
	}
	return &vm->part;
}

static int vm_init(struct play_run *r, struct play_vm *vm, struct vpmu_machine *machine,
		   const struct vpmu_policy *policy)
{
	static const struct {
		enum vpmu_mode mode;
		enum vpmu_switch_kind kind;
	} modes[PLAY_MODES] = {
		[PLAY_CHEAP] = { VPMU_MODE_EMULATED, VPMU_SWITCH_LAZY },
		[PLAY_DEAR] = { VPMU_MODE_EMULATED, VPMU_SWITCH_LAZY },
		[PLAY_LAZY] = { VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY },
		[PLAY_EAGER] = { VPMU_MODE_MEDIATED, VPMU_SWITCH_EAGER },
		[PLAY_PARTITIONED] = { VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY },
		[PLAY_PARTITIONED_EAGER] = { VPMU_MODE_PARTITIONED, VPMU_SWITCH_EAGER },
		[PLAY_PASSTHROUGH] = { VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY },
		[PLAY_OFF] = { VPMU_MODE_OFF, VPMU_SWITCH_LAZY },
		[PLAY_BARE] = { VPMU_MODE_OFF, VPMU_SWITCH_LAZY },
	};
	const struct vpmu_vm_config config = {
		.size = sizeof(config),
		.mode = modes[vm->mode].mode,
		.switch_kind = modes[vm->mode].kind,
		.policy = policy,
	};

	if (play_is(r, PLAY_X86))
		return vpmu_x86_vm_init(&vm->vm, machine, &vm->model.x86, &config);
	return vpmu_arm_vm_init(&vm->vm, machine, &vm->model.arm, &config);
}

void play_vm_end(struct play_run *r, struct play_vm *vm)
{
	play_check_no_event(r, vm, NULL);
	for (unsigned int i = 0; i < vm->count; i++)
		play_vcpu_destroy(r, &r->world->vcpus[vm->first + i]);
	if (vm->exists)
		vpmu_vm_end(&vm->vm);
	vm->exists = false;
	vm->policy = NULL;
}

int play_vm_create(struct play_run *r, unsigned int n, const struct play_arg *args)
{
	struct play_vm *vm = &r->world->vms[n];
	const struct vpmu_policy *policy;
	struct vpmu_machine *machine;
	int error;

	play_need_machine(r);
	play_vm_end(r, vm);
	vm->mode = mode_of(r, n, args);
	model_of(r, n, args, &vm->model);
	machine = machine_of(r, vm, play_option(r, args, "cpus", UINT64_MAX));
	error = play_policy_new(r, play_option(r, args, "policy", UINT64_MAX), &policy);
	if (!error)
		error = vm_init(r, vm, machine, policy);
	vm->exists = !error;
	vm->policy = error ? NULL : policy;
	return error;
}

/* ---- vCPUs ---- */

static void told(void *context, const struct vpmu_script_call *call)
{
	struct play_vcpu *v = context;

	v->calls[v->call_count++ % PLAY_CALLS_MAX] = *call;
}

/* The library's view of LVTPC is what the guest's local APIC has after its reset. */
static void vcpu_new(struct play_run *r, struct play_vcpu *v)
{
	unsigned int cpu = v->cpu;
	struct play_vm *vm = v->vm;

	memset(v, 0, sizeof(*v));
	v->run = r;
	v->vm = vm;
	v->cpu = cpu;
	v->exists = true;
	v->lvtpc = VPMU_X86_LVTPC_RESET;
	vpmu_vcpu_init(&v->v, &vm->vm);
	vpmu_script_source_init(&v->source, &v->v, vm->mode == PLAY_CHEAP);
	v->source.lacks = r->world->lacks;
	v->source.told = told;
	v->source.context = v;
	v->marked = v->source;
	if (!play_is_mediated(vm)) {
		play_must(r, "vpmu_vcpu_attach",
			  vpmu_vcpu_attach(&v->v, &v->emulated, &v->source.source));
		v->attached = true;
	}
	if (play_is(r, PLAY_X86))
		play_must(r, "vpmu_vcpu_lvtpc", vpmu_vcpu_lvtpc(&v->v, v->lvtpc));
}

void play_vcpu_destroy(struct play_run *r, struct play_vcpu *v)
{
	if (!v->exists)
		return;
	play_check_no_event(r, NULL, v);
	play_put(r, v);
	play_must(r, "vpmu_vcpu_detach", vpmu_vcpu_detach(&v->v));
	if (v->source.live)
		play_fail(r, "a vCPU ended and %u events are left in its source", v->source.live);
	if (v->source.misuse)
		play_fail(r, "the source saw %u operations that its contract does not allow",
			  v->source.misuse);
	v->exists = false;
	v->attached = false;
}

struct play_vm *play_vm(struct play_run *r)
{
	struct play_vm *vm = r->world->vcpus[r->vcpu].vm;

	if (!vm->exists)
		play_must(r, "creating the VM",
			  play_vm_create(r, (unsigned int)(vm - r->world->vms), NULL));
	return vm;
}

struct play_vcpu *play_vcpu(struct play_run *r)
{
	struct play_vcpu *v = &r->world->vcpus[r->vcpu];

	(void)play_vm(r);
	if (!v->exists)
		vcpu_new(r, v);
	return v;
}

struct play_vcpu *play_emulated_vcpu(struct play_run *r, const char *what)
{
	struct play_vcpu *v = play_vcpu(r);

	if (play_is_mediated(v->vm))
		play_senseless(r, "'%s' has no meaning for a mediated VM", what);
	return v;
}

struct play_cpu *play_cpu(struct play_run *r)
{
	play_need_machine(r);
	return &r->world->cpus[r->cpu >= 0 ? (unsigned int)r->cpu : r->world->vcpus[r->vcpu].cpu];
}

/* ---- The world ---- */

/* Not zeroed: only what was written is read. */
static void *new_trace(size_t size)
{
	void *trace = malloc(PLAY_TRACE_MAX * size);

	if (!trace)
		die(EXIT_CANNOT, "out of memory");
	return trace;
}

static void new_traces(struct play_run *r, struct play_cpu *cpu)
{
	if (play_is(r, PLAY_X86))
		cpu->x86_trace = new_trace(sizeof(*cpu->x86_trace));
	else
		cpu->arm_trace = new_trace(sizeof(*cpu->arm_trace));
}

void play_world_free(struct play_world *w)
{
	for (unsigned int i = 0; i < PLAY_CPUS_MAX; i++) {
		free(w->cpus[i].arm_trace);
		free(w->cpus[i].x86_trace);
	}
	free(w);
}

struct play_world *play_world_new(struct play_run *r)
{
	const struct play_file *f = r->what->file;
	struct play_world *w = calloc(1, sizeof(*w));

	if (!w)
		die(EXIT_CANNOT, "out of memory");
	for (unsigned int i = 0; i < f->cpu_count; i++)
		new_traces(r, &w->cpus[i]);
	for (unsigned int i = 0; i < f->vm_count; i++) {
		w->vms[i].first = w->vcpu_count;
		w->vms[i].count = f->vcpus[i];
		w->vms[i].mode = r->what->mode;
		for (unsigned int n = 0; n < f->vcpus[i]; n++)
			w->vcpus[w->vcpu_count++].vm = &w->vms[i];
	}
	return w;
}

void play_world_end(struct play_run *r)
{
	struct play_world *w = r->world;

	r->wanted = PLAY_OK;
	r->by_hand = false;
	for (unsigned int i = 0; i < w->vcpu_count; i++)
		play_put(r, &w->vcpus[i]);
	play_host_events_end(r);
	for (unsigned int i = 0; i < r->what->file->vm_count; i++)
		play_vm_end(r, &w->vms[i]);
}
