/* SPDX-License-Identifier: MIT */
/* Steps and control: from tokens to the tree of a file. The head is read by play_head.c. */
#include "play_head.h"

#include <stdlib.h>
#include <string.h>

static bool is_keyword(const char *word);

/* ---- Names of a file ---- */

const struct play_name *play_find_name(const struct play_file *f, const char *name)
{
	for (unsigned int i = 0; i < f->name_count; i++) {
		if (!strcmp(f->names[i].name, name))
			return &f->names[i];
	}
	return NULL;
}

/*
 * A file's own names come before all others, so that new ones do no harm to old files. What a step
 * begins with cannot be a name as well.
 */
static void check_free(struct play_parser *p, const char *name)
{
	if (is_keyword(name) || play_head_word(name) || play_find_outcome(name) >= 0 ||
	    !strcmp(name, "in") || !strcmp(name, "none"))
		play_refuse(p, p->next->line, "'%s' cannot be a name", name);
}

static struct play_name *add_name(struct play_parser *p, const char *name, enum play_name_is kind)
{
	struct play_file *f = p->file;
	struct play_name *entry = &f->names[f->name_count];

	check_free(p, name);
	if (f->name_count == PLAY_NAMES_MAX)
		play_refuse(p, p->next->line, "more than %u names", PLAY_NAMES_MAX);
	f->name_count++;
	entry->name = name;
	entry->kind = kind;
	entry->number = f->variables;
	return entry;
}

/* The place of variable (name), new or not. */
static uint64_t variable(struct play_parser *p, const char *name)
{
	const struct play_name *known = play_find_name(p->file, name);

	if (known && known->kind == PLAY_NAME_VARIABLE)
		return known->number;
	if (known)
		play_refuse(p, p->next->line, "'%s' is no variable", name);
	p->file->variables++;
	return add_name(p, name, PLAY_NAME_VARIABLE)->number = p->file->variables - 1;
}

uint64_t play_name_number(struct play_parser *p, const char *name, enum play_name_kind kind)
{
	const struct {
		enum play_name_is is;
		unsigned int *count;
		const char *plural;
	} kinds[] = {
		[PLAY_FILTER_NAME] = { PLAY_NAME_FILTER, &p->file->filters, "filters" },
		[PLAY_STATE_NAME] = { PLAY_NAME_STATE, &p->file->states, "states" },
		[PLAY_EVENT_NAME] = { PLAY_NAME_EVENT, &p->file->events, "host events" },
	};
	enum play_name_is wanted = kinds[kind].is;
	unsigned int *count = kinds[kind].count;
	const struct play_name *known = play_find_name(p->file, name);

	if (known && known->kind == wanted)
		return known->number;
	if (known)
		play_refuse(p, p->next->line, "'%s' is something else already", name);
	if (*count == PLAY_SLOTS_MAX)
		play_refuse(p, p->next->line, "more than %u %s", PLAY_SLOTS_MAX,
			    kinds[kind].plural);
	return add_name(p, name, wanted)->number = (*count)++;
}

static void parse_array(struct play_parser *p)
{
	const char *name = play_needs_word(p, "a name");
	struct play_name *entry;

	if (play_find_name(p->file, name))
		play_refuse(p, p->next->line, "'%s' is there already", name);
	entry = add_name(p, name, PLAY_NAME_ARRAY);
	if (p->next->kind != PLAY_DIGITS || p->next->number < 1 ||
	    p->next->number > PLAY_ELEMENTS_MAX - p->file->variables)
		play_refuse(p, p->next->line, "an array has 1 to %u elements, with all others",
			    PLAY_ELEMENTS_MAX);
	entry->size = (uint32_t)p->next++->number;
	p->file->variables += entry->size;
}

static void parse_params(struct play_parser *p, struct play_definition *d)
{
	do {
		if (d->param_count == PLAY_PARAMS_MAX)
			play_refuse(p, p->next->line, "more than %u parameters", PLAY_PARAMS_MAX);
		d->params[d->param_count++] = play_needs_word(p, "a parameter");
	} while (play_takes(p, ','));
	play_needs(p, ')');
}

