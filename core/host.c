/* SPDX-License-Identifier: MIT */
/*
 * Host events: the host's own counting on counters that no guest has (vpmu/host.h, RULES A8, B).
 *
 * An event is *placed* when it has a counter, and *on* while that counter is started. Which side of the
 * boundary it counts on is the hardware's to decide, by what host_select() and host() were told: an exit
 * or an enter does nothing here. Counters are given out from the top, because guests take them from the bottom.
 */
#include "registers.h"

#include <vpmu/host.h>

/* ---- The machine's claims: mediated VMs against events that count inside guests ---- */

/* How many there are of each, in fields of one word. An event is one that counts inside guests. */
#define CLAIM_EVENT ((uint64_t)1)
#define CLAIM_WATCHDOG ((uint64_t)1 << 16)
#define CLAIM_MEDIATED ((uint64_t)1 << 32)
#define CLAIM_PARTITIONED ((uint64_t)1 << 48)
#define CLAIM_PASSED ((uint64_t)1 << 63)
#define EVENTS (CLAIM_WATCHDOG - CLAIM_EVENT)
#define WATCHDOGS (CLAIM_MEDIATED - CLAIM_WATCHDOG)
#define MEDIATED (CLAIM_PARTITIONED - CLAIM_MEDIATED)
#define PARTITIONED (CLAIM_PASSED - CLAIM_PARTITIONED)

static _Atomic uint64_t *claims_of(struct vpmu_machine *machine)
{
	return machine->whole ? &machine->whole->claims : &machine->claims;
}

/* One of a kind: what it adds to the word, its field, and who may not be there. */
struct claim {
	uint64_t one, field, others;
};

static const struct claim vm_claims[] = {
	[VPMU_MODE_MEDIATED] = { CLAIM_MEDIATED, MEDIATED, EVENTS | WATCHDOGS | CLAIM_PASSED },
	[VPMU_MODE_PARTITIONED] = { CLAIM_PARTITIONED, PARTITIONED, CLAIM_PASSED },
	[VPMU_MODE_PASSTHROUGH] = { CLAIM_PASSED, CLAIM_PASSED, UINT64_MAX },
	[VPMU_MODE_EMULATED] = { 0 },
	[VPMU_MODE_OFF] = { 0 },
};

static const struct claim event_claim = { CLAIM_EVENT, EVENTS, MEDIATED | CLAIM_PASSED };
static const struct claim watchdog_claim = { CLAIM_WATCHDOG, WATCHDOGS, MEDIATED | CLAIM_PASSED };

/* Of all that is in the way, the watchdog is told of first: nobody started it by hand. */
static int obstacle(const struct claim *c, uint64_t present)
{
	if (!(present & c->others))
		return (present & c->field) == c->field ? VPMU_ERR_LIMIT : 0;
	return present & c->others & WATCHDOGS || c->field == WATCHDOGS ? VPMU_ERR_WATCHDOG
								       : VPMU_ERR_BUSY;
}

static int claim(struct vpmu_machine *machine, const struct claim *c)
{
	_Atomic uint64_t *claims = claims_of(machine);
	uint64_t now = atomic_load(claims);
	int error;

	do {
		error = obstacle(c, now);
		if (error)
			return error;
	} while (!atomic_compare_exchange_weak(claims, &now, now + c->one));
	return 0;
}

int vpmu_host_claim_vm(struct vpmu_vm *vm)
{
	const struct claim *c = &vm_claims[vm->mode];
	int error;

	if (!c->one || !vm->counters)
		return 0;
	error = claim(vm->machine, c);
	vm->claimed = !error;
	return error;
}

void vpmu_vm_end(struct vpmu_vm *vm)
{
	if (!vm->claimed)
		return;
	vm->claimed = false;
	atomic_fetch_sub(claims_of(vm->machine), vm_claims[vm->mode].one);
}

/* ---- Where an event counts ---- */

static bool is_outside(const struct vpmu_host_event_config *c)
{
	return !c->exclude_host && (c->scope == VPMU_SCOPE_CPU || c->scope == VPMU_SCOPE_HYPERVISOR);
}

/* Could it count inside some guest? */
static bool is_inside(const struct vpmu_host_event_config *c)
{
	return !c->exclude_guest && c->scope != VPMU_SCOPE_HYPERVISOR;
}

