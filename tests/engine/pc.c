/* SPDX-License-Identifier: MIT */
/* The PC without an engine: loading, delivery, translation, the local APIC. */
#include "../unit/cmocka_vpmu.h"

#include <elf.h>
#include <string.h>

#include "engine.h"
#include "lapic.h"
#include "pc.h"

#define RAM (4u << 20)

static struct pc *machine(void)
{
	const struct pc_config config = { .ram = RAM };
	struct pc *pc = pc_create(&config);

	assert_non_null(pc);
	return pc;
}

/* ---- Loading ---- */

static void configurations(void **state)
{
	struct pc_config config = { .ram = 4096 };

	(void)state;
	assert_null(pc_create(&config));
	config.ram = RAM + 1;
	assert_null(pc_create(&config));
	config.ram = 1ull << 40;
	assert_null(pc_create(&config));
}

static void rubbish(void **state)
{
	uint32_t words[64] = { 0 };
	struct pc *pc = machine();
	uint32_t seed = 1;

	(void)state;
	assert_int_equal(pc_load(pc, words, 0, NULL), -1);
	assert_int_equal(pc_load(pc, words, sizeof(words), NULL), -1);
	for (unsigned int round = 0; round < 100000; round++) {
		for (unsigned int i = 0; i < 64; i++) {
			seed = seed * 1664525u + 1013904223u;
			words[i] = seed >> 28 ? 0 : seed;
		}
		words[8] = 0x1badb002u;
		words[9] = round & 1 ? 0x10000 : 0;
		words[10] = 0u - words[8] - words[9];
		if (round & 2) {
			memcpy(words, ELFMAG, SELFMAG);
			((uint8_t *)words)[EI_CLASS] = round & 4 ? ELFCLASS32 : ELFCLASS64;
		}
		(void)pc_load(pc, words, seed % sizeof(words), NULL);
	}
	pc_destroy(pc);
}

/* An ELF64 image with the note that names a 32-bit entry. */
static void pvh(void **state)
{
	struct {
		Elf64_Ehdr e;
		Elf64_Phdr p[2];
		uint32_t note[5];
		uint8_t code[16];
	} image = { .p[0] = { .p_type = PT_NOTE, .p_filesz = 20 },
		.p[1] = { .p_type = PT_LOAD, .p_paddr = 0x123000, .p_filesz = 16,
			.p_memsz = 0x2000 },
		.note = { 4, 4, 18, 0, 0x123004 }, .code = { 0x90, 0xf4 } };
	struct pc *pc = machine();

	(void)state;
	memcpy(image.e.e_ident, ELFMAG, SELFMAG);
	image.e.e_ident[EI_CLASS] = ELFCLASS64;
	image.e.e_machine = EM_X86_64;
	image.e.e_phoff = offsetof(__typeof__(image), p);
	image.e.e_phnum = 2;
	image.p[0].p_offset = offsetof(__typeof__(image), note);
	image.p[1].p_offset = offsetof(__typeof__(image), code);
	memcpy(&image.note[3], "Xen", 4);
	memset(pc_ram(pc, 0x123000, 0x2000), 0xcc, 0x2000);
	assert_int_equal(pc_load(pc, &image, sizeof(image), "a b"), 0);
	assert_memory_equal(pc_ram(pc, 0x123000, 16), image.code, 16);
	assert_int_equal(*(uint8_t *)pc_ram(pc, 0x124fff, 1), 0);
	image.note[2] = 1; /* no such note: nowhere to start */
	assert_int_equal(pc_load(pc, &image, sizeof(image), NULL), -1);
	assert_non_null(strstr(pc_error(pc), "PVH"));
	pc_destroy(pc);
}

/* ---- Long mode by hand: tables at 0x10000, IDT at 0x20000, GDT at 0x21000, TSS at 0x22000 ---- */

#define TABLES 0x10000u
#define IDT_AT 0x20000u
#define GDT_AT 0x21000u
#define TSS_AT 0x22000u
#define STACK  0x30000u

static void put64(struct pc *pc, uint64_t at, uint64_t v)
{
	memcpy(pc_ram(pc, at, 8), &v, 8);
}

static uint64_t get64(struct pc *pc, uint64_t at)
{
	uint64_t v;

	memcpy(&v, pc_ram(pc, at, 8), 8);
	return v;
}

static void gate(struct pc *pc, unsigned int vector, unsigned int dpl, unsigned int ist)
{
	uint64_t offset = 0x100000 + vector * 16;

	put64(pc, IDT_AT + vector * 16, (offset & 0xffff) | 0x10ull << 16 | (uint64_t)ist << 32 |
		(uint64_t)(0x8e | dpl << 5) << 40 | (offset >> 16 & 0xffff) << 48);
	put64(pc, IDT_AT + vector * 16 + 8, offset >> 32);
}

