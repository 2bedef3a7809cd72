/* SPDX-License-Identifier: MIT */
/* `vpmu play`: arguments, files and folders, and the sum of it. */
#include "commands.h"
#include "play.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX 4096u

struct options {
	bool verbose, list;
	const struct play_word *mode;
};

/* ---- Which files ---- */

/* nftw() has no argument for its caller. */
static struct args files;

static int visit(const char *path, const struct stat *st, int type, struct FTW *where)
{
	size_t length = strlen(path);

	(void)st;
	(void)where;
	if (type == FTW_F && length > 5 && !strcmp(path + length - 5, ".play"))
		args_add(&files, path);
	return files.count > FILES_MAX;
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static void add_folder(const char *path)
{
	size_t before = files.count;

	if (nftw(path, visit, 16, FTW_PHYS))
		die(EXIT_USAGE, "cannot read the folder %s, or it has more than %u files", path,
		    FILES_MAX);
	if (files.count == before)
		die(EXIT_USAGE, "%s has no *.play", path);
	qsort(files.list + before, files.count - before, sizeof(*files.list), by_name);
}

static void add_path(const char *path)
{
	struct stat st;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		add_folder(path);
	else
		args_add(&files, path);
}

/* ---- Options ---- */

static void usage(FILE *to)
{
	fputs("usage: vpmu play [-v] [-l] [-m MODE] FILE|FOLDER...\n\n"
	      "Plays PMU scenarios, see vpmu-play(5).\n\n"
	      "  -v       show each step\n"
	      "  -l       list the cases, run none\n"
	      "  -m MODE  only cases of cheap, dear, lazy, eager, emulated or mediated mode\n", to);
}

static const struct play_word *parse_mode(const char *name)
{
	const struct play_word *word = name ? play_find_word(name) : NULL;

	if (!word)
		die(EXIT_USAGE, "play: '%s' is no mode", name ? name : "");
	return word;
}

static void parse(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-v")) {
			o->verbose = true;
		} else if (!strcmp(argv[i], "-l")) {
			o->list = true;
		} else if (!strcmp(argv[i], "-m")) {
			o->mode = parse_mode(argv[++i]);
		} else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			usage(stdout);
			exit(0);
		} else if (argv[i][0] == '-' && argv[i][1] != '\0') {
			usage(stderr);
			die(EXIT_USAGE, "play: unknown option '%s'", argv[i]);
		} else {
			add_path(argv[i]);
		}
	}
	if (!files.count) {
		usage(stderr);
		exit(EXIT_USAGE);
	}
}

/* ---- Cases ---- */

struct sum {
	unsigned int verdicts[PLAY_SENSELESS + 1];
};

static void run_case(const struct options *o, const struct play_case *what, struct sum *sum)
{
	if (o->mode && !play_word_holds(o->mode, what->model->arch, what->mode))
		return;
	if (o->list)
		printf("%s [%s %s]\n", what->file->id, what->model->label,
		       play_mode_labels[what->mode]);
	else
		sum->verdicts[play_case(what, o->verbose)]++;
}

static void run_file(const struct options *o, const struct play_file *f, struct sum *sum)
{
	for (const struct play_shape *model = f->models; model; model = model->next) {
		for (unsigned int mode = 0; mode < PLAY_MODES; mode++) {
			const struct play_case what = { f, model, (enum play_mode)mode };

			if (f->modes >> mode & 1)
				run_case(o, &what, sum);
		}
	}
}

/* All files are read before anything is run. */
static bool load_all(struct play_file **loaded)
{
	bool good = true;

	for (size_t i = 0; i < files.count; i++) {
		loaded[i] = play_load(files.list[i]);
		good = good && loaded[i];
	}
	return good;
}

static bool names_are_different(struct play_file *const *loaded)
{
	for (size_t i = 0; i < files.count; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(loaded[i]->id, loaded[k]->id) ||
			    !strcmp(files.list[i], files.list[k]))
				continue;
			warn("%s and %s are both called %s", files.list[k], files.list[i],
			     loaded[i]->id);
			return false;
		}
	}
	return true;
}

int vpmu_play(int argc, char **argv)
{
	struct options o = { 0 };
	struct sum sum = { 0 };
	struct play_file **loaded;
	bool good;

	parse(&o, argc, argv);
	loaded = calloc(files.count, sizeof(*loaded));
	if (!loaded)
		die(EXIT_CANNOT, "out of memory");
	good = load_all(loaded) && names_are_different(loaded);
	for (size_t i = 0; i < files.count; i++) {
		if (good)
			run_file(&o, loaded[i], &sum);
		if (loaded[i])
			play_unload(loaded[i]);
	}
	free(loaded);
	if (!good)
		return EXIT_USAGE;
	if (!o.list)
		printf("%u passed, %u failed, %u skipped\n", sum.verdicts[PLAY_PASSED],
		       sum.verdicts[PLAY_FAILED] + sum.verdicts[PLAY_SENSELESS],
		       sum.verdicts[PLAY_SKIPPED]);
	if (sum.verdicts[PLAY_SENSELESS])
		return EXIT_USAGE;
	return sum.verdicts[PLAY_FAILED] ? 1 : 0;
}