/* The name is known after the body only, so that no definition uses itself. */
static void parse_definition(struct play_parser *p)
{
	struct play_definition *d = play_allocate(p->file, sizeof(*d));

	d->name = play_needs_word(p, "a name");
	if (play_find_name(p->file, d->name))
		play_refuse(p, p->next->line, "'%s' is there already", d->name);
	if (play_takes(p, '('))
		parse_params(p, d);
	play_needs(p, '=');
	p->definition = d;
	d->body = play_parse_expr(p);
	p->definition = NULL;
	add_name(p, d->name, PLAY_NAME_DEFINITION)->definition = d;
}

/* ---- Steps ---- */

static struct play_step *parse_statement(struct play_parser *p);

static struct play_step *new_step(struct play_parser *p, enum play_step_kind kind)
{
	struct play_step *s = play_allocate(p->file, sizeof(*s));

	s->kind = kind;
	s->line = p->next->line;
	return s;
}

static struct play_step *parse_steps(struct play_parser *p, bool in_block)
{
	struct play_step *first = NULL, **end = &first;

	for (;;) {
		play_skip_newlines(p);
		if (p->next->kind == PLAY_END || (in_block && play_at_sign(p, '}')))
			return first;
		if (play_at_sign(p, '}'))
			play_refuse(p, p->next->line, "this '}' closes nothing");
		*end = parse_statement(p);
		play_needs_end(p);
		/* Definitions and arrays are no steps. */
		if (*end)
			end = &(*end)->next;
	}
}

static struct play_step *parse_block(struct play_parser *p)
{
	uint32_t line = p->next->line;
	struct play_step *steps;

	play_needs(p, '{');
	play_enter_block(p);
	steps = parse_steps(p, true);
	p->depth--;
	if (!play_takes(p, '}'))
		play_refuse(p, line, "this '{' is never closed");
	return steps;
}

static struct play_step *parse_repeat(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_REPEAT);

	s->e = play_parse_expr(p);
	s->body = parse_block(p);
	return s;
}

static struct play_step *parse_while(struct play_parser *p)
{
	struct play_step *s = parse_repeat(p);

	s->kind = PLAY_WHILE;
	return s;
}

static struct play_step *parse_foreach(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_FOREACH);

	s->number = variable(p, play_needs_word(p, "a variable"));
	if (!play_takes_word(p, "in"))
		play_refuse(p, s->line, "'in' is missing");
	if (!play_takes_word(p, "msr_list")) {
		s->args = play_parse_args(p, NULL, '{');
		if (!s->args)
			play_refuse(p, s->line, "the list is missing");
	}
	s->body = parse_block(p);
	return s;
}

static struct play_step *parse_if(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_IF);

	play_enter_block(p);
	s->e = play_parse_expr(p);
	s->body = parse_block(p);
	if (play_takes_word(p, "else")) {
		if (play_takes_word(p, "if"))
			s->otherwise = parse_if(p);
		else
			s->otherwise = parse_block(p);
	}
	p->depth--;
	return s;
}

static struct play_step *parse_only(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_ONLY);

	for (unsigned int n = 0; !play_at_sign(p, '{'); n++) {
		bool not = play_takes_word(p, "not");
		const char *name = play_needs_word(p, "a word or '{'");
		const struct play_word *word = play_find_word(name);

		if (!word || n == PLAY_ONLY_WORDS_MAX)
			play_refuse(p, s->line, word ? "too many words" : "'%s' is no case", name);
		s->only[n] = (uint8_t)((word - play_words + 1) | (not ? 0x80 : 0));
	}
	s->body = parse_block(p);
	return s;
}

static struct play_step *parse_on(struct play_parser *p, enum play_step_kind kind)
{
	struct play_step *s = new_step(p, kind);

	s->e = play_parse_expr(p);
	if (play_takes(p, ':'))
		s->body = parse_statement(p);
	else
		s->body = parse_block(p);
	return s;
}

