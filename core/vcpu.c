/* SPDX-License-Identifier: MIT */
/* VMs and vCPUs: life cycle, residency, and the guest's state wherever it is. */
#include "registers.h"

/* ---- VM ---- */

static const struct vpmu_switch *switch_of(const struct vpmu_vm_config *config)
{
	if (config->mode > VPMU_MODE_OFF)
		return NULL;
	if (config->mode == VPMU_MODE_EMULATED)
		return &vpmu_emulated_switch;
	if (config->switch_kind == VPMU_SWITCH_LAZY)
		return &vpmu_mediated_switch;
	return config->switch_kind == VPMU_SWITCH_EAGER ? &vpmu_eager_switch : NULL;
}

/* Everything direct is right only where there is nothing to enforce. */
static bool may_pass_through(const struct vpmu_vm *vm)
{
	const struct vpmu_hw_caps *caps = &vm->machine->caps;

	return vpmu_policy_is_open(vm->created_policy) && !caps->multithreaded && !caps->reduced &&
	       vm->arch->shape_is(vm, caps) && vm->arch->identity_is(vm, caps);
}

int vpmu_vm_init(struct vpmu_vm *vm, struct vpmu_machine *machine, const struct vpmu_arch *arch,
		 const void *model, uint64_t counters, const struct vpmu_vm_config *config)
{
	if (config->size != sizeof(*config))
		return VPMU_ERR_SIZE;
	if (!switch_of(config))
		return VPMU_ERR_PARAM;
	if (config->policy && vpmu_policy_check(config->policy))
		return VPMU_ERR_PARAM;
	if (config->mode != VPMU_MODE_EMULATED && counters & ~machine->caps.counters)
		return VPMU_ERR_UNSUPPORTED;

	*vm = (struct vpmu_vm){
		.machine = machine,
		.arch = arch,
		.model = model,
		.sw = switch_of(config),
		.mode = config->mode,
		.created_policy = config->policy,
		.counters = counters,
	};
	atomic_init(&vm->policy, config->policy);
	if (vm->mode == VPMU_MODE_PASSTHROUGH && !may_pass_through(vm))
		return VPMU_ERR_UNSUPPORTED;
	return vpmu_host_claim_vm(vm);
}

int vpmu_vm_set_policy(struct vpmu_vm *vm, const struct vpmu_policy *policy)
{
	if (policy && vpmu_policy_check(policy))
		return VPMU_ERR_PARAM;
	if (!vm->arch->takes(policy))
		return VPMU_ERR_PARAM;
	if (vm->mode == VPMU_MODE_PASSTHROUGH && !vpmu_policy_is_open(policy))
		return VPMU_ERR_UNSUPPORTED;
	atomic_store(&vm->policy, policy);
	return 0;
}

bool vpmu_policy_unused(struct vpmu_vcpu *const *vcpus, size_t count,
			const struct vpmu_policy *policy)
{
	for (size_t i = 0; i < count; i++) {
		if (vcpus[i]->vm->created_policy == policy ||
		    atomic_load(&vcpus[i]->vm->policy) == policy)
			return false;
		if (atomic_load(&vcpus[i]->policy) == policy)
			return false;
	}
	return true;
}

/* ---- vCPU: power-on ---- */

static void judge(struct vpmu_vcpu *v)
{
	v->busy = vpmu_state_is_busy(v->vm, &v->state);
}

void vpmu_vcpu_init(struct vpmu_vcpu *v, struct vpmu_vm *vm)
{
	*v = (struct vpmu_vcpu){ .vm = vm, .interrupt_masked = vm->arch->edge };
	atomic_init(&v->policy, atomic_load(&vm->policy));
	vm->arch->reset(vm, &v->state);
}

int vpmu_vcpu_attach(struct vpmu_vcpu *v, struct vpmu_emulated *emulated,
		     struct vpmu_source *source)
{
	if (v->vm->mode != VPMU_MODE_EMULATED || v->emulated)
		return VPMU_ERR_STATE;
	if (source->ops->size != sizeof(*source->ops))
		return VPMU_ERR_SIZE;
	*emulated = (struct vpmu_emulated){ .source = source };
	atomic_init(&emulated->hints, 0);
	v->emulated = emulated;
	return 0;
}

static void replace(struct vpmu_vcpu *v)
{
	v->reported = v->state.status;
	v->pmi_given = false;
	v->clears = false;
	if (v->vm->sw->replace)
		v->vm->sw->replace(v);
	v->counts_known = false;
	judge(v);
}

