/* SPDX-License-Identifier: MIT */
/*
 * One hook before each instruction does it all: what executed until now has retired, what is due
 * is due between instructions, and the next one is decoded, taken, or left to Unicorn.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE (1u << 20)         /* instructions at most between looks at pc_stopping() */
#define EFER_WRITABLE (PC_EFER_SCE | PC_EFER_LME | PC_EFER_NXE)

static struct unicorn *of(struct pc_engine *engine)
{
	return (struct unicorn *)(void *)engine;
}

/* ---- Registers ---- */

uint64_t unicorn_register(const struct unicorn *u, int reg)
{
	uint64_t value = 0;

	(void)uc_reg_read(u->uc, reg, &value);
	return value;
}

void unicorn_set_register(struct unicorn *u, int reg, uint64_t value)
{
	(void)uc_reg_write(u->uc, reg, &value);
}

static struct pc_segment segment(const struct unicorn *u, unsigned int i)
{
	struct raw_segment raw = layout_segment(u->context, &u->at, i);

	return (struct pc_segment){ .selector = (uint16_t)raw.selector, .limit = raw.limit,
		.attributes = raw.flags, .base = raw.base };
}

static void set_segment(struct unicorn *u, unsigned int i, const struct pc_segment *s)
{
	struct raw_segment raw = { .selector = s->selector, .base = s->base, .limit = s->limit,
		.flags = s->attributes };

	layout_set_segment(u->context, &u->at, i, &raw);
}

void unicorn_state(struct unicorn *u, struct pc_state *s)
{
	uc_context_save(u->uc, u->context);
	s->rip = unicorn_register(u, UC_X86_REG_RIP);
	s->rsp = unicorn_register(u, UC_X86_REG_RSP);
	s->rflags = unicorn_register(u, UC_X86_REG_RFLAGS);
	s->cr0 = layout_get64(u->context, u->at.control);
	s->cr2 = layout_get64(u->context, u->at.control + 16);
	s->cr3 = layout_get64(u->context, u->at.control + 24);
	s->cr4 = layout_get64(u->context, u->at.control + 32);
	s->efer = layout_get64(u->context, u->at.efer);
	s->cs = segment(u, SEG_CS);
	s->ss = segment(u, SEG_SS);
	s->ldt = segment(u, SEG_LDT);
	s->tr = segment(u, SEG_TR);
	s->gdt = segment(u, SEG_GDT);
	s->idt = segment(u, SEG_IDT);
	/* Without paging or virtual-8086 mode, real mode's segments have no DPL: ring 0. */
	s->ss.attributes &= ~0x6000u;
	s->ss.attributes |= (layout_get32(u->context, u->at.hflags) & HF_CPL) << 13;
}

/* What Unicorn derives from segments, in its hidden flags. */
static uint32_t hidden(const struct pc_state *s, uint32_t flags)
{
	bool wide = s->cs.attributes & PC_SEG_LONG && s->efer & PC_EFER_LMA;

	flags &= ~(HF_CPL | HF_CS32 | HF_SS32 | HF_ADDSEG | HF_CS64 | HF_LMA);
	flags |= pc_cpl(s);
	if (s->efer & PC_EFER_LMA)
		flags |= HF_LMA;
	if (wide)
		return flags | HF_CS32 | HF_SS32 | HF_CS64;
	/* Segment bases count: always right, sometimes slower. */
	flags |= HF_ADDSEG;
	flags |= s->cs.attributes & PC_SEG_BIG ? HF_CS32 : 0;
	flags |= s->ss.attributes & PC_SEG_BIG ? HF_SS32 : 0;
	return flags;
}

static void refresh(struct unicorn *u)
{
	uint32_t flags;

	uc_context_save(u->uc, u->context);
	flags = layout_get32(u->context, u->at.hflags);
	/* The horizon was that of the other ring: ask again soon. */
	if (u->cpl != (flags & HF_CPL))
		u->horizon = (struct pc_horizon){ 1, 1 };
	u->cpl = flags & HF_CPL;
	u->mode = flags & HF_CS64 ? 64 : flags & HF_CS32 ? 32 : 16;
}

