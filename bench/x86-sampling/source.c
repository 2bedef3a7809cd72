/* SPDX-License-Identifier: MIT */
#include "source.h"

#define HARDWARE_COUNTERS 9u         /* 8, and a fixed one of three is what these events can get */

static struct bench_source *of(struct vpmu_source *s)
{
	return (struct bench_source *)(void *)s;
}

static struct bench_event *call(struct vpmu_source *s, enum source_call kind, unsigned int slot)
{
	s->calls++;
	of(s)->tally->calls[kind]++;
	return &of(s)->slot[slot];
}

static unsigned int counting(const struct bench_source *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		n += s->slot[i].counts;
	return n;
}

static bool source_supports(struct vpmu_source *s, const struct vpmu_event *e)
{
	(void)s;
	(void)e;
	return true;
}

static uint64_t rate_of(const struct vpmu_event *event)
{
	for (unsigned int e = 0; e < EVENTS; e++) {
		if (event->selector == event_selector(e))
			return event_rate(e);
	}
	machine_fail("an event that nobody selected");
}

static int source_create(struct vpmu_source *s, unsigned int slot, const struct vpmu_event *e)
{
	struct bench_event *event = call(s, CALL_CREATE, slot);

	if (counting(of(s)) == HARDWARE_COUNTERS)
		return -1;
	*event = (struct bench_event){
		.event = *e, .rate = rate_of(e), .left = e->period, .exists = true, .counts = true,
	};
	return 0;
}

static void source_release(struct vpmu_source *s, unsigned int slot)
{
	*call(s, CALL_RELEASE, slot) = (struct bench_event){ 0 };
}

static void source_stop(struct vpmu_source *s, unsigned int slot)
{
	call(s, CALL_STOP, slot)->counts = false;
}

static int source_start(struct vpmu_source *s, unsigned int slot)
{
	struct bench_event *event = call(s, CALL_START, slot);

	if (counting(of(s)) == HARDWARE_COUNTERS)
		return -1;
	event->counts = true;
	return 0;
}

static int source_period(struct vpmu_source *s, unsigned int slot, uint64_t events)
{
	call(s, CALL_PERIOD, slot)->left = events;
	return 0;
}

static struct vpmu_count source_read(struct vpmu_source *s, unsigned int slot)
{
	if (!s->cheap_reads)
		(void)call(s, CALL_READ, slot);
	return (struct vpmu_count){ .value = of(s)->slot[slot].value };
}

static void source_move(struct vpmu_source *s, unsigned int from, unsigned int to)
{
	of(s)->slot[to] = of(s)->slot[from];
	of(s)->slot[from] = (struct bench_event){ 0 };
}

static const struct vpmu_source_ops ops = {
	.size = sizeof(ops),
	.supports = source_supports,
	.create = source_create,
	.release = source_release,
	.stop = source_stop,
	.start = source_start,
	.period = source_period,
	.read = source_read,
	.move = source_move,
};

void bench_source_init(struct bench_source *s, struct tally *tally, bool cheap)
{
	*s = (struct bench_source){
		.source = { .ops = &ops, .cheap_reads = cheap },
		.tally = tally,
	};
}

static uint64_t horizon(const struct bench_source *s, uint64_t units)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		const struct bench_event *e = &s->slot[i];
		uint64_t until;

		if (!e->counts || !e->left)
			continue;
		until = (e->left + e->rate - 1) / e->rate;
		units = until < units ? until : units;
	}
	return units;
}

/* returns: the period ended among these (n) events. */
static bool advance(struct bench_event *e, uint64_t n)
{
	bool ends = e->left && n >= e->left;

	e->value += n;
	if (e->left)
		e->left = ends ? 0 : e->left - n;
	return ends;
}

bool bench_source_execute(struct bench_source *s, struct work *w)
{
	uint64_t units = horizon(s, w->units);
	bool kick = false;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		struct bench_event *e = &s->slot[i];

		if (e->counts && (w->user ? e->event.user : e->event.kernel) &&
		    advance(e, units * e->rate))
			kick |= s->overflow(s->context, i);
	}
	w->units -= units;
	return kick;
}
