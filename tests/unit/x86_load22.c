/* SPDX-License-Identifier: MIT */
/*
 * The load of mail thread 4: one `perf record` of all these events in a guest. Nine are pinned, the
 * others take turns on the two counters that are left. In KVM that created and released events all
 * the time, and an exit could inject two NMIs, one for a counter and one for an instruction that
 * the host had emulated.
 *
 * The guest here does what Linux does at a PMI and at a rotation. It has a register file of its
 * own, counted by brute force, that says what it must see and when it must be interrupted.
 */
#include "cmocka_vpmu.h"
#include "script_source.h"
#include "x86_cpu.h"

/* ---- The load; periods are a thousandth of the mail's ---- */

struct event {
	uint64_t selector;
	enum vpmu_event_meaning meaning;
	uint32_t period;
	uint32_t rate;               /* per 1000 cycles */
	bool pinned;
};

#define CMASK(n) X86_SEL_CMASK(n)

static const struct event load[] = {
	{ 0x003C, VPMU_MEANS_CYCLES, 13500, 1000, true },
	{ 0x013C, VPMU_MEANS_REFERENCE_CYCLES, 13500, 800, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x00C0, VPMU_MEANS_INSTRUCTIONS, 13500, 900, true },
	{ 0x02EC, VPMU_MEANS_RAW, 13500, 970, false },
	{ 0x003C, VPMU_MEANS_CYCLES, 10000, 1000, false },
	{ 0x21A6 | CMASK(5), VPMU_MEANS_RAW, 10000, 310, false },
	{ 0x019C, VPMU_MEANS_RAW, 5000, 420, false },
	{ 0x10AD, VPMU_MEANS_RAW, 5000, 30, false },
	{ 0x0547 | CMASK(5), VPMU_MEANS_RAW, 5000, 110, false },
	{ 0x40D1, VPMU_MEANS_RAW, 500, 20, false },
	{ 0x08D1, VPMU_MEANS_RAW, 1000, 50, false },
	{ 0x0820 | CMASK(4), VPMU_MEANS_RAW, 5000, 230, false },
	{ 0x02A4, VPMU_MEANS_RAW, 50000, 990, false },
	{ 0x10A4, VPMU_MEANS_RAW, 50000, 690, false },
	{ 0x02C2, VPMU_MEANS_RAW, 10000, 880, false },
	{ 0x82D0, VPMU_MEANS_RAW, 500, 170, false },
	{ 0x81D0, VPMU_MEANS_RAW, 500, 260, false },
};

#define EVENTS ARRAY_SIZE(load)
#define PINNED 9u
#define FLEXIBLE (EVENTS - PINNED)

/*
 * The guest's counters, dense: 8 general-purpose, then 3 fixed, which the first three events get.
 */
#define GP 8u
#define COUNTERS 11u
#define ALL_COUNTERS 0x7000000FFull
#define WIDTH_MASK (BIT(48) - 1)
#define NOBODY EVENTS

static uint64_t bit_of(unsigned int c)
{
	return BIT(c < GP ? c : X86_PMU_FIXED + c - GP);
}

/* ---- The world ---- */

enum mode { CHEAP_READS, DEAR_READS, MEDIATED };

struct counted {
	uint64_t left;
	uint64_t last;
	uint64_t count;
	uint64_t samples;
	/* By brute force. */
	uint64_t happened;
	uint64_t overflows;
};

static struct world {
	enum mode mode;
	struct vpmu_machine machine;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_emulated emulated;
	struct vpmu_script_source source;
	struct x86_cpu cpu;
	struct vpmu_cpu owner;
	uint64_t random;
	uint32_t lvtpc;
	bool nmi;
	unsigned int pmis_in_exit;
	uint64_t calls;              /* of the source, before this exit */
	uint64_t most_calls;         /* in one exit */
	uint64_t exits, pmis, residencies, rdpmc_exits;
	/* The guest. */
	struct counted event[EVENTS];
	unsigned int on[COUNTERS];
	unsigned int turn;
	/* What its registers hold. */
	uint64_t value[COUNTERS];
	uint64_t enabled;
	uint64_t global;
	uint64_t status;
	bool overflowed;
} w;

