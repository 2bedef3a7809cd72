/* SPDX-License-Identifier: MIT */
/* From keys to the guest's PMU and to the machine's. Later lists of keys win. */
#include "play_world.h"

#include <string.h>

struct keys {
	struct play_run *r;
	const struct play_arg *const *args;
	unsigned int count;
};


/* Its value, which has to fit, or (otherwise). */
static uint64_t get(const struct keys *k, const char *key, uint64_t otherwise, uint64_t max)
{
	uint64_t value = otherwise;

	for (unsigned int i = 0; i < k->count; i++)
		value = play_option(k->r, k->args[i], key, value);
	if (value > max)
		play_senseless(k->r, "%s=%#llx does not fit: at most %#llx", key,
			       (unsigned long long)value, (unsigned long long)max);
	return value;
}

static uint8_t get8(const struct keys *k, const char *key, uint64_t otherwise)
{
	return (uint8_t)get(k, key, otherwise, UINT8_MAX);
}

/* ---- The guest's ---- */

static void intel_model(const struct keys *k, struct vpmu_x86_model *m)
{
	uint8_t v = get8(k, "v", 2);

	m->version = v;
	m->gp = get8(k, "gp", v ? 8 : 0);
	m->gp_width = get8(k, "gp_width", get(k, "width", m->gp ? 48 : 0, UINT8_MAX));
	m->fixed = get8(k, "fixed", v >= 2 ? 3 : 0);
	m->fixed_width = get8(k, "fixed_width", m->fixed ? get(k, "width", 48, UINT8_MAX) : 0);
	m->events_length = get8(k, "length", v ? 7 : 0);
	m->events_missing = get8(k, "ebx", 0);
	m->pdcm = get(k, "pdcm", v ? 1 : 0, 1);
	m->full_width_writes = get(k, "fw", 0, 1);
	m->tsx = get(k, "tsx", 0, 1);
	m->debug_bits = get(k, "debug", 0, UINT64_MAX);
}

static void amd_model(const struct keys *k, struct vpmu_x86_model *m)
{
	m->version = get8(k, "v", 2);
	m->core_extension = get(k, "core", 0, 1);
	m->gp = get8(k, "gp", !m->version ? 0 : m->version > 1 || m->core_extension ? 6 : 4);
	m->gp_width = get8(k, "gp_width", get(k, "width", m->gp ? 48 : 0, UINT8_MAX));
	m->debug_bits = get(k, "debug", 0, UINT64_MAX);
}

static void arm_model(const struct keys *k, struct vpmu_arm_model *m)
{
	/* The library's enum has no other values; it must refuse them all the same. */
	uint32_t version = (uint32_t)get(k, "v", VPMU_ARM_V3P5, UINT32_MAX);
	uint64_t every = version >= VPMU_ARM_V3P1 ? UINT64_MAX : UINT32_MAX;

	m->size = sizeof(*m);
	memcpy(&m->version, &version, sizeof(version));
	m->counters = (uint32_t)get(k, "n", 6, UINT32_MAX);
	m->id = (uint32_t)get(k, "id", 0, UINT32_MAX);
	m->ceid[0] = get(k, "ceid0", every, UINT64_MAX);
	m->ceid[1] = get(k, "ceid1", every, UINT64_MAX);
	m->mmir = get(k, "mmir", version >= VPMU_ARM_V3P4 ? 8 : 0, UINT64_MAX);
}

void play_model_init(struct play_run *r, struct play_model *model,
		     const struct play_arg *const *args, unsigned int count)
{
	const struct keys k = { r, args, count };

	*model = (struct play_model){ .x86 = { .size = sizeof(model->x86) } };
	if (r->what->model->arch == PLAY_ARM) {
		arm_model(&k, &model->arm);
	} else if (r->what->model->arch == PLAY_AMD) {
		model->x86.vendor = VPMU_X86_AMD;
		amd_model(&k, &model->x86);
	} else {
		intel_model(&k, &model->x86);
	}
}

/* ---- The machine's: what the case's model needs, then `hardware`, then `machine` ---- */

#define LISTS_MAX (PLAY_MODELS_MAX + 1)

static bool is_about(struct play_run *r, const struct play_arg *args, unsigned int cpu)
{
	return play_option(r, args, "cpu", cpu) == cpu;
}

static struct keys hardware_keys(struct play_run *r, unsigned int cpu,
				 const struct play_arg **lists)
{
	struct keys k = { r, lists, 0 };

	for (const struct play_shape *s = r->what->file->hardware; s; s = s->next) {
		if (is_about(r, s->args, cpu))
			lists[k.count++] = s->args;
	}
	if (is_about(r, r->world->machine_args, cpu))
		lists[k.count++] = r->world->machine_args;
	return k;
}

static uint64_t at_least(uint64_t value, uint64_t least)
{
	return value > least ? value : least;
}

