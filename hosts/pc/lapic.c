/* SPDX-License-Identifier: MIT */
#include "lapic.h"

#include <string.h>

#define BASE_BSP    0x100u
#define BASE_X2     0x400u
#define BASE_ENABLE 0x800u
#define BASE_VALID  0xfffffff00ull /* 36 bits of address, and what is not reserved below */

#define SVR_ENABLE  0x100u
#define LVT_MASKED  0x10000u
#define LVT_LEVEL   0x8000u
#define LVT_PERIODIC 0x20000u
#define LVT_DEADLINE 0x40000u
#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER        0x80u

enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_SIPI, MODE_EXTINT };
#define MODE(x) ((x) >> 8 & 7)

/* Offsets of the LVT entries, and which of their bits can be written. */
static const struct {
	uint32_t offset, mask;
} lvt_table[LVT_COUNT] = {
	[LVT_CMCI] = { 0x2f0, 0x107ff },
	[LVT_TIMER] = { 0x320, 0x700ff },
	[LVT_THERMAL] = { 0x330, 0x107ff },
	[LVT_PMC] = { 0x340, 0x107ff },
	[LVT_LINT0] = { 0x350, 0x1a7ff },
	[LVT_LINT1] = { 0x360, 0x1a7ff },
	[LVT_ERROR] = { 0x370, 0x100ff },
};

static bool x2apic(const struct pc_lapic *apic)
{
	return apic->base & BASE_X2;
}

static int find_lvt(uint32_t offset)
{
	for (int i = 0; i < LVT_COUNT; i++)
		if (lvt_table[i].offset == offset)
			return i;
	return -1;
}

/* ---- Bit maps of 256 vectors ---- */

static int highest(const uint32_t map[8])
{
	for (int i = 7; i >= 0; i--)
		if (map[i])
			return i * 32 + 31 - __builtin_clz(map[i]);
	return -1;
}

static void set_bit(uint32_t map[8], unsigned int vector)
{
	map[vector / 32] |= 1u << vector % 32;
}

static void clear_bit(uint32_t map[8], unsigned int vector)
{
	map[vector / 32] &= ~(1u << vector % 32);
}

/* ---- State ---- */

static void software_reset(struct pc_lapic *apic)
{
	for (int i = 0; i < LVT_COUNT; i++)
		apic->lvt[i] = LVT_MASKED;
	apic->lvtpc_changed = true;
}

void lapic_reset(struct pc_lapic *apic)
{
	struct pc_lapic fresh = {
		.base = 0xfee00000u | BASE_ENABLE | (apic->id ? 0 : BASE_BSP),
		.id = apic->id,
		.lvtpc_masks_itself = apic->lvtpc_masks_itself,
		.dfr = 0xffffffff,
		.svr = 0xff,
	};

	*apic = fresh;
	software_reset(apic);
}

bool lapic_set_base(struct pc_lapic *apic, uint64_t value)
{
	uint64_t was = apic->base & (BASE_X2 | BASE_ENABLE);
	uint64_t is = value & (BASE_X2 | BASE_ENABLE);
	uint64_t base = apic->base;

	/* SDM 11.12.5: transitions that exist; never x2APIC without the global enable. */
	if (value & ~(BASE_VALID & ~0x200ull) || is == BASE_X2)
		return false;
	if (was == (BASE_X2 | BASE_ENABLE) && is == BASE_ENABLE)
		return false;
	if (was == 0 && is == (BASE_X2 | BASE_ENABLE))
		return false;
	if (is == 0) {
		lapic_reset(apic);
		apic->base = value & ~(uint64_t)BASE_ENABLE;
		return true;
	}
	apic->base = (value & ~(uint64_t)BASE_BSP) | (base & BASE_BSP);
	if (is != was && is & BASE_X2)
		apic->ldr = (apic->id >> 4) << 16 | 1u << (apic->id & 15);
	return true;
}

/* ---- Priorities ---- */

static uint32_t ppr(const struct pc_lapic *apic)
{
	int isr = highest(apic->isr);
	uint32_t service = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

	return (apic->tpr & 0xf0) >= service ? apic->tpr : service;
}

