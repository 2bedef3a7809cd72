/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

/* From the first general register; the same in every QEMU that Unicorn 2 was made from. */
#define TO_RIP 128u
#define TO_HFLAGS 176u
#define TO_SEGMENTS 184u
#define TO_CONTROL (TO_SEGMENTS + 10 * sizeof(struct raw_segment))

#define NOWHERE ((size_t)-1)
#define CODE 0x1000u
#define MSR_EFER 0xc0000080u
#define EFER_LME 0x100u

uint32_t layout_get32(const uc_context *c, size_t at)
{
	uint32_t v;

	memcpy(&v, (const char *)c + at, sizeof(v));
	return v;
}

uint64_t layout_get64(const uc_context *c, size_t at)
{
	uint64_t v;

	memcpy(&v, (const char *)c + at, sizeof(v));
	return v;
}

void layout_set32(uc_context *c, size_t at, uint32_t value)
{
	memcpy((char *)c + at, &value, sizeof(value));
}

void layout_set64(uc_context *c, size_t at, uint64_t value)
{
	memcpy((char *)c + at, &value, sizeof(value));
}

struct raw_segment layout_segment(const uc_context *c, const struct layout *at, unsigned int i)
{
	struct raw_segment s;

	memcpy(&s, (const char *)c + at->segments + i * sizeof(s), sizeof(s));
	return s;
}

void layout_set_segment(uc_context *c, const struct layout *at, unsigned int i,
	const struct raw_segment *segment)
{
	memcpy((char *)c + at->segments + i * sizeof(*segment), segment, sizeof(*segment));
}

/* ---- The experiments ---- */

struct lab {
	uc_engine *uc;
	uc_context *fresh, *first, *second;
	size_t size;
	struct layout *at;
};

static const int general[16] = { UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
	UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8,
	UC_X86_REG_R9, UC_X86_REG_R10, UC_X86_REG_R11, UC_X86_REG_R12, UC_X86_REG_R13,
	UC_X86_REG_R14, UC_X86_REG_R15 };

static bool find_registers(struct lab *lab)
{
	uint64_t marks[17], rip = 0x00007a5a5a5a0000ull, zero = 0;
	size_t at;

	for (unsigned int i = 0; i < 16; i++) {
		marks[i] = 0xa5c3000000000000ull + i * 0x10001u;
		uc_reg_write(lab->uc, general[i], &marks[i]);
	}
	marks[16] = rip;
	uc_reg_write(lab->uc, UC_X86_REG_RIP, &rip);
	uc_context_save(lab->uc, lab->first);
	for (unsigned int i = 0; i < 16; i++)
		uc_reg_write(lab->uc, general[i], &zero);
	uc_reg_write(lab->uc, UC_X86_REG_RIP, &zero);
	for (at = 0; at + TO_CONTROL + 40 <= lab->size; at += 8)
		if (!memcmp((char *)lab->first + at, marks, sizeof(marks)))
			break;
	if (at + TO_CONTROL + 40 > lab->size)
		return false;
	lab->at->registers = at;
	lab->at->hflags = at + TO_HFLAGS;
	lab->at->segments = at + TO_SEGMENTS;
	lab->at->control = at + TO_CONTROL;
	return true;
}

/* A fresh 64-bit engine is in ring 0 of long mode, and a TR that we set is where we think. */
static bool check_registers(struct lab *lab)
{
	uint32_t always = HF_CS32 | HF_SS32 | HF_CS64 | HF_LMA | HF_PE;
	uc_x86_mmr tr = { .selector = 0x1230, .base = 0x123456789000ull, .limit = 0x4567,
		.flags = 0x8b00 };
	uint64_t cr3 = 0x7654321000ull;
	struct raw_segment s;

	uc_reg_write(lab->uc, UC_X86_REG_TR, &tr);
	uc_reg_write(lab->uc, UC_X86_REG_CR3, &cr3);
	uc_context_save(lab->uc, lab->first);
	s = layout_segment(lab->first, lab->at, SEG_TR);
	return (layout_get32(lab->first, lab->at->hflags) & (always | HF_CPL)) == always &&
		s.selector == tr.selector && s.base == tr.base && s.limit == tr.limit &&
		s.flags == tr.flags && layout_get64(lab->first, lab->at->control + 24) == cr3;
}