int vpmu_vcpu_detach(struct vpmu_vcpu *v)
{
	if (v->loaded)
		return VPMU_ERR_STATE;
	if (!v->emulated)
		return 0;
	/* Counts so far are the guest's; then no event is left. */
	vpmu_vcpu_pull(v, VPMU_ITEM_STATUS, v->vm->counters);
	replace(v);
	v->emulated = NULL;
	return 0;
}

int vpmu_vcpu_reset(struct vpmu_vcpu *v)
{
	if (v->loaded)
		return VPMU_ERR_STATE;
	v->vm->arch->reset(v->vm, &v->state);
	replace(v);
	return 0;
}

/* ---- Residency ---- */

bool vpmu_vcpu_is_resident(const struct vpmu_vcpu *v)
{
	return v->cpu && v->cpu->resident == v;
}

/* The guest's direct registers show nothing of the other counters, of which there are some. */
static bool is_fenced(const struct vpmu_vm *vm, const struct vpmu_hw_caps *caps)
{
	return caps->partitions && !caps->reduced && vm->counters != caps->counters &&
	       vm->arch->shape_is(vm, caps);
}

static enum vpmu_reach_reason reason_of(const struct vpmu_vcpu *v)
{
	const struct vpmu_vm *vm = v->vm;
	const struct vpmu_hw_caps *caps = &v->cpu->hw->caps;

	if (vm->mode == VPMU_MODE_EMULATED)
		return VPMU_REACH_EMULATED;
	if ((vm->mode == VPMU_MODE_PARTITIONED || v->cpu->events) && !is_fenced(vm, caps))
		return VPMU_REACH_SHARED;
	if (caps->reduced || !vm->arch->shape_is(vm, caps))
		return VPMU_REACH_SHAPE;
	if (caps->fine_traps && vm->mode != VPMU_MODE_PASSTHROUGH)
		return VPMU_REACH_FINE_TRAPS;
	if (!vm->arch->identity_is(vm, caps))
		return VPMU_REACH_SHAPE;
	if (v->unsafe || caps->multithreaded)
		return VPMU_REACH_UNSAFE;
	if (!vpmu_policy_is_open(atomic_load(&v->policy)) ||
	    !vpmu_policy_is_open(vm->created_policy))
		return VPMU_REACH_POLICY;
	return VPMU_REACH_OPEN;
}

void vpmu_vcpu_judge_reach(struct vpmu_vcpu *v)
{
	v->reason = reason_of(v);
}

enum vpmu_reach_reason vpmu_vcpu_reach_reason(const struct vpmu_vcpu *v)
{
	return v->reason;
}

/*
 * The registers that decide where an intercepted access goes, before any trap is looked at (RULES A6):
 * user access, and the pointer, whose stale value could make an indirect access UNDEF.
 */
static void close_view(struct vpmu_vcpu *v)
{
	vpmu_cpu_own(v->cpu, VPMU_OWNER_TRANSITION);
	vpmu_cpu_set_user(v->cpu, v->vm->arch->closed_user(v->vm, &v->state));
	vpmu_cpu_set_pointer(v->cpu, 0);
	vpmu_cpu_own(v->cpu, VPMU_OWNER_HOST);
}

static int load_error(const struct vpmu_vcpu *v, const struct vpmu_cpu *cpu)
{
	bool mediated = v->vm->mode != VPMU_MODE_EMULATED;

	if (v->loaded || (cpu && cpu->loaded) || (!mediated && !v->emulated))
		return VPMU_ERR_STATE;
	if (!mediated)
		return 0;
	if (!cpu || v->vm->counters & ~cpu->hw->caps.counters)
		return VPMU_ERR_UNSUPPORTED;
	return v->vm->arch->fits(v->vm, &cpu->hw->caps) ? 0 : VPMU_ERR_UNSUPPORTED;
}

static void load_cpu(struct vpmu_vcpu *v, struct vpmu_cpu *cpu)
{
	struct vpmu_hw *hw = cpu->hw;
	uint64_t accesses = hw->accesses;

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	v->cpu = cpu;
	v->reason = reason_of(v);
	cpu->loaded = v;
	atomic_store(&cpu->occupied, true);
	cpu->host_user = cpu->user = hw->ops->user ? hw->ops->user(hw) : 0;
	cpu->host_pointer = cpu->pointer = hw->ops->pointer ? hw->ops->pointer(hw) : 0;
	hw->ops->reach(hw, VPMU_REACH_NONE);
	cpu->reach = VPMU_REACH_NONE;
	close_view(v);
	vpmu_host_schedule(cpu);
	v->stats.switch_accesses += hw->accesses - accesses;
}