int lapic_pending(const struct pc_lapic *apic)
{
	int vector = highest(apic->irr);

	if (!(apic->base & BASE_ENABLE) || !(apic->svr & SVR_ENABLE))
		return -1;
	return vector >= 0 && ((uint32_t)vector & 0xf0) > (ppr(apic) & 0xf0) ? vector : -1;
}

void lapic_accept(struct pc_lapic *apic, int vector)
{
	clear_bit(apic->irr, (unsigned int)vector);
	set_bit(apic->isr, (unsigned int)vector);
}

static void eoi(struct pc_lapic *apic)
{
	int vector = highest(apic->isr);

	if (vector >= 0)
		clear_bit(apic->isr, (unsigned int)vector);
}

/* ---- Arrival ---- */

static void error(struct pc_lapic *apic, uint32_t bit)
{
	bool first = !(apic->esr_next & bit);

	apic->esr_next |= bit;
	if (first)
		(void)lapic_lvt(apic, LVT_ERROR);
}

static bool fixed(struct pc_lapic *apic, uint32_t vector, uint32_t illegal)
{
	if (!(apic->svr & SVR_ENABLE))
		return false;
	if (vector < 16) {
		/* The error entry's own bad vector must not go round in circles. */
		apic->esr_next |= illegal;
		return false;
	}
	set_bit(apic->irr, vector);
	clear_bit(apic->tmr, vector);
	return true;
}

static bool arrive(struct pc_lapic *apic, uint32_t mode, uint32_t vector, uint32_t illegal)
{
	switch (mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		return fixed(apic, vector, illegal);
	case MODE_NMI:
		apic->nmi = true;
		return true;
	case MODE_INIT:
		apic->init = true;
		return true;
	default: /* SMI has no handler here, ExtINT no controller */
		return false;
	}
}

bool lapic_lvt(struct pc_lapic *apic, unsigned int entry)
{
	uint32_t lvt = apic->lvt[entry];
	uint32_t mode = entry == LVT_TIMER || entry == LVT_ERROR ? MODE_FIXED : MODE(lvt);

	if (!(apic->base & BASE_ENABLE) || lvt & LVT_MASKED)
		return false;
	if (!arrive(apic, mode, lvt & 0xff, ESR_RECEIVE_ILLEGAL))
		return false;
	if (entry == LVT_PMC && apic->lvtpc_masks_itself)
		apic->lvt[LVT_PMC] |= LVT_MASKED;
	return true;
}

/* ---- Interprocessor interrupts ---- */

static bool addressed(const struct pc_lapic *apic, uint64_t icr)
{
	uint32_t destination = (uint32_t)(x2apic(apic) ? icr >> 32 : icr >> 56);
	uint32_t all = x2apic(apic) ? 0xffffffffu : 0xffu;

	switch (icr >> 18 & 3) { /* shorthand */
	case 1:
	case 2:
		return true;
	case 3:
		return false;
	}
	if (destination == all)
		return true;
	if (!(icr & 0x800)) /* physical */
		return destination == apic->id;
	if (x2apic(apic))
		return destination >> 16 == apic->ldr >> 16 && destination & apic->ldr & 0xffff;
	if (apic->dfr >> 28 == 0xf)
		return destination & apic->ldr >> 24;
	return destination >> 4 == apic->ldr >> 28 && destination & apic->ldr >> 24 & 0xf;
}

static void send(struct pc_lapic *apic, uint64_t icr)
{
	uint32_t mode = MODE((uint32_t)icr), vector = icr & 0xff;

	if ((mode == MODE_FIXED || mode == MODE_LOWEST) && vector < 16) {
		error(apic, ESR_SEND_ILLEGAL);
		return;
	}
	/* INIT level de-assert is a bus message of old; a SIPI to a running CPU is ignored. */
	if (mode == MODE_SIPI || (mode == MODE_INIT && !(icr & 0x4000)))
		return;
	if (addressed(apic, icr))
		(void)arrive(apic, mode, vector, ESR_RECEIVE_ILLEGAL);
}

/* ---- Timer ---- */

static uint64_t divisor(const struct pc_lapic *apic)
{
	uint32_t code = (apic->divide & 3) | (apic->divide >> 1 & 4);

	return code == 7 ? 1 : 2ull << code;
}