static uint64_t random_below(uint64_t n)
{
	w.random ^= w.random >> 12;
	w.random ^= w.random << 25;
	w.random ^= w.random >> 27;
	return (w.random * UINT64_C(0x2545F4914F6CDD1D) >> 16) % n;
}

/* The software CPU has at most one event of a kind in a cycle: a higher CMASK would never count. */
static uint64_t event_bits(unsigned int e)
{
	return w.mode == MEDIATED ? load[e].selector & 0xFFFF : load[e].selector;
}

/* ---- Brute force ---- */

static void add(unsigned int c, uint64_t n)
{
	struct counted *e = &w.event[w.on[c]];
	uint64_t sum = w.value[c] + n;

	if (!(w.enabled & w.global & bit_of(c)))
		return;
	e->happened += n;
	w.value[c] = sum & WIDTH_MASK;
	if (sum == w.value[c])
		return;
	e->overflows++;
	w.status |= bit_of(c);
	w.overflowed = true;
}

static void brute_force(uint64_t cycles)
{
	for (unsigned int c = 0; c < COUNTERS; c++)
		add(c, w.on[c] == NOBODY ? 0 : load[w.on[c]].rate * cycles / 1000);
}

static void brute_force_instruction(void)
{
	for (unsigned int c = 0; c < COUNTERS; c++)
		add(c, w.on[c] != NOBODY && load[w.on[c]].meaning == VPMU_MEANS_INSTRUCTIONS);
}

/* ---- Out of the guest and in again ---- */

/* Mail thread 4: never a second one in the same exit, whoever asks how often. */
static void deliver(void)
{
	if (vpmu_vcpu_pmi(&w.v) != 1)
		return;
	assert_int_equal(++w.pmis_in_exit, 1);
	w.pmis++;
	assert_false(w.lvtpc & X86_LVTPC_MASKED);
	w.lvtpc |= X86_LVTPC_MASKED;
	w.nmi = true;
	assert_int_equal(vpmu_vcpu_lvtpc(&w.v, w.lvtpc), 0);
}

static void leave(void)
{
	w.exits++;
	w.pmis_in_exit = 0;
	w.calls = w.source.source.calls;
	if (w.mode == MEDIATED)
		x86_cpu_exit(&w.cpu);
	assert_int_equal(vpmu_vcpu_exit(&w.v, 0), 0);
	while (x86_pmu_take_interrupt(&w.cpu.pmu) != X86_PMU_NO_INTERRUPT)
		(void)vpmu_cpu_pmi(&w.owner);
}

static void enter(void)
{
	uint64_t calls;

	do
		deliver();
	while (vpmu_vcpu_enter(&w.v, 0) == VPMU_AGAIN);
	if (w.mode == MEDIATED)
		x86_cpu_enter(&w.cpu);
	calls = w.source.source.calls - w.calls;
	w.most_calls = calls > w.most_calls ? calls : w.most_calls;
}

/* A PMI comes when a counter overflowed and LVTPC was not (masked), and only then. */
static void check_pmi(bool masked, uint64_t pmis)
{
	if (w.pmis - pmis != (w.overflowed && !masked))
		fail_msg("exit %llu: a PMI that may not be, or none", (unsigned long long)w.exits);
	w.overflowed = false;
}

static bool is_masked(void)
{
	return w.lvtpc & X86_LVTPC_MASKED;
}

/* The host executed one instruction of the guest's, before it enters. */
static void emulated_instruction(void)
{
	assert_int_equal(vpmu_count(&w.v, VPMU_EVENT_INSTRUCTIONS, false, 1), 0);
	brute_force_instruction();
}

static void direct_instruction(void)
{
	const struct x86_pmu_events one = { .instructions = 1 };

	x86_pmu_retire(&w.cpu.pmu, false, &one);
	brute_force_instruction();
	if (x86_pmu_interrupt(&w.cpu.pmu) == X86_PMU_NO_INTERRUPT)
		return;
	leave();
	enter();
}

/* ---- The guest's accesses ---- */