static void intel_config(const struct keys *k, const struct vpmu_x86_model *m,
			 struct x86_pmu_config *c)
{
	c->vendor = X86_PMU_INTEL;
	/* Mediated guests take version 4, even if they are shown less. */
	c->version = get8(k, "v", at_least(m->version, 4));
	if (!get(k, "status_set", 1, 1) && c->version > 3)
		c->version = 3;
	c->gp = get8(k, "gp", m->version ? m->gp : 8);
	c->gp_width = get8(k, "gp_width",
			   get(k, "width", m->gp_width ? m->gp_width : 48, UINT8_MAX));
	c->fixed = get8(k, "fixed", m->version >= 2 ? m->fixed : 3);
	c->fixed_width = get8(k, "fixed_width",
			      get(k, "width", m->fixed_width ? m->fixed_width : 48, UINT8_MAX));
	c->events_length = get8(k, "length", at_least(m->events_length, 7));
	c->events_missing = get8(k, "ebx", 0);
	c->pdcm = get(k, "pdcm", 1, 1);
	c->full_width_writes = get(k, "fw", get(k, "exact_writes", 1, 1), 1);
	c->freeze_smm = get(k, "freeze_smm", 1, 1);
	c->anythread = get(k, "anythread", c->version == 3 || c->version == 4, 1);
	c->tsx = get(k, "tsx", m->tsx, 1);
	c->debugctl = get(k, "debug", m->debug_bits, UINT64_MAX);
	c->atom_instructions = c->atom_branches = get(k, "atom", 0, 1);
}

static void amd_config(const struct keys *k, struct x86_pmu_config *c)
{
	c->vendor = X86_PMU_AMD;
	c->version = get8(k, "v", get(k, "status_set", 1, 1) ? 2 : 1);
	c->core_extension = get(k, "core", 1, 1);
	c->gp = get8(k, "gp", 6);
	c->gp_width = get8(k, "gp_width", get(k, "width", 48, UINT8_MAX));
	c->debugctl = get(k, "debug", 0, UINT64_MAX);
	c->amd_vmrun_branch = get(k, "vmrun", 0, 1);
}

void play_check_x86_config(struct play_run *r, const struct x86_pmu_config *c)
{
	bool widths = c->gp_width >= 1 && c->gp_width <= 63 &&
		      (!c->fixed || (c->fixed_width >= 1 && c->fixed_width <= 63));
	bool intel = c->version <= 5 && c->gp <= X86_PMU_GP_MAX && c->fixed <= X86_PMU_FIXED_MAX;
	bool amd = c->version >= 1 && c->version <= 2 && c->gp >= 1 && c->gp <= 6;
	bool fits = c->vendor == X86_PMU_INTEL ? intel : amd;

	if (!widths || !fits)
		play_senseless(r, "the hardware is one that does not exist: v=%u gp=%u gp_width=%u "
			       "fixed=%u fixed_width=%u", c->version, c->gp, c->gp_width, c->fixed,
			       c->fixed_width);
}

void play_x86_config(struct play_run *r, unsigned int cpu, struct x86_pmu_config *config, bool *vmx)
{
	const struct play_arg *lists[LISTS_MAX];
	struct keys k = hardware_keys(r, cpu, lists);
	struct play_model model;

	play_model_init(r, &model, (const struct play_arg *const[]){ r->what->model->args }, 1);
	*config = (struct x86_pmu_config){ 0 };
	if (model.x86.vendor == VPMU_X86_AMD)
		amd_config(&k, config);
	else
		intel_config(&k, &model.x86, config);
	config->status_skid = (uint32_t)get(&k, "status_skid", get(&k, "skid", 0, UINT16_MAX),
					    UINT16_MAX);
	config->interrupt_skid = (uint32_t)get(&k, "interrupt_skid", get(&k, "skid", 0, UINT16_MAX),
					       UINT16_MAX);
	*vmx = get(&k, "boundary", 1, 1) && model.x86.vendor == VPMU_X86_INTEL;
	play_check_x86_config(r, config);
}

static bool is_arm_version(uint64_t v)
{
	return v == VPMU_ARM_V3 || v == VPMU_ARM_V3P1 || v == VPMU_ARM_V3P4 || v == VPMU_ARM_V3P5;
}

void play_arm_config(struct play_run *r, unsigned int cpu, struct model_config *config)
{
	const struct play_arg *lists[LISTS_MAX];
	struct keys k = hardware_keys(r, cpu, lists);
	struct play_model model;
	const struct vpmu_arm_model *m = &model.arm;
	uint64_t version;

	play_model_init(r, &model, (const struct play_arg *const[]){ r->what->model->args }, 1);
	version = get(&k, "v", is_arm_version(m->version) ? m->version : VPMU_ARM_V3P5, UINT32_MAX);
	*config = (struct model_config){
		.version = (uint32_t)version,
		.counters = (uint32_t)get(&k, "n", m->counters < 31 ? m->counters : 31, 31),
		.id = (uint32_t)get(&k, "id", m->id & UINT16_MAX, UINT16_MAX),
		.ceid = { get(&k, "ceid0", m->ceid[0], UINT64_MAX),
			  get(&k, "ceid1", m->ceid[1], UINT64_MAX) },
		.mmir = get(&k, "mmir", m->mmir, UINT64_MAX),
		.fgt = get(&k, "fgt", version >= VPMU_ARM_V3P5, 1),
		.hpmn_holes = get(&k, "hpmn", 1, 1) ? 0 : MODEL_HOLES_ALL,
		.el3 = true,
		.aarch32 = true,
	};
	if (!is_arm_version(version))
		play_senseless(r, "the hardware is p0, p1, p4 or p5");
}