/* What pc_deliver() and its kin change; control registers and tables stay as they are. */
void unicorn_set_state(struct unicorn *u, const struct pc_state *s)
{
	unicorn_flush(u);
	unicorn_set_register(u, UC_X86_REG_RIP, s->rip);
	unicorn_set_register(u, UC_X86_REG_RSP, s->rsp);
	unicorn_set_register(u, UC_X86_REG_RFLAGS, s->rflags);
	uc_context_save(u->uc, u->context);
	set_segment(u, SEG_CS, &s->cs);
	set_segment(u, SEG_SS, &s->ss);
	layout_set32(u->context, u->at.hflags,
		hidden(s, layout_get32(u->context, u->at.hflags)));
	layout_set64(u->context, u->at.control + 16, s->cr2);
	layout_set32(u->context, u->at.old_exception, 0xffffffffu);
	uc_context_restore(u->uc, u->context);
	refresh(u);
}

/* ---- Stopping ---- */

void unicorn_stop(struct unicorn *u, enum pc_stop why)
{
	u->stopped = true;
	u->stop = why;
	uc_emu_stop(u->uc);
}

static void end_exit(struct unicorn *u)
{
	if (u->intercepted)
		pc_enter(u->base.pc);
	u->intercepted = false;
}

/* The instruction in execution has not completed. */
static void abandon(struct unicorn *u)
{
	u->executing = false;
	memset(&u->own, 0, sizeof(u->own));
	end_exit(u);
}

void unicorn_raise(struct unicorn *u, struct pc_event event)
{
	abandon(u);
	u->base.event = event;
	unicorn_stop(u, PC_STOP_EVENT);
}

void unicorn_restart(struct unicorn *u)
{
	abandon(u);
	u->remap = u->resume = true;
	unicorn_stop(u, PC_STOP_ATTENTION);
}

void unicorn_broken(struct unicorn *u, const char *why)
{
	u->base.error = why;
	unicorn_stop(u, PC_STOP_BROKEN);
}

bool unicorn_begin_exit(struct unicorn *u, enum pc_exit why, uint32_t index)
{
	if (!u->intercepted)
		u->intercepted = pc_exit(u->base.pc, why, index);
	return u->intercepted;
}

/* ---- Retiring ---- */

void unicorn_flush(struct unicorn *u)
{
	struct pc_events e = u->events;

	memset(&u->events, 0, sizeof(u->events));
	u->horizon = pc_retired(u->base.pc, u->cpl == 3, &e);
	if (u->horizon.events > PATIENCE)
		u->horizon.events = PATIENCE;
	u->attention = pc_attention(u->base.pc);
}

static void add(struct pc_events *to, const struct pc_events *e)
{
	to->instructions += e->instructions;
	to->cycles += e->cycles;
	to->branches += e->branches;
	to->branches_conditional += e->branches_conditional;
	to->branches_taken += e->branches_taken;
	to->branches_mispredicted += e->branches_mispredicted;
	to->loads += e->loads;
	to->stores += e->stores;
	to->llc_references += e->llc_references;
	to->llc_misses += e->llc_misses;
}

static bool was_taken(const struct unicorn *u, uint64_t next)
{
	if (u->insn->branch != BRANCH_CONDITIONAL)
		return true;
	/* A target right behind: both ways lead there, and hardware calls it taken if it was. */
	if (u->insn->flags & INSN_TO_NEXT)
		return u->taken_to_next;
	return next != u->insn->address + u->insn->length;
}

