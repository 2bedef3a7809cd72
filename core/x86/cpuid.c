/* SPDX-License-Identifier: MIT */
/*
 * What CPUID says of performance monitoring (SDM vol. 2, CPUID; APM vol. 3 appendix E): derived from
 * the model, so that it cannot disagree with what the registers do (V12).
 */
#include "x86.h"

enum { EAX, EBX, ECX, EDX };

#define BIT32(n) ((uint32_t)1 << (n))

static void clear(uint32_t regs[4])
{
	regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
}

/* ECX: DTES64, DS-CPL, PDCM. EDX: DS. */
static void leaf_1(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4])
{
	(void)subleaf;
	regs[ECX] &= ~(BIT32(2) | BIT32(4) | BIT32(15));
	regs[EDX] &= ~BIT32(21);
	if (vpmu_x86_model(vm)->pdcm)
		regs[ECX] |= BIT32(15);
}

/* Subleaf 0, EBX: Intel PT, EDX: architectural LBR. Subleaf 1, EAX: leaf 23H exists. */
static void leaf_7(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4])
{
	(void)vm;
	if (subleaf == 0) {
		regs[EBX] &= ~BIT32(25);
		regs[EDX] &= ~BIT32(19);
	}
	if (subleaf == 1)
		regs[EAX] &= ~BIT32(8);
}

/* Version 5 lists fixed counters one by one. AnyThread is deprecated, whatever the version. */
static void leaf_a(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4])
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	(void)subleaf;
	clear(regs);
	if (m->vendor != VPMU_X86_INTEL || !m->version)
		return;
	regs[EAX] = m->version | (uint32_t)m->gp << 8 | (uint32_t)m->gp_width << 16 |
		    (uint32_t)m->events_length << 24;
	regs[EBX] = (uint32_t)vm->advertised[0];
	if (m->version >= 5)
		regs[ECX] = BIT32(m->fixed) - 1;
	if (m->version >= 2)
		regs[EDX] = m->fixed | (uint32_t)m->fixed_width << 5 | BIT32(15);
}

/* Intel PT, LBR, version 6's counters, IBS: not offered. */
static void leaf_absent(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4])
{
	(void)vm;
	(void)subleaf;
	clear(regs);
}

/* ECX: IBS, PerfCtrExtCore, northbridge and last-level counters, data breakpoints left alone. */
static void leaf_80000001(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4])
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	(void)subleaf;
	if (m->vendor != VPMU_X86_AMD)
		return;
	regs[ECX] &= ~(BIT32(10) | BIT32(23) | BIT32(24) | BIT32(28));
	if (m->core_extension || m->version >= 2)
		regs[ECX] |= BIT32(23);
}

static void leaf_80000022(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4])
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);

	(void)subleaf;
	clear(regs);
	if (m->vendor != VPMU_X86_AMD || m->version < 2)
		return;
	regs[EAX] = 1;
	regs[EBX] = m->gp;
}

static const struct {
	uint32_t leaf;
	void (*fill)(const struct vpmu_vm *vm, uint32_t subleaf, uint32_t regs[4]);
} leaves[] = {
	{ 0x1, leaf_1 },
	{ 0x7, leaf_7 },
	{ 0xA, leaf_a },
	{ 0x14, leaf_absent },
	{ 0x1C, leaf_absent },
	{ 0x23, leaf_absent },
	{ 0x80000001, leaf_80000001 },
	{ 0x8000001B, leaf_absent },
	{ 0x80000022, leaf_80000022 },
};

void vpmu_x86_cpuid(const struct vpmu_vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		if (leaves[i].leaf == leaf)
			leaves[i].fill(vm, subleaf, regs);
	}
}

uint64_t vpmu_x86_misc_enable(const struct vpmu_vm *vm, uint64_t rest)
{
	return (rest & ~MISC_EMON) | MISC_UNAVAILABLE |
	       (vpmu_x86_model(vm)->version ? MISC_EMON : 0);
}

uint64_t vpmu_x86_debugctl(const struct vpmu_vcpu *v, uint64_t host)
{
	uint64_t own = vpmu_x86_model(v->vm)->debug_bits;

	/*
	 * Only where all counters are the guest's may it freeze them (RULES B), and as its version does: this
	 * hardware sets CTR_Frz (SDM 20.2.4.1), which a guest of version 2 or 3 could never clear.
	 */
	if (vpmu_vcpu_is_resident(v) && v->reason != VPMU_REACH_SHARED &&
	    vpmu_x86_model(v->vm)->version >= 4)
		own |= DEBUGCTL_FREEZE_PERFMON;
	return (v->state.debug & own) | (host & DEBUGCTL_FREEZE_SMM);
}