/* Inside a mediated guest nobody else counts, so a guest of the scope's is not mediated. */
static bool is_blocking(const struct vpmu_host_event_config *c)
{
	return c->scope == VPMU_SCOPE_CPU && is_inside(c);
}

static bool is_inside_of(const struct vpmu_host_event_config *c, const struct vpmu_vcpu *v)
{
	if (!v || !is_inside(c))
		return false;
	if (c->scope == VPMU_SCOPE_VM)
		return v->vm == c->vm;
	return c->scope != VPMU_SCOPE_VCPU || v == c->vcpu;
}

static bool wants(const struct vpmu_host_event *e)
{
	return is_outside(&e->config) || is_inside_of(&e->config, e->cpu->loaded);
}

/* ---- Time ---- */

static uint64_t now(const struct vpmu_cpu *cpu)
{
	return cpu->hw->ops->time ? cpu->hw->ops->time(cpu->hw) : 0;
}

/* What was so since the last look, and is about to change. */
static void keep_time(struct vpmu_host_event *e)
{
	uint64_t time = now(e->cpu);

	if (e->wanted)
		e->enabled_time += time - e->since;
	if (e->on)
		e->running_time += time - e->since;
	e->since = time;
	e->wanted = wants(e);
}

/* ---- One event and its counter ---- */

static uint64_t value_mask(const struct vpmu_cpu *cpu)
{
	return UINT64_MAX >> (64 - cpu->hw->caps.host_width);
}

/* What was counted beyond a sample, before anybody came to look, is of the next period. */
static uint64_t left_after(const struct vpmu_host_event *e, uint64_t n)
{
	if (n < e->left)
		return e->left - n;
	return e->config.period - (n - e->left) % e->config.period;
}

/* Its count so far. */
static void harvest(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;
	uint64_t value = cpu->hw->ops->read(cpu->hw, e->counter);
	uint64_t n = (value - e->base) & value_mask(cpu);

	e->base = value;
	e->total += n;
	if (e->config.period)
		e->left = left_after(e, n);
}

static uint64_t round_up(uint64_t n, uint64_t granule)
{
	return granule ? (n + granule - 1) & ~(granule - 1) : n;
}

/* All ones above: the sample comes where the counter's overflow is, wherever that is. */
static void arm(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;

	e->base = 0 - round_up(e->left, cpu->hw->caps.host_granule);
	cpu->hw->ops->write(cpu->hw, e->counter, e->base);
}

static unsigned int flags_of(const struct vpmu_host_event *e)
{
	const struct vpmu_host_event_config *c = &e->config;

	return (c->user ? VPMU_HOST_USER : 0) | (c->kernel ? VPMU_HOST_KERNEL : 0) |
	       (is_inside(c) ? VPMU_HOST_INSIDE : 0) |
	       (is_outside(c) ? VPMU_HOST_OUTSIDE : 0) | (c->period ? VPMU_HOST_INTERRUPT : 0);
}

static void place(struct vpmu_host_event *e, unsigned int i)
{
	struct vpmu_cpu *cpu = e->cpu;

	e->counter = (uint8_t)i;
	e->placed = true;
	cpu->host_counters |= VPMU_BIT(i);
	cpu->known_value &= ~VPMU_BIT(i);
	cpu->known_selector &= ~VPMU_BIT(i);
	cpu->hw->ops->host_select(cpu->hw, i, e->config.event, flags_of(e));
	arm(e);
}

/* What a guest could read goes back to 0 (V2). */
static void displace(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;
	const struct vpmu_hw_ops *ops = cpu->hw->ops;
	uint64_t bit = VPMU_BIT(e->counter);

	keep_time(e);
	ops->stop(cpu->hw, bit);
	if (e->config.period)
		ops->interrupts_clear(cpu->hw, bit);
	harvest(e);
	if (e->base)
		ops->write(cpu->hw, e->counter, 0);
	if (ops->status(cpu->hw) & bit) {
		ops->status_clear(cpu->hw, bit);
		e->sampled = e->config.period;
	}
	cpu->known_value |= bit;
	cpu->host_counters &= ~bit;
	e->placed = false;
	e->on = false;
}

