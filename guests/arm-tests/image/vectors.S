/* SPDX-License-Identifier: MIT */
/* Vector tables of EL1 and EL2, and the ways to another exception level and back. */

#define FRAME_SIZE 272		/* struct frame: x0-x30, sp of nobody, elr, spsr */
#define SAVED_SIZE 112		/* x19-x30, daif */

	.macro	vector el, kind
	.balign	128
	sub	sp, sp, #FRAME_SIZE
	stp	x0, x1, [sp]
	mov	x1, #\kind
	b	save_el\el
	.endm

	.macro	save_and_call el
save_el\el:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x2, elr_el\el
	mrs	x3, spsr_el\el
	stp	x30, x2, [sp, #240]
	str	x3, [sp, #256]
	mov	x0, sp
	mov	x2, #\el
	bl	exception
	ldp	x30, x2, [sp, #240]
	ldr	x3, [sp, #256]
	msr	elr_el\el, x2
	msr	spsr_el\el, x3
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]
	ldp	x0, x1, [sp]
	add	sp, sp, #FRAME_SIZE
	eret
	.endm

/* Kinds as in exception.c: synchronous, IRQ, other; +4 from a lower exception level. */
	.macro	table el
	.balign	2048
	.global	vectors_el\el
vectors_el\el:
	.irp	kind, 2, 2, 2, 2, 0, 1, 2, 2, 4, 5, 6, 6, 6, 6, 6, 6
	vector	\el, \kind
	.endr
	save_and_call \el
	.endm

	.text
	table	1
	table	2

	.macro	save_callee slot
	sub	sp, sp, #SAVED_SIZE
	stp	x19, x20, [sp]
	stp	x21, x22, [sp, #16]
	stp	x23, x24, [sp, #32]
	stp	x25, x26, [sp, #48]
	stp	x27, x28, [sp, #64]
	stp	x29, x30, [sp, #80]
	mrs	x9, daif
	str	x9, [sp, #96]
	mov	x9, sp
	str	x9, [\slot]
	.endm

	.macro	restore_callee
	ldr	x9, [sp, #96]
	msr	daif, x9
	ldp	x19, x20, [sp]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	add	sp, sp, #SAVED_SIZE
	.endm

/* uint64_t call_guarded(uint64_t *slot, void (*fn)(void *), void *argument): 0, or what resume() says */
	.global	call_guarded
call_guarded:
	save_callee x0
	mov	x0, x2
	blr	x1
	mov	x0, #0
	restore_callee
	ret

/* void resume(uint64_t slot, uint64_t value): the call that filled the slot returns value */
	.global	resume
resume:
	mov	sp, x0
	mov	x0, x1
	restore_callee
	ret

/* uint64_t call_el0(uint64_t *slot, void *fn, uint64_t argument): fn at EL0, same interrupt mask */
	.global	call_el0
call_el0:
	save_callee x0
	mrs	x9, daif
	msr	spsr_el1, x9		/* EL0t with the present DAIF */
	msr	elr_el1, x1
	adr	x30, 1f
	mov	x0, x2
	isb
	eret
1:	svc	#0

/* uint64_t call_el1(uint64_t *slot, void *fn, uint64_t argument, uint64_t sp): from EL2 */
	.global	call_el1
call_el1:
	save_callee x0
	mov	x9, #0x3c5		/* EL1h, DAIF masked */
	msr	spsr_el2, x9
	msr	elr_el2, x1
	msr	sp_el1, x3
	adr	x30, 1f
	mov	x0, x2
	isb
	eret
1:	hvc	#1

/* void drop_to_el1(void (*fn)(void), uint64_t sp_el2): go on at EL1 with this stack, for good */
	.global	drop_to_el1
drop_to_el1:
	mov	x9, #0x3c5
	msr	spsr_el2, x9
	msr	elr_el2, x0
	mov	x9, sp
	msr	sp_el1, x9
	mov	sp, x1
	isb
	eret

/* uint64_t smc_call(fid, a1, a2, a3), hvc_call alike */
	.global	smc_call
smc_call:
	smc	#0
	ret

	.global	hvc_call
hvc_call:
	hvc	#0
	ret