static struct play_step *parse_on_vcpu(struct play_parser *p)
{
	return parse_on(p, PLAY_ON_VCPU);
}

static struct play_step *parse_on_cpu(struct play_parser *p)
{
	return parse_on(p, PLAY_ON_CPU);
}

static struct play_step *parse_let(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_ASSIGN);
	const char *name = play_needs_word(p, "a name");

	/* Its value does not see it yet. */
	play_needs(p, '=');
	s->e = play_parse_expr(p);
	s->number = variable(p, name);
	return s;
}

static struct play_step *parse_try(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_TRY);

	play_enter_block(p);
	s->body = parse_statement(p);
	p->depth--;
	return s;
}

static struct play_step *parse_expect(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_EXPECT);
	int outcome = -1;

	if (p->next->kind == PLAY_WORD)
		outcome = play_find_outcome(p->next->text);
	if (outcome < 0) {
		s->e = play_parse_expr(p);
		return s;
	}
	p->next++;
	s->number = (uint64_t)outcome;
	s->kind = PLAY_EXPECT_OUTCOME;
	s->body = parse_try(p)->body;
	return s;
}

static struct play_step *parse_skip(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_SKIP);

	s->text = play_needs_string(p, "the reason");
	return s;
}

static struct play_step *parse_print(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_PRINT);

	s->args = play_parse_args(p, NULL, '}');
	return s;
}

/* a = b of a command, as its first two arguments. */
static struct play_arg *parse_assigned(struct play_parser *p)
{
	struct play_arg *args = play_allocate(p->file, sizeof(*args));

	args->value = play_parse_expr(p);
	play_needs(p, '=');
	args->next = play_allocate(p->file, sizeof(*args));
	args->next->value = play_parse_expr(p);
	return args;
}

static struct play_arg *parse_named(struct play_parser *p, enum play_name_kind kind)
{
	const char *name = play_needs_word(p, "a name");
	struct play_arg *args = play_allocate(p->file, sizeof(*args));
	bool none = kind == PLAY_FILTER_NAME && !strcmp(name, "none");

	args->value = play_new_number(p, none ? UINT64_MAX : play_name_number(p, name, kind));
	return args;
}

/* How many positional arguments there are, without the first (skip). */
static unsigned int positional(const struct play_arg *args, unsigned int skip)
{
	unsigned int n = 0;

	for (; args; args = args->next)
		n += !args->key;
	return n - skip;
}

static struct play_step *parse_command(struct play_parser *p, const struct play_command *command)
{
	struct play_step *s = new_step(p, PLAY_COMMAND);
	struct play_arg **end = &s->args;
	unsigned int skip, n;

	s->line = p->next[-1].line;
	s->command = command;
	p->file->host_events |= command->names == PLAY_EVENT_NAME;
	if (command->assigns)
		s->args = parse_assigned(p);
	else if (command->names)
		s->args = parse_named(p, command->names);
	skip = positional(s->args, 0);
	/* filter NAME add ... is another command. */
	if (command->more && play_takes_word(p, command->more->name))
		s->command = command = command->more;
	while (*end)
		end = &(*end)->next;
	*end = play_parse_args(p, command->options, '}');
	n = positional(s->args, skip);
	if (n < command->min || n > command->max)
		play_refuse(p, s->line, "%s takes %u to %u values here, not %u", command->name,
			    command->min, command->max, n);
	return s;
}

/* lvtpc = e */
static struct play_step *parse_lvtpc(struct play_parser *p, const struct play_command *command)
{
	struct play_step *s = new_step(p, PLAY_COMMAND);

	play_needs(p, '=');
	s->command = command;
	s->args = play_allocate(p->file, sizeof(*s->args));
	s->args->value = play_parse_expr(p);
	return s;
}

static struct play_step *parse_assignment(struct play_parser *p)
{
	struct play_step *s = new_step(p, PLAY_EVALUATE);

