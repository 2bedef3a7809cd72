/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <linux/kvm.h>
#include <string.h>

#define IDT_AT 0x1000u
#define TABLES_AT 0x2000u            /* PML4, directory pointers, and two directories */
#define CODE_AT 0x8000u
#define STACK_AT 0x20000u

extern const uint8_t guest_code[], guest_nmi[], guest_end[];

/* It may run anywhere. SDM vol. 4, table 2-2: IA32_PERFEVTSEL0, IA32_PMC0, IA32_PERF_GLOBAL_*. */
__asm__(
"	.pushsection .rodata\n"
"	.macro write msr, low\n"
"	mov	$\\msr, %ecx\n"
"	mov	$\\low, %eax\n"
"	xor	%edx, %edx\n"
"	wrmsr\n"
"	.endm\n"
"guest_code:\n"
"	write	0x186, 0x43003c\n"           /* cycles, in all rings, enabled */
"	write	0xc1, 0\n"
"	rdtsc\n"
"	mov	%eax, %esi\n"
"	write	0x38f, 1\n"
"1:	rdtsc\n"
"	sub	%esi, %eax\n"
"	cmp	$20000000, %eax\n"
"	jb	1b\n"
"	write	0x38f, 0\n"
"	rdtsc\n"
"	sub	%esi, %eax\n"
"	out	%eax, $0x11\n"
"	mov	$0xc1, %ecx\n"
"	rdmsr\n"
"	out	%eax, $0x10\n"
"	movl	$0x400, (%rdi)\n"            /* LVTPC: NMI */
"	write	0x186, 0x53003c\n"           /* the same, and the interrupt */
"	write	0xc1, -3000000\n"
"	xor	%ebp, %ebp\n"
"	write	0x38f, 1\n"
"1:	pause\n"
"	cmp	$10, %ebp\n"
"	jb	1b\n"
"	write	0x38f, 0\n"
"	mov	%ebp, %eax\n"
"	out	%eax, $0x12\n"
"2:	hlt\n"
"	jmp	2b\n"
"guest_nmi:\n"
"	write	0x38f, 0\n"
"	mov	$0x38e, %ecx\n"
"	rdmsr\n"
"	and	$1, %eax\n"                  /* counter 0 and no other: one sample */
"	add	%eax, %ebp\n"
"	write	0x390, 1\n"
"	write	0xc1, -3000000\n"
"	movl	$0x400, (%rdi)\n"            /* it has masked itself */
"	write	0x38f, 1\n"
"	iretq\n"
"guest_end:\n"
"	.popsection\n");

static void put(uint8_t *memory, uint32_t at, uint64_t value)
{
	memcpy(memory + at, &value, sizeof(value));
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

void guest_load(uint8_t *memory, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
	const struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
	};
	const struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
	};
	const uint64_t nmi = CODE_AT + (uint64_t)(guest_nmi - guest_code);

	memcpy(memory + CODE_AT, guest_code, (size_t)(guest_end - guest_code));
	put(memory, IDT_AT + 16 * 2, nmi | 8u << 16 | 0x8e0000000000ull);
	/* IRET loads CS again. */
	put(memory, IDT_AT - 16, 0x00af9b000000ffffull);
	put(memory, IDT_AT - 8, 0x00cf93000000ffffull);
	map(memory);
	sregs->cs = code;
	sregs->ss = sregs->ds = sregs->es = sregs->fs = sregs->gs = data;
	sregs->gdt = (struct kvm_dtable){ .base = IDT_AT - 24, .limit = 23 };
	sregs->idt = (struct kvm_dtable){ .base = IDT_AT, .limit = 16 * 3 - 1 };
	sregs->cr0 = 0x80000011; /* PG, ET, PE */
	sregs->cr3 = TABLES_AT;
	sregs->cr4 = 0x20; /* PAE */
	sregs->efer = 0x500; /* LMA, LME */
	*regs = (struct kvm_regs){
		.rip = CODE_AT, .rsp = STACK_AT, .rflags = 2, .rdi = APIC_AT + 0x340,
	};
}
