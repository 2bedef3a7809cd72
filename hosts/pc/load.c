/* SPDX-License-Identifier: MIT */
/*
 * Guests: multiboot v1 (ELF32, or an image with address fields) and ELF64 with the note
 * XEN_ELFNOTE_PHYS32_ENTRY, the PVH boot protocol. Everything in an image is checked: it is input.
 */
#include "internal.h"

#include <elf.h>
#include <string.h>

#define MB_MAGIC 0x1badb002u
#define MB_BOOT_MAGIC 0x2badb002u
#define MB_ADDRESSES 0x10000u
#define MB_SEARCH 8192u
#define PVH_NOTE 18u
#define PVH_MAGIC 0x336ec578u

/* Where the loader leaves its tables: below 1 MiB, above the real-mode area. */
#define INFO 0x9000u
#define INFO_MMAP (INFO + 0x100)
#define INFO_COMMAND (INFO + 0x400)
#define INFO_COMMAND_SIZE 2048u
#define GDT_AT 0x8000u

struct image {
	const uint8_t *bytes;
	size_t size;
};

static bool piece(const struct image *im, uint64_t offset, void *to, size_t size)
{
	if (offset > im->size || size > im->size - offset)
		return false;
	memcpy(to, im->bytes + offset, size);
	return true;
}

static int refuse(struct pc *pc, const char *why)
{
	pc_fail(pc, "cannot load: %s", why);
	return -1;
}

static int place(struct pc *pc, const struct image *im, uint64_t offset, uint64_t filled,
	uint64_t to, uint64_t size)
{
	uint8_t *at = pc_ram(pc, to, size);

	if (!at || filled > size)
		return refuse(pc, "a segment lies outside the memory");
	if (offset > im->size || filled > im->size - offset)
		return refuse(pc, "the file is shorter than its headers say");
	memcpy(at, im->bytes + offset, filled);
	memset(at + filled, 0, size - filled);
	return 0;
}

/* ---- ELF ---- */

static int load_elf32(struct pc *pc, const struct image *im, const Elf32_Ehdr *e)
{
	Elf32_Phdr p;

	for (unsigned int i = 0; i < e->e_phnum; i++) {
		if (!piece(im, (uint64_t)e->e_phoff + i * sizeof(p), &p, sizeof(p)))
			return refuse(pc, "bad program headers");
		if (p.p_type != PT_LOAD)
			continue;
		if (place(pc, im, p.p_offset, p.p_filesz, p.p_paddr, p.p_memsz) < 0)
			return -1;
	}
	pc->entry.rip = e->e_entry;
	return 0;
}

/* The 32-bit entry in a PT_NOTE segment, 0 for none. */
static uint32_t pvh_entry(const struct image *im, uint64_t offset, uint64_t size)
{
	uint32_t head[3];
	char name[4];
	uint32_t entry;

	while (size >= sizeof(head) && piece(im, offset, head, sizeof(head))) {
		uint64_t n = (head[0] + 3ull) & ~3ull, d = (head[1] + 3ull) & ~3ull;

		if (n + d + sizeof(head) > size)
			return 0;
		if (head[2] == PVH_NOTE && head[0] == 4 && head[1] >= 4 &&
		    piece(im, offset + sizeof(head), name, 4) && !memcmp(name, "Xen", 4) &&
		    piece(im, offset + sizeof(head) + n, &entry, 4))
			return entry;
		offset += sizeof(head) + n + d;
		size -= sizeof(head) + n + d;
	}
	return 0;
}

static int load_elf64(struct pc *pc, const struct image *im, const Elf64_Ehdr *e)
{
	uint32_t entry = 0;
	Elf64_Phdr p;

	for (unsigned int i = 0; i < e->e_phnum; i++) {
		if (!piece(im, e->e_phoff + i * sizeof(p), &p, sizeof(p)))
			return refuse(pc, "bad program headers");
		if (p.p_type == PT_NOTE && !entry)
			entry = pvh_entry(im, p.p_offset, p.p_filesz);
		if (p.p_type == PT_LOAD &&
		    place(pc, im, p.p_offset, p.p_filesz, p.p_paddr, p.p_memsz) < 0)
			return -1;
	}
	if (!entry)
		return refuse(pc, "an ELF64 image without a PVH entry");
	pc->entry.rip = entry;
	return 0;
}

/* ---- Boot information ---- */

static void put32(struct pc *pc, uint64_t at, uint32_t value)
{
	memcpy(pc->ram + at, &value, 4);
}

static void put64(struct pc *pc, uint64_t at, uint64_t value)
{
	memcpy(pc->ram + at, &value, 8);
}

static int put_command(struct pc *pc, const char *line)
{
	size_t n = strlen(line) + 1;

	if (n > INFO_COMMAND_SIZE)
		return refuse(pc, "the command line is too long");
	memcpy(pc->ram + INFO_COMMAND, line, n);
	return 0;
}

#define LOW_END  0xa0000u
#define HIGH_START 0x100000u

