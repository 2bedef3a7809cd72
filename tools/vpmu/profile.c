/* SPDX-License-Identifier: MIT */
/*
 * The monitor prints numbers (hosts/el2/profile.c); here they become names, sums and tables. Its lines carry
 * a key that it alone was told: a guest on the same console cannot forge one.
 */
#include "profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "symbols.h"
#include "vm.h"

/* ---- The way to the monitor ---- */

void profile_words(struct args *words, struct profile_options *o)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		die(EXIT_CANNOT, "getrandom: %s", strerror(errno));
	o->key = text("%016" PRIx64, random);
	args_add(words, text("profile=%s", o->sides));
	args_add(words, text("profile-key=%s", o->key));
	if (o->period)
		args_add(words, text("profile-period=%s", o->period));
	if (o->event)
		args_add(words, text("profile-event=%s", o->event));
}

const char *profile_marker(const struct profile_options *o)
{
	return text("vpmu-profile %s ", o->key);
}

/* ---- What it says ---- */

enum row { EL2_SAMPLED, GUEST_SAMPLED, EL2_OTHER, EL0_INSTRUCTIONS, EL1_INSTRUCTIONS, ROW_COUNT };

static const char *const row_names[ROW_COUNT] = {
	"el2.sampled", "guest.sampled", "el2.other", "el0.instructions", "el1.instructions",
};

#define CPUS_MAX 8u
#define CAUSES_MAX 40u
#define FRAMES_MAX 16u
#define UNKNOWN 0xFFFFFFFFu
#define IDLE 0xFFFFFFFEu

struct count {
	bool there;
	uint64_t value, enabled, running, samples;
};

struct cause {
	char name[16];
	uint64_t times, sampled, other;
};

struct guest_count {
	uint64_t sampled, el0, el1;
};

/* A stack and how often it was seen. */
struct folded {
	const char *stack;
	const char *leaf;
	uint64_t count;
};

struct folds {
	struct folded *list;
	size_t count, room;
};

struct report {
	char event[16]; /* that is sampled */
	uint64_t period;
	bool begun, ended;
	struct count count[CPUS_MAX][ROW_COUNT];
	struct cause cause[CAUSES_MAX];
	size_t causes;
	struct guest_count guest[VM_MAX][CPUS_MAX];
	struct folds host, guests;
	uint64_t dropped;
	struct symbols symbols;
};

static void add_fold(struct folds *f, const char *stack, const char *leaf, uint64_t count)
{
	if (f->count == f->room) {
		f->room = f->room ? 2 * f->room : 256;
		f->list = realloc(f->list, f->room * sizeof(*f->list));
		if (!f->list)
			die(EXIT_CANNOT, "no memory");
	}
	f->list[f->count++] = (struct folded){ stack, leaf, count };
}

static const char *name_of(const struct report *r, uint64_t place)
{
	const char *name = symbols_find(&r->symbols, place);

	return name ? name : text("0x%" PRIx64, place);
}

/* (n) numbers in hexadecimal from (s). */
static size_t read_places(const char *s, uint32_t *out, size_t max)
{
	size_t n = 0;
	char *end;

	for (; n < max; s = end) {
		unsigned long value = strtoul(s, &end, 16);

		if (end == s)
			return n;
		out[n++] = (uint32_t)value;
	}
	return n;
}

/*
 * pc, lr, return addresses. The caller of a function without a frame is in lr alone; elsewhere lr is what the last
 * call left there, in the same function, or what the first frame says.
 */
static void fold_stack(struct report *r, const uint32_t *place, size_t n, uint64_t count)
{
	const char *leaf = name_of(r, place[0]), *stack = leaf;
	bool calls = n < 2 || place[1] == UNKNOWN || (n > 2 && place[1] == place[2]);

	for (size_t i = 1; i < n; i++) {
		const char *name = name_of(r, place[i] - 1);

		if (i == 1 && (calls || !strcmp(name, leaf)))
			continue;
		stack = text("%s;%s", name, stack);
	}
	add_fold(&r->host, text("monitor;%s", stack), leaf, count);
}

