/* SPDX-License-Identifier: MIT */
/*
 * Linux KVM's emulated vPMU over a counting source, in two ages; only what this guest uses.
 *
 *  (a) naive: every write that may start or stop a counter releases its event, and creates one if
 *  it
 *      counts. So did KVM until 5.4, which did the same after each overflow; that is left out here.
 *  reuse: Linux 7.0. What changed is worked out at the next entry: the event is paused, and if its
 *      counter counts, it gets a period and goes on, or gives way to a new one if the selector
 *      changed. Not one of the four contestants: it ties the cost table to what was measured on it.
 */
#include "source.h"

#define GP 9u                        /* the last stands for a fixed counter */
#define WIDTH_MASK ((UINT64_C(1) << 48) - 1)

static struct kvm {
	struct machine machine;
	struct bench_source source;
	bool reuse;
	uint64_t value[GP];          /* what its event counted up to `seen` included */
	uint64_t seen[GP];
	uint64_t selector[GP];
	uint64_t programmed[GP];     /* selector of the event */
	bool exists[GP];
	bool paused[GP];
	uint64_t global;
	uint64_t status;
	uint64_t marked;             /* to be worked out at the next entry */
	bool pmi;                    /* requested */
} the;

static struct vpmu_source *source(void)
{
	return &the.source.source;
}

/* In the host's interrupt. */
static bool overflow(void *context, unsigned int slot)
{
	(void)context;
	the.status |= UINT64_C(1) << slot;
	the.pmi |= the.selector[slot] & X86_SEL_INT;
	if (the.reuse)
		the.marked |= UINT64_C(1) << slot;
	return true;
}

static uint64_t read_counter(unsigned int i)
{
	if (the.exists[i] && !the.paused[i]) {
		uint64_t count = source()->ops->read(source(), i).value;

		the.value[i] = (the.value[i] + count - the.seen[i]) & WIDTH_MASK;
		the.seen[i] = count;
	}
	return the.value[i];
}

static bool is_enabled(unsigned int i)
{
	return the.selector[i] & X86_SEL_EN && the.global >> i & 1;
}

static uint64_t period(unsigned int i)
{
	return WIDTH_MASK + 1 - the.value[i];
}

static void release(unsigned int i)
{
	if (!the.exists[i])
		return;
	(void)read_counter(i);
	source()->ops->release(source(), i);
	the.exists[i] = false;
}

static void create(unsigned int i)
{
	const struct vpmu_event event = {
		.selector = the.selector[i] & 0xFFFF,
		.user = the.selector[i] & X86_SEL_USR,
		.kernel = the.selector[i] & X86_SEL_OS,
		.period = period(i),
	};

	machine_expect(source()->ops->create(source(), i, &event) == 0, "kvm: create");
	the.exists[i] = true;
	the.paused[i] = false;
	the.seen[i] = 0;
	the.programmed[i] = the.selector[i];
}

static void pause_event(unsigned int i)
{
	if (!the.exists[i] || the.paused[i])
		return;
	(void)read_counter(i);
	source()->ops->stop(source(), i);
	the.paused[i] = true;
}

static void resume_event(unsigned int i)
{
	machine_expect(source()->ops->period(source(), i, period(i)) == 0, "kvm: period");
	machine_expect(source()->ops->start(source(), i) == 0, "kvm: start");
	the.paused[i] = false;
}

static void rework(unsigned int i)
{
	pause_event(i);
	if (!is_enabled(i))
		return;
	if (the.exists[i] && the.programmed[i] == the.selector[i]) {
		resume_event(i);
		return;
	}
	release(i);
	create(i);
}

/* The counters in (mask) may have to start or stop. */
static void changed(uint64_t mask)
{
	if (the.reuse) {
		the.marked |= mask;
		return;
	}
	for (unsigned int i = 0; i < GP; i++) {
		if (mask >> i & 1)
			release(i);
		if (mask >> i & 1 && is_enabled(i))
			create(i);
	}
}

static void leave(struct machine *m, enum exit_kind kind)
{
	m->tally.exits[kind]++;
}

static void enter(struct machine *m)
{
	for (unsigned int i = 0; i < GP; i++) {
		if (the.marked >> i & 1)
			rework(i);
	}
	the.marked = 0;
	if (the.pmi)
		(void)machine_pmi(m);
	the.pmi = false;
}

static void write_selector(unsigned int i, uint64_t value)
{
	uint64_t old = the.selector[i];

	the.selector[i] = value;
	if (value != old)
		changed(UINT64_C(1) << i);
}

static void write_global(uint64_t value)
{
	uint64_t old = the.global;

	the.global = value;
	changed(old ^ value);
}

static void kvm_wrmsr(struct machine *m, uint32_t index, uint64_t value)
{
	leave(m, EXIT_ACCESS);
	if (index - X86_MSR_PERFEVTSEL(0) < GP) {
		write_selector(index - X86_MSR_PERFEVTSEL(0), value);
	} else if (index - X86_MSR_PMC(0) < GP) {
		(void)read_counter(index - X86_MSR_PMC(0));
		the.value[index - X86_MSR_PMC(0)] = value;
	} else if (index == X86_MSR_GLOBAL_CTRL) {
		write_global(value);
	} else if (index == X86_MSR_STATUS_RESET) {
		the.status &= ~value;
	} else {
		machine_fail("kvm: a register that this guest has no use for");
	}
	enter(m);
}

static uint64_t kvm_rdmsr(struct machine *m, uint32_t index)
{
	leave(m, EXIT_ACCESS);
	machine_expect(index == X86_MSR_GLOBAL_STATUS, "kvm: RDMSR");
	enter(m);
	return the.status;
}

static uint64_t kvm_rdpmc(struct machine *m, uint32_t index)
{
	uint64_t value;

	leave(m, EXIT_ACCESS);
	value = read_counter(index);
	enter(m);
	return value;
}

static void kvm_set_lvtpc(struct machine *m, uint32_t value)
{
	leave(m, EXIT_LVTPC);
	m->lvtpc = value;
	enter(m);
}

static void kvm_execute(struct machine *m, const struct work *w)
{
	struct work rest = *w;

	while (rest.units) {
		if (!bench_source_execute(&the.source, &rest))
			continue;
		leave(m, EXIT_OVERFLOW);
		enter(m);
	}
}

static void kvm_ordinary_exit(struct machine *m)
{
	leave(m, EXIT_ORDINARY);
	enter(m);
}

static void kvm_end(struct machine *m)
{
	(void)m;
	for (unsigned int i = 0; i < GP; i++)
		release(i);
}

#define OPS \
	.wrmsr = kvm_wrmsr, \
	.rdmsr = kvm_rdmsr, \
	.rdpmc = kvm_rdpmc, \
	.set_lvtpc = kvm_set_lvtpc, \
	.execute = kvm_execute, \
	.ordinary_exit = kvm_ordinary_exit, \
	.end = kvm_end

static const struct machine_ops naive_ops = { OPS, .name = "naive" };
static const struct machine_ops reuse_ops = { OPS, .name = "reuse" };

static struct machine *init(const struct machine_ops *ops, bool reuse, bool cheap)
{
	the = (struct kvm){ .machine = { .ops = ops, .lvtpc = X86_LVTPC_MASKED }, .reuse = reuse };
	the.global = 0xFF;
	bench_source_init(&the.source, &the.machine.tally, cheap);
	the.source.overflow = overflow;
	return &the.machine;
}

struct machine *machine_naive(bool cheap)
{
	return init(&naive_ops, false, cheap);
}

struct machine *machine_reuse(bool cheap)
{
	return init(&reuse_ops, true, cheap);
}
