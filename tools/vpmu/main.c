/* SPDX-License-Identifier: MIT */
/* vpmu: runs guests that have a virtual PMU. This file only finds the subcommand. */
#include "commands.h"
#include "common.h"

#include <stdio.h>
#include <string.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static const struct command commands[] = {
	{ "run", vpmu_run, "run a guest under the EL2 monitor in QEMU" },
	{ "play", vpmu_play, "play PMU scenarios on software PMUs" },
	{ "caps", vpmu_caps, "say what this host can give a guest's PMU, and why not more" },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fputs("usage: vpmu COMMAND [OPTION...]\n\ncommands:\n", to);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\n'vpmu COMMAND --help' lists the options of a command; see also vpmu(1).\n", to);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "-h") || !strcmp(name, "--help") || !strcmp(name, "help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(name, "--version")) {
		puts("vpmu " VPMU_VERSION);
		return 0;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (*name != '\0')
		warn("no command is named '%s'", name);
	usage(stderr);
	return EXIT_USAGE;
}