int vpmu_vcpu_load(struct vpmu_vcpu *v, struct vpmu_cpu *cpu)
{
	int error = load_error(v, cpu);

	if (error)
		return error;
	v->loaded = true;
	v->exits = 0;
	v->pmi_given = false;
	v->quiet_looks = 0;
	v->touched_counters = false;
	v->may_differ = 0;
	v->unsafe = false;
	if (cpu)
		load_cpu(v, cpu);
	return 0;
}

/*
 * Takes over the VM's policy. v->policy is published before vm->policy is looked at again, so that
 * vpmu_policy_unused() cannot miss a policy about to be used.
 */
static bool adopt_policy(struct vpmu_vcpu *v)
{
	const struct vpmu_policy *old = atomic_load_explicit(&v->policy, memory_order_relaxed);
	const struct vpmu_policy *policy = atomic_load_explicit(&v->vm->policy, memory_order_acquire);

	if (policy == old)
		return false;
	do {
		policy = atomic_load(&v->vm->policy);
		atomic_store(&v->policy, policy);
	} while (atomic_load(&v->vm->policy) != policy);
	return true;
}

static int boundary_error(const struct vpmu_vcpu *v, unsigned int nesting, bool in_guest)
{
	if (nesting)
		return VPMU_ERR_PARAM;
	return v->loaded && v->in_guest == in_guest ? 0 : VPMU_ERR_STATE;
}

/* Accesses of the vCPU's physical PMU so far. */
static uint64_t accesses_of(const struct vpmu_vcpu *v)
{
	return v->cpu ? v->cpu->hw->accesses : 0;
}

static void poll(struct vpmu_vcpu *v)
{
	if (v->cpu)
		vpmu_cpu_poll(v->cpu);
}

void vpmu_vcpu_take_hints(struct vpmu_vcpu *v)
{
	if (v->emulated && atomic_load(&v->emulated->hints))
		v->vm->sw->exit(v);
}

/* Is there an interrupt that the embedder is to deliver before the guest runs? */
static bool is_due(const struct vpmu_vcpu *v)
{
	return v->vm->arch->interrupt(v->vm, &v->state) && !v->interrupt_masked && !v->pmi_given;
}

/*
 * The guest is announced before the last look at what may have come up, and an overflow callback does
 * the two the other way round: one of them sees the other (RULES E1). What came before that was found by
 * the switch, perhaps after the embedder last asked: (was_due).
 */
static int announce(struct vpmu_vcpu *v, bool was_due)
{
	if (!v->emulated) {
		atomic_store_explicit(&v->in_guest, true, memory_order_relaxed);
		return 0;
	}
	atomic_store(&v->in_guest, true);
	if (!atomic_load(&v->emulated->hints) && (was_due || !is_due(v)))
		return 0;
	atomic_store(&v->in_guest, false);
	vpmu_vcpu_take_hints(v);
	return VPMU_AGAIN;
}

int vpmu_vcpu_enter(struct vpmu_vcpu *v, unsigned int nesting)
{
	int error = boundary_error(v, nesting, false);
	uint64_t accesses;
	bool was_due;

	if (error)
		return error;
	accesses = accesses_of(v);
	was_due = v->emulated && is_due(v);
	if (adopt_policy(v)) {
		/* Selectors in the hardware obey the old one: load them again, filtered anew. */
		v->vm->sw->evict(v, 0);
		if (v->cpu)
			v->reason = reason_of(v);
		v->counts_known = false;
	}
	poll(v);
	/* A reclaim has given the host its user access back. */
	if (v->emulated && v->cpu)
		close_view(v);
	v->stats.enters++;
	v->vm->sw->enter(v);
	v->stats.switch_accesses += accesses_of(v) - accesses;
	return announce(v, was_due);
}

/*
 * Is what the guest has, since this exit, in memory? What a guest without a status register must not keep may still owe
 * it an interrupt. A quiet one whose interrupt is a level has changed nothing: its exits cost no look at each counter.
 */
static bool left_hardware(const struct vpmu_vcpu *v, uint64_t accesses)
{
	if (!v->cpu || v->emulated || vpmu_vcpu_is_resident(v))
		return false;
	return v->vm->arch->edge || accesses_of(v) != accesses;
}

