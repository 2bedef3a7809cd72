/* SPDX-License-Identifier: MIT */
#include "script_source.h"

static struct vpmu_script_source *script_of(struct vpmu_source *s)
{
	return (struct vpmu_script_source *)s;
}

/* As from an NMI: an overflow of each slot in (mask). */
static void interrupt(struct vpmu_script_source *s, uint64_t mask)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (mask >> i & 1)
			(void)vpmu_vcpu_overflow(s->v, i);
	}
}

/* Every operation: an overflow may arrive in its middle, and it must be between exit and enter. */
static struct vpmu_script_source *operation(struct vpmu_source *s, uint64_t *calls)
{
	struct vpmu_script_source *script = script_of(s);

	s->calls++;
	++*calls;
	if (script->v->in_guest)
		script->misuse++;
	if (script->nmi_left) {
		script->nmi_left--;
		interrupt(script, script->nmi);
	}
	if (script->nmi_after && !--script->nmi_after)
		interrupt(script, script->nmi_once);
	return script;
}

static int told(struct vpmu_script_source *s, enum vpmu_script_op op, unsigned int slot,
		uint64_t value, bool failed)
{
	const struct vpmu_script_call call = { op, slot, value, failed };

	if (s->told)
		s->told(s->context, &call);
	return failed ? -1 : 0;
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
	return !(script_of(s)->lacks >> e->meaning & 1);
}

static bool is_refused(struct vpmu_script_source *s, const struct vpmu_event *e)
{
	if (s->live >= s->capacity)
		return true;
	if (s->refuse) {
		s->refuse--;
		return true;
	}
	return s->refuse_checkpointed && e->checkpointed && e->period;
}

static int script_create(struct vpmu_source *source, unsigned int slot, const struct vpmu_event *e)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->creates);

	expect(s, slot, false);
	if (fails(s) || is_refused(s, e))
		return told(s, VPMU_SCRIPT_CREATE, slot, e->selector, true);
	s->live++;
	s->slot[slot] = (struct vpmu_script_event){
		.event = *e, .left = e->period, .exists = true, .counts = true,
	};
	return told(s, VPMU_SCRIPT_CREATE, slot, e->selector, false);
}

static void script_release(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->releases);

	expect(s, slot, true);
	(void)told(s, VPMU_SCRIPT_RELEASE, slot, s->slot[slot].event.selector, false);
	s->live--;
	s->slot[slot] = (struct vpmu_script_event){ 0 };
}

static void script_stop(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->stops);

	expect(s, slot, true);
	s->slot[slot].counts = false;
	(void)told(s, VPMU_SCRIPT_STOP, slot, s->slot[slot].value, false);
}

static int script_start(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->starts);

	expect(s, slot, true);
	if (fails(s))
		return told(s, VPMU_SCRIPT_START, slot, s->slot[slot].value, true);
	s->slot[slot].counts = true;
	return told(s, VPMU_SCRIPT_START, slot, s->slot[slot].value, false);
}

static int script_period(struct vpmu_source *source, unsigned int slot, uint64_t events)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->periods);

	expect(s, slot, true);
	if (fails(s))
		return told(s, VPMU_SCRIPT_PERIOD, slot, events, true);
	s->slot[slot].event.period = events;
	s->slot[slot].left = events;
	return told(s, VPMU_SCRIPT_PERIOD, slot, events, false);
}

static struct vpmu_count script_read(struct vpmu_source *source, unsigned int slot)
{
	struct vpmu_script_source *s = operation(source, &script_of(source)->reads);
	const struct vpmu_script_event *e = &s->slot[slot];

	/* A cheap read is no system call. */
	source->calls -= source->cheap_reads;
	expect(s, slot, true);
	(void)told(s, VPMU_SCRIPT_READ, slot, e->value, false);
	return (struct vpmu_count){ e->value, e->enabled, e->running };
}

/* Told to nobody: it is no operation on the event. */
static void script_move(struct vpmu_source *source, unsigned int from, unsigned int to)
{
	struct vpmu_script_source *s = script_of(source);

	expect(s, from, true);
	expect(s, to, false);
	s->misuse += s->slot[from].counts;
	s->slot[to] = s->slot[from];
	s->slot[from] = (struct vpmu_script_event){ 0 };
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
	.move = script_move,
};

void vpmu_script_source_init(struct vpmu_script_source *s, struct vpmu_vcpu *v, bool cheap_reads)
{
	*s = (struct vpmu_script_source){
		.source = { .ops = &script_ops, .cheap_reads = cheap_reads },
		.v = v,
		.capacity = VPMU_COUNTER_MAX,
	};
}

/* returns: true: the period ended among these events. */
static bool advance(struct vpmu_script_event *e, uint64_t n)
{
	bool ends = e->left && n >= e->left;

	e->value += n;
	if (e->left)
		e->left = ends ? 0 : e->left - n;
	return ends;
}

/* returns: true: (slot) counts now. */
static bool wait(struct vpmu_script_source *s, unsigned int slot, uint64_t nanoseconds)
{
	struct vpmu_script_event *e = &s->slot[slot];

	if (!e->counts)
		return false;
	e->enabled += nanoseconds;
	if (s->starved >> slot & 1)
		return false;
	e->running += nanoseconds;
	return true;
}

void vpmu_script_source_count(struct vpmu_script_source *s, unsigned int slot, uint64_t n)
{
	if (wait(s, slot, n))
		(void)advance(&s->slot[slot], n);
}

void vpmu_script_source_wait(struct vpmu_script_source *s, uint64_t nanoseconds)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		(void)wait(s, i, nanoseconds);
}

bool vpmu_script_source_overflow(struct vpmu_script_source *s, unsigned int slot)
{
	if (!s->hold)
		return vpmu_vcpu_overflow(s->v, slot);
	s->held |= (uint64_t)1 << slot;
	return false;
}

bool vpmu_script_source_release_held(struct vpmu_script_source *s)
{
	bool kick = false;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (s->held >> i & 1)
			kick |= vpmu_vcpu_overflow(s->v, i);
	}
	s->hold = false;
	s->held = 0;
	return kick;
}

static uint64_t amount(const struct vpmu_script_burst *burst, const struct vpmu_event *e)
{
	if (e->meaning != VPMU_MEANS_RAW)
		return burst->amount[e->meaning];
	for (size_t i = 0; i < burst->raw_count; i++) {
		if (burst->raw[i].selector == e->selector)
			return burst->raw[i].n;
	}
	return 0;
}

bool vpmu_script_source_run(struct vpmu_script_source *s, const struct vpmu_script_burst *burst)
{
	bool kick = false;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		const struct vpmu_event *e = &s->slot[i].event;

		if (!wait(s, i, burst->nanoseconds) || !(burst->user ? e->user : e->kernel))
			continue;
		if (advance(&s->slot[i], amount(burst, e)))
			kick |= vpmu_script_source_overflow(s, i);
	}
	return kick;
}
