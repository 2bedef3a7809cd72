/* SPDX-License-Identifier: MIT */
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All memory of the command, which ends soon: it is kept until then and never freed. */
struct block {
	struct block *next;
	max_align_t data[];
};

static struct block *blocks;

static void *allocate(size_t size)
{
	struct block *block = malloc(sizeof(*block) + size);

	if (!block) {
		fputs("vpmu: out of memory\n", stderr);
		exit(EXIT_CANNOT);
	}
	block->next = blocks;
	blocks = block;
	return block->data;
}

static void PRINTF_LIKE(1, 0) print_message(const char *format, va_list ap)
{
	fflush(stdout);
	fputs("vpmu: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
}

void die(int status, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_message(format, ap);
	va_end(ap);
	exit(status);
}

void warn(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_message(format, ap);
	va_end(ap);
}

char *text(const char *format, ...)
{
	va_list ap;
	char *s;
	int length;

	va_start(ap, format);
	length = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (length < 0)
		die(EXIT_CANNOT, "text too long");
	s = allocate((size_t)length + 1);
	va_start(ap, format);
	vsnprintf(s, (size_t)length + 1, format, ap);
	va_end(ap);
	return s;
}

char *double_commas(const char *s)
{
	char *out = allocate(2 * strlen(s) + 1), *p = out;

	for (; *s != '\0'; s++) {
		*p++ = *s;
		if (*s == ',')
			*p++ = ',';
	}
	*p = '\0';
	return out;
}

void args_add(struct args *args, const char *word)
{
	char **list = allocate((args->count + 2) * sizeof(*list));

	if (args->count > 0)
		memcpy(list, args->list, args->count * sizeof(*list));
	list[args->count++] = text("%s", word);
	list[args->count] = NULL;
	args->list = list;
}

void args_add_pair(struct args *args, const char *option, const char *value)
{
	args_add(args, option);
	args_add(args, value);
}

static bool plain(const char *s)
{
	return *s != '\0' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			 "-_=,./:+@%") == strlen(s);
}

static void print_quoted(const char *s)
{
	if (plain(s)) {
		fputs(s, stdout);
		return;
	}
	putchar('\'');
	for (; *s != '\0'; s++)
		*s == '\'' ? (void)fputs("'\\''", stdout) : (void)putchar(*s);
	putchar('\'');
}

void args_print(const struct args *args)
{
	for (size_t i = 0; i < args->count; i++) {
		if (i > 0)
			putchar(' ');
		print_quoted(args->list[i]);
	}
	putchar('\n');
}

bool parse_number(const char *s, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*value = strtoull(s, &end, 0);
	return errno == 0 && *end == '\0';
}

char *comma_item(const char **s)
{
	char *item = text("%s", *s), *to = item;

	for (; **s != '\0' && (**s != ',' || (*s)[1] == ','); (*s)++) {
		if (**s == ',')
			(*s)++;
		*to++ = **s;
	}
	*to = '\0';
	return item;
}
