/* SPDX-License-Identifier: MIT */
/*
 * sources/time: its arithmetic (M74), and its timers over a clock and a kernel in software: early
 * and late ones, halted guests, calls that fail; then real timers, and a guest that samples by
 * them.
 */
#include "support.h"
#include "time_source.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vpmu/x86.h>

/* ---- Arithmetic ---- */

static void test_arithmetic(void **state)
{
	(void)state;
	assert_true(vpmu_time_cycles(1000, 3000000) == 3000);
	assert_true(vpmu_time_cycles(999999, 1) == 0);
	assert_true(vpmu_time_cycles(UINT64_MAX, 1000000) == UINT64_MAX);
	assert_true(vpmu_time_cycles(UINT64_MAX, 3000000) == UINT64_MAX);
	assert_true(vpmu_time_cycles(BIT(63), 1999999) < UINT64_MAX);
	assert_true(vpmu_time_cycles(BIT(63), 2000001) == UINT64_MAX);
	assert_true(vpmu_time_cycles(5, UINT64_MAX) == UINT64_MAX);
	assert_true(vpmu_time_cycles(5, 0) == 0);
	assert_true(vpmu_time_nanoseconds(3000, 3000000) == 1000);
	assert_true(vpmu_time_nanoseconds(1, 3000000) == 1);
	assert_true(vpmu_time_nanoseconds(0, 3000000) == 0);
	assert_true(vpmu_time_nanoseconds(UINT64_MAX, 1) == UINT64_MAX);
	assert_true(vpmu_time_nanoseconds(UINT64_MAX, 1000000) == UINT64_MAX);
	assert_true(vpmu_time_nanoseconds(1, 0) == UINT64_MAX);
}

/* The first moment at which so many cycles are complete, no other. */
static void test_rounding(void **state)
{
	struct rng rng = { 99 };

	(void)state;
	for (unsigned int i = 0; i < 100000; i++) {
		uint64_t khz = 1 + rng_below(&rng, 6000000);
		uint64_t cycles = 1 + rng_below(&rng, BIT(50));
		uint64_t ns = vpmu_time_nanoseconds(cycles, khz);

		if (ns == UINT64_MAX)
			continue;
		assert_true(vpmu_time_cycles(ns, khz) >= cycles);
		assert_true(vpmu_time_cycles(ns - 1, khz) < cycles);
	}
}

/* ---- A clock and timers in software ---- */

#define KHZ 2000000u             /* two cycles a nanosecond */
#define TSC_KHZ 500000u

struct timer {
	bool exists;
	uint64_t left;               /* 0: not set */
};

static struct kernel {
	struct vpmu_time_system system;
	struct timer timer[VPMU_COUNTER_MAX];
	uint64_t clock;              /* of the guest */
	uint64_t calls;
	uint64_t fail_at;
	unsigned int creates, destroys;
} kernel;

static struct timer *timer_of(timer_t timer)
{
	struct timer *t = timer;

	assert_true(t->exists);
	return t;
}

static bool fails(void)
{
	return ++kernel.calls == kernel.fail_at;
}

static int fake_create(struct vpmu_time_system *sys, int signal, pid_t tid, unsigned int slot,
		       timer_t *timer)
{
	(void)sys;
	assert_int_equal(signal, SIGRTMIN + 4);
	assert_int_equal(tid, gettid());
	if (fails())
		return -EAGAIN;
	assert_false(kernel.timer[slot].exists);
	kernel.timer[slot] = (struct timer){ .exists = true };
	kernel.creates++;
	*timer = &kernel.timer[slot];
	return 0;
}

static int fake_set(struct vpmu_time_system *sys, timer_t timer, uint64_t nanoseconds)
{
	(void)sys;
	if (fails())
		return -EINVAL;
	assert_true(nanoseconds / 1000000000u <= INT32_MAX * 4ull);
	timer_of(timer)->left = nanoseconds;
	return 0;
}

static void fake_destroy(struct vpmu_time_system *sys, timer_t timer)
{
	(void)sys;
	timer_of(timer)->exists = false;
	kernel.destroys++;
}

static uint64_t fake_clock(void *context)
{
	(void)context;
	return kernel.clock;
}

