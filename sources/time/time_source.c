/* SPDX-License-Identifier: MIT */
#include "time_source.h"

#include <stdatomic.h>
#include <unistd.h>

static struct vpmu_time_source *time_of(struct vpmu_source *s)
{
	return (struct vpmu_time_source *)s;
}

static uint64_t now(const struct vpmu_time_source *s)
{
	return s->config.clock(s->config.context);
}

static uint64_t difference(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t khz_of(const struct vpmu_time_source *s, const struct vpmu_event *e)
{
	if (e->meaning == VPMU_MEANS_CYCLES)
		return s->config.core_khz;
	return e->meaning == VPMU_MEANS_REFERENCE_CYCLES ? s->config.reference_khz : 0;
}

/* ---- Timers ---- */

/* A guest that ran less than this part of its timer's time is halted, if that is so a few times. */
#define IDLE_PART 16u
#define IDLE_TIMES 3u

/* More than a lifetime, and what a timespec holds. */
#define FAR (1ull << 60)

/* Halted guests are looked after ever more rarely; others when it is due. */
static uint64_t patience(const struct vpmu_time_timer *t, uint64_t nanoseconds)
{
	uint64_t doubled = 2 * t->nanoseconds;

	if (doubled > VPMU_TIME_LATE)
		doubled = VPMU_TIME_LATE;
	if (t->idle < IDLE_TIMES || nanoseconds > doubled)
		return nanoseconds;
	return doubled;
}

static void note_idle(const struct vpmu_time_source *s, struct vpmu_time_timer *t)
{
	bool fired = atomic_exchange_explicit(&t->fired, false, memory_order_relaxed);

	if (!fired || difference(now(s), t->clock) >= t->nanoseconds / IDLE_PART)
		t->idle = 0;
	else if (t->idle < IDLE_TIMES)
		t->idle++;
}

static bool make_timer(struct vpmu_time_source *s, unsigned int slot)
{
	struct vpmu_time_system *sys = s->config.system;
	struct vpmu_time_timer *t = &s->timer[slot];

	if (t->exists)
		return true;
	if (!s->config.signal)
		return false;
	s->source.calls++;
	t->exists = !sys->create(sys, s->config.signal, s->config.tid, slot, &t->timer);
	return t->exists;
}

/* returns: 0 or -1, as vpmu_source_ops.period. */
static int set_timer(struct vpmu_time_source *s, unsigned int slot, uint64_t nanoseconds)
{
	struct vpmu_time_system *sys = s->config.system;
	struct vpmu_time_timer *t = &s->timer[slot];
	bool was_set;

	if (!make_timer(s, slot))
		return -1;
	note_idle(s, t);
	nanoseconds = patience(t, nanoseconds);
	t->clock = now(s);
	t->nanoseconds = nanoseconds;
	s->source.calls++;
	/* Before, because it may expire at once. One that was set still is if this fails. */
	was_set = atomic_exchange(&t->is_set, true);
	if (!sys->set(sys, t->timer, nanoseconds))
		return 0;
	t->is_set = was_set;
	return -1;
}

static void clear_timer(struct vpmu_time_source *s, unsigned int slot)
{
	struct vpmu_time_system *sys = s->config.system;

	if (!s->timer[slot].is_set)
		return;
	s->source.calls++;
	(void)sys->set(sys, s->timer[slot].timer, 0);
	s->timer[slot].is_set = false;
}

void vpmu_time_source_overflow(struct vpmu_time_source *s, unsigned int slot)
{
	if (slot >= VPMU_COUNTER_MAX || !s->timer[slot].is_set)
		return;
	atomic_store_explicit(&s->timer[slot].fired, true, memory_order_relaxed);
	if (vpmu_vcpu_overflow(s->v, slot) && s->config.kick)
		s->config.kick(s->config.context);
}

/* ---- Events ---- */

static uint64_t elapsed(const struct vpmu_time_source *s, const struct vpmu_time_event *e)
{
	return e->counts ? e->nanoseconds + difference(now(s), e->since) : e->nanoseconds;
}

static uint64_t value(const struct vpmu_time_source *s, const struct vpmu_time_event *e)
{
	return vpmu_time_cycles(elapsed(s, e), e->khz);
}

/* The hint at e->due, if there is one; at once if that is past. */
static int arm(struct vpmu_time_source *s, unsigned int slot)
{
	const struct vpmu_time_event *e = &s->event[slot];
	uint64_t left = difference(vpmu_time_nanoseconds(e->due, e->khz), elapsed(s, e));

	if (!e->due) {
		clear_timer(s, slot);
		return 0;
	}
	if (left > FAR)
		left = FAR;
	return set_timer(s, slot, left ? left : 1);
}

static bool time_supports(struct vpmu_source *source, const struct vpmu_event *e)
{
	const struct vpmu_time_source *s = time_of(source);

	return khz_of(s, e) && ((e->user && e->kernel) || s->config.any_ring);
}

/* UINT64_MAX is never reached, and as good as any later count. */
static uint64_t due_after(uint64_t value, uint64_t events)
{
	if (!events)
		return 0;
	return value > UINT64_MAX - events ? UINT64_MAX : value + events;
}

static int time_period(struct vpmu_source *source, unsigned int slot, uint64_t events)
{
	struct vpmu_time_source *s = time_of(source);
	struct vpmu_time_event *e = &s->event[slot];
	uint64_t before = e->due;

	e->due = due_after(value(s, e), events);
	if (!e->counts || !arm(s, slot))
		return 0;
	e->due = before;
	return -1;
}

static int time_create(struct vpmu_source *source, unsigned int slot,
		       const struct vpmu_event *event)
{
	struct vpmu_time_source *s = time_of(source);

	s->event[slot] = (struct vpmu_time_event){
		.exists = true, .counts = true, .khz = khz_of(s, event), .since = now(s),
	};
	if (!time_period(source, slot, event->period))
		return 0;
	s->event[slot] = (struct vpmu_time_event){ 0 };
	return -1;
}

static void time_release(struct vpmu_source *source, unsigned int slot)
{
	clear_timer(time_of(source), slot);
	time_of(source)->event[slot] = (struct vpmu_time_event){ 0 };
}

static void time_stop(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_time_source *s = time_of(source);
	struct vpmu_time_event *e = &s->event[slot];

	e->nanoseconds = elapsed(s, e);
	e->counts = false;
	clear_timer(s, slot);
}

static int time_start(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_time_source *s = time_of(source);
	struct vpmu_time_event *e = &s->event[slot];

	e->since = now(s);
	e->counts = true;
	if (!arm(s, slot))
		return 0;
	e->counts = false;
	return -1;
}

static struct vpmu_count time_read(struct vpmu_source *source, unsigned int slot)
{
	const struct vpmu_time_source *s = time_of(source);
	const struct vpmu_time_event *e = &s->event[slot];
	uint64_t nanoseconds = elapsed(s, e);

	return (struct vpmu_count){
		vpmu_time_cycles(nanoseconds, e->khz), nanoseconds, nanoseconds,
	};
}

/* The timers stay with their slots: a stopped event's is not set. */
static void time_move(struct vpmu_source *source, unsigned int from, unsigned int to)
{
	struct vpmu_time_source *s = time_of(source);

	s->event[to] = s->event[from];
	s->event[from] = (struct vpmu_time_event){ 0 };
}

static const struct vpmu_source_ops time_ops = {
	.size = sizeof(struct vpmu_source_ops),
	.supports = time_supports,
	.create = time_create,
	.release = time_release,
	.stop = time_stop,
	.start = time_start,
	.period = time_period,
	.read = time_read,
	.move = time_move,
};

void vpmu_time_source_init(struct vpmu_time_source *s, struct vpmu_vcpu *v,
			   const struct vpmu_time_config *config)
{
	*s = (struct vpmu_time_source){
		.source = { .ops = &time_ops, .cheap_reads = true }, .v = v, .config = *config,
	};
	if (!s->config.tid)
		s->config.tid = gettid();
}

void vpmu_time_source_fini(struct vpmu_time_source *s)
{
	struct vpmu_time_system *sys = s->config.system;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (s->timer[i].exists)
			sys->destroy(sys, s->timer[i].timer);
		s->timer[i].exists = false;
	}
}
