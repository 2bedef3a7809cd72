/* SPDX-License-Identifier: MIT */
/*
 * partition.S - EL1 tries the counters beyond MDCR_EL2.HPMN; see hardware/armv8/hpmn.h for what it does and in
 * which order. An HVC hands x0 over; any other trap is counted and its instruction skipped. Should EL1 take an
 * exception itself, its vector (the same table's) is an HVC of another number, so that nothing is lost.
 * The stub touches x0 only: the handler's state is in x9 to x12.
 */
#include "partition.h"

#define SKIPPED 1

	.section .vectors, "ax"
	.balign	2048
partition_vectors:
	.space	0x200
	hvc	#SKIPPED                // EL1 to EL1
	b	.
	.balign	0x200
	mrs	x1, esr_el2             // EL1 to EL2
	lsr	x2, x1, #26
	cmp	x2, #0x16               // HVC: ELR_EL2 is behind it already
	b.ne	1f
	tst	x1, #0xFFFF
	b.ne	2f
	str	x0, [x9], #8
	cmp	x9, x10
	b.eq	partition_end
	eret
1:	add	x12, x12, #1
	mrs	x1, elr_el2
	b	3f
2:	mrs	x1, elr_el1
3:	add	x1, x1, #4
	msr	elr_el2, x1
	eret
	.balign	2048

	.macro	try_mask set, clear
	mov	x0, #0xFFFFFFFF
	msr	\set, x0
	isb
	mrs	x0, \set
	hvc	#0
	mov	x0, #0xFFFFFFFF
	msr	\clear, x0
	isb
	mrs	x0, \clear
	hvc	#0
	.endm

	.macro	try_counter value, selector
	mrs	x0, \value
	mov	x0, #0x3F
	msr	\value, x0
	mrs	x0, \selector
	mov	x0, #0x3F
	msr	\selector, x0
	.endm

	.text
partition_stub:
	mrs	x0, pmcr_el0
	hvc	#0
	try_mask pmcntenset_el0, pmcntenclr_el0
	try_mask pmintenset_el1, pmintenclr_el1
	try_mask pmovsset_el0, pmovsclr_el0
	mov	x0, #0xFFFFFFFF
	msr	pmswinc_el0, x0
	isb
	mov	x0, #6                  // P, C
	msr	pmcr_el0, x0
	isb
	try_counter pmevcntr1_el0, pmevtyper1_el0
	mov	x0, #1
	msr	pmselr_el0, x0
	isb
	try_counter pmxevcntr_el0, pmxevtyper_el0
	hvc	#0
	b	.

/* partition_run(values): PARTITION_VALUES values; returns how many accesses trapped. */
	.globl	partition_run
partition_run:
	mov	x9, x0
	add	x10, x0, #(8 * PARTITION_VALUES)
	mrs	x11, vbar_el2
	mov	x12, #0
	adrp	x1, partition_vectors
	add	x1, x1, :lo12:partition_vectors
	msr	vbar_el2, x1
	msr	vbar_el1, x1
	adr	x1, partition_stub
	msr	elr_el2, x1
	mov	x1, #0x3C5              // EL1h, all masked
	msr	spsr_el2, x1
	isb
	eret
partition_end:
	msr	vbar_el2, x11
	isb
	mov	x0, x12
	ret
