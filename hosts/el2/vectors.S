/* SPDX-License-Identifier: MIT */
/*
 * vectors.S - the exception vectors of EL2, and the way into the guest.
 *
 * The stack is empty whenever the guest runs. An interrupt saves only what C may clobber (AAPCS64:
 * x0-x18, x30; x29 for symmetry) and fits into its slot; a synchronous exception saves all, for
 * emulated accesses name any register. Vector registers are the guest's at all times: nothing here
 * uses them.
 */
#include "layout.h"

#define IRQ_FRAME 176

/* Straight-line speculation past ERET. */
.macro leave
	eret
	dsb	nsh
	isb
.endm

.macro save_caller
	stp	x0, x1, [sp, #-IRQ_FRAME]!
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x29, [sp, #144]
	str	x30, [sp, #160]
.endm

.macro restore_caller
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x29, [sp, #144]
	ldr	x30, [sp, #160]
	ldp	x0, x1, [sp], #IRQ_FRAME
.endm

.macro save_all
	stp	x0, x1, [sp, #-REGS_SIZE]!
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
	str	x30, [sp, #240]
.endm

.macro vector
	.balign	128
.endm

/* An exception of the guest that C handles with all registers at hand. */
.macro guest_sync handler
	vector
	save_all
	mov	x0, sp
	bl	\handler
	b	restore_all
.endm

.macro guest_irq handler
	vector
	save_caller
	bl	\handler
	restore_caller
	leave
.endm

/*
 * An exception out of the monitor itself: a bug. The stack may be the reason, so another is used,
 * found with registers of the guest that are no longer needed: there is no way back.
 */
.macro crash number
	vector
	msr	tpidr_el0, x0
	msr	tpidrro_el0, x1
	mov	x1, sp
	mrs	x0, tpidr_el2
	cbz	x0, crash_early
	ldr	x0, [x0, #CPU_EMERGENCY_TOP]
	mov	sp, x0
	mov	x0, #\number
	b	crash_common
.endm

/* The same where EL2 is profiled: the guest's x29 is no frame of ours. */
.macro guest_framed handler
	vector
	save_all
	mov	x0, sp
	mov	x29, xzr
	bl	\handler
	b	restore_all
.endm

/* PPI 23, in the middle of the monitor: whoever is interrupted knows that ELR_EL2 and SPSR_EL2 go. */
.macro monitor_irq
	vector
	save_caller
	mrs	x0, elr_el2
	mov	x1, x29
	mov	x2, x30
	bl	profile_nmi
	restore_caller
	leave
.endm

	.section .vectors, "ax"
	.balign	2048
	.globl	vectors
vectors:
	crash	0                       // SP_EL0 is never used here
	crash	1
	crash	2
	crash	3
	crash	4                       // current EL
	crash	5
	crash	6
	crash	7
	guest_sync trap_sync            // guest, AArch64
	guest_irq trap_irq
	guest_irq trap_fiq
	guest_sync trap_serror
	guest_sync trap_sync            // guest, AArch32 EL0
	guest_irq trap_irq
	guest_irq trap_fiq
	guest_sync trap_serror
	.balign	128

/* Several guests: any exception may be the last of a turn. */
	.balign	2048
	.globl	tenant_vectors
tenant_vectors:
	crash	0
	crash	1
	crash	2
	crash	3
	crash	4
	crash	5
	crash	6
	crash	7
	guest_sync tenant_sync
	guest_sync tenant_irq
	guest_sync tenant_fiq
	guest_sync tenant_serror
	guest_sync tenant_sync
	guest_sync tenant_irq
	guest_sync tenant_fiq
	guest_sync tenant_serror
	.balign	128

/* The host profiles: with one guest, with several. */
.macro framed_table sync, irq, fiq, serror
	crash	0
	crash	1
	crash	2
	crash	3
	crash	4
	monitor_irq
	crash	6
	crash	7
	.rept	2
	guest_framed \sync
	guest_framed \irq
	guest_framed \fiq
	guest_framed \serror
	.endr
	.balign	128
.endm

	.balign	2048
	.globl	profile_vectors
profile_vectors:
	framed_table trap_sync, trap_irq, trap_fiq, trap_serror

	.balign	2048
	.globl	tenant_profile_vectors
tenant_profile_vectors:
	framed_table tenant_sync, tenant_irq, tenant_fiq, tenant_serror

	.text
restore_all:
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
	ldr	x30, [sp, #240]
	ldp	x0, x1, [sp], #REGS_SIZE
	leave

crash_early:                            // before this CPU has a struct cpu
	adrp	x0, stacks + PAGE_SIZE + STACK_SIZE + PAGE_SIZE + STACK_EMERGENCY
	mov	sp, x0
	mov	x0, #99
crash_common:
	sub	sp, sp, #REGS_SIZE
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
	stp	x30, x1, [sp, #240]
	mrs	x2, tpidr_el0
	mrs	x3, tpidrro_el0
	stp	x2, x3, [sp]
	mov	x1, x0
	mov	x0, sp
	mov	x29, xzr
	bl	trap_crash

/*
 * guest_start(entry, x0, stack_top): the first entry of a vCPU. Nothing of the monitor stays in a
 * register: libfdt has used the vector registers.
 */
	.globl	guest_start
guest_start:
	mov	sp, x2
	msr	elr_el2, x0
	mov	x0, x1
	mov	x1, #0x3C5              // EL1h, all masked
	msr	spsr_el2, x1
	.arch_extension fp
	.arch_extension simd
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	movi	v\n\().2d, #0
	.endr
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	mov	x\n, xzr
	.endr
	leave

/*
 * vcpu_resume(regs, stack_top): enters the guest that is loaded, from wherever this CPU is.
 */
	.globl	vcpu_resume
vcpu_resume:
	mov	sp, x1
	ldp	x2, x3, [x0, #16]
	ldp	x4, x5, [x0, #32]
	ldp	x6, x7, [x0, #48]
	ldp	x8, x9, [x0, #64]
	ldp	x10, x11, [x0, #80]
	ldp	x12, x13, [x0, #96]
	ldp	x14, x15, [x0, #112]
	ldp	x16, x17, [x0, #128]
	ldp	x18, x19, [x0, #144]
	ldp	x20, x21, [x0, #160]
	ldp	x22, x23, [x0, #176]
	ldp	x24, x25, [x0, #192]
	ldp	x26, x27, [x0, #208]
	ldp	x28, x29, [x0, #224]
	ldr	x30, [x0, #240]
	ldp	x0, x1, [x0]
	leave

/*
 * firmware_call(function, a, b, c): SMC calling convention; x4-x17 may be clobbered, as by any
 * call.
 */
	.globl	firmware_call
firmware_call:
	smc	#0
	ret

/* The same where we are at EL1 by mistake and the firmware's conduit is HVC. */
	.globl	firmware_call_hvc
firmware_call_hvc:
	.inst	0xD4000002              // hvc #0
	ret

/* id_register(index): MRS of ID register CRm = 1 + index / 8, op2 = index % 8. */
	.globl	id_register
id_register:
	adr	x1, 1f
	add	x1, x1, x0, lsl #3
	br	x1
1:
	.irp	crm, 1, 2, 3, 4, 5, 6, 7
	.irp	op2, 0, 1, 2, 3, 4, 5, 6, 7
	mrs	x0, S3_0_C0_C\crm\()_\op2
	ret
	.endr
	.endr