int vpmu_vcpu_exit(struct vpmu_vcpu *v, unsigned int nesting)
{
	int error = boundary_error(v, nesting, true);
	uint64_t accesses;

	if (error)
		return error;
	accesses = accesses_of(v);
	atomic_store_explicit(&v->in_guest, false, memory_order_relaxed);
	v->pmi_given = false;
	v->vm->sw->exit(v);
	if (left_hardware(v, accesses)) {
		vpmu_vcpu_note(v);
		v->vm->arch->clean(v->vm, &v->state);
	}
	poll(v);
	v->stats.switch_accesses += accesses_of(v) - accesses;
	return 0;
}

static void put_cpu(struct vpmu_vcpu *v)
{
	struct vpmu_cpu *cpu = v->cpu;
	uint64_t accesses = cpu->hw->accesses;

	/* Of an emulated guest nothing is there, and what starves goes on to. */
	if (cpu->resident == v)
		v->vm->sw->evict(v, 0);
	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	vpmu_cpu_set_user(cpu, cpu->host_user);
	vpmu_cpu_set_pointer(cpu, cpu->host_pointer);
	vpmu_cpu_own(cpu, VPMU_OWNER_HOST);
	cpu->loaded = NULL;
	vpmu_host_schedule(cpu);
	atomic_store(&cpu->occupied, false);
	v->cpu = NULL;
	v->stats.switch_accesses += cpu->hw->accesses - accesses;
}

int vpmu_vcpu_put(struct vpmu_vcpu *v)
{
	if (!v->loaded || v->in_guest)
		return VPMU_ERR_STATE;
	if (v->vm->sw->put)
		v->vm->sw->put(v);
	if (v->cpu)
		put_cpu(v);
	v->loaded = false;
	return 0;
}

bool vpmu_vcpu_overflow(struct vpmu_vcpu *v, unsigned int slot)
{
	struct vpmu_emulated *e = v->emulated;

	if (!e || slot >= VPMU_COUNTER_MAX)
		return false;
	atomic_fetch_or(&e->hints, VPMU_BIT(slot));
	return atomic_load(&v->in_guest);
}

/* ---- State, wherever it is ---- */

void vpmu_vcpu_pull(struct vpmu_vcpu *v, uint32_t items, uint64_t counters)
{
	/* Whether an overflow is owed is for its counter's interrupt enable to say. */
	if (items & VPMU_ITEM_STATUS && v->vm->arch->edge)
		items |= VPMU_ITEM_INTERRUPTS;
	v->vm->sw->pull(v, items, counters);
	if (items & VPMU_ITEM_STATUS && vpmu_vcpu_is_resident(v))
		vpmu_vcpu_note(v);
}

struct vpmu_change vpmu_vcpu_change(struct vpmu_vcpu *v)
{
	if (v->vm->sw->begin)
		v->vm->sw->begin(v);
	return (struct vpmu_change){
		.enabled = v->state.enabled,
		.interrupts = v->state.interrupts,
		.status = v->state.status,
		.global = v->state.global,
	};
}

void vpmu_vcpu_push(struct vpmu_vcpu *v, const struct vpmu_change *change)
{
	if (change->selectors)
		v->counts_known = false;
	v->vm->sw->push(v, change);
	vpmu_vcpu_noted(v, change->status);
	vpmu_vcpu_switched(v, change->interrupts);
	if (vpmu_vcpu_is_resident(v))
		return;
	judge(v);
	if (v->cpu)
		close_view(v);
}

/* Counters that count (event) in ring (user) as far as selector and policy go. */
static uint64_t selecting(const struct vpmu_vcpu *v, enum vpmu_event_class event, bool user)
{
	const struct vpmu_policy *policy = atomic_load_explicit(&v->policy, memory_order_relaxed);
	const struct vpmu_arch *arch = v->vm->arch;
	uint64_t rest = v->vm->counters;
	uint64_t mask = 0;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);
		uint64_t selector = v->state.selector[i];

		if (arch->matches(v->vm, i, selector, event, user) &&
		    !arch->denied(v->vm, policy, i, selector))
			mask |= VPMU_BIT(i);
	}
	return mask;
}

/* The same from memory, as long as no selector changed: most exits of most guests (M124). */
static uint64_t counting(struct vpmu_vcpu *v, enum vpmu_event_class event, bool user)
{
	if (v->in_hw & VPMU_ITEM_SELECTORS) {
		vpmu_vcpu_pull(v, VPMU_ITEM_SELECTORS, 0);
		return selecting(v, event, user);
	}
	if (!v->counts_known) {
		for (unsigned int i = 0; i < VPMU_EVENT_CLASSES; i++) {
			v->counts[i][0] = selecting(v, (enum vpmu_event_class)i, false);
			v->counts[i][1] = selecting(v, (enum vpmu_event_class)i, true);
		}
		v->counts_known = true;
	}
	return v->counts[event][user];
}

