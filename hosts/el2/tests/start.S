/* SPDX-License-Identifier: MIT */
/*
 * start.S - an arm64 Image for tests of the monitor: MMU off, one CPU, exceptions skip what
 * trapped.
 */
	.section .head, "ax"
	.globl	image_start
image_start:
	b	start
	.long	0
	.quad	0
	.quad	image_end - image_start
	.quad	0xA
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

/*
 * Synchronous: remember the syndrome, skip the instruction. Anything asynchronous but an IRQ ends
 * the test.
 */
.macro slot handler
	.balign	128
	stp	x0, x1, [sp, #-192]!
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x30, [sp, #144]
	mrs	x0, elr_el1
	mrs	x1, spsr_el1
	stp	x0, x1, [sp, #160]
	mrs	x0, esr_el1
	mov	x1, sp
	bl	\handler
	b	leave
.endm

	.balign	2048
vectors:
	.rept	4
	slot	stress_unexpected
	.endr
	slot	stress_sync
	slot	stress_irq
	slot	stress_unexpected
	slot	stress_serror
	.rept	4
	slot	stress_unexpected
	.endr
	.balign	128
	b	a32_return
	.rept	3
	slot	stress_unexpected
	.endr
	.balign	128

	.text
leave:
	ldp	x0, x1, [sp, #160]
	msr	elr_el1, x0
	msr	spsr_el1, x1
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x30, [sp, #144]
	ldp	x0, x1, [sp], #192
	eret

start:
	adrp	x1, stack_top
	mov	sp, x1
	adrp	x1, vectors
	add	x1, x1, :lo12:vectors
	msr	vbar_el1, x1
	isb
	bl	stress_main
	mov	w0, #0x0008
	movk	w0, #0x8400, lsl #16
	smc	#0
	b	.

/* stress_access(address, size, write, value): one load or store of one register. */
	.globl	stress_access
stress_access:
	adr	x4, 1f
	add	x4, x4, x1, lsl #4
	add	x4, x4, x2, lsl #3
	br	x4
1:	ldrb	w0, [x0]
	ret
	strb	w3, [x0]
	ret
	ldrh	w0, [x0]
	ret
	strh	w3, [x0]
	ret
	ldr	w0, [x0]
	ret
	str	w3, [x0]
	ret
	ldr	x0, [x0]
	ret
	str	x3, [x0]
	ret

/* No syndrome describes these. */
	.globl	stress_pair
stress_pair:
	ldp	x1, x2, [x0]
	ret

/* stress_execute(instruction, value): value in x0 before, x0 after. */
	.globl	stress_execute
stress_execute:
	adrp	x2, 2f
	add	x2, x2, :lo12:2f
	str	w0, [x2]
	dc	cvau, x2
	dsb	ish
	ic	ivau, x2
	dsb	ish
	isb
	mov	x0, x1
	br	x2

/*
 * stress_a32(instruction): runs it in AArch32 at EL0. returns: the syndrome of the exception that
 * ends it.
 */
	.globl	stress_a32
stress_a32:
	stp	x29, x30, [sp, #-16]!
	adrp	x2, 3f
	add	x2, x2, :lo12:3f
	str	w0, [x2]
	dc	cvau, x2
	dsb	ish
	ic	ivau, x2
	dsb	ish
	msr	elr_el1, x2
	mov	x0, #0x1D0              // User mode, A32, masked
	msr	spsr_el1, x0
	eret
a32_return:
	mrs	x0, esr_el1
	ldp	x29, x30, [sp], #16
	ret

	.balign	4096
2:	.long	0
	ret

	.balign	64
3:	.long	0
	.long	0xEF000000              // svc #0

	.bss
	.balign	4096
	.space	0x4000
stack_top:
