/* SPDX-License-Identifier: MIT */
/*
 * Linux's own boot protocol, 64-bit entry (Linux, Documentation/arch/x86/boot.rst). A kernel is input: all of
 * its header that is used is checked.
 */
#include "internal.h"

#include <asm/bootparam.h>
#include <stdio.h>
#include <string.h>

#define PARAMS_AT 0x7000u
#define COMMAND_AT 0x20000u
#define COMMAND_MAX 4096u
#define GDT_AT 0x6000u
#define TABLES_AT 0x10000u           /* 6 pages: 4 GiB mapped 1:1 */
#define LOW_END 0x9fc00u
#define HIGH_START 0x100000u
#define ENTRY64 0x200u
#define SECTOR 512u
#define PROTOCOL_MIN 0x20cu          /* xloadflags */
#define MAGIC 0x53726448u            /* HdrS */

static int refuse(struct vmm *m, const char *why)
{
	(void)snprintf(m->error, sizeof(m->error), "cannot load: %s", why);
	return -1;
}

uint64_t vmm_initrd_load(struct vmm *m, const struct vmm_guest *guest)
{
	uint64_t at;
	void *to;

	if (!guest->initrd_size)
		return 0;
	at = (m->config.ram - guest->initrd_size) & ~0xfffull;
	to = guest->initrd_size < m->config.ram / 2 ? pc_ram(m->pc, at, guest->initrd_size) : NULL;
	if (!to) {
		(void)refuse(m, "the initial ramdisk needs more than half of the memory");
		return 0;
	}
	memcpy(to, guest->initrd, guest->initrd_size);
	return at;
}

static void add_range(struct boot_params *p, uint64_t from, uint64_t to, uint32_t type)
{
	p->e820_table[p->e820_entries++] = (struct boot_e820_entry){ from, to - from, type };
}

static void make_map(struct boot_params *p, uint64_t ram)
{
	add_range(p, 0, LOW_END, 1);
	add_range(p, LOW_END, HIGH_START, 2);
	add_range(p, HIGH_START, ram, 1);
}

static void put64(struct vmm *m, uint64_t at, uint64_t value)
{
	memcpy(pc_ram(m->pc, at, sizeof(value)), &value, sizeof(value));
}

static void make_tables(struct vmm *m)
{
	memset(pc_ram(m->pc, TABLES_AT, 0x6000), 0, 0x6000);
	put64(m, TABLES_AT, (TABLES_AT + 0x1000) | 3);
	for (uint64_t i = 0; i < 4; i++)
		put64(m, TABLES_AT + 0x1000 + 8 * i, (TABLES_AT + 0x2000 + 0x1000 * i) | 3);
	for (uint64_t i = 0; i < 2048; i++)
		put64(m, TABLES_AT + 0x2000 + 8 * i, i << 21 | 0x83);
}

static void enter_long_mode(struct vmm *m, uint64_t rip)
{
	static const uint64_t gdt[4] = { 0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };
	struct pc_state *s = &m->entry;

	memcpy(pc_ram(m->pc, GDT_AT, sizeof(gdt)), gdt, sizeof(gdt));
	*s = (struct pc_state){
		.rip = rip, .rflags = 2, .cr0 = PC_CR0_PE | PC_CR0_PG | 0x10, .cr3 = TABLES_AT,
		.cr4 = PC_CR4_PAE, .efer = PC_EFER_LME | PC_EFER_LMA,
		.cs = { .selector = 0x10, .limit = 0xffffffffu, .attributes = 0xaf9b00 },
		.ss = { .selector = 0x18, .limit = 0xffffffffu, .attributes = 0xcf9300 },
		.tr = { .limit = 0x67, .attributes = 0x8b00 },
		.ldt = { .attributes = 0x8200 },
		.gdt = { .base = GDT_AT, .limit = sizeof(gdt) - 1 },
	};
	m->entry_rsi = PARAMS_AT;
}

/* The header, as far as the file has it; the size of the real-mode part. 0: no bzImage. */
static size_t read_header(const struct vmm_guest *g, struct setup_header *h)
{
	const size_t at = offsetof(struct boot_params, hdr);
	const uint8_t *bytes = g->image;
	size_t length, setup;

	memset(h, 0, sizeof(*h));
	if (g->size < at + sizeof(*h))
		return 0;
	memcpy(h, bytes + at, sizeof(*h));
	if (h->header != MAGIC || h->boot_flag != 0xaa55)
		return 0;
	length = 0x202 + bytes[0x201] - at; /* the jump at its start goes behind the header */
	if (length < sizeof(*h))
		memset((char *)h + length, 0, sizeof(*h) - length);
	setup = ((h->setup_sects ? h->setup_sects : 4u) + 1u) * SECTOR;
	return setup < g->size ? setup : 0;
}

static int put_kernel(struct vmm *m, const struct vmm_guest *g, const struct setup_header *h,
		      size_t setup)
{
	uint64_t size = g->size - setup;
	uint64_t room = h->init_size > size ? h->init_size : size;
	uint8_t *to = pc_ram(m->pc, h->pref_address, room);

	if (!to || h->pref_address < HIGH_START || h->pref_address + room > m->config.ram / 2)
		return refuse(m, "the kernel needs more memory");
	memcpy(to, (const char *)g->image + setup, size);
	return 0;
}

int vmm_linux_load(struct vmm *m, const struct vmm_guest *g)
{
	struct boot_params *p = pc_ram(m->pc, PARAMS_AT, sizeof(*p));
	const char *line = g->command_line ? g->command_line : "";
	struct setup_header h;
	size_t setup = read_header(g, &h);
	uint64_t initrd;

	if (!setup)
		return 0;
	if (h.version < PROTOCOL_MIN || !(h.xloadflags & XLF_KERNEL_64))
		return refuse(m, "a Linux kernel without a 64-bit entry");
	if (strlen(line) >= COMMAND_MAX || strlen(line) > h.cmdline_size)
		return refuse(m, "the command line is too long");
	if (put_kernel(m, g, &h, setup))
		return -1;
	initrd = vmm_initrd_load(m, g);
	if (!initrd && g->initrd_size)
		return -1;
	memcpy(pc_ram(m->pc, COMMAND_AT, COMMAND_MAX), line, strlen(line) + 1);
	memset(p, 0, sizeof(*p));
	p->hdr = h;
	p->hdr.type_of_loader = 0xff;
	p->hdr.cmd_line_ptr = COMMAND_AT;
	p->hdr.ramdisk_image = (uint32_t)initrd;
	p->hdr.ramdisk_size = (uint32_t)g->initrd_size;
	make_map(p, m->config.ram);
	make_tables(m);
	enter_long_mode(m, h.pref_address + ENTRY64);
	return 1;
}
