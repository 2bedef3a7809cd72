/* SPDX-License-Identifier: MIT */
/*
 * options.c - the monitor's options: words in the machine's /chosen/bootargs.
 *
 *	stats                print statistics at the guest's end
 *	switch=lazy|eager    the PMU's world switch
 *	policy=allow:LIST    the guest counts these events only
 *	policy=deny:LIST     ... all but these
 *
 * LIST: event numbers or FIRST-LAST, decimal or 0x hexadecimal, separated by commas. A word that is
 * not understood is an error: a policy that was mistyped must not run as no policy.
 */
#include "monitor.h"
#include "string.h"

struct options options;

static bool starts_with(const char *s, size_t length, const char *prefix)
{
	size_t n = strlen(prefix);

	return length >= n && !memcmp(s, prefix, n);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Reads an event number (16 bits) at *(s). returns: false: there is none, or it is too large. */
static bool parse_event(const char **s, const char *end, uint32_t *out)
{
	int base = 10;
	const char *first;

	if (starts_with(*s, (size_t)(end - *s), "0x")) {
		base = 16;
		*s += 2;
	}
	*out = 0;
	for (first = *s; *s < end && digit_value(**s) < base; (*s)++) {
		*out = *out * (uint32_t)base + (uint32_t)digit_value(**s);
		if (*out > 0xFFFF)
			return false;
	}
	return *s > first;
}

static const char *parse_policy(const char *s, const char *end)
{
	while (s < end) {
		uint32_t first, last;

		if (!parse_event(&s, end, &first))
			return "not an event number of at most 16 bits";
		last = first;
		if (s < end && *s == '-') {
			s++;
			if (!parse_event(&s, end, &last) || last < first)
				return "not a range of event numbers";
		}
		if (options.policy_count == POLICY_RANGES)
			return "too many events";
		options.policy[options.policy_count++] = (struct vpmu_event_range){ first, last };
		if (s < end && *s++ != ',')
			return "event numbers are separated by commas";
	}
	return NULL;
}

static const char *parse_word(const char *s, size_t length)
{
	const char *end = s + length;
	bool allow = starts_with(s, length, "policy=allow:");

	if (allow || starts_with(s, length, "policy=deny:")) {
		if (options.policy_given)
			return "a policy was given before";
		options.policy_given = true;
		options.policy_allow = allow;
		return parse_policy(s + strlen(allow ? "policy=allow:" : "policy=deny:"), end);
	}
	if (length == 5 && starts_with(s, length, "stats"))
		options.stats = true;
	else if (length == 12 && starts_with(s, length, "switch=eager"))
		options.eager = true;
	else if (length == 11 && starts_with(s, length, "switch=lazy"))
		options.eager = false;
	else
		return "unknown option";
	return NULL;
}

const char *options_parse(const char *words, const char **word, size_t *length)
{
	for (;;) {
		const char *error;

		while (*words == ' ')
			words++;
		*word = words;
		while (*words && *words != ' ')
			words++;
		*length = (size_t)(words - *word);
		if (!*length)
			return NULL;
		error = parse_word(*word, *length);
		if (error)
			return error;
	}
}