static void wrmsr(uint32_t index, uint64_t value, void (*effect)(uint64_t value))
{
	const uint64_t pmis = w.pmis;
	const bool masked = is_masked();

	if (w.mode == MEDIATED && vpmu_x86_is_direct(&w.v, index, true)) {
		assert_true(x86_pmu_wrmsr(&w.cpu.pmu, index, value));
		effect(value);
		direct_instruction();
	} else {
		leave();
		assert_int_equal(vpmu_x86_wrmsr(&w.v, index, value), VPMU_HANDLED);
		effect(value);
		emulated_instruction();
		enter();
	}
	check_pmi(masked, pmis);
}

static uint64_t rdmsr(uint32_t index)
{
	const uint64_t pmis = w.pmis;
	const bool masked = is_masked();
	uint64_t value = 0;

	if (w.mode == MEDIATED && vpmu_x86_is_direct(&w.v, index, false)) {
		assert_true(x86_pmu_rdmsr(&w.cpu.pmu, index, &value));
		direct_instruction();
	} else {
		leave();
		assert_int_equal(vpmu_x86_rdmsr(&w.v, index, &value), VPMU_HANDLED);
		emulated_instruction();
		enter();
	}
	check_pmi(masked, pmis);
	return value;
}

static uint64_t rdpmc(unsigned int c)
{
	struct vpmu_x86_rdpmc r = {
		.index = c < GP ? c : 0x40000000 | (c - GP), .protected_mode = true,
	};
	const uint64_t pmis = w.pmis;
	const bool masked = is_masked();

	if (w.mode == MEDIATED && vpmu_x86_rdpmc_is_direct(&w.v)) {
		assert_true(x86_pmu_rdpmc(&w.cpu.pmu, r.index, 0, false, true, &r.value));
		direct_instruction();
	} else {
		w.rdpmc_exits++;
		leave();
		assert_int_equal(vpmu_x86_rdpmc(&w.v, &r), VPMU_HANDLED);
		emulated_instruction();
		enter();
	}
	check_pmi(masked, pmis);
	return r.value;
}

static void unmask_lvtpc(void)
{
	leave();
	w.lvtpc = X86_LVTPC_NMI;
	assert_int_equal(vpmu_vcpu_lvtpc(&w.v, w.lvtpc), 0);
	enter();
}

static void set_global(uint64_t value)
{
	w.global = value;
}

static void clear_status(uint64_t value)
{
	w.status &= ~value;
}

/* Selectors and values: of this counter. */
static unsigned int current;

static void set_enable(uint64_t value)
{
	w.enabled = value & X86_SEL_EN ? w.enabled | bit_of(current) : w.enabled & ~bit_of(current);
}

static void set_value(uint64_t value)
{
	w.value[current] = value;
}

static void set_fixed_enables(uint64_t value)
{
	for (current = GP; current < COUNTERS; current++)
		set_enable(value >> 4 * (current - GP) & 3 ? X86_SEL_EN : 0);
}

/* ---- The guest's perf ---- */

static void update(unsigned int c)
{
	struct counted *e = &w.event[w.on[c]];
	uint64_t expected = w.value[c];
	uint64_t now = rdpmc(c);
	uint64_t delta = (now - e->last) & WIDTH_MASK;

	assert_int_equal(now, expected);
	e->last = now;
	e->count += delta;
	e->left -= delta;
}

static void set_period(unsigned int c)
{
	struct counted *e = &w.event[w.on[c]];

	while ((int64_t)e->left <= 0)
		e->left += load[w.on[c]].period;
	e->last = (0 - e->left) & WIDTH_MASK;
	current = c;
	wrmsr(c < GP ? X86_MSR_PMC(c) : X86_MSR_FIXED_CTR(c - GP), e->last, set_value);
}

static void select_event(unsigned int c, bool on)
{
	uint64_t selector = event_bits(w.on[c]) | X86_SEL_USR | X86_SEL_OS | X86_SEL_INT;

	current = c;
	wrmsr(X86_MSR_PERFEVTSEL(c), on ? selector | X86_SEL_EN : selector, set_enable);
}