/* Beside host events the interrupt's entry is the host's; nobody may have said so yet. */
static void route_to_host(struct vpmu_cpu *cpu)
{
	if (!cpu->hw->ops->route || cpu->route == VPMU_CPU_ROUTE_HOST)
		return;
	cpu->hw->ops->route(cpu->hw, VPMU_ROUTE_HOST, 0);
	cpu->route = VPMU_CPU_ROUTE_HOST;
}

static void turn_on(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;

	if (e->config.period) {
		cpu->hw->ops->interrupts_set(cpu->hw, VPMU_BIT(e->counter));
		route_to_host(cpu);
	}
	cpu->hw->ops->start(cpu->hw, VPMU_BIT(e->counter));
	e->on = true;
}

/* ---- All events of a CPU ---- */

/* While registers change, an NMI is told so (RULES A3). returns: what follows afterwards. */
static enum vpmu_owner change(struct vpmu_cpu *cpu)
{
	enum vpmu_owner owner = vpmu_cpu_nmi_owner(cpu);

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	return owner;
}

/* What the guest that is loaded has, or is about to get besides (taken). */
static uint64_t guests(const struct vpmu_cpu *cpu, uint64_t taken)
{
	const struct vpmu_vcpu *v = cpu->loaded;

	if (!v || v->vm->mode == VPMU_MODE_EMULATED)
		return taken;
	/* The eager switch writes all of them at each enter. */
	if (v->vm->mode == VPMU_MODE_PARTITIONED || v->vm->sw == &vpmu_eager_switch)
		return v->vm->counters;
	return cpu->resident ? v->in_hw_counters | taken : taken;
}

static uint64_t sides(const struct vpmu_cpu *cpu, bool inside)
{
	uint64_t mask = 0;

	for (const struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		bool counts = inside ? is_inside_of(&e->config, cpu->loaded) : is_outside(&e->config);

		if (e->placed && counts)
			mask |= VPMU_BIT(e->counter);
	}
	return mask;
}

static void displace_some(struct vpmu_cpu *cpu, uint64_t taken)
{
	for (struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		if (e->placed && (taken & VPMU_BIT(e->counter) || !wants(e)))
			displace(e);
	}
}

static unsigned int highest(uint64_t mask)
{
	return 63 - (unsigned int)__builtin_clzll(mask);
}

/* The last that may be rotated out, or NULL: pinned events have all counters. */
static struct vpmu_host_event *last_movable(const struct vpmu_cpu *cpu)
{
	struct vpmu_host_event *last = NULL;

	for (struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		if (e->placed && !e->config.pinned)
			last = e;
	}
	return last;
}

/* A counter of (free), or for a pinned event of one that is not; 0: there is none. */
static uint64_t room_for(const struct vpmu_host_event *e, uint64_t free)
{
	struct vpmu_host_event *other;

	if (free || !e->config.pinned)
		return free;
	other = last_movable(e->cpu);
	if (!other)
		return 0;
	displace(other);
	return VPMU_BIT(other->counter);
}

static void place_waiting(struct vpmu_cpu *cpu, uint64_t free)
{
	for (struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		unsigned int i;

		if (e->placed || !wants(e))
			continue;
		free = room_for(e, free);
		if (!free)
			return;
		i = highest(free);
		place(e, i);
		free &= ~VPMU_BIT(i);
	}
}

/*
 * Who had a counter keeps it, unless the guest has it now, or a pinned event needs it. The order of the list is who
 * comes first.
 */
static void schedule(struct vpmu_cpu *cpu, uint64_t taken)
{
	uint64_t theirs = guests(cpu, taken);
	enum vpmu_owner owner = change(cpu);

	displace_some(cpu, theirs);
	place_waiting(cpu, cpu->hw->caps.host_counters & ~theirs & ~cpu->host_counters);
	cpu->hw->ops->host(cpu->hw, sides(cpu, true), sides(cpu, false));
	for (struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		keep_time(e);
		if (e->placed && !e->on)
			turn_on(e);
	}
	vpmu_cpu_own(cpu, owner);
}

void vpmu_host_schedule(struct vpmu_cpu *cpu)
{
	if (cpu->events)
		schedule(cpu, 0);
}

