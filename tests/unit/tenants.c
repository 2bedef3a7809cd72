/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tenants.h"

#define ALL_EVENTS (BIT(TENANT_EVENTS) - 1)

const char *const tenant_edge_names[TENANT_EDGES] = {
	[TENANT_LOAD] = "load",
	[TENANT_LOAD_AFTER_OTHER] = "load-after-other",
	[TENANT_LOAD_ELSEWHERE] = "load-elsewhere",
	[TENANT_ENTER_HOST] = "enter-to-host",
	[TENANT_ENTER_LIVE] = "enter-to-live",
	[TENANT_ENTER_POLICY] = "enter-new-policy",
	[TENANT_EXIT_PARKED] = "exit-to-parked",
	[TENANT_EXIT_HOST] = "exit-to-host",
	[TENANT_PUT] = "put",
	[TENANT_RECLAIM] = "reclaim",
	[TENANT_REQUEST] = "request",
	[TENANT_TRAP] = "trapped-access",
	[TENANT_DIRECT] = "direct-access",
	[TENANT_COUNT] = "count",
	[TENANT_COMPARE] = "compare",
	[TENANT_GUEST_RUN] = "guest-run",
	[TENANT_HOST_RUN] = "host-run",
	[TENANT_PMI_GUEST] = "pmi-guest",
	[TENANT_PMI_HOST] = "pmi-host",
	[TENANT_PMI_BOTH] = "pmi-both",
	[TENANT_PMI_LATE] = "pmi-late",
	[TENANT_TOLD] = "guest-told",
	[TENANT_CREATE] = "event-create",
	[TENANT_REFUSED] = "event-refused",
	[TENANT_DESTROY] = "event-destroy",
	[TENANT_READ] = "event-read",
	[TENANT_ROTATE] = "rotate",
	[TENANT_SAMPLE] = "sample",
};

const char *const tenant_mode_names[TENANT_MODES] = {
	"none", "lazy", "eager", "part-lazy", "part-eager", "emulated", "off",
};

const char *const tenant_owner_names[3] = { "HOST", "LIVE", "PARKED" };

/* ---- Observation ---- */

static enum vpmu_owner owner(const struct tenant_cpu *c)
{
	return vpmu_cpu_nmi_owner(&c->cpu);
}

static void hit(struct tenant_cpu *c, enum tenant_edge edge, enum vpmu_owner before)
{
	enum tenant_mode mode = c->loaded ? c->loaded->vm->mode : TENANT_NONE;

	if (before > VPMU_OWNER_PARKED)
		tenant_fail(c->world, "TRANSITION outside of a call");
	c->world->matrix[edge][before][mode]++;
}

static void record(struct tenant_world *w, uint64_t value)
{
	w->trace = (w->trace ^ value) * 0x100000001B3u;
	w->trace ^= w->trace >> 29;
}

static int number(const struct tenant_vcpu *g)
{
	return (int)(g - g->vm->world->vcpus);
}

static void same(struct tenant_vcpu *g, const char *what, unsigned int i, uint64_t got,
		 uint64_t expected)
{
	if (got != expected)
		tenant_fail(g->vm->world, "vCPU %d (%s): %s %u is %#llx, not %#llx", number(g),
			    tenant_mode_names[g->vm->mode], what, i, (unsigned long long)got,
			    (unsigned long long)expected);
}

void tenant_nmi(struct tenant_cpu *c, bool wrote)
{
	uint64_t accesses = c->hw->accesses;
	enum vpmu_owner now = owner(c);

	c->nmis++;
	if (now == VPMU_OWNER_HOST && !c->boundary && (wrote || !c->looks))
		tenant_fail(c->world, "an NMI in the middle of it sees the owner HOST");
	if (c->hw->accesses != accesses)
		tenant_fail(c->world, "asking for the owner touches the PMU");
}

/* ---- Modes ---- */

static bool is_mediated(const struct tenant_vm *vm)
{
	return vm->config.mode == VPMU_MODE_MEDIATED;
}

static bool is_emulated(const struct tenant_vm *vm)
{
	return vm->config.mode == VPMU_MODE_EMULATED;
}

static bool is_lazy(enum tenant_mode mode)
{
	return mode == TENANT_LAZY || mode == TENANT_PART_LAZY;
}

static bool is_eager(enum tenant_mode mode)
{
	return mode == TENANT_EAGER || mode == TENANT_PART_EAGER;
}

static uint32_t allowed_by(const struct tenant_policy *p)
{
	return p ? p->allowed : (uint32_t)ALL_EVENTS;
}

static const struct vpmu_policy *policy_of(const struct tenant_policy *p)
{
	return p ? &p->policy : NULL;
}

static uint32_t allowed_now(const struct tenant_vm *vm)
{
	return allowed_by(vm->created) & allowed_by(vm->policy);
}

/* ---- The reference: guests ---- */

static unsigned int take_lowest(uint64_t *mask)
{
	unsigned int i = (unsigned int)__builtin_ctzll(*mask);

	*mask &= *mask - 1;
	return i;
}

static bool is_allowed(const struct tenant_vcpu *g, unsigned int i)
{
	return g->allowed >> g->counter[i].event & 1;
}

static void overflowed(struct tenant_vcpu *g, unsigned int i)
{
	g->status |= BIT(i);
	if (g->interrupts >> i & 1 && !g->masked)
		g->owed = true;
}

static void add(struct tenant_vcpu *g, unsigned int i, uint64_t n)
{
	const struct tenant_arch *arch = g->vm->world->arch;
	uint64_t wraps = arch->wraps(g->vm, i);
	uint64_t old = g->counter[i].value;

	g->counter[i].value = (old + n) & arch->width(g->vm, i);
	if (n > wraps - (old & wraps))
		overflowed(g, i);
}

/* Declared starved or counted: there is no third. */
static bool is_starved(struct tenant_vcpu *g, unsigned int i)
{
	if (g->vm != &g->vm->world->vms[TENANT_VM_SCARCE] || !g->in_guest)
		return false;
	if (g->source.slot[i].exists && g->source.slot[i].counts)
		return false;
	if (g->source.live < g->source.capacity)
		tenant_fail(g->vm->world, "vCPU %d: counter %u has no event, and there is room",
			    number(g), i);
	g->starved |= BIT(i);
	g->short_now |= BIT(i);
	g->vm->world->starved++;
	return true;
}

static void count_guest(struct tenant_vcpu *g, unsigned int ring, const uint64_t *amount)
{
	uint64_t rest = g->enabled & g->global;

	while (rest) {
		unsigned int i = take_lowest(&rest);
		const struct tenant_counter *c = &g->counter[i];

		if (!is_allowed(g, i) || is_starved(g, i) || !(c->rings & ring))
			continue;
		if (amount[c->event])
			add(g, i, amount[c->event]);
	}
}

static bool level(const struct tenant_vcpu *g)
{
	return g->global && g->status & g->interrupts;
}

/* ---- The reference: host events ---- */

static bool counts_outside(const struct vpmu_host_event_config *c)
{
	return !c->exclude_host &&
	       (c->scope == VPMU_SCOPE_CPU || c->scope == VPMU_SCOPE_HYPERVISOR);
}

static bool counts_inside(const struct vpmu_host_event_config *c)
{
	return !c->exclude_guest && c->scope != VPMU_SCOPE_HYPERVISOR;
}

