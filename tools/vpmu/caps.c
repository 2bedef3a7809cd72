/* SPDX-License-Identifier: MIT */
/* `vpmu caps`: its arguments. */
#include "caps.h"
#include "commands.h"
#include "common.h"

#include <stdio.h>
#include <string.h>

static void usage(FILE *to)
{
	fputs("usage: vpmu caps [OPTION...]\n\n"
	      "What this host can give a guest's PMU, and why not more.\n\n"
	      "  --json      the same as a JSON object\n"
	      "  --root DIR  look for sysfs, procfs and /dev/kvm below DIR\n", to);
}

int vpmu_caps(int argc, char **argv)
{
	static struct caps caps;
	const char *root = "";
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			usage(stdout);
			return 0;
		}
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--root") && i + 1 < argc)
			root = argv[++i];
		else
			die(EXIT_USAGE, "caps: '%s' is no option, or has no value; see --help",
			    argv[i]);
	}
	caps_find(&caps, root);
	(json ? caps_print_json : caps_print)(&caps);
	return 0;
}
