/* SPDX-License-Identifier: MIT */
#include "perf_source.h"

#include "perf_page.h"

#include <errno.h>
#include <stdatomic.h>

static struct vpmu_perf_source *perf_of(struct vpmu_source *s)
{
	return (struct vpmu_perf_source *)s;
}

static int fd_of(const struct vpmu_perf_slot *slot, unsigned int pmu)
{
	return atomic_load_explicit(&slot->fd[pmu], memory_order_relaxed);
}

static void set_fd(struct vpmu_perf_slot *slot, unsigned int pmu, int fd)
{
	atomic_store_explicit(&slot->fd[pmu], fd, memory_order_relaxed);
}

/* An operation failed for (negative_errno). */
static int failed(struct vpmu_perf_source *s, int negative_errno)
{
	s->error = vpmu_perf_error_of(negative_errno);
	return -1;
}

static int control(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot, unsigned int pmu,
		   unsigned long request, void *argument)
{
	struct vpmu_perf_system *sys = s->config.system;

	s->system_calls++;
	return sys->ioctl(sys, fd_of(slot, pmu), request, argument);
}

/* ---- Reading ---- */

/* returns: bytes; 0: the kernel found no counter for this pinned event, which is off since. */
static ssize_t ask(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot, unsigned int pmu,
		   struct vpmu_perf_reading *out)
{
	struct vpmu_perf_system *sys = s->config.system;
	ssize_t n;

	s->system_calls++;
	do
		n = sys->read(sys, fd_of(slot, pmu), out, sizeof(*out));
	while (n == -EINTR);
	return n;
}

static void add(struct vpmu_perf_reading *sum, const struct vpmu_perf_reading *one)
{
	sum->value += one->value;
	sum->running += one->running;
	/* They began one after the other: the last one's time is what all had. */
	if (!sum->enabled || one->enabled < sum->enabled)
		sum->enabled = one->enabled;
}

/* returns: the kernel counts it, as far as it says. */
static bool ask_all(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot,
		    struct vpmu_perf_reading *sum)
{
	*sum = (struct vpmu_perf_reading){ 0 };
	for (unsigned int i = 0; i < s->pmus; i++) {
		struct vpmu_perf_reading one;

		if (ask(s, slot, i, &one) != (ssize_t)sizeof(one))
			return false;
		add(sum, &one);
	}
	return true;
}

/*
 * returns: false: what the pages show is not all, or no event is in a counter and nobody knows
 * why.
 */
static bool look_all(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot,
		     struct vpmu_perf_reading *sum)
{
	bool counts = !slot->counts;

	*sum = (struct vpmu_perf_reading){ 0 };
	for (unsigned int i = 0; i < s->pmus; i++) {
		enum vpmu_perf_presence presence = VPMU_PERF_UNREADABLE;
		struct vpmu_perf_reading one;

		if (slot->page[i])
			presence = vpmu_perf_page_read(slot->page[i], &one);
		if (presence == VPMU_PERF_UNREADABLE)
			return false;
		counts |= presence == VPMU_PERF_COUNTS;
		add(sum, &one);
	}
	return counts;
}

/* Nanoseconds by which readings of several events, one after the other, may seem to disagree. */
#define SKEW 100000u

/* Modulo 2^64: a page's sum may be a little below 0. */
static uint64_t at_least(uint64_t n, uint64_t low)
{
	return (int64_t)(n - low) < 0 ? low : n;
}

