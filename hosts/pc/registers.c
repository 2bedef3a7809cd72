/* SPDX-License-Identifier: MIT */
/*
 * The PC's own MSRs and CPUID leaves: enough for a 64-bit kernel on one CPU, and true of the
 * engines that run it. Nothing about performance monitoring: that is behind struct pc_cpu_ops.
 */
#include "internal.h"

#include <string.h>

enum kind { VALUE, CONSTANT, TSC, TSC_ADJUST, DEADLINE, APIC_BASE, PRED_CMD };

struct msr {
	uint32_t index;
	enum kind kind;
	size_t offset;      /* VALUE: in struct pc_msrs */
	uint64_t valid;     /* bits that can be written; others fault */
	uint64_t constant;
};

#define KEPT(index, name, valid) { index, VALUE, offsetof(struct pc_msrs, name), valid, 0 }
#define FIXED(index, value) { index, CONSTANT, 0, 0, value }
#define ALL (~0ull)
#define MISC_ENABLE 0x1a0u /* Intel's */

static const struct msr msrs[] = {
	{ 0x10, TSC, 0, ALL, 0 },
	{ 0x1b, APIC_BASE, 0, ALL, 0 },
	{ 0x3b, TSC_ADJUST, 0, ALL, 0 },
	KEPT(0x48, spec_ctrl, 7),
	{ 0x49, PRED_CMD, 0, 1, 0 },
	{ 0x8b, VALUE, offsetof(struct pc_msrs, microcode), ALL, 0 },
	FIXED(0xfe, 0), /* MTRRcap: none */
	KEPT(0x174, sysenter_cs, 0xffffffff),
	KEPT(0x175, sysenter_esp, ALL),
	KEPT(0x176, sysenter_eip, ALL),
	FIXED(0x179, 0), /* MCG_CAP: no banks */
	FIXED(0x17a, 0),
	KEPT(MISC_ENABLE, misc_enable, 0x4400c51889ull),
	KEPT(0x1d9, debugctl, 0), /* no bits but the PMU's */
	KEPT(0x277, pat, 0x0707070707070707ull),
	{ 0x6e0, DEADLINE, 0, ALL, 0 },
	KEPT(0xc0000081, star, ALL),
	KEPT(0xc0000082, lstar, ALL),
	KEPT(0xc0000083, cstar, ALL),
	KEPT(0xc0000084, fmask, 0xffffffff),
	KEPT(0xc0000103, tsc_aux, 0xffffffff),
};

void pc_reset_msrs(struct pc *pc)
{
	pc->msrs = (struct pc_msrs){ .pat = PC_PAT_RESET, .misc_enable = 1 };
}

static const struct msr *find(const struct pc *pc, uint32_t index)
{
	if (index == MISC_ENABLE && pc->config.amd)
		return NULL;
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		if (msrs[i].index == index)
			return &msrs[i];
	return NULL;
}

static uint64_t *kept(struct pc *pc, const struct msr *m)
{
	return (uint64_t *)(void *)((char *)&pc->msrs + m->offset);
}

static bool canonical(uint64_t v)
{
	return (uint64_t)((int64_t)(v << 16) >> 16) == v;
}

static bool is_address(uint32_t index)
{
	return (index >= 0x175 && index <= 0x176) || index == 0xc0000082 || index == 0xc0000083;
}

uint64_t pc_tsc(const struct pc *pc)
{
	return pc->cycles + pc->tsc_offset;
}

uint64_t pc_tsc_aux(const struct pc *pc)
{
	return pc->msrs.tsc_aux;
}

static enum pc_answer read_own(struct pc *pc, const struct msr *m, uint64_t *value)
{
	switch (m->kind) {
	case VALUE:
		*value = *kept(pc, m);
		break;
	case CONSTANT:
		*value = m->constant;
		break;
	case TSC:
		*value = pc_tsc(pc);
		break;
	case TSC_ADJUST:
		*value = pc->msrs.tsc_adjust;
		break;
	case DEADLINE:
		*value = pc->apic.tsc_deadline;
		break;
	case APIC_BASE:
		*value = pc->apic.base;
		break;
	case PRED_CMD:
		return PC_FAULT;
	}
	return PC_DONE;
}

/* The TSC and its adjustment move together (SDM Vol. 3B 18.17.3). */
static void move_tsc(struct pc *pc, uint64_t by)
{
	pc->tsc_offset += by;
	pc->msrs.tsc_adjust += by;
}

