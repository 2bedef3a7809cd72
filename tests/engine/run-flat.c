/* SPDX-License-Identifier: MIT */
/*
 * Runs a guest image on the PC and the Unicorn engine: its console on standard output, its exit
 * code as the status, a line of figures on standard error.
 *
 * usage: run-flat [-n INSTRUCTIONS] [-m MEGABYTES] [-c] [-a] IMAGE [ARGUMENT...]
 *   -c  model the caches, -a  an AMD machine
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pc.h"
#include "unicorn.h"

static void put(void *context, uint8_t byte)
{
	(void)context;
	putchar(byte);
	if (byte == '\n')
		fflush(stdout);
}

static void *slurp(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *bytes = NULL;
	long n;

	if (!f)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) > 0 && fseek(f, 0, SEEK_SET) == 0) {
		bytes = malloc((size_t)n);
		*size = (size_t)n;
		if (bytes && fread(bytes, 1, *size, f) != *size) {
			free(bytes);
			bytes = NULL;
		}
	}
	fclose(f);
	return bytes;
}

static int verdict(const struct pc *pc, enum pc_result r)
{
	static const char *const names[] = { "exited", "instruction limit", "halted for ever",
		"triple fault", "kicked", "engine" };

	fflush(stdout);
	fprintf(stderr, "run-flat: %s%s%s, %llu instructions, %llu cycles\n", names[r],
		r == PC_BROKEN ? ": " : "", r == PC_BROKEN ? pc_error(pc) : "",
		(unsigned long long)pc_instructions(pc), (unsigned long long)pc_cycles(pc));
	return r == PC_EXITED ? pc_exit_code(pc) & 0xff : 100 + (int)r;
}

int main(int argc, char **argv)
{
	struct pc_config config = { .ram = 128ull << 20, .console = put };
	struct unicorn_config engine_config = { .caches = false };
	uint64_t limit = 1000000000ull;
	char line[1024] = "";
	struct pc_engine *engine;
	const char *why;
	void *image;
	size_t size = 0;
	struct pc *pc;
	int c, status;

	while ((c = getopt(argc, argv, "+n:m:ca")) != -1) {
		if (c == 'n')
			limit = strtoull(optarg, NULL, 0);
		else if (c == 'm')
			config.ram = strtoull(optarg, NULL, 0) << 20;
		else if (c == 'c')
			engine_config.caches = true;
		else if (c == 'a')
			config.amd = true;
		else
			return 2;
	}
	if (optind >= argc || !(image = slurp(argv[optind], &size))) {
		fprintf(stderr, "run-flat: no image\n");
		return 2;
	}
	for (int i = optind; i < argc; i++) {
		strncat(line, argv[i], sizeof(line) - strlen(line) - 2);
		strcat(line, i + 1 < argc ? " " : "");
	}
	pc = pc_create(&config);
	if (!pc || pc_load(pc, image, size, line) < 0) {
		fprintf(stderr, "run-flat: %s\n", pc ? pc_error(pc) : "no memory");
		return 2;
	}
	engine = unicorn_create(pc, &engine_config, &why);
	if (!engine) {
		fprintf(stderr, "run-flat: %s\n", why);
		return 2;
	}
	pc_attach(pc, engine);
	status = verdict(pc, pc_run(pc, limit));
	engine->ops->destroy(engine);
	pc_destroy(pc);
	free(image);
	return status;
}