static uint64_t difference(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t lost_in(const struct vpmu_perf_reading *r)
{
	return difference(r->enabled, r->running);
}

/* Nothing of a count ever goes back, however it was read (clause 3 of vpmu/source.h). */
static void take(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot,
		 const struct vpmu_perf_reading *r)
{
	uint64_t lost = difference(lost_in(r), slot->forgiven);
	uint64_t skew = s->pmus > 1 ? SKEW : 0;

	slot->value = at_least(r->value, slot->value);
	slot->enabled = at_least(r->enabled, slot->enabled);
	if (lost > slot->lost + skew)
		slot->lost = lost;
	slot->enabled = at_least(slot->enabled, slot->lost);
}

static void enable(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot)
{
	for (unsigned int i = 0; i < s->pmus; i++)
		(void)control(s, slot, i, PERF_EVENT_IOC_ENABLE, NULL);
}

/* The kernel does not say how long it did not count: not all the time, is all that matters. */
static void report_lost(struct vpmu_perf_slot *slot)
{
	slot->enabled++;
	slot->lost++;
}

static struct vpmu_count perf_read(struct vpmu_source *source, unsigned int i)
{
	struct vpmu_perf_source *s = perf_of(source);
	struct vpmu_perf_slot *slot = &s->slot[i];
	struct vpmu_perf_reading r;
	bool known = look_all(s, slot, &r);

	if (!known) {
		source->calls++;
		known = ask_all(s, slot, &r);
	}
	if (known) {
		take(s, slot, &r);
	} else {
		report_lost(slot);
		enable(s, slot);
	}
	return (struct vpmu_count){ slot->value, slot->enabled, slot->enabled - slot->lost };
}

/* ---- Making and ending ---- */

static void close_all(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot)
{
	struct vpmu_perf_system *sys = s->config.system;

	for (unsigned int i = 0; i < s->pmus; i++) {
		int fd = fd_of(slot, i);

		if (slot->page[i]) {
			sys->unmap(sys, slot->page[i]);
			s->system_calls++;
		}
		slot->page[i] = NULL;
		set_fd(slot, i, -1);
		if (fd >= 0) {
			(void)sys->close(sys, fd);
			s->system_calls++;
		}
	}
	slot->exists = false;
	slot->counts = false;
}

/* A raw selector that the kernel will never take, as far as anybody can know. */
static void refuse(struct vpmu_perf_source *s, const struct vpmu_event *e, int negative_errno)
{
	enum vpmu_perf_error error = vpmu_perf_error_of(negative_errno);

	if (e->meaning == VPMU_MEANS_RAW &&
	    (error == VPMU_PERF_NO_EVENT || error == VPMU_PERF_NO_INTERRUPT))
		s->refused[s->refusals++ % VPMU_PERF_REFUSED] = e->selector;
}

static bool is_refused(const struct vpmu_perf_source *s, const struct vpmu_event *e)
{
	unsigned int n = s->refusals < VPMU_PERF_REFUSED ? s->refusals : VPMU_PERF_REFUSED;

	for (unsigned int i = 0; i < n; i++) {
		if (e->meaning == VPMU_MEANS_RAW && s->refused[i] == e->selector)
			return true;
	}
	return false;
}

/* Where a PMU has no overflow interrupt, an event can still count. */
static int open_event(struct vpmu_perf_source *s, struct perf_event_attr *attr, bool needs_overflow)
{
	struct vpmu_perf_system *sys = s->config.system;

	if (!s->config.host->interrupts)
		attr->sample_period = 0;
	if (needs_overflow && !attr->sample_period)
		return -EOPNOTSUPP;
	s->system_calls++;
	return sys->open(sys, attr, s->config.tid);
}

static int open_one(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot, unsigned int i,
		    const struct vpmu_event *e)
{
	struct vpmu_perf_system *sys = s->config.system;
	struct perf_event_attr attr;
	int fd;

	s->error = vpmu_perf_host_attr(s->config.host, s->first + i, s->config.encoding, e, &attr);
	if (s->error)
		return -1;
	attr.exclude_host = !s->config.count_host;
	fd = open_event(s, &attr, e->period);
	if (fd < 0) {
		refuse(s, e, fd);
		return failed(s, fd);
	}
	slot->can_overflow = attr.sample_period;
	set_fd(slot, i, fd);
	if (s->config.host->cheap_reads) {
		slot->page[i] = sys->map(sys, fd);
		s->system_calls++;
	}
	return 0;
}

static int open_all(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot,
		    const struct vpmu_event *e)
{
	for (unsigned int i = 0; i < s->pmus; i++) {
		if (open_one(s, slot, i, e))
			return -1;
	}
	return 0;
}

/*
 * Does it count, or is there no place for it? An answer is a reading, too. What it took the
 * kernel to find a place is not lost: the guest did not run.
 */
static int check_place(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot)
{
	struct vpmu_perf_reading r;

	if (!look_all(s, slot, &r) && !ask_all(s, slot, &r)) {
		s->error = VPMU_PERF_BUSY;
		return -1;
	}
	slot->forgiven = difference(lost_in(&r), slot->lost);
	take(s, slot, &r);
	return 0;
}

/* ---- Overflows ---- */

static int notify_one(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot, unsigned int i)
{
	struct vpmu_perf_system *sys = s->config.system;
	int error = sys->notify(sys, fd_of(slot, i), s->config.signal, s->config.tid);

	s->system_calls += VPMU_PERF_NOTIFY_CALLS;
	return error ? failed(s, error) : 0;
}

static int notify_all(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot)
{
	if (slot->notifies)
		return 0;
	if (!s->config.signal) {
		s->error = VPMU_PERF_NO_INTERRUPT;
		return -1;
	}
	for (unsigned int i = 0; i < s->pmus; i++) {
		if (notify_one(s, slot, i))
			return -1;
	}
	slot->notifies = true;
	return 0;
}

/*
 * Of (events) until the sum is due, how many PMU (i)'s event counts before it reports. The shares
 * add up to no more than the whole, so that the sum never passes it unreported, wherever the
 * thread goes; most of it is where the thread is now. Early reports cost an exit each: the last
 * VPMU_PERF_LATE are not shared.
 */
static uint64_t share(const struct vpmu_perf_source *s, unsigned int i, int cpu, uint64_t events)
{
	uint64_t other = events / (4 * VPMU_PERF_PMUS);

	if (s->pmus == 1 || events <= VPMU_PERF_LATE)
		return events;
	if (vpmu_perf_pmu_has(&s->config.host->pmu[s->first + i], cpu))
		return events - (s->pmus - 1) * other;
	return other;
}

#define NEVER (1ull << 62)

static int arm_one(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot, unsigned int i,
		   uint64_t n)
{
	int error = control(s, slot, i, PERF_EVENT_IOC_PERIOD, &n);

	return error ? failed(s, error) : 0;
}

static int arm(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot, uint64_t events)
{
	struct vpmu_perf_system *sys = s->config.system;
	int cpu = s->pmus > 1 ? sys->cpu(sys) : 0;

	if (!events || events > NEVER)
		events = NEVER;
	for (unsigned int i = 0; i < s->pmus; i++) {
		if (arm_one(s, slot, i, share(s, i, cpu, events)))
			return -1;
	}
	return 0;
}

static int perf_period(struct vpmu_source *source, unsigned int i, uint64_t events)
{
	struct vpmu_perf_source *s = perf_of(source);
	struct vpmu_perf_slot *slot = &s->slot[i];

	if (!slot->can_overflow) {
		s->error = VPMU_PERF_NO_INTERRUPT;
		return events ? -1 : 0;
	}
	source->calls++;
	if (events && notify_all(s, slot))
		return -1;
	return arm(s, slot, events);
}

/* ---- Operations ---- */

static bool perf_supports(struct vpmu_source *source, const struct vpmu_event *e)
{
	struct vpmu_perf_source *s = perf_of(source);
	const struct vpmu_perf_host *host = s->config.host;
	struct perf_event_attr attr;

	if (!s->pmus || host->error[e->meaning] || is_refused(s, e))
		return false;
	if (e->kernel && host->user_only)
		return false;
	return !vpmu_perf_host_attr(host, s->first, s->config.encoding, e, &attr);
}

/* One PMU's event is created with its period; several get shares of it. */
static int finish_create(struct vpmu_perf_source *s, struct vpmu_perf_slot *slot,
			 const struct vpmu_event *e)
{
	if (e->period && notify_all(s, slot))
		return -1;
	if (e->period && s->pmus > 1 && arm(s, slot, e->period))
		return -1;
	return check_place(s, slot);
}

static int perf_create(struct vpmu_source *source, unsigned int i, const struct vpmu_event *e)
{
	struct vpmu_perf_source *s = perf_of(source);
	struct vpmu_perf_slot *slot = &s->slot[i];

	source->calls++;
	slot->value = 0;
	slot->enabled = 0;
	slot->lost = 0;
	slot->forgiven = 0;
	slot->notifies = false;
	slot->counts = true;
	if (open_all(s, slot, e) || finish_create(s, slot, e)) {
		close_all(s, slot);
		return -1;
	}
	slot->exists = true;
	return 0;
}

static void perf_release(struct vpmu_source *source, unsigned int i)
{
	source->calls++;
	close_all(perf_of(source), &perf_of(source)->slot[i]);
}

static void perf_stop(struct vpmu_source *source, unsigned int i)
{
	struct vpmu_perf_source *s = perf_of(source);

	source->calls++;
	for (unsigned int pmu = 0; pmu < s->pmus; pmu++)
		(void)control(s, &s->slot[i], pmu, PERF_EVENT_IOC_DISABLE, NULL);
	s->slot[i].counts = false;
}

static int perf_start(struct vpmu_source *source, unsigned int i)
{
	struct vpmu_perf_source *s = perf_of(source);
	struct vpmu_perf_slot *slot = &s->slot[i];

	source->calls++;
	slot->counts = true;
	enable(s, slot);
	if (!check_place(s, slot))
		return 0;
	perf_stop(source, i);
	return -1;
}

static void perf_move(struct vpmu_source *source, unsigned int from, unsigned int to)
{
	struct vpmu_perf_slot *a = &perf_of(source)->slot[from], *b = &perf_of(source)->slot[to];

	/* A signal in the middle finds the file in one of them at least. */
	for (unsigned int i = 0; i < VPMU_PERF_PMUS; i++) {
		set_fd(b, i, fd_of(a, i));
		set_fd(a, i, -1);
		b->page[i] = a->page[i];
		a->page[i] = NULL;
	}
	b->exists = a->exists;
	b->counts = a->counts;
	b->can_overflow = a->can_overflow;
	b->notifies = a->notifies;
	b->forgiven = a->forgiven;
	b->value = a->value;
	b->enabled = a->enabled;
	b->lost = a->lost;
	a->exists = false;
	a->counts = false;
}

static const struct vpmu_source_ops perf_ops = {
	.size = sizeof(struct vpmu_source_ops),
	.supports = perf_supports,
	.create = perf_create,
	.release = perf_release,
	.stop = perf_stop,
	.start = perf_start,
	.period = perf_period,
	.read = perf_read,
	.move = perf_move,
};

/* ---- Set-up ---- */

static void choose_pmus(struct vpmu_perf_source *s)
{
	const struct vpmu_perf_host *host = s->config.host;

	s->pmus = host->pmus;
	if (s->config.only >= 0 && (unsigned int)s->config.only < host->pmus) {
		s->first = (unsigned int)s->config.only;
		s->pmus = 1;
	}
}

enum vpmu_perf_error vpmu_perf_source_init(struct vpmu_perf_source *s, struct vpmu_vcpu *v,
					   const struct vpmu_perf_config *config)
{
	enum vpmu_perf_error error = config->host->error[VPMU_MEANS_RAW];

	*s = (struct vpmu_perf_source){
		.source = { .ops = &perf_ops, .cheap_reads = config->host->cheap_reads },
		.v = v,
		.config = *config,
		.error = error,
	};
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		for (unsigned int pmu = 0; pmu < VPMU_PERF_PMUS; pmu++)
			atomic_init(&s->slot[i].fd[pmu], -1);
	}
	if (!s->config.tid)
		s->config.tid = gettid();
	if (!error)
		choose_pmus(s);
	return error;
}

void vpmu_perf_source_fini(struct vpmu_perf_source *s)
{
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (s->slot[i].exists)
			close_all(s, &s->slot[i]);
	}
}