	s->e = play_parse_expr(p);
	if (!play_takes(p, '='))
		return s;
	s->kind = s->e->kind == PLAY_ELEMENT ? PLAY_ASSIGN_ELEMENT : PLAY_ASSIGN;
	if (s->e->kind != PLAY_ELEMENT && s->e->kind != PLAY_VARIABLE)
		play_refuse(p, s->line,
			    "only variables and elements are assigned; a new one by 'let'");
	s->number = s->e->number;
	s->e2 = play_parse_expr(p);
	if (s->kind == PLAY_ASSIGN)
		s->e = s->e2;
	return s;
}

static const struct {
	const char *word;
	struct play_step *(*parse)(struct play_parser *p);
} keywords[] = {
	{ "let", parse_let },	    { "repeat", parse_repeat }, { "foreach", parse_foreach },
	{ "while", parse_while },   { "if", parse_if },		{ "only", parse_only },
	{ "vcpu", parse_on_vcpu },  { "cpu", parse_on_cpu },	{ "expect", parse_expect },
	{ "try", parse_try },	    { "skip", parse_skip },	{ "print", parse_print },
};

static bool is_keyword(const char *word)
{
	for (size_t i = 0; i < PLAY_COUNT(keywords); i++) {
		if (!strcmp(keywords[i].word, word))
			return true;
	}
	return !strcmp(word, "define") || !strcmp(word, "array");
}

/* A command of one or two words; but a variable may be called like a command. */
static const struct play_command *take_command(struct play_parser *p)
{
	const struct play_command *command;

	if (p->next->kind != PLAY_WORD || play_find_name(p->file, p->next->text))
		return NULL;
	if (p->next[1].kind == PLAY_WORD) {
		command = play_find_command(text("%s %s", p->next->text, p->next[1].text));
		if (command) {
			p->next += 2;
			return command;
		}
	}
	command = play_find_command(p->next->text);
	p->next += command != NULL;
	return command;
}

static struct play_step *parse_statement(struct play_parser *p)
{
	const struct play_command *command;

	if (play_takes_word(p, "define")) {
		parse_definition(p);
		return NULL;
	}
	if (play_takes_word(p, "array")) {
		parse_array(p);
		return NULL;
	}
	for (size_t i = 0; i < PLAY_COUNT(keywords); i++) {
		if (play_takes_word(p, keywords[i].word))
			return keywords[i].parse(p);
	}
	if (p->next->kind == PLAY_WORD && play_head_word(p->next->text))
		play_refuse(p, p->next->line, "'%s' belongs to the head, before all steps",
			    p->next->text);
	command = take_command(p);
	if (!command)
		return parse_assignment(p);
	if (!strcmp(command->name, "lvtpc"))
		return parse_lvtpc(p, command);
	return parse_command(p, command);
}

/* ---- A file ---- */

static void parse_prelude(struct play_parser *p)
{
	p->next = play_lex(p, play_prelude);
	(void)parse_steps(p, false);
}

static bool parse(struct play_parser *p)
{
	struct play_file *f = p->file;

	if (setjmp(p->end))
		return false;
	parse_prelude(p);
	p->next = play_lex(p, f->text);
	play_parse_head(p);
	f->steps = parse_steps(p, false);
	return true;
}

static char *read_file(struct play_file *f)
{
	char *s = play_allocate(f, PLAY_FILE_MAX + 2);
	FILE *in = fopen(f->path, "rb");
	size_t length;

	if (!in) {
		warn("cannot read %s", f->path);
		return NULL;
	}
	length = fread(s, 1, PLAY_FILE_MAX + 1, in);
	if (ferror(in) || length > PLAY_FILE_MAX || strlen(s) != length) {
		warn("%s is no text of up to %u bytes", f->path, PLAY_FILE_MAX);
		s = NULL;
	}
	fclose(in);
	return s;
}

struct play_file *play_load(const char *path)
{
	struct play_file *f = calloc(1, sizeof(*f));
	struct play_parser p = { .file = f };

	if (!f)
		die(EXIT_CANNOT, "out of memory");
	f->path = path;
	f->text = read_file(f);
	if (f->text && parse(&p) && play_check_file(f))
		return f;
	play_unload(f);
	return NULL;
}
