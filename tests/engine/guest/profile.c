/* SPDX-License-Identifier: MIT */
/*
 * A guest that profiles itself with whatever PMU CPUID describes, Intel or AMD, and prints what it
 * sees. Whoever counts for it, the lines are the same; but a line that begins with ~ has cycles, of
 * which a guest gets none for instructions that a hypervisor executes for it.
 */
#include "pmu.h"

int main(uint32_t *info);

/* RDMSR, WRMSR, RDPMC that may fault. True: #GP. */
static bool rdmsr_faults(uint32_t index, uint64_t *value)
{
	uint32_t low = 0, high = 0;

	last.count = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, recover(%%rip)\n\txor %%eax, %%eax\n\t"
		"rdmsr\n1:" : "=&a"(low), "=&d"(high) : "c"(index) : "memory");
	recover = 0;
	*value = low | (uint64_t)high << 32;
	return last.count;
}

static bool wrmsr_faults(uint32_t index, uint64_t value)
{
	last.count = 0;
	__asm__ volatile("lea 1f(%%rip), %%r8\n\tmov %%r8, recover(%%rip)\n\twrmsr\n1:"
		: : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		: "r8", "memory");
	recover = 0;
	return last.count;
}

static bool rdpmc_faults(uint32_t index, uint64_t *value)
{
	uint32_t low = 0, high = 0;

	last.count = 0;
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, recover(%%rip)\n\trdpmc\n1:"
		: "=&a"(low), "=&d"(high) : "c"(index) : "memory");
	recover = 0;
	*value = low | (uint64_t)high << 32;
	return last.count;
}

static void identify(void)
{
	static const uint32_t leaves[] = { 1, 7, 10, 0x14, 0x1c, 0x23, 0x80000001u, 0x8000001bu,
		0x80000022u };
	uint32_t r[4];

	detect();
	for (unsigned int i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		cpuid(leaves[i], r);
		number("cpuid", leaves[i]);
		/* A guest is told that AnyThread is gone, which a machine says from version 5. */
		if (leaves[i] == 10 && pmu.version < 5)
			r[3] &= ~0x8000u;
		for (unsigned int k = 0; k < 4; k++)
			number("  ", r[k]);
	}
	number("pdcm", pmu.pdcm);
}

/* ---- Windows: from the start to the stop, with a known number of instructions ---- */

#define WINDOW_EXTRA 5 /* the WRMSR that starts, and four of the stop but its WRMSR */
#define WINDOW(msr, value, code) \
	__asm__ volatile("wrmsr\n\tmov %%ecx, %%r8d\n\t" code \
		"\n\tmov %%r8d, %%ecx\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr" \
		: : "c"(msr), "a"((uint32_t)(value)), "d"((uint32_t)((uint64_t)(value) >> 32)) \
		: "rbx", "rsi", "rdi", "r8", "r9", "r10", "memory", "cc")

#define MEASURED(i, config, code) __extension__({ \
	choose(i, config); \
	set_counter(i, 0); \
	WINDOW(switch_msr(1ull << (i)), switch_value(1ull << (i), config), code); \
	choose(i, 0); \
	counter(i); })

#define LOOPS 5000u
#define LOOP_INSTRUCTIONS (1 + 4 * LOOPS)
#define LOOP "mov $5000, %%ecx\n1:\tnop\n\tnop\n\tdec %%ecx\n\tjnz 1b"

struct event {
	const char *name;
	uint16_t code;
};

static const struct event intel_events[] = {
	{ "~cycles", 0x003c }, { "instructions", 0x00c0 }, { "~reference", 0x013c },
	{ "llc-references", 0x4f2e }, { "llc-misses", 0x412e }, { "branches", 0x00c4 },
	{ "branch-misses", 0x00c5 },
};
static const struct event amd_events[] = {
	{ "~cycles", 0x0076 }, { "instructions", 0x00c0 }, { "branches", 0x00c2 },
	{ "branch-misses", 0x00c3 },
};

