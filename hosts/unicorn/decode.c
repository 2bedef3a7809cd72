/* SPDX-License-Identifier: MIT */
#include "decode.h"

#include <capstone/capstone.h>
#include <stdlib.h>
#include <string.h>

struct decoder {
	csh handles[3];
	cs_insn *insn[3];
};

static const struct {
	cs_mode mode;
	unsigned int bits;
} modes[3] = { { CS_MODE_16, 16 }, { CS_MODE_32, 32 }, { CS_MODE_64, 64 } };

struct decoder *decoder_create(void)
{
	struct decoder *d = calloc(1, sizeof(*d));

	for (unsigned int i = 0; d && i < 3; i++) {
		if (cs_open(CS_ARCH_X86, modes[i].mode, &d->handles[i]) != CS_ERR_OK) {
			decoder_destroy(d);
			return NULL;
		}
		cs_option(d->handles[i], CS_OPT_DETAIL, CS_OPT_ON);
		d->insn[i] = cs_malloc(d->handles[i]);
	}
	return d;
}

void decoder_destroy(struct decoder *d)
{
	for (unsigned int i = 0; d && i < 3; i++) {
		if (d->insn[i])
			cs_free(d->insn[i], 1);
		if (d->handles[i])
			cs_close(&d->handles[i]);
	}
	free(d);
}

/* Instructions that the engine cares about. */
static const struct special {
	unsigned int id;
	uint8_t kind, branch;
	uint16_t flags;
} specials[] = {
	{ X86_INS_RDMSR, INSN_RDMSR, 0, 0 },
	{ X86_INS_WRMSR, INSN_WRMSR, 0, 0 },
	{ X86_INS_RDPMC, INSN_RDPMC, 0, 0 },
	{ X86_INS_CPUID, INSN_CPUID, 0, 0 },
	{ X86_INS_HLT, INSN_HLT, 0, 0 },
	{ X86_INS_RDTSC, INSN_RDTSC, 0, 0 },
	{ X86_INS_RDTSCP, INSN_RDTSCP, 0, 0 },
	{ X86_INS_SYSCALL, INSN_SYSCALL, BRANCH_FAR, INSN_MODE },
	{ X86_INS_SYSRET, INSN_SYSRET, BRANCH_FAR, INSN_MODE },
	{ X86_INS_SYSENTER, INSN_UNDEFINED, 0, 0 },
	{ X86_INS_SYSEXIT, INSN_UNDEFINED, 0, 0 },
	{ X86_INS_MONITOR, INSN_UNDEFINED, 0, 0 },
	{ X86_INS_MWAIT, INSN_UNDEFINED, 0, 0 },
	{ X86_INS_INT, INSN_INT, BRANCH_FAR, INSN_MODE },
	{ X86_INS_INT1, INSN_ICEBP, BRANCH_FAR, INSN_MODE },
	{ X86_INS_INT3, INSN_INT, BRANCH_FAR, INSN_MODE },
	{ X86_INS_INTO, INSN_INT, BRANCH_FAR, INSN_MODE },
	{ X86_INS_INVLPG, INSN_INVLPG, 0, INSN_MMU },
	{ X86_INS_CLFLUSH, INSN_CLFLUSH, 0, 0 },
	{ X86_INS_IN, INSN_IO, 0, 0 },
	{ X86_INS_OUT, INSN_IO, 0, 0 },
	{ X86_INS_INSB, INSN_IO, 0, INSN_STORES },
	{ X86_INS_INSW, INSN_IO, 0, INSN_STORES },
	{ X86_INS_INSD, INSN_IO, 0, INSN_STORES },
	{ X86_INS_OUTSB, INSN_IO, 0, INSN_LOADS },
	{ X86_INS_OUTSW, INSN_IO, 0, INSN_LOADS },
	{ X86_INS_OUTSD, INSN_IO, 0, INSN_LOADS },
	{ X86_INS_IRET, 0, BRANCH_FAR, INSN_MODE | INSN_IRET | INSN_LOADS },
	{ X86_INS_IRETD, 0, BRANCH_FAR, INSN_MODE | INSN_IRET | INSN_LOADS },
	{ X86_INS_IRETQ, 0, BRANCH_FAR, INSN_MODE | INSN_IRET | INSN_LOADS },
	{ X86_INS_RETF, 0, BRANCH_FAR, INSN_MODE | INSN_LOADS },
	{ X86_INS_RETFQ, 0, BRANCH_FAR, INSN_MODE | INSN_LOADS },
	{ X86_INS_LJMP, 0, BRANCH_FAR, INSN_MODE },
	{ X86_INS_LCALL, 0, BRANCH_FAR, INSN_MODE | INSN_STORES },
	{ X86_INS_STI, 0, 0, INSN_STI },
	{ X86_INS_LGDT, 0, 0, INSN_MODE },
	{ X86_INS_LMSW, 0, 0, INSN_MODE },
	/* Stack, and what Capstone's operands do not show. */
	{ X86_INS_CALL, 0, BRANCH_DIRECT, INSN_STORES },
	{ X86_INS_RET, 0, BRANCH_RETURN, INSN_LOADS },
	{ X86_INS_JMP, 0, BRANCH_DIRECT, 0 },
	{ X86_INS_LOOP, 0, BRANCH_CONDITIONAL, 0 },
	{ X86_INS_LOOPE, 0, BRANCH_CONDITIONAL, 0 },
	{ X86_INS_LOOPNE, 0, BRANCH_CONDITIONAL, 0 },
	{ X86_INS_PUSH, 0, 0, INSN_STORES },
	{ X86_INS_PUSHF, 0, 0, INSN_STORES },
	{ X86_INS_PUSHFD, 0, 0, INSN_STORES },
	{ X86_INS_PUSHFQ, 0, 0, INSN_STORES },
	{ X86_INS_PUSHAL, 0, 0, INSN_STORES },
	{ X86_INS_PUSHAW, 0, 0, INSN_STORES },
	{ X86_INS_ENTER, 0, 0, INSN_STORES },
	{ X86_INS_POP, 0, 0, INSN_LOADS },
	{ X86_INS_POPF, 0, 0, INSN_LOADS },
	{ X86_INS_POPFD, 0, 0, INSN_LOADS },
	{ X86_INS_POPFQ, 0, 0, INSN_LOADS },
	{ X86_INS_POPAL, 0, 0, INSN_LOADS },
	{ X86_INS_POPAW, 0, 0, INSN_LOADS },
	{ X86_INS_LEAVE, 0, 0, INSN_LOADS },
	{ X86_INS_XLATB, 0, 0, INSN_LOADS },
};

