/* SPDX-License-Identifier: MIT */
/* Counts, overflows and starvation of this thread's own events; and reads by user mode. */
#include "cases.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct vpmu_source_ops *ops(void)
{
	return source.source.ops;
}

static struct vpmu_source *src(void)
{
	return &source.source;
}

/*
 * What (slot) counts of a loop, and of reading before and after it: one function, whatever the
 * compiler knows of its callers.
 */
static __attribute__((noipa)) uint64_t counted(unsigned int slot, uint64_t iterations)
{
	uint64_t before = value_of(slot);

	loop(iterations);
	return value_of(slot) - before;
}

/* Exactly the loop, whatever the reading takes. */
static void check_exact(unsigned int slot)
{
	static const uint64_t lengths[] = { 1000, 123457, 2000000 };
	uint64_t one;

	/* What runs for the first time takes longer. */
	(void)counted(slot, 1);
	one = counted(slot, 1);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint64_t n = counted(slot, lengths[i]) - one;
		uint64_t expected = LOOP_INSTRUCTIONS * (lengths[i] - 1);

		check(n == expected, "%lu instructions, expected %lu", n, expected);
	}
}

static void exact_counts(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_INSTRUCTIONS);

	start_source(true, NULL);
	if (create(0, &e))
		check_exact(0);
	stop_source();
}

/* The same event by its number in the manual: INST_RETIRED. */
static void exact_raw_counts(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_RAW);

	e.selector = 0x08;
	start_source(true, NULL);
	if (create(0, &e))
		check_exact(0);
	stop_source();
}

static void rings(void)
{
	const uint64_t all = LOOP_INSTRUCTIONS * 1000000ul;
	struct vpmu_event user = user_event_of(VPMU_MEANS_INSTRUCTIONS), kernel = user, both = user;
	uint64_t user_part, kernel_part, whole;

	kernel.user = false;
	kernel.kernel = true;
	both.kernel = true;
	start_source(true, NULL);
	if (!create(0, &user) || !create(1, &kernel) || !create(2, &both))
		return;
	loop(1000000);
	for (unsigned int i = 0; i < 3; i++)
		ops()->stop(src(), i);
	user_part = value_of(0);
	kernel_part = value_of(1);
	whole = value_of(2);
	check(user_part >= all && user_part < all + 10000, "user mode: %lu", user_part);
	/* Ticks of the clock, and the calls that made and stopped the events. */
	check(kernel_part > 1000 && kernel_part < all / 2, "kernel: %lu", kernel_part);
	check(whole > all + 1000 && whole < user_part + kernel_part, "both: %lu of %lu + %lu", whole,
	      user_part, kernel_part);
	stop_source();
}

static void stop_and_start(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_INSTRUCTIONS);
	uint64_t before, after;

	start_source(true, NULL);
	if (!create(0, &e))
		return;
	ops()->stop(src(), 0);
	before = value_of(0);
	loop(1000000);
	check(value_of(0) == before, "a stopped event counts");
	check(!ops()->start(src(), 0), "not started again");
	loop(1000000);
	ops()->stop(src(), 0);
	after = value_of(0) - before;
	check(after >= LOOP_INSTRUCTIONS * 1000000ul && after < LOOP_INSTRUCTIONS * 1000000ul + 5000,
	      "%lu after it started again", after);
	check(opened == 1, "%u events opened", opened);
	stop_source();
}

/*
 * Of cycles, and odd: under icount QEMU loses no overflow of those, of instructions it loses most.
 */
#define PERIOD 500009u

/* As many hints as the count has periods: one more or less is one on its way. */
static void check_hints(unsigned int slot, uint64_t count, uint64_t period)
{
	uint64_t expected = count / period;

	check(hints[slot] + 1 >= expected && hints[slot] <= expected + 1 && expected > 5,
	      "%u hints in %lu events, period %lu", hints[slot], count, period);
}

static void overflows(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_CYCLES);
	uint64_t before;

	e.period = PERIOD;
	start_source(true, NULL);
	if (!create(3, &e))
		return;
	loop(5000000);
	ops()->stop(src(), 3);
	check_hints(3, value_of(3), PERIOD);
	/* Another period, from now on. */
	check(!ops()->start(src(), 3), "not started again");
	check(!ops()->period(src(), 3, 2 * PERIOD + 1), "no other period");
	hints[3] = 0;
	before = value_of(3);
	loop(5000000);
	ops()->stop(src(), 3);
	check_hints(3, value_of(3) - before, 2 * PERIOD + 1);
	/* And none. */
	check(!ops()->start(src(), 3), "not started again");
	check(!ops()->period(src(), 3, 0), "not without a period");
	hints[3] = 0;
	loop(1000000);
	check(!hints[3], "%u hints without a period", hints[3]);
	check(opened == 1, "%u events opened", opened);
	stop_source();
}