void vpmu_host_yield(struct vpmu_cpu *cpu, uint64_t mask)
{
	if (cpu->host_counters & mask)
		schedule(cpu, mask);
}

/* ---- The list ---- */

static void append(struct vpmu_host_event *e)
{
	struct vpmu_host_event **at = &e->cpu->events;

	while (*at && !(e->config.pinned && !(*at)->config.pinned))
		at = &(*at)->next;
	e->next = *at;
	*at = e;
}

static void take_out(struct vpmu_host_event *e)
{
	struct vpmu_host_event **at = &e->cpu->events;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
}

/* A guest in the hardware has what it will share with the host direct, or the other way round. */
static void evict(struct vpmu_cpu *cpu)
{
	if (cpu->resident)
		cpu->resident->vm->sw->evict(cpu->resident, 0);
}

static void judge(struct vpmu_cpu *cpu)
{
	if (cpu->loaded)
		vpmu_vcpu_judge_reach(cpu->loaded);
}

static bool guest_runs(const struct vpmu_cpu *cpu)
{
	return cpu->loaded && cpu->loaded->in_guest;
}

/* ---- Creation ---- */

#define PERIOD_MAX ((uint64_t)1 << 31)

static bool has_object(const struct vpmu_host_event_config *c)
{
	if (c->scope == VPMU_SCOPE_VM)
		return c->vm;
	if (c->scope == VPMU_SCOPE_VCPU)
		return c->vcpu;
	return c->scope == VPMU_SCOPE_CPU || c->scope == VPMU_SCOPE_HYPERVISOR;
}

static bool owns_all(const struct vpmu_vm *vm)
{
	return vm->mode == VPMU_MODE_MEDIATED || vm->mode == VPMU_MODE_PASSTHROUGH;
}

static const struct claim *claim_of(const struct vpmu_host_event_config *c)
{
	return c->watchdog ? &watchdog_claim : &event_claim;
}

static bool targets_mediated(const struct vpmu_host_event_config *c)
{
	if (c->scope == VPMU_SCOPE_VM)
		return owns_all(c->vm);
	return c->scope == VPMU_SCOPE_VCPU && owns_all(c->vcpu->vm);
}

static int config_error(const struct vpmu_cpu *cpu, const struct vpmu_host_event_config *c)
{
	if (c->size != sizeof(*c))
		return VPMU_ERR_SIZE;
	if (!has_object(c) || !(c->user || c->kernel) || c->period > PERIOD_MAX)
		return VPMU_ERR_PARAM;
	if (!is_outside(c) && !is_inside(c))
		return VPMU_ERR_PARAM;
	if (!cpu->hw->ops->host || !cpu->hw->caps.host_counters)
		return VPMU_ERR_UNSUPPORTED;
	if (guest_runs(cpu))
		return VPMU_ERR_STATE;
	if (!targets_mediated(c))
		return 0;
	return c->watchdog ? VPMU_ERR_WATCHDOG : VPMU_ERR_BUSY;
}

static void end_event(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;
	enum vpmu_owner owner = change(cpu);

	if (e->placed)
		displace(e);
	take_out(e);
	cpu->hw->ops->host(cpu->hw, sides(cpu, true), sides(cpu, false));
	vpmu_cpu_own(cpu, owner);
	if (is_blocking(&e->config))
		atomic_fetch_sub(claims_of(e->machine), claim_of(&e->config)->one);
}

int vpmu_host_event_create(struct vpmu_host_event *e, struct vpmu_machine *machine,
			   struct vpmu_cpu *cpu, const struct vpmu_host_event_config *config)
{
	int error = config_error(cpu, config);

	if (!error && is_blocking(config))
		error = claim(machine, claim_of(config));
	if (error)
		return error;
	*e = (struct vpmu_host_event){ .config = *config, .machine = machine, .cpu = cpu,
					.since = now(cpu), .left = config->period };
	if (!cpu->events)
		evict(cpu);
	append(e);
	judge(cpu);
	schedule(cpu, 0);
	if (!config->pinned || e->placed || !wants(e))
		return 0;
	(void)vpmu_host_event_destroy(e);
	return VPMU_ERR_BUSY;
}

