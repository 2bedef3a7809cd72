/* SPDX-License-Identifier: MIT */
/* The PMU that a guest finds, Intel or AMD, in the same words. */
#ifndef VPMU_TESTS_GUEST_PMU_H
#define VPMU_TESTS_GUEST_PMU_H

#include "guest.h"

#define USR 0x10000ull
#define OS  0x20000ull
#define INT 0x100000ull
#define EN  0x400000ull
#define LVTPC 0x340u
#define LVT_NMI 0x400u
#define LVT_VECTOR 0x51u
#define FIXED 32u
#define INSTRUCTIONS_CODE 0xc0u

extern struct pmu {
	bool amd, global, pdcm, full_width;
	unsigned int version, gp, gp_width, fixed, fixed_width;
	uint32_t selector, counter, stride; /* MSRs */
	uint32_t ctl, status, reset;
	uint32_t missing;                   /* architectural events */
} pmu;

void number(const char *name, uint64_t n);
void cpuid(uint32_t leaf, uint32_t r[4]);

/* Fills in pmu. */
void detect(void);
uint64_t branches_code(void);

/* Counter (i): general-purpose, or fixed from FIXED on. */
uint64_t mask_of(unsigned int i);
uint32_t counter_msr(unsigned int i);
uint64_t counter(unsigned int i);
void set_counter(unsigned int i, uint64_t value);
/* Chooses what it counts; it then waits for a write of switch_value() to switch_msr(). */
void choose(unsigned int i, uint64_t config);
/* With these, one WRMSR starts the counters in (mask) and the same one with 0 stops them. */
uint32_t switch_msr(uint64_t mask);
uint64_t switch_value(uint64_t mask, uint64_t config);
/* Counters that have overflowed, and that they have been seen. */
uint64_t overflowed(void);
void ack(uint64_t set);

/* Ends user(), in a trap's frame. */
void leave(struct frame *f);

#endif
