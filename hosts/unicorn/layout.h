/* SPDX-License-Identifier: MIT */
/*
 * Where Unicorn keeps CPU state that its interface does not give: the hidden part of segment
 * registers, the CPL, EFER, error codes, and the note of an exception in delivery (which nobody
 * clears when exceptions are delivered outside, so that the third would be a triple fault).
 * uc_context_save() copies all of it. The offsets are found by experiments at start; if one has
 * not exactly one outcome, this Unicorn is refused.
 */
#ifndef VPMU_UNICORN_LAYOUT_H
#define VPMU_UNICORN_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unicorn/unicorn.h>

struct layout {
	size_t registers; /* 16 of 64 bits, then RIP, flags ... */
	size_t hflags, segments, control, efer, error, old_exception;
};

/* Order of the segment registers in the state. */
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TR, SEG_GDT, SEG_IDT };

struct raw_segment {
	uint32_t selector, pad;
	uint64_t base;
	uint32_t limit, flags;
};

#define HF_CPL    0x3u
#define HF_CS32   0x10u
#define HF_SS32   0x20u
#define HF_ADDSEG 0x40u
#define HF_PE     0x80u
#define HF_LMA    0x4000u
#define HF_CS64   0x8000u

/* On a fresh engine without memory. NULL, or what went wrong. */
const char *layout_find(uc_engine *uc, struct layout *at);

uint32_t layout_get32(const uc_context *c, size_t at);
uint64_t layout_get64(const uc_context *c, size_t at);
void layout_set32(uc_context *c, size_t at, uint32_t value);
void layout_set64(uc_context *c, size_t at, uint64_t value);
struct raw_segment layout_segment(const uc_context *c, const struct layout *at, unsigned int i);
void layout_set_segment(uc_context *c, const struct layout *at, unsigned int i,
	const struct raw_segment *segment);

#endif