int vpmu_host_event_destroy(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;

	if (guest_runs(cpu))
		return VPMU_ERR_STATE;
	if (e == cpu->events && !e->next)
		evict(cpu);
	end_event(e);
	judge(cpu);
	vpmu_host_schedule(cpu);
	return 0;
}

/* ---- Looking ---- */

int vpmu_host_event_read(struct vpmu_host_event *e, struct vpmu_count *out)
{
	enum vpmu_owner owner;

	if (guest_runs(e->cpu))
		return VPMU_ERR_STATE;
	owner = change(e->cpu);
	if (e->placed)
		harvest(e);
	vpmu_cpu_own(e->cpu, owner);
	keep_time(e);
	*out = (struct vpmu_count){ e->total, e->enabled_time, e->running_time };
	return 0;
}

/* A status that is set already stays: whoever waits for the sample gets it. */
static void rearm(struct vpmu_host_event *e)
{
	struct vpmu_cpu *cpu = e->cpu;
	enum vpmu_owner owner = vpmu_cpu_nmi_owner(cpu);

	vpmu_cpu_own(cpu, VPMU_OWNER_TRANSITION);
	cpu->hw->ops->stop(cpu->hw, VPMU_BIT(e->counter));
	harvest(e);
	e->left = e->config.period;
	arm(e);
	cpu->hw->ops->start(cpu->hw, VPMU_BIT(e->counter));
	vpmu_cpu_own(cpu, owner);
}

int vpmu_host_event_period(struct vpmu_host_event *e, uint64_t period)
{
	if (!e->config.period || !period || period > PERIOD_MAX)
		return VPMU_ERR_PARAM;
	if (guest_runs(e->cpu))
		return VPMU_ERR_STATE;
	e->config.period = period;
	e->left = period;
	if (e->placed)
		rearm(e);
	return 0;
}

static bool someone_waits(const struct vpmu_cpu *cpu)
{
	for (const struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		if (!e->placed && wants(e))
			return true;
	}
	return false;
}

/* The first that may be rotated out goes to the end of the list. A guest may have left counters since. */
int vpmu_cpu_rotate(struct vpmu_cpu *cpu)
{
	struct vpmu_host_event *e = cpu->events;
	enum vpmu_owner owner;

	if (guest_runs(cpu))
		return VPMU_ERR_STATE;
	while (e && (e->config.pinned || !e->placed))
		e = e->next;
	if (!someone_waits(cpu))
		return 0;
	owner = change(cpu);
	if (e) {
		displace(e);
		take_out(e);
		append(e);
	}
	schedule(cpu, 0);
	vpmu_cpu_own(cpu, owner);
	return 0;
}

/* ---- Samples ---- */

/* Overflows of host events in (status) are taken, and their counters armed again. */
static void take_overflows(struct vpmu_cpu *cpu, uint64_t status)
{
	const struct vpmu_hw_ops *ops = cpu->hw->ops;

	for (struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		uint64_t bit = VPMU_BIT(e->counter);

		if (!e->placed || !(status & bit))
			continue;
		ops->stop(cpu->hw, bit);
		ops->status_clear(cpu->hw, bit);
		harvest(e);
		e->sampled = e->config.period;
		arm(e);
		ops->start(cpu->hw, bit);
	}
}

bool vpmu_host_pmi(struct vpmu_cpu *cpu)
{
	enum vpmu_owner owner;
	uint64_t status;

	if (!cpu->host_counters)
		return false;
	owner = change(cpu);
	status = cpu->hw->ops->status(cpu->hw) & cpu->host_counters;
	if (status)
		take_overflows(cpu, status);
	/* The entry has masked itself, and the host counts on. */
	if (cpu->hw->caps.self_masking && cpu->hw->ops->route) {
		cpu->hw->ops->route(cpu->hw, VPMU_ROUTE_HOST, 0);
		cpu->route = VPMU_CPU_ROUTE_HOST;
	}
	vpmu_cpu_own(cpu, owner);
	return status;
}

struct vpmu_host_event *vpmu_cpu_sample(struct vpmu_cpu *cpu)
{
	for (struct vpmu_host_event *e = cpu->events; e; e = e->next) {
		if (e->sampled) {
			e->sampled = false;
			return e;
		}
	}
	return NULL;
}