static void branch_events(struct unicorn *u, uint64_t next, struct pc_events *e)
{
	const struct insn *i = u->insn;
	bool taken = was_taken(u, next), wrong = false;

	e->branches = 1;
	e->branches_taken = taken;
	if (i->branch == BRANCH_CONDITIONAL) {
		e->branches_conditional = 1;
		wrong = predictor_conditional(&u->predictor, i->address, taken);
	} else if (i->branch == BRANCH_INDIRECT) {
		wrong = predictor_indirect(&u->predictor, i->address, next);
	}
	e->branches_mispredicted = wrong;
}

static bool due(const struct unicorn *u)
{
	return u->events.cycles >= u->horizon.cycles ||
		u->events.instructions >= u->horizon.events ||
		u->events.llc_references >= u->horizon.events;
}

static void settle(struct unicorn *u)
{
	if (u->insn->flags & (INSN_MODE | INSN_MMU)) {
		unicorn_flush(u);
		refresh(u);
	}
	if (u->insn->flags & INSN_MMU) {
		unicorn_forget_pages(u);
		u->remap = true;
	}
}

void unicorn_retire(struct unicorn *u, uint64_t next)
{
	struct pc_events e = u->own;

	u->executing = false;
	memset(&u->own, 0, sizeof(u->own));
	e.instructions = 1;
	e.loads = u->insn->flags & INSN_LOADS ? 1 : 0;
	e.stores = u->insn->flags & INSN_STORES ? 1 : 0;
	if (u->insn->branch != BRANCH_NONE)
		branch_events(u, next, &e);
	e.cycles = 1 + model_extra_cycles(&e);
	if (u->intercepted) {
		pc_emulated(u->base.pc, u->cpl == 3, &e);
		end_exit(u);
		unicorn_flush(u);
	} else {
		add(&u->events, &e);
	}
	if (u->base.left)
		u->base.left--;
	u->base.shadow = u->insn->flags & INSN_SHADOW || u->sti_opens;
	u->sti_opens = false;
	settle(u);
	if (due(u))
		unicorn_flush(u);
}

/* What nine of ten instructions need of unicorn_retire(). */
static bool retire_plain(struct unicorn *u)
{
	const struct insn *i = u->insn;

	if (i->special || u->intercepted || u->own.llc_references)
		return false;
	u->executing = false;
	u->base.shadow = false;
	u->events.instructions++;
	u->events.cycles++;
	u->events.loads += i->flags / INSN_LOADS & 1;
	u->events.stores += i->flags / INSN_STORES & 1;
	u->base.left--;
	if (due(u))
		unicorn_flush(u);
	return true;
}

/* A repetition takes time, and brings the limit nearer, so that a long REP is no hang. */
static void repeat(struct unicorn *u)
{
	u->events.cycles++;
	u->base.left--;
	if (u->events.cycles >= u->horizon.cycles || u->events.cycles >= PATIENCE)
		unicorn_flush(u);
}

/* A REP at the same address goes on; everything else that is followed by a hook is complete. */
static void complete(struct unicorn *u, uint64_t next)
{
	if (retire_plain(u))
		return;
	if (u->insn->flags & INSN_REP && next == u->insn->address)
		repeat(u);
	else
		unicorn_retire(u, next);
}

/* ---- The next instruction ---- */

static unsigned int read_code(struct unicorn *u, uint64_t address, uint8_t bytes[16])
{
	unsigned int n = 0x1000 - (address & 0xfff), first = n < 15 ? n : 15;
	const uint8_t *page = unicorn_fetch_page(u, address);

	memset(bytes, 0, 16);
	if (!page)
		return 0;
	memcpy(bytes, page + (address & 0xfff), first);
	if (first == 15)
		return 15;
	page = unicorn_fetch_page(u, address + first);
	if (page)
		memcpy(bytes + first, page, 15 - first);
	return page ? 15 : first;
}

static const uint64_t masks[9] = { 0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff,
	0xffffffffffff, 0xffffffffffffff, 0xffffffffffffffff };