static struct pc_state long_mode(struct pc *pc, unsigned int cpl)
{
	struct pc_state s = { .rip = 0x1234, .rsp = STACK, .rflags = 0x202, .cr3 = TABLES,
		.cr0 = PC_CR0_PE | PC_CR0_PG | PC_CR0_WP, .cr4 = PC_CR4_PAE,
		.efer = PC_EFER_LMA | PC_EFER_LME | PC_EFER_NXE };

	put64(pc, TABLES, (TABLES + 0x1000) | 7);
	put64(pc, TABLES + 0x1000, (TABLES + 0x2000) | 7);
	put64(pc, TABLES + 0x2000, 0x87);
	put64(pc, TABLES + 0x2008, 0x200087);
	put64(pc, GDT_AT + 0x10, 0x00af9b000000ffffull);
	put64(pc, GDT_AT + 0x18, 0x00cf93000000ffffull);
	put64(pc, GDT_AT + 0x20, 0x00cffb000000ffffull); /* not for a 64-bit gate */
	for (unsigned int i = 0; i < 256; i++)
		gate(pc, i, 0, 0);
	put64(pc, TSS_AT + 4, 0x31000);
	put64(pc, TSS_AT + 36, 0x32008);
	s.idt = (struct pc_segment){ .base = IDT_AT, .limit = 0xfff };
	s.gdt = (struct pc_segment){ .base = GDT_AT, .limit = 0xff };
	s.tr = (struct pc_segment){ .selector = 0x38, .base = TSS_AT, .limit = 0x67 };
	s.cs = (struct pc_segment){ .selector = (uint16_t)(cpl ? 0x33 : 0x10),
		.attributes = 0xaf9b00 | cpl << 13 };
	s.ss = (struct pc_segment){ .selector = (uint16_t)(cpl ? 0x2b : 0x18),
		.attributes = 0xcf9300 | cpl << 13 };
	return s;
}

static const struct pc_event gp = { .kind = PC_EVENT_EXCEPTION, .vector = PC_GP, .error = 0x128 };

static const struct pc_event external = { .kind = PC_EVENT_EXTERNAL, .vector = 40 };

static void same_ring(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = long_mode(pc, 0);

	(void)state;
	s.rsp = STACK + 5; /* aligned to 16 before the frame */
	assert_true(pc_deliver(pc, &s, gp));
	assert_int_equal(s.rip, 0x100000 + 13 * 16);
	assert_int_equal(s.rsp, STACK - 48);
	assert_int_equal(get64(pc, s.rsp), 0x128);
	assert_int_equal(get64(pc, s.rsp + 8), 0x1234);
	assert_int_equal(get64(pc, s.rsp + 16), 0x10);
	assert_int_equal(get64(pc, s.rsp + 24), 0x202 | PC_RFLAGS_RF);
	assert_int_equal(get64(pc, s.rsp + 32), STACK + 5);
	assert_int_equal(get64(pc, s.rsp + 40), 0x18);
	assert_int_equal(s.rflags & PC_RFLAGS_IF, 0);
	assert_int_equal(s.ss.selector, 0x18);
	pc_destroy(pc);
}

static void inner_ring(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = long_mode(pc, 3);

	(void)state;
	assert_true(pc_deliver(pc, &s, external));
	assert_int_equal(s.rsp, 0x31000 - 40);
	assert_int_equal(pc_cpl(&s), 0);
	assert_int_equal(s.ss.selector, 0);
	assert_int_equal(s.cs.selector, 0x10);
	assert_int_equal(get64(pc, s.rsp + 32), 0x2b);
	assert_int_equal(get64(pc, s.rsp + 16), 0x202);
	pc_destroy(pc);
}

static void stack_table(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = long_mode(pc, 0);

	(void)state;
	gate(pc, 2, 0, 1);
	assert_true(pc_deliver(pc, &s, (struct pc_event){ .kind = PC_EVENT_NMI, .vector = 2 }));
	assert_int_equal(s.rsp, 0x32000 - 40);
	pc_destroy(pc);
}

