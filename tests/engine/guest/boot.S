/* SPDX-License-Identifier: MIT */
/* From multiboot's 32-bit entry to main() in long mode, and the way in and out of traps. */
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.bss
	.align 4096
	.globl pml4, pdpt, pd
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4 * 4096
	.globl stack_top
	.skip 16384
stack_top:

	.data
	.align 16
	.globl gdt
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 08: 32-bit code */
	.quad 0x00af9b000000ffff	/* 10: 64-bit code */
	.quad 0x00cf93000000ffff	/* 18: data */
	.quad 0x00cffb000000ffff	/* 20: user 32-bit code */
	.quad 0x00cff3000000ffff	/* 28: user data */
	.quad 0x00affb000000ffff	/* 30: user 64-bit code */
	.quad 0, 0			/* 38: TSS */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt

	.text
	.code32
	.globl start
start:
	mov $stack_top, %esp
	mov %ebx, %edi
	/* 4 GiB, each address to itself, for users too. */
	mov $pdpt + 7, %eax
	mov %eax, pml4
	mov $pd + 7, %eax
	mov $pdpt, %edx
	mov $4, %ecx
1:	mov %eax, (%edx)
	add $4096, %eax
	add $8, %edx
	loop 1b
	mov $0x87, %eax
	mov $pd, %edx
	mov $2048, %ecx
2:	mov %eax, (%edx)
	add $0x200000, %eax
	add $8, %edx
	loop 2b

	mov $0x6a0, %eax		/* OSXMMEXCPT, OSFXSR, PGE, PAE */
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x901, %eax			/* NXE, LME, SCE */
	wrmsr
	mov %cr0, %eax
	or $0x80010001, %eax		/* PG, WP, PE */
	mov %eax, %cr0
	lgdt gdt_pointer
	ljmp $0x10, $long_mode
	.code64
long_mode:
	mov $0x18, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $stack_top, %rsp
	mov %edi, %edi			/* multiboot information */
	call main
	mov %eax, %eax
	out %eax, $0xf4
3:	hlt
	jmp 3b

/* One entry per vector, 16 bytes each; the frame gets an error code where the CPU has none. */
	.globl vectors
	.align 16
vectors:
	vector = 0
	.rept 256
	.align 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	push $0
	.endif
	push $vector
	jmp common
	vector = vector + 1
	.endr

common:
	push %rax
	push %rcx
	push %rdx
	push %rbx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	cld
	call trap
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rbx
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq

/*
 * void user(void (*entry)(void), uint64_t stack, uint64_t rflags): runs it in ring 3; comes back
 * by int $0x80, whose handler leaves through user_return with the stack as it was here.
 */
	.globl user, user_return
user:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, user_stack(%rip)
	push $0x2b
	push %rsi
	push %rdx
	push $0x33
	push %rdi
	iretq
user_return:
	mov user_stack(%rip), %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.bss
	.align 8
user_stack: .skip 8
	.section .note.GNU-stack, "", @progbits
