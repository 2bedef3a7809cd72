/* SPDX-License-Identifier: MIT */
/*
 * Emulated counters: each is backed by at most one event of a counting source (vpmu/source.h).
 *
 * A guest's write costs nothing at once but a look at the counts: what it means for events is worked
 * out at the next enter, all writes since the last one together. Between exit and enter nothing of the
 * guest counts, so the order of looking and writing does not matter.
 *
 * An event that must not count for a while is paused: virtually, where reads are cheap, by
 * remembering the count at both ends; really otherwise. It is released after a whole residency
 * without use, or when another event needs its place.
 *
 * An event whose counter got another selector is *parked*: stopped, and moved to a slot of no counter.
 * A guest that multiplexes more events than it has counters comes back to it, and then gets it back.
 */
#include "registers.h"

static struct vpmu_emulated *emu_of(const struct vpmu_vcpu *v)
{
	return v->emulated;
}

static struct vpmu_source *source_of(const struct vpmu_vcpu *v)
{
	return v->emulated->source;
}

/* ---- From the source to the guest's registers ---- */

static struct vpmu_count look(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated_counter *c = &emu_of(v)->counter[i];
	struct vpmu_count count = source_of(v)->ops->read(source_of(v), i);

	/* Time passed and the event did not get all of it: the count is short, and says so. */
	if (count.enabled - c->enabled > count.running - c->running)
		emu_of(v)->starved |= VPMU_BIT(i);
	c->enabled = count.enabled;
	c->running = count.running;
	return count;
}

/*
 * Counts since the last look become the guest's: width, overflow and chaining are the architecture's.
 * While the guest is out they stand still: where looking is a system call, once per exit is enough.
 */
static void settle(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_emulated_counter *c = &e->counter[i];
	uint64_t value, n;

	if (e->settled & VPMU_BIT(i) && !e->source->cheap_reads)
		return;
	value = look(v, i).value;
	n = value - c->base;
	c->base = value;
	e->settled |= VPMU_BIT(i);
	if (n)
		v->vm->arch->add(v->vm, &v->state, i, !c->event.kernel, n);
}

static void settle_all(struct vpmu_vcpu *v, uint64_t mask)
{
	mask &= emu_of(v)->running;
	while (mask)
		settle(v, vpmu_mask_next(&mask));
}

/* ---- Events ---- */

static void release(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);

	e->source->ops->release(e->source, i);
	e->exists &= ~VPMU_BIT(i);
	e->running &= ~VPMU_BIT(i);
	e->paused &= ~VPMU_BIT(i);
	e->rearm &= ~VPMU_BIT(i);
	e->put_off &= ~VPMU_BIT(i);
}

static void release_all(struct vpmu_vcpu *v, uint64_t mask)
{
	mask &= emu_of(v)->exists;
	while (mask)
		release(v, vpmu_mask_next(&mask));
}

static void stop_paused(struct vpmu_vcpu *v, uint64_t mask)
{
	struct vpmu_emulated *e = emu_of(v);

	mask &= e->paused;
	e->paused &= ~mask;
	while (mask)
		e->source->ops->stop(e->source, vpmu_mask_next(&mask));
}

/* ---- Parked events ---- */

static bool same_event(const struct vpmu_event *a, const struct vpmu_event *b)
{
	return a->selector == b->selector && a->meaning == b->meaning && a->user == b->user &&
	       a->kernel == b->kernel && a->checkpointed == b->checkpointed;
}

/* At most 32 of them, in slots that no architecture has counters in, but x86's few fixed ones. */
#define PARKING 0xFFFFFFFF00000000ull

/*
 * So many residencies without use, and a parked event is released. Not one: the guest's turns and the
 * host's time slices have nothing to do with each other.
 */
#define PARKED_RESIDENCIES 64u

static void release_parked(struct vpmu_vcpu *v, uint64_t mask)
{
	struct vpmu_emulated *e = emu_of(v);

	mask &= e->parked;
	e->parked &= ~mask;
	while (mask)
		e->source->ops->release(e->source, vpmu_mask_next(&mask));
}