static bool counts_in(const struct vpmu_host_event_config *c, const struct tenant_vcpu *g)
{
	if (!g || !counts_inside(c))
		return false;
	switch (c->scope) {
	case VPMU_SCOPE_VM:
		return c->vm == &g->vm->vm;
	case VPMU_SCOPE_VCPU:
		return c->vcpu == &g->v;
	default:
		return true;
	}
}

static bool blocks(const struct vpmu_host_event_config *c)
{
	return c->scope == VPMU_SCOPE_CPU && counts_inside(c);
}

static bool wants(const struct tenant_cpu *c, const struct tenant_host_event *h)
{
	return counts_outside(&h->e.config) || counts_in(&h->e.config, c->loaded);
}

static bool sees_ring(const struct tenant_world *w, const struct vpmu_host_event_config *c,
		      bool guest, unsigned int ring)
{
	if (!guest && !w->arch->host_rings)
		return true;
	return ring == TENANT_USER ? c->user : c->kernel;
}

/* A sample each (period) events; those that are due when somebody comes to look are one. */
static void count_event(struct tenant_host_event *h, uint64_t n)
{
	uint64_t before = h->count;

	h->count += n;
	if (h->e.config.period && before / h->e.config.period != h->count / h->e.config.period)
		h->owed = true;
}

static void count_host(struct tenant_cpu *c, bool guest, unsigned int ring, const uint64_t *amount,
		       uint64_t time)
{
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		struct tenant_host_event *h = &c->events[k];
		const struct vpmu_host_event_config *config = &h->e.config;

		if (!h->lives)
			continue;
		if (wants(c, h))
			h->enabled += time;
		if (!h->e.placed)
			continue;
		h->running += time;
		if (!(guest ? counts_in(config, c->loaded) : counts_outside(config)))
			continue;
		if (sees_ring(c->world, config, guest, ring))
			count_event(h, amount[h->event]);
	}
}

/* ---- Invariants ---- */

/* What the guest that is loaded has of the hardware. */
static uint64_t of_guest(const struct tenant_cpu *c)
{
	const struct tenant_vcpu *g = c->loaded;

	if (!g || is_emulated(g->vm))
		return 0;
	return g->vm->mode == TENANT_LAZY ? g->v.in_hw_counters : g->vm->counters;
}

static void check_places(struct tenant_cpu *c)
{
	uint64_t used = 0;

	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		const struct tenant_host_event *h = &c->events[k];

		if (!h->lives || !h->e.placed)
			continue;
		if (!h->e.on || !wants(c, h))
			tenant_fail(c->world, "CPU %u: event %u has a counter for nothing", c->number, k);
		if (used >> h->e.counter & 1)
			tenant_fail(c->world, "CPU %u: two events on counter %u", c->number,
				    h->e.counter);
		used |= BIT(h->e.counter);
	}
	if (used != c->cpu.host_counters || used & of_guest(c) || used & ~c->hw->caps.host_counters)
		tenant_fail(c->world, "CPU %u: counters %#llx of the host, known as %#llx; the guest's %#llx",
			    c->number, (unsigned long long)used,
			    (unsigned long long)c->cpu.host_counters,
			    (unsigned long long)of_guest(c));
}

/* Nobody waits beside a free counter, and pinned events come first. */
static void check_fair(struct tenant_cpu *c)
{
	bool waits = false, pinned_waits = false, other_runs = false;
	uint64_t spare = c->hw->caps.host_counters & ~c->cpu.host_counters & ~of_guest(c);

	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		const struct tenant_host_event *h = &c->events[k];

		if (!h->lives || !wants(c, h))
			continue;
		waits |= !h->e.placed;
		pinned_waits |= !h->e.placed && h->e.config.pinned;
		other_runs |= h->e.placed && !h->e.config.pinned;
	}
	if (waits && spare)
		tenant_fail(c->world, "CPU %u: an event waits, and counters %#llx are free", c->number,
			    (unsigned long long)spare);
	if (pinned_waits && other_runs)
		tenant_fail(c->world, "CPU %u: a pinned event waits for another", c->number);
}

static void check(struct tenant_cpu *c)
{
	const char *wrong = c->world->arch->wrong(c, owner(c));

	if (wrong)
		tenant_fail(c->world, "CPU %u: %s", c->number, wrong);
	if (owner(c) == VPMU_OWNER_PARKED && (!c->loaded || c->loaded->in_guest))
		tenant_fail(c->world, "CPU %u: PARKED, but no guest is or one runs", c->number);
	if (owner(c) == VPMU_OWNER_LIVE && (!c->loaded || !c->loaded->in_guest))
		tenant_fail(c->world, "CPU %u: LIVE, but no guest runs", c->number);
	check_places(c);
}

/* ---- Physical interrupts ---- */

static void take_sample(struct tenant_cpu *c, const struct vpmu_host_event *e)
{
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		struct tenant_host_event *h = &c->events[k];

		if (&h->e != e || !h->lives)
			continue;
		if (!h->owed)
			tenant_fail(c->world, "CPU %u: a sample that nothing explains", c->number);
		h->owed = false;
		c->world->samples++;
		hit(c, TENANT_SAMPLE, owner(c));
		return;
	}
	tenant_fail(c->world, "CPU %u: a sample of no event", c->number);
}

static bool some_owed(const struct tenant_cpu *c)
{
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		if (c->events[k].lives && c->events[k].owed)
			return true;
	}
	return false;
}

/*
 * A level says exactly whose it is, unless the guest has lowered it since, and no counter of an emulated guest is one
 * of the hardware. An edge may have been found by looking before.
 */
static bool may_be_guests(const struct tenant_cpu *c, bool told)
{
	const struct tenant_vcpu *g = c->loaded;

	if (!c->world->arch->edge && (!g || is_emulated(g->vm)))
		return !told;
	if (!c->world->arch->edge)
		return level(g) ? told : !told || g->status & g->interrupts;
	return !told || (g && g->owed);
}

static void take_one(struct tenant_cpu *c)
{
	static const enum tenant_edge edges[] = {
		[VPMU_PMI_GUEST] = TENANT_PMI_GUEST, [VPMU_PMI_LATE] = TENANT_PMI_LATE,
		[VPMU_PMI_HOST] = TENANT_PMI_HOST, [VPMU_PMI_BOTH] = TENANT_PMI_BOTH,
	};
	enum vpmu_owner before = owner(c);
	bool owed = some_owed(c);
	enum vpmu_pmi pmi;

	c->world->doing = "interrupt";
	c->looks = true;
	pmi = vpmu_cpu_pmi(&c->cpu);
	c->looks = false;
	/* One that was displaced since has given its sample already. */
	if ((pmi == VPMU_PMI_HOST || pmi == VPMU_PMI_BOTH) != owed && (!owed || !c->late))
		tenant_fail(c->world, "CPU %u: samples are%s due, the answer is %d", c->number,
			    owed ? "" : " not", (int)pmi);
	if (!may_be_guests(c, pmi == VPMU_PMI_GUEST || pmi == VPMU_PMI_BOTH))
		tenant_fail(c->world, "CPU %u: whose interrupt is it? The answer is %d", c->number,
			    (int)pmi);
	hit(c, edges[pmi], before);
}

static void take_interrupts(struct tenant_cpu *c, unsigned int n)
{
	struct vpmu_host_event *e;

	for (n += c->late; n; n--) {
		take_one(c);
		while ((e = vpmu_cpu_sample(&c->cpu)))
			take_sample(c, e);
	}
	c->late = 0;
	if (some_owed(c))
		tenant_fail(c->world, "CPU %u: a sample is lost", c->number);
}

