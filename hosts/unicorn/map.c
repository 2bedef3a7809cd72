/* SPDX-License-Identifier: MIT */
/*
 * Memory. RAM lies at its physical address, which is where identity-mapped guests use it. What the
 * guest maps elsewhere is mirrored there when it is first used: a run of pages, each the same page
 * of the RAM's file. Rights are not of interest here, Unicorn checks the guest's tables itself.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE 0x1000ull
#define RUN 512u /* pages mirrored at a time, at most */

bool unicorn_map_ram(struct unicorn *u)
{
	uint64_t size = pc_ram_size(u->base.pc);
	void *ram = pc_ram(u->base.pc, 0, size);

	return uc_mem_map_ptr(u->uc, 0, size, UC_PROT_ALL, ram) == UC_ERR_OK;
}

/* ---- Devices ---- */

static uint64_t device_read(uc_engine *uc, uint64_t offset, unsigned int size, void *user)
{
	struct alias *a = user;
	uint64_t value;

	(void)uc;
	unicorn_flush(a->owner);
	(void)unicorn_begin_exit(a->owner, PC_EXIT_MMIO, 0);
	value = pc_mmio_read(a->owner->base.pc, a->device + offset, size);
	unicorn_flush(a->owner);
	return value;
}

static void device_write(uc_engine *uc, uint64_t offset, unsigned int size, uint64_t value,
	void *user)
{
	struct alias *a = user;

	(void)uc;
	unicorn_flush(a->owner);
	(void)unicorn_begin_exit(a->owner, PC_EXIT_MMIO, 0);
	pc_mmio_write(a->owner->base.pc, a->device + offset, size, value);
	unicorn_flush(a->owner);
}

/* ---- Mirrors ---- */

static bool translate(struct unicorn *u, const struct pc_state *s, uint64_t va, uint64_t *pa)
{
	struct pc_state supervisor = *s;
	struct pc_translation t;
	uint16_t error;

	supervisor.cr4 &= ~(uint64_t)(PC_CR4_SMAP | PC_CR4_SMEP);
	if (!pc_translate(u->base.pc, &supervisor, va, PC_ACCESS_QUIET, &t, &error))
		return false;
	*pa = t.address;
	return true;
}

/* From `va` on: how many pages exist in the guest's tables, lie in RAM, and are not there yet. */
static unsigned int run_length(struct unicorn *u, const struct pc_state *s, uint64_t va)
{
	unsigned int n = 0;
	uint64_t pa;

	while (n < RUN && va + n * PAGE >= va) {
		for (unsigned int i = 0; i < u->alias_count; i++)
			if (va + n * PAGE - u->aliases[i].address < u->aliases[i].size)
				return n;
		if (!translate(u, s, va + n * PAGE, &pa) ||
		    !pc_ram(u->base.pc, pa & ~(PAGE - 1), PAGE))
			return n;
		n++;
	}
	return n;
}

static bool fill(struct unicorn *u, const struct pc_state *s, struct alias *a)
{
	uint64_t pa;

	for (uint64_t at = 0; at < a->size; at += PAGE) {
		if (!translate(u, s, a->address + at, &pa) ||
		    mmap((char *)a->host + at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			pc_ram_file(u->base.pc), (off_t)(pa & ~(PAGE - 1))) == MAP_FAILED)
			return false;
	}
	return uc_mem_map_ptr(u->uc, a->address, a->size, UC_PROT_ALL, a->host) == UC_ERR_OK;
}

static bool mirror(struct unicorn *u, const struct pc_state *s, uint64_t va)
{
	struct alias *a = &u->aliases[u->alias_count];

	*a = (struct alias){ .address = va, .size = run_length(u, s, va) * PAGE, .owner = u };
	a->host = mmap(NULL, a->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->host == MAP_FAILED)
		return false;
	if (!fill(u, s, a)) {
		(void)munmap(a->host, a->size);
		return false;
	}
	u->alias_count++;
	return true;
}

static bool device(struct unicorn *u, uint64_t va, uint64_t pa)
{
	struct alias *a = &u->aliases[u->alias_count];

	*a = (struct alias){ .address = va, .size = PAGE, .device = pa, .owner = u };
	if (uc_mmio_map(u->uc, va, PAGE, device_read, a, device_write, a) != UC_ERR_OK)
		return false;
	u->alias_count++;
	return true;
}

void unicorn_drop_aliases(struct unicorn *u)
{
	for (unsigned int i = 0; i < u->alias_count; i++) {
		(void)uc_mem_unmap(u->uc, u->aliases[i].address, u->aliases[i].size);
		if (u->aliases[i].host)
			(void)munmap(u->aliases[i].host, u->aliases[i].size);
	}
	u->alias_count = 0;
	unicorn_forget_pages(u);
}