static bool same(const struct insn *d, const uint8_t bytes[16])
{
	uint64_t low, high;

	memcpy(&low, bytes, 8);
	memcpy(&high, bytes + 8, 8);
	return !((low ^ d->low) & masks[d->length < 8 ? d->length : 8]) &&
		!((high ^ d->high) & masks[d->length < 8 ? 0 : d->length - 8]);
}

/* Bytes at `address`: in place where a whole instruction fits into the page. */
static const uint8_t *code_at(struct unicorn *u, uint64_t address, uint8_t buffer[16],
	unsigned int *available)
{
	*available = 15;
	if ((address & 0xfff) <= 0xff0) {
		if (u->code_page != (address >> 12) + 1) {
			u->code_host = unicorn_fetch_page(u, address);
			u->code_page = u->code_host ? (address >> 12) + 1 : 0;
		}
		if (u->code_page)
			return u->code_host + (address & 0xfff);
	}
	*available = read_code(u, address, buffer);
	return buffer;
}

/* False: Unicorn is about to execute something else than what is in memory. */
static bool decode(struct unicorn *u, uint64_t address, uint32_t size)
{
	unsigned int i = (address ^ address >> 16) % DECODED, available;
	struct insn *d = &u->decoded[i];
	uint8_t buffer[16], safe[16] = { 0 };
	const uint8_t *bytes = code_at(u, address, buffer, &available);
	bool stale = d->address == address && d->mode;

	if (!stale || d->mode != u->mode || !same(d, bytes)) {
		stale = stale && d->mode == u->mode;
		memcpy(safe, bytes, 15);
		decoder_decode(u->decoder, address, u->mode, safe, available, d, &u->memory[i]);
		if (stale)
			return false;
	}
	u->insn = d;
	u->insn_memory = &u->memory[i];
	/* An undefined instruction has no length here. */
	if (d->flags & INSN_UNKNOWN && size <= 15)
		u->insn->length = (uint8_t)size;
	return true;
}

/* Jcc, LOOP and JRCXZ by their opcode, for the one case where RIP does not tell. */
static bool condition(const struct unicorn *u, const struct insn *i)
{
	uint64_t f = unicorn_register(u, UC_X86_REG_RFLAGS);
	uint64_t rcx = unicorn_register(u, UC_X86_REG_RCX);
	unsigned int op = i->length >= 6 ? i->low >> 8 & 15 : i->low & 0xff;
	bool zf = f >> 6 & 1, sf = f >> 7 & 1, of = f >> 11 & 1, cf = f & 1, result = false;

	switch (op) {
	case 0xe0:
		return rcx != 1 && !zf;
	case 0xe1:
		return rcx != 1 && zf;
	case 0xe2:
		return rcx != 1;
	case 0xe3:
		return rcx == 0;
	}
	switch (op >> 1 & 7) {
	case 0:
		result = of;
		break;
	case 1:
		result = cf;
		break;
	case 2:
		result = zf;
		break;
	case 3:
		result = cf || zf;
		break;
	case 4:
		result = sf;
		break;
	case 5:
		result = f >> 2 & 1;
		break;
	case 6:
		result = sf != of;
		break;
	case 7:
		result = zf || sf != of;
		break;
	}
	return result != (op & 1);
}

/* Small things before an instruction that Unicorn executes. */
static void prepare(struct unicorn *u)
{
	const struct insn *i = u->insn;
	uint64_t next = i->address + i->length;

	u->sti_opens = i->flags & INSN_STI &&
		!(unicorn_register(u, UC_X86_REG_RFLAGS) & PC_RFLAGS_IF);
	if (i->flags & INSN_IRET) {
		pc_iret(u->base.pc);
		u->attention = true;
	}
	if (i->flags & INSN_TO_NEXT)
		u->taken_to_next = condition(u, i);
	if (i->kind == INSN_CLFLUSH && u->caches && i->operand)
		caches_flush(u->caches, unicorn_operand(u, u->insn_memory, next));
}