static struct vpmu_emulated emulated;
static struct vpmu_vcpu vcpu;
static struct vpmu_time_source source;
static const struct vpmu_source_ops *ops;
static unsigned int kicks;

static void kick(void *context)
{
	(void)context;
	kicks++;
}

static struct vpmu_time_config fake_config(void)
{
	return (struct vpmu_time_config){
		.system = &kernel.system, .clock = fake_clock, .kick = kick, .core_khz = KHZ,
		.reference_khz = TSC_KHZ, .signal = SIGRTMIN + 4,
	};
}

static void init(const struct vpmu_time_config *config)
{
	vcpu.emulated = &emulated;
	atomic_store(&emulated.hints, 0);
	atomic_store(&vcpu.in_guest, false);
	kicks = 0;
	vpmu_time_source_init(&source, &vcpu, config);
	ops = source.source.ops;
	assert_int_equal(ops->size, sizeof(*ops));
	assert_true(source.source.cheap_reads);
}

static int fresh(void **state)
{
	struct vpmu_time_config config;

	(void)state;
	kernel = (struct kernel){
		.system = { .create = fake_create, .set = fake_set, .destroy = fake_destroy },
	};
	config = fake_config();
	init(&config);
	return 0;
}

static int ended(void **state)
{
	(void)state;
	vpmu_time_source_fini(&source);
	return kernel.creates == kernel.destroys ? 0 : -1;
}

/* Real time passes, and the guest has (part) of it. */
static void pass(uint64_t real, uint64_t part)
{
	kernel.clock += part;
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		struct timer *t = &kernel.timer[i];
		bool fires = t->left && t->left <= real;

		t->left = fires || !t->left ? 0 : t->left - real;
		if (fires)
			vpmu_time_source_overflow(&source, i);
	}
}

static uint64_t hints(void)
{
	return atomic_exchange(&emulated.hints, 0);
}

static struct vpmu_source *src(void)
{
	return &source.source;
}

static struct vpmu_event cycles(uint64_t period)
{
	return (struct vpmu_event){ .meaning = VPMU_MEANS_CYCLES, .user = true, .kernel = true,
				    .period = period };
}

static uint64_t value_of(unsigned int slot)
{
	return ops->read(src(), slot).value;
}

static void test_supports(void **state)
{
	struct vpmu_time_config config = fake_config();
	struct vpmu_event e = cycles(0);

	(void)state;
	for (unsigned int i = 0; i < VPMU_MEANINGS; i++) {
		e.meaning = (enum vpmu_event_meaning)i;
		assert_int_equal(ops->supports(src(), &e), i == VPMU_MEANS_CYCLES ||
				 i == VPMU_MEANS_REFERENCE_CYCLES);
	}
	e = cycles(0);
	e.kernel = false;
	assert_false(ops->supports(src(), &e));
	config.any_ring = true;
	config.reference_khz = 0;
	init(&config);
	assert_true(ops->supports(src(), &e));
	e.meaning = VPMU_MEANS_REFERENCE_CYCLES;
	assert_false(ops->supports(src(), &e));
}

static void test_counting(void **state)
{
	struct vpmu_event e = cycles(0), reference = cycles(0);
	struct vpmu_count c;

	(void)state;
	reference.meaning = VPMU_MEANS_REFERENCE_CYCLES;
	kernel.clock = BIT(63) - 5;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_int_equal(ops->create(src(), 1, &reference), 0);
	pass(1000, 100);
	c = ops->read(src(), 0);
	assert_true(c.value == 200 && c.enabled == 100 && c.running == 100);
	assert_true(value_of(1) == 50);
	ops->stop(src(), 0);
	pass(1000, 1000);
	assert_true(value_of(0) == 200 && value_of(1) == 550);
	assert_int_equal(ops->start(src(), 0), 0);
	pass(1, 1);
	assert_true(value_of(0) == 202);
	/* No calls so far, and the clock does not take anything back. */
	assert_true(kernel.calls == 0 && src()->calls == 0);
	kernel.clock = 0;
	assert_true(value_of(0) == 200);
	ops->release(src(), 0);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_true(value_of(0) == 0);
}

