/* SPDX-License-Identifier: MIT */
/* For programs: one JSON object (RFC 8259), in ASCII but for what names bring along. */
#include "caps.h"

#include <limits.h>
#include <stdio.h>

/* Is something in the open object or array? */
static bool follows;

static void separate(void)
{
	if (follows)
		putchar(',');
	follows = true;
}

/*
 * Bytes that are no ASCII come from file names, which are not always UTF-8: as Latin-1 they are
 * valid.
 */
static void put_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7F)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void put_key(const char *key)
{
	separate();
	if (key) {
		put_string(key);
		putchar(':');
	}
}

/* (key) is NULL in an array. */
static void begin(const char *key, char bracket)
{
	put_key(key);
	putchar(bracket);
	follows = false;
}

static void end(char bracket)
{
	putchar(bracket);
	follows = true;
}

static void put_text(const char *key, const char *value)
{
	put_key(key);
	if (value)
		put_string(value);
	else
		fputs("null", stdout);
}

static void put_bool(const char *key, bool value)
{
	put_key(key);
	fputs(value ? "true" : "false", stdout);
}

static void put_number(const char *key, int64_t value)
{
	put_key(key);
	printf("%lld", (long long)value);
}

/* usable, and reason: null or why not. */
static void put_reason(const char *reason)
{
	put_bool("usable", !reason);
	put_text("reason", reason);
}

static void put_events(const struct caps_guest *g)
{
	begin("events", '{');
	for (unsigned int m = 0; m < VPMU_MEANINGS; m++) {
		begin(vpmu_perf_meaning_name((enum vpmu_event_meaning)m), '{');
		put_reason(g->event[m]);
		end('}');
	}
	end('}');
}

static void put_guest(const struct caps_guest *g)
{
	begin(g->vendor, '{');
	put_reason(g->reason);
	if (!g->reason) {
		put_number("version", g->model.version);
		put_number("counters", g->model.gp);
		put_number("fixed", g->model.fixed);
		put_number("events_missing", g->model.events_missing);
		put_events(g);
	}
	end('}');
}

static void put_source(const struct caps_source *s)
{
	begin(s->name, '{');
	put_reason(s->reason);
	put_text("note", s->note);
	put_bool("interrupts", s->interrupts);
	put_bool("cheap_reads", s->cheap_reads);
	begin("guests", '{');
	for (unsigned int i = 0; i < s->guests; i++)
		put_guest(&s->guest[i]);
	end('}');
	end('}');
}

static void put_pmu(const struct vpmu_perf_pmu *pmu)
{
	begin(NULL, '{');
	put_text("name", pmu->name);
	put_number("type", pmu->type);
	put_text("cpus", caps_cpus(pmu));
	end('}');
}

static void put_host(const struct caps *caps)
{
	begin("host", '{');
	begin("kvm", '{');
	put_reason(caps->kvm);
	end('}');
	put_text("encoding", caps->encoding);
	put_number("clock_khz", (int64_t)caps->clock_khz);
	if (caps->host.paranoid != INT_MAX)
		put_number("perf_event_paranoid", caps->host.paranoid);
	begin("pmus", '[');
	for (unsigned int i = 0; i < caps->host.pmus; i++)
		put_pmu(&caps->host.pmu[i]);
	end(']');
	put_number("common_events", caps->host.names);
	end('}');
}

void caps_print_json(const struct caps *caps)
{
	follows = false;
	begin(NULL, '{');
	put_host(caps);
	begin("sources", '{');
	for (unsigned int i = 0; i < CAPS_SOURCES; i++)
		put_source(&caps->source[i]);
	end('}');
	end('}');
	putchar('\n');
}