/* A free slot: at worst, that of the event which has been parked longest. */
static unsigned int parking_slot(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t rest = PARKING & ~v->vm->counters & ~e->parked;
	unsigned int oldest;

	if (rest)
		return vpmu_mask_next(&rest);
	rest = e->parked;
	oldest = vpmu_mask_next(&rest);
	while (rest) {
		unsigned int slot = vpmu_mask_next(&rest);

		if (e->counter[slot].parked_at < e->counter[oldest].parked_at)
			oldest = slot;
	}
	release_parked(v, VPMU_BIT(oldest));
	return oldest;
}

static void move(struct vpmu_emulated *e, unsigned int from, unsigned int to)
{
	e->source->ops->move(e->source, from, to);
	e->counter[to] = e->counter[from];
}

/* The counts so far are the guest's already. */
static void park(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	unsigned int slot = parking_slot(v);

	if ((e->running | e->paused) & VPMU_BIT(i))
		e->source->ops->stop(e->source, i);
	e->exists &= ~VPMU_BIT(i);
	e->running &= ~VPMU_BIT(i);
	e->paused &= ~VPMU_BIT(i);
	e->put_off &= ~VPMU_BIT(i);
	move(e, i, slot);
	e->parked |= VPMU_BIT(slot);
	e->counter[slot].parked_at = ++e->parkings;
	e->counter[slot].residencies = 0;
}

/* The slot of a parked event like (event); 0, which is a counter's: there is none. */
static unsigned int find_parked(const struct vpmu_emulated *e, const struct vpmu_event *event)
{
	uint64_t rest = e->parked;

	while (rest) {
		unsigned int slot = vpmu_mask_next(&rest);

		if (same_event(&e->counter[slot].event, event))
			return slot;
	}
	return 0;
}

/* Counter (i)'s event gives way to (event), which may be the one that has been parked longest. */
static void swap_out(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	struct vpmu_emulated *e = emu_of(v);
	unsigned int next = find_parked(e, event);

	if (next)
		e->counter[next].parked_at = ++e->parkings;
	park(v, i);
}

/* A parked event like (event) becomes counter (i)'s; false: there is none. */
static bool unpark(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	struct vpmu_emulated *e = emu_of(v);
	unsigned int slot = find_parked(e, event);

	if (!slot)
		return false;
	move(e, slot, i);
	e->parked &= ~VPMU_BIT(slot);
	e->exists |= VPMU_BIT(i);
	return true;
}

static void age_parked(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t rest = e->parked;

	while (rest) {
		unsigned int slot = vpmu_mask_next(&rest);

		if (++e->counter[slot].residencies > PARKED_RESIDENCIES)
			release_parked(v, VPMU_BIT(slot));
	}
}

/* The event that counter (i) needs now; false: none. */
static bool wanted(const struct vpmu_vcpu *v, unsigned int i, struct vpmu_event *event)
{
	const struct vpmu_policy *policy = atomic_load_explicit(&v->policy, memory_order_relaxed);
	const struct vpmu_arch *arch = v->vm->arch;
	uint64_t selector = v->state.selector[i];

	if (!(vpmu_active(v->vm, &v->state) & VPMU_BIT(i)))
		return false;
	if (arch->denied(v->vm, policy, i, selector) || !arch->supported(v->vm, i, selector))
		return false;
	if (!arch->event(v->vm, i, selector, event))
		return false;
	if (!source_of(v)->ops->supports(source_of(v), event)) {
		v->emulated->unsupported |= VPMU_BIT(i);
		return false;
	}
	/* A hint is needed only where somebody waits for the overflow. */
	if (!event->checkpointed && v->state.interrupts & (VPMU_BIT(i) | arch->carries(v->vm, &v->state, VPMU_BIT(i))))
		event->period = arch->distance(v->vm, &v->state, i);
	return true;
}

/*
 * Will the hint that is due already do for (event)? A pause makes it come early. It is armed again when
 * it comes, which costs less than arming each counter after each pause, as long as pauses are short
 * beside what is left. Modulo 2^64, like the counts.
 */
static bool is_armed(const struct vpmu_emulated_counter *c, const struct vpmu_event *event)
{
	uint64_t left = c->due - c->base;

	if (!event->period || !c->event.period)
		return !event->period && !c->event.period;
	return left <= event->period && left >= event->period - event->period / 4;
}

