/* SPDX-License-Identifier: MIT */
#include "guest.h"

#define COUNTERS_MAX 9u
#define WIDTH_MASK ((UINT64_C(1) << 48) - 1)
#define SECOND (CYCLES_PER_SECOND / UNIT)    /* everything below counts units of work */
#define TICK (SECOND / 250)                  /* CONFIG_HZ=250 */
#define ROTATION TICK                        /* perf_event_mux_interval_ms: 4 ms with that */
#define NONE EVENTS

/*
 * Exits that have nothing to do with the PMU, 1,000 a second: the guest's tick is two (the timer's
 * interrupt, and the write that sets the next one), the host's own tick is one, and one in 4 ms is
 * for everything else. That is little: a guest that only computes, as in the published figures.
 * More exits would make an eager switch look worse.
 */
#define OTHERS (SECOND / 500)

/*
 * Kernel work in units: what is counted around a handler, and what is done while counters are off.
 */
#define ENTRY_WORK 1u
#define HANDLER_WORK 4u
#define TICK_WORK 5u

struct event {
	uint64_t period;
	uint64_t left;               /* of it, at the last start */
	uint64_t last;               /* the counter's value at the last look */
	uint64_t count;
	unsigned int counter;        /* the last one it had */
	bool active;
};

struct guest {
	struct machine *machine;
	const struct load *load;
	struct event event[EVENTS];
	unsigned int on[COUNTERS_MAX];   /* the event on a counter, or NONE */
	unsigned int first;              /* of the events that are active */
	uint64_t clock;                  /* units executed */
	bool in_nmi;
	bool measures;
	struct tally start;
	struct profile *out;
	/* What the registers must hold. */
	uint64_t value[COUNTERS_MAX];
	uint64_t selector[COUNTERS_MAX];
	uint64_t global;
	uint64_t status;
	bool overflowed;                 /* since the last look, LVTPC unmasked */
};

static const struct machine_ops *ops(const struct guest *g)
{
	return g->machine->ops;
}

/* ---- Registers, and what they must show ---- */

static void write_global(struct guest *g, uint64_t value)
{
	ops(g)->wrmsr(g->machine, X86_MSR_GLOBAL_CTRL, value);
	g->global = value;
}

static void write_selector(struct guest *g, unsigned int i, uint64_t value)
{
	ops(g)->wrmsr(g->machine, X86_MSR_PERFEVTSEL(i), value);
	g->selector[i] = value;
}

static void write_counter(struct guest *g, unsigned int i, uint64_t value)
{
	ops(g)->wrmsr(g->machine, X86_MSR_PMC(i), value);
	g->value[i] = value;
}

static uint64_t read_counter(struct guest *g, unsigned int i)
{
	uint64_t value = ops(g)->rdpmc(g->machine, i);

	machine_expect(value == g->value[i], "a counter shows another value than it must");
	return value;
}

static uint64_t read_status(struct guest *g)
{
	uint64_t status = ops(g)->rdmsr(g->machine, X86_MSR_GLOBAL_STATUS);

	machine_expect(status == g->status, "the status shows other overflows than there were");
	return status;
}

static void acknowledge(struct guest *g, uint64_t status)
{
	ops(g)->wrmsr(g->machine, X86_MSR_STATUS_RESET, status);
	g->status &= ~status;
}

/* ---- Execution ---- */

static uint64_t rate(const struct guest *g, unsigned int i)
{
	return event_rate(g->on[i]);
}

static bool counts(const struct guest *g, unsigned int i)
{
	return g->global >> i & 1 && g->selector[i] & X86_SEL_EN;
}

static uint64_t until_overflow(const struct guest *g, uint64_t units)
{
	for (unsigned int i = 0; i < g->load->counters; i++) {
		uint64_t left = WIDTH_MASK + 1 - g->value[i];
		uint64_t until;

		if (!counts(g, i))
			continue;
		until = (left + rate(g, i) - 1) / rate(g, i);
		units = until < units ? until : units;
	}
	return units;
}

static void count(struct guest *g, uint64_t units)
{
	for (unsigned int i = 0; i < g->load->counters; i++) {
		uint64_t sum;

		if (!counts(g, i))
			continue;
		sum = g->value[i] + units * rate(g, i);
		g->value[i] = sum & WIDTH_MASK;
		if (sum == g->value[i])
			continue;
		g->status |= UINT64_C(1) << i;
		g->overflowed = true;
	}
}

