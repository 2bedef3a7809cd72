/* SPDX-License-Identifier: MIT */
/*
 * head.S - from the boot loader to C.
 *
 * The arm64 Image protocol (Linux Documentation/arch/arm64/booting): entered with the MMU off, x0 =
 * the device tree's address, anywhere in RAM at a multiple of 2 MiB. The monitor runs where it is,
 * 1:1.
 */
#include "layout.h"

	.section .head.text, "ax"
	.globl	image_start
image_start:
	b	start
	.long	0
	.quad	0                       // text_offset
	.quad	image_end - image_start   // with everything that is not in the file
	.quad	0xA                     // little endian, 4 KiB pages, anywhere in RAM
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.text

/* Dirty lines left by whoever ran before must not overwrite what is written with the MMU off. */
.macro invalidate_dcache start, end, line, tmp
	mrs	\line, ctr_el0
	ubfx	\line, \line, #16, #4
	mov	\tmp, #4
	lsl	\line, \tmp, \line
	sub	\tmp, \line, #1
	bic	\start, \start, \tmp
1:	dc	ivac, \start
	add	\start, \start, \line
	cmp	\start, \end
	b.lo	1b
	dsb	sy
.endm

start:
	mov	x19, x0                 // the device tree
	mrs	x20, CurrentEL
	lsr	x20, x20, #2
	cmp	x20, #3
	b.eq	park                    // EL3 is the firmware's place: nothing can be said from here
	adrp	x21, image_start
	msr	daifset, #0xf

	adrp	x0, data_start
	adrp	x1, bss_end
	invalidate_dcache x0, x1, x2, x3

	// R_AARCH64_RELATIVE is all that a position-independent link of us leaves.
	adrp	x0, rela_start
	add	x0, x0, :lo12:rela_start
	adrp	x1, rela_end
	add	x1, x1, :lo12:rela_end
2:	cmp	x0, x1
	b.hs	3f
	ldp	x2, x3, [x0]            // r_offset, r_info
	ldr	x4, [x0, #16]           // r_addend
	add	x0, x0, #24
	cmp	w3, #1027               // R_AARCH64_RELATIVE
	b.ne	park
	add	x4, x4, x21
	str	x4, [x2, x21]
	b	2b

3:	adrp	x0, bss_start
	adrp	x1, bss_end
4:	stp	xzr, xzr, [x0], #16
	cmp	x0, x1
	b.lo	4b

	adrp	x0, stacks + PAGE_SIZE + STACK_SIZE
	mov	sp, x0
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x19
	cmp	x20, #1
	cset	w1, eq
	bl	mmu_boot_tables
	mov	x22, x0

	adrp	x0, data_start
	adrp	x1, bss_end
	invalidate_dcache x0, x1, x2, x3

	mov	x0, x22
	cmp	x20, #1
	b.eq	5f
	bl	enable_mmu_el2
	mov	x0, x19
	b	monitor_main
5:	bl	enable_mmu_el1
	mov	x0, x19
	b	monitor_at_el1

park:
	wfe
	b	park

/* x0: struct cpu. The firmware starts it at the level that asked, so at EL2, with the MMU off. */
	.globl	secondary_entry
secondary_entry:
	msr	daifset, #0xf
	mov	x19, x0
	adrp	x0, stage1_run
	add	x0, x0, :lo12:stage1_run
	bl	enable_mmu_el2
	ldr	x0, [x19, #CPU_STACK_TOP]
	mov	sp, x0
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x19
	b	cpu_start

/*
 * MAIR: index 0 Device-nGnRE, 1 Normal write-back. TCR: 48 bits of address (T0SZ 16), 4 KiB pages,
 * walks write-back and inner shareable. PARange beyond 48 bits needs larger descriptors: capped.
 */
#define MAIR 0xFF04
#define TCR_COMMON ((3 << 12) | (1 << 10) | (1 << 8) | 16)

.macro physical_size reg, tmp
	mrs	\reg, id_aa64mmfr0_el1
	and	\reg, \reg, #0xF
	mov	\tmp, #5
	cmp	\reg, \tmp
	csel	\reg, \reg, \tmp, lo
.endm

/* x0: root. Clobbers x1, x2. */
enable_mmu_el2:
	ldr	x1, =0x30C50830         // RES1: HCR_EL2.E2H is 0 from here on
	msr	sctlr_el2, x1
	mov	x1, #(1 << 31)          // RW alone: no traps, no second stage, E2H=0
	msr	hcr_el2, x1
	isb
	mov	x1, #MAIR
	msr	mair_el2, x1
	physical_size x1, x2
	lsl	x1, x1, #16
	ldr	x2, =((1 << 31) | (1 << 23) | TCR_COMMON)
	orr	x1, x1, x2
	msr	tcr_el2, x1
	msr	ttbr0_el2, x0
	isb
	tlbi	alle2
	ic	iallu
	dsb	nsh
	isb
	ldr	x1, =(0x30C50830 | (1 << 19) | (1 << 12) | (1 << 3) | (1 << 2) | 1)
	msr	sctlr_el2, x1           // WXN, I, SA, C, M
	isb
	ret

enable_mmu_el1:
	mov	x1, #MAIR
	msr	mair_el1, x1
	physical_size x1, x2
	lsl	x1, x1, #32
	ldr	x2, =((1 << 23) | TCR_COMMON)   // EPD1
	orr	x1, x1, x2
	msr	tcr_el1, x1
	msr	ttbr0_el1, x0
	mov	x1, #(3 << 20)          // libfdt may use vector registers
	msr	cpacr_el1, x1
	isb
	tlbi	vmalle1
	ic	iallu
	dsb	nsh
	isb
	ldr	x1, =(0x30D00800 | (1 << 12) | (1 << 3) | (1 << 2) | 1)
	msr	sctlr_el1, x1
	isb
	ret
	.ltorg