/* False: an interrupt, or the end, at this boundary. */
static bool quiet(struct unicorn *u)
{
	u->attention = pc_attention(u->base.pc);
	if (u->attention && pc_interruptible(u->base.pc, unicorn_register(u, UC_X86_REG_RFLAGS),
		u->base.shadow)) {
		unicorn_stop(u, PC_STOP_ATTENTION);
		return false;
	}
	return true;
}

/* False: no instruction may execute now. */
static bool boundary(struct unicorn *u)
{
	if (u->base.left == 0) {
		unicorn_stop(u, PC_STOP_LIMIT);
		return false;
	}
	if (u->remap) {
		u->resume = true;
		unicorn_stop(u, PC_STOP_ATTENTION);
		return false;
	}
	return !u->attention || quiet(u);
}

/* A breakpoint on execution: #DB before it, a fault (SDM Vol. 3B 18.3.1.1). True: raised. */
static bool breakpoint(struct unicorn *u, uint64_t address)
{
	static const int registers[4] = { UC_X86_REG_DR0, UC_X86_REG_DR1, UC_X86_REG_DR2,
		UC_X86_REG_DR3 };
	uint64_t hits = 0;

	for (unsigned int i = 0; i < 4; i++)
		if (u->breakpoints >> i & 1 && unicorn_register(u, registers[i]) == address)
			hits |= 1u << i;
	if (!hits || unicorn_register(u, UC_X86_REG_RFLAGS) & PC_RFLAGS_RF)
		return false;
	unicorn_set_register(u, UC_X86_REG_DR6,
		(unicorn_register(u, UC_X86_REG_DR6) & ~15ull) | hits);
	unicorn_raise(u, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_DB,
		.fault = true });
	return true;
}

static void before(uc_engine *uc, uint64_t address, uint32_t size, void *user)
{
	struct unicorn *u = user;

	if (u->stopped) { /* Unicorn was told already */
		uc_emu_stop(uc);
		return;
	}
	if (u->executing)
		complete(u, address);
	if (!boundary(u)) {
		if (u->executing) /* a REP between repetitions */
			abandon(u);
		return;
	}
	if (!decode(u, address, size)) {
		u->stale = address;
		unicorn_restart(u);
		return;
	}
	if (u->breakpoints && breakpoint(u, address))
		return;
	u->executing = true;
	if (u->insn->special && !unicorn_take(u))
		prepare(u);
}

/* ---- What Unicorn raises ---- */

/*
 * At a fault RIP is at the instruction that has not completed. If that is another than the one in
 * execution, then that one has, and fetching the next has failed.
 */
static void raised(struct unicorn *u, struct pc_event event)
{
	uint64_t rip = unicorn_register(u, UC_X86_REG_RIP);

	if (u->stopped)
		return;
	if (u->executing && u->mode != 16 && rip != u->insn->address)
		unicorn_retire(u, rip);
	unicorn_raise(u, event);
}

static void interrupt(uc_engine *uc, uint32_t number, void *user)
{
	struct unicorn *u = user;
	struct pc_event e = { .kind = PC_EVENT_EXCEPTION, .vector = (uint8_t)number };

	(void)uc;
	if (u->executing && u->insn->kind == INSN_INT) {
		e.kind = PC_EVENT_SOFTWARE;
		e.length = u->insn->length;
		unicorn_retire(u, unicorn_register(u, UC_X86_REG_RIP));
		unicorn_raise(u, e);
		return;
	}
	uc_context_save(u->uc, u->context);
	e.error = (uint16_t)layout_get32(u->context, u->at.error);
	e.cr2 = layout_get64(u->context, u->at.control + 16);
	if (number == PC_DB && u->executing) /* single step: a trap */
		unicorn_retire(u, unicorn_register(u, UC_X86_REG_RIP));
	raised(u, e);
}

static bool undefined(uc_engine *uc, void *user)
{
	(void)uc;
	raised(user, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_UD });
	return true;
}