/*
 * Interrupts are disabled for a while: what an event of the host's waits for is taken before the next execution. Of
 * guests' interrupts that come late x86_rig.h knows all.
 */
static void note_interrupts(struct tenant_cpu *c, unsigned int n)
{
	bool guests = c->loaded && (c->loaded->owed || c->loaded->status & c->loaded->interrupts);

	if (n && some_owed(c) && !guests && rng_one_in(&c->world->noise, 2))
		c->late = n;
	else
		take_interrupts(c, n);
}

/* ---- The boundary ---- */

void tenant_exit(struct tenant_vcpu *g)
{
	struct tenant_cpu *c = g->cpu;
	const struct tenant_arch *arch = c->world->arch;
	enum vpmu_owner before = owner(c);
	unsigned int n = arch->interrupts(c, true);

	arch->cross(c, false);
	g->in_guest = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	hit(c, owner(c) == VPMU_OWNER_PARKED ? TENANT_EXIT_PARKED : TENANT_EXIT_HOST, before);
	note_interrupts(c, n);
	check(c);
}

static bool tell_edge(struct tenant_vcpu *g)
{
	same(g, "interrupt", 0, (uint64_t)vpmu_vcpu_interrupt(&g->v), g->owed);
	same(g, "PMI", 0, (uint64_t)vpmu_vcpu_pmi(&g->v), g->owed);
	if (!g->owed)
		return false;
	g->owed = false;
	if (g->vm->world->arch->self_masking) {
		g->masked = true;
		g->vm->world->arch->set_entry(g);
	}
	return true;
}

static bool tell(struct tenant_vcpu *g)
{
	if (g->vm->world->arch->edge)
		return tell_edge(g);
	same(g, "interrupt", 0, (uint64_t)vpmu_vcpu_interrupt(&g->v), level(g));
	return level(g);
}

static void enter_edge(struct tenant_vcpu *g, enum vpmu_owner before, bool new_policy)
{
	if (new_policy)
		hit(g->cpu, TENANT_ENTER_POLICY, before);
	hit(g->cpu, owner(g->cpu) == VPMU_OWNER_LIVE ? TENANT_ENTER_LIVE : TENANT_ENTER_HOST, before);
}

static void handle(struct tenant_vcpu *g);

void tenant_enter(struct tenant_vcpu *g)
{
	struct tenant_cpu *c = g->cpu;
	enum vpmu_owner before = owner(c);
	bool new_policy = g->allowed != allowed_now(g->vm);
	bool told = false;
	int outcome;

	if (c->late)
		take_interrupts(c, 0);
	do {
		told |= tell(g);
		outcome = vpmu_vcpu_enter(&g->v, 0);
	} while (outcome == VPMU_AGAIN);
	assert_int_equal(outcome, 0);
	g->allowed = allowed_now(g->vm);
	g->in_guest = true;
	enter_edge(g, before, new_policy);
	c->world->arch->cross(c, true);
	check(c);
	/* Where it is a level, the guest may have its interrupts masked: it is told again. */
	if (told && !g->handling && (c->world->arch->edge || !g->masks))
		handle(g);
}

void tenant_trapped(struct tenant_vcpu *g)
{
	hit(g->cpu, TENANT_TRAP, owner(g->cpu));
	g->status &= ~g->clearing;
}

void tenant_direct(struct tenant_vcpu *g)
{
	hit(g->cpu, TENANT_DIRECT, owner(g->cpu));
	g->status &= ~g->clearing;
}

/* ---- What guests do ---- */

/* Mostly so that it overflows within a few stretches. */
static uint64_t random_value(struct tenant_vcpu *g, unsigned int i)
{
	const struct tenant_arch *arch = g->vm->world->arch;
	struct rng *rng = &g->vm->world->rng;
	uint64_t value = rng_next(rng);

	if (value & 3)
		return (arch->width(g->vm, i) & ~arch->wraps(g->vm, i) & value) |
		       (arch->wraps(g->vm, i) - (value >> 8 & 0x7F));
	return value & 0xC ? value & arch->width(g->vm, i) : 0;
}

static void write_value(struct tenant_vcpu *g, unsigned int i)
{
	g->counter[i].value = random_value(g, i);
	g->vm->world->arch->write_value(g, i);
}

static void clear_status(struct tenant_vcpu *g, uint64_t mask)
{
	g->clearing = mask;
	g->vm->world->arch->clear_status(g, mask);
	g->clearing = 0;
}

static void read_status(struct tenant_vcpu *g)
{
	uint64_t expected = g->status;
	uint64_t got = g->vm->world->arch->read_status(g);

	same(g, "status", 0, got, expected);
	record(g->vm->world, got);
}

/* The guest's interrupt handler. */
static void handle(struct tenant_vcpu *g)
{
	uint64_t rest = g->status & g->interrupts;

	g->handling = true;
	hit(g->cpu, TENANT_TOLD, owner(g->cpu));
	read_status(g);
	while (rest)
		write_value(g, take_lowest(&rest));
	clear_status(g, g->status);
	if (g->masked) {
		tenant_exit(g);
		g->masked = false;
		g->vm->world->arch->set_entry(g);
		tenant_enter(g);
	}
	g->handling = false;
}

static unsigned int random_counter(struct tenant_vcpu *g)
{
	uint64_t rest = g->vm->counters;
	uint64_t n = rng_below(&g->vm->world->rng, (uint64_t)__builtin_popcountll(rest));

	while (n--)
		rest &= rest - 1;
	return take_lowest(&rest);
}

static void program(struct tenant_vcpu *g)
{
	struct tenant_world *w = g->vm->world;
	unsigned int i = random_counter(g);
	struct tenant_counter *c = &g->counter[i];
	uint64_t random = rng_next(&w->rng) >> 16;

	if (g->enabled & BIT(i)) {
		g->enabled &= ~BIT(i);
		w->arch->write_control(g, i);
	}
	if (g->status & BIT(i))
		clear_status(g, BIT(i));
	write_value(g, i);
	if (!w->arch->is_fixed(i, &c->event))
		c->event = (enum tenant_event)(random % TENANT_EVENTS);
	c->rings = 1 + (unsigned int)(random >> 8) % 3;
	g->interrupts = (g->interrupts & ~BIT(i)) | (random >> 16 & 1) << i;
	if (random >> 17 & 7)
		g->enabled |= BIT(i);
	w->arch->write_control(g, i);
}

static void toggle(struct tenant_vcpu *g)
{
	unsigned int i = random_counter(g);

	g->enabled ^= BIT(i);
	if (g->enabled & BIT(i) && g->status & BIT(i))
		clear_status(g, BIT(i));
	g->vm->world->arch->write_control(g, i);
}

static void change_global(struct tenant_vcpu *g)
{
	struct tenant_world *w = g->vm->world;
	uint64_t random = rng_next(&w->rng) >> 16;

	if (random & 3)
		g->global = g->vm->counters;
	else
		g->global = w->arch->edge ? rng_next(&w->rng) & g->vm->counters : 0;
	w->arch->write_global(g);
	/* Where that was direct, it has raised the line. */
	if (!w->arch->edge && level(g) && !g->masks) {
		tenant_exit(g);
		tenant_enter(g);
	}
}

static void silence(struct tenant_vcpu *g)
{
	uint64_t rest = g->enabled;

	while (rest) {
		unsigned int i = take_lowest(&rest);

		g->enabled &= ~BIT(i);
		g->vm->world->arch->write_control(g, i);
	}
	clear_status(g, g->status);
}