/* Memory operands that are addresses only. */
static bool only_address(unsigned int id)
{
	switch (id) {
	case X86_INS_LEA:
	case X86_INS_NOP:
	case X86_INS_INVLPG:
	case X86_INS_CLFLUSH:
	case X86_INS_CLFLUSHOPT:
	case X86_INS_CLWB:
	case X86_INS_PREFETCH:
	case X86_INS_PREFETCHNTA:
	case X86_INS_PREFETCHT0:
	case X86_INS_PREFETCHT1:
	case X86_INS_PREFETCHT2:
	case X86_INS_PREFETCHW:
		return true;
	}
	return false;
}

static bool in_group(const cs_insn *insn, uint8_t group)
{
	for (unsigned int i = 0; i < insn->detail->groups_count; i++)
		if (insn->detail->groups[i] == group)
			return true;
	return false;
}

static bool writes_register(const cs_x86 *x, x86_reg reg)
{
	return x->op_count > 0 && x->operands[0].type == X86_OP_REG && x->operands[0].reg == reg;
}

static void apply_special(struct insn *out, unsigned int id)
{
	for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
		if (specials[i].id != id)
			continue;
		out->kind = specials[i].kind;
		out->branch = specials[i].branch;
		out->flags |= specials[i].flags;
		return;
	}
}

static void memory_operands(const cs_insn *insn, struct insn *out, struct insn_memory *memory)
{
	const cs_x86 *x = &insn->detail->x86;

	for (unsigned int i = 0; i < x->op_count; i++) {
		const cs_x86_op *op = &x->operands[i];

		if (op->type != X86_OP_MEM)
			continue;
		*memory = (struct insn_memory){ op->mem.disp, (uint16_t)op->mem.base,
			(uint16_t)op->mem.index, (uint16_t)op->mem.segment,
			(uint8_t)op->mem.scale };
		out->operand = 1;
		if (only_address(insn->id) || out->kind == INSN_IO)
			continue;
		/* Capstone 4 leaves the access of some instructions out: then it is a read. */
		if (op->access & CS_AC_READ || !(op->access & CS_AC_WRITE))
			out->flags |= INSN_LOADS;
		if (op->access & CS_AC_WRITE)
			out->flags |= INSN_STORES;
	}
}

static void branches(const cs_insn *insn, struct insn *out)
{
	const cs_x86 *x = &insn->detail->x86;
	bool direct = x->op_count == 1 && x->operands[0].type == X86_OP_IMM;

	if (out->branch == BRANCH_NONE && in_group(insn, CS_GRP_JUMP))
		out->branch = BRANCH_CONDITIONAL;
	if (out->branch == BRANCH_DIRECT && !direct)
		out->branch = BRANCH_INDIRECT;
	if (out->branch == BRANCH_CONDITIONAL && direct &&
	    (uint64_t)x->operands[0].imm == insn->address + insn->size)
		out->flags |= INSN_TO_NEXT;
}

static bool is_control(unsigned int reg)
{
	return reg == X86_REG_CR0 || reg == X86_REG_CR3 || reg == X86_REG_CR4;
}

static bool is_dr7(const cs_x86_op *op)
{
	return op->type == X86_OP_REG && (op->reg == X86_REG_DR7 || op->reg == X86_REG_DR5);
}

