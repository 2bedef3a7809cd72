/* SPDX-License-Identifier: MIT */
/*
 * Instructions that Unicorn would get wrong or that concern the PC. Each is decided first (may
 * fault, changes nothing), then done: registers, RIP behind it; it retires like any other.
 */
#include "internal.h"

#include <capstone/capstone.h>

#define DR6_BS 0x4000u

/* Capstone's number of a register to Unicorn's; 0 when it is none of these. */
static int general(unsigned int reg)
{
	static const struct {
		uint16_t capstone, unicorn;
	} map[] = {
		{ X86_REG_RAX, UC_X86_REG_RAX }, { X86_REG_RCX, UC_X86_REG_RCX },
		{ X86_REG_RDX, UC_X86_REG_RDX }, { X86_REG_RBX, UC_X86_REG_RBX },
		{ X86_REG_RSP, UC_X86_REG_RSP }, { X86_REG_RBP, UC_X86_REG_RBP },
		{ X86_REG_RSI, UC_X86_REG_RSI }, { X86_REG_RDI, UC_X86_REG_RDI },
		{ X86_REG_R8, UC_X86_REG_R8 }, { X86_REG_R9, UC_X86_REG_R9 },
		{ X86_REG_R10, UC_X86_REG_R10 }, { X86_REG_R11, UC_X86_REG_R11 },
		{ X86_REG_R12, UC_X86_REG_R12 }, { X86_REG_R13, UC_X86_REG_R13 },
		{ X86_REG_R14, UC_X86_REG_R14 }, { X86_REG_R15, UC_X86_REG_R15 },
		{ X86_REG_EAX, UC_X86_REG_RAX }, { X86_REG_ECX, UC_X86_REG_RCX },
		{ X86_REG_EDX, UC_X86_REG_RDX }, { X86_REG_EBX, UC_X86_REG_RBX },
		{ X86_REG_ESP, UC_X86_REG_RSP }, { X86_REG_EBP, UC_X86_REG_RBP },
		{ X86_REG_ESI, UC_X86_REG_RSI }, { X86_REG_EDI, UC_X86_REG_RDI },
	};

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (map[i].capstone == reg)
			return map[i].unicorn;
	return 0;
}

static uint64_t segment_base(const struct unicorn *u, unsigned int reg)
{
	if (reg == X86_REG_FS)
		return unicorn_register(u, UC_X86_REG_FS_BASE);
	if (reg == X86_REG_GS)
		return unicorn_register(u, UC_X86_REG_GS_BASE);
	return 0; /* flat */
}

uint64_t unicorn_operand(const struct unicorn *u, const struct insn_memory *m, uint64_t next)
{
	uint64_t address = (uint64_t)m->displacement + segment_base(u, m->segment);

	if (m->base == X86_REG_RIP)
		address += next;
	else if (general(m->base))
		address += unicorn_register(u, general(m->base));
	if (general(m->index))
		address += unicorn_register(u, general(m->index)) * m->scale;
	return u->mode == 64 ? address : address & 0xffffffffu;
}

static uint32_t low(const struct unicorn *u, int reg)
{
	return (uint32_t)unicorn_register(u, reg);
}

static void set_edx_eax(struct unicorn *u, uint64_t value)
{
	unicorn_set_register(u, UC_X86_REG_RAX, value & 0xffffffffu);
	unicorn_set_register(u, UC_X86_REG_RDX, value >> 32);
}

static bool fault(struct unicorn *u, uint8_t vector)
{
	unicorn_raise(u, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = vector });
	return true;
}

static void done(struct unicorn *u)
{
	uint64_t next = unicorn_register(u, UC_X86_REG_RIP) + u->insn->length;

	u->attention = pc_attention(u->base.pc);
	unicorn_set_register(u, UC_X86_REG_RIP, next);
	if (!(unicorn_register(u, UC_X86_REG_RFLAGS) & PC_RFLAGS_TF))
		return;
	/* Unicorn steps over what it executes itself; the rest is for us to trap. */
	unicorn_retire(u, u->insn->address + u->insn->length);
	unicorn_set_register(u, UC_X86_REG_DR6,
		unicorn_register(u, UC_X86_REG_DR6) | DR6_BS);
	unicorn_raise(u, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_DB });
}

static bool take_msr(struct unicorn *u, bool write)
{
	uint32_t index = low(u, UC_X86_REG_RCX);
	enum pc_answer answer;
	uint64_t value;

	if (u->cpl)
		return fault(u, PC_GP);
	unicorn_flush(u);
	(void)unicorn_begin_exit(u, write ? PC_EXIT_WRMSR : PC_EXIT_RDMSR, index);
	value = (uint64_t)low(u, UC_X86_REG_RDX) << 32 | low(u, UC_X86_REG_RAX);
	answer = write ? pc_wrmsr(u->base.pc, index, value) :
		pc_rdmsr(u->base.pc, index, &value);
	if (answer != PC_DONE)
		return fault(u, PC_GP);
	if (!write)
		set_edx_eax(u, value);
	unicorn_flush(u); /* the horizon may have changed with a register */
	done(u);
	return true;
}