static void loops(void)
{
	const struct event *e = pmu.amd ? amd_events : intel_events;
	unsigned int n = pmu.amd ? 4 : 7;

	for (unsigned int k = 0; k < n; k++)
		if (pmu.amd || !(pmu.missing >> k & 1))
			number(e[k].name, MEASURED(0, e[k].code | OS | USR, LOOP));
	for (unsigned int i = 0; i < pmu.gp; i++) {
		EQUAL(MEASURED(i, INSTRUCTIONS_CODE | OS, LOOP), LOOP_INSTRUCTIONS + WINDOW_EXTRA);
		EQUAL(MEASURED(i, branches_code() | OS, LOOP), LOOPS);
		EQUAL(MEASURED(i, INSTRUCTIONS_CODE | USR, LOOP), 0);
	}
	for (unsigned int i = FIXED; i < FIXED + pmu.fixed && i < FIXED + 3; i++)
		number(i == FIXED ? "fixed" : "~fixed", MEASURED(i, OS | USR, LOOP));
	if (pmu.fixed)
		EQUAL(MEASURED(FIXED, OS, LOOP), LOOP_INSTRUCTIONS + WINDOW_EXTRA);
	/* Modifiers: never two in a cycle; cycles without one. */
	number("cmask", MEASURED(0, INSTRUCTIONS_CODE | OS | 2ull << 24, LOOP));
}

/* What a hypervisor executes for the guest counts like the rest. */
#define EMULATED "mov $10, %%r9d\n1:\txor %%eax, %%eax\n\tcpuid\n\tmov $0x3fd, %%edx\n\t" \
	"in %%dx, %%al\n\tmov $0xfee00020, %%eax\n\tmov (%%rax), %%ebx\n\tdec %%r9d\n\tjnz 1b"
#define EMULATED_INSTRUCTIONS (1 + 10 * 8)

/* A jump to where a register of the APIC says: its timer's initial count. */
#define DEVICE_JUMP "lea 1f(%%rip), %%ebx\n\tmov $0xfee00380, %%eax\n\tmov %%ebx, (%%rax)\n\t" \
	"jmp *(%%rax)\n1:"

static void emulated(void)
{
	EQUAL(MEASURED(0, INSTRUCTIONS_CODE | OS, EMULATED), EMULATED_INSTRUCTIONS + WINDOW_EXTRA);
	EQUAL(MEASURED(0, branches_code() | OS, EMULATED), 10);
	EQUAL(MEASURED(0, INSTRUCTIONS_CODE | OS, DEVICE_JUMP), 4 + WINDOW_EXTRA);
	EQUAL(MEASURED(0, branches_code() | OS, DEVICE_JUMP), 1);
	apic_write(0x380, 0);
	EQUAL(MEASURED(pmu.gp - 1, INSTRUCTIONS_CODE | OS,
		"mov $0x10, %%ecx\n\trdmsr\n\tmov $0x49, %%ecx\n\tmov $1, %%eax\n\t"
		"xor %%edx, %%edx\n\t"
		"wrmsr\n\trdtsc"), 7 + WINDOW_EXTRA);
}

/* All counters at once, by pairs of instructions and branches. */
static void together(void)
{
	uint64_t all = 0;

	if (!pmu.global)
		return;
	for (unsigned int i = 0; i < pmu.gp; i++) {
		choose(i, (i & 1 ? branches_code() : INSTRUCTIONS_CODE) | OS | USR);
		set_counter(i, 0);
		all |= 1ull << i;
	}
	WINDOW(pmu.ctl, all, LOOP);
	for (unsigned int i = 0; i < pmu.gp; i++) {
		EQUAL(counter(i), i & 1 ? LOOPS : LOOP_INSTRUCTIONS + WINDOW_EXTRA);
		choose(i, 0);
	}
}

/* ---- Ring 3 ---- */

extern char user_loop[], user_short_loop[], user_rdpmc[];
volatile uint64_t user_value;
__asm__(
	".globl user_loop, user_short_loop, user_rdpmc\n"
	"user_loop:\n\tmov $10000, %ecx\n1:\tnop\n\tnop\n\tdec %ecx\n\tjnz 1b\n\tint $0x80\n"
	"user_short_loop:\n\tmov $500, %ecx\n\tjmp 1b\n"
	"user_rdpmc:\n\txor %ecx, %ecx\n\trdpmc\n\tshl $32, %rdx\n\tor %rdx, %rax\n\t"
	"mov %rax, user_value(%rip)\n\tint $0x80\n");
#define USER_LOOPS 10000u
#define USER_INSTRUCTIONS (2 + 4 * USER_LOOPS)
#define USER_SHORT_INSTRUCTIONS (3 + 4 * 500u)

static void on_trap(struct frame *f)
{
	if (f->cs & 3)
		leave(f);
	else
		failed("unexpected", __LINE__, f->rip);
}

static void run_user(char *code, uint64_t flags)
{
	user((void (*)(void))(uintptr_t)code, USER_STACK, flags);
}

static uint64_t user_count(unsigned int i, uint64_t config, char *code)
{
	choose(i, config);
	set_counter(i, 0);
	wrmsr(switch_msr(1ull << i), switch_value(1ull << i, config));
	run_user(code, 2);
	wrmsr(switch_msr(1ull << i), 0);
	choose(i, 0);
	return counter(i);
}

