/* SPDX-License-Identifier: MIT */
#include "cpu.h"

/* QEMU virt's PL011; the firmware or the monitor left it enabled, and QEMU needs no set-up. */
#define UART_BASE UINT64_C(0x09000000)
#define UART_DR 0x00u
#define UART_FR 0x18u
#define UART_FR_TXFF (1u << 5)

static volatile uint32_t *uart(unsigned offset)
{
	return (volatile uint32_t *)(uintptr_t)(UART_BASE + offset);
}

static void put_char(char c)
{
	while (*uart(UART_FR) & UART_FR_TXFF)
		;
	*uart(UART_DR) = (uint8_t)c;
}

void put_string(const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			put_char('\r');
		put_char(*s);
	}
}

static void put_number(uint64_t value, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	while (n > 0)
		put_char(digits[--n]);
}

void put_decimal(uint64_t value)
{
	put_number(value, 10);
}

void put_hex(uint64_t value)
{
	put_string("0x");
	put_number(value, 16);
}
