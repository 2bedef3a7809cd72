/* SPDX-License-Identifier: MIT */
/* What --pmu and --policy say about an x86 guest. */
#include "x86.h"

#include <stdlib.h>
#include <string.h>

/* ---- --pmu VENDOR[:WORD,...] ---- */

struct spec {
	const char *all;             /* for messages */
	struct vpmu_x86_model model;
	uint64_t version, gp, fixed, width, fixed_width, length, missing, full_width, tsx;
	uint64_t given;              /* which keys, as bits of the table */
};

struct key {
	const char *name;
	size_t offset;
	uint64_t low, high;
};

#define KEY(name, member, low, high) { name, offsetof(struct spec, member), low, high }

enum { KEY_VERSION, KEY_GP, KEY_FIXED, KEY_WIDTH, KEY_FIXED_WIDTH, KEY_EVENTS, KEY_MISSING,
       KEY_FULL_WIDTH, KEY_TSX, KEYS };

static const struct key keys[KEYS] = {
	[KEY_VERSION] = KEY("v", version, 0, 5),
	[KEY_GP] = KEY("gp", gp, 0, VPMU_X86_GP_MAX),
	[KEY_FIXED] = KEY("fixed", fixed, 0, VPMU_X86_FIXED_MAX),
	[KEY_WIDTH] = KEY("width", width, VPMU_X86_WIDTH_MIN, VPMU_X86_WIDTH_MAX),
	[KEY_FIXED_WIDTH] = KEY("fixed-width", fixed_width, VPMU_X86_WIDTH_MIN, VPMU_X86_WIDTH_MAX),
	[KEY_EVENTS] = KEY("events", length, 0, VPMU_X86_EVENTS),
	[KEY_MISSING] = KEY("missing", missing, 0, (1u << VPMU_X86_EVENTS) - 1),
	[KEY_FULL_WIDTH] = KEY("fw", full_width, 0, 1),
	[KEY_TSX] = KEY("tsx", tsx, 0, 1),
};

static void __attribute__((noreturn)) refuse(const struct spec *s, const char *why)
{
	die(EXIT_USAGE, "--pmu: '%s': %s", s->all, why);
}

static void set_key(struct spec *s, const char *word)
{
	size_t length = strcspn(word, "=");
	uint64_t value;

	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &keys[i];

		if (strlen(k->name) != length || strncmp(k->name, word, length) != 0)
			continue;
		if (word[length] != '=' || !parse_number(word + length + 1, &value) ||
		    value < k->low || value > k->high)
			refuse(s, text("%s is a number from %llu to %llu", k->name,
				       (unsigned long long)k->low, (unsigned long long)k->high));
		*(uint64_t *)(void *)((char *)s + k->offset) = value;
		s->given |= 1u << i;
		return;
	}
	refuse(s, text("'%s' is unknown", word));
}

static bool given(const struct spec *s, unsigned int key)
{
	return s->given >> key & 1;
}

static uint64_t or_default(const struct spec *s, unsigned int key, uint64_t value,
			   uint64_t otherwise)
{
	return given(s, key) ? value : otherwise;
}

/* By default what most Intel machines of that version have. */
static void make_intel(struct spec *s)
{
	uint64_t version = or_default(s, KEY_VERSION, s->version, 2);
	uint64_t fixed = or_default(s, KEY_FIXED, s->fixed, version >= 2 ? 3 : 0);
	uint64_t length = or_default(s, KEY_EVENTS, s->length, 7);
	bool full_width = or_default(s, KEY_FULL_WIDTH, s->full_width, version >= 2);

	if (version == 0 && s->given & ~(1u << KEY_VERSION))
		refuse(s, "version 0 is no PMU, and has nothing");
	if (version < 2 && fixed)
		refuse(s, "fixed counters need version 2");
	if (!fixed && given(s, KEY_FIXED_WIDTH))
		refuse(s, "there are no fixed counters");
	if (s->missing >> length)
		refuse(s, "what is missing must be among the events");
	s->model.vendor = VPMU_X86_INTEL;
	if (version == 0)
		return;
	s->model.version = (uint8_t)version;
	s->model.gp = (uint8_t)or_default(s, KEY_GP, s->gp, 8);
	s->model.gp_width = (uint8_t)or_default(s, KEY_WIDTH, s->width, 48);
	s->model.fixed = (uint8_t)fixed;
	s->model.fixed_width = (uint8_t)(fixed ? or_default(s, KEY_FIXED_WIDTH, s->fixed_width, 48)
					       : 0);
	s->model.events_length = (uint8_t)length;
	s->model.events_missing = (uint8_t)s->missing;
	s->model.pdcm = s->model.full_width_writes = full_width;
	s->model.tsx = s->tsx;
}

