/* SPDX-License-Identifier: MIT */
#include "model_source.h"

static struct vpmu_model_source *model_of(struct vpmu_source *s)
{
	return (struct vpmu_model_source *)s;
}

static unsigned int counting(const struct vpmu_model_source *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		n += s->slot[i].counts;
	return n;
}

static bool model_supports(struct vpmu_source *s, const struct vpmu_event *e)
{
	return model_of(s)->meanings >> e->meaning & 1;
}

static int model_create(struct vpmu_source *s, unsigned int slot, const struct vpmu_event *e)
{
	struct vpmu_model_source *m = model_of(s);

	s->calls++;
	if (counting(m) >= m->capacity)
		return -1;
	m->slot[slot] = (struct vpmu_model_event){
		.event = *e, .left = e->period, .exists = true, .counts = true,
	};
	return 0;
}

static void model_release(struct vpmu_source *s, unsigned int slot)
{
	s->calls++;
	model_of(s)->slot[slot] = (struct vpmu_model_event){ 0 };
}

static void model_stop(struct vpmu_source *s, unsigned int slot)
{
	s->calls++;
	model_of(s)->slot[slot].counts = false;
}

static int model_start(struct vpmu_source *s, unsigned int slot)
{
	struct vpmu_model_source *m = model_of(s);

	s->calls++;
	if (counting(m) >= m->capacity)
		return -1;
	m->slot[slot].counts = true;
	return 0;
}

static int model_period(struct vpmu_source *s, unsigned int slot, uint64_t events)
{
	s->calls++;
	model_of(s)->slot[slot].left = events;
	return 0;
}

static struct vpmu_count model_read(struct vpmu_source *s, unsigned int slot)
{
	const struct vpmu_model_event *e = &model_of(s)->slot[slot];

	if (!s->cheap_reads)
		s->calls++;
	return (struct vpmu_count){ e->value, e->enabled, e->enabled };
}

static void model_move(struct vpmu_source *s, unsigned int from, unsigned int to)
{
	model_of(s)->slot[to] = model_of(s)->slot[from];
	model_of(s)->slot[from] = (struct vpmu_model_event){ 0 };
}

static const struct vpmu_source_ops model_ops = {
	.size = sizeof(struct vpmu_source_ops),
	.supports = model_supports,
	.create = model_create,
	.release = model_release,
	.stop = model_stop,
	.start = model_start,
	.period = model_period,
	.read = model_read,
	.move = model_move,
};

void vpmu_model_source_init(struct vpmu_model_source *s, struct vpmu_vcpu *v,
			    unsigned int capacity, bool cheap_reads)
{
	*s = (struct vpmu_model_source){
		.source = { .ops = &model_ops, .cheap_reads = cheap_reads },
		.v = v,
		.capacity = capacity,
		.meanings = ((1u << VPMU_MEANINGS) - 1) & ~(1u << VPMU_MEANS_RAW),
	};
}

/* returns: true: the period ended among these (n) events. */
static bool advance(struct vpmu_model_event *e, uint64_t n)
{
	bool ends = e->left && n >= e->left;

	e->value += n;
	if (e->left)
		e->left = ends ? 0 : e->left - n;
	return ends;
}

bool vpmu_model_source_run(struct vpmu_model_source *s, const struct vpmu_model_burst *burst)
{
	bool kick = false;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		struct vpmu_model_event *e = &s->slot[i];

		if (!e->counts)
			continue;
		e->enabled += burst->nanoseconds;
		if (!(burst->user ? e->event.user : e->event.kernel))
			continue;
		if (advance(e, burst->counts[e->event.meaning]))
			kick |= vpmu_vcpu_overflow(s->v, i);
	}
	return kick;
}

uint64_t vpmu_model_source_horizon(const struct vpmu_model_source *s, uint32_t meanings)
{
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		const struct vpmu_model_event *e = &s->slot[i];

		if (e->counts && e->left && meanings >> e->event.meaning & 1 && e->left < least)
			least = e->left;
	}
	return least;
}
