/* SPDX-License-Identifier: MIT */
/*
 * Physical memory and the page walk (SDM Vol. 3A chapter 4): 32-bit, PAE, 4 and 5 levels.
 */
#include "internal.h"

#include <string.h>

#define PTE_P  0x1u
#define PTE_W  0x2u
#define PTE_U  0x4u
#define PTE_A  0x20u
#define PTE_D  0x40u
#define PTE_PS 0x80u
#define PTE_NX (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull
#define PTE_RESERVED 0x000ffff000000000ull /* above PC_ADDRESS_BITS */

#define ERROR_P 0x1u
#define ERROR_W 0x2u
#define ERROR_U 0x4u
#define ERROR_RESERVED 0x8u
#define ERROR_FETCH 0x10u

void *pc_ram(struct pc *pc, uint64_t address, uint64_t size)
{
	if (address > pc->config.ram || size > pc->config.ram - address)
		return NULL;
	return pc->ram + address;
}

/* How a paging mode looks. */
struct walk {
	struct pc *pc;
	unsigned int levels, index_bits, entry_size;
	uint64_t root;
	bool nxe;
};

static struct walk walk_of(struct pc *pc, const struct pc_state *s)
{
	struct walk w = { .pc = pc, .levels = 2, .index_bits = 10, .entry_size = 4,
		.root = s->cr3 & 0xfffff000u, .nxe = s->efer & PC_EFER_NXE };

	if (!(s->cr4 & PC_CR4_PAE)) {
		w.nxe = false;
		return w;
	}
	w.index_bits = 9;
	w.entry_size = 8;
	if (s->efer & PC_EFER_LMA) {
		w.levels = s->cr4 & PC_CR4_LA57 ? 5 : 4;
		w.root = s->cr3 & PTE_ADDRESS;
	} else {
		w.levels = 3;
		w.root = s->cr3 & 0xffffffe0u;
	}
	return w;
}

static uint8_t *entry_at(const struct walk *w, uint64_t table, unsigned int level, uint64_t va)
{
	uint64_t index = va >> (12 + w->index_bits * level) & ((1u << w->index_bits) - 1);

	return pc_ram(w->pc, table + index * w->entry_size, w->entry_size);
}

static uint64_t load_entry(const struct walk *w, const uint8_t *at)
{
	uint64_t wide;
	uint32_t narrow;

	if (w->entry_size == 8) {
		memcpy(&wide, at, 8);
		return wide;
	}
	memcpy(&narrow, at, 4);
	return narrow;
}

static void store_entry(const struct walk *w, uint8_t *at, uint64_t entry)
{
	memcpy(at, &entry, w->entry_size);
}

static bool reserved(const struct walk *w, uint64_t entry, unsigned int level, bool large)
{
	if (w->entry_size == 4)
		return false;
	if (entry & PTE_RESERVED || (entry & PTE_NX && !w->nxe))
		return true;
	if (w->levels == 3 && level == 2) /* PDPTE of PAE paging */
		return entry & (PTE_NX | 0x1e6);
	if (entry & PTE_PS && level >= 3)
		return true;
	return large && entry & ((1ull << (12 + 9 * level)) - 1) & PTE_ADDRESS & ~0x1000ull;
}

static bool is_large(const struct walk *w, const struct pc_state *s, uint64_t entry,
	unsigned int level)
{
	if (level == 0 || !(entry & PTE_PS))
		return false;
	if (w->entry_size == 4)
		return s->cr4 & PC_CR4_PSE;
	return level == 1 || (level == 2 && w->levels >= 4);
}

/* What the accumulated rights refuse of this access. */
static bool refused(const struct pc_state *s, uint32_t rights, unsigned int access)
{
	bool user_page = rights & PC_PAGE_USER;

	if (access & PC_ACCESS_USER) {
		if (!user_page || (access & PC_ACCESS_WRITE && !(rights & PC_PAGE_WRITE)))
			return true;
	} else {
		if (access & PC_ACCESS_WRITE && !(rights & PC_PAGE_WRITE) && s->cr0 & PC_CR0_WP)
			return true;
		if (user_page && access & PC_ACCESS_FETCH && s->cr4 & PC_CR4_SMEP)
			return true;
		if (user_page && !(access & PC_ACCESS_FETCH) && s->cr4 & PC_CR4_SMAP &&
		    (access & PC_ACCESS_IMPLICIT || !(s->rflags & PC_RFLAGS_AC)))
			return true;
	}
	return access & PC_ACCESS_FETCH && rights & PC_PAGE_NX;
}

static uint16_t error_code(const struct pc_state *s, const struct walk *w, unsigned int access,
	uint32_t base)
{
	bool says_fetch = w->nxe || s->cr4 & PC_CR4_SMEP;

	return (uint16_t)(base | (access & PC_ACCESS_WRITE ? ERROR_W : 0) |
		(access & PC_ACCESS_USER ? ERROR_U : 0) |
		(access & PC_ACCESS_FETCH && says_fetch ? ERROR_FETCH : 0));
}