/* Odd frequencies: what stops cut off is not lost. */
static void test_no_drift(void **state)
{
	struct vpmu_time_config config = fake_config();
	struct vpmu_event e = cycles(0);

	(void)state;
	config.core_khz = 333333;
	init(&config);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	for (unsigned int i = 0; i < 30000; i++) {
		pass(1, 1);
		ops->stop(src(), 0);
		assert_int_equal(ops->start(src(), 0), 0);
	}
	assert_true(value_of(0) == vpmu_time_cycles(30000, 333333));
}

static void test_overflow(void **state)
{
	struct vpmu_event e = cycles(2000);

	(void)state;
	assert_int_equal(ops->create(src(), 7, &e), 0);
	assert_true(kernel.timer[7].left == 1000);
	pass(999, 999);
	assert_true(hints() == 0);
	pass(1, 1);
	assert_true(hints() == BIT(7) && kicks == 0 && value_of(7) == 2000);
	/* The guest had a part of the time: what is left comes again, and kicks it. */
	assert_int_equal(ops->period(src(), 7, 4000), 0);
	atomic_store(&vcpu.in_guest, true);
	pass(2000, 500);
	assert_true(hints() == BIT(7) && kicks == 1 && value_of(7) == 3000);
	assert_int_equal(ops->period(src(), 7, 3000), 0);
	assert_true(kernel.timer[7].left == 1500);
	/* No hint; stopped and continued. */
	assert_int_equal(ops->period(src(), 7, 0), 0);
	assert_true(kernel.timer[7].left == 0);
	assert_int_equal(ops->period(src(), 7, 2000), 0);
	pass(400, 400);
	ops->stop(src(), 7);
	assert_true(kernel.timer[7].left == 0);
	pass(5000, 5000);
	assert_int_equal(ops->start(src(), 7), 0);
	assert_true(kernel.timer[7].left == 600);
	ops->release(src(), 7);
	assert_true(kernel.timer[7].left == 0);
	/* A signal that was on its way. */
	vpmu_time_source_overflow(&source, 7);
	vpmu_time_source_overflow(&source, 4711);
	assert_true(hints() == 0);
}

/* Far away is far away, not in the past (M74); and 1 is not never. */
static void test_extreme_periods(void **state)
{
	static const uint64_t periods[] = {
		1, 2, BIT(47), BIT(48), BIT(63), UINT64_MAX - 1, UINT64_MAX,
	};
	struct vpmu_event e = cycles(0);

	(void)state;
	kernel.clock = BIT(63) - 1;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(periods); i++) {
		pass(11, 11);
		assert_int_equal(ops->period(src(), 0, periods[i]), 0);
		assert_true(kernel.timer[0].left >= 1);
		assert_true(kernel.timer[0].left >= periods[i] / 2 ||
			    kernel.timer[0].left == BIT(60));
		pass(1, 0);
		assert_true((hints() == 1) == (periods[i] <= 2));
	}
	/* Overdue: at once. */
	assert_int_equal(ops->period(src(), 0, 100), 0);
	pass(1, 60);
	ops->stop(src(), 0);
	assert_int_equal(ops->start(src(), 0), 0);
	assert_true(kernel.timer[0].left == 1);
}

/* A halted guest is left alone ever more; one that runs is on time again. */
static void test_halted(void **state)
{
	struct vpmu_event e = cycles(500000);
	uint64_t wakeups = 0, real = 0;

	(void)state;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	while (real < 1000000000) {
		uint64_t left = kernel.timer[0].left;

		assert_true(left <= VPMU_TIME_LATE);
		real += left;
		pass(left, 10);
		assert_true(hints() == 1);
		assert_int_equal(ops->period(src(), 0, 500000 - value_of(0) % 500000), 0);
		wakeups++;
	}
	assert_in_range(wakeups, 250, 260);
	pass(VPMU_TIME_LATE, VPMU_TIME_LATE);
	assert_int_equal(ops->period(src(), 0, 500000), 0);
	assert_true(kernel.timer[0].left == 250000);
}

/* On a busy host the guest gets little, but not nothing. */
static void test_busy_host(void **state)
{
	struct vpmu_event e = cycles(500000);

	(void)state;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t left = kernel.timer[0].left;

		assert_true(left <= 250000);
		pass(left, left / 8);
		assert_true(hints() == 1);
		assert_int_equal(ops->period(src(), 0, 500000), 0);
	}
}

