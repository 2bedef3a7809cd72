/* SPDX-License-Identifier: MIT */
/* The models of events.md. */
#include "internal.h"

#include <string.h>

#define BLOCK 16u /* lines that a miss brings in at most */
#define LINE 6
#define CYCLES_MISPREDICTED 14u
#define CYCLES_LLC_HIT 12u
#define CYCLES_LLC_MISS 120u

void predictor_reset(struct predictor *p)
{
	memset(p, 0, sizeof(*p));
	memset(p->counters, 1, sizeof(p->counters));
}

/* Two-bit counters. True: mispredicted. */
bool predictor_conditional(struct predictor *p, uint64_t address, bool taken)
{
	uint8_t *counter = &p->counters[(address ^ address >> 10) % PREDICTORS];
	bool predicted = *counter >= 2;

	if (taken && *counter < 3)
		(*counter)++;
	else if (!taken && *counter > 0)
		(*counter)--;
	return predicted != taken;
}

/* The last target of each branch. */
bool predictor_indirect(struct predictor *p, uint64_t address, uint64_t target)
{
	unsigned int i = (address ^ address >> 8) % TARGETS;
	bool wrong = p->targets[i].branch != address || p->targets[i].target != target;

	p->targets[i].branch = address;
	p->targets[i].target = target;
	return wrong;
}

/* Moves the line to the front; the last one falls out. True: it was there. */
static bool touch(uint64_t *ways, unsigned int count, uint64_t tag)
{
	unsigned int i = 0;
	bool hit;

	while (i < count - 1 && ways[i] != tag)
		i++;
	hit = ways[i] == tag;
	memmove(ways + 1, ways, i * sizeof(*ways));
	ways[0] = tag;
	return hit;
}

void caches_access(struct caches *c, uint64_t address, struct pc_events *e)
{
	uint64_t line = address >> LINE;

	if (touch(c->l1[line % L1_SETS], L1_WAYS, line + 1))
		return;
	e->llc_references++;
	if (touch(c->llc[line % LLC_SETS], LLC_WAYS, line + 1))
		return;
	e->llc_misses++;
	/* The prefetcher takes streams to go upwards. */
	while (++line % BLOCK)
		(void)touch(c->llc[line % LLC_SETS], LLC_WAYS, line + 1);
}

static void forget(uint64_t *ways, unsigned int count, uint64_t tag)
{
	for (unsigned int i = 0; i < count; i++)
		if (ways[i] == tag)
			ways[i] = 0;
}

void caches_flush(struct caches *c, uint64_t address)
{
	uint64_t line = address >> LINE;

	forget(c->l1[line % L1_SETS], L1_WAYS, line + 1);
	forget(c->llc[line % LLC_SETS], LLC_WAYS, line + 1);
}

uint64_t model_extra_cycles(const struct pc_events *e)
{
	return e->branches_mispredicted * CYCLES_MISPREDICTED +
		(e->llc_references - e->llc_misses) * CYCLES_LLC_HIT +
		e->llc_misses * CYCLES_LLC_MISS;
}