static void note_armed(struct vpmu_emulated_counter *c, const struct vpmu_event *event)
{
	c->event.period = event->period;
	c->due = c->base + event->period;
}

static bool try_create(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_emulated_counter *c = &e->counter[i];

	if (e->source->ops->create(e->source, i, event))
		return false;
	e->exists |= VPMU_BIT(i);
	*c = (struct vpmu_emulated_counter){ .event = *event };
	note_armed(c, event);
	return true;
}

/*
 * An event that nobody needs now may be in the way of one that is needed (RULES D1): it holds a
 * counter of the hardware as long as it is not stopped, or a place. returns: false: there is none.
 */
static bool make_room(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t idle = e->exists & ~e->running & ~VPMU_BIT(i);

	if (e->paused & ~VPMU_BIT(i)) {
		stop_paused(v, ~VPMU_BIT(i));
		return true;
	}
	if (!(idle | e->parked))
		return false;
	release_all(v, idle);
	release_parked(v, e->parked);
	return true;
}

/* At most three tries, because making room twice leaves nothing. */
static bool create(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	do {
		if (try_create(v, i, event))
			return true;
	} while (make_room(v, i));
	return false;
}

static bool start(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_source *source = source_of(v);

	do {
		if (!source->ops->start(source, i))
			return true;
	} while (make_room(v, i));
	return false;
}

/* So far away that no counter gets there between two exits, minutes at a count per cycle and more. */
#define FAR (1ull << 40)

/*
 * After an overflow the next one is far away, and the guest is going to move it: arming waits for the
 * enter after this one.
 */
static bool puts_off(struct vpmu_emulated *e, unsigned int i, const struct vpmu_event *event)
{
	if (event->period < FAR || e->put_off & VPMU_BIT(i))
		return false;
	e->put_off |= VPMU_BIT(i);
	e->dirty |= VPMU_BIT(i);
	return true;
}

/* What the event did in a pause is not the guest's: what it counted, and what it should have. */
static void pass_over(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated_counter *c = &emu_of(v)->counter[i];
	struct vpmu_count count = source_of(v)->ops->read(source_of(v), i);

	c->base = count.value;
	c->enabled = count.enabled;
	c->running = count.running;
	c->drifted = false;
}

/* An existing event of the right kind goes on; returns false if the source cannot. */
static bool go_on(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_emulated_counter *c = &e->counter[i];

	if (!((e->running | e->paused) & VPMU_BIT(i)) && !start(v, i))
		return false;
	if (c->drifted)
		pass_over(v, i);
	if (!(e->rearm & VPMU_BIT(i)) && is_armed(c, event))
		return true;
	if (puts_off(e, i, event))
		return true;
	if (e->source->ops->period(e->source, i, event->period))
		return false;
	note_armed(c, event);
	e->rearm &= ~VPMU_BIT(i);
	e->put_off &= ~VPMU_BIT(i);
	return true;
}

/* Closer than this to its overflow, a paused event could report one that never was. */
#define PAUSE_DISTANCE 4096u

static void rest(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_emulated_counter *c = &e->counter[i];

	if (!(e->running & VPMU_BIT(i)))
		return;
	e->running &= ~VPMU_BIT(i);
	if (e->source->cheap_reads && (!c->event.period || c->due - c->base > PAUSE_DISTANCE)) {
		e->paused |= VPMU_BIT(i);
		c->drifted = true;
	} else {
		e->source->ops->stop(e->source, i);
	}
}

static bool run(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	if (emu_of(v)->exists & VPMU_BIT(i) || unpark(v, i, event))
		return go_on(v, i, event);
	return create(v, i, event);
}

/* What is not wanted stops before what is wanted starts: never more at once than are asked for. */
static bool make_way(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_event event = { 0 };

	e->starved &= ~VPMU_BIT(i);
	e->unsupported &= ~VPMU_BIT(i);
	if (!wanted(v, i, &event)) {
		rest(v, i);
		return false;
	}
	if (e->exists & VPMU_BIT(i) && !same_event(&e->counter[i].event, &event))
		swap_out(v, i, &event);
	return true;
}