static bool take_host_sample(struct report *r, const char *s)
{
	uint32_t place[FRAMES_MAX];
	uint64_t count;
	int at = 0;
	size_t n;

	if (sscanf(s, "%" SCNu64 "%n", &count, &at) != 1)
		return false;
	n = read_places(s + at, place, FRAMES_MAX);
	if (n == 0)
		return false;
	if (place[0] == UNKNOWN)
		add_fold(&r->host, "monitor;[late]", "[late]", count);
	else if (place[0] == IDLE)
		add_fold(&r->host, "monitor;[idle]", "[idle]", count);
	else
		fold_stack(r, place, n, count);
	return true;
}

static bool take_guest_sample(struct report *r, const char *s)
{
	unsigned int vm, cpu, el;
	uint64_t pc, count;
	const char *leaf;

	if (sscanf(s, "%u %u %u %" SCNx64 " %" SCNu64, &vm, &cpu, &el, &pc, &count) != 5)
		return false;
	leaf = text("vm%u EL%u 0x%" PRIx64, vm, el, pc);
	add_fold(&r->guests, text("vm%u;cpu%u;EL%u;0x%" PRIx64, vm, cpu, el, pc), leaf, count);
	return true;
}

static bool take_event(struct report *r, const char *s)
{
	struct count c = { .there = true };
	unsigned int cpu;
	char name[24];

	if (sscanf(s, "%u %23s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &cpu, name, &c.value,
		   &c.enabled, &c.running, &c.samples) != 6 || cpu >= CPUS_MAX)
		return false;
	for (size_t row = 0; row < ROW_COUNT; row++)
		if (!strcmp(row_names[row], name))
			r->count[cpu][row] = c;
	return true;
}

static struct cause *cause_of(struct report *r, const char *name)
{
	for (size_t i = 0; i < r->causes; i++)
		if (!strcmp(r->cause[i].name, name))
			return &r->cause[i];
	if (r->causes == CAUSES_MAX)
		return NULL;
	snprintf(r->cause[r->causes].name, sizeof(r->cause[0].name), "%s", name);
	return &r->cause[r->causes++];
}

static bool take_cause(struct report *r, const char *s)
{
	uint64_t times, sampled, other;
	struct cause *cause;
	unsigned int cpu;
	char name[16];

	if (sscanf(s, "%u %15s %" SCNu64 " %" SCNu64 " %" SCNu64, &cpu, name, &times, &sampled,
		   &other) != 5)
		return false;
	cause = cause_of(r, name);
	if (!cause)
		return false;
	cause->times += times;
	cause->sampled += sampled;
	cause->other += other;
	return true;
}

static bool take_guest(struct report *r, const char *s)
{
	struct guest_count g;
	unsigned int vm, cpu;

	if (sscanf(s, "%u %u %" SCNu64 " %" SCNu64 " %" SCNu64, &vm, &cpu, &g.sampled, &g.el0,
		   &g.el1) != 5 || vm >= VM_MAX || cpu >= CPUS_MAX)
		return false;
	r->guest[vm][cpu] = g;
	return true;
}

static bool take_dropped(struct report *r, const char *s)
{
	unsigned int cpu;
	uint64_t n;

	if (sscanf(s, "%u %" SCNu64, &cpu, &n) != 2)
		return false;
	r->dropped += n;
	return true;
}

static bool take_begin(struct report *r, const char *s)
{
	r->begun = sscanf(s, "%15s %" SCNu64, r->event, &r->period) == 2;
	return r->begun;
}

static bool take_end(struct report *r, const char *s)
{
	(void)s;
	r->ended = true;
	return true;
}

