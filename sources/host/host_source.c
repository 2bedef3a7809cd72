/* SPDX-License-Identifier: MIT */
/*
 * Events of a vCPU over host events.
 *
 * A host event lives while its slot counts and the vCPU is loaded. All of them sample: a counter of the
 * hardware may be so narrow that it wraps unseen otherwise, and a hint farther away than a host event's period is
 * reached in steps.
 */
#include "host_source.h"

#define NEVER UINT64_MAX
#define STEP_MAX ((uint64_t)1 << 31)     /* the longest period of a host event */

#define BIT(n) ((uint64_t)1 << (n))

static struct vpmu_host_source *of(struct vpmu_source *s)
{
	return (struct vpmu_host_source *)(void *)s;
}

static struct vpmu_count sum(struct vpmu_count a, struct vpmu_count b)
{
	return (struct vpmu_count){
		a.value + b.value, a.enabled + b.enabled, a.running + b.running,
	};
}

/* While it has no event where it should, time passes that it does not count in. */
static struct vpmu_count count_of(struct vpmu_host_source *s, unsigned int i)
{
	struct vpmu_host_source_event *e = &s->slot[i];
	struct vpmu_count now = { 0 };

	if (s->living & BIT(i))
		(void)vpmu_host_event_read(&e->living, &now);
	else if (s->cpu && s->counting & BIT(i))
		e->before.enabled++;
	return sum(e->before, now);
}

/* ---- One host event ---- */

static uint64_t step_to(uint64_t due, uint64_t value)
{
	uint64_t left = due > value ? due - value : 1;

	return left < STEP_MAX ? left : STEP_MAX;
}

static int come_alive(struct vpmu_host_source *s, unsigned int i, bool pinned)
{
	struct vpmu_host_source_event *e = &s->slot[i];
	struct vpmu_host_event_config config = {
		.size = sizeof(config),
		.scope = VPMU_SCOPE_VCPU,
		.vcpu = s->v,
		.event = e->event.selector,
		.user = e->event.user,
		.kernel = e->event.kernel,
		.pinned = pinned,
		.period = step_to(e->due, e->before.value),
	};

	if (!s->cpu || vpmu_host_event_create(&e->living, s->machine, s->cpu, &config))
		return -1;
	s->living |= BIT(i);
	return 0;
}

static void die(struct vpmu_host_source *s, unsigned int i)
{
	if (!(s->living & BIT(i)))
		return;
	s->slot[i].before = count_of(s, i);
	(void)vpmu_host_event_destroy(&s->slot[i].living);
	s->living &= ~BIT(i);
}

/* What is left to the hint, as far as one step goes. A step that is already under way may be as good. */
static int take_step(struct vpmu_host_source *s, unsigned int i, uint64_t value)
{
	struct vpmu_host_source_event *e = &s->slot[i];
	uint64_t step = step_to(e->due, value);

	if (step == STEP_MAX && e->living.config.period == STEP_MAX)
		return 0;
	return vpmu_host_event_period(&e->living, step) ? -1 : 0;
}

/* ---- The operations ---- */

static bool host_supports(struct vpmu_source *s, const struct vpmu_event *e)
{
	return !(e->selector & ~of(s)->event_bits) && !e->checkpointed;
}

static uint64_t due_after(uint64_t value, uint64_t events)
{
	return events && events < NEVER - value ? value + events : NEVER;
}

static int host_create(struct vpmu_source *s, unsigned int slot, const struct vpmu_event *event)
{
	struct vpmu_host_source *h = of(s);

	s->calls++;
	h->slot[slot] = (struct vpmu_host_source_event){
		.event = *event, .due = due_after(0, event->period),
	};
	if (come_alive(h, slot, true))
		return -1;
	h->counting |= BIT(slot);
	return 0;
}

static void host_stop(struct vpmu_source *s, unsigned int slot)
{
	s->calls++;
	die(of(s), slot);
	of(s)->counting &= ~BIT(slot);
}

static void host_release(struct vpmu_source *s, unsigned int slot)
{
	host_stop(s, slot);
}

static int host_start(struct vpmu_source *s, unsigned int slot)
{
	s->calls++;
	if (come_alive(of(s), slot, true))
		return -1;
	of(s)->counting |= BIT(slot);
	return 0;
}

static int host_period(struct vpmu_source *s, unsigned int slot, uint64_t events)
{
	struct vpmu_host_source *h = of(s);
	uint64_t value = count_of(h, slot).value;

	s->calls++;
	h->slot[slot].due = due_after(value, events);
	return h->living & BIT(slot) ? take_step(h, slot, value) : 0;
}

static struct vpmu_count host_read(struct vpmu_source *s, unsigned int slot)
{
	return count_of(of(s), slot);
}

static void host_move(struct vpmu_source *s, unsigned int from, unsigned int to)
{
	of(s)->slot[to] = of(s)->slot[from];
}

static const struct vpmu_source_ops host_ops = {
	.size = sizeof(struct vpmu_source_ops),
	.supports = host_supports,
	.create = host_create,
	.release = host_release,
	.stop = host_stop,
	.start = host_start,
	.period = host_period,
	.read = host_read,
	.move = host_move,
};

void vpmu_host_source_init(struct vpmu_host_source *s, struct vpmu_machine *machine,
			   struct vpmu_vcpu *v, uint64_t event_bits)
{
	*s = (struct vpmu_host_source){
		.source = { .ops = &host_ops, .cheap_reads = true },
		.machine = machine,
		.v = v,
		.event_bits = event_bits,
	};
}

/* ---- Residency ---- */

/* All who can have a counter have it before anybody waits. */
void vpmu_host_source_load(struct vpmu_host_source *s, struct vpmu_cpu *cpu)
{
	s->cpu = cpu;
	for (unsigned int pinned = 2; pinned--;) {
		for (uint64_t rest = s->counting & ~s->living; rest; rest &= rest - 1)
			(void)come_alive(s, (unsigned int)__builtin_ctzll(rest), pinned);
	}
}

void vpmu_host_source_put(struct vpmu_host_source *s)
{
	while (s->living)
		die(s, (unsigned int)__builtin_ctzll(s->living));
	s->cpu = NULL;
}

/* ---- Overflows ---- */

static void sampled(struct vpmu_host_source *s, unsigned int i)
{
	uint64_t value = count_of(s, i).value;

	if (value >= s->slot[i].due) {
		s->slot[i].due = NEVER;
		(void)vpmu_vcpu_overflow(s->v, i);
	}
	(void)take_step(s, i, value);
}

bool vpmu_host_source_sample(struct vpmu_host_source *s, const struct vpmu_host_event *e)
{
	for (uint64_t rest = s->living; rest; rest &= rest - 1) {
		unsigned int i = (unsigned int)__builtin_ctzll(rest);

		if (&s->slot[i].living == e) {
			sampled(s, i);
			return true;
		}
	}
	return false;
}
