/* SPDX-License-Identifier: MIT */
/*
 * A guest that does random things to its PMU, as long as software could mean them: overflows are
 * acknowledged before counters change, and on AMD, whose LVTPC does not mask itself, only user code
 * interrupts. The command line has the seed. Prints a digest of everything seen, which is the same
 * whoever counts.
 */
#include "pmu.h"

int main(uint32_t *info);

#define STEPS 300u
#define ROUNDS 10u

static uint64_t state, digest, pmis;

/* Xorshift. */
static uint32_t below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 20) % n;
}

static void mix(uint64_t v)
{
	digest = (digest ^ v) * 0x100000001b3ull;
	digest ^= digest >> 29;
}

static void on_trap(struct frame *f)
{
	uint64_t on, set;

	if (f->vector == 0x80) {
		leave(f);
		return;
	}
	on = rdmsr(pmu.ctl);
	wrmsr(pmu.ctl, 0);
	set = overflowed();
	pmis++;
	mix(f->rip);
	mix(set);
	ack(set);
	if (!pmu.amd)
		apic_write(LVTPC, LVT_NMI);
	wrmsr(pmu.ctl, on);
}

/* Fixed counter 0 counts instructions; the others, cycles, would differ. */
static unsigned int any_counter(void)
{
	unsigned int i = below(pmu.gp + (pmu.fixed > 0));

	return i < pmu.gp ? i : FIXED;
}

static uint64_t all_counters(void)
{
	return ((1ull << pmu.gp) - 1) | (pmu.fixed ? 1ull << FIXED : 0);
}

/* ---- Steps ---- */

static void select_event(void)
{
	unsigned int i = any_counter();
	uint64_t config = below(2) ? INSTRUCTIONS_CODE : branches_code();

	config |= (below(2) ? OS : 0) | (below(2) ? USR : 0) | (below(2) ? INT : 0);
	if (pmu.amd && config & INT)
		config = (config & ~OS) | USR;
	if (i >= FIXED)
		choose(i, config);
	else
		wrmsr(pmu.selector + i * pmu.stride, config | (below(4) ? EN : 0));
}

static void write_counter(void)
{
	set_counter(any_counter(), below(2) ? below(500) : 0 - (uint64_t)below(400) - 1);
}

static void enable(void)
{
	wrmsr(pmu.ctl, below(4) ? all_counters() : below(1u << pmu.gp));
}

static void status(void)
{
	uint64_t set = overflowed();

	mix(set);
	ack(set);
}

static void run_kernel(void)
{
	uint64_t n = below(60) + 1;

	__asm__ volatile("1:\tnop\n\tdec %0\n\tjnz 1b" : "+r"(n));
}

extern char user_loop[];
__asm__(
	".globl user_loop\n"
	"user_loop:\n1:\tnop\n\tdec %r15d\n\tjnz 1b\n\tint $0x80\n");

/* user() keeps R15 until it is in ring 3. */
static void run_user(void)
{
	__asm__ volatile("mov %0, %%r15" : : "r"((uint64_t)below(60) + 1) : "r15");
	user((void (*)(void))(uintptr_t)user_loop, USER_STACK, 2);
}

static void read_by_rdpmc(void)
{
	unsigned int i = any_counter();
	uint32_t low, high;

	__asm__ volatile("rdpmc" : "=a"(low), "=d"(high)
		: "c"(i < FIXED ? i : 0x40000000u + i - FIXED));
	mix(low | (uint64_t)high << 32);
}

static void read_by_rdmsr(void)
{
	mix(counter(any_counter()));
}

/* What a hypervisor executes. */
static void exit_(void)
{
	uint32_t r[4];

	cpuid(0, r);
	mix(inb(0x3fd));
	mix(apic_read(0x20));
}

static void (*const steps[])(void) = {
	/* The first ones change counters. */
	select_event, select_event, write_counter, write_counter, enable,
	status, run_kernel, run_user, run_user, read_by_rdpmc, read_by_rdmsr, exit_,
};
#define CHANGES 5u

static void step(void)
{
	unsigned int i = below(sizeof(steps) / sizeof(steps[0]));

	if (i < CHANGES)
		ack(overflowed());
	steps[i]();
}

static void clear(void)
{
	wrmsr(pmu.ctl, 0);
	for (unsigned int i = 0; i < pmu.gp; i++) {
		choose(i, 0);
		set_counter(i, 0);
	}
	if (pmu.fixed) {
		choose(FIXED, 0);
		set_counter(FIXED, 0);
	}
	ack(overflowed());
}

static void round_of(uint64_t seed)
{
	state = (seed + 1) * 0x9e3779b97f4a7c15ull;
	digest = 0xcbf29ce484222325ull;
	pmis = 0;
	clear();
	apic_write(LVTPC, LVT_NMI);
	for (unsigned int k = 0; k < STEPS; k++)
		step();
	wrmsr(pmu.ctl, 0);
	apic_write(LVTPC, 0x10000);
	for (unsigned int i = 0; i < pmu.gp; i++)
		mix(counter(i));
	status();
	number("seed", seed);
	number("  pmis", pmis);
	number("  digest", digest);
}

static uint64_t parse(const char *text)
{
	uint64_t n = 0;

	while (*text >= '0' && *text <= '9')
		n = n * 10 + (uint64_t)(*text++ - '0');
	return n;
}

int main(uint32_t *info)
{
	uint64_t seed = parse((const char *)(uintptr_t)info[4]);

	set_up();
	open_apic();
	handler = on_trap;
	detect();
	CHECK(pmu.global);
	for (unsigned int i = 0; i < ROUNDS; i++)
		round_of(seed + i);
	return 0;
}
