/* SPDX-License-Identifier: MIT */
/* Just enough of the flattened device tree to read a string of a node below the root. */
#include <stddef.h>

#include "cpu.h"

#define FDT_MAGIC 0xd00dfeedu
#define FDT_BEGIN_NODE 1u
#define FDT_END_NODE 2u
#define FDT_PROP 3u
#define FDT_NOP 4u
#define FDT_SIZE_MAX (2u << 20)	/* as in the arm64 boot protocol */

struct cursor {
	const uint8_t *tree;
	uint32_t at, end, strings;
};

static uint32_t word(const uint8_t *tree, uint32_t at)
{
	const uint8_t *p = tree + at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static uint32_t string_size(const struct cursor *c, uint32_t at)
{
	uint32_t size = 0;

	while (at + size < c->end && c->tree[at + size] != 0)
		size++;
	return size + 1;
}

static uint32_t padded(uint32_t size)
{
	return (size + 3) & ~UINT32_C(3);
}

/* Steps over the body of a property; its value if it is the wanted one. */
static const char *property_step(struct cursor *c, const char *wanted)
{
	uint32_t size = word(c->tree, c->at);
	const char *name = (const char *)c->tree + c->strings + word(c->tree, c->at + 4);
	const char *value = (const char *)c->tree + c->at + 8;

	if (size > c->end - c->at)
		size = 0;
	c->at += 8 + padded(size);
	return wanted && size > 0 && value[size - 1] == 0 && same(name, wanted) ? value : NULL;
}

static bool cursor_open(struct cursor *c, const void *fdt)
{
	c->tree = fdt;
	if (!fdt || ((uintptr_t)fdt & 3) || word(c->tree, 0) != FDT_MAGIC)
		return false;
	if (word(c->tree, 4) > FDT_SIZE_MAX)
		return false;
	c->at = word(c->tree, 8);
	c->strings = word(c->tree, 12);
	c->end = c->at + word(c->tree, 36);
	return c->end <= word(c->tree, 4);
}

/* The string property of /node, or NULL. */
const char *fdt_string(const void *fdt, const char *node, const char *property)
{
	unsigned depth = 0;
	bool inside = false;
	struct cursor c;

	if (!cursor_open(&c, fdt))
		return NULL;
	while (c.at + 12 <= c.end) {
		uint32_t token = word(c.tree, c.at);
		const char *value = NULL;

		c.at += 4;
		if (token == FDT_BEGIN_NODE) {
			inside = ++depth == 2 && same((const char *)c.tree + c.at, node);
			c.at += padded(string_size(&c, c.at));
		} else if (token == FDT_PROP) {
			value = property_step(&c, inside && depth == 2 ? property : NULL);
		} else if (token == FDT_END_NODE) {
			depth--;
		} else if (token != FDT_NOP) {
			return NULL;
		}
		if (value)
			return value;
	}
	return NULL;
}