static void test_move(void **state)
{
	struct vpmu_event e = cycles(2000);
	uint64_t calls;

	(void)state;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	pass(100, 100);
	ops->stop(src(), 0);
	calls = kernel.calls;
	ops->move(src(), 0, 50);
	assert_true(kernel.calls == calls);
	assert_true(value_of(50) == 200);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	ops->stop(src(), 0);
	assert_int_equal(ops->start(src(), 50), 0);
	assert_true(kernel.timer[0].left == 0 && kernel.timer[50].left == 900);
	pass(900, 900);
	assert_true(hints() == BIT(50));
}

/* Timers stay: after warm-up nothing is created. */
static void test_timers_are_kept(void **state)
{
	struct vpmu_event e = cycles(2000);

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(ops->create(src(), i % 4, &e), 0);
		ops->release(src(), i % 4);
	}
	assert_int_equal(kernel.creates, 4);
}

static void test_failing_calls(void **state)
{
	struct vpmu_event e = cycles(2000), plain = cycles(0);

	(void)state;
	/* No timer; no setting. */
	for (unsigned int n = 1; n <= 2; n++) {
		kernel.fail_at = kernel.calls + n;
		assert_int_equal(ops->create(src(), 0, &e), -1);
		assert_false(source.event[0].exists);
	}
	assert_int_equal(ops->create(src(), 0, &e), 0);
	pass(100, 100);
	kernel.fail_at = kernel.calls + 1;
	assert_int_equal(ops->period(src(), 0, 9000), -1);
	/* The one before still holds. */
	pass(900, 900);
	assert_true(hints() == 1);
	assert_int_equal(ops->period(src(), 0, 9000), 0);
	ops->stop(src(), 0);
	kernel.fail_at = kernel.calls + 1;
	assert_int_equal(ops->start(src(), 0), -1);
	pass(100, 100);
	assert_true(value_of(0) == 2000);
	assert_int_equal(ops->start(src(), 0), 0);
	assert_true(kernel.timer[0].left == 4500);
	/* Without a signal: counts, but no period. */
	source.config.signal = 0;
	assert_int_equal(ops->create(src(), 1, &plain), 0);
	assert_int_equal(ops->period(src(), 1, 10), -1);
}

/* ---- What a guest is offered (RULES D3) ---- */

static void test_guest_models(void **state)
{
	struct vpmu_x86_model intel = {
		.size = sizeof(intel), .vendor = VPMU_X86_INTEL, .version = 2, .gp = 4,
		.gp_width = 48, .fixed = 3, .fixed_width = 48, .events_length = 7,
	};
	struct vpmu_x86_model amd = {
		.size = sizeof(amd), .vendor = VPMU_X86_AMD, .version = 1, .gp = 4, .gp_width = 48,
	};

	(void)state;
	assert_int_equal(vpmu_x86_model_limit(&intel, src(), NULL), 0);
	assert_int_equal(intel.events_missing, 0x7F & ~(BIT(VPMU_X86_CYCLES) |
							BIT(VPMU_X86_REFERENCE_CYCLES)));
	/* Fixed counter 0 is instructions: without it there are none. */
	assert_int_equal(intel.fixed, 0);
	assert_int_equal(vpmu_x86_model_limit(&amd, src(), NULL), VPMU_ERR_UNSUPPORTED);
}

/* ---- Real timers, and a guest that samples in a thread's time ---- */

static struct vpmu_time_system linux_system;