static uint32_t timer_mode(const struct pc_lapic *apic)
{
	return apic->lvt[LVT_TIMER] & (LVT_PERIODIC | LVT_DEADLINE);
}

uint64_t lapic_deadline(const struct pc_lapic *apic, uint64_t tsc)
{
	if (timer_mode(apic) == LVT_DEADLINE) {
		if (!apic->tsc_deadline)
			return ~0ull;
		return apic->tsc_deadline > tsc ? apic->tsc_deadline - tsc : 0;
	}
	if (!apic->timer_runs)
		return ~0ull;
	return apic->timer_base + apic->initial * divisor(apic);
}

void lapic_tick(struct pc_lapic *apic, uint64_t now, uint64_t tsc)
{
	uint64_t due = lapic_deadline(apic, tsc), period;

	if (now < due || due == ~0ull)
		return;
	if (timer_mode(apic) == LVT_DEADLINE) {
		apic->tsc_deadline = 0;
	} else if (timer_mode(apic) == LVT_PERIODIC) {
		period = apic->initial * divisor(apic);
		apic->timer_base += (now - apic->timer_base) / period * period;
	} else {
		apic->timer_runs = false;
	}
	(void)lapic_lvt(apic, LVT_TIMER);
}

static uint32_t current_count(const struct pc_lapic *apic, uint64_t now)
{
	uint64_t passed;

	if (!apic->timer_runs || timer_mode(apic) == LVT_DEADLINE)
		return 0;
	passed = (now - apic->timer_base) / divisor(apic);
	return passed >= apic->initial ? 0 : (uint32_t)(apic->initial - passed);
}

static void start_timer(struct pc_lapic *apic, uint32_t count, uint64_t now)
{
	if (timer_mode(apic) == LVT_DEADLINE)
		return;
	apic->initial = count;
	apic->timer_base = now;
	apic->timer_runs = count != 0;
}

static void set_divide(struct pc_lapic *apic, uint32_t value, uint64_t now)
{
	uint32_t count = current_count(apic, now);

	/* The count goes on from where it is. */
	apic->divide = value & 0xb;
	if (apic->timer_runs)
		apic->timer_base = now - (apic->initial - count) * divisor(apic);
}