static void handle_overflows(uint64_t status)
{
	wrmsr(X86_MSR_STATUS_RESET, status, clear_status);
	for (unsigned int c = 0; c < COUNTERS; c++) {
		if (!(status & bit_of(c)))
			continue;
		w.event[w.on[c]].samples++;
		update(c);
		set_period(c);
	}
}

static void handle_all(void)
{
	uint64_t expected, status;

	wrmsr(X86_MSR_GLOBAL_CTRL, 0, set_global);
	do {
		expected = w.status;
		status = rdmsr(X86_MSR_GLOBAL_STATUS);
		assert_int_equal(status, expected);
		if (status)
			handle_overflows(status);
	} while (status);
	wrmsr(X86_MSR_GLOBAL_CTRL, ALL_COUNTERS, set_global);
}

/* That last WRMSR is an instruction too: its overflow, while LVTPC was masked, sent nothing. */
static void nmi(void)
{
	w.nmi = false;
	do {
		handle_all();
		unmask_lvtpc();
	} while (!w.nmi && rdmsr(X86_MSR_GLOBAL_STATUS));
}

static void nmis(void)
{
	while (w.nmi)
		nmi();
}

static void stop_all(void)
{
	do {
		wrmsr(X86_MSR_GLOBAL_CTRL, 0, set_global);
		nmis();
	} while (w.global);
}

static void take_turns(void)
{
	w.turn = (w.turn + 1) % FLEXIBLE;
	for (unsigned int c = GP - 2; c < GP; c++) {
		w.on[c] = PINNED + (w.turn + c) % FLEXIBLE;
		set_period(c);
		select_event(c, true);
	}
}

static void rotate(void)
{
	stop_all();
	for (unsigned int c = GP - 2; c < GP; c++) {
		select_event(c, false);
		update(c);
	}
	take_turns();
	wrmsr(X86_MSR_GLOBAL_CTRL, ALL_COUNTERS, set_global);
	nmis();
}

/* ---- What else happens ---- */

static bool run_source(bool user, uint64_t cycles)
{
	struct vpmu_script_raw raw[EVENTS];
	struct vpmu_script_burst burst = {
		.user = user, .raw = raw, .raw_count = EVENTS, .nanoseconds = cycles,
	};

	for (unsigned int e = 0; e < EVENTS; e++) {
		burst.amount[load[e].meaning] = load[e].rate * cycles / 1000;
		raw[e] = (struct vpmu_script_raw){ load[e].selector, load[e].rate * cycles / 1000 };
	}
	return vpmu_script_source_run(&w.source, &burst);
}

static bool run_hardware(bool user, uint64_t cycles)
{
	struct x86_pmu_raw raw[EVENTS];
	struct x86_pmu_events events = { .raw = raw };

	for (unsigned int e = 0; e < EVENTS; e++) {
		uint64_t n = load[e].rate * cycles / 1000;

		if (load[e].meaning == VPMU_MEANS_RAW)
			raw[events.raw_count++] = (struct x86_pmu_raw){
				load[e].selector & 0xFF, (uint8_t)(load[e].selector >> 8), n };
		else if (load[e].meaning == VPMU_MEANS_INSTRUCTIONS)
			events.instructions = n;
		else if (load[e].meaning == VPMU_MEANS_CYCLES)
			events.cycles = n;
		else
			events.reference_cycles = n;
	}
	x86_pmu_retire(&w.cpu.pmu, user, &events);
	return x86_pmu_interrupt(&w.cpu.pmu) != X86_PMU_NO_INTERRUPT;
}

/* The exit for an overflow may be one for an instruction that is emulated at the same time. */
static void execute(void)
{
	const uint64_t pmis = w.pmis;
	const bool masked = is_masked();
	const bool user = random_below(2);
	uint64_t cycles = 1000 * (1 + random_below(3));
	bool kick = w.mode == MEDIATED ? run_hardware(user, cycles) : run_source(user, cycles);

	brute_force(cycles);
	if (kick) {
		leave();
		if (random_below(2))
			deliver();
		if (random_below(2))
			emulated_instruction();
		enter();
	}
	check_pmi(masked, pmis);
	nmis();
}