static void set_pce(bool on)
{
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 = on ? cr4 | 0x100 : cr4 & ~0x100ull;
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
}

static void ring3(void)
{
	handler = on_trap;
	EQUAL(user_count(0, INSTRUCTIONS_CODE | USR, user_loop), USER_INSTRUCTIONS);
	EQUAL(user_count(pmu.gp - 1, branches_code() | USR, user_loop), USER_LOOPS + 1);
	number("kernel-around-user", user_count(0, INSTRUCTIONS_CODE | OS, user_loop));
	if (pmu.fixed)
		EQUAL(user_count(FIXED, USR, user_loop), USER_INSTRUCTIONS);
	set_counter(0, 0x1234567);
	run_user(user_rdpmc, 2);
	EQUAL(last.vector, 13);
	set_pce(true);
	run_user(user_rdpmc, 2);
	EQUAL(last.vector, 0x80);
	EQUAL(user_value, 0x1234567);
	/* XOR and RDPMC itself is not in what it reads. */
	(void)user_count(0, INSTRUCTIONS_CODE | USR, user_rdpmc);
	EQUAL(user_value, 1);
	set_pce(false);
	handler = 0;
}

/* ---- Sampling ---- */

static volatile uint64_t samples[64], places, vectors_seen, spurious;
static uint64_t periods[64];
static uint32_t lvtpc;

static void rearm(unsigned int i)
{
	samples[i]++;
	set_counter(i, counter(i) - periods[i]);
}

/* As a kernel does it: all off, what was it, start it again, all on. */
static void sample(struct frame *f)
{
	uint64_t on = 0, set;

	if (f->vector == 0x80) {
		leave(f);
		return;
	}
	if (pmu.global) {
		on = rdmsr(pmu.ctl);
		wrmsr(pmu.ctl, 0);
	}
	vectors_seen = f->vector;
	places = places * 31 + f->rip;
	set = overflowed();
	spurious += !set;
	for (unsigned int i = 0; i < 64; i++)
		if (set >> i & 1)
			rearm(i);
	ack(set);
	if (!pmu.amd)
		apic_write(LVTPC, lvtpc);
	if (f->vector != 2)
		apic_write(0xb0, 0);
	if (pmu.global)
		wrmsr(pmu.ctl, on);
}

static void arm(unsigned int i, uint64_t config, uint64_t period)
{
	periods[i] = period;
	samples[i] = 0;
	choose(i, config);
	set_counter(i, 0 - period);
}

/* An interrupt that is late may come after the handler of another has seen its overflow. */
static bool late;

static void begin_sampling(uint32_t entry)
{
	places = vectors_seen = spurious = 0;
	lvtpc = entry;
	apic_write(LVTPC, entry);
	handler = sample;
	if (pmu.global)
		ack(rdmsr(pmu.status));
}

static void end_sampling(void)
{
	handler = 0;
	apic_write(LVTPC, 0x10000);
}

/* How often a user loop overflows, which is known; by NMI and by vector. */
static void sampled_user(char *code, uint64_t instructions, uint32_t entry, uint64_t period)
{
	uint64_t config = INSTRUCTIONS_CODE | USR | INT;

	begin_sampling(entry);
	arm(0, config, period);
	wrmsr(switch_msr(1), switch_value(1, config));
	run_user(code, 0x202);
	wrmsr(switch_msr(1), 0);
	EQUAL(samples[0], instructions / period);
	EQUAL(counter(0) & mask_of(0), (instructions % period - period) & mask_of(0));
	EQUAL(vectors_seen, entry == LVT_NMI ? 2 : entry);
	CHECK(late || !spurious);
	number("places", places);
	choose(0, 0);
	end_sampling();
}

/* Several counters of different periods, some of them overflowing together. */
static void sampled_together(void)
{
	uint64_t all = 0, instructions, branches = 0;

	if (!pmu.global || pmu.gp < 3)
		return;
	begin_sampling(LVT_NMI);
	arm(0, INSTRUCTIONS_CODE | USR | INT, 1000);
	arm(1, branches_code() | USR | INT, 250);
	arm(2, INSTRUCTIONS_CODE | USR | INT, 4000);
	all = 7;
	if (pmu.fixed) {
		arm(FIXED, USR | INT, 1999);
		all |= 1ull << FIXED;
	}
	wrmsr(pmu.ctl, all);
	run_user(user_loop, 2);
	wrmsr(pmu.ctl, 0);
	instructions = USER_INSTRUCTIONS;
	branches = USER_LOOPS + 1;
	EQUAL(samples[0], instructions / 1000);
	EQUAL(samples[1], branches / 250);
	EQUAL(samples[2], instructions / 4000);
	if (pmu.fixed)
		EQUAL(samples[FIXED], instructions / 1999);
	CHECK(late || !spurious);
	number("together", places);
	for (unsigned int i = 0; i < 3; i++)
		choose(i, 0);
	if (pmu.fixed)
		choose(FIXED, 0);
	end_sampling();
}