/* One hint comes at or after the event that reached the period, and soon. */
static volatile uint64_t value_at_hint;

static void note_value(void *context)
{
	(void)context;
	if (!value_at_hint)
		value_at_hint = value_of(3);
}

static void a_hint_is_never_early(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_CYCLES);

	e.period = PERIOD;
	value_at_hint = 0;
	start_source(true, note_value);
	if (!create(3, &e))
		return;
	loop(500000);
	check(value_at_hint >= PERIOD && value_at_hint < PERIOD + PERIOD / 10,
	      "the first hint at %lu", value_at_hint);
	stop_source();
}

/* The event goes on counting, and its overflows are the other slot's. */
static void move_and_reuse(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_CYCLES);
	uint64_t before;

	e.period = PERIOD;
	start_source(true, NULL);
	if (!create(3, &e))
		return;
	loop(1000000);
	ops()->stop(src(), 3);
	before = value_of(3);
	ops()->move(src(), 3, 20);
	check(value_of(20) == before, "%lu after the move, %lu before", value_of(20), before);
	ops()->move(src(), 20, 5);
	hints[3] = 0;
	check(!ops()->period(src(), 5, PERIOD), "no period");
	check(!ops()->start(src(), 5), "not started again");
	loop(2000000);
	ops()->stop(src(), 5);
	check_hints(5, value_of(5) - before, PERIOD);
	check(!hints[3] && !hints[20], "hints for empty slots");
	check(opened == 1, "%u events opened", opened);
	stop_source();
}

/* ---- More events than counters ---- */

#define MORE_THAN_COUNTERS 16u

/* How many instruction events of this thread the machine counts at a time. */
static unsigned int fill(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_INSTRUCTIONS);
	unsigned int n = 0;

	while (n < MORE_THAN_COUNTERS && !ops()->create(src(), n, &e))
		n++;
	return n;
}

static bool is_starved(unsigned int slot)
{
	struct vpmu_count count = ops()->read(src(), slot);

	return count.running < count.enabled;
}

static void one_too_many(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_INSTRUCTIONS);
	unsigned int n;
	bool refused;

	start_source(true, NULL);
	n = fill();
	check(n >= 2 && n < MORE_THAN_COUNTERS, "%u events fit", n);
	check(source.error == VPMU_PERF_BUSY, "refused for: %s", vpmu_perf_strerror(source.error));
	check_exact(n - 1);
	/* A place becomes free: a stopped event has none. */
	ops()->stop(src(), 0);
	check(!ops()->create(src(), n, &e), "no event in a place that is free");
	check(!is_starved(n), "starved in a place that is free");
	/* Linux places the older one first: the younger one loses its place, and says so. */
	refused = ops()->start(src(), 0) == -1;
	check(refused || is_starved(n), "one place for two events");
	ops()->release(src(), n);
	if (refused)
		check(!ops()->start(src(), 0), "not started in a place that is free");
	check_exact(0);
	stop_source();
}

/* This CPU's events go before a thread's: they take its counters away. */
static unsigned int take_counters(int fd[MORE_THAN_COUNTERS])
{
	const struct vpmu_event e = event_of(VPMU_MEANS_INSTRUCTIONS);
	struct perf_event_attr attr;
	unsigned int n = 0;

	check(!vpmu_perf_host_attr(&host, 0, VPMU_PERF_ENCODING_ARM, &e, &attr), "no attributes");
	attr.exclude_host = 0;
	attr.config1 = 0; /* user mode reads events of threads only */
	while (n < MORE_THAN_COUNTERS) {
		fd[n] = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
		if (fd[n] < 0)
			break;
		n++;
	}
	return n;
}