static bool amd_word(struct spec *s, const char *word)
{
	static const struct {
		const char *name;
		uint8_t version, gp;
		bool core;
	} rows[] = {
		{ "legacy", 1, 4, false },
		{ "core", 1, 6, true },
		{ "v2", 2, 6, true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(rows[i].name, word) != 0)
			continue;
		s->model.version = rows[i].version;
		s->model.gp = rows[i].gp;
		s->model.core_extension = rows[i].core;
		return true;
	}
	return false;
}

static void make_amd(struct spec *s)
{
	if (s->given & ~(1u << KEY_GP))
		refuse(s, "amd takes legacy, core or v2, and gp=N");
	s->model.vendor = VPMU_X86_AMD;
	s->model.gp_width = 48;
	if (!s->model.version)
		(void)amd_word(s, "v2");
	if (!given(s, KEY_GP))
		return;
	if (s->model.version != 2 || s->gp < 1 || s->gp > 6)
		refuse(s, "legacy has 4 counters, core 6, and v2 from 1 to 6");
	s->model.gp = (uint8_t)s->gp;
}

static void read_words(struct spec *s, char *words, bool amd)
{
	char *word;

	while ((word = strsep(&words, ",")) != NULL)
		if (!amd || !amd_word(s, word))
			set_key(s, word);
}

void x86_parse_pmu(struct x86_options *options, const char *pmu)
{
	struct spec s = { .all = pmu };
	char *words = text("%s", pmu), *vendor = strsep(&words, ":");
	bool amd = !strcmp(vendor, "amd");

	if (!amd && strcmp(vendor, "intel") != 0)
		refuse(&s, "a PMU is intel or amd, and then a colon and words");
	if (words)
		read_words(&s, words, amd);
	amd ? make_amd(&s) : make_intel(&s);
	s.model.size = sizeof(s.model);
	/* Nothing is offered that would not count. */
	if (!amd && !options->caches && !options->kvm)
		s.model.events_missing |= (uint8_t)((1u << VPMU_X86_LLC_REFERENCES |
						     1u << VPMU_X86_LLC_MISSES) &
						    ((1u << s.model.events_length) - 1));
	options->model = s.model;
}

/* ---- --policy ---- */

/* struct kvm_pmu_event_filter of Linux, which the library takes. */
struct filter_bytes {
	uint32_t action, count, fixed_bitmap, flags, pad[4];
	uint64_t events[VPMU_X86_FILTER_EVENTS_MAX + 1];
};

enum { FILTER_ALLOW = 0, FILTER_DENY = 1 };

static void add_event(struct filter_bytes *f, uint64_t event)
{
	/* What fixed counters count, as an event (SDM 20.2.2). */
	static const uint16_t fixed[VPMU_X86_FIXED_MAX] = { 0x00c0, 0x003c, 0x013c, 0x01a4 };

	for (unsigned int i = 0; i < VPMU_X86_FIXED_MAX; i++)
		if (fixed[i] == event)
			f->fixed_bitmap |= 1u << i;
	if (f->count <= VPMU_X86_FILTER_EVENTS_MAX)
		f->events[f->count++] = event;
}

static void add_range(struct filter_bytes *f, char *word)
{
	char *dash = strchr(word, '-');
	uint64_t first = 0, last = 0;

	if (dash)
		*dash = '\0';
	(void)parse_number(word, &first);
	last = first;
	if (dash)
		(void)parse_number(dash + 1, &last);
	for (uint64_t event = first; event <= last; event++)
		add_event(f, event);
}

void x86_parse_policy(struct vpmu_x86_filter *filter, const struct x86_options *options,
		      const char *policy)
{
	struct filter_bytes f = { .action = *policy == 'd' ? FILTER_DENY : FILTER_ALLOW };
	char *words = text("%s", strchr(policy, ':') + 1), *word;

	while ((word = strsep(&words, ",")) != NULL)
		add_range(&f, word);
	if (f.count > VPMU_X86_FILTER_EVENTS_MAX)
		die(EXIT_USAGE, "--policy: an x86 guest's list has at most %u events",
		    VPMU_X86_FILTER_EVENTS_MAX);
	if (vpmu_x86_filter_compile(filter, options->model.vendor, &f,
				    offsetof(struct filter_bytes, events) +
				    f.count * sizeof(f.events[0])))
		die(EXIT_CANNOT, "--policy: the library refuses the list");
}