static void read_value(struct tenant_vcpu *g)
{
	unsigned int i = random_counter(g);
	bool other = rng_one_in(&g->vm->world->rng, 2);
	uint64_t expected = g->counter[i].value;
	uint64_t got = g->vm->world->arch->read_value(g, i, other);

	same(g, "reading of counter", i, got, expected);
	record(g->vm->world, got);
}

/* So much of each event, by one random number. */
static uint64_t random_amounts(struct rng *rng, uint64_t *amount)
{
	uint64_t random = rng_next(rng) >> 8, time = 0;

	for (unsigned int k = 0; k < TENANT_EVENTS; k++) {
		amount[k] = random >> 6 * k & 63;
		time += amount[k];
	}
	return time;
}

static bool run_source(struct tenant_vcpu *g, unsigned int ring, const uint64_t *amount,
		       uint64_t time)
{
	struct vpmu_script_raw raw[TENANT_EVENTS + 1];
	struct vpmu_script_burst burst = { .user = ring == TENANT_USER, .nanoseconds = time };

	g->vm->world->arch->burst(g->vm->world->arch, &burst, raw, amount);
	return vpmu_script_source_run(&g->source, &burst);
}

static void check_declared(struct tenant_vcpu *g, uint64_t starved);

/* The guest executes. It exits at once if somebody waits for that. */
static void run(struct tenant_vcpu *g)
{
	struct tenant_world *w = g->vm->world;
	struct tenant_cpu *c = g->cpu;
	unsigned int ring = rng_one_in(&w->rng, 2) ? TENANT_USER : TENANT_KERNEL;
	uint64_t amount[TENANT_EVENTS];
	uint64_t time = random_amounts(&w->rng, amount);
	/* Nothing tells of a level that an emulated guest has had: it takes its interrupt as soon as it may. */
	bool told = is_emulated(g->vm) && level(g);
	bool kicked;

	g->masks = rng_one_in(&w->rng, 4);
	kicked = told && !g->masks;
	g->short_now = 0;

	hit(c, TENANT_GUEST_RUN, owner(c));
	count_host(c, true, ring, amount, time);
	count_guest(g, ring, amount);
	w->arch->execute(c, true, ring, amount);
	w->arch->pass(c, time);
	if (is_emulated(g->vm))
		kicked |= run_source(g, ring, amount, time);
	if (kicked || g->short_now || w->arch->interrupts(c, false)) {
		tenant_exit(g);
		check_declared(g, g->short_now);
		tenant_enter(g);
	} else if (w->arch->edge ? g->owed : level(g) && !told) {
		tenant_fail(w, "vCPU %d runs on with an interrupt owed", number(g));
	}
	record(w, g->status);
}

/* Exits in which nothing happens, enough for two looks at a guest that is quiet (RULES A1). */
static void exit_often(struct tenant_vcpu *g)
{
	unsigned int n = is_lazy(g->vm->mode) && !(g->enabled & g->global) ? 2 * VPMU_LOOK_INTERVAL : 1;

	do {
		tenant_exit(g);
		tenant_enter(g);
	} while (--n && owner(g->cpu) == VPMU_OWNER_LIVE);
}

static void request(struct tenant_cpu *c, bool poll);

/* The way back to zero cost: by looks, or because somebody asked for the PMU. */
static void fall_quiet(struct tenant_vcpu *g)
{
	silence(g);
	if (rng_one_in(&g->vm->world->rng, 8)) {
		exit_often(g);
		return;
	}
	tenant_exit(g);
	request(g->cpu, false);
	tenant_enter(g);
}

static void probe(struct tenant_vcpu *g)
{
	switch (rng_below(&g->vm->world->rng, 4)) {
	case 0:
		g->vm->world->doing = "probe";
		g->vm->world->arch->probe(g);
		break;
	case 1:
		g->vm->world->doing = "exit";
		tenant_exit(g);
		break;
	default:
		g->vm->world->doing = "run";
		run(g);
	}
}

static void guest_step(struct tenant_vcpu *g)
{
	struct rng *rng = &g->vm->world->rng;

	if (!g->vm->counters) {
		probe(g);
		return;
	}
	switch (rng_below(rng, 32)) {
	case 0: case 1: case 2:
		g->vm->world->doing = "program";
		program(g);
		break;
	case 3: case 4:
		g->vm->world->doing = "toggle";
		toggle(g);
		break;
	case 5:
		g->vm->world->doing = "global control";
		change_global(g);
		break;
	case 6: case 7:
		g->vm->world->doing = "read";
		read_value(g);
		break;
	case 8:
		g->vm->world->doing = "status";
		read_status(g);
		if (rng_one_in(rng, 2))
			clear_status(g, g->status);
		break;
	case 9: case 10:
		g->vm->world->doing = "quiet";
		if (rng_one_in(rng, 8))
			fall_quiet(g);
		else
			change_global(g);
		break;
	case 11: case 12: case 13: case 14: case 15:
		g->vm->world->doing = "exit";
		tenant_exit(g);
		break;
	default:
		if (rng_one_in(rng, 16))
			request(g->cpu, false);
		g->vm->world->doing = "run";
		run(g);
	}
}

/* ---- Looking ---- */

static enum vpmu_counter_state state_of(const struct tenant_vcpu *g, unsigned int i)
{
	if (!(g->enabled & g->global & BIT(i)))
		return VPMU_COUNTER_STOPPED;
	return is_allowed(g, i) ? VPMU_COUNTER_COUNTING : VPMU_COUNTER_DENIED;
}

/* It did not get all, or has nothing to get it with. */
static bool may_starve(const struct tenant_vcpu *g, unsigned int i)
{
	if (g->starved >> i & 1)
		return true;
	return g->vm == &g->vm->world->vms[TENANT_VM_SCARCE] && !g->source.slot[i].exists &&
	       state_of(g, i) == VPMU_COUNTER_COUNTING;
}

static void compare_counter(struct tenant_vcpu *g, unsigned int i)
{
	struct vpmu_counter_status status;

	assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
	same(g, "value", i, status.value, g->counter[i].value);
	if (status.state == VPMU_COUNTER_STARVED && may_starve(g, i))
		return;
	same(g, "state", i, status.state, state_of(g, i));
}

static void compare(struct tenant_vcpu *g)
{
	struct tenant_world *w = g->vm->world;
	uint64_t rest = g->vm->counters;
	struct vpmu_state s;

	if (g->cpu)
		hit(g->cpu, TENANT_COMPARE, owner(g->cpu));
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	while (rest) {
		unsigned int i = take_lowest(&rest);

		same(g, "counter", i, s.value[i], g->counter[i].value);
	}
	same(g, "status", 0, s.status, g->status);
	same(g, "enables", 0, s.enabled & g->vm->counters, g->enabled);
	same(g, "interrupt enables", 0, s.interrupts & g->vm->counters, g->interrupts);
	same(g, "global control", 0, w->arch->global_of(g->vm, &s), g->global);
	if (g->vm->counters)
		compare_counter(g, random_counter(g));
}

/* What did not get its count says so, before anything else happens. */
static void check_declared(struct tenant_vcpu *g, uint64_t starved)
{
	struct vpmu_counter_status status;

	while (starved) {
		unsigned int i = take_lowest(&starved);

		assert_int_equal(vpmu_vcpu_counter(&g->v, i, &status), 0);
		same(g, "value", i, status.value, g->counter[i].value);
		same(g, "state", i, status.state, VPMU_COUNTER_STARVED);
	}
}