static void set_lvt(struct pc_lapic *apic, unsigned int i, uint32_t value)
{
	uint32_t mode = timer_mode(apic);

	value &= lvt_table[i].mask;
	if (!(apic->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	apic->lvt[i] = value;
	if (i == LVT_PMC)
		apic->lvtpc_changed = true;
	if (i == LVT_TIMER && (mode ^ timer_mode(apic)) & LVT_DEADLINE) {
		apic->timer_runs = false;
		apic->tsc_deadline = 0;
		apic->initial = 0;
	}
}

/* ---- Registers ---- */

static uint32_t version(void)
{
	return 0x14u | (LVT_COUNT - 1) << 16;
}

uint32_t lapic_read(struct pc_lapic *apic, uint32_t offset, uint64_t now)
{
	int lvt = find_lvt(offset);

	if (lvt >= 0)
		return apic->lvt[lvt];
	switch (offset & ~0x70u) {
	case 0x100:
		return apic->isr[offset >> 4 & 7];
	case 0x180:
		return apic->tmr[offset >> 4 & 7];
	case 0x200:
		return apic->irr[offset >> 4 & 7];
	}
	switch (offset) {
	case 0x20:
		return x2apic(apic) ? apic->id : apic->id << 24;
	case 0x30:
		return version();
	case 0x80:
		return apic->tpr;
	case 0xa0:
		return ppr(apic);
	case 0xd0:
		return apic->ldr;
	case 0xe0:
		return apic->dfr;
	case 0xf0:
		return apic->svr;
	case 0x280:
		return apic->esr;
	case 0x300:
		return (uint32_t)apic->icr;
	case 0x310:
		return (uint32_t)(apic->icr >> 32);
	case 0x380:
		return apic->initial;
	case 0x390:
		return current_count(apic, now);
	case 0x3e0:
		return apic->divide;
	case 0x90:
	case 0xb0:
	case 0xc0:
		return 0;
	}
	error(apic, ESR_REGISTER);
	return 0;
}

static void set_svr(struct pc_lapic *apic, uint32_t value)
{
	apic->svr = value & 0x1ff;
	if (!(value & SVR_ENABLE)) {
		for (int i = 0; i < LVT_COUNT; i++)
			apic->lvt[i] |= LVT_MASKED;
		apic->lvtpc_changed = true;
	}
}

void lapic_write(struct pc_lapic *apic, uint32_t offset, uint32_t value, uint64_t now)
{
	int lvt = find_lvt(offset);

	if (lvt >= 0) {
		set_lvt(apic, (unsigned int)lvt, value);
		return;
	}
	switch (offset) {
	case 0x80:
		apic->tpr = value & 0xff;
		break;
	case 0xb0:
		eoi(apic);
		break;
	case 0xd0:
		apic->ldr = value & 0xff000000u;
		break;
	case 0xe0:
		apic->dfr = value | 0x0fffffffu;
		break;
	case 0xf0:
		set_svr(apic, value);
		break;
	case 0x280:
		apic->esr = apic->esr_next;
		apic->esr_next = 0;
		break;
	case 0x300: /* the delivery status, bit 12, is never seen set: sending takes no time */
		apic->icr = (apic->icr & ~0xffffffffull) | (value & 0xcefff);
		send(apic, apic->icr);
		break;
	case 0x310:
		apic->icr = (apic->icr & 0xffffffffull) | (uint64_t)(value & 0xff000000u) << 32;
		break;
	case 0x380:
		start_timer(apic, value, now);
		break;
	case 0x3e0:
		set_divide(apic, value, now);
		break;
	case 0x20: /* read-only */
	case 0x30:
	case 0x90:
	case 0xa0:
	case 0xc0:
	case 0x390:
		break;
	default:
		if (offset < 0x100 || offset >= 0x280)
			error(apic, ESR_REGISTER);
	}
}

/* ---- x2APIC: the same registers, but reserved bits and registers fault (SDM table 11-6) ---- */

enum { R = 1, W = 2 };

static unsigned int x2_access(uint32_t offset)
{
	if (find_lvt(offset) >= 0)
		return R | W;
	if (offset >= 0x100 && offset < 0x280)
		return R;
	switch (offset) {
	case 0x20:
	case 0x30:
	case 0xa0:
	case 0xd0:
	case 0x390:
		return R;
	case 0x80:
	case 0xf0:
	case 0x280:
	case 0x300:
	case 0x380:
	case 0x3e0:
		return R | W;
	case 0xb0:
	case 0x3f0:
		return W;
	}
	return 0;
}

static uint64_t x2_writable(uint32_t offset)
{
	int lvt = find_lvt(offset);

	if (lvt >= 0)
		return lvt_table[lvt].mask | 0x1000; /* delivery status: ignored */
	switch (offset) {
	case 0x80:
	case 0x3f0:
		return 0xff;
	case 0xb0:
	case 0x280:
		return 0;
	case 0xf0:
		return 0x1ff;
	case 0x300:
		return 0xffffffff000cdfffull;
	case 0x380:
		return 0xffffffff;
	case 0x3e0:
		return 0xb;
	}
	return 0;
}

bool lapic_x2_read(struct pc_lapic *apic, uint32_t index, uint64_t *value, uint64_t now)
{
	uint32_t offset = (index - 0x800) << 4;

	if (!x2apic(apic) || !(x2_access(offset) & R))
		return false;
	*value = offset == 0x300 ? apic->icr : lapic_read(apic, offset, now);
	return true;
}

bool lapic_x2_write(struct pc_lapic *apic, uint32_t index, uint64_t value, uint64_t now)
{
	uint32_t offset = (index - 0x800) << 4;

	if (!x2apic(apic) || !(x2_access(offset) & W) || value & ~x2_writable(offset))
		return false;
	switch (offset) {
	case 0x300:
		apic->icr = value & ~0x1000ull;
		send(apic, apic->icr);
		return true;
	case 0x3f0: /* self-IPI */
		send(apic, (value & 0xff) | 1u << 18 | 0x4000);
		return true;
	}
	lapic_write(apic, offset, (uint32_t)value, now);
	return true;
}