static void starvation(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_INSTRUCTIONS);
	int fd[MORE_THAN_COUNTERS];
	struct vpmu_count before, starved, after;
	unsigned int taken;

	start_source(true, NULL);
	if (!create(0, &e))
		return;
	loop(1000000);
	before = ops()->read(src(), 0);
	check(before.running == before.enabled, "starved from the start: %lu of %lu",
	      before.running, before.enabled);
	taken = take_counters(fd);
	check(taken, "no events of the CPU");
	loop(1000000);
	starved = ops()->read(src(), 0);
	check(starved.running < starved.enabled, "starvation is not reported");
	check(starved.value >= before.value && starved.value < before.value + 100000,
	      "%lu counted without a counter", starved.value - before.value);
	for (unsigned int i = 0; i < taken; i++)
		(void)close(fd[i]);
	(void)ops()->read(src(), 0);
	check_exact(0);
	after = ops()->read(src(), 0);
	check(after.running < after.enabled, "starvation is forgotten");
	stop_source();
}

void cases_of_counters(void)
{
	run_case("exact_counts", exact_counts);
	run_case("exact_raw_counts", exact_raw_counts);
	run_case("rings", rings);
	run_case("stop_and_start", stop_and_start);
	run_case("overflows", overflows);
	run_case("a_hint_is_never_early", a_hint_is_never_early);
	run_case("move_and_reuse", move_and_reuse);
	run_case("one_too_many", one_too_many);
	run_case("starvation", starvation);
}

/* ---- Reads by user mode ---- */

struct kernel_reading {
	uint64_t value;
	uint64_t enabled;
	uint64_t running;
};

static struct kernel_reading read_2(unsigned int slot)
{
	struct kernel_reading r = { 0 };

	check(read(source.slot[slot].fd[0], &r, sizeof(r)) == (ssize_t)sizeof(r), "no read");
	return r;
}

#define BETWEEN 5000u                        /* instructions from one reading to the next */

/* A reading by user mode between two of the kernel is between them. */
static void check_between(unsigned int slot)
{
	struct kernel_reading a = read_2(slot), b;
	uint64_t calls = source.system_calls;
	struct vpmu_count mine = ops()->read(src(), slot);

	check(source.system_calls == calls, "a read made a system call");
	b = read_2(slot);
	check(a.value < mine.value && mine.value < b.value && b.value - a.value < BETWEEN,
	      "counts %lu, %lu, %lu", a.value, mine.value, b.value);
	check(a.enabled <= mine.enabled && mine.enabled <= b.enabled, "enabled %lu, %lu, %lu",
	      a.enabled, mine.enabled, b.enabled);
	check(mine.running == mine.enabled, "running %lu of %lu", mine.running, mine.enabled);
}

static void check_same(unsigned int slot)
{
	struct kernel_reading a;
	struct vpmu_count mine;

	ops()->stop(src(), slot);
	mine = ops()->read(src(), slot);
	a = read_2(slot);
	/* The page's time is that of its last update, which comes a little after the stop. */
	check(a.value == mine.value && mine.enabled - a.enabled < 10000,
	      "stopped: %lu in %lu ns, by the kernel %lu in %lu", mine.value, mine.enabled, a.value,
	      a.enabled);
}

static void check_user_reads(enum vpmu_event_meaning meaning)
{
	struct vpmu_event e = user_event_of(meaning);

	start_source(true, NULL);
	check(source.source.cheap_reads, "reads are not cheap");
	if (!create(0, &e))
		return;
	for (unsigned int i = 0; i < 100; i++) {
		check_between(0);
		loop(10000);
	}
	if (meaning == VPMU_MEANS_INSTRUCTIONS)
		check_exact(0);
	check_same(0);
	stop_source();
}

static void user_reads_of_instructions(void)
{
	check_user_reads(VPMU_MEANS_INSTRUCTIONS);
}

static void user_reads_of_cycles(void)
{
	check_user_reads(VPMU_MEANS_CYCLES);
}

static void no_user_reads(void)
{
	struct vpmu_event e = user_event_of(VPMU_MEANS_INSTRUCTIONS);
	uint64_t calls;

	start_source(true, NULL);
	check(!source.source.cheap_reads, "reads are cheap, though forbidden");
	if (!create(0, &e))
		return;
	calls = source.system_calls;
	check_exact(0);
	check(source.system_calls > calls, "reads without a system call, though forbidden");
	stop_source();
}

void cases_of_user_reads(void)
{
	if (!set_kernel("perf_user_access", 1)) {
		skip_case("user_reads", "no perf_user_access before Linux 5.17");
		return;
	}
	run_case("user_reads_of_instructions", user_reads_of_instructions);
	run_case("user_reads_of_cycles", user_reads_of_cycles);
	(void)set_kernel("perf_user_access", 0);
	run_case("no_user_reads", no_user_reads);
}