static void read_event(struct tenant_cpu *c, unsigned int k)
{
	struct tenant_host_event *h = &c->events[k];
	struct vpmu_count count;

	hit(c, TENANT_READ, owner(c));
	c->looks = true;
	assert_int_equal(vpmu_host_event_read(&h->e, &count), 0);
	c->looks = false;
	if (count.value == h->count && count.enabled == h->enabled && count.running == h->running)
		return;
	tenant_fail(c->world, "CPU %u: event %u counted %llu, not %llu; enabled %llu, not %llu; running %llu, not %llu",
		    c->number, k, (unsigned long long)count.value, (unsigned long long)h->count,
		    (unsigned long long)count.enabled, (unsigned long long)h->enabled,
		    (unsigned long long)count.running, (unsigned long long)h->running);
}

/* ---- The host's events ---- */

static bool guest_runs(const struct tenant_cpu *c)
{
	return c->loaded && c->loaded->in_guest;
}

static unsigned int mediated_vms(const struct tenant_world *w)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < TENANT_VMS; i++)
		n += w->vms[i].alive && is_mediated(&w->vms[i]);
	return n;
}

/* What creating a mediated VM must say. */
static int vm_error(const struct tenant_world *w)
{
	int error = 0;

	for (unsigned int i = 0; i < TENANT_CPUS * TENANT_HOST_EVENTS; i++) {
		const struct tenant_host_event *h = &w->cpus[i % TENANT_CPUS].events[i / TENANT_CPUS];

		if (!h->lives || !blocks(&h->e.config))
			continue;
		if (h->e.config.watchdog)
			return VPMU_ERR_WATCHDOG;
		error = VPMU_ERR_BUSY;
	}
	return error;
}

/* Do pinned events that want one have all counters? */
static bool is_full(const struct tenant_cpu *c)
{
	uint64_t theirs = of_guest(c);
	int places, pinned = 0;

	/* It is evicted for the first one. */
	if (!c->cpu.events && c->loaded && c->loaded->vm->mode == TENANT_LAZY)
		theirs = 0;
	places = __builtin_popcountll(c->hw->caps.host_counters & ~theirs);
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		const struct tenant_host_event *h = &c->events[k];

		pinned += h->lives && h->e.config.pinned && wants(c, h);
	}
	return pinned >= places;
}

static bool targets_mediated(const struct tenant_world *w, const struct vpmu_host_event_config *config)
{
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		const struct tenant_vcpu *g = &w->vcpus[i];

		if (counts_in(config, g) && config->scope != VPMU_SCOPE_CPU && is_mediated(g->vm))
			return true;
	}
	return false;
}

static int expected_of(const struct tenant_cpu *c, const struct vpmu_host_event_config *config)
{
	bool wanted = counts_outside(config) || counts_in(config, c->loaded);

	if (!(config->user || config->kernel))
		return VPMU_ERR_PARAM;
	if (!counts_outside(config) && !counts_inside(config))
		return VPMU_ERR_PARAM;
	if (guest_runs(c))
		return VPMU_ERR_STATE;
	if (targets_mediated(c->world, config) || (blocks(config) && mediated_vms(c->world)))
		return config->watchdog ? VPMU_ERR_WATCHDOG : VPMU_ERR_BUSY;
	return config->pinned && wanted && is_full(c) ? VPMU_ERR_BUSY : 0;
}

/* Always of as many random numbers. */
static struct vpmu_host_event_config random_config(struct tenant_world *w, enum tenant_event *event)
{
	uint64_t random = rng_next(&w->rng) >> 16;
	struct tenant_vcpu *g = &w->vcpus[random % TENANT_VCPUS];
	struct vpmu_host_event_config config = {
		.size = sizeof(config),
		.scope = (enum vpmu_host_scope)(random >> 4 & 3),
		.vm = &g->vm->vm,
		.vcpu = &g->v,
		.user = (random >> 6 & 7) != 0,
		.kernel = (random >> 9 & 7) != 0,
		.exclude_guest = random >> 12 & 1,
		.exclude_host = (random >> 13 & 3) == 0,
		.pinned = (random >> 15 & 3) == 0,
		.watchdog = (random >> 17 & 3) == 0,
	};

	if (random >> 19 & 1)
		config.period = 1 + (random >> 20) % 60;
	*event = (enum tenant_event)((random >> 30) % TENANT_EVENTS);
	/* The host's own instructions are everywhere. */
	if (counts_outside(&config) && *event < TENANT_NOT_IN_COST)
		*event = (enum tenant_event)(TENANT_NOT_IN_COST + *event);
	config.event = w->arch->encoding(w->arch, *event);
	return config;
}

static void create(struct tenant_cpu *c, unsigned int k)
{
	struct tenant_world *w = c->world;
	struct tenant_host_event *h = &c->events[k];
	enum vpmu_owner before = owner(c);
	struct vpmu_host_event_config config;
	struct vpmu_host_event refused;
	enum tenant_event event;
	int expected, got;

	w->doing = "create";
	config = random_config(w, &event);
	expected = expected_of(c, &config);
	/* A place is free, or it is refused. */
	if ((h->lives || c->driven) && !expected)
		return;
	got = vpmu_host_event_create(expected ? &refused : &h->e, &w->machine, &c->cpu, &config);
	if (got != expected)
		tenant_fail(w, "CPU %u: creating event %u (scope %d%s%s%s) is %d, not %d", c->number, k,
			    (int)config.scope, config.exclude_guest ? ", exclude_guest" : "",
			    config.exclude_host ? ", exclude_host" : "",
			    config.pinned ? ", pinned" : "", got, expected);
	if (expected == VPMU_ERR_BUSY || expected == VPMU_ERR_WATCHDOG)
		hit(c, TENANT_REFUSED, before);
	if (got)
		return;
	h->lives = true;
	w->created = true;
	h->owed = false;
	h->event = event;
	h->count = h->enabled = h->running = 0;
	hit(c, TENANT_CREATE, before);
	check_fair(c);
}

static void destroy(struct tenant_cpu *c, unsigned int k)
{
	struct tenant_host_event *h = &c->events[k];

	if (!h->lives)
		return;
	read_event(c, k);
	c->world->doing = "destroy";
	hit(c, TENANT_DESTROY, owner(c));
	assert_int_equal(vpmu_host_event_destroy(&h->e), 0);
	h->lives = false;
	check_fair(c);
}

static void rotate(struct tenant_cpu *c)
{
	bool pinned[TENANT_HOST_EVENTS];

	c->world->doing = "rotate";
	hit(c, TENANT_ROTATE, owner(c));
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++)
		pinned[k] = c->events[k].lives && c->events[k].e.placed && c->events[k].e.config.pinned;
	assert_int_equal(vpmu_cpu_rotate(&c->cpu), 0);
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		if (pinned[k] && !c->events[k].e.placed)
			tenant_fail(c->world, "CPU %u: a pinned event was rotated out", c->number);
	}
	check_fair(c);
}

static void read_events(struct tenant_cpu *c)
{
	c->world->doing = "read event";
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++) {
		if (c->events[k].lives)
			read_event(c, k);
	}
}

