/* SPDX-License-Identifier: MIT */
#include "time_source.h"

/* 1 kHz is a cycle in so many nanoseconds. */
#define UNIT 1000000u

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	return b && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

/* (a) * (b) / (c), rounded down or up; (a) % (c) * (b) may not overflow before it is divided. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c, bool up)
{
	uint64_t whole = multiply(a / c, b), rest = multiply(a % c, b);

	if (whole == UINT64_MAX || rest == UINT64_MAX)
		return UINT64_MAX;
	return add(whole, rest / c + (up && rest % c));
}

uint64_t vpmu_time_cycles(uint64_t nanoseconds, uint64_t khz)
{
	return scale(nanoseconds, khz, UNIT, false);
}

uint64_t vpmu_time_nanoseconds(uint64_t cycles, uint64_t khz)
{
	return khz ? scale(cycles, UNIT, khz, true) : UINT64_MAX;
}