static void other_exit(void)
{
	const uint64_t pmis = w.pmis;
	const bool masked = is_masked();

	leave();
	if (random_below(2))
		emulated_instruction();
	if (random_below(8) == 0) {
		assert_int_equal(vpmu_vcpu_put(&w.v), 0);
		assert_int_equal(vpmu_vcpu_load(&w.v, w.mode == MEDIATED ? &w.owner : NULL), 0);
		w.residencies++;
	}
	enter();
	check_pmi(masked, pmis);
	nmis();
}

/* ---- Beginning and end ---- */

static void make_vm(void)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = VPMU_MODE_MEDIATED };
	struct x86_pmu_config physical;

	x86_cpu_class_config(X86_CPU_SKYLAKE, &physical);
	x86_cpu_model(&physical, &w.model);
	assert_int_equal(x86_cpu_init(&w.cpu, &physical, true), 0);
	vpmu_machine_init(&w.machine);
	vpmu_machine_add(&w.machine, &w.cpu.x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&w.owner, 0, &w.cpu.x86.hw), 0);
	if (w.mode != MEDIATED)
		config.mode = VPMU_MODE_EMULATED;
	assert_int_equal(vpmu_x86_vm_init(&w.vm, &w.machine, &w.model, &config), 0);
	vpmu_vcpu_init(&w.v, &w.vm);
	if (w.mode == MEDIATED)
		return;
	vpmu_script_source_init(&w.source, &w.v, w.mode == CHEAP_READS);
	assert_int_equal(vpmu_vcpu_attach(&w.v, &w.emulated, &w.source.source), 0);
}

static void boot(enum mode mode)
{
	w = (struct world){ .mode = mode, .random = 22, .lvtpc = X86_LVTPC_MASKED,
			    .global = BIT(GP) - 1 };
	for (unsigned int c = 0; c < COUNTERS; c++)
		w.on[c] = NOBODY;
	make_vm();
	assert_int_equal(vpmu_vcpu_load(&w.v, mode == MEDIATED ? &w.owner : NULL), 0);
	enter();
}

static void start_perf(void)
{
	wrmsr(X86_MSR_GLOBAL_CTRL, 0, set_global);
	unmask_lvtpc();
	for (unsigned int e = 0; e < EVENTS; e++)
		w.event[e].left = load[e].period;
	/* Cycles, reference cycles and instructions have fixed counters 1, 2 and 0. */
	for (unsigned int e = 0; e < 3; e++) {
		w.on[GP + (e + 1) % 3] = e;
		set_period(GP + (e + 1) % 3);
	}
	for (unsigned int c = 0; c < GP - 2; c++) {
		w.on[c] = 3 + c;
		set_period(c);
		select_event(c, true);
	}
	take_turns();
	wrmsr(X86_MSR_FIXED_CTR_CTRL, 0xBBB, set_fixed_enables);
	wrmsr(X86_MSR_GLOBAL_CTRL, ALL_COUNTERS, set_global);
}

static void live(unsigned int rotations)
{
	for (unsigned int r = 0; r < rotations; r++) {
		for (unsigned int k = 0; k < 20; k++) {
			execute();
			if (random_below(4) == 0)
				other_exit();
		}
		rotate();
	}
}

/* Everything that happened was counted, and each overflow was a sample. */
static void stop_perf(void)
{
	uint64_t samples = 0;

	stop_all();
	assert_int_equal(w.status, 0);
	for (unsigned int c = 0; c < COUNTERS; c++)
		update(c);
	for (unsigned int e = 0; e < EVENTS; e++) {
		assert_int_equal(w.event[e].count, w.event[e].happened);
		assert_int_equal(w.event[e].samples, w.event[e].overflows);
		assert_true(w.event[e].samples > 10);
		samples += w.event[e].samples;
	}
	assert_true(samples > w.pmis);
	leave();
	assert_int_equal(vpmu_vcpu_put(&w.v), 0);
	assert_int_equal(w.source.misuse, 0);
	assert_int_equal(w.cpu.violations, 0);
}