static void handle_nmi(struct guest *g);

/* Up to (units) in one ring; PMIs are taken as they come. returns: how many it were. */
static uint64_t step(struct guest *g, bool user, uint64_t units)
{
	const struct work w = { user, until_overflow(g, units) };
	bool masked = g->machine->lvtpc & X86_LVTPC_MASKED;

	g->overflowed = false;
	ops(g)->execute(g->machine, &w);
	count(g, w.units);
	g->clock += w.units;
	machine_expect(g->machine->nmi == (g->overflowed && !masked),
		       "a PMI came that may not, or none where one must");
	return w.units;
}

static void execute(struct guest *g, bool user, uint64_t units)
{
	while (units) {
		struct tally before = g->machine->tally;

		units -= step(g, user, units);
		while (g->machine->nmi && !g->in_nmi) {
			handle_nmi(g);
			if (g->measures)
				tally_add(&g->out->in_samples, &g->machine->tally, &before);
			before = g->machine->tally;
		}
	}
}

/* ---- Linux: one event (x86_perf_event_update(), _set_period(), x86_pmu_stop(), _start()) ---- */

static uint64_t selector_of(unsigned int e)
{
	return event_selector(e) | X86_SEL_USR | X86_SEL_OS | X86_SEL_INT;
}

static void update(struct guest *g, struct event *e)
{
	uint64_t now = read_counter(g, e->counter);
	uint64_t delta = (now - e->last) & WIDTH_MASK;

	e->last = now;
	e->count += delta;
	e->left -= delta;
}

/* (left) is below 0 where the period is over. */
static void set_period(struct guest *g, struct event *e)
{
	if ((int64_t)e->left <= 0)
		e->left += e->period;
	e->last = (WIDTH_MASK + 1 - e->left) & WIDTH_MASK;
	write_counter(g, e->counter, e->last);
}

static void stop_event(struct guest *g, unsigned int k)
{
	write_selector(g, g->event[k].counter, selector_of(k));
	update(g, &g->event[k]);
}

static void start_event(struct guest *g, unsigned int k)
{
	set_period(g, &g->event[k]);
	write_selector(g, g->event[k].counter, selector_of(k) | X86_SEL_EN);
}

static uint64_t all_counters(const struct guest *g)
{
	return g->load->counters > 8 ? 0x7000001FF : 0x7000000FF;
}

/*
 * ---- Linux: the PMI (intel_pmu_handle_irq(), with the late acknowledge of Skylake and later) ----
 */

static void digest(struct guest *g, uint64_t word)
{
	g->out->digest = (g->out->digest ^ word) * UINT64_C(0x100000001B3);
}

static void sample(struct guest *g, unsigned int k)
{
	struct event *e = &g->event[k];

	update(g, e);
	set_period(g, e);
	digest(g, k);
	digest(g, g->clock);
	digest(g, e->count);
	g->out->samples += g->measures;
}

static void handle_overflows(struct guest *g)
{
	uint64_t status;

	while ((status = read_status(g))) {
		acknowledge(g, status);
		for (unsigned int i = 0; i < g->load->counters; i++) {
			if (status >> i & 1)
				sample(g, g->on[i]);
		}
	}
}

static void handle_nmi(struct guest *g)
{
	g->machine->nmi = false;
	g->in_nmi = true;
	execute(g, false, ENTRY_WORK);
	write_global(g, 0);
	execute(g, false, HANDLER_WORK);
	handle_overflows(g);
	write_global(g, all_counters(g));
	ops(g)->set_lvtpc(g->machine, LVTPC_NMI);
	execute(g, false, ENTRY_WORK);
	g->in_nmi = false;
}

/* ---- Linux: timers ---- */

static void take_out_all(struct guest *g)
{
	write_global(g, 0);
	for (unsigned int k = 0; k < g->load->events; k++) {
		if (g->event[k].active)
			stop_event(g, k);
	}
}

/* perf_adjust_freq_unthr_context(). */
static void adjust(struct guest *g)
{
	take_out_all(g);
	execute(g, false, HANDLER_WORK);
	for (unsigned int k = 0; k < g->load->events; k++) {
		if (g->event[k].active)
			start_event(g, k);
	}
	write_global(g, all_counters(g));
}