static void control(const cs_x86 *x, struct insn *out)
{
	out->flags |= INSN_MMU | INSN_MODE;
	out->kind = INSN_WRITE_CR;
	out->control = (uint16_t)x->operands[0].reg;
	out->reg = (uint16_t)x->operands[1].reg;
}

static void moves(const cs_insn *insn, struct insn *out)
{
	const cs_x86 *x = &insn->detail->x86;

	if (insn->id == X86_INS_POP && writes_register(x, X86_REG_SS))
		out->flags |= INSN_SHADOW;
	if (insn->id != X86_INS_MOV || x->op_count != 2)
		return;
	if (writes_register(x, X86_REG_SS))
		out->flags |= INSN_SHADOW;
	if (x->operands[0].type == X86_OP_REG && is_control(x->operands[0].reg))
		control(x, out);
	if (is_dr7(&x->operands[0])) {
		out->kind = INSN_WRITE_DR7;
		out->control = (uint16_t)x->operands[0].reg;
		out->reg = (uint16_t)x->operands[1].reg;
	} else if (is_dr7(&x->operands[1])) {
		out->kind = INSN_READ_DR7;
		out->control = (uint16_t)x->operands[1].reg;
		out->reg = (uint16_t)x->operands[0].reg;
	} else if (writes_register(x, X86_REG_CR8)) {
		out->kind = INSN_WRITE_CR8;
		out->reg = (uint16_t)x->operands[1].reg;
	} else if (x->operands[1].type == X86_OP_REG && x->operands[1].reg == X86_REG_CR8) {
		out->kind = INSN_READ_CR8;
		out->reg = (uint16_t)x->operands[0].reg;
	}
}

/* Even opcodes are of bytes (SDM Vol. 2D, opcode map). */
static void input_output(const cs_insn *insn, struct insn *out)
{
	const cs_x86 *x = &insn->detail->x86;

	out->port = -1;
	if (out->kind != INSN_IO)
		return;
	out->width = !(x->opcode[0] & 1) ? 1 : x->prefix[2] == X86_PREFIX_OPSIZE ? 2 : 4;
	for (unsigned int i = 0; i < x->op_count; i++)
		if (x->operands[i].type == X86_OP_IMM)
			out->port = (int16_t)(x->operands[i].imm & 0xff);
}

/* REP before a string instruction; before anything else it is a hint or part of the opcode. */
static bool repeats(const cs_insn *insn)
{
	const cs_x86 *x = &insn->detail->x86;

	if (x->prefix[0] != X86_PREFIX_REP && x->prefix[0] != X86_PREFIX_REPNE)
		return false;
	switch (x->opcode[0]) {
	case 0x6c: case 0x6d: case 0x6e: case 0x6f:
	case 0xa4: case 0xa5: case 0xa6: case 0xa7:
	case 0xaa: case 0xab: case 0xac: case 0xad: case 0xae: case 0xaf:
		return true;
	}
	return false;
}

static void fill(const cs_insn *insn, struct insn *out, struct insn_memory *memory)
{
	out->length = (uint8_t)insn->size;
	if (insn->detail->x86.rex & 8)
		out->width = 8;
	apply_special(out, insn->id);
	memory_operands(insn, out, memory);
	branches(insn, out);
	moves(insn, out);
	input_output(insn, out);
	if (repeats(insn))
		out->flags |= INSN_REP;
}

/* ENDBR, newer than Capstone 4: a NOP on a machine without CET. */
static bool is_endbr(const uint8_t *b, unsigned int n)
{
	return n >= 4 && b[0] == 0xf3 && b[1] == 0x0f && b[2] == 0x1e && (b[3] | 1) == 0xfb;
}

static unsigned int mode_index(unsigned int bits)
{
	return bits == 64 ? 2 : bits == 32 ? 1 : 0;
}

void decoder_decode(struct decoder *d, uint64_t address, unsigned int mode, const uint8_t *bytes,
	unsigned int available, struct insn *out, struct insn_memory *memory)
{
	unsigned int i = mode_index(mode);
	size_t left = available;
	uint64_t at = address;
	const uint8_t *code = bytes;
	uint8_t copy[16] = { 0 };

	memset(out, 0, sizeof(*out));
	out->address = address;
	out->mode = (uint8_t)mode;
	if (is_endbr(bytes, available))
		out->length = 4;
	else if (cs_disasm_iter(d->handles[i], &code, &left, &at, d->insn[i]))
		fill(d->insn[i], out, memory);
	else
		out->flags = INSN_UNKNOWN;
	out->special = out->kind != INSN_PLAIN || out->branch != BRANCH_NONE ||
		out->flags & ~(INSN_LOADS | INSN_STORES);
	memcpy(copy, bytes, out->length);
	memcpy(&out->low, copy, 8);
	memcpy(&out->high, copy + 8, 8);
}
