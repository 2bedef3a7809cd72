/* SPDX-License-Identifier: MIT */
/*
 * Emulated counters: each is backed by at most one event of a counting source (vpmu/source.h).
 *
 * A guest's write costs nothing at once but a look at the counts: what it means for events is worked
 * out at the next enter, all writes since the last one together. Between exit and enter nothing of the
 * guest counts, so the order of looking and writing does not matter.
 *
 * An event that must not count for a while is paused: virtually, where reads are cheap, by
 * remembering the count at both ends; really otherwise. It is released when its selector changes, when
 * another event needs its place, or after a whole residency without use.
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

/* Counts since the last look become the guest's: width, overflow and chaining are the architecture's. */
static void settle(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated_counter *c = &emu_of(v)->counter[i];
	uint64_t value = look(v, i).value;
	uint64_t n = value - c->base;

	c->base = value;
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
}

static void release_all(struct vpmu_vcpu *v, uint64_t mask)
{
	mask &= emu_of(v)->exists;
	while (mask)
		release(v, vpmu_mask_next(&mask));
}

/* The event that counter (i) needs now; false: none. */
static bool wanted(const struct vpmu_vcpu *v, unsigned int i, struct vpmu_event *event)
{
	const struct vpmu_policy *policy = atomic_load_explicit(&v->policy, memory_order_relaxed);
	const struct vpmu_arch *arch = v->vm->arch;
	uint64_t selector = v->state.selector[i];

	if (!(arch->active(v->vm, &v->state) & VPMU_BIT(i)))
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

static bool same_event(const struct vpmu_event *a, const struct vpmu_event *b)
{
	return a->selector == b->selector && a->meaning == b->meaning && a->user == b->user &&
	       a->kernel == b->kernel && a->checkpointed == b->checkpointed;
}

/* Is the hint that (event) needs the one that is due already? Modulo 2^64, like the counts. */
static bool is_armed(const struct vpmu_emulated_counter *c, const struct vpmu_event *event)
{
	if (!event->period || !c->event.period)
		return !event->period && !c->event.period;
	return c->due == c->base + event->period;
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

/* An event that nobody needs now may be in the way of one that is needed (RULES D1). */
static bool create(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	uint64_t idle = emu_of(v)->exists & ~emu_of(v)->running;

	if (try_create(v, i, event))
		return true;
	release_all(v, idle);
	return idle && try_create(v, i, event);
}

/* An existing event of the right kind goes on; returns false if the source cannot. */
static bool go_on(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_emulated_counter *c = &e->counter[i];

	if (!((e->running | e->paused) & VPMU_BIT(i)) && e->source->ops->start(e->source, i))
		return false;
	if (!(e->running & VPMU_BIT(i)))
		c->base = look(v, i).value;
	if (is_armed(c, event) && !(e->rearm & VPMU_BIT(i)))
		return true;
	if (e->source->ops->period(e->source, i, event->period))
		return false;
	note_armed(c, event);
	return true;
}

/* Closer than this to its overflow, a paused event could report one that never was. */
#define PAUSE_DISTANCE 4096u

static void rest(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	const struct vpmu_emulated_counter *c = &e->counter[i];

	if (!(e->running & VPMU_BIT(i)))
		return;
	e->running &= ~VPMU_BIT(i);
	if (e->source->cheap_reads && (!c->event.period || c->due - c->base > PAUSE_DISTANCE))
		e->paused |= VPMU_BIT(i);
	else
		e->source->ops->stop(e->source, i);
}

static bool run(struct vpmu_vcpu *v, unsigned int i, const struct vpmu_event *event)
{
	struct vpmu_emulated *e = emu_of(v);

	if (e->exists & VPMU_BIT(i) && !same_event(&e->counter[i].event, event))
		release(v, i);
	return e->exists & VPMU_BIT(i) ? go_on(v, i, event) : create(v, i, event);
}

static void reprogram(struct vpmu_vcpu *v, unsigned int i)
{
	struct vpmu_emulated *e = emu_of(v);
	struct vpmu_event event = { 0 };

	e->starved &= ~VPMU_BIT(i);
	e->unsupported &= ~VPMU_BIT(i);
	if (!wanted(v, i, &event)) {
		rest(v, i);
	} else if (run(v, i, &event)) {
		e->running |= VPMU_BIT(i);
		e->paused &= ~VPMU_BIT(i);
		e->used |= VPMU_BIT(i);
	} else {
		release_all(v, VPMU_BIT(i));
		e->starved |= VPMU_BIT(i);
		e->dirty |= VPMU_BIT(i);
	}
	e->rearm &= ~VPMU_BIT(i);
}

/* ---- Enter, exit, put ---- */

/* A hint decides nothing: the count does, and what is left is armed again (RULES D1). */
static void take_hints(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t hints = atomic_exchange(&e->hints, 0) & e->exists;
	uint64_t paused = hints & e->paused;

	settle_all(v, hints);
	e->rearm |= hints;
	e->dirty |= hints;
	e->paused &= ~paused;
	while (paused)
		e->source->ops->stop(e->source, vpmu_mask_next(&paused));
}

static void emulated_enter(struct vpmu_vcpu *v)
{
	struct vpmu_emulated *e = emu_of(v);
	uint64_t dirty;

	if (atomic_load_explicit(&e->hints, memory_order_relaxed))
		take_hints(v);
	/* What starves stays dirty for the next time. */
	dirty = e->dirty & v->vm->counters;
	e->dirty = 0;
	while (dirty)
		reprogram(v, vpmu_mask_next(&dirty));
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
	uint64_t paused;

	settle_all(v, v->vm->counters);
	release_all(v, e->exists & ~e->running & ~e->used);
	paused = e->paused;
	e->paused = 0;
	while (paused)
		e->source->ops->stop(e->source, vpmu_mask_next(&paused));
	e->used = 0;
}

static void emulated_replace(struct vpmu_vcpu *v)
{
	if (!v->emulated)
		return;
	release_all(v, v->vm->counters);
	v->emulated->starved = 0;
	v->emulated->unsupported = 0;
	v->emulated->rearm = 0;
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
	struct vpmu_state before = {
		.enabled = v->state.enabled, .global = v->state.global, .status = c->status,
	};

	return c->status != v->state.status &&
	       v->vm->arch->active(v->vm, &before) != v->vm->arch->active(v->vm, &v->state);
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