/* The events from `first` on become active; those that were keep their counters. */
static void choose(struct guest *g)
{
	const struct load *load = g->load;
	unsigned int free = 0;

	for (unsigned int i = 0; i < load->counters; i++)
		g->on[i] = NONE;
	for (unsigned int n = 0; n < load->counters && n < load->events; n++) {
		unsigned int k = (g->first + n) % load->events;

		if (g->event[k].active)
			g->on[g->event[k].counter] = k;
	}
	for (unsigned int n = 0; n < load->counters && n < load->events; n++) {
		unsigned int k = (g->first + n) % load->events;

		if (g->event[k].active)
			continue;
		while (g->on[free] != NONE)
			free++;
		g->event[k].counter = free;
		g->on[free] = k;
	}
	for (unsigned int k = 0; k < load->events; k++)
		g->event[k].active = false;
	for (unsigned int i = 0; i < load->counters; i++) {
		if (g->on[i] != NONE)
			g->event[g->on[i]].active = true;
	}
}

static void put_in_all(struct guest *g)
{
	choose(g);
	for (unsigned int k = 0; k < g->load->events; k++) {
		if (g->event[k].active)
			start_event(g, k);
	}
	write_global(g, all_counters(g));
}

/* perf_rotate_context(): all events leave, and as many as fit come back, from the next one on. */
static void rotate(struct guest *g)
{
	take_out_all(g);
	execute(g, false, HANDLER_WORK);
	g->first = (g->first + 1) % g->load->events;
	put_in_all(g);
	g->out->rotations += g->measures;
}

static void tick(struct guest *g)
{
	ops(g)->ordinary_exit(g->machine);
	execute(g, false, TICK_WORK);
	if (g->load->adjusts)
		adjust(g);
	ops(g)->ordinary_exit(g->machine);
}

/* A timer of its own. */
static void rotation_timer(struct guest *g)
{
	struct tally before;

	ops(g)->ordinary_exit(g->machine);
	execute(g, false, ENTRY_WORK);
	before = g->machine->tally;
	rotate(g);
	if (g->measures)
		tally_add(&g->out->in_rotations, &g->machine->tally, &before);
	execute(g, false, ENTRY_WORK);
	ops(g)->ordinary_exit(g->machine);
}

/* ---- The run ---- */

static void init(struct guest *g, struct machine *m, const struct load *load, struct profile *out)
{
	*out = (struct profile){ .digest = UINT64_C(0xCBF29CE484222325) };
	*g = (struct guest){ .machine = m, .load = load, .out = out };
	/* Not quite 1,000 a second, so that samples of different events drift past each other. */
	for (unsigned int k = 0; k < EVENTS; k++) {
		g->event[k].period = event_rate(k) * (SECOND / 1000) + 3 * k + 1;
		g->event[k].left = g->event[k].period * (k + 1) / EVENTS;
	}
}

static void begin(struct guest *g)
{
	write_global(g, 0);
	ops(g)->set_lvtpc(g->machine, LVTPC_NMI);
	put_in_all(g);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void live(struct guest *g, uint64_t end)
{
	bool rotates = g->load->events > g->load->counters;
	uint64_t next_tick = TICK;
	uint64_t next_rotation = rotates ? ROTATION + ROTATION / 3 : UINT64_MAX;
	uint64_t next_other = OTHERS / 2;

	while (g->clock < end) {
		uint64_t timer = earlier(next_tick, next_rotation);
		uint64_t next = earlier(timer, earlier(next_other, end));

		if (g->clock < next)
			execute(g, true, next - g->clock);
		if (!g->measures && g->clock >= SECOND) {
			g->measures = true;
			g->start = g->machine->tally;
		}
		if (g->clock >= next_tick) {
			next_tick += TICK;
			tick(g);
		}
		if (g->clock >= next_rotation) {
			next_rotation += ROTATION;
			rotation_timer(g);
		}
		if (g->clock >= next_other) {
			next_other += OTHERS;
			ops(g)->ordinary_exit(g->machine);
		}
	}
}

void guest_run(struct machine *m, const struct load *load, unsigned int seconds,
	       struct profile *out)
{
	struct guest g;

	init(&g, m, load, out);
	begin(&g);
	live(&g, (seconds + 1) * SECOND);
	tally_add(&out->all, &m->tally, &g.start);
	take_out_all(&g);
	for (unsigned int k = 0; k < load->events; k++)
		out->counts[k] = g.event[k].count;
	ops(&g)->end(m);
	out->seconds = seconds;
}