static void gate_privilege(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = long_mode(pc, 3);
	struct pc_event e = { .kind = PC_EVENT_SOFTWARE, .vector = 0x21, .length = 2 };

	(void)state;
	assert_true(pc_deliver(pc, &s, e));
	assert_int_equal(s.rip, 0x100000 + 13 * 16);
	assert_int_equal(get64(pc, s.rsp), 0x21 * 8 + 2); /* EXT clear: software */
	assert_int_equal(get64(pc, s.rsp + 8), 0x1234 - 2);
	s = long_mode(pc, 3);
	gate(pc, 0x21, 3, 0);
	assert_true(pc_deliver(pc, &s, e));
	assert_int_equal(s.rip, 0x100000 + 0x21 * 16);
	assert_int_equal(get64(pc, s.rsp), 0x1234);
	pc_destroy(pc);
}

/* Each: what is broken, the event, what arrives, with which error code. */
static void failures(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = long_mode(pc, 0), kept;

	(void)state;
	put64(pc, IDT_AT + 13 * 16, 0); /* no gate for #GP: #GP again, so #DF */
	assert_true(pc_deliver(pc, &s, gp));
	assert_int_equal(s.rip, 0x100000 + 8 * 16);
	assert_int_equal(get64(pc, s.rsp), 0);
	s = kept = long_mode(pc, 0);
	put64(pc, IDT_AT + 13 * 16, 0);
	put64(pc, IDT_AT + 8 * 16, 0);
	assert_false(pc_deliver(pc, &s, gp));
	assert_memory_equal(&s, &kept, sizeof(s));
	/* An external interrupt without a gate: #GP with EXT and IDT. */
	s = long_mode(pc, 0);
	s.idt.limit = 40 * 16 - 1;
	assert_true(pc_deliver(pc, &s, external));
	assert_int_equal(s.rip, 0x100000 + 13 * 16);
	assert_int_equal(get64(pc, s.rsp), 40 * 8 + 3);
	/* A stack that is not there: #PF while delivering #PF is #DF; the same stack: triple. */
	s = long_mode(pc, 0);
	s.rsp = 0x40000000;
	assert_false(pc_deliver(pc, &s, (struct pc_event){ .kind = PC_EVENT_EXCEPTION,
		.vector = PC_PF, .cr2 = 5 }));
	s = long_mode(pc, 0);
	s.rsp = 0x40000000;
	gate(pc, 8, 0, 1);
	assert_true(pc_deliver(pc, &s, (struct pc_event){ .kind = PC_EVENT_EXCEPTION,
		.vector = PC_PF, .cr2 = 5 }));
	assert_int_equal(s.rip, 0x100000 + 8 * 16);
	/* A code segment that is not 64-bit. */
	s = long_mode(pc, 0);
	gate(pc, 8, 0, 0);
	put64(pc, IDT_AT + 6 * 16, get64(pc, IDT_AT + 6 * 16) + (0x10ull << 16));
	assert_true(pc_deliver(pc, &s, (struct pc_event){ .kind = PC_EVENT_EXCEPTION,
		.vector = PC_UD }));
	assert_int_equal(s.rip, 0x100000 + 13 * 16);
	assert_int_equal(get64(pc, s.rsp), 0x20 | 1);
	pc_destroy(pc);
}

static void legacy(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = { .rip = 0x1234, .rsp = STACK, .rflags = 0x202, .cr0 = PC_CR0_PE };
	uint32_t w[4];

	(void)state;
	put64(pc, GDT_AT + 8, 0x00cf9b000000ffffull);
	put64(pc, GDT_AT + 16, 0x00cf93000000ffffull);
	put64(pc, IDT_AT + 13 * 8, 0x00108e0000080500ull); /* 0x100500 */
	s.idt = (struct pc_segment){ .base = IDT_AT, .limit = 0x7ff };
	s.gdt = (struct pc_segment){ .base = GDT_AT, .limit = 0xff };
	s.cs = (struct pc_segment){ .selector = 8, .limit = ~0u, .attributes = 0xcf9b00 };
	s.ss = (struct pc_segment){ .selector = 16, .limit = ~0u, .attributes = 0xcf9300 };
	assert_true(pc_deliver(pc, &s, gp));
	assert_int_equal(s.rip, 0x100500);
	assert_int_equal(s.rsp, STACK - 16);
	memcpy(w, pc_ram(pc, s.rsp, 16), 16);
	assert_int_equal(w[0], 0x128);
	assert_int_equal(w[1], 0x1234);
	assert_int_equal(w[2], 8);
	/* From ring 3: SS and ESP of the task state. */
	s.cs.attributes |= 0x6000;
	s.ss.attributes |= 0x6000;
	s.ss.selector = 0x2b;
	put64(pc, TSS_AT + 4, 0x1000031000ull);
	s.tr = (struct pc_segment){ .base = TSS_AT, .limit = 0x67 };
	assert_true(pc_deliver(pc, &s, gp));
	assert_int_equal(s.rsp, 0x31000 - 24);
	assert_int_equal(s.ss.selector, 16);
	assert_int_equal(pc_cpl(&s), 0);
	pc_destroy(pc);
}

