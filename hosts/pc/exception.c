/* SPDX-License-Identifier: MIT */
/*
 * Delivery of exceptions and interrupts (SDM Vol. 3A chapter 6): 64-bit gates with the interrupt
 * stack table, and 32-bit interrupt and trap gates. Task gates, 16-bit gates, virtual-8086 mode
 * and real mode are not offered: an exception there ends in a shutdown, as without an IDT.
 */
#include "internal.h"

#include <string.h>

#define GATE_INTERRUPT 0xe
#define GATE_TRAP 0xf
#define DESCRIPTOR_ACCESSED 0x100u
#define DESCRIPTOR_MASK 0x00f0ff00u
#define SEG_CONFORMING 0x400u
#define SEG_WRITABLE 0x200u
#define EXT 1u
#define IDT 2u

struct gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t type, dpl, ist;
	bool present;
};

/* One attempt: works on a copy, and says in `fault` why it failed. */
struct delivery {
	struct pc *pc;
	struct pc_state s;
	struct pc_event event, fault;
	uint32_t ext;
};

static bool fail(struct delivery *d, uint8_t vector, uint32_t error)
{
	d->fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = vector,
		.error = (uint16_t)(error | d->ext) };
	return false;
}

/* Descriptor tables are read as the supervisor, whatever the CPL. */
static bool read_table(struct delivery *d, uint64_t address, void *to, size_t size)
{
	return pc_read_linear(d->pc, &d->s, address, PC_ACCESS_IMPLICIT, to, size, &d->fault);
}

static bool long_mode(const struct delivery *d)
{
	return d->s.efer & PC_EFER_LMA;
}

static bool has_error(uint8_t vector)
{
	return vector == PC_DF || (vector >= PC_TS && vector <= PC_PF) || vector == PC_AC ||
		vector == 21 || vector == 29 || vector == 30;
}

static bool read_gate(struct delivery *d, struct gate *g)
{
	uint32_t size = long_mode(d) ? 16 : 8, at = d->event.vector * size, w[4] = { 0 };
	uint32_t error = d->event.vector * 8u | IDT;

	if (at + size - 1 > d->s.idt.limit)
		return fail(d, PC_GP, error);
	if (!read_table(d, d->s.idt.base + at, w, size))
		return false;
	g->selector = (uint16_t)(w[0] >> 16);
	g->offset = (w[0] & 0xffff) | (w[1] & 0xffff0000u) | (uint64_t)w[2] << 32;
	g->ist = long_mode(d) ? w[1] & 7 : 0;
	g->type = w[1] >> 8 & 0x1f;
	g->dpl = w[1] >> 13 & 3;
	g->present = w[1] >> 15 & 1;
	if (g->type != GATE_INTERRUPT && g->type != GATE_TRAP)
		return fail(d, PC_GP, error);
	if (d->event.kind == PC_EVENT_SOFTWARE && g->dpl < pc_cpl(&d->s))
		return fail(d, PC_GP, error);
	return g->present || fail(d, PC_NP, error);
}

static bool read_descriptor(struct delivery *d, uint16_t selector, uint8_t vector,
	struct pc_segment *seg)
{
	const struct pc_segment *table = selector & 4 ? &d->s.ldt : &d->s.gdt;
	uint32_t w[2], limit;

	if (!(selector & 0xfffc) || (selector | 7u) > table->limit)
		return fail(d, vector, selector & 0xfffc);
	if (!read_table(d, table->base + (selector & 0xfff8), w, 8))
		return false;
	limit = (w[0] & 0xffff) | (w[1] & 0xf0000);
	seg->selector = selector;
	seg->limit = w[1] >> 23 & 1 ? limit << 12 | 0xfff : limit;
	seg->base = w[0] >> 16 | (w[1] & 0xff) << 16 | (w[1] & 0xff000000u);
	seg->attributes = (w[1] & DESCRIPTOR_MASK) | DESCRIPTOR_ACCESSED;
	return true;
}

/* The handler's code segment, and in *cpl the ring it runs in. */
static bool read_code(struct delivery *d, const struct gate *g, struct pc_segment *cs,
	unsigned int *cpl)
{
	uint32_t error = g->selector & 0xfffc, mode;
	unsigned int dpl;

	if (!read_descriptor(d, g->selector, PC_GP, cs))
		return false;
	dpl = PC_SEG_DPL(cs->attributes);
	mode = cs->attributes & (PC_SEG_LONG | PC_SEG_BIG);
	if (!(cs->attributes & PC_SEG_SYSTEM) || !(cs->attributes & PC_SEG_CODE) ||
	    dpl > pc_cpl(&d->s))
		return fail(d, PC_GP, error);
	if (long_mode(d) && mode != PC_SEG_LONG)
		return fail(d, PC_GP, error);
	if (!(cs->attributes & PC_SEG_PRESENT))
		return fail(d, PC_NP, error);
	*cpl = cs->attributes & SEG_CONFORMING ? pc_cpl(&d->s) : dpl;
	cs->selector = (uint16_t)((cs->selector & ~3u) | *cpl);
	return true;
}