static uint64_t leaf_address(const struct walk *w, uint64_t entry, unsigned int level, uint64_t va)
{
	uint64_t offset = (1ull << (12 + w->index_bits * level)) - 1;
	uint64_t base = entry & PTE_ADDRESS;

	if (w->entry_size == 4 && level == 1) /* PSE-36 */
		base = (entry & 0xffc00000u) | (entry & 0x1e000u) << 19;
	return (base & ~offset) | (va & offset);
}

static void mark(const struct walk *w, uint8_t *const *entries, unsigned int from,
	unsigned int leaf, unsigned int access)
{
	for (unsigned int level = from + 1; level-- > leaf;) {
		uint64_t e = load_entry(w, entries[level]);

		if (w->levels == 3 && level == 2)
			continue;
		e |= PTE_A;
		if (level == leaf && access & PC_ACCESS_WRITE)
			e |= PTE_D;
		store_entry(w, entries[level], e);
	}
}

bool pc_translate(struct pc *pc, const struct pc_state *s, uint64_t va, unsigned int access,
	struct pc_translation *out, uint16_t *error)
{
	struct walk w = walk_of(pc, s);
	uint8_t *entries[5];
	uint32_t rights = PC_PAGE_WRITE | PC_PAGE_USER;
	uint64_t table = w.root, entry = 0;
	unsigned int level;
	bool large = false;

	if (!(s->cr0 & PC_CR0_PG)) {
		out->address = va;
		out->rights = rights;
		return true;
	}
	for (level = w.levels; level-- > 0;) {
		entries[level] = entry_at(&w, table, level, va);
		entry = entries[level] ? load_entry(&w, entries[level]) : 0;
		if (!(entry & PTE_P)) {
			*error = error_code(s, &w, access, 0);
			return false;
		}
		large = is_large(&w, s, entry, level);
		if (reserved(&w, entry, level, large)) {
			*error = error_code(s, &w, access, ERROR_P | ERROR_RESERVED);
			return false;
		}
		if (!(w.levels == 3 && level == 2)) {
			rights &= ~(entry & PTE_W ? 0 : (uint32_t)PC_PAGE_WRITE);
			rights &= ~(entry & PTE_U ? 0 : (uint32_t)PC_PAGE_USER);
			rights |= entry & PTE_NX ? PC_PAGE_NX : 0;
		}
		if (level == 0 || large)
			break;
		table = entry & PTE_ADDRESS;
	}
	if (refused(s, rights, access)) {
		*error = error_code(s, &w, access, ERROR_P);
		return false;
	}
	if (!(access & PC_ACCESS_QUIET))
		mark(&w, entries, w.levels - 1, level, access);
	out->address = leaf_address(&w, entry, level, va);
	out->rights = rights;
	return true;
}

/* ---- Linear memory ---- */

static bool canonical(const struct pc_state *s, uint64_t va)
{
	unsigned int shift = s->cr4 & PC_CR4_LA57 ? 7 : 16;

	return !(s->efer & PC_EFER_LMA) || (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

/* One page's part of an access: a pointer into RAM, or NULL with *fault. */
static uint8_t *reach(struct pc *pc, const struct pc_state *s, uint64_t va, unsigned int access,
	struct pc_event *fault)
{
	struct pc_translation t;
	uint16_t error = 0;
	uint8_t *at;

	if (!(s->efer & PC_EFER_LMA))
		va &= 0xffffffffu;
	if (!canonical(s, va)) {
		*fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_GP };
		return NULL;
	}
	*fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_PF, .cr2 = va };
	if (!pc_translate(pc, s, va, access, &t, &error)) {
		fault->error = error;
		return NULL;
	}
	at = pc_ram(pc, t.address, 1);
	if (!at) /* a table or a stack in a device: nothing sensible is there */
		*fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_GP };
	return at;
}

static bool copy(struct pc *pc, const struct pc_state *s, uint64_t va, unsigned int access,
	uint8_t *buffer, size_t size, struct pc_event *fault)
{
	while (size) {
		size_t part = 0x1000 - (va & 0xfff);
		uint8_t *at = reach(pc, s, va, access, fault);

		if (!at)
			return false;
		if (part > size)
			part = size;
		if (access & PC_ACCESS_WRITE)
			memcpy(at, buffer, part);
		else
			memcpy(buffer, at, part);
		va += part;
		buffer += part;
		size -= part;
	}
	return true;
}

bool pc_read_linear(struct pc *pc, const struct pc_state *s, uint64_t va, unsigned int access,
	void *buffer, size_t size, struct pc_event *fault)
{
	return copy(pc, s, va, access & ~(unsigned int)PC_ACCESS_WRITE, buffer, size, fault);
}

bool pc_write_linear(struct pc *pc, const struct pc_state *s, uint64_t va, unsigned int access,
	const void *buffer, size_t size, struct pc_event *fault)
{
	uint8_t bytes[64];

	if (size > sizeof(bytes)) {
		*fault = (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_GP };
		return false;
	}
	memcpy(bytes, buffer, size);
	return copy(pc, s, va, access | PC_ACCESS_WRITE, bytes, size, fault);
}