/* ---- Translation ---- */

static uint16_t error_of(struct pc *pc, const struct pc_state *s, uint64_t va, unsigned int access)
{
	struct pc_translation t;
	uint16_t error = 0xffff;

	return pc_translate(pc, s, va, access, &t, &error) ? 0xffff : error;
}

static void translation(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = long_mode(pc, 0);
	struct pc_translation t;
	uint16_t error;

	(void)state;
	assert_true(pc_translate(pc, &s, 0x200123, 0, &t, &error));
	assert_int_equal(t.address, 0x200123);
	assert_int_equal(get64(pc, TABLES + 0x2008) & 0x60, 0x20);
	assert_true(pc_translate(pc, &s, 0x200123, PC_ACCESS_WRITE, &t, &error));
	assert_int_equal(get64(pc, TABLES + 0x2008) & 0x60, 0x60);
	put64(pc, TABLES + 0x2008, 0x200083); /* supervisor */
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_USER), 5);
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_USER | PC_ACCESS_FETCH), 0x15);
	put64(pc, TABLES + 0x2008, 0x200085); /* read-only */
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_WRITE), 3);
	s.cr0 &= ~(uint64_t)PC_CR0_WP;
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_WRITE), 0xffff);
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_WRITE | PC_ACCESS_USER), 7);
	put64(pc, TABLES + 0x2008, 0x200087 | 1ull << 63);
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_FETCH), 0x11);
	s.efer &= ~(uint64_t)PC_EFER_NXE; /* then the bit is reserved */
	assert_int_equal(error_of(pc, &s, 0x200000, 0), 9);
	s.efer |= PC_EFER_NXE;
	put64(pc, TABLES + 0x2008, 0x202087); /* not aligned to its size */
	assert_int_equal(error_of(pc, &s, 0x200000, 0), 9);
	put64(pc, TABLES + 0x2008, 0x200087);
	s.cr4 |= PC_CR4_SMAP | PC_CR4_SMEP;
	s.rflags = 2;
	assert_int_equal(error_of(pc, &s, 0x200000, 0), 1);
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_FETCH), 0x11);
	s.rflags |= PC_RFLAGS_AC;
	assert_int_equal(error_of(pc, &s, 0x200000, 0), 0xffff);
	assert_int_equal(error_of(pc, &s, 0x200000, PC_ACCESS_IMPLICIT), 1);
	assert_int_equal(error_of(pc, &s, 0x40000000, PC_ACCESS_WRITE), 2);
	pc_destroy(pc);
}

static void legacy_translation(void **state)
{
	struct pc *pc = machine();
	struct pc_state s = { .cr0 = PC_CR0_PE | PC_CR0_PG, .cr3 = TABLES, .cr4 = PC_CR4_PSE };
	struct pc_translation t;
	uint32_t entry = 0x00400087;
	uint16_t error;

	(void)state;
	memcpy(pc_ram(pc, TABLES + 4, 4), &entry, 4); /* a 4 MiB page */
	assert_true(pc_translate(pc, &s, 0x412345, 0, &t, &error));
	assert_int_equal(t.address, 0x412345);
	entry = (TABLES + 0x1000) | 7;
	memcpy(pc_ram(pc, TABLES + 8, 4), &entry, 4);
	entry = 0x5007;
	memcpy(pc_ram(pc, TABLES + 0x1000 + 4 * 3, 4), &entry, 4);
	assert_true(pc_translate(pc, &s, 0x803abc, PC_ACCESS_USER | PC_ACCESS_WRITE, &t, &error));
	assert_int_equal(t.address, 0x5abc);
	assert_int_equal(error_of(pc, &s, 0xc00000, PC_ACCESS_FETCH), 0); /* no NX, no fetch bit */
	s.cr4 = PC_CR4_PAE;
	put64(pc, TABLES, (TABLES + 0x2000) | 1);
	put64(pc, TABLES + 0x2000, 0x87);
	assert_true(pc_translate(pc, &s, 0x12345, PC_ACCESS_WRITE, &t, &error));
	assert_int_equal(t.address, 0x12345);
	pc_destroy(pc);
}

/* ---- Local APIC ---- */

static struct pc_lapic apic(void)
{
	struct pc_lapic a = { .lvtpc_masks_itself = true };

