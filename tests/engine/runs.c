/* SPDX-License-Identifier: MIT */
#include "runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Unicorn loses some of its own memory. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libunicorn\n";
}

void run_put(void *context, uint8_t byte)
{
	struct run *r = context;

	assert_true(r->length + 1 < RUN_OUTPUT);
	r->output[r->length++] = (char)byte;
}

void run_check_counters(struct pc_pmu *pmu)
{
	struct vpmu_counter_status c;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		if (pc_pmu_counter(pmu, i, &c))
			assert_true(c.state == VPMU_COUNTER_STOPPED ||
				    c.state == VPMU_COUNTER_ABSENT);
}

/* A count of cycles: lower by what a hypervisor executed for the guest, at most a few dozen. */
#define CYCLES_MISSING 64u

static bool same_line(const char *a, const char *b, size_t length)
{
	uint64_t x, y;

	if (*a != '~')
		return !strncmp(a, b, length);
	while (*a && *a == *b && *a != ' ')
		a++, b++;
	x = strtoull(a, NULL, 16);
	y = strtoull(b, NULL, 16);
	return *a == ' ' && y <= x && x - y <= CYCLES_MISSING;
}

void assert_same_output(const struct run *bare, const struct run *other)
{
	const char *a = bare->output, *b = other->output;

	while (*a) {
		size_t length = strcspn(a, "\n") + 1;

		if (!same_line(a, b, length))
			fail_msg("%s sees %.*s, %s sees %.*s", bare->name, (int)length, a,
				 other->name, (int)(strcspn(b, "\n") + 1), b);
		a += length;
		b += strcspn(b, "\n") + 1;
	}
	assert_string_equal(b, "");
}

void assert_same(const struct run *bare, const struct run *other)
{
	assert_same_output(bare, other);
	assert_int_equal(bare->stats.pmis, other->stats.pmis);
	/* libvpmu knows when nothing would get through. */
	assert_int_equal(other->stats.pmis_masked, 0);
	assert_int_equal(bare->instructions, other->instructions);
}

struct image slurp(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct image i = { .bytes = malloc(1u << 20) };

	i.size = f && i.bytes ? fread(i.bytes, 1, 1u << 20, f) : 0;
	if (f)
		fclose(f);
	return i;
}