static const struct {
	const char *word;
	bool (*take)(struct report *r, const char *s);
} lines[] = {
	{ "begin", take_begin }, { "event", take_event }, { "cause", take_cause },
	{ "guest", take_guest }, { "guest-sample", take_guest_sample },
	{ "host-sample", take_host_sample }, { "dropped", take_dropped }, { "end", take_end },
};

static bool take_line(struct report *r, const char *s)
{
	size_t length = strcspn(s, " ");

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strlen(lines[i].word) == length && !strncmp(lines[i].word, s, length))
			return lines[i].take(r, s + length);
	return false;
}

/* ---- Tables ---- */

static const char *row_title(const struct report *r, size_t row)
{
	const char *other = strcmp(r->event, "cycles") ? "cycles" : "instructions";

	switch (row) {
	case EL2_SAMPLED:
		return text("EL2 %s", r->event);
	case GUEST_SAMPLED:
		return text("EL1, EL0 %s", r->event);
	case EL2_OTHER:
		return text("EL2 %s", other);
	case EL0_INSTRUCTIONS:
		return "EL0 instructions";
	default:
		return "EL1 instructions";
	}
}

static bool is_sampled(const struct report *r, size_t row)
{
	return r->period > 0 && (row == EL2_SAMPLED || row == GUEST_SAMPLED);
}

/* A period without a sample of its own: the one before it was taken too late. */
static void print_count(const struct report *r, unsigned int cpu, size_t row)
{
	const struct count *c = &r->count[cpu][row];
	double share = c->enabled ? 100.0 * (double)c->running / (double)c->enabled : 100.0;

	printf("%3u  %-20s %15" PRIu64 " %14" PRIu64 " %7.2f%%", cpu, row_title(r, row), c->value,
	       c->enabled, share);
	if (is_sampled(r, row))
		printf(" %9" PRIu64 " %8" PRId64, c->samples,
		       (int64_t)(c->value / r->period) - (int64_t)c->samples);
	printf("\n");
}

static void print_counts(const struct report *r)
{
	printf("\nhost profile: ");
	if (r->period > 0)
		printf("a sample every %" PRIu64 " %s\n\n", r->period, r->event);
	else
		printf("counts alone\n\n");
	printf("CPU  %-20s %15s %14s %8s %9s %8s\n", "event", "count", "time (ns)", "counted",
	       "samples", "missed");
	for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++)
		for (size_t row = 0; row < ROW_COUNT; row++)
			if (r->count[cpu][row].there)
				print_count(r, cpu, row);
}

static bool has(const struct report *r, size_t row)
{
	for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++)
		if (r->count[cpu][row].there)
			return true;
	return false;
}

/* What nobody counted is not 0. */
static const char *number(bool there, uint64_t value)
{
	return there ? text("%" PRIu64, value) : "-";
}

static void print_guests(const struct report *r)
{
	if (!has(r, GUEST_SAMPLED))
		return;
	printf("\n%-9s %15s %20s %20s\n", "guest CPU", r->event, "EL0 instructions", "EL1 instructions");
	for (unsigned int vm = 0; vm < VM_MAX; vm++) {
		for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++) {
			const struct guest_count *g = &r->guest[vm][cpu];

			if (g->sampled | g->el0 | g->el1)
				printf("vm%u.cpu%u  %15" PRIu64 " %20s %20s\n", vm, cpu, g->sampled,
				       number(has(r, EL0_INSTRUCTIONS), g->el0),
				       number(has(r, EL1_INSTRUCTIONS), g->el1));
		}
	}
}

static int by_cost(const void *a, const void *b)
{
	const struct cause *x = a, *y = b;

	return (y->sampled > x->sampled) - (y->sampled < x->sampled);
}

