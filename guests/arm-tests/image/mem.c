/* SPDX-License-Identifier: MIT */
/* The functions that a freestanding compiler may call. */
#include <stddef.h>
#include <stdint.h>

void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);

void *memset(void *to, int value, size_t size)
{
	volatile uint8_t *p = to;

	while (size-- > 0)
		*p++ = (uint8_t)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	volatile uint8_t *p = to;
	const uint8_t *q = from;

	while (size-- > 0)
		*p++ = *q++;
	return to;
}