static bool unmapped(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value,
	void *user)
{
	struct unicorn *u = user;
	unsigned int access = type == UC_MEM_WRITE_UNMAPPED ? PC_ACCESS_WRITE :
		type == UC_MEM_FETCH_UNMAPPED ? PC_ACCESS_FETCH : 0;

	(void)uc;
	(void)size;
	(void)value;
	if (u->stopped)
		return false;
	/* A fetch: what jumped there has completed, and may have changed the mode. */
	if (access == PC_ACCESS_FETCH && u->executing &&
	    unicorn_register(u, UC_X86_REG_RIP) != u->insn->address)
		unicorn_retire(u, unicorn_register(u, UC_X86_REG_RIP));
	return unicorn_unmapped(u, address, access);
}

/* Code in a device. Nothing there would be an instruction: ones, FF FF, are undefined. */
static bool unfetchable(uc_engine *uc, uc_mem_type type, uint64_t address, int size,
	int64_t value, void *user)
{
	struct unicorn *u = user;

	(void)uc;
	(void)type;
	(void)address;
	(void)size;
	(void)value;
	raised(u, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_UD });
	return false;
}

static void accessed(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value,
	void *user)
{
	struct unicorn *u = user;

	(void)uc;
	(void)type;
	(void)size;
	(void)value;
	caches_access(u->caches, address, &u->own);
}

/* ---- Ports ---- */

static void port_exit(struct unicorn *u, uint32_t port)
{
	unicorn_flush(u);
	(void)unicorn_begin_exit(u, PC_EXIT_IO, port);
}

static uint32_t port_in(uc_engine *uc, uint32_t port, int size, void *user)
{
	struct unicorn *u = user;

	(void)uc;
	port_exit(u, port);
	return pc_port_read(u->base.pc, (uint16_t)port, (unsigned int)size);
}

static void port_out(uc_engine *uc, uint32_t port, int size, uint32_t value, void *user)
{
	struct unicorn *u = user;

	(void)uc;
	port_exit(u, port);
	pc_port_write(u->base.pc, (uint16_t)port, (unsigned int)size, value);
	u->attention = true;
}

/* ---- MSRs of the engine ---- */

static enum pc_answer read_efer(struct unicorn *u, uint64_t *value)
{
	uc_context_save(u->uc, u->context);
	*value = layout_get64(u->context, u->at.efer);
	return PC_DONE;
}

/* Unicorn's own write ignores the bits of features that it does not admit to having. */
static enum pc_answer write_efer(struct unicorn *u, uint64_t value)
{
	uint64_t old;

	(void)read_efer(u, &old);
	if (value & ~(uint64_t)(EFER_WRITABLE | PC_EFER_LMA) ||
	    ((value ^ old) & PC_EFER_LME && unicorn_register(u, UC_X86_REG_CR0) & PC_CR0_PG))
		return PC_FAULT;
	layout_set64(u->context, u->at.efer, (value & EFER_WRITABLE) | (old & PC_EFER_LMA));
	uc_context_restore(u->uc, u->context);
	return PC_DONE;
}

static bool is_base(uint32_t index)
{
	return index >= 0xc0000100u && index <= 0xc0000102u;
}

static enum pc_answer read_msr(struct pc_engine *engine, uint32_t index, uint64_t *value)
{
	uc_x86_msr msr = { .rid = index };

	if (index == 0xc0000080u)
		return read_efer(of(engine), value);
	if (!is_base(index))
		return PC_NOT_MINE;
	uc_reg_read(of(engine)->uc, UC_X86_REG_MSR, &msr);
	*value = msr.value;
	return PC_DONE;
}

static enum pc_answer write_msr(struct pc_engine *engine, uint32_t index, uint64_t value)
{
	uc_x86_msr msr = { .rid = index, .value = value };

