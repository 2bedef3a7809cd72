/* SPDX-License-Identifier: MIT */
/* Boot arguments: words, "name" or "name=value"; a value may be a list with commas. */
#include <stddef.h>

#include "cpu.h"

static const char *arguments = "";

void options_set(const char *bootargs)
{
	arguments = bootargs ? bootargs : "";
}

static bool ends_word(char c)
{
	return c == 0 || c == ' ';
}

/* What follows `name` in the text, if the text starts with it as a whole word. */
static const char *after_name(const char *text, const char *name)
{
	while (*name && *text == *name) {
		text++;
		name++;
	}
	return *name == 0 && (*text == '=' || ends_word(*text)) ? text : NULL;
}

static const char *find(const char *name)
{
	const char *p = arguments;

	while (*p) {
		const char *rest = after_name(p, name);

		if (rest)
			return *rest == '=' ? rest + 1 : rest;
		while (!ends_word(*p))
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

bool option(const char *name)
{
	return find(name) != NULL;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *p = find(name);
	uint64_t value = 0;

	if (!p || *p < '0' || *p > '9')
		return otherwise;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	return value;
}

/* Does one entry of the list equal `item`, or, with `prefix`, begin it? */
static bool entry_matches(const char *entry, const char *item, bool prefix)
{
	while (*item && *entry == *item) {
		entry++;
		item++;
	}
	return (*entry == ',' || ends_word(*entry)) && (prefix || *item == 0);
}

bool option_lists(const char *name, const char *item, bool prefix)
{
	const char *p = find(name);

	while (p && !ends_word(*p)) {
		if (entry_matches(p, item, prefix))
			return true;
		while (*p != ',' && !ends_word(*p))
			p++;
		if (*p == ',')
			p++;
	}
	return false;
}