static struct pc_event page_fault(uint64_t address, uint16_t error)
{
	return (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_PF, .error = error,
		.cr2 = address };
}

static bool canonical(const struct pc_state *s, uint64_t va)
{
	unsigned int shift = s->cr4 & PC_CR4_LA57 ? 7 : 16;

	return !(s->efer & PC_EFER_LMA) || (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

bool unicorn_unmapped(struct unicorn *u, uint64_t address, unsigned int access)
{
	struct pc_translation t = { 0 };
	struct pc_state s;
	uint64_t page = address & ~(PAGE - 1);
	uint16_t error = 0;
	bool ok;

	unicorn_state(u, &s);
	/* Segment loads and far transfers read descriptors as the supervisor. */
	if (u->cpl == 3 && !(u->executing && u->insn->flags & INSN_MODE))
		access |= PC_ACCESS_USER;
	if (!canonical(&s, address)) {
		unicorn_raise(u, (struct pc_event){ .kind = PC_EVENT_EXCEPTION, .vector = PC_GP });
		return false;
	}
	if (!pc_translate(u->base.pc, &s, address, access, &t, &error)) {
		unicorn_raise(u, page_fault(address, error));
		return false;
	}
	if (u->alias_count == ALIASES) {
		unicorn_restart(u);
		return false;
	}
	if (pc_ram(u->base.pc, t.address & ~(PAGE - 1), PAGE))
		ok = mirror(u, &s, page);
	else
		ok = device(u, page, t.address & ~(PAGE - 1));
	if (!ok)
		unicorn_broken(u, "no memory to mirror a page of the guest");
	return ok;
}

/* ---- What cannot be mirrored ---- */

/* How the guest's tables are built: entries of 4 or 8 bytes, `bits` of the address each. */
struct shape {
	unsigned int levels, bits, size;
};

static struct shape shape_of(const struct pc_state *s)
{
	if (!(s->cr4 & PC_CR4_PAE))
		return (struct shape){ 2, 10, 4 };
	if (!(s->efer & PC_EFER_LMA))
		return (struct shape){ 3, 9, 8 };
	return (struct shape){ s->cr4 & PC_CR4_LA57 ? 5 : 4, 9, 8 };
}

/* Every present leaf below the end of RAM maps an address to itself. */
static bool identical(struct unicorn *u, const struct shape *h, uint64_t table, unsigned int level,
	uint64_t va)
{
	unsigned int shift = 12 + h->bits * level;
	uint64_t end = pc_ram_size(u->base.pc), entry, address;
	const uint8_t *at;

	for (unsigned int i = 0; i < 1u << h->bits && va < end; i++, va += 1ull << shift) {
		at = pc_ram(u->base.pc, table + i * h->size, h->size);
		if (!at)
			return true;
		entry = 0;
		memcpy(&entry, at, h->size);
		if (!(entry & 1))
			continue;
		address = entry & 0x000ffffffffff000ull;
		if (level && !(entry & 0x80)) {
			if (!identical(u, h, address, level - 1, va))
				return false;
		} else if ((address & ~((1ull << shift) - 1)) != va) {
			return false;
		}
	}
	return true;
}

bool unicorn_check_map(struct unicorn *u, const struct pc_state *s)
{
	struct shape h = shape_of(s);
	uint64_t root = s->cr3 & (h.levels == 3 ? 0xffffffe0u : 0x000ffffffffff000ull);

	if (!(s->cr0 & PC_CR0_PG) || identical(u, &h, root, h.levels - 1, 0))
		return true;
	unicorn_broken(u, "the guest maps a low virtual address elsewhere; this engine needs "
		"addresses below the end of RAM mapped to themselves");
	return false;
}

/* ---- Code bytes ---- */

void unicorn_forget_pages(struct unicorn *u)
{
	memset(u->fetch, 0, sizeof(u->fetch));
	u->code_page = 0;
}

const uint8_t *unicorn_fetch_page(struct unicorn *u, uint64_t address)
{
	uint64_t page = address >> 12, pa = address & ~(PAGE - 1);
	unsigned int i = page % FETCH_PAGES;
	struct pc_state s;

	if (u->fetch[i].page == page + 1)
		return u->fetch[i].host;
	unicorn_state(u, &s);
	/* Unicorn may still use a translation that the guest has changed without saying so. */
	if (!translate(u, &s, address, &pa))
		pa = address & ~(PAGE - 1);
	u->fetch[i].host = pc_ram(u->base.pc, pa & ~(PAGE - 1), PAGE);
	u->fetch[i].page = page + 1;
	return u->fetch[i].host;
}
