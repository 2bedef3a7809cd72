/* SPDX-License-Identifier: MIT */
/*
 * arm64 Image header (Linux Documentation/arch/arm64/booting.rst), start of the first CPU at EL1
 * or EL2, and of secondaries by PSCI CPU_ON. The MMU stays off: all memory is Device-nGnRnE, so
 * no cache maintenance is needed and the code is built with -mstrict-align.
 */
	.section .head, "ax"
	.global image_start
image_start:
	b	start
	.word	0
	.quad	0x80000			/* text_offset */
	.quad	image_end - image_start
	.quad	0xa			/* little endian, 4 KiB pages, anywhere in memory */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.word	0

	.text
start:
	mov	x20, x0			/* device tree */
	msr	daifset, #0xf
	adr	x21, image_start

	/* Linked at 0 as position independent code: add the load address to each pointer. */
	adrp	x0, rela_start
	add	x0, x0, :lo12:rela_start
	adrp	x1, rela_end
	add	x1, x1, :lo12:rela_end
1:	cmp	x0, x1
	b.hs	2f
	ldp	x2, x3, [x0], #16	/* offset, type: R_AARCH64_RELATIVE alone */
	ldr	x4, [x0], #8
	add	x4, x4, x21
	str	x4, [x2, x21]
	b	1b
2:
	adrp	x0, bss_start
	add	x0, x0, :lo12:bss_start
	adrp	x1, bss_end
	add	x1, x1, :lo12:bss_end
3:	cmp	x0, x1
	b.hs	4f
	str	xzr, [x0], #8
	b	3b
4:
	adrp	x0, boot_stack_end
	add	x0, x0, :lo12:boot_stack_end
	mov	sp, x0
	mov	x0, x20
	bl	image_main
	b	.

	/* x0 = the struct cpu of this CPU; its first member is the end of its stack. */
	.global secondary_start
secondary_start:
	msr	daifset, #0xf
	ldr	x1, [x0]
	mov	sp, x1
	bl	secondary_main
	b	.

	.bss
	.balign	16
	.space	16384
boot_stack_end:
