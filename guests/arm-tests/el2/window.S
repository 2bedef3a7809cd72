/* SPDX-License-Identifier: MIT */
/*
 * void window(uint64_t mdcr_on, uint64_t pmcr_on, uint64_t mdcr_off, uint64_t pmcr_off, uint64_t n)
 *
 * Opens range 2 by MDCR_EL2 and range 1 by PMCR_EL0, retires n instructions (n even, > 0), and
 * closes both. In assembly, so that the counts do not depend on a compiler.
 */
	.text
	.global	window
window:
	msr	mdcr_el2, x0
	isb
	msr	pmcr_el0, x1
	isb
1:	subs	x4, x4, #2
	b.hi	1b
	msr	pmcr_el0, x3
	isb
	msr	mdcr_el2, x2
	isb
	ret
