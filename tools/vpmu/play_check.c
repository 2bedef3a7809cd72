/* SPDX-License-Identifier: MIT */
/* Does every step of a file make sense in each of its cases? Looked at before anything is run. */
#include "play_head.h"

struct check {
	const struct play_file *file;
	enum play_arch arch;
	enum play_mode mode;
	bool bad;
};

static void check_needs(struct check *c, uint32_t line, const char *name, uint8_t needs)
{
	uint8_t has = c->arch == PLAY_ARM ? PLAY_NEEDS_ARM : PLAY_NEEDS_X86;

	/* A VM with a mode of its own is looked at when the step is made. */
	has |= c->mode <= PLAY_DEAR ? PLAY_NEEDS_EMULATED : PLAY_NEEDS_MEDIATED;
	if (c->file->mixed)
		has |= PLAY_NEEDS_EMULATED | PLAY_NEEDS_MEDIATED;
	has |= PLAY_TAKES_BARE;
	if (c->bad || (!(needs & ~has) && (c->mode != PLAY_BARE || needs & PLAY_TAKES_BARE)))
		return;
	c->bad = true;
	fflush(stdout);
	fprintf(stderr, "%s:%u: '%s' has no meaning for %s, %s; put it into an 'only' block\n",
		c->file->path, line, name, play_arch_names[c->arch], play_mode_labels[c->mode]);
}

static void check_expr(struct check *c, const struct play_expr *e);

static void check_args(struct check *c, const struct play_arg *args)
{
	for (; args; args = args->next) {
		check_expr(c, args->index);
		check_expr(c, args->value);
		check_expr(c, args->last);
	}
}

static void check_expr(struct check *c, const struct play_expr *e)
{
	if (!e || c->bad)
		return;
	if (e->kind == PLAY_CALL)
		check_needs(c, e->line, e->function->name, e->function->needs);
	check_expr(c, e->a);
	check_expr(c, e->b);
	check_expr(c, e->c);
	check_args(c, e->args);
}

static bool is_entered(const struct check *c, const struct play_step *s)
{
	for (unsigned int i = 0; i < PLAY_ONLY_WORDS_MAX && s->only[i]; i++) {
		bool not = s->only[i] & 0x80;

		if (play_word_holds(&play_words[(s->only[i] & 0x7F) - 1], c->arch, c->mode) == not)
			return false;
	}
	return true;
}

static void check_steps(struct check *c, const struct play_step *s)
{
	for (; s && !c->bad; s = s->next) {
		if (s->kind == PLAY_ONLY && !is_entered(c, s))
			continue;
		if (s->command)
			check_needs(c, s->line, s->command->name, s->command->needs);
		check_expr(c, s->e);
		check_expr(c, s->e2);
		check_args(c, s->args);
		check_steps(c, s->body);
		check_steps(c, s->otherwise);
	}
}

bool play_check_file(const struct play_file *f)
{
	struct check c = { .file = f };

	for (const struct play_shape *model = f->models; model && !c.bad; model = model->next) {
		c.arch = model->arch;
		for (unsigned int mode = 0; mode < PLAY_MODES; mode++) {
			c.mode = (enum play_mode)mode;
			if (f->modes >> mode & 1)
				check_steps(&c, f->steps);
		}
	}
	return !c.bad;
}
