/* SPDX-License-Identifier: MIT */
#include "pmu_type.h"

#include <string.h>

#include "options.h"

#define NAME_MAX_LENGTH 15

void check_pmu_name(const char *option, const char *value)
{
	size_t length = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-_");

	if (length == 0 || length > NAME_MAX_LENGTH || value[length] != '\0')
		bad_value(option, value, "a name of 1 to 15 letters a-z, digits, - and _");
}

static const struct {
	const char *name;
	void (*check)(const char *option, const char *value);
	const char *option;
} keys[] = {
	{ "cpus", check_cpus, "--pmu-type cpus" },
	{ "counters", check_counters, "--pmu-type counters" },
	{ "events", check_events, "--pmu-type events" },
};

static void check_item(const char *item)
{
	const char *value = strchr(item, '=');

	for (size_t i = 0; value && i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t length = strlen(keys[i].name);

		if (strncmp(keys[i].name, item, length) != 0 || item + length != value)
			continue;
		keys[i].check(keys[i].option, value + 1);
		return;
	}
	die(EXIT_USAGE, "--pmu-type: '%s' is not cpus=LIST, counters=N or events=LIST", item);
}

const char *pmu_type_word(const char *spec)
{
	const char *word = comma_item(&spec);

	check_pmu_name("--pmu-type", word);
	if (!strcmp(word, "common") || !strcmp(word, "fixed"))
		bad_value("--pmu-type", word, "a name of a PMU: it is a value of --vm pmu");
	word = text("pmu-type=%s", word);
	while (*spec != '\0') {
		const char *item;

		spec++;
		item = comma_item(&spec);
		check_item(item);
		word = text("%s:%s", word, item);
	}
	if (!strstr(word, ":cpus="))
		die(EXIT_USAGE, "--pmu-type: no cpus=LIST");
	return word;
}