static uint64_t thread_time(void *context)
{
	struct timespec t;

	(void)context;
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The guest's part of it: stands still between exit and enter. */
static uint64_t guest_ran, guest_entered;

static uint64_t guest_time(void *context)
{
	return guest_ran + (guest_entered ? thread_time(context) - guest_entered : 0);
}

static struct vpmu_time_config real_config(void)
{
	struct vpmu_time_config config = fake_config();

	linux_system = vpmu_time_linux;
	config.system = &linux_system;
	config.clock = guest_time;
	assert_int_equal(vpmu_time_signal_init(config.signal), 0);
	return config;
}

static pthread_t vcpu_of_guest;
static unsigned int elsewhere;

static void kick_of_thread(void *context)
{
	kick(context);
	elsewhere += !pthread_equal(pthread_self(), vcpu_of_guest);
}

/* An Arm guest samples its cycles: (n) overflows of (period) cycles, each found by a kick. */
static void sample(struct vpmu_vcpu *v, unsigned int n, uint64_t period)
{
	for (unsigned int i = 0; i < n; i++) {
		guest_write(v, MODEL_PMCCNTR, (uint64_t)0 - period);
		guest_write(v, MODEL_PMOVSCLR, CYCLE_BIT);
		while (!vpmu_vcpu_interrupt(v)) {
			kicks = 0;
			while (vpmu_vcpu_enter(v, 0) == VPMU_AGAIN)
				;
			guest_entered = thread_time(NULL);
			while (!*(volatile unsigned int *)&kicks)
				;
			guest_ran = guest_time(NULL);
			guest_entered = 0;
			assert_int_equal(vpmu_vcpu_exit(v, 0), 0);
		}
	}
}

static void *guest_thread(void *argument)
{
	static struct lone_guest g;
	struct vpmu_time_config config = real_config();
	const struct vpmu_vm_config vm = { .size = sizeof(vm), .mode = VPMU_MODE_EMULATED };
	uint64_t begin;

	(void)argument;
	vcpu_of_guest = pthread_self();
	config.kick = kick_of_thread;
	lone_guest_init(&g, VPMU_ARM_V3P5, 4, NULL);
	assert_int_equal(vpmu_arm_vm_init(&g.vm, &g.machine, &g.model, &vm), 0);
	vpmu_vcpu_init(&g.v, &g.vm);
	emulated = (struct vpmu_emulated){ 0 };
	vpmu_time_source_init(&source, &g.v, &config);
	vpmu_time_signal_target(&source);
	assert_int_equal(vpmu_vcpu_attach(&g.v, &emulated, &source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&g.v, NULL), 0);
	guest_write(&g.v, MODEL_PMINTENSET, CYCLE_BIT);
	guest_write(&g.v, MODEL_PMCNTENSET, CYCLE_BIT);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	begin = guest_time(NULL);
	/* 100 times half a millisecond. */
	sample(&g.v, 100, 1000000);
	begin = guest_time(NULL) - begin;
	print_message("100 overflows of 0.5 ms in %.1f ms of guest time\n", (double)begin / 1e6);
	/* Never early; how late is the machine's business. */
	assert_true(begin >= 50000000);
	assert_int_equal(vpmu_vcpu_put(&g.v), 0);
	vpmu_time_source_fini(&source);
	vpmu_time_signal_target(NULL);
	return NULL;
}

static void test_real_sampling(void **state)
{
	pthread_t thread;

	(void)state;
	elsewhere = 0;
	assert_int_equal(pthread_create(&thread, NULL, guest_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(elsewhere, 0);
}

/* No more timers: the kernel says so, and nothing breaks. */
static void test_real_refusal(void **state)
{
	struct vpmu_time_config config = real_config();
	struct vpmu_event e = cycles(BIT(62));
	struct rlimit old, none;

	(void)state;
	init(&config);
	vpmu_time_signal_target(&source);
	assert_int_equal(getrlimit(RLIMIT_SIGPENDING, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &none), 0);
	assert_int_equal(ops->create(src(), 0, &e), -1);
	assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &old), 0);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	/* Somebody else's signal of that number is not a timer. */
	assert_int_equal(raise(config.signal), 0);
	assert_true(hints() == 0);
	ops->release(src(), 0);
	vpmu_time_source_fini(&source);
	vpmu_time_signal_target(NULL);
}

#define FAKE(f) cmocka_unit_test_setup_teardown(f, fresh, ended)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_rounding),
		FAKE(test_supports),
		FAKE(test_counting),
		FAKE(test_no_drift),
		FAKE(test_overflow),
		FAKE(test_extreme_periods),
		FAKE(test_halted),
		FAKE(test_busy_host),
		FAKE(test_move),
		FAKE(test_timers_are_kept),
		FAKE(test_failing_calls),
		FAKE(test_guest_models),
		cmocka_unit_test(test_real_sampling),
		cmocka_unit_test(test_real_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
