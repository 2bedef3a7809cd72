/* SPDX-License-Identifier: MIT */
/*
 * kvm - what hosts/kvm costs on this machine's KVM: ratios in one run, and counts of exits and
 * system calls.
 *
 * usage: kvm [--check]
 *
 * Standard output: kvm.NAME and perf.NAME lines. Exit status: 0; 1; 77: no KVM that it can use.
 * --check: fewer runs, and 1 if a count is over its budget.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 100u                   /* exits, or events, in one measured run */
#define RUNS_MAX 41u
#define WARM_UP 16u                  /* cycles */

static unsigned int runs = RUNS_MAX;
static int status;

static void fail(const char *what)
{
	fprintf(stderr, "bench kvm: %s\n", what);
	exit(1);
}

static struct vmm *new_machine(enum program program, bool software)
{
	const char *why;
	struct vmm *m = machine_new(program, software, &why);

	if (m)
		return m;
	printf("SKIP: %s\n", why);
	exit(77);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *of, unsigned int n)
{
	qsort(of, n, sizeof(*of), compare);
	return of[n / 2];
}

/* Of this thread: what others take meanwhile is not in it. */
static uint64_t now(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
		fail("no clock");
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Accesses ---- */

static uint64_t batch(struct vmm *m, bool (*step)(struct vmm *m))
{
	uint64_t before = now();

	for (unsigned int i = 0; i < BATCH; i++) {
		if (!step(m))
			fail("the guest does not go on");
	}
	return (now() - before) / BATCH;
}

static void settle(struct vmm *m)
{
	(void)batch(m, machine_step);
	if (!machine_settle(m))
		fail("the guest does not go on");
}

/* In turn, so that both have the same neighbours. */
static void msr_over_exit(const char *name, enum program program)
{
	struct vmm *m = new_machine(program, false);
	uint64_t bare[RUNS_MAX], served[RUNS_MAX], b, s;

	settle(m);
	for (unsigned int i = 0; i < runs; i++) {
		bare[i] = batch(m, machine_bare_step);
		served[i] = batch(m, machine_step);
	}
	b = median(bare, runs);
	s = median(served, runs);
	printf("kvm.%s,%.3f,ratio\n", name, b ? (double)s / (double)b : 0);
	fprintf(stderr, "%-24s %8" PRIu64 " ns served, %8" PRIu64 " ns bare\n", name, s, b);
	machine_free(m);
}

/* ---- Cycles of the guest ---- */

static struct tally difference(const struct tally *a, const struct tally *b)
{
	return (struct tally){
		.calls = a->calls - b->calls, .exits = a->exits - b->exits,
		.source = a->source - b->source, .creates = a->creates - b->creates,
	};
}

/* Until (*count) has grown by one. */
static struct tally one_cycle(struct vmm *m, const uint64_t *count)
{
	const struct tally before = tally;
	uint64_t start = *count;

	while (*count == start) {
		if (!machine_step(m))
			fail("the guest does not go on");
	}
	return difference(&tally, &before);
}

struct cycles {
	uint64_t calls, exits, source;   /* medians */
	uint64_t creates;                /* of all */
};

static struct cycles measure(struct vmm *m, const uint64_t *count)
{
	uint64_t calls[RUNS_MAX], exits[RUNS_MAX], source[RUNS_MAX];
	struct cycles all = { 0 };

	settle(m);
	for (unsigned int i = 0; i < WARM_UP; i++)
		(void)one_cycle(m, count);
	for (unsigned int i = 0; i < runs; i++) {
		struct tally t = one_cycle(m, count);

		calls[i] = t.calls;
		exits[i] = t.exits;
		source[i] = t.source;
		all.creates += t.creates;
	}
	all.calls = median(calls, runs);
	all.exits = median(exits, runs);
	all.source = median(source, runs);
	return all;
}

static void budget(const char *name, uint64_t n, uint64_t most)
{
	printf("kvm.%s,%" PRIu64 ",count\n", name, n);
	if (n <= most)
		return;
	fprintf(stderr, "bench kvm: %s: at most %" PRIu64 " were expected\n", name, most);
	status = 1;
}

static void sampling(void)
{
	struct vmm *m = new_machine(PROGRAM_SAMPLE, false);
	struct cycles c = measure(m, &m->cpu[0].pmis);

	budget("pmi_exits", c.exits, 12);
	budget("pmi_syscalls", c.calls, 45);
	budget("pmi_creates", c.creates, 0);
	machine_free(m);
}

static void switching(const char *name, bool software)
{
	const uint64_t made = tally.creates;
	struct vmm *m = new_machine(PROGRAM_SWITCH, software);
	struct cycles c = measure(m, &tally.switches);
	char line[64];

	if (tally.creates == made)
		fail("the guest has made nothing count");
	(void)snprintf(line, sizeof(line), "switch_syscalls%s", name);
	budget(line, c.creates, 0);
	(void)snprintf(line, sizeof(line), "switch_exits%s", name);
	budget(line, c.exits, 20);
	(void)snprintf(line, sizeof(line), "switch_source_calls%s", name);
	budget(line, c.source, 40);
	(void)snprintf(line, sizeof(line), "switch_all_calls%s", name);
	budget(line, c.calls, 150);
	machine_free(m);
}

/* ---- Perf events ---- */

static struct vpmu_perf_system sys;
static struct vpmu_perf_host host;
static struct vpmu_perf_source source;

static const struct vpmu_event event = {
	.meaning = VPMU_MEANS_CYCLES, .user = true, .kernel = true, .period = 1ull << 40,
};

static uint64_t create(const struct vpmu_source_ops *ops)
{
	uint64_t before = now();

	for (unsigned int i = 0; i < BATCH; i++) {
		ops->release(&source.source, 0);
		if (ops->create(&source.source, 0, &event))
			fail("a perf event cannot be made");
	}
	return (now() - before) / BATCH;
}

static uint64_t reuse(const struct vpmu_source_ops *ops)
{
	uint64_t before = now();

	for (unsigned int i = 0; i < BATCH; i++) {
		ops->stop(&source.source, 0);
		if (ops->period(&source.source, 0, event.period - i) ||
		    ops->start(&source.source, 0))
			fail("a perf event cannot be used again");
	}
	return (now() - before) / BATCH;
}

static void create_over_reuse(void)
{
	static struct vpmu_vcpu v;
	struct vpmu_perf_config config = {
		.host = &host, .system = &sys, .signal = SIGRTMIN, .only = -1, .count_host = true,
	};
	uint64_t created[RUNS_MAX], reused[RUNS_MAX], c, r;

	if (vpmu_perf_source_init(&source, &v, &config) || vpmu_perf_signal_init(SIGRTMIN) ||
	    source.source.ops->create(&source.source, 0, &event))
		fail("a perf event cannot be made");
	for (unsigned int i = 0; i < runs; i++) {
		created[i] = create(source.source.ops);
		reused[i] = reuse(source.source.ops);
	}
	vpmu_perf_source_fini(&source);
	c = median(created, runs);
	r = median(reused, runs);
	printf("perf.create_over_reuse,%.2f,ratio\n", r ? (double)c / (double)r : 0);
	fprintf(stderr, "%-24s %8" PRIu64 " ns created, %6" PRIu64 " ns used again\n",
		"create_over_reuse", c, r);
}

/* This user may have all that the guest asks for. */
static bool may_count(void)
{
	sys = vpmu_perf_linux;
	if (machine_software(&host, &sys))
		return true;
	fprintf(stderr, "SKIP: no software perf events of kernel and user mode for this user\n");
	return false;
}

int main(int argc, char **argv)
{
	bool events = may_count();

	if (argc == 2 && !strcmp(argv[1], "--check"))
		runs = 5;
	else if (argc != 1)
		fail("usage: kvm [--check]");
	if (events)
		create_over_reuse();
	msr_over_exit("msr_over_exit", PROGRAM_READ);
	msr_over_exit("msr_over_exit.write", PROGRAM_WRITE);
	msr_over_exit("msr_over_exit.counting", PROGRAM_READ_COUNTING);
	sampling();
	if (events)
		switching("", true);
	switching(".time", false);
	return status;
}
