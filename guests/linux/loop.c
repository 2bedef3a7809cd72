/* SPDX-License-Identifier: MIT */
/*
 * loop: a user-space loop of an exact number of instructions.
 *
 *	loop N       run N iterations of LOOP_INSTRUCTIONS instructions and exit
 *	loop -t N    the same, then print how long the loop took in nanoseconds
 *
 * No libc: its start-up depends on what the CPU offers, and then the same program
 * would retire different numbers of instructions on different machines. Without
 * -t the whole run is the loop plus a constant; printing the time is not.
 */
#include <stddef.h>
#include <stdint.h>

#define LOOP_INSTRUCTIONS 7 /* per iteration: see spin() */

enum { SYS_WRITE = 64, SYS_EXIT = 93, SYS_CLOCK_GETTIME = 113 };
enum { CLOCK_MONOTONIC_ID = 1, STDOUT = 1, STDERR = 2 };

struct timespec64 {
	int64_t seconds;
	int64_t nanoseconds;
};

void loop_main(const uint64_t *stack);

static long syscall3(long number, long a, long b, long c)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}

static uint64_t now(void)
{
	struct timespec64 t = { 0, 0 };

	syscall3(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC_ID, (long)&t, 0);
	return (uint64_t)t.seconds * 1000000000u + (uint64_t)t.nanoseconds;
}

/* A wrong number of instructions here breaks the tests that compare counts. */
static void spin(uint64_t n)
{
	uint64_t a = 0, b = 1;

	__asm__ volatile("1:	add	%[a], %[a], %[b]\n"
			 "	eor	%[b], %[b], %[a]\n"
			 "	ror	%[a], %[a], #7\n"
			 "	add	%[b], %[b], #3\n"
			 "	eor	%[a], %[a], %[b], lsl #1\n"
			 "	subs	%[n], %[n], #1\n"
			 "	b.ne	1b\n"
			 : [a] "+r"(a), [b] "+r"(b), [n] "+r"(n)
			 :
			 : "cc");
}

static int parse(const char *s, uint64_t *value)
{
	uint64_t v = 0;

	if (*s == '\0')
		return -1;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || v > UINT64_MAX / 20)
			return -1;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*value = v;
	return 0;
}

static void print_number(uint64_t value)
{
	char text[24];
	size_t i = sizeof(text);

	text[--i] = '\n';
	do {
		text[--i] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	syscall3(SYS_WRITE, STDOUT, (long)&text[i], (long)(sizeof(text) - i));
}

static __attribute__((noreturn)) void leave(int status)
{
	for (;;)
		syscall3(SYS_EXIT, status, 0, 0);
}

/* (stack) is what the kernel hands over: argc, then the argument pointers. */
void loop_main(const uint64_t *stack)
{
	static const char usage[] = "usage: loop [-t] ITERATIONS\n";
	const char *const *argv = (const char *const *)(stack + 1);
	uint64_t argc = stack[0], n = 0, start;
	int timed = argc == 3 && argv[1][0] == '-' && argv[1][1] == 't' && argv[1][2] == '\0';

	if ((argc != 2 && !timed) || parse(argv[argc - 1], &n) < 0 || n == 0) {
		syscall3(SYS_WRITE, STDERR, (long)usage, sizeof(usage) - 1);
		leave(2);
	}
	if (!timed) {
		spin(n);
		leave(0);
	}
	start = now();
	spin(n);
	print_number(now() - start);
	leave(0);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov	x0, sp\n"
	"	b	loop_main\n");
