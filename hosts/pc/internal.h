/* SPDX-License-Identifier: MIT */
/* What the files of the PC share. */
#ifndef VPMU_PC_INTERNAL_H
#define VPMU_PC_INTERNAL_H

#include <signal.h>

#include "engine.h"
#include "lapic.h"

#define PC_CONSOLE 65536u
#define PC_INPUT   4096u
#define PC_PAT_RESET 0x0007040600070406ull

/* The serial port: what its driver reads back, and whether it has heard that there is room. */
struct pc_serial {
	bool fifo, empty;
	uint8_t ier, lcr, mcr, scratch, divisor[2];
	uint8_t input[PC_INPUT];
	size_t head, tail;
};

/* Registers that only keep a value. */
struct pc_msrs {
	uint64_t star, lstar, cstar, fmask;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_adjust, tsc_aux, misc_enable, debugctl, spec_ctrl, microcode;
};

struct pc {
	struct pc_config config;
	uint8_t *ram;
	int ram_fd;
	struct pc_engine *engine;
	struct pc_lapic apic;
	struct pc_serial serial;
	struct pc_msrs msrs;
	uint64_t tsc_offset;
	uint64_t instructions, cycles;
	bool nmi_pending, nmi_blocked;
	bool exited, halted;
	int exit_code;
	volatile sig_atomic_t kicked;
	uint16_t fw_key;
	uint32_t fw_offset;
	char *console;
	size_t console_length;
	char error[160];
	/* Entry, from the loader to the engine. */
	struct pc_state entry;
	uint32_t entry_eax, entry_ebx;
};

void pc_reset_msrs(struct pc *pc);
void pc_fail(struct pc *pc, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
