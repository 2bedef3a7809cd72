/* SPDX-License-Identifier: MIT */
/*
 * console.c - lines on the machine's PL011.
 *
 * The guest uses the same device: a line of ours may come between two of its characters, and
 * nothing else happens to it, for only the data register is written.
 */
#include "monitor.h"
#include "string.h"

#define PL011_DR 0x00u
#define PL011_FR 0x18u
#define PL011_FR_TXFF BIT(5)
/* A guest may have switched the device off; characters are then lost instead of time. */
#define TX_TRIES 1000000u

static volatile uint32_t *pl011;
static struct spinlock lock;
static atomic_bool lock_broken;

void console_init(uint64_t base)
{
	pl011 = (volatile uint32_t *)base;
}

void console_break_lock(void)
{
	atomic_store(&lock_broken, true);
}

static void put_raw(char c)
{
	unsigned int tries = TX_TRIES;

	while ((pl011[PL011_FR / 4] & PL011_FR_TXFF) && --tries)
		;
	pl011[PL011_DR / 4] = (unsigned char)c;
}

static void put(char c)
{
	if (!pl011)
		return;
	if (c == '\n')
		put_raw('\r');
	put_raw(c);
}

static void put_string(const char *s, size_t length)
{
	while (length--)
		put(*s++);
}

static void put_number(uint64_t value, unsigned int base)
{
	char digits[20];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n--)
		put(digits[n]);
}

static uint64_t number_argument(va_list *args, unsigned int longs)
{
	return longs ? va_arg(*args, uint64_t) : va_arg(*args, unsigned int);
}

/* One conversion, after '%'. returns: what follows it. */
static const char *convert(const char *f, va_list *args)
{
	size_t limit = SIZE_MAX;
	unsigned int longs = 0;
	const char *s;

	if (f[0] == '.' && f[1] == '*') {
		limit = (size_t)va_arg(*args, int);
		f += 2;
	}
	for (; *f == 'l'; f++)
		longs++;
	switch (*f) {
	case 's':
		s = va_arg(*args, const char *);
		if (!s)
			s = "?";
		put_string(s, strnlen(s, limit));
		break;
	case 'c':
		put((char)va_arg(*args, int));
		break;
	case 'u':
		put_number(number_argument(args, longs), 10);
		break;
	case 'x':
		put_number(number_argument(args, longs), 16);
		break;
	case '%':
		put('%');
		break;
	case '\0':
		return f;
	}
	return f + 1;
}

static void vprint(const char *f, va_list *args)
{
	while (*f) {
		if (*f == '%')
			f = convert(f + 1, args);
		else
			put(*f++);
	}
}

void console_vprintf(const char *format, va_list args)
{
	bool locked = !atomic_load(&lock_broken);
	va_list copy;

	if (locked)
		spin_lock(&lock);
	va_copy(copy, args);
	vprint(format, &copy);
	va_end(copy);
	if (locked)
		spin_unlock(&lock);
}

void console_printf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
}

void machine_fail(const char *format, ...)
{
	va_list args;

	console_printf("vpmu: fatal: ");
	va_start(args, format);
	console_vprintf(format, args);
	va_end(args);
	machine_off();
}

/* The stack protector's, see string.c. */
_Noreturn void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	console_break_lock();
	machine_fail("stack overrun in the monitor\n");
}
