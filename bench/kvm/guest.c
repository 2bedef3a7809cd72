/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include "pc.h"

#include <string.h>

#define GDT_AT 0xf00u
#define IDT_AT 0x1000u
#define TABLES_AT 0x2000u            /* PML4, directory pointers, and two directories */
#define CODE_AT 0x8000u
#define SIZE 0x20000u                /* the stack is at its end */
#define APIC_AT 0xfee00000ull

extern const uint8_t guest_code[], guest_read[], guest_write[], guest_read_counting[],
	guest_sample[], guest_switch[], guest_nmi[], guest_stop[], guest_end[];

/*
 * The accesses of Linux's Intel driver: of a PMI those of one counter; of a context switch all
 * counters off, each event read and deselected, the other task's written, selected and started. One
 * RDPMC serves all, as Linux has one place with it.
 */
__asm__(
"	.pushsection .rodata\n"
"	.macro write msr, low\n"
"	mov	$\\msr, %ecx\n"
"	mov	$\\low, %eax\n"
"	xor	%edx, %edx\n"
"	wrmsr\n"
"	.endm\n"
"	.macro switch first, second\n"
"	write	0x38f, 0\n"
"	xor	%ecx, %ecx\n"
"	call	read_counter\n"
"	mov	$1, %ecx\n"
"	call	read_counter\n"
"	write	0x186, 0\n"
"	write	0x187, 0\n"
"	write	0xc1, -2000000000\n"
"	write	0xc2, -2000000000\n"
"	write	0x186, \\first\n"
"	write	0x187, \\second\n"
"	write	0x38f, 3\n"
"	out	%al, $0x99\n"
"	.endm\n"
"guest_code:\n"
"read_counter:\n"
"	rdpmc\n"
"	ret\n"
"guest_read_counting:\n"
"	write	0x186, 0x43003c\n"
"	write	0x38f, 1\n"
"	xor	%ecx, %ecx\n"
"	call	read_counter\n"
"guest_read:\n"
"	mov	$0xc1, %ecx\n"
"1:	rdmsr\n"
"	jmp	1b\n"
"guest_write:\n"
"	mov	$0xc1, %ecx\n"
"	xor	%eax, %eax\n"
"	xor	%edx, %edx\n"
"1:	wrmsr\n"
"	jmp	1b\n"
"guest_sample:\n"
"	mov	$0xfee00000, %edi\n"
"	movl	$0x1ff, 0xf0(%rdi)\n"        /* the APIC is on */
"	movl	$0x400, 0x340(%rdi)\n"       /* LVTPC: NMI */
"	write	0x186, 0x53003c\n"
"	write	0xc1, -2000000\n"
"	write	0x38f, 1\n"
"1:	pause\n"
"	jmp	1b\n"
"guest_nmi:\n"
"	write	0x38f, 0\n"
"	mov	$0x38e, %ecx\n"
"	rdmsr\n"
"	write	0x390, 1\n"
"	xor	%ecx, %ecx\n"
"	call	read_counter\n"
"	write	0xc1, -2000000\n"
"	mov	$0x38e, %ecx\n"
"	rdmsr\n"
"	movl	$0x400, 0x340(%rdi)\n"
"	write	0x38f, 1\n"
"	iretq\n"
"guest_switch:\n"
"	write	0x186, 0x53003c\n"
"1:	switch	0x53003c, 0x53013c\n"
"	switch	0x53013c, 0x53003c\n"
"	jmp	1b\n"
"guest_stop:\n"                      /* a fault: an exit that nobody expects */
"	out	%al, $0x9a\n"
"	jmp	guest_stop\n"
"guest_end:\n"
"	.popsection\n");

static const uint8_t *const entries[] = {
	[PROGRAM_READ] = guest_read,
	[PROGRAM_WRITE] = guest_write,
	[PROGRAM_READ_COUNTING] = guest_read_counting,
	[PROGRAM_SAMPLE] = guest_sample,
	[PROGRAM_SWITCH] = guest_switch,
};

static const struct pc_state start = {
	.cr0 = PC_CR0_PE | PC_CR0_PG | 0x10, .cr3 = TABLES_AT, .cr4 = PC_CR4_PAE,
	.efer = PC_EFER_LME | PC_EFER_LMA, .rsp = SIZE,
	.cs = { .selector = 8, .limit = 0xffffffffu, .attributes = 0xaf9b00 },
	.ss = { .selector = 16, .limit = 0xffffffffu, .attributes = 0xcf9300 },
	.tr = { .limit = 0x67, .attributes = 0x8b00 },
	.ldt = { .attributes = 0x8200 },
	.gdt = { .base = GDT_AT, .limit = 23 },
	.idt = { .base = IDT_AT, .limit = 0xfff },
};

static uint64_t at(const uint8_t *code)
{
	return CODE_AT + (uint64_t)(code - guest_code);
}

static void put(uint8_t *memory, uint64_t where, uint64_t value)
{
	memcpy(memory + where, &value, sizeof(value));
}

static void gate(uint8_t *memory, unsigned int vector, uint64_t handler)
{
	put(memory, IDT_AT + 16 * vector, (handler & 0xffff) | 8u << 16 | 0x8e0000000000ull);
}

/* The first 2 MiB, and those of the APIC. */
static void map(uint8_t *memory)
{
	put(memory, TABLES_AT, (TABLES_AT + 0x1000) | 3);
	put(memory, TABLES_AT + 0x1000, (TABLES_AT + 0x2000) | 3);
	put(memory, TABLES_AT + 0x1000 + 8 * (APIC_AT >> 30), (TABLES_AT + 0x3000) | 3);
	put(memory, TABLES_AT + 0x2000, 0x83);
	put(memory, TABLES_AT + 0x3000 + 8 * (APIC_AT >> 21 & 511), APIC_AT | 0x9b);
}

bool guest_load(struct vmm *m, enum program program, struct pc_state *s, uint64_t *entry)
{
	uint8_t *memory = pc_ram(m->pc, 0, SIZE);

	if (!memory)
		return false;
	memcpy(memory + CODE_AT, guest_code, (size_t)(guest_end - guest_code));
	put(memory, GDT_AT + 8, 0x00af9b000000ffffull);
	put(memory, GDT_AT + 16, 0x00cf93000000ffffull);
	gate(memory, PC_NMI, at(guest_nmi));
	gate(memory, PC_GP, at(guest_stop));
	map(memory);
	*s = start;
	*entry = at(entries[program]);
	return true;
}