static enum pc_answer write_own(struct pc *pc, const struct msr *m, uint64_t value)
{
	if (m->kind == CONSTANT || value & ~m->valid || (is_address(m->index) && !canonical(value)))
		return PC_FAULT;
	switch (m->kind) {
	case VALUE:
		*kept(pc, m) = value;
		break;
	case TSC:
		move_tsc(pc, value - pc_tsc(pc));
		break;
	case TSC_ADJUST:
		move_tsc(pc, value - pc->msrs.tsc_adjust);
		break;
	case DEADLINE:
		if ((pc->apic.lvt[LVT_TIMER] & 0x60000) == 0x40000)
			pc->apic.tsc_deadline = value;
		break;
	case APIC_BASE:
		return lapic_set_base(&pc->apic, value) ? PC_DONE : PC_FAULT;
	case CONSTANT:
	case PRED_CMD:
		break;
	}
	return PC_DONE;
}

/* The owner of LVTPC learns of a change from whatever made it. */
static void tell_lvtpc(struct pc *pc)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;

	if (!pc->apic.lvtpc_changed)
		return;
	pc->apic.lvtpc_changed = false;
	if (ops && ops->lvtpc)
		ops->lvtpc(pc->config.context, pc->apic.lvt[LVT_PMC]);
}

enum pc_answer pc_rdmsr(struct pc *pc, uint32_t index, uint64_t *value)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;
	enum pc_answer answer = PC_NOT_MINE;
	const struct msr *m = find(pc, index);

	if (ops && ops->rdmsr)
		answer = ops->rdmsr(pc->config.context, index, value);
	if (answer == PC_NOT_MINE)
		answer = pc->engine->ops->rdmsr(pc->engine, index, value);
	if (answer != PC_NOT_MINE)
		return answer;
	if (index >= 0x800 && index < 0x900)
		return lapic_x2_read(&pc->apic, index, value, pc->cycles) ? PC_DONE : PC_FAULT;
	return m ? read_own(pc, m, value) : PC_FAULT;
}

enum pc_answer pc_wrmsr(struct pc *pc, uint32_t index, uint64_t value)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;
	enum pc_answer answer = PC_NOT_MINE;
	const struct msr *m = find(pc, index);

	if (ops && ops->wrmsr)
		answer = ops->wrmsr(pc->config.context, index, value);
	if (answer == PC_NOT_MINE)
		answer = pc->engine->ops->wrmsr(pc->engine, index, value);
	if (answer != PC_NOT_MINE)
		return answer;
	if (index >= 0x800 && index < 0x900)
		answer = lapic_x2_write(&pc->apic, index, value, pc->cycles) ? PC_DONE :
			PC_FAULT;
	else
		answer = m ? write_own(pc, m, value) : PC_FAULT;
	tell_lvtpc(pc);
	return answer;
}

enum pc_answer pc_rdpmc(struct pc *pc, uint32_t index, unsigned int cpl, bool pce, uint64_t *value)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;

	if (!ops || !ops->rdpmc ||
	    ops->rdpmc(pc->config.context, index, cpl, pce, value) != PC_DONE)
		return PC_FAULT;
	return PC_DONE;
}

uint64_t pc_cr8(const struct pc *pc)
{
	return pc->apic.tpr >> 4;
}

enum pc_answer pc_set_cr8(struct pc *pc, uint64_t value)
{
	if (value & ~15ull)
		return PC_FAULT;
	pc->apic.tpr = (uint32_t)value << 4;
	return PC_DONE;
}

#define APIC_PAGE 0xfffull

uint64_t pc_mmio_read(struct pc *pc, uint64_t address, unsigned int size)
{
	uint64_t value = size >= 8 ? ~0ull : (1ull << size * 8) - 1;
	uint64_t base = pc->apic.base & ~APIC_PAGE;

	if (address - base > APIC_PAGE || (pc->apic.base & 0xc00) != 0x800)
		return value; /* nobody answers */
	/* Registers are 32 bits at 16-byte boundaries (SDM 11.4.1); the rest reads as zero. */
	if (address & 12)
		return 0;
	return lapic_read(&pc->apic, address & 0xff0, pc->cycles) >> (address & 3) * 8 & value;
}