/* While a guest runs, all of it is refused. */
static void refuse_all(struct tenant_cpu *c, unsigned int k)
{
	struct vpmu_count count;

	create(c, k);
	assert_int_equal(vpmu_cpu_rotate(&c->cpu), VPMU_ERR_STATE);
	if (!c->events[k].lives)
		return;
	assert_int_equal(vpmu_host_event_read(&c->events[k].e, &count), VPMU_ERR_STATE);
	assert_int_equal(vpmu_host_event_destroy(&c->events[k].e), VPMU_ERR_STATE);
}

static void event_step(struct tenant_cpu *c)
{
	struct rng *rng = &c->world->rng;
	unsigned int k = (unsigned int)rng_below(rng, TENANT_HOST_EVENTS);

	switch (rng_below(rng, 8)) {
	case 0: case 1: case 2:
		create(c, k);
		break;
	case 3: case 4:
		destroy(c, k);
		break;
	case 5:
		read_events(c);
		break;
	default:
		rotate(c);
	}
	check(c);
}

/* ---- The host ---- */

static void host_run(struct tenant_cpu *c)
{
	struct tenant_world *w = c->world;
	unsigned int ring = rng_one_in(&w->rng, 2) ? TENANT_USER : TENANT_KERNEL;
	uint64_t amount[TENANT_EVENTS];
	uint64_t time = random_amounts(&w->rng, amount);

	if (c->late)
		take_interrupts(c, 0);
	w->doing = "host run";
	hit(c, TENANT_HOST_RUN, owner(c));
	count_host(c, false, ring, amount, time);
	w->arch->execute(c, false, ring, amount);
	w->arch->pass(c, time);
	note_interrupts(c, w->arch->interrupts(c, true));
	check(c);
}

/* It leaves what it likes in its counters. */
static void scribble(struct tenant_cpu *c, uint64_t mask)
{
	while (mask)
		c->world->arch->scribble(c, take_lowest(&mask), 0x1234567);
}

static void reclaim(struct tenant_cpu *c)
{
	uint64_t mask = rng_next(&c->world->rng) & c->hw->caps.host_counters;
	uint64_t accesses;

	c->world->doing = "reclaim";
	if (!c->driven)
		mask = 0;
	hit(c, TENANT_RECLAIM, owner(c));
	assert_int_equal(vpmu_cpu_reclaim(&c->cpu, mask), 0);
	if (owner(c) != VPMU_OWNER_HOST)
		tenant_fail(c->world, "CPU %u: not HOST after a reclaim", c->number);
	accesses = c->hw->accesses;
	assert_int_equal(vpmu_cpu_reclaim(&c->cpu, mask), 0);
	if (c->hw->accesses != accesses)
		tenant_fail(c->world, "CPU %u: a reclaim in HOST is not free", c->number);
	scribble(c, mask);
	check(c);
}

static void request(struct tenant_cpu *c, bool poll)
{
	c->world->doing = "request";
	hit(c, TENANT_REQUEST, owner(c));
	if (vpmu_cpu_request_reclaim(&c->cpu) != (c->loaded != NULL))
		tenant_fail(c->world, "the answer is not whether a guest is loaded");
	if (guest_runs(c) || !poll)
		return;
	vpmu_cpu_poll(&c->cpu);
	if (owner(c) != VPMU_OWNER_HOST)
		tenant_fail(c->world, "CPU %u: not HOST after a poll", c->number);
	if (c->driven)
		scribble(c, c->hw->caps.host_counters);
	check(c);
}

static void put(struct tenant_vcpu *g)
{
	struct tenant_cpu *c = g->cpu;

	g->vm->world->doing = "put";
	hit(c, TENANT_PUT, owner(c));
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	g->cpu = NULL;
	c->loaded = NULL;
	if (owner(c) != VPMU_OWNER_HOST)
		tenant_fail(g->vm->world, "CPU %u: not HOST after put", c->number);
	check(c);
	check_fair(c);
}

static void load(struct tenant_vcpu *g, struct tenant_cpu *c)
{
	bool elsewhere = g->last && g->last != c, other = c->last && c->last != g;

	g->vm->world->doing = "load";
	assert_int_equal(vpmu_vcpu_load(&g->v, &c->cpu), 0);
	g->cpu = g->last = c;
	c->loaded = c->last = g;
	if (elsewhere)
		hit(c, TENANT_LOAD_ELSEWHERE, VPMU_OWNER_HOST);
	hit(c, other ? TENANT_LOAD_AFTER_OTHER : TENANT_LOAD, VPMU_OWNER_HOST);
	check(c);
	check_fair(c);
}

static void leave(struct tenant_vcpu *g)
{
	if (g->in_guest)
		tenant_exit(g);
	if (g->cpu)
		put(g);
}

/* The hypervisor executes for the guest. */
static void count(struct tenant_vcpu *g)
{
	struct tenant_world *w = g->vm->world;
	uint64_t random = rng_next(&w->rng) >> 16;
	bool branches = w->arch->edge && random & 1, user = random >> 1 & 1;
	uint64_t amount[TENANT_EVENTS] = { 0 };

	w->doing = "count";
	if (g->cpu)
		hit(g->cpu, TENANT_COUNT, owner(g->cpu));
	amount[branches ? TENANT_BRANCHES : TENANT_INSTRUCTIONS] = random >> 2 & 31;
	count_guest(g, user ? TENANT_USER : TENANT_KERNEL, amount);
	assert_int_equal(vpmu_count(&g->v, branches ? VPMU_EVENT_BRANCHES : VPMU_EVENT_INSTRUCTIONS, user,
				    random >> 2 & 31), 0);
	record(w, g->status);
}

static void loaded_step(struct tenant_vcpu *g)
{
	struct rng *rng = &g->vm->world->rng;

	switch (rng_below(rng, 32)) {
	case 0: case 1: case 2:
		put(g);
		break;
	case 3:
		reclaim(g->cpu);
		event_step(g->cpu);
		break;
	case 4: case 5:
		request(g->cpu, rng_one_in(rng, 2));
		break;
	case 6: case 7:
		count(g);
		break;
	case 8: case 9:
		g->vm->world->doing = "compare";
		compare(g);
		break;
	case 10: case 11: case 12: case 13: case 14:
		host_run(g->cpu);
		break;
	case 15: case 16: case 17: case 18: case 19: case 20: case 21:
		event_step(g->cpu);
		break;
	default:
		g->vm->world->doing = "enter";
		tenant_enter(g);
	}
}

/* ---- vCPUs and VMs come and go ---- */

static void fresh(struct tenant_vcpu *g)
{
	struct tenant_vm *vm = g->vm;
	bool scarce = vm == &vm->world->vms[TENANT_VM_SCARCE];

	memset(&g->v, 0xA5, sizeof(g->v));
	vpmu_vcpu_init(&g->v, &vm->vm);
	g->allowed = allowed_now(vm);
	g->starved = 0;
	if (!is_emulated(vm))
		return;
	vpmu_script_source_init(&g->source, &g->v, !scarce);
	if (scarce)
		g->source.capacity = 2;
	assert_int_equal(vpmu_vcpu_attach(&g->v, &g->emulated, &g->source.source), 0);
}

static void restore(struct tenant_vcpu *g, const struct vpmu_state *s)
{
	fresh(g);
	assert_int_equal(vpmu_vcpu_set_state(&g->v, s), 0);
	if (g->vm->world->arch->set_entry)
		g->vm->world->arch->set_entry(g);
}