	lapic_reset(&a);
	lapic_write(&a, 0xf0, 0x1ff, 0);
	return a;
}

static void apic_priorities(void **state)
{
	struct pc_lapic a = apic();

	(void)state;
	lapic_write(&a, 0x300, 0x40000 | 0x51, 0);
	lapic_write(&a, 0x300, 0x40000 | 0x55, 0);
	assert_int_equal(lapic_pending(&a), 0x55);
	lapic_accept(&a, 0x55);
	assert_int_equal(lapic_pending(&a), -1); /* the same class waits */
	lapic_write(&a, 0xb0, 0, 0);
	assert_int_equal(lapic_pending(&a), 0x51);
	lapic_write(&a, 0x80, 0x50, 0);
	assert_int_equal(lapic_pending(&a), -1);
	lapic_write(&a, 0x80, 0x4f, 0);
	assert_int_equal(lapic_pending(&a), 0x51);
	lapic_write(&a, 0xf0, 0xff, 0);
	assert_int_equal(lapic_pending(&a), -1);
	assert_true(a.lvt[LVT_PMC] & 0x10000);
}

static void apic_lvtpc(void **state)
{
	struct pc_lapic a = apic();

	(void)state;
	assert_false(lapic_lvt(&a, LVT_PMC)); /* masked by reset */
	lapic_write(&a, 0x340, 0x61, 0);
	assert_true(lapic_lvt(&a, LVT_PMC));
	assert_int_equal(lapic_read(&a, 0x340, 0), 0x10061);
	assert_false(lapic_lvt(&a, LVT_PMC));
	lapic_write(&a, 0x340, 0x05, 0); /* an illegal vector: not delivered, so not masked */
	assert_false(lapic_lvt(&a, LVT_PMC));
	assert_int_equal(lapic_read(&a, 0x340, 0), 0x05);
	a.lvtpc_masks_itself = false;
	lapic_write(&a, 0x340, 0x400, 0);
	assert_true(lapic_lvt(&a, LVT_PMC));
	assert_true(a.nmi);
	assert_int_equal(lapic_read(&a, 0x340, 0), 0x400);
}

static void apic_timer(void **state)
{
	struct pc_lapic a = apic();

	(void)state;
	lapic_write(&a, 0x320, 0x20030, 1000);
	lapic_write(&a, 0x3e0, 3, 1000); /* by 16 */
	lapic_write(&a, 0x380, 10, 1000);
	assert_int_equal(lapic_deadline(&a, 0), 1160);
	assert_int_equal(lapic_read(&a, 0x390, 1000 + 48), 7);
	lapic_tick(&a, 1159, 0);
	assert_int_equal(lapic_pending(&a), -1);
	lapic_tick(&a, 1160, 0);
	assert_int_equal(lapic_pending(&a), 0x30);
	assert_int_equal(lapic_deadline(&a, 0), 1320);
	lapic_tick(&a, 5000, 0); /* many periods late: in step again */
	assert_int_equal(lapic_deadline(&a, 0), 5160);
	lapic_write(&a, 0x380, 0, 5000);
	assert_int_equal(lapic_deadline(&a, 0), ~0ull);
}

static void apic_modes(void **state)
{
	struct pc_lapic a = apic();
	uint64_t v;

	(void)state;
	assert_false(lapic_x2_read(&a, 0x802, &v, 0));
	assert_false(lapic_set_base(&a, 0xfee00500)); /* x2APIC without the enable */
	assert_true(lapic_set_base(&a, 0xfee00d00));
	assert_true(lapic_x2_read(&a, 0x80d, &v, 0));
	assert_int_equal(v, 1);
	assert_false(lapic_set_base(&a, 0xfee00900)); /* no way back but through disabled */
	assert_true(lapic_set_base(&a, 0xfee00100));
	assert_false(lapic_set_base(&a, 0xfee00d00));
	assert_true(lapic_set_base(&a, 0xfee00900));
	assert_false(lapic_set_base(&a, 1ull << 40));
	assert_false(lapic_set_base(&a, 0xfee00901));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configurations), cmocka_unit_test(rubbish),
		cmocka_unit_test(pvh),
		cmocka_unit_test(same_ring), cmocka_unit_test(inner_ring),
		cmocka_unit_test(stack_table), cmocka_unit_test(gate_privilege),
		cmocka_unit_test(failures), cmocka_unit_test(legacy),
		cmocka_unit_test(translation), cmocka_unit_test(legacy_translation),
		cmocka_unit_test(apic_priorities), cmocka_unit_test(apic_lvtpc),
		cmocka_unit_test(apic_timer), cmocka_unit_test(apic_modes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
