/* SPDX-License-Identifier: MIT */
#include "pmu.h"

struct pmu pmu;

void number(const char *name, uint64_t n)
{
	print(name);
	print(" ");
	print_number(n);
	print("\n");
}

void cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
		: "a"(leaf), "c"(0));
}

static void detect_intel(void)
{
	uint32_t r[4];

	cpuid(1, r);
	pmu.pdcm = r[2] >> 15 & 1;
	cpuid(10, r);
	pmu.version = r[0] & 0xff;
	pmu.gp = r[0] >> 8 & 0xff;
	pmu.gp_width = r[0] >> 16 & 0xff;
	pmu.missing = r[1] | ~0u << (r[0] >> 24);
	if (pmu.version >= 2) {
		pmu.fixed = r[3] & 31;
		pmu.fixed_width = r[3] >> 5 & 0xff;
	}
	pmu.full_width = pmu.pdcm && rdmsr(0x345) >> 13 & 1;
	pmu.global = pmu.version >= 2;
	pmu.selector = 0x186;
	pmu.counter = pmu.full_width ? 0x4c1 : 0xc1;
	pmu.stride = 1;
	pmu.ctl = 0x38f;
	pmu.status = 0x38e;
	pmu.reset = 0x390;
}

static void detect_amd(void)
{
	uint32_t r[4];
	bool core;

	cpuid(0x80000000u, r);
	CHECK(r[0] >= 0x80000022u);
	cpuid(0x80000001u, r);
	core = r[2] >> 23 & 1;
	cpuid(0x80000022u, r);
	pmu.amd = true;
	pmu.global = r[0] & 1;
	pmu.version = pmu.global ? 2 : 1;
	pmu.gp = pmu.global ? r[1] & 15 : core ? 6 : 4;
	pmu.gp_width = 48;
	pmu.selector = core ? 0xc0010200u : 0xc0010000u;
	pmu.counter = core ? 0xc0010201u : 0xc0010004u;
	pmu.stride = core ? 2 : 1;
	pmu.ctl = 0xc0000301u;
	pmu.status = 0xc0000300u;
	pmu.reset = 0xc0000302u;
}

void detect(void)
{
	uint32_t r[4];

	cpuid(0, r);
	if (r[1] == 0x68747541u) /* Auth */
		detect_amd();
	else
		detect_intel();
}

uint64_t branches_code(void)
{
	return pmu.amd ? 0xc2 : 0xc4;
}

uint64_t mask_of(unsigned int i)
{
	return (1ull << (i < FIXED ? pmu.gp_width : pmu.fixed_width)) - 1;
}

uint32_t counter_msr(unsigned int i)
{
	return i < FIXED ? pmu.counter + i * pmu.stride : 0x309 + i - FIXED;
}

uint64_t counter(unsigned int i)
{
	return rdmsr(counter_msr(i));
}

void set_counter(unsigned int i, uint64_t value)
{
	value &= mask_of(i);
	/* Without full-width writes 32 bits are taken, and extended by sign. */
	wrmsr(counter_msr(i), pmu.amd || pmu.full_width || i >= FIXED ? value :
		value & 0xffffffff);
}

static void set_fixed(unsigned int i, uint64_t config)
{
	uint64_t group = (config & OS ? 1u : 0) | (config & USR ? 2u : 0) | (config & INT ? 8u : 0);
	unsigned int shift = 4 * (i - FIXED);

	wrmsr(0x38d, (rdmsr(0x38d) & ~(15ull << shift)) | group << shift);
}

void choose(unsigned int i, uint64_t config)
{
	if (i >= FIXED)
		set_fixed(i, config);
	else if (pmu.global)
		wrmsr(pmu.selector + i * pmu.stride, config ? config | EN : 0);
}

uint32_t switch_msr(uint64_t mask)
{
	unsigned int i = 0;

	while (!(mask >> i & 1))
		i++;
	return pmu.global ? pmu.ctl : pmu.selector + i * pmu.stride;
}

uint64_t switch_value(uint64_t mask, uint64_t config)
{
	return pmu.global ? mask : config | EN;
}

uint64_t overflowed(void)
{
	uint64_t set = 0;

	if (pmu.global)
		return rdmsr(pmu.status);
	/* One that was started negative and is not any more. */
	for (unsigned int i = 0; i < pmu.gp; i++)
		if (rdmsr(pmu.selector + i * pmu.stride) & INT &&
		    !(counter(i) >> (pmu.gp_width - 1)))
			set |= 1ull << i;
	return set;
}

void ack(uint64_t set)
{
	if (pmu.global)
		wrmsr(pmu.reset, set);
}

void leave(struct frame *f)
{
	f->rip = (uint64_t)(uintptr_t)user_return;
	f->cs = 0x10;
	f->ss = 0;
	f->rflags = 2;
}
