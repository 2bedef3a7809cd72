/* SPDX-License-Identifier: MIT */
/* What the counting source of an emulated vCPU does by itself. */
#include "play_world.h"

static struct vpmu_script_source *source(struct play_run *r, const char *what)
{
	return &play_emulated_vcpu(r, what)->source;
}

/* The library wants the guest to exit, or a halted one may have something to wake for. */
static void kick(struct play_run *r, bool wanted)
{
	struct play_vcpu *v = play_vcpu(r);

	if (wanted && v->place == PLAY_IN) {
		play_exit(r, v);
		play_enter(r, v);
	}
	play_service(r, v);
}

static void count(struct play_run *r, const struct play_arg *args)
{
	unsigned int slot = play_index(r, args, 0, VPMU_COUNTER_MAX);

	vpmu_script_source_count(source(r, "source count"), slot, play_arg(r, args, 1));
}

static void overflow(struct play_run *r, const struct play_arg *args)
{
	unsigned int slot = play_index(r, args, 0, VPMU_COUNTER_MAX);
	uint64_t after = play_option(r, args, "after", 0);
	struct vpmu_script_source *s = source(r, "source overflow");

	if (!after) {
		kick(r, vpmu_script_source_overflow(s, slot));
		return;
	}
	s->nmi_once = PLAY_BIT(slot);
	s->nmi_after = after;
}

static void nmi(struct play_run *r, const struct play_arg *args)
{
	struct vpmu_script_source *s = source(r, "source nmi");

	s->nmi = play_arg(r, args, 0);
	s->nmi_left = play_arg(r, args, 1);
}

static void hold(struct play_run *r, const struct play_arg *args)
{
	(void)args;
	source(r, "source hold")->hold = true;
}

static void release(struct play_run *r, const struct play_arg *args)
{
	(void)args;
	kick(r, vpmu_script_source_release_held(source(r, "source release")));
}

static void capacity(struct play_run *r, const struct play_arg *args)
{
	source(r, "source capacity")->capacity =
		play_index(r, args, 0, VPMU_COUNTER_MAX + 1);
}

static void refuse(struct play_run *r, const struct play_arg *args)
{
	source(r, "source refuse")->refuse = play_arg(r, args, 0);
}

static void refuse_checkpointed(struct play_run *r, const struct play_arg *args)
{
	source(r, "source refuse_checkpointed")->refuse_checkpointed = play_arg(r, args, 0);
}

static void fail(struct play_run *r, const struct play_arg *args)
{
	struct vpmu_script_source *s = source(r, "source fail");
	uint64_t n = play_arg(r, args, 0);

	s->fail_at = n ? s->can_fail + n : 0;
}

static void starve(struct play_run *r, const struct play_arg *args)
{
	source(r, "source starve")->starved = play_arg(r, args, 0);
}

/* Constant for the life of a source: of those that begin from now on. */
static void lacks(struct play_run *r, const struct play_arg *args)
{
	for (unsigned int i = 0; i < r->world->vcpu_count; i++) {
		if (r->world->vcpus[i].exists)
			play_senseless(r, "'source lacks' comes before vCPUs are there, or after "
					  "'create'");
	}
	r->world->lacks = play_arg(r, args, 0);
}

/* ---- The physical PMU of a mediated one ---- */

static void hw_overflow(struct play_run *r, const struct play_arg *args)
{
	struct play_cpu *cpu = play_cpu(r);
	uint64_t at = play_option(r, args, "at", 1);

	cpu->overflow = play_index(r, args, 0, VPMU_COUNTER_MAX);
	/* There is a look before and one after every access. */
	cpu->overflow_in = at ? 2 * at - 1 : 0;
}

#define MEDIATED .needs = PLAY_NEEDS_MEDIATED
#define EMULATED .needs = PLAY_NEEDS_EMULATED

const struct play_command play_source_commands[] = {
	{ .name = "source count", .run = count, .min = 2, .max = 2, EMULATED },
	{ .name = "source overflow", .run = overflow, .min = 1, .max = 1, .options = "after=",
	  EMULATED },
	{ .name = "source nmi", .run = nmi, .min = 2, .max = 2, EMULATED },
	{ .name = "source hold", .run = hold, EMULATED },
	{ .name = "source release", .run = release, EMULATED },
	{ .name = "source capacity", .run = capacity, .min = 1, .max = 1, EMULATED },
	{ .name = "source refuse", .run = refuse, .min = 1, .max = 1, EMULATED },
	{ .name = "source refuse_checkpointed", .run = refuse_checkpointed, .min = 1, .max = 1,
	  EMULATED },
	{ .name = "source fail", .run = fail, .min = 1, .max = 1, EMULATED },
	{ .name = "source starve", .run = starve, .min = 1, .max = 1, EMULATED },
	{ .name = "source lacks", .run = lacks, .min = 1, .max = 1, EMULATED },
	{ .name = "hw overflow", .run = hw_overflow, .min = 1, .max = 1, .options = "at=",
	  MEDIATED },
	{ 0 },
};