static void reprogram(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_event event = { 0 };

	if (wanted(v, i, &event) && run(v, i, &event)) {
		e->running |= VPMU_BIT(i);
		e->paused &= ~VPMU_BIT(i);
		e->used |= VPMU_BIT(i);
	} else {
		release_all(v, VPMU_BIT(i));
		e->starved |= VPMU_BIT(i);
		e->dirty |= VPMU_BIT(i);
	}
}

/* ---- Enter, exit, put ---- */

/* A hint decides nothing: the count does, and what is left is armed again (RULES D1). */
static void take_hints(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t hints = atomic_exchange(&e->hints, 0) & e->exists;

	settle_all(v, hints);
	e->rearm |= hints;
	e->dirty |= hints;
	stop_paused(v, hints);
}

static void emulated_enter(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t dirty, needed = 0;

	if (atomic_load_explicit(&e->hints, memory_order_relaxed))
		take_hints(v);
	settle_all(v, e->put_off);
	/* What starves stays dirty for the next time. */
	dirty = e->dirty & v->vm->counters;
	e->dirty = 0;
	while (dirty) {
		unsigned int i = vpmu_mask_next(&dirty);

		needed |= make_way(v, i) ? VPMU_BIT(i) : 0;
	}
	while (needed)
		reprogram(v, vpmu_mask_next(&needed));
	e->settled = 0;
}

static void emulated_exit(struct vpmu_vcpu *v)
{
	if (atomic_load_explicit(&emu_of(v)->hints, memory_order_relaxed))
		take_hints(v);
}

/* Everything is worked out anew at the next enter, from up-to-date values. */
static void emulated_evict(struct vpmu_vcpu *v, uint64_t host_owns)
{
	(void)host_owns;
	settle_all(v, v->vm->counters);
	emu_of(v)->dirty = v->vm->counters;
}

/* No pause survives a put, nor an event that was of no use since the load. */
static void emulated_put(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);

	settle_all(v, v->vm->counters);
	release_all(v, e->exists & ~e->running & ~e->used);
	stop_paused(v, e->paused);
	age_parked(v);
	e->used = 0;
}

static void emulated_replace(struct vpmu_vcpu *v)
{
	if (!v->emulated)
		return;
	release_all(v, v->vm->counters);
	release_parked(v, v->emulated->parked);
	v->emulated->starved = 0;
	v->emulated->unsupported = 0;
	v->emulated->dirty = v->vm->counters;
}

/* ---- State ---- */

/* (mask), and the counters below that may carry into it. */
static uint64_t with_feeders(const struct vpmu_vcpu *v, uint64_t mask)
{
	return v->vm->arch->chains ? mask | mask >> 1 : mask;
}

static void emulated_begin(struct vpmu_vcpu *v)
{
	if (v->emulated)
		settle_all(v, v->vm->counters);
}

static void emulated_pull(struct vpmu_vcpu *v, uint32_t items, uint64_t counters)
{
	if (!v->emulated)
		return;
	/* An overflow of any counter is a status; a carry comes from the counter below. */
	settle_all(v, items & VPMU_ITEM_STATUS ? v->vm->counters : with_feeders(v, counters));
}

/* Does the status stop what it did not stop before, or the other way round (x86: CTR_Frz)? */
static bool is_frozen_or_thawed(const struct vpmu_vcpu *v, const struct vpmu_change *c)
{
	const struct vpmu_state *s = &v->state;

	return c->status != s->status &&
	       v->vm->arch->active(v->vm, s->enabled, s->global, c->status) != vpmu_active(v->vm, s);
}

static void emulated_push(struct vpmu_vcpu *v, const struct vpmu_change *c)
{
	const struct vpmu_state *s = &v->state;
	uint64_t changed = (c->enabled ^ s->enabled) | (c->interrupts ^ s->interrupts) | c->values |
			   c->selectors;

	if (!v->emulated)
		return;
	if (c->global != s->global || is_frozen_or_thawed(v, c))
		changed = v->vm->counters;
	/* What may carry into a changed one needs a hint for both. */
	v->emulated->dirty |= with_feeders(v, changed);
}

const struct vpmu_switch vpmu_emulated_switch = {
	.enter = emulated_enter,
	.exit = emulated_exit,
	.evict = emulated_evict,
	.put = emulated_put,
	.replace = emulated_replace,
	.begin = emulated_begin,
	.pull = emulated_pull,
	.push = emulated_push,
};