static bool take_rdpmc(struct unicorn *u)
{
	uint32_t index = low(u, UC_X86_REG_RCX);
	bool pce = unicorn_register(u, UC_X86_REG_CR4) & PC_CR4_PCE;
	uint64_t value = 0;

	unicorn_flush(u);
	(void)unicorn_begin_exit(u, PC_EXIT_RDPMC, index);
	if (pc_rdpmc(u->base.pc, index, u->cpl, pce, &value) != PC_DONE)
		return fault(u, PC_GP);
	set_edx_eax(u, value);
	unicorn_flush(u);
	done(u);
	return true;
}

static bool take_cpuid(struct unicorn *u)
{
	uint32_t leaf = low(u, UC_X86_REG_RAX), subleaf = low(u, UC_X86_REG_RCX), r[4];
	uint64_t cr4 = unicorn_register(u, UC_X86_REG_CR4);

	unicorn_flush(u);
	(void)unicorn_begin_exit(u, PC_EXIT_CPUID, leaf);
	pc_cpuid(u->base.pc, leaf, subleaf, r);
	if (leaf == 1 && cr4 & 1u << 18)
		r[2] |= 1u << 27; /* OSXSAVE mirrors CR4 */
	unicorn_set_register(u, UC_X86_REG_RAX, r[0]);
	unicorn_set_register(u, UC_X86_REG_RBX, r[1]);
	unicorn_set_register(u, UC_X86_REG_RCX, r[2]);
	unicorn_set_register(u, UC_X86_REG_RDX, r[3]);
	unicorn_flush(u);
	done(u);
	return true;
}

static bool take_rdtsc(struct unicorn *u, bool processor)
{
	if (unicorn_register(u, UC_X86_REG_CR4) & 4 && u->cpl)
		return fault(u, PC_GP);
	unicorn_flush(u);
	set_edx_eax(u, pc_tsc(u->base.pc));
	if (processor)
		unicorn_set_register(u, UC_X86_REG_RCX, pc_tsc_aux(u->base.pc));
	done(u);
	return true;
}

/* CR8 is the local APIC's TPR; only the low half of a register names it in 64-bit mode. */
static bool take_cr8(struct unicorn *u, bool write)
{
	int reg = general(u->insn->reg);

	if (u->cpl)
		return fault(u, PC_GP);
	if (!write)
		unicorn_set_register(u, reg, pc_cr8(u->base.pc));
	else if (pc_set_cr8(u->base.pc, unicorn_register(u, reg)) != PC_DONE)
		return fault(u, PC_GP);
	done(u);
	return true;
}

/* Bits that exist: those whose feature CPUID offers (SDM Vol. 3A 2.5). */
#define CR4_VALID 0x3007fcull
#define CR3_RESERVED 0xfffffff000000000ull /* 36 bits of address */
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u

static bool legal_cr0(const struct pc_state *s, uint64_t value)
{
	if (value >> 32 || (value & PC_CR0_PG && !(value & PC_CR0_PE)) ||
	    (value & CR0_NW && !(value & CR0_CD)))
		return false;
	if (value & PC_CR0_PG)
		return s->efer & PC_EFER_LMA || !(s->efer & PC_EFER_LME) || s->cr4 & PC_CR4_PAE;
	return !(s->cs.attributes & PC_SEG_LONG && s->efer & PC_EFER_LMA);
}

static bool legal_cr4(const struct pc_state *s, uint64_t value)
{
	return !(value & ~CR4_VALID) && (value & PC_CR4_PAE || !(s->efer & PC_EFER_LMA));
}

/* Unicorn would accept any value. True: it has been refused. */
static bool check_control(struct unicorn *u)
{
	uint64_t value = unicorn_register(u, general(u->insn->reg));
	struct pc_state s;
	bool ok;

	if (u->cpl)
		return false; /* Unicorn raises #GP */
	unicorn_state(u, &s);
	if (u->mode != 64)
		value &= 0xffffffffu;
	switch (u->insn->control) {
	case X86_REG_CR0:
		ok = legal_cr0(&s, value);
		break;
	case X86_REG_CR4:
		ok = legal_cr4(&s, value);
		break;
	default:
		ok = !(s.efer & PC_EFER_LMA) || !(value & CR3_RESERVED);
	}
	return !ok && fault(u, PC_GP);
}

/*
 * The task state's permission bit map (SDM Vol. 1 19.5.2), which Unicorn does not look at. True:
 * the access has been refused.
 */