/* ---- Stacks ---- */

static bool task_stack64(struct delivery *d, unsigned int index)
{
	uint32_t at = 4 + 8 * index;

	if (at + 7 > d->s.tr.limit)
		return fail(d, PC_TS, d->s.tr.selector & 0xfffc);
	return read_table(d, d->s.tr.base + at, &d->s.rsp, 8);
}

/* Index 0 to 2: RSPn; 4 to 10 lie IST1 to 7. */
static bool stack64(struct delivery *d, const struct gate *g, unsigned int cpl)
{
	bool inner = cpl != pc_cpl(&d->s);

	if ((g->ist || inner) && !task_stack64(d, g->ist ? 3u + g->ist : cpl))
		return false;
	d->s.rsp &= ~15ull;
	if (inner)
		d->s.ss = (struct pc_segment){ .selector = (uint16_t)cpl,
			.attributes = cpl << 13 };
	return true;
}

static bool stack32(struct delivery *d, unsigned int cpl)
{
	uint32_t at = 4 + 8 * cpl, esp;
	struct pc_segment ss;
	uint16_t selector;

	if (cpl == pc_cpl(&d->s))
		return true;
	if (at + 5 > d->s.tr.limit)
		return fail(d, PC_TS, d->s.tr.selector & 0xfffc);
	if (!read_table(d, d->s.tr.base + at, &esp, 4) ||
	    !read_table(d, d->s.tr.base + at + 4, &selector, 2) ||
	    !read_descriptor(d, selector, PC_TS, &ss))
		return false;
	if ((selector & 3) != cpl || PC_SEG_DPL(ss.attributes) != cpl ||
	    !(ss.attributes & PC_SEG_SYSTEM) || ss.attributes & PC_SEG_CODE ||
	    !(ss.attributes & SEG_WRITABLE))
		return fail(d, PC_TS, selector & 0xfffc);
	if (!(ss.attributes & PC_SEG_PRESENT))
		return fail(d, PC_SS, selector & 0xfffc);
	d->s.ss = ss;
	d->s.rsp = esp;
	return true;
}

static unsigned int frame(const struct delivery *d, const struct pc_state *old, bool inner,
	uint64_t *words)
{
	unsigned int n = 0;
	/* RFLAGS.RF is pushed as 1 by faults, so that a breakpoint is not met again. */
	bool fault = d->event.kind == PC_EVENT_EXCEPTION && d->event.vector != PC_DF &&
		(d->event.vector != PC_DB || d->event.fault);

	if (d->event.kind == PC_EVENT_EXCEPTION && has_error(d->event.vector))
		words[n++] = d->event.error;
	words[n++] = old->rip;
	words[n++] = old->cs.selector;
	words[n++] = old->rflags | (fault ? PC_RFLAGS_RF : 0);
	if (long_mode(d) || inner) {
		words[n++] = old->rsp;
		words[n++] = old->ss.selector;
	}
	return n;
}

static bool push_frame(struct delivery *d, const struct pc_state *old, unsigned int cpl)
{
	uint64_t words[6];
	uint8_t bytes[48];
	unsigned int size = long_mode(d) ? 8 : 4;
	unsigned int count = frame(d, old, cpl != pc_cpl(old), words);
	unsigned int access = cpl == 3 ? PC_ACCESS_USER : 0;

	for (unsigned int i = 0; i < count; i++)
		memcpy(bytes + i * size, &words[i], size);
	d->s.rsp -= count * size;
	if (!long_mode(d))
		d->s.rsp &= d->s.ss.attributes & PC_SEG_BIG ? 0xffffffffu : 0xffffu;
	return pc_write_linear(d->pc, &d->s, d->s.ss.base + d->s.rsp, access, bytes,
		(size_t)count * size, &d->fault);
}

