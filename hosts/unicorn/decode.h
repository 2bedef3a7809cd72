/* SPDX-License-Identifier: MIT */
/*
 * What an instruction is, decoded once per address and bytes (Capstone).
 */
#ifndef VPMU_UNICORN_DECODE_H
#define VPMU_UNICORN_DECODE_H

#include <stdbool.h>
#include <stdint.h>

/* What the engine must do about it. */
enum insn_kind {
	INSN_PLAIN,
	INSN_RDMSR, INSN_WRMSR, INSN_RDPMC, INSN_CPUID, INSN_HLT, INSN_RDTSC, INSN_RDTSCP,
	INSN_SYSCALL, INSN_SYSRET, INSN_READ_CR8, INSN_WRITE_CR8,
	INSN_WRITE_CR, /* CR0, CR3, CR4: Unicorn executes it if the value is legal */
	INSN_IO,       /* IN, OUT, INS, OUTS: Unicorn executes it if the port is allowed */
	INSN_READ_DR7, INSN_WRITE_DR7, /* or DR5 */
	INSN_ICEBP,     /* INT1: #DB, not by software */
	INSN_UNDEFINED, /* what CPUID does not offer: #UD */
	INSN_INT,     /* INT n, INT3, INTO: raised by software */
	INSN_INVLPG, INSN_CLFLUSH,
};

enum insn_branch { BRANCH_NONE, BRANCH_CONDITIONAL, BRANCH_DIRECT, BRANCH_INDIRECT, BRANCH_RETURN,
	BRANCH_FAR };

enum {
	INSN_REP = 1,      /* one hook per repetition, one instruction */
	INSN_STI = 2,
	INSN_SHADOW = 4,   /* MOV SS, POP SS */
	INSN_IRET = 8,
	INSN_MODE = 16,    /* may change the mode, the CPL or a segment */
	INSN_MMU = 32,     /* may change the translation of addresses */
	INSN_TO_NEXT = 64, /* a branch whose target is the next instruction */
	INSN_UNKNOWN = 128,/* to the decoder */
	INSN_LOADS = 256, INSN_STORES = 512,
};

/* A memory operand's address; registers are Capstone's numbers, 0 for none. */
struct insn_memory {
	int64_t displacement;
	uint16_t base, index, segment;
	uint8_t scale;
};

struct insn {
	uint64_t address;
	uint64_t low, high;  /* the bytes, zero-filled */
	uint8_t length, mode; /* mode: 16, 32, 64; 0 for an empty entry */
	uint8_t kind, branch;
	uint16_t flags;
	uint16_t reg, control; /* of moves to and from control registers: Capstone's numbers */
	uint16_t operand;    /* 1 + index of its struct insn_memory, for INVLPG and CLFLUSH */
	uint8_t width;       /* of the operand in bytes, where it matters */
	int16_t port;        /* of INSN_IO; -1: DX */
	bool special;        /* anything but: execute, count, maybe a load or store */
};

struct decoder;

struct decoder *decoder_create(void);
void decoder_destroy(struct decoder *d);
/* Fills in *out from up to 15 bytes. An instruction the decoder does not know is INSN_UNKNOWN. */
void decoder_decode(struct decoder *d, uint64_t address, unsigned int mode, const uint8_t *bytes,
	unsigned int available, struct insn *out, struct insn_memory *memory);

#endif