/* Ring 0 sampled too, but for the handler; with instructions that a hypervisor emulates. */
static void sampled_kernel(void)
{
	uint64_t config = INSTRUCTIONS_CODE | OS | USR | INT;

	if (!pmu.global)
		return;
	begin_sampling(LVT_NMI);
	arm(0, config, 97);
	WINDOW(switch_msr(1), switch_value(1, config), "mov $30, %%r10d\n2:\t" EMULATED
		"\n\tdec %%r10d\n\tjnz 2b");
	number("kernel-samples", samples[0]);
	number("kernel-places", places);
	number("kernel-rest", counter(0));
	CHECK(late || !spurious);
	choose(0, 0);
	end_sampling();
}

/* Masked: nothing comes, and nothing later; the status stays. */
static void masked(void)
{
	uint64_t config = INSTRUCTIONS_CODE | OS | INT;

	begin_sampling(0x10000 | LVT_NMI);
	arm(0, config, 100);
	WINDOW(switch_msr(1), switch_value(1, config), LOOP);
	EQUAL(samples[0], 0);
	apic_write(LVTPC, LVT_NMI);
	__asm__ volatile("nop\n\tnop");
	EQUAL(samples[0], 0);
	EQUAL(vectors_seen, 0);
	EQUAL(counter(0), LOOP_INSTRUCTIONS + WINDOW_EXTRA - 100);
	if (pmu.global) {
		EQUAL(rdmsr(pmu.status) & 1, 1);
		ack(1);
		EQUAL(rdmsr(pmu.status) & 1, 0);
	}
	choose(0, 0);
	end_sampling();
}

static void count_only(struct frame *f)
{
	(void)f;
	samples[0]++;
}

/*
 * Two overflows, the second while the handler of the first runs. Intel's entry has masked itself,
 * so it is lost; AMD's has not, and an NMI waits for IRET.
 */
static void masks_itself(void)
{
	uint64_t config = INSTRUCTIONS_CODE | OS | INT;

	if (!pmu.global || pmu.gp < 2 || late)
		return;
	begin_sampling(LVT_NMI);
	handler = count_only;
	arm(0, config, 10);
	arm(1, config, 20);
	WINDOW(pmu.ctl, 3, ".rept 12\n\tnop\n\t.endr");
	EQUAL(samples[0], pmu.amd ? 2 : 1);
	CHECK(!(counter(1) >> (pmu.gp_width - 1)));
	EQUAL(rdmsr(pmu.status) & 3, 3);
	EQUAL(apic_read(LVTPC) >> 16, !pmu.amd);
	ack(3);
	apic_write(LVTPC, LVT_NMI);
	__asm__ volatile("nop\n\tnop");
	EQUAL(samples[0], pmu.amd ? 2 : 1);
	choose(0, 0);
	choose(1, 0);
	end_sampling();
}

/* HLT is the instruction that overflows, and what it causes wakes the CPU. */
static void halt(void)
{
	uint64_t config = INSTRUCTIONS_CODE | OS | INT, cycles, start;

	begin_sampling(LVT_NMI);
	arm(0, config, 3);
	WINDOW(switch_msr(1), switch_value(1, config), "hlt");
	number("halt-nmi", samples[0]);
	CHECK(samples[0] >= 1);
	end_sampling();
	begin_sampling(LVT_VECTOR);
	arm(0, config, 4);
	WINDOW(switch_msr(1), switch_value(1, config), "sti\n\thlt\n\tcli");
	number("halt-vector", samples[0]);
	EQUAL(vectors_seen, LVT_VECTOR);
	choose(0, 0);
	end_sampling();
	/* Time passes in HLT, cycles do not. */
	handler = sample;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, LVT_VECTOR);
	start = rdtsc();
	apic_write(0x380, 1000000);
	cycles = MEASURED(0, (pmu.amd ? 0x76 : 0x3c) | OS, "sti\n\thlt\n\tcli");
	CHECK(rdtsc() - start >= 1000000);
	CHECK(cycles < 2000);
	number("~halt", cycles);
	apic_write(0x320, 0x10000);
	end_sampling();
}