static void load22(enum mode mode)
{
	uint64_t creates, releases;

	boot(mode);
	start_perf();
	live(FLEXIBLE);
	creates = w.source.creates;
	releases = w.source.releases;
	live(60 * FLEXIBLE);
	assert_int_equal(w.source.creates, creates);
	assert_int_equal(w.source.releases, releases);
	assert_true(w.residencies > 100);
	stop_perf();
}

/* As many events as differ, or are there at once; an overflow moves one counter, a toggle none. */
static void emulated_with_cheap_reads(void **state)
{
	(void)state;
	load22(CHEAP_READS);
	assert_int_equal(w.source.creates, EVENTS);
	assert_int_equal(w.source.releases, 0);
	print_message("%llu exits, %llu PMIs, at most %llu source calls in an exit\n",
		      (unsigned long long)w.exits, (unsigned long long)w.pmis,
		      (unsigned long long)w.most_calls);
	assert_true(w.most_calls <= 2 * COUNTERS);
}

/* Each counter is read once, and stopped or started; and each may need a period. */
static void emulated_with_dear_reads(void **state)
{
	(void)state;
	load22(DEAR_READS);
	assert_int_equal(w.source.creates, EVENTS);
	assert_int_equal(w.source.releases, 0);
	print_message("%llu exits, %llu PMIs, at most %llu source calls in an exit\n",
		      (unsigned long long)w.exits, (unsigned long long)w.pmis,
		      (unsigned long long)w.most_calls);
	assert_true(w.most_calls <= 3 * COUNTERS);
}

static void mediated(void **state)
{
	(void)state;
	load22(MEDIATED);
	/*
	 * RDPMC exits once per residency, and where a look found the guest with everything stopped.
	 */
	assert_true(w.rdpmc_exits <= w.residencies + w.exits / 256 + 1);
}

/*
 * RULES A2: RDPMC is direct once the guest was seen to use it, although it never enabled most
 * counters; and what the host left in those is not what it reads.
 */
static void rdpmc_becomes_direct(void **state)
{
	(void)state;
	boot(MEDIATED);
	leave();
	assert_int_equal(vpmu_vcpu_put(&w.v), 0);
	for (unsigned int c = 0; c < COUNTERS; c++) {
		if (c < GP)
			w.cpu.pmu.gp[c] = 0x1234 + c;
		else
			w.cpu.pmu.fixed[c - GP] = 0x1234 + c;
	}
	assert_int_equal(vpmu_vcpu_load(&w.v, &w.owner), 0);
	enter();
	current = 3;
	wrmsr(X86_MSR_PMC(3), 33, set_value);
	current = 0;
	wrmsr(X86_MSR_PERFEVTSEL(0), load[9].selector | X86_SEL_USR | X86_SEL_EN, set_enable);
	for (unsigned int c = 0; c < COUNTERS; c++)
		assert_int_equal(rdpmc(c), c == 3 ? 33 : 0);
	assert_int_equal(w.rdpmc_exits, 1);
	for (unsigned int c = 0; c < COUNTERS; c++)
		assert_int_equal(rdpmc(c), c == 3 ? 33 : 0);
	/* The same after another load, which asks again. */
	leave();
	assert_int_equal(vpmu_vcpu_put(&w.v), 0);
	for (unsigned int c = 0; c < COUNTERS; c++)
		assert_int_equal(c < GP ? w.cpu.pmu.gp[c] : w.cpu.pmu.fixed[c - GP], 0);
	assert_int_equal(vpmu_vcpu_load(&w.v, &w.owner), 0);
	enter();
	for (unsigned int c = 0; c < COUNTERS; c++)
		assert_int_equal(rdpmc(c), c == 3 ? 33 : 0);
	assert_int_equal(w.rdpmc_exits, 2);
	leave();
	assert_int_equal(vpmu_vcpu_put(&w.v), 0);
	assert_int_equal(w.cpu.violations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(emulated_with_cheap_reads),
		cmocka_unit_test(emulated_with_dear_reads),
		cmocka_unit_test(mediated),
		cmocka_unit_test(rdpmc_becomes_direct),
	};

	return cmocka_run_group_tests_name("x86-load22", tests, NULL, NULL);
}
