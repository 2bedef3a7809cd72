/* SPDX-License-Identifier: MIT */
/*
 * The guest of the KVM host's tests: a PMU that counts time. It knows nothing of that host but that cycles
 * and reference cycles are all it counts; the TSC is the judge. The verdict is 0, or 2 without a PMU.
 */
#include "pmu.h"

int main(uint32_t *info);

#define CYCLES_CODE 0x3cull
#define REFERENCE_CODE 0x13cull
#define CALIBRATION 20000000ull      /* of the TSC */
#define PERIOD 3000000ull
#define SAMPLES 40u
#define VECTOR 0x51u

static void run_for(uint64_t tsc)
{
	uint64_t end = rdtsc() + tsc;

	while (rdtsc() < end)
		;
}

static uint64_t rdpmc(uint32_t i)
{
	uint32_t low, high;

	__asm__ volatile("mov %2, %%ecx\n\trdpmc" : "=a"(low), "=d"(high) : "r"(i) : "ecx");
	return low | (uint64_t)high << 32;
}

static void start(unsigned int i, uint64_t code)
{
	choose(i, code | USR | OS | INT);
	wrmsr(switch_msr(1ull << i), switch_value(1ull << i, code | USR | OS | INT));
}

static void stop(unsigned int i)
{
	wrmsr(switch_msr(1ull << i), 0);
}

/* ---- What is there ---- */

static void offered(void)
{
	CHECK(!(pmu.missing & 1)); /* cycles */
	CHECK(pmu.missing >> 1 & 1); /* instructions */
	CHECK(pmu.missing >> 5 & 1); /* branches */
	EQUAL(pmu.fixed, 0);
	CHECK(pmu.gp > 0);
}

#define FAULTS(code, inputs...) do { \
	uint64_t before = last.count; \
	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, recover(%%rip)\n\t" \
		code "\n1:" : : inputs : "rax", "rcx", "rdx", "memory"); \
	recover = 0; \
	EQUAL(last.count, before + 1); \
	EQUAL(last.vector, 13); } while (0)

static void faults(void)
{
	FAULTS("mov $0x3f1, %%ecx; rdmsr");  /* PEBS */
	FAULTS("mov $0x309, %%ecx; rdmsr");  /* a fixed counter */
	FAULTS("mov $0xc0010000, %%ecx; rdmsr"); /* the other vendor's */
	FAULTS("mov $0x186, %%ecx; xor %%eax, %%eax; mov $1, %%edx; wrmsr");
	FAULTS("mov $0x40000000, %%ecx; rdpmc");
	FAULTS("mov $8, %%ecx; rdpmc");
}

/* ---- Counting ---- */

/*
 * (count) is not more than the TSC's, and a part of it: the host runs others meanwhile. How large a part is
 * judged where the host is known to be idle (tests/e2e/kvm.sh).
 */
static void plausible(uint64_t count, uint64_t tsc)
{
	CHECK(count <= tsc + tsc / 50);
	CHECK(count >= tsc / 1000);
}

static void counting(void)
{
	uint64_t tsc, a, b, c;

	set_counter(0, 0);
	set_counter(1, 0);
	tsc = rdtsc();
	start(0, CYCLES_CODE);
	a = rdpmc(0);
	run_for(CALIBRATION);
	b = rdpmc(0);
	c = counter(0);
	tsc = rdtsc() - tsc;
	CHECK(a <= b && b <= c);
	CHECK(b > a);
	stop(0);
	plausible(counter(0), tsc);
	a = counter(0);
	EQUAL(rdpmc(0), a);
	run_for(CALIBRATION / 10);
	EQUAL(rdpmc(0), a);
	choose(0, 0);
	number("cycles per 1000 TSC", a * 1000 / tsc);
}

/* Both events, of a counter that has just been read by RDPMC in one place again and again. */
static void reference(void)
{
	uint64_t before = 0, now;

	set_counter(1, 0);
	start(1, REFERENCE_CODE);
	for (unsigned int i = 0; i < 100; i++) {
		now = rdpmc(1);
		CHECK(now >= before);
		before = now;
	}
	stop(1);
	CHECK(counter(1) >= before && before > 0);
	choose(1, 0);
}

/* ---- Interrupts ---- */

static volatile uint64_t samples, strange;

static void sample(struct frame *f)
{
	uint64_t set;

	if (f->vector != 2 && f->vector != VECTOR) {
		strange++;
		return;
	}
	if (pmu.global)
		wrmsr(pmu.ctl, 0);
	apic_write(LVTPC, f->vector == 2 ? LVT_NMI : VECTOR);
	set = overflowed();
	if (!(set & 1))
		strange++;
	samples++;
	set_counter(0, -PERIOD);
	ack(set);
	if (f->vector == VECTOR)
		apic_write(0xb0, 0);
	if (pmu.global)
		wrmsr(pmu.ctl, 1);
}

static void sampling(uint32_t lvt)
{
	uint64_t tsc;

	samples = strange = 0;
	handler = sample;
	apic_write(LVTPC, lvt);
	set_counter(0, -PERIOD);
	tsc = rdtsc();
	start(0, CYCLES_CODE);
	while (samples < SAMPLES)
		CHECK(rdtsc() - tsc < 2000 * SAMPLES * PERIOD);
	stop(0);
	tsc = rdtsc() - tsc;
	choose(0, 0);
	handler = 0;
	EQUAL(strange, 0);
	CHECK(tsc >= (SAMPLES - 1) * PERIOD);
	number("TSC per 1000 sampled cycles", tsc * 1000 / (SAMPLES * PERIOD));
}

/* Masked, nothing comes, and the overflow stands in the status. */
static void masked(void)
{
	samples = strange = 0;
	handler = sample;
	apic_write(LVTPC, 0x10000 | LVT_NMI);
	set_counter(0, -PERIOD);
	start(0, CYCLES_CODE);
	while (!(overflowed() & 1))
		;
	run_for(PERIOD);
	stop(0);
	EQUAL(samples + strange, 0);
	handler = 0;
	ack(overflowed());
	choose(0, 0);
}

/* An overflow that is already due ends HLT. */
static void halted(void)
{
	samples = strange = 0;
	handler = sample;
	apic_write(LVTPC, LVT_NMI);
	set_counter(0, -2);
	start(0, CYCLES_CODE);
	while (!samples)
		__asm__ volatile("hlt");
	stop(0);
	handler = 0;
	choose(0, 0);
}

/* ---- User mode: not without CR4.PCE ---- */

static volatile uint64_t user_faults;

static void user_trap(struct frame *f)
{
	if (f->vector == 13)
		user_faults++;
	leave(f);
}

static void user_rdpmc(void)
{
	__asm__ volatile("xor %%ecx, %%ecx\n\trdpmc\n\tint $0x80" : : : "rax", "rcx", "rdx");
}

static void privilege(void)
{
	handler = user_trap;
	user(user_rdpmc, USER_STACK, 0x202);
	handler = 0;
	EQUAL(user_faults, 1);
}

int main(uint32_t *info)
{
	(void)info;
	set_up();
	open_apic();
	detect();
	if (pmu.amd || !pmu.version) {
		print("no PMU\n");
		return 2;
	}
	offered();
	counting();
	reference();
	faults();
	sampling(LVT_NMI);
	__asm__ volatile("sti");
	sampling(VECTOR);
	masked();
	halted();
	privilege();
	print("done\n");
	return 0;
}
