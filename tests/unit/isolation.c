/* SPDX-License-Identifier: MIT */
#include "isolation.h"

#include <stdio.h>
#include <string.h>

#define TESTS_MAX 1024u

static const char *const way_names[WAYS] = {
	[WAY_PUT] = "put",
	[WAY_RECLAIM] = "reclaim",
	[WAY_REQUEST] = "request",
	[WAY_QUIET] = "quiet",
	[WAY_EVENT] = "host event",
	[WAY_OTHER_CPU] = "other CPU",
	[WAY_STAY] = "stays",
	[WAY_END] = "ended",
};

char isolation_cell[256];

/* One test of a pair. */
struct pair {
	const struct machine *machine;
	const struct role *first, *second;
	char name[160];
};

static struct pair pairs[TESTS_MAX];
static struct CMUnitTest tests[TESTS_MAX];
static unsigned int test_count;
static unsigned int cells, kept_apart, by_way[WAYS];

void isolation_same(const char *what, uint32_t i, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	print_error("%s: %s %#x is %#llx, not %#llx\n", isolation_cell, what, i,
		    (unsigned long long)got, (unsigned long long)want);
	fail();
}

static bool is_passed(const struct role *r)
{
	return r->kind == KIND_GUEST && r->mode == VPMU_MODE_PASSTHROUGH;
}

static bool owns_all(const struct role *r)
{
	return is_passed(r) || (r->kind == KIND_GUEST && r->mode == VPMU_MODE_MEDIATED);
}

static bool has_counters(const struct role *r)
{
	return owns_all(r) || (r->kind == KIND_GUEST && r->mode == VPMU_MODE_PARTITIONED);
}

static bool counts_inside(const struct role *r)
{
	return r->kind == KIND_EVENT && !r->exclude_guest;
}

bool isolation_excludes(const struct role *a, const struct role *b)
{
	return (owns_all(a) && counts_inside(b)) || (counts_inside(a) && owns_all(b)) ||
	       (is_passed(a) && has_counters(b)) || (has_counters(a) && is_passed(b));
}

/* Does (r) ever leave in this way? */
static bool goes(const struct role *r, enum way way)
{
	switch (way) {
	case WAY_PUT:
		return r->kind != KIND_EVENT;
	case WAY_STAY:
	case WAY_END:
		return r->kind == KIND_EVENT;
	case WAY_QUIET:
		return has_counters(r) && r->switch_kind == VPMU_SWITCH_LAZY;
	case WAY_RECLAIM:
	case WAY_REQUEST:
	case WAY_EVENT:
	case WAY_OTHER_CPU:
		return r->kind == KIND_GUEST;
	case WAYS:
		break;
	}
	return false;
}

static enum way parting(const struct role *r)
{
	return r->kind == KIND_EVENT ? WAY_STAY : WAY_PUT;
}

static void cell(const struct pair *p, enum way way)
{
	const struct machine *m = p->machine;

	(void)snprintf(isolation_cell, sizeof(isolation_cell), "%s, %s", p->name, way_names[way]);
	m->power_on(m, p->first, p->second);
	m->fill(0);
	m->leave(0, way);
	m->look(1);
	m->fill(1);
	m->leave(1, parting(p->second));
	m->back(0);
	m->leave(0, parting(p->first));
	m->back(1);
	m->finish();
	by_way[way]++;
	cells++;
}

static void pair(void **state)
{
	const struct pair *p = *state;

	if (isolation_excludes(p->first, p->second)) {
		(void)snprintf(isolation_cell, sizeof(isolation_cell), "%s", p->name);
		p->machine->power_on(p->machine, p->first, p->second);
		kept_apart++;
		return;
	}
	for (enum way way = 0; way < WAYS; way++) {
		if (goes(p->first, way))
			cell(p, way);
	}
}

static void nothing_is_left_out(void **state)
{
	const struct pair *p = *state;
	const struct machine *m = p->machine;

	unsigned int done = cells, refused = kept_apart, each[WAYS];

	memcpy(each, by_way, sizeof(each));
	memset(by_way, 0, sizeof(by_way));
	cells = kept_apart = 0;
	print_message("# %s: %u pairs of %u users, %u of them refused with BUSY; %u cells:",
		      m->name, m->role_count * m->role_count, m->role_count, refused, done);
	for (enum way way = 0; way < WAYS; way++)
		print_message(" %s %u%s", way_names[way], each[way], way + 1 < WAYS ? "," : "\n");
	for (enum way way = 0; way < WAYS; way++)
		assert_true(each[way]);
	assert_int_equal(done, m->cells);
}

static void add(void (*test)(void **), struct pair *p)
{
	assert_true(test_count < TESTS_MAX);
	tests[test_count++] = (struct CMUnitTest){
		.name = p->name, .test_func = test, .initial_state = p };
}

static void add_pairs(const struct machine *m)
{
	for (unsigned int i = 0; i <= m->role_count * m->role_count; i++) {
		struct pair *p = &pairs[test_count];

		*p = (struct pair){ .machine = m };
		if (i == m->role_count * m->role_count) {
			(void)snprintf(p->name, sizeof(p->name), "%s: all", m->name);
			add(nothing_is_left_out, p);
			return;
		}
		p->first = &m->roles[i / m->role_count];
		p->second = &m->roles[i % m->role_count];
		(void)snprintf(p->name, sizeof(p->name), "%s: %s, then %s", m->name,
			       p->first->name, p->second->name);
		add(pair, p);
	}
}

int isolation_run(const struct machine *machines, unsigned int count, const char *name)
{
	for (unsigned int i = 0; i < count; i++) {
		if (!name || !strcmp(name, machines[i].name))
			add_pairs(&machines[i]);
	}
	if (!test_count) {
		print_error("no machine named %s\n", name);
		return 2;
	}
	return _cmocka_run_group_tests("isolation", tests, test_count, NULL, NULL);
}
