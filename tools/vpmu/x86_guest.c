/* SPDX-License-Identifier: MIT */
/* What vpmu run --arch x86 needs on any engine: files, words, signals, statistics. */
#include "x86.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"

#define IMAGE_MAX (256ull << 20)
#define COMMAND_LINE_MAX 4096u

void *x86_read_image(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *bytes;
	size_t at = 0;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > IMAGE_MAX || st.st_size == 0)
		die(EXIT_CANNOT, "%s is not a guest image", path);
	bytes = malloc((size_t)st.st_size);
	if (!bytes)
		die(EXIT_CANNOT, "out of memory");
	while (at < (size_t)st.st_size && (n = read(fd, bytes + at, (size_t)st.st_size - at)) > 0)
		at += (size_t)n;
	(void)close(fd);
	if (at != (size_t)st.st_size)
		die(EXIT_CANNOT, "%s: %s", path, n < 0 ? strerror(errno) : "it became shorter");
	*size = at;
	return bytes;
}

const char *x86_command_line(const struct x86_options *x)
{
	const char *all = "";

	for (int i = 0; i < x->argument_count; i++)
		all = text("%s%s%s", all, i > 0 ? " " : "", x->arguments[i]);
	if (strlen(all) > COMMAND_LINE_MAX)
		die(EXIT_USAGE, "the guest's command line is longer than %u bytes",
		    COMMAND_LINE_MAX);
	return all;
}

const struct vpmu_policy *x86_policy(const struct run_options *o)
{
	static struct vpmu_x86_filter filter;
	static struct vpmu_policy policy;

	if (!o->policy)
		return NULL;
	x86_parse_policy(&filter, &o->x86, o->policy);
	policy.x86 = &filter;
	return &policy;
}

void x86_take_signals(void (*handler)(int number), uint64_t timeout)
{
	static const int numbers[] = { SIGALRM, SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)sigaction(numbers[i], &act, NULL);
	(void)alarm((unsigned int)timeout);
}

/* ---- Statistics ---- */

void x86_show(const char *name, uint64_t value)
{
	if (value)
		fprintf(stderr, "vpmu-stats: %s %" PRIu64 "\n", name, value);
}

static const char *state_name(enum vpmu_counter_state state)
{
	static const char *const names[] = {
		[VPMU_COUNTER_STOPPED] = "stopped", [VPMU_COUNTER_COUNTING] = "counting",
		[VPMU_COUNTER_STARVED] = "starved", [VPMU_COUNTER_DENIED] = "denied",
		[VPMU_COUNTER_UNSUPPORTED] = "unsupported", [VPMU_COUNTER_ABSENT] = "absent",
	};

	return names[state];
}

void x86_show_counter(unsigned int i, const char *where, const struct vpmu_counter_status *c)
{
	if (c->state == VPMU_COUNTER_ABSENT)
		return;
	fprintf(stderr, "vpmu-stats: counter %s%s%u %s selector %#" PRIx64 " value %#" PRIx64 "\n",
		where, i < VPMU_X86_FIXED ? "gp" : "fixed", i % VPMU_X86_FIXED,
		state_name(c->state), c->selector, c->value);
}
