/* SPDX-License-Identifier: MIT */
/*
 * One read and one write thunk per register, 16 bytes each, in the order of enum pmu_reg, so
 * that "register number" is an address. They run at any exception level and use no stack.
 * The transfer register is always x1, which makes trap syndromes predictable (arm.md 11.7).
 */
#include "registers.h"

#define READ(name, op0, op1, crn, crm, op2) \
	.balign 16; mrs x1, s##op0##_##op1##_c##crn##_c##crm##_##op2; mov x0, x1; ret;
#define WRITE(name, op0, op1, crn, crm, op2) \
	.balign 16; mov x1, x0; msr s##op0##_##op1##_c##crn##_c##crm##_##op2, x1; isb; ret;

	.text
	.balign	16
	.global	read_thunks
read_thunks:
	PMU_REGISTERS(READ)

	.balign	16
	.global	write_thunks
write_thunks:
	PMU_REGISTERS(WRITE)

/* x0 = n: exactly n instructions (n even, > 0) in the loop, then a return. */
	.balign	16
	.global	spin
spin:
1:	subs	x0, x0, #2
	b.hi	1b
	ret