static void migrate(struct tenant_vcpu *g)
{
	struct vpmu_state s;

	g->vm->world->doing = "migrate";
	compare(g);
	assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
	assert_int_equal(vpmu_vcpu_detach(&g->v), 0);
	same(g, "events left", 0, g->source.live + g->source.misuse, 0);
	restore(g, &s);
	compare(g);
	g->vm->world->migrations++;
}

static void end_vm(struct tenant_vm *vm)
{
	vm->world->doing = "end VM";
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		struct tenant_vcpu *g = &vm->world->vcpus[i];

		if (g->vm != vm)
			continue;
		leave(g);
		compare(g);
		assert_int_equal(vpmu_vcpu_get_state(&g->v, &g->saved), 0);
	}
	vpmu_vm_end(&vm->vm);
	vm->alive = false;
}

static void start_vm(struct tenant_vm *vm)
{
	struct tenant_world *w = vm->world;
	int expected = is_mediated(vm) ? vm_error(w) : 0;
	int got = w->arch->init_vm(vm);

	w->doing = "start VM";
	if (got != expected)
		tenant_fail(w, "creating VM %d is %d, not %d", (int)(vm - w->vms), got, expected);
	w->busy += got != 0;
	if (got)
		return;
	w->restarts++;
	vm->alive = true;
	vm->policy = vm->created;
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		if (w->vcpus[i].vm == vm)
			restore(&w->vcpus[i], &w->vcpus[i].saved);
	}
}

/* From a host of mediated VMs to one whose events count inside guests, and back. */
static void change_crowd(struct tenant_world *w)
{
	w->crowded = !w->crowded;
	for (unsigned int i = 0; w->crowded && i < TENANT_VMS; i++) {
		if (is_mediated(&w->vms[i]) && w->vms[i].alive)
			end_vm(&w->vms[i]);
	}
	for (unsigned int i = 0; !w->crowded && i < TENANT_CPUS * TENANT_HOST_EVENTS; i++) {
		struct tenant_cpu *c = &w->cpus[i % TENANT_CPUS];
		unsigned int k = i / TENANT_CPUS;

		if (!c->events[k].lives || !blocks(&c->events[k].e.config))
			continue;
		if (guest_runs(c))
			tenant_exit(c->loaded);
		destroy(c, k);
	}
	for (unsigned int i = 0; !w->crowded && i < TENANT_VMS; i++) {
		if (!w->vms[i].alive)
			start_vm(&w->vms[i]);
	}
}

/* From a CPU whose events are the library's to one where the host has a driver of its own, and back. */
static void change_driver(struct tenant_cpu *c)
{
	c->driven = !c->driven;
	if (!c->driven)
		return;
	if (guest_runs(c))
		tenant_exit(c->loaded);
	for (unsigned int k = 0; k < TENANT_HOST_EVENTS; k++)
		destroy(c, k);
}

/* Running vCPUs are made to exit: how soon they would by themselves differs between the switches. */
static void set_policy(struct tenant_vm *vm, const struct tenant_policy *policy)
{
	bool kicked[TENANT_VCPUS] = { false };

	vm->world->doing = "policy";
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		struct tenant_vcpu *g = &vm->world->vcpus[i];

		kicked[i] = g->vm == vm && g->in_guest;
		if (kicked[i])
			tenant_exit(g);
	}
	assert_int_equal(vpmu_vm_set_policy(&vm->vm, policy_of(policy)), 0);
	vm->policy = policy;
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		if (kicked[i])
			tenant_enter(&vm->world->vcpus[i]);
	}
}

static void machine_step(struct tenant_world *w)
{
	struct tenant_cpu *c = &w->cpus[rng_below(&w->rng, TENANT_CPUS)];
	struct tenant_vm *vm = &w->vms[rng_below(&w->rng, TENANT_VMS)];
	uint64_t policy = rng_below(&w->rng, 2 * TENANT_POLICIES);
	bool here = rng_one_in(&w->rng, 2);

	if (c->loaded && here)
		vm = c->loaded->vm;
	switch (rng_below(&w->rng, 32)) {
	case 0: case 1: case 2: case 3: case 18: case 19: case 20:
		if (vm->alive)
			set_policy(vm, policy < TENANT_POLICIES ? &w->policies[policy] : NULL);
		break;
	case 4:
		if (is_mediated(vm) && vm->alive)
			end_vm(vm);
		else if (is_mediated(vm))
			start_vm(vm);
		break;
	case 5: case 6:
		if (rng_one_in(&w->rng, 4))
			change_crowd(w);
		else if (rng_one_in(&w->rng, c->driven ? 2 : 8))
			change_driver(c);
		break;
	case 7: case 8: case 9: case 15: case 16: case 17:
		request(c, rng_one_in(&w->rng, 2));
		break;
	case 10: case 11:
		if (!guest_runs(c))
			reclaim(c);
		break;
	case 12:
		if (guest_runs(c))
			refuse_all(c, 0);
		break;
	case 13: case 14:
		if (c->loaded)
			leave(c->loaded);
		event_step(c);
		break;
	default:
		if (guest_runs(c))
			tenant_exit(c->loaded);
		if (rng_one_in(&w->rng, 4))
			host_run(c);
		else
			event_step(c);
	}
}

static void idle_step(struct tenant_vcpu *g)
{
	struct tenant_world *w = g->vm->world;
	struct tenant_cpu *c = &w->cpus[rng_below(&w->rng, TENANT_CPUS)];

	switch (rng_below(&w->rng, 32)) {
	case 0:
		migrate(g);
		break;
	case 1:
		w->doing = "compare";
		compare(g);
		break;
	case 2:
		count(g);
		break;
	case 3: case 4: case 5: case 6:
		if (c->loaded)
			leave(c->loaded);
		load(g, c);
		break;
	default:
		if (c->loaded)
			leave(c->loaded);
		load(g, c);
		w->doing = "enter";
		tenant_enter(g);
	}
}

void tenants_step(struct tenant_world *w)
{
	struct tenant_vcpu *g = w->cpus[rng_below(&w->rng, TENANT_CPUS)].loaded;

	/* Mostly somebody who is loaded. */
	if (rng_one_in(&w->rng, 32) || !g)
		g = &w->vcpus[rng_below(&w->rng, TENANT_VCPUS)];
	w->step++;
	if (rng_one_in(&w->rng, 16) || !g->vm->alive)
		machine_step(w);
	else if (g->in_guest)
		guest_step(g);
	else if (g->cpu)
		loaded_step(g);
	else
		idle_step(g);
}

static void follow(struct tenant_world *w, const struct tenant_world *other)
{
	for (unsigned int i = 0; w->created && i < TENANT_CPUS * TENANT_HOST_EVENTS; i++) {
		unsigned int k = i / TENANT_CPUS;

		if (!other->cpus[i % TENANT_CPUS].events[k].lives)
			destroy(&w->cpus[i % TENANT_CPUS], k);
	}
	w->created = false;
}

void tenants_agree(struct tenant_world *a, struct tenant_world *b)
{
	follow(a, b);
	follow(b, a);
}

void tenants_look(struct tenant_world *w)
{
	w->doing = "last look";
	for (unsigned int i = 0; i < TENANT_CPUS; i++) {
		if (guest_runs(&w->cpus[i]))
			tenant_exit(w->cpus[i].loaded);
		take_interrupts(&w->cpus[i], 0);
		read_events(&w->cpus[i]);
	}
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		if (w->vcpus[i].vm->alive)
			compare(&w->vcpus[i]);
	}
}

/* ---- The matrix ---- */