static void print_causes(struct report *r)
{
	const char *other = strcmp(r->event, "cycles") ? "cycles" : "instructions";
	bool with_other = has(r, EL2_OTHER);

	if (!has(r, EL2_SAMPLED))
		return;
	qsort(r->cause, r->causes, sizeof(r->cause[0]), by_cost);
	printf("\n%-14s %10s %15s %15s %12s\n", "exit by", "times", text("EL2 %s", r->event),
	       text("EL2 %s", other), "each");
	for (size_t i = 0; i < r->causes; i++) {
		const struct cause *c = &r->cause[i];

		printf("%-14s %10" PRIu64 " %15" PRIu64 " %15s %12.1f\n", c->name, c->times, c->sampled,
		       number(with_other, c->other),
		       c->times ? (double)c->sampled / (double)c->times : 0.0);
	}
}

static int by_leaf(const void *a, const void *b)
{
	const struct folded *x = a, *y = b;

	return strcmp(x->leaf, y->leaf);
}

static int by_stack(const void *a, const void *b)
{
	const struct folded *x = a, *y = b;

	return strcmp(x->stack, y->stack);
}

static int by_count(const void *a, const void *b)
{
	const struct folded *x = a, *y = b;

	return (y->count > x->count) - (y->count < x->count);
}

/* Equal ones become one; returns the sum of all. */
static uint64_t merge(struct folds *f, int (*compare)(const void *, const void *))
{
	uint64_t sum = 0;
	size_t n = 0;

	if (f->count == 0)
		return 0;
	qsort(f->list, f->count, sizeof(*f->list), compare);
	for (size_t i = 0; i < f->count; i++) {
		sum += f->list[i].count;
		if (n > 0 && !compare(&f->list[n - 1], &f->list[i]))
			f->list[n - 1].count += f->list[i].count;
		else
			f->list[n++] = f->list[i];
	}
	f->count = n;
	return sum;
}

#define TOP 15u

/* Sorts what is in (f), and loses the stacks. */
static void print_top(struct folds *f, const char *title)
{
	uint64_t sum = merge(f, by_leaf);

	if (sum == 0)
		return;
	qsort(f->list, f->count, sizeof(*f->list), by_count);
	printf("\n%9s %7s  %s\n", "samples", "", title);
	for (size_t i = 0; i < f->count && i < TOP; i++)
		printf("%9" PRIu64 " %6.2f%%  %s\n", f->list[i].count,
		       100.0 * (double)f->list[i].count / (double)sum, f->list[i].leaf);
}

static void write_folds(FILE *out, struct folds *f)
{
	merge(f, by_stack);
	for (size_t i = 0; i < f->count; i++)
		fprintf(out, "%s %" PRIu64 "\n", f->list[i].stack, f->list[i].count);
}

static void write_out(struct report *r, const char *path)
{
	FILE *out = fopen(path, "w");

	if (!out)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	write_folds(out, &r->host);
	write_folds(out, &r->guests);
	if (fclose(out) != 0)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
}

static const char *symbols_of(const char *monitor)
{
	size_t length = strlen(monitor);

	if (length > 4 && !strcmp(monitor + length - 4, ".img"))
		length -= 4;
	return text("%.*s.elf", (int)length, monitor);
}

static void print_report(struct report *r, const struct profile_options *o)
{
	print_counts(r);
	print_guests(r);
	print_causes(r);
	if (o->out)
		write_out(r, o->out);
	print_top(&r->host, "function of the monitor");
	print_top(&r->guests, "place in a guest");
	if (r->dropped > 0)
		printf("\n%" PRIu64 " samples found no room and are in no stack\n", r->dropped);
}

bool profile_report(const struct args *said, const char *monitor, const struct profile_options *o)
{
	struct report r = { .begun = false };
	bool complete = true;

	symbols_read(&r.symbols, symbols_of(monitor));
	for (size_t i = 0; i < said->count; i++)
		complete &= take_line(&r, said->list[i]);
	complete &= r.begun && r.ended;
	if (complete)
		print_report(&r, o);
	else
		warn("the monitor's profile is not complete");
	symbols_free(&r.symbols);
	free(r.host.list);
	free(r.guests.list);
	return complete;
}
