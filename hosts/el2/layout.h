/* SPDX-License-Identifier: MIT */
/* layout.h - numbers that C, assembly and the linker script share. */
#ifndef VPMU_EL2_LAYOUT_H
#define VPMU_EL2_LAYOUT_H

#define CPU_MAX 8
#define PAGE_SIZE 4096
#define BLOCK_SIZE 0x200000          /* 2 MiB, the monitor's region is a multiple */

/* Each stack is preceded by an unmapped page. The emergency stack serves crashes alone. */
#define STACK_SIZE 0x4000
#define STACK_EMERGENCY 0x1000
#define STACK_STRIDE (PAGE_SIZE + STACK_SIZE + PAGE_SIZE + STACK_EMERGENCY)

/* Offsets in struct cpu, checked in main.c. */
#define CPU_STACK_TOP 0
#define CPU_EMERGENCY_TOP 8

/* struct regs, checked in main.c. */
#define REGS_SIZE 256
#define REGS_SP 248

#endif