#define MODE(mode) (1u << TENANT_##mode)
#define LAZIES (MODE(LAZY) | MODE(PART_LAZY))
#define EAGERS (MODE(EAGER) | MODE(PART_EAGER))
#define SWITCHED (LAZIES | EAGERS)
#define UNSWITCHED (MODE(EMULATED) | MODE(OFF))
#define GUESTS (SWITCHED | UNSWITCHED)
#define ANY (GUESTS | MODE(NONE))
/* An eager guest's counters are all of them, and no event has one. */
#define COUNTED (ANY & ~MODE(EAGER))

/* Who can be loaded when it happens, by the owner before. What depends on the architecture is below. */
static const unsigned int cells[TENANT_EDGES][3] = {
	[TENANT_LOAD] = { GUESTS },
	[TENANT_LOAD_AFTER_OTHER] = { GUESTS },
	[TENANT_LOAD_ELSEWHERE] = { GUESTS },
	[TENANT_ENTER_HOST] = { LAZIES | UNSWITCHED, 0, LAZIES },
	[TENANT_ENTER_LIVE] = { SWITCHED, 0, LAZIES },
	[TENANT_ENTER_POLICY] = { GUESTS, 0, LAZIES },
	[TENANT_EXIT_PARKED] = { 0, LAZIES, 0 },
	[TENANT_EXIT_HOST] = { LAZIES | UNSWITCHED, SWITCHED, 0 },
	[TENANT_PUT] = { GUESTS, 0, LAZIES },
	[TENANT_RECLAIM] = { ANY, 0, LAZIES },
	[TENANT_REQUEST] = { ANY, SWITCHED, LAZIES },
	[TENANT_TRAP] = { GUESTS, 0, LAZIES },
	[TENANT_COUNT] = { GUESTS, 0, LAZIES },
	[TENANT_COMPARE] = { GUESTS, 0, LAZIES },
	[TENANT_GUEST_RUN] = { LAZIES | UNSWITCHED, SWITCHED, 0 },
	[TENANT_HOST_RUN] = { ANY, 0, LAZIES },
	[TENANT_PMI_HOST] = { COUNTED, 0, LAZIES },
	[TENANT_PMI_BOTH] = { 0, 0, MODE(PART_LAZY) },
	[TENANT_TOLD] = { MODE(EMULATED), SWITCHED, 0 },
	[TENANT_CREATE] = { ANY, 0, LAZIES },
	[TENANT_REFUSED] = { ANY, 0, LAZIES },
	[TENANT_DESTROY] = { ANY, 0, LAZIES },
	[TENANT_READ] = { ANY, 0, LAZIES },
	[TENANT_ROTATE] = { ANY, 0, LAZIES },
	[TENANT_SAMPLE] = { COUNTED, 0, LAZIES },
};

/*
 * An edge that was found by looking, at a save, has a late vector; a level is asked for again. A CPU where host
 * events live leaves an Arm guest nothing direct.
 */
static const unsigned int edge_cells[TENANT_EDGES][3] = {
	[TENANT_DIRECT] = { 0, SWITCHED, 0 },
	[TENANT_PMI_GUEST] = { 0, 0, LAZIES },
	[TENANT_PMI_LATE] = { SWITCHED, 0, 0 },
};

static const unsigned int level_cells[TENANT_EDGES][3] = {
	[TENANT_DIRECT] = { 0, MODE(LAZY) | MODE(EAGER), 0 },
	[TENANT_PMI_GUEST] = { SWITCHED, 0, LAZIES },
	[TENANT_PMI_BOTH] = { MODE(PART_EAGER), 0, 0 },
};

bool tenants_cell_exists(const struct tenant_arch *arch, enum tenant_edge edge, enum vpmu_owner owner,
			 enum tenant_mode mode)
{
	unsigned int modes = cells[edge][owner];

	modes |= arch->edge ? edge_cells[edge][owner] : level_cells[edge][owner];
	return modes >> mode & 1;
}

/* ---- Set-up ---- */

static void init_cpus(struct tenant_world *w)
{
	for (unsigned int i = 0; i < TENANT_CPUS; i++) {
		struct tenant_cpu *c = &w->cpus[i];

		c->world = w;
		c->number = i;
		w->arch->init_cpu(c);
		vpmu_machine_add(&w->machine, &c->hw->caps);
		c->boundary = true;
		assert_int_equal(vpmu_cpu_init(&c->cpu, i, c->hw), 0);
		c->boundary = false;
	}
}

static void init_vms(struct tenant_world *w, bool swapped)
{
	static const enum vpmu_mode modes[TENANT_VMS] = {
		VPMU_MODE_MEDIATED, VPMU_MODE_MEDIATED, VPMU_MODE_PARTITIONED,
		VPMU_MODE_PARTITIONED, VPMU_MODE_EMULATED, VPMU_MODE_EMULATED, VPMU_MODE_OFF,
	};
	static const enum tenant_mode columns[2][TENANT_VMS] = {
		{ TENANT_LAZY, TENANT_EAGER, TENANT_PART_LAZY, TENANT_PART_EAGER, TENANT_EMULATED,
		  TENANT_EMULATED, TENANT_OFF },
		{ TENANT_EAGER, TENANT_LAZY, TENANT_PART_EAGER, TENANT_PART_LAZY, TENANT_EMULATED,
		  TENANT_EMULATED, TENANT_OFF },
	};

	for (unsigned int i = 0; i < TENANT_VMS; i++) {
		struct tenant_vm *vm = &w->vms[i];

		vm->world = w;
		vm->mode = columns[swapped][i];
		vm->config.size = sizeof(vm->config);
		vm->config.mode = modes[i];
		vm->config.switch_kind = is_eager(vm->mode) ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		vm->created = i == TENANT_VM_EAGER ? &w->policies[0] : NULL;
		vm->config.policy = policy_of(vm->created);
		vm->policy = vm->created;
		w->arch->describe(vm);
		assert_int_equal(w->arch->init_vm(vm), 0);
		vm->alive = true;
	}
}

static void init_vcpus(struct tenant_world *w)
{
	for (unsigned int i = 0; i < TENANT_VCPUS; i++) {
		struct tenant_vcpu *g = &w->vcpus[i];
		struct vpmu_state s;

		g->vm = &w->vms[i ? i - 1 : 0];
		fresh(g);
		if (w->arch->set_entry)
			w->arch->set_entry(g);
		assert_int_equal(vpmu_vcpu_get_state(&g->v, &s), 0);
		g->global = w->arch->global_of(g->vm, &s);
		for (unsigned int k = 0; k < TENANT_COUNTERS; k++) {
			g->counter[k].rings = TENANT_KERNEL | TENANT_USER;
			(void)w->arch->is_fixed(k, &g->counter[k].event);
		}
	}
}

void tenants_init(struct tenant_world *w, const struct tenant_arch *arch, bool swapped, uint64_t seed)
{
	static const uint32_t allowed[TENANT_POLICIES] = { 0x7D, 0x13, 0x00, 0x6F };

	memset(w, 0, sizeof(*w));
	w->arch = arch;
	w->seed = seed;
	w->rng.state = seed * 2 + 1;
	w->noise.state = seed * 2 + 3;
	w->doing = "init";
	for (unsigned int i = 0; i < TENANT_POLICIES; i++) {
		w->policies[i].allowed = allowed[i];
		arch->compile(&w->policies[i], arch);
	}
	vpmu_machine_init(&w->machine);
	init_cpus(w);
	init_vms(w, swapped);
	init_vcpus(w);
}
