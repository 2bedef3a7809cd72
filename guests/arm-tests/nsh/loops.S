/* SPDX-License-Identifier: MIT */
/*
 * Loops that enter EL2 once per iteration and retire LOOP_INSTRUCTIONS (loops.h) each time, plus
 * a constant. void NAME(uint64_t n, uint64_t fid), n > 0. x4-x17 belong to the called by SMCCC.
 */
	.macro	loop name, instruction
	.global	\name
\name:
	stp	x19, x20, [sp, #-16]!
	mov	x19, x0
	mov	x20, x1
1:	mov	x0, x20
	\instruction
	subs	x19, x19, #1
	b.ne	1b
	ldp	x19, x20, [sp], #16
	ret
	.endm

	.text
	loop	hvc_loop, "hvc #0"
	loop	smc_loop, "smc #0"
	loop	type_loop, "msr pmevtyper1_el0, xzr"
	loop	id_loop, "mrs x1, pmceid0_el0"