static bool find_efer(struct lab *lab)
{
	uc_x86_msr msr = { .rid = MSR_EFER };
	uint64_t before;
	size_t found = NOWHERE, count = 0;

	uc_reg_read(lab->uc, UC_X86_REG_MSR, &msr);
	before = msr.value;
	uc_context_save(lab->uc, lab->first);
	msr.value = before ^ EFER_LME;
	uc_reg_write(lab->uc, UC_X86_REG_MSR, &msr);
	uc_context_save(lab->uc, lab->second);
	for (size_t at = lab->at->control; at + 8 <= lab->size; at += 8) {
		if (layout_get64(lab->first, at) == before &&
		    layout_get64(lab->second, at) == (before ^ EFER_LME)) {
			found = at;
			count++;
		}
	}
	lab->at->efer = found;
	return count == 1;
}

static void stop(uc_engine *uc, uint32_t number, void *user)
{
	*(uint32_t *)user = number;
	uc_emu_stop(uc);
}

/* mov ds, ax with an empty GDT: #GP with the selector as its error code. */
static bool general_protection(struct lab *lab, uint16_t selector, uc_context *after)
{
	static const uint8_t code[] = { 0x8e, 0xd8, 0x90, 0x90 };
	uint64_t rax = selector;
	uint32_t number = 0;
	uc_hook hook;
	uc_err e;

	uc_context_restore(lab->uc, lab->fresh);
	uc_mem_write(lab->uc, CODE, code, sizeof(code));
	uc_reg_write(lab->uc, UC_X86_REG_RAX, &rax);
	if (uc_hook_add(lab->uc, &hook, UC_HOOK_INTR, (void *)(uintptr_t)stop, &number, 1, 0))
		return false;
	e = uc_emu_start(lab->uc, CODE, CODE + 3, 0, 0);
	uc_hook_del(lab->uc, hook);
	uc_context_save(lab->uc, after);
	return e == UC_ERR_OK && number == 13;
}

static bool find32(const struct lab *lab, size_t *found, uint32_t fresh, uint32_t first,
	uint32_t second)
{
	unsigned int count = 0;

	for (size_t at = lab->at->efer; at + 4 <= lab->size; at += 4) {
		if (layout_get32(lab->first, at) != first ||
		    layout_get32(lab->second, at) != second)
			continue;
		if (fresh != first && layout_get32(lab->fresh, at) != fresh)
			continue;
		*found = at;
		count++;
	}
	return count == 1;
}

static bool find_exceptions(struct lab *lab)
{
	bool ok;

	if (uc_mem_map(lab->uc, CODE, 0x1000, UC_PROT_ALL))
		return false;
	ok = general_protection(lab, 0x1238, lab->first) &&
		general_protection(lab, 0x4568, lab->second) &&
		find32(lab, &lab->at->error, 0x1238, 0x1238, 0x4568) &&
		find32(lab, &lab->at->old_exception, 0xffffffffu, 13, 13);
	return uc_mem_unmap(lab->uc, CODE, 0x1000) == UC_ERR_OK && ok;
}

static const char *experiment(struct lab *lab)
{
	uc_context_save(lab->uc, lab->fresh);
	if (!find_registers(lab) || !check_registers(lab))
		return "this Unicorn keeps its registers elsewhere";
	uc_context_restore(lab->uc, lab->fresh);
	if (!find_efer(lab))
		return "this Unicorn keeps EFER elsewhere";
	if (!find_exceptions(lab))
		return "this Unicorn keeps the state of exceptions elsewhere";
	uc_context_restore(lab->uc, lab->fresh);
	return NULL;
}

const char *layout_find(uc_engine *uc, struct layout *at)
{
	struct lab lab = { .uc = uc, .size = uc_context_size(uc), .at = at };
	const char *why = "no memory";

	if (!uc_context_alloc(uc, &lab.fresh) && !uc_context_alloc(uc, &lab.first) &&
	    !uc_context_alloc(uc, &lab.second))
		why = experiment(&lab);
	uc_context_free(lab.fresh);
	uc_context_free(lab.first);
	uc_context_free(lab.second);
	return why;
}