/* ---- RDPMC and every register ---- */

static void rdpmc_all(void)
{
	static const uint32_t bases[] = { 0, 0x40000000u, 0x20000000u, 0x80000000u, 0x10000u };
	uint64_t value;

	for (unsigned int i = 0; i < pmu.gp; i++)
		set_counter(i, 0x1000 + i);
	for (unsigned int i = FIXED; i < FIXED + pmu.fixed; i++)
		set_counter(i, 0x1000 + i);
	for (unsigned int b = 0; b < 5; b++) {
		for (uint32_t i = 0; i < 16; i++) {
			if (rdpmc_faults(bases[b] + i, &value))
				continue;
			number("rdpmc", bases[b] + i);
			number("  ", value);
		}
	}
	EQUAL(MEASURED(0, INSTRUCTIONS_CODE | OS,
		"mov $1000, %%r9d\n\txor %%ecx, %%ecx\n1:\trdpmc\n\tdec %%r9d\n\tjnz 1b\n\t"
		"mov %%rax, user_value(%%rip)"), 3 + 3000 + WINDOW_EXTRA);
	number("rdpmc-last", user_value);
}

/*
 * Bits that a machine has and a guest does not, as its CPUID says: of SVM (GuestOnly, HostOnly), of
 * LBR and PEBS (LBR_Frz, OvfBuf). Under version 4 also CTR_Frz: what runs direct is checked by the
 * hardware.
 */
static uint64_t not_virtual(uint32_t index)
{
	if (pmu.amd)
		return index >= 0xc0010000u ? 3ull << 40 : 0;
	if (index != 0x390 && index != 0x391)
		return 0;
	return 1ull << 58 | 1ull << 62 | (pmu.version < 4 ? 1ull << 59 : 0);
}

/* One register: what it reads, which single bits fault when written, which are kept. */
static void examine(uint32_t index)
{
	uint64_t value, now, faults = 0, kept = 0;
	unsigned int step = 1;

	print("msr ");
	print_number(index);
	if (rdmsr_faults(index, &value)) {
		print(" faults");
		step = 21; /* not there at all: a few will do */
	} else {
		print(" ");
		print_number(value);
	}
	for (unsigned int bit = 0; bit < 64; bit += step) {
		uint64_t one = index == 0x1a0 ? value ^ 1ull << bit : 1ull << bit;

		if (not_virtual(index) >> bit & 1)
			continue;
		faults |= (uint64_t)wrmsr_faults(index, one) << bit;
		if (!rdmsr_faults(index, &now))
			kept |= now & 1ull << bit;
		(void)wrmsr_faults(index, index == 0x1a0 ? value : 0);
	}
	number(" faults", faults);
	number("  kept", kept);
}

static void registers(void)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0xc0, 0xca }, { 0x186, 0x18f }, { 0x1a0, 0x1a0 }, { 0x1d9, 0x1d9 },
		{ 0x309, 0x30d }, { 0x329, 0x329 }, { 0x345, 0x345 }, { 0x38d, 0x393 },
		{ 0x3f1, 0x3f2 }, { 0x4c0, 0x4ca }, { 0x600, 0x600 },
		{ 0xc0000300u, 0xc0000304u }, { 0xc0010000u, 0xc0010008u },
		{ 0xc0010200u, 0xc001020cu },
	};

	if (pmu.global)
		wrmsr(pmu.ctl, 0);
	for (unsigned int r = 0; r < sizeof(ranges) / sizeof(ranges[0]); r++)
		for (uint32_t i = ranges[r].first; i <= ranges[r].last; i++)
			/* P6's counters: old software may touch them where there is no PMU. */
			if (pmu.version || (i != 0xc1 && i != 0xc2))
				examine(i);
	if (pmu.global)
		ack(rdmsr(pmu.status));
}

/* A word on the command line: overflows are seen late here, and a period of 1 is too short. */
int main(uint32_t *info)
{
	late = *(const char *)(uintptr_t)info[4] != 0;
	set_up();
	open_apic();
	identify();
	registers();
	if (!pmu.version || !pmu.gp)
		return 0;
	loops();
	emulated();
	together();
	ring3();
	sampled_user(user_loop, USER_INSTRUCTIONS, LVT_NMI, 1000);
	sampled_user(user_loop, USER_INSTRUCTIONS, LVT_VECTOR, 997);
	if (!late)
		sampled_user(user_short_loop, USER_SHORT_INSTRUCTIONS, LVT_NMI, 1);
	sampled_together();
	sampled_kernel();
	masked();
	masks_itself();
	halt();
	rdpmc_all();
	print("done\n");
	return 0;
}