	if (index == 0xc0000080u)
		return write_efer(of(engine), value);
	if (index == 0x49) /* IBPB: the PC's register, our predictor */
		predictor_reset(&of(engine)->predictor);
	if (!is_base(index))
		return PC_NOT_MINE;
	if ((uint64_t)((int64_t)(value << 16) >> 16) != value)
		return PC_FAULT;
	uc_reg_write(of(engine)->uc, UC_X86_REG_MSR, &msr);
	return PC_DONE;
}

/* ---- Run ---- */

static bool remap(struct unicorn *u)
{
	struct pc_state s;

	u->remap = false;
	if (u->stale) {
		(void)uc_ctl_remove_cache(u->uc, u->stale, u->stale + 16);
		u->stale = 0;
	}
	unicorn_drop_aliases(u);
	unicorn_state(u, &s);
	return unicorn_check_map(u, &s);
}

static uc_err execute(struct unicorn *u)
{
	struct guard g;
	uc_err e;

	if (guard_enter(&g)) {
		u->dead = true;
		u->base.error = "Unicorn has crashed on an instruction of the guest";
		return UC_ERR_EXCEPTION;
	}
	e = uc_emu_start(u->uc, unicorn_register(u, UC_X86_REG_RIP), 0, 0, 0);
	guard_leave();
	return e;
}

static enum pc_stop run(struct pc_engine *engine)
{
	struct unicorn *u = of(engine);
	unsigned int idle = 0;
	uc_err e;

	if (u->dead)
		return PC_STOP_BROKEN;
	u->attention = true;
	do {
		u->stopped = u->resume = u->deferred = false;
		if (u->remap && !remap(u))
			return u->stop;
		e = execute(u);
		if (u->dead)
			return PC_STOP_BROKEN;
		if (u->deferred)
			unicorn_take_deferred(u);
		if (u->stopped && !u->resume) {
			unicorn_flush(u);
			return u->stop;
		}
		/* Unicorn may return for reasons of its own, but not again and again. */
		idle = u->stopped || u->deferred ? 0 : idle + 1;
	} while (idle < 3);
	u->base.error = e == UC_ERR_OK ? "Unicorn stops for no reason" : uc_strerror(e);
	return PC_STOP_BROKEN;
}

static void get(struct pc_engine *engine, struct pc_state *s)
{
	unicorn_state(of(engine), s);
}

static void set(struct pc_engine *engine, const struct pc_state *s)
{
	unicorn_set_state(of(engine), s);
}

/* ---- Creation ---- */

static void start(struct pc_engine *engine, const struct pc_state *s, uint32_t eax, uint32_t ebx)
{
	struct unicorn *u = of(engine);
	uint32_t mxcsr = 0x1f80;
	uint16_t fpcw = 0x37f;

	unicorn_set_register(u, UC_X86_REG_RIP, s->rip);
	unicorn_set_register(u, UC_X86_REG_RFLAGS, s->rflags);
	unicorn_set_register(u, UC_X86_REG_RAX, eax);
	unicorn_set_register(u, UC_X86_REG_RBX, ebx);
	uc_reg_write(u->uc, UC_X86_REG_MXCSR, &mxcsr);
	uc_reg_write(u->uc, UC_X86_REG_FPCW, &fpcw);
	uc_context_save(u->uc, u->context);
	for (unsigned int i = SEG_ES; i <= SEG_GS; i++)
		set_segment(u, i, i == SEG_CS ? &s->cs : &s->ss);
	set_segment(u, SEG_LDT, &s->ldt);
	set_segment(u, SEG_TR, &s->tr);
	set_segment(u, SEG_GDT, &s->gdt);
	set_segment(u, SEG_IDT, &s->idt);
	layout_set64(u->context, u->at.efer, s->efer);
	layout_set64(u->context, u->at.control, s->cr0);
	layout_set32(u->context, u->at.hflags,
		hidden(s, layout_get32(u->context, u->at.hflags)));
	uc_context_restore(u->uc, u->context);
	refresh(u);
}

