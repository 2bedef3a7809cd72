/* SPDX-License-Identifier: MIT */
/* What the subcommands of the command `vpmu` share. */
#ifndef VPMU_TOOLS_COMMON_H
#define VPMU_TOOLS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses that are not a guest's verdict. */
enum {
	EXIT_USAGE = 2,
	EXIT_TIMEOUT = 124,
	EXIT_CANNOT = 125, /* vpmu itself could not do what was asked */
	EXIT_INTERRUPTED = 130,
};

#define PRINTF_LIKE(string, first) __attribute__((format(printf, string, first)))

/* Print "vpmu: MESSAGE" on standard error and exit with (status). */
void die(int status, const char *format, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));

void warn(const char *format, ...) PRINTF_LIKE(1, 2);

/* Formatted text in memory of its own; never NULL, never freed. */
char *text(const char *format, ...) PRINTF_LIKE(1, 2);

/* (s) with every comma doubled, as QEMU wants it inside an option's value. */
char *double_commas(const char *s);

/* (*s) up to the next single comma, at which *(s) is then; doubled ones are one each. */
char *comma_item(const char **s);

/* A growing argument vector, always ended by NULL. */
struct args {
	char **list;
	size_t count;
};

void args_add(struct args *args, const char *word);
/* Two words: (option) and its value. */
void args_add_pair(struct args *args, const char *option, const char *value);
/* Print as one line that a shell would read back. */
void args_print(const struct args *args);

/* The whole of (s) as a number of the C language's bases, or false. */
bool parse_number(const char *s, uint64_t *value);

#endif /* VPMU_TOOLS_COMMON_H */