static void count(struct vpmu_vcpu *v, uint64_t mask, bool user, uint64_t n)
{
	struct vpmu_change change;

	vpmu_vcpu_pull(v, VPMU_ITEM_STATUS, mask | v->vm->arch->carries(v->vm, &v->state, mask));
	change = vpmu_vcpu_change(v);
	while (mask) {
		change.values |=
			v->vm->arch->add(v->vm, &v->state, vpmu_mask_next(&mask), user, n);
		v->stats.emulated_counted += n;
	}
	vpmu_vcpu_push(v, &change);
}

static void count_selected(struct vpmu_vcpu *v, enum vpmu_event_class event, bool user, uint64_t n)
{
	uint64_t mask = counting(v, event, user);

	if (!mask)
		return;
	vpmu_vcpu_pull(v, vpmu_enables(v), 0);
	mask &= vpmu_active(v->vm, &v->state);
	if (mask)
		count(v, mask, user, n);
}

int vpmu_count(struct vpmu_vcpu *v, enum vpmu_event_class event, bool user, uint64_t n)
{
	uint64_t before = accesses_of(v);

	if (v->in_guest)
		return VPMU_ERR_STATE;
	if (event >= VPMU_EVENT_CLASSES)
		return VPMU_ERR_PARAM;
	count_selected(v, event, user, n);
	v->stats.trap_accesses += accesses_of(v) - before;
	return 0;
}

/* ---- Looking ---- */

int vpmu_vcpu_get_state(struct vpmu_vcpu *v, struct vpmu_state *out)
{
	if (v->in_guest)
		return VPMU_ERR_STATE;
	vpmu_vcpu_pull(v, VPMU_ITEMS_ALL, v->vm->counters);
	vpmu_vcpu_lose(v);
	*out = v->state;
	/* A guest with everything direct may have set bits that its model does not have. */
	v->vm->arch->clean(v->vm, out);
	return 0;
}

int vpmu_vcpu_set_state(struct vpmu_vcpu *v, const struct vpmu_state *in)
{
	if (v->loaded)
		return VPMU_ERR_STATE;
	if (!v->vm->arch->valid(v->vm, in))
		return VPMU_ERR_PARAM;
	v->state = *in;
	/* Nothing is owed to a masked entry: the embedder's word on it may come later. */
	if (in->pending)
		v->interrupt_masked = false;
	replace(v);
	return 0;
}

static enum vpmu_counter_state counter_state(const struct vpmu_vcpu *v, unsigned int i)
{
	const struct vpmu_arch *arch = v->vm->arch;
	uint64_t selector = v->state.selector[i];

	if (!(v->vm->counters & VPMU_BIT(i)))
		return VPMU_COUNTER_ABSENT;
	if (!(vpmu_active(v->vm, &v->state) & VPMU_BIT(i)))
		return VPMU_COUNTER_STOPPED;
	if (arch->denied(v->vm, atomic_load(&v->policy), i, selector))
		return VPMU_COUNTER_DENIED;
	if (!arch->supported(v->vm, i, selector) ||
	    (v->emulated && v->emulated->unsupported & VPMU_BIT(i)))
		return VPMU_COUNTER_UNSUPPORTED;
	if (v->emulated && v->emulated->starved & VPMU_BIT(i))
		return VPMU_COUNTER_STARVED;
	return VPMU_COUNTER_COUNTING;
}

int vpmu_vcpu_counter(struct vpmu_vcpu *v, unsigned int i, struct vpmu_counter_status *out)
{
	if (i >= VPMU_COUNTER_MAX)
		return VPMU_ERR_PARAM;
	if (v->in_guest)
		return VPMU_ERR_STATE;
	vpmu_vcpu_pull(v, vpmu_enables(v) | VPMU_ITEM_SELECTORS, VPMU_BIT(i) & v->vm->counters);
	*out = (struct vpmu_counter_status){
		.state = counter_state(v, i),
		.value = v->state.value[i],
		.selector = v->state.selector[i],
	};
	if (v->emulated && out->state != VPMU_COUNTER_ABSENT) {
		out->enabled_time = v->emulated->counter[i].enabled;
		out->running_time = v->emulated->counter[i].running;
	}
	return 0;
}

const struct vpmu_vcpu_stats *vpmu_vcpu_stats(const struct vpmu_vcpu *v)
{
	return &v->stats;
}
