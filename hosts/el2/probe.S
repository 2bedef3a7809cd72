/* SPDX-License-Identifier: MIT */
/*
 * probe.S - a few instructions at EL1, before there is a guest, and event counter 0 at each trap of
 * them. See probe.c. The stub touches no register but x0, so its handler keeps its state in
 * registers.
 */
#include "probe.h"

	.section .vectors, "ax"
	.balign	2048
probe_vectors:
	.space	0x400
	isb
	mrs	x1, pmevcntr0_el0
	str	x1, [x9], #8
	cmp	x9, x10
	b.eq	probe_end
	mrs	x1, esr_el2
	lsr	x1, x1, #26
	cmp	x1, #0x16               // HVC: ELR_EL2 is behind it already
	b.eq	1f
	mrs	x1, elr_el2
	add	x1, x1, #4
	msr	elr_el2, x1
1:	eret
	.balign	2048

	.text
probe_stub:
	hvc	#0
	nop
	hvc	#0
	mrs	x0, pmccfiltr_el0
	hvc	#0
	smc	#0
	hvc	#0
	wfi
	hvc	#0
	hvc	#0                      // should the WFI not have trapped
	b	.

/* probe_run(counts): PROBE_COUNTS values. */
	.globl	probe_run
probe_run:
	mov	x9, x0
	add	x10, x0, #(8 * PROBE_COUNTS)
	mrs	x11, vbar_el2
	adrp	x1, probe_vectors
	add	x1, x1, :lo12:probe_vectors
	msr	vbar_el2, x1
	adr	x1, probe_stub
	msr	elr_el2, x1
	mov	x1, #0x3C5              // EL1h, all masked
	msr	spsr_el2, x1
	isb
	eret
probe_end:
	msr	vbar_el2, x11
	isb
	ret
