/* SPDX-License-Identifier: MIT */
#include "script_source.h"

static struct vpmu_script_source *script_of(struct vpmu_source *s)
{
	return (struct vpmu_script_source *)s;
}

/* Every operation: an overflow may arrive in its middle, and it must be between exit and enter. */
static struct vpmu_script_source *operation(struct vpmu_source *s, uint64_t *calls)
{
	struct vpmu_script_source *script = script_of(s);
	uint64_t nmi = script->nmi_left ? script->nmi : 0;

	s->calls++;
	++*calls;
	if (script->v->in_guest)
		script->misuse++;
	script->nmi_left -= script->nmi_left > 0;
	for (unsigned int i = 0; nmi >> i; i++) {
		if (nmi >> i & 1)
			(void)vpmu_vcpu_overflow(script->v, i);
	}
	return script;
}

static bool fails(struct vpmu_script_source *s)
{
	return ++s->can_fail == s->fail_at;
}

static void expect(struct vpmu_script_source *s, unsigned int slot, bool exists)
{
	if (s->slot[slot].exists != exists)
		s->misuse++;
}

static bool script_supports(struct vpmu_source *s, const struct vpmu_event *e)
{
	(void)s;
	(void)e;
	return true;
}

static int script_create(struct vpmu_source *source, unsigned int slot, const struct vpmu_event *e)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->creates);

	expect(s, slot, false);
	if (fails(s) || s->live >= s->capacity)
		return -1;
	s->live++;
	s->slot[slot] = (struct vpmu_script_event){ .event = *e, .exists = true, .counts = true };
	return 0;
}

static void script_release(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->releases);

	expect(s, slot, true);
	s->live--;
	s->slot[slot] = (struct vpmu_script_event){ 0 };
}

static void script_stop(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->stops);

	expect(s, slot, true);
	s->slot[slot].counts = false;
}

static int script_start(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->starts);

	expect(s, slot, true);
	if (fails(s))
		return -1;
	s->slot[slot].counts = true;
	return 0;
}

static int script_period(struct vpmu_source *source, unsigned int slot, uint64_t events)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->periods);

	expect(s, slot, true);
	if (fails(s))
		return -1;
	s->slot[slot].event.period = events;
	return 0;
}

static struct vpmu_count script_read(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->reads);
	const struct vpmu_script_event *e = &s->slot[slot];

	/* A cheap read is no system call. */
	source->calls -= source->cheap_reads;
	expect(s, slot, true);
	return (struct vpmu_count){ e->value, e->enabled, e->running };
}

static const struct vpmu_source_ops script_ops = {
	.size = sizeof(struct vpmu_source_ops),
	.supports = script_supports,
	.create = script_create,
	.release = script_release,
	.stop = script_stop,
	.start = script_start,
	.period = script_period,
	.read = script_read,
};

void vpmu_script_source_init(struct vpmu_script_source *s, struct vpmu_vcpu *v, bool cheap_reads)
{
	*s = (struct vpmu_script_source){
		.source = { .ops = &script_ops, .cheap_reads = cheap_reads },
		.v = v,
		.capacity = VPMU_COUNTER_MAX,
	};
}

void vpmu_script_source_count(struct vpmu_script_source *s, unsigned int slot, uint64_t n)
{
	struct vpmu_script_event *e = &s->slot[slot];

	if (!e->counts)
		return;
	e->enabled += n;
	if (s->starved >> slot & 1)
		return;
	e->running += n;
	e->value += n;
}