static void multiboot_info(struct pc *pc)
{
	const uint64_t ranges[2][2] = { { 0, LOW_END },
		{ HIGH_START, pc->config.ram - HIGH_START } };

	put32(pc, INFO, 1 | 4 | 64); /* memory sizes, command line, memory map */
	put32(pc, INFO + 4, LOW_END / 1024);
	put32(pc, INFO + 8, (uint32_t)((pc->config.ram - HIGH_START) / 1024));
	put32(pc, INFO + 16, INFO_COMMAND);
	put32(pc, INFO + 44, 48);
	put32(pc, INFO + 48, INFO_MMAP);
	for (unsigned int i = 0; i < 2; i++) {
		put32(pc, INFO_MMAP + 24 * i, 20);
		put64(pc, INFO_MMAP + 24 * i + 4, ranges[i][0]);
		put64(pc, INFO_MMAP + 24 * i + 12, ranges[i][1]);
		put32(pc, INFO_MMAP + 24 * i + 20, 1);
	}
	pc->entry_eax = MB_BOOT_MAGIC;
	pc->entry_ebx = INFO;
}

/* struct hvm_start_info, version 1, with a memory map. */
static void pvh_info(struct pc *pc)
{
	const uint64_t ranges[2][2] = { { 0, LOW_END },
		{ HIGH_START, pc->config.ram - HIGH_START } };

	put32(pc, INFO, PVH_MAGIC);
	put32(pc, INFO + 4, 1);
	put64(pc, INFO + 24, INFO_COMMAND);
	put64(pc, INFO + 40, INFO_MMAP);
	put32(pc, INFO + 48, 2);
	for (unsigned int i = 0; i < 2; i++) {
		put64(pc, INFO_MMAP + 24 * i, ranges[i][0]);
		put64(pc, INFO_MMAP + 24 * i + 8, ranges[i][1]);
		put32(pc, INFO_MMAP + 24 * i + 16, 1);
	}
	pc->entry_ebx = INFO;
}

/* Both protocols enter in 32-bit protected mode with flat segments, paging and interrupts off. */
static void protected_mode(struct pc *pc)
{
	static const uint64_t gdt[3] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };
	struct pc_state *s = &pc->entry;

	memcpy(pc->ram + GDT_AT, gdt, sizeof(gdt));
	s->rflags = 2;
	s->cr0 = PC_CR0_PE | 0x10;
	s->cs = (struct pc_segment){ .selector = 8, .limit = 0xffffffffu, .attributes = 0xcf9b00 };
	s->ss = (struct pc_segment){ .selector = 16, .limit = 0xffffffffu, .attributes = 0xcf9300 };
	s->tr = (struct pc_segment){ .limit = 0x67, .attributes = 0x8b00 };
	s->ldt = (struct pc_segment){ .attributes = 0x8200 };
	s->gdt = (struct pc_segment){ .base = GDT_AT, .limit = sizeof(gdt) - 1 };
	s->idt = (struct pc_segment){ .limit = 0 };
}

/* ---- Multiboot ---- */

static int find_multiboot(const struct image *im, uint32_t header[8])
{
	for (uint32_t at = 0; at < MB_SEARCH; at += 4) {
		memset(header, 0, 32);
		if (!piece(im, at, header, 12) || header[0] != MB_MAGIC)
			continue;
		if (header[0] + header[1] + header[2] != 0)
			continue;
		(void)piece(im, at, header, 32);
		return (int)at;
	}
	return -1;
}

/* header, load, load end, BSS end, entry address: image without ELF headers. */
static int load_addresses(struct pc *pc, const struct image *im, uint32_t at, const uint32_t *h)
{
	uint64_t skip = (uint64_t)h[3] - h[4], filled, size;

	if (h[4] > h[3] || skip > at)
		return refuse(pc, "bad addresses in the multiboot header");
	filled = h[5] ? (uint64_t)h[5] - h[4] : im->size - (at - skip);
	size = h[6] ? (uint64_t)h[6] - h[4] : filled;
	pc->entry.rip = h[7];
	return place(pc, im, at - skip, filled, h[4], size);
}

static int load_multiboot(struct pc *pc, const struct image *im, const Elf32_Ehdr *e)
{
	uint32_t h[8];
	int at = find_multiboot(im, h);

	if (at < 0)
		return refuse(pc, "neither multiboot v1 nor ELF64 with a PVH entry");
	if (h[1] & 0xfff8) /* bits 0 to 2: alignment, memory map, video, none of them harmful */
		return refuse(pc, "the multiboot header requires something unknown");
	if (h[1] & MB_ADDRESSES)
		return load_addresses(pc, im, (uint32_t)at, h);
	if (e->e_ident[EI_CLASS] != ELFCLASS32 || e->e_machine != EM_386)
		return refuse(pc, "a multiboot image that is neither ELF32 nor has addresses");
	return load_elf32(pc, im, e);
}

int pc_load(struct pc *pc, const void *image, size_t size, const char *command_line)
{
	struct image im = { image, size };
	Elf64_Ehdr e64 = { 0 };
	Elf32_Ehdr e32 = { 0 };
	int r;

	(void)piece(&im, 0, &e32, sizeof(e32));
	(void)piece(&im, 0, &e64, sizeof(e64));
	if (memcmp(e32.e_ident, ELFMAG, SELFMAG))
		memset(&e32, 0, sizeof(e32));
	if (!memcmp(e64.e_ident, ELFMAG, SELFMAG) && e64.e_ident[EI_CLASS] == ELFCLASS64 &&
	    e64.e_machine == EM_X86_64) {
		r = load_elf64(pc, &im, &e64);
		pvh_info(pc);
	} else {
		r = load_multiboot(pc, &im, &e32);
		multiboot_info(pc);
	}
	if (r < 0 || put_command(pc, command_line ? command_line : "") < 0)
		return -1;
	protected_mode(pc);
	return 0;
}