static bool attempt(struct delivery *d, struct pc_state *s)
{
	struct pc_segment cs;
	struct gate g;
	unsigned int cpl;

	d->s = *s;
	d->ext = d->event.kind == PC_EVENT_SOFTWARE ? 0 : EXT;
	if (!(s->cr0 & PC_CR0_PE) || s->rflags & PC_RFLAGS_VM)
		return fail(d, PC_DF, 0);
	if (d->event.kind == PC_EVENT_EXCEPTION && d->event.vector == PC_PF)
		d->s.cr2 = s->cr2 = d->event.cr2;
	if (!read_gate(d, &g) || !read_code(d, &g, &cs, &cpl))
		return false;
	if (!(long_mode(d) ? stack64(d, &g, cpl) : stack32(d, cpl)) || !push_frame(d, s, cpl))
		return false;
	d->s.cs = cs;
	d->s.rip = g.offset;
	d->s.rflags &= ~(uint64_t)(PC_RFLAGS_TF | PC_RFLAGS_NT | PC_RFLAGS_RF | PC_RFLAGS_VM);
	if (g.type == GATE_INTERRUPT)
		d->s.rflags &= ~(uint64_t)PC_RFLAGS_IF;
	*s = d->s;
	return true;
}

/* SDM table 6-5: what of the second exception's delivery is left. */
static bool contributory(uint8_t vector)
{
	return vector == PC_DE || (vector >= PC_TS && vector <= PC_GP);
}

static bool doubles(const struct pc_event *first, const struct pc_event *second)
{
	if (first->kind != PC_EVENT_EXCEPTION)
		return false;
	if (contributory(first->vector))
		return contributory(second->vector);
	return first->vector == PC_PF &&
		(contributory(second->vector) || second->vector == PC_PF);
}

bool pc_deliver(struct pc *pc, struct pc_state *s, struct pc_event event)
{
	struct delivery d = { .pc = pc, .event = event };

	/* Each failure makes the next event more severe: at most three attempts. */
	while (!attempt(&d, s)) {
		if (d.event.kind == PC_EVENT_EXCEPTION && d.event.vector == PC_DF)
			return false;
		if (d.event.kind == PC_EVENT_SOFTWARE)
			s->rip -= d.event.length;
		if (doubles(&d.event, &d.fault))
			d.fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_DF };
		d.event = d.fault;
	}
	return true;
}

/* ---- SYSCALL and SYSRET (SDM Vol. 2B): no memory, fixed segments ---- */

static struct pc_segment flat(uint16_t selector, uint32_t attributes)
{
	return (struct pc_segment){ .selector = selector, .limit = 0xffffffffu,
		.attributes = attributes };
}

#define FLAT_CODE 0x0080fb00u /* G, present, DPL 3, code, accessed */
#define FLAT_DATA 0x00c0f300u /* G, B, present, DPL 3, data, accessed */
#define FLAT_DPL  0x6000u

bool pc_syscall(struct pc *pc, struct pc_state *s, uint64_t next, uint64_t *rcx, uint64_t *r11,
	struct pc_event *fault)
{
	uint16_t cs = (uint16_t)(pc->msrs.star >> 32 & 0xfffc);
	bool from64 = s->cs.attributes & PC_SEG_LONG;

	*fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_UD };
	/* In compatibility mode it exists on AMD machines only. */
	if (!(s->efer & PC_EFER_SCE) || !(s->efer & PC_EFER_LMA) || (!from64 && !pc->config.amd))
		return false;
	*rcx = next;
	*r11 = s->rflags & ~(uint64_t)PC_RFLAGS_RF;
	s->rip = from64 ? pc->msrs.lstar : pc->msrs.cstar;
	s->rflags &= ~(pc->msrs.fmask | PC_RFLAGS_RF);
	s->rflags |= 2;
	s->cs = flat(cs, (FLAT_CODE & ~FLAT_DPL) | PC_SEG_LONG);
	s->ss = flat((uint16_t)(cs + 8), FLAT_DATA & ~FLAT_DPL);
	return true;
}

bool pc_sysret(struct pc *pc, struct pc_state *s, bool wide, uint64_t rcx, uint64_t r11,
	struct pc_event *fault)
{
	uint16_t base = (uint16_t)(pc->msrs.star >> 48);

	*fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_UD };
	if (!(s->efer & PC_EFER_SCE) || !(s->cs.attributes & PC_SEG_LONG))
		return false;
	fault->vector = PC_GP;
	if (pc_cpl(s) || (wide && (uint64_t)((int64_t)(rcx << 16) >> 16) != rcx))
		return false;
	s->rip = wide ? rcx : (uint32_t)rcx;
	s->rflags = (r11 & 0x3c7fd7) | 2;
	s->cs = flat((uint16_t)((base + (wide ? 16 : 0)) | 3),
		FLAT_CODE | (wide ? PC_SEG_LONG : PC_SEG_BIG));
	s->ss = flat((uint16_t)((base + 8) | 3), FLAT_DATA);
	return true;
}