void pc_mmio_write(struct pc *pc, uint64_t address, unsigned int size, uint64_t value)
{
	uint64_t base = pc->apic.base & ~APIC_PAGE;

	if (address - base > APIC_PAGE || (pc->apic.base & 0xc00) != 0x800)
		return;
	if (address & 15 || size < 4)
		return;
	lapic_write(&pc->apic, address & 0xff0, (uint32_t)value, pc->cycles);
	tell_lvtpc(pc);
}

/* ---- CPUID ---- */

static void copy_text(uint32_t *to, const char *text)
{
	memcpy(to, text, strlen(text));
}

static void vendor(const struct pc *pc, uint32_t r[4], uint32_t highest)
{
	const char *name = pc->config.amd ? "AuthcAMDenti" : "GenuntelineI";

	r[0] = highest;
	copy_text(r + 1, name);
}

static void brand(uint32_t leaf, uint32_t r[4])
{
	char text[49] = "libvpmu PC, embedded CPU engine";

	memcpy(r, text + (leaf - 0x80000002u) * 16, 16);
}

/*
 * Family 6 model 63 (an Intel CPU with architectural perfmon v3) or family 19h: models that
 * a kernel's quirk tables know. Features: x87, TSC, MSR, PAE, CX8, APIC, PGE, CMOV, PAT,
 * CLFLUSH, MMX, FXSR, SSE, SSE2; SSSE3, CX16, SSE4.1, SSE4.2, x2APIC, TSC deadline, AES.
 */
static void features(const struct pc *pc, uint32_t r[4])
{
	r[0] = pc->config.amd ? 0x00a20f10 : 0x000306f2;
	r[1] = 0x00010800 | pc->apic.id << 24;
	r[2] = 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 21 | 1u << 24 | 1u << 25;
	r[3] = 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 8 |
		1u << 13 | 1u << 15 | 1u << 16 | 1u << 19 | 1u << 23 | 1u << 24 | 1u << 25 |
		1u << 26;
	if (!(pc->apic.base & 0x800))
		r[3] &= ~(1u << 9);
	else
		r[3] |= 1u << 9;
}

static void extended(const struct pc *pc, uint32_t leaf, uint32_t r[4])
{
	switch (leaf) {
	case 0x80000000u:
		/* Up to what a PMU's side may fill in. */
		r[0] = pc->config.amd ? 0x80000022u : 0x80000008u;
		if (pc->config.amd)
			copy_text(r + 1, "AuthcAMDenti");
		break;
	case 0x80000001u: /* LAHF in 64-bit mode; SYSCALL, NX, 1 GiB pages, RDTSCP, long mode */
		r[0] = pc->config.amd ? 0x00a20f10 : 0;
		r[2] = 1;
		r[3] = 1u << 11 | 1u << 20 | 1u << 26 | 1u << 27 | 1u << 29;
		break;
	case 0x80000002u:
	case 0x80000003u:
	case 0x80000004u:
		brand(leaf, r);
		break;
	case 0x80000007u:
		r[3] = 1u << 8; /* invariant TSC */
		break;
	case 0x80000008u:
		r[0] = 36 | 48 << 8;
		break;
	}
}

static void own_cpuid(const struct pc *pc, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	switch (leaf) {
	case 0:
		vendor(pc, r, 0x15);
		break;
	case 1:
		features(pc, r);
		break;
	case 7: /* TSC_ADJUST, BMI1, SMEP, BMI2, ADX, SMAP; IBRS and IBPB */
		if (subleaf == 0) {
			r[1] = 1u << 1 | 1u << 3 | 1u << 7 | 1u << 8 | 1u << 19 | 1u << 20;
			r[3] = 1u << 26;
		}
		break;
	case 0xb: /* one thread, one core */
		r[1] = subleaf < 2;
		r[2] = subleaf | (subleaf < 2 ? (subleaf + 1) << 8 : 0);
		r[3] = pc->apic.id;
		break;
	case 0x15: /* the TSC runs at 1 GHz, which is also the crystal's rate */
		r[0] = 1;
		r[1] = 1;
		r[2] = 1000000000u;
		break;
	default:
		if (leaf >= 0x80000000u)
			extended(pc, leaf, r);
	}
}

void pc_cpuid(struct pc *pc, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	const struct pc_cpu_ops *ops = pc->config.cpu;

	memset(regs, 0, 4 * sizeof(*regs));
	own_cpuid(pc, leaf, subleaf, regs);
	if (ops && ops->cpuid)
		ops->cpuid(pc->config.context, leaf, subleaf, regs);
}