static void destroy(struct pc_engine *engine)
{
	struct unicorn *u = of(engine);

	/* Nothing of a crashed Unicorn can be touched; its memory is lost, mirrors included. */
	if (u->uc && !u->dead) {
		unicorn_drop_aliases(u);
		uc_context_free(u->context);
		uc_close(u->uc);
	}
	decoder_destroy(u->decoder);
	free(u->caches);
	free(u->decoded);
	free(u->memory);
	free(u);
}

static const struct pc_engine_ops ops = {
	.size = sizeof(ops),
	.run = run,
	.get = get,
	.set = set,
	.rdmsr = read_msr,
	.wrmsr = write_msr,
	.start = start,
	.destroy = destroy,
};

static bool hook(struct unicorn *u, int type, void (*callback)(void), int insn)
{
	uc_hook h;

	/* Unicorn's interface takes every kind of callback as a void pointer. */
	return uc_hook_add(u->uc, &h, type, (void *)(uintptr_t)callback, u, 1, 0, insn) ==
		UC_ERR_OK;
}

#define CALLBACK(f) ((void (*)(void))(f))

static bool hooks(struct unicorn *u)
{
	return hook(u, UC_HOOK_CODE, CALLBACK(before), 0) &&
		hook(u, UC_HOOK_INTR, CALLBACK(interrupt), 0) &&
		hook(u, UC_HOOK_INSN_INVALID, CALLBACK(undefined), 0) &&
		hook(u, UC_HOOK_MEM_UNMAPPED, CALLBACK(unmapped), 0) &&
		hook(u, UC_HOOK_MEM_FETCH_PROT, CALLBACK(unfetchable), 0) &&
		hook(u, UC_HOOK_INSN, CALLBACK(port_in), UC_X86_INS_IN) &&
		hook(u, UC_HOOK_INSN, CALLBACK(port_out), UC_X86_INS_OUT) &&
		(!u->caches ||
		hook(u, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, CALLBACK(accessed), 0));
}

/* On a Unicorn of its own: nothing that was executed there can be in the guest's way. */
static const char *explore(struct layout *at)
{
	const char *why = "Unicorn cannot execute x86";
	uc_engine *uc;

	if (uc_open(UC_ARCH_X86, UC_MODE_64, &uc) != UC_ERR_OK)
		return why;
	why = layout_find(uc, at);
	uc_close(uc);
	return why;
}

static const char *build(struct unicorn *u)
{
	const char *why;

	u->decoder = decoder_create();
	u->decoded = calloc(DECODED, sizeof(*u->decoded));
	u->memory = calloc(DECODED, sizeof(*u->memory));
	u->caches = u->config.caches ? calloc(1, sizeof(*u->caches)) : NULL;
	if (!u->decoder || !u->decoded || !u->memory || (u->config.caches && !u->caches))
		return "no memory, or no Capstone for x86";
	why = explore(&u->at);
	if (why)
		return why;
	if (uc_open(UC_ARCH_X86, UC_MODE_64, &u->uc) != UC_ERR_OK ||
	    uc_context_alloc(u->uc, &u->context) != UC_ERR_OK ||
	    /* No address ends the run: Unicorn would look it up, and note that it is not there. */
	    uc_ctl_exits_enable(u->uc) != UC_ERR_OK || !unicorn_map_ram(u) || !hooks(u))
		return "Unicorn refuses the memory or a hook";
	return NULL;
}

struct pc_engine *unicorn_create(struct pc *pc, const struct unicorn_config *config,
	const char **why)
{
	struct unicorn *u = calloc(1, sizeof(*u));

	guard_install();
	*why = "no memory";
	if (!u)
		return NULL;
	u->base.ops = &ops;
	u->base.pc = pc;
	u->config = *config;
	u->dr7 = 0x400;
	u->horizon = (struct pc_horizon){ 1, 1 };
	predictor_reset(&u->predictor);
	*why = build(u);
	if (*why) {
		destroy(&u->base);
		return NULL;
	}
	return &u->base;
}