static bool check_io(struct unicorn *u)
{
	uint16_t port = (uint16_t)u->insn->port, map, bits = 0;
	struct pc_event f = { .kind = PC_EVENT_EXCEPTION, .vector = PC_GP };
	struct pc_state s;

	if (!u->cpl)
		return false;
	unicorn_state(u, &s);
	if ((s.rflags >> 12 & 3) >= u->cpl)
		return false;
	if (u->insn->port < 0)
		port = (uint16_t)unicorn_register(u, UC_X86_REG_RDX);
	if (s.tr.limit < 0x67)
		return fault(u, PC_GP);
	if (!pc_read_linear(u->base.pc, &s, s.tr.base + 0x66, PC_ACCESS_IMPLICIT, &map, 2, &f))
		goto refuse;
	map = (uint16_t)(map + port / 8);
	if (map + 1u > s.tr.limit)
		return fault(u, PC_GP);
	if (!pc_read_linear(u->base.pc, &s, s.tr.base + map, PC_ACCESS_IMPLICIT, &bits, 2, &f))
		goto refuse;
	if (!((uint32_t)bits >> (port & 7) & ((1u << u->insn->width) - 1)))
		return false;
	f.vector = PC_GP;
refuse:
	unicorn_raise(u, f);
	return true;
}

/*
 * Unicorn 2.0.1 crashes when its own breakpoints are set, so it does not see DR7; breakpoints on
 * execution are looked for before each instruction, see breakpoint().
 */
static bool take_dr7(struct unicorn *u, bool write)
{
	int reg = general(u->insn->reg);
	uint64_t value = unicorn_register(u, reg);

	/* Unicorn raises #GP in ring 3, and #UD for DR5 with CR4.DE. */
	if (u->cpl || (u->insn->control == X86_REG_DR5 &&
	    unicorn_register(u, UC_X86_REG_CR4) & 8))
		return false;
	if (write && u->mode == 64 && value >> 32)
		return fault(u, PC_GP);
	if (write) {
		u->dr7 = (value & 0xffff2fffu) | 0x400;
		u->breakpoints = 0;
		for (unsigned int i = 0; i < 4; i++)
			if (value >> 2 * i & 3 && !(value >> (16 + 4 * i) & 15))
				u->breakpoints |= 1u << i;
	} else {
		unicorn_set_register(u, reg, u->dr7);
	}
	done(u);
	return true;
}

static void next(struct unicorn *u, struct pc_state *s)
{
	s->rip += u->insn->length;
	if (u->mode != 64)
		s->rip &= 0xffffffffu;
}

static void halt(struct unicorn *u, struct pc_state *s)
{
	(void)unicorn_begin_exit(u, PC_EXIT_HALT, 0);
	next(u, s);
	u->stopped = true;
	u->stop = PC_STOP_HALT;
}

static bool enter_kernel(struct unicorn *u, struct pc_state *s, struct pc_event *f)
{
	uint64_t rcx = 0, r11 = 0;

	if (!pc_syscall(u->base.pc, s, s->rip + u->insn->length, &rcx, &r11, f))
		return false;
	unicorn_set_register(u, UC_X86_REG_RCX, rcx);
	unicorn_set_register(u, UC_X86_REG_R11, r11);
	return true;
}

void unicorn_take_deferred(struct unicorn *u)
{
	struct pc_event f = { .kind = PC_EVENT_NONE };
	struct pc_state s;
	bool ok = true;

	u->stopped = false;
	unicorn_flush(u);
	unicorn_state(u, &s);
	if (u->insn->kind == INSN_HLT)
		halt(u, &s);
	else if (u->insn->kind == INSN_ICEBP)
		next(u, &s);
	else if (u->insn->kind == INSN_SYSCALL)
		ok = enter_kernel(u, &s, &f);
	else
		ok = pc_sysret(u->base.pc, &s, u->insn->width == 8,
			unicorn_register(u, UC_X86_REG_RCX),
			unicorn_register(u, UC_X86_REG_R11), &f);
	if (!ok) {
		unicorn_raise(u, f);
		return;
	}
	unicorn_retire(u, s.rip);
	unicorn_set_state(u, &s);
	if (u->insn->kind == INSN_ICEBP)
		unicorn_raise(u, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_DB });
}

static bool defer(struct unicorn *u)
{
	if (u->insn->kind == INSN_HLT && u->cpl)
		return fault(u, PC_GP);
	u->deferred = true;
	unicorn_stop(u, PC_STOP_ATTENTION);
	return true;
}

bool unicorn_take(struct unicorn *u)
{
	switch (u->insn->kind) {
	case INSN_RDMSR:
		return take_msr(u, false);
	case INSN_WRMSR:
		return take_msr(u, true);
	case INSN_RDPMC:
		return take_rdpmc(u);
	case INSN_CPUID:
		return take_cpuid(u);
	case INSN_HLT:
	case INSN_SYSCALL:
	case INSN_SYSRET:
	case INSN_ICEBP:
		return defer(u);
	case INSN_RDTSC:
		return take_rdtsc(u, false);
	case INSN_RDTSCP:
		return take_rdtsc(u, true);
	case INSN_READ_CR8:
		return take_cr8(u, false);
	case INSN_WRITE_CR8:
		return take_cr8(u, true);
	case INSN_UNDEFINED:
		return fault(u, PC_UD);
	case INSN_READ_DR7:
		return take_dr7(u, false);
	case INSN_WRITE_DR7:
		return take_dr7(u, true);
	case INSN_IO:
		return check_io(u);
	case INSN_WRITE_CR:
		return check_control(u);
	}
	return false;
}
