/* SPDX-License-Identifier: MIT */
/* Expressions and arguments of steps. Comparisons bind weaker than & ^ |, unlike in C. */
#include "play_lex.h"

#include <string.h>

void play_enter_block(struct play_parser *p)
{
	if (++p->depth > PLAY_DEPTH_MAX)
		play_refuse(p, p->next->line, "more than %u blocks or parentheses in each other",
			    PLAY_DEPTH_MAX);
}

struct play_expr *play_new_expr(struct play_parser *p, enum play_expr_kind kind)
{
	struct play_expr *e = play_allocate(p->file, sizeof(*e));

	e->kind = kind;
	e->line = p->next->line;
	return e;
}

struct play_expr *play_new_number(struct play_parser *p, uint64_t number)
{
	struct play_expr *e = play_new_expr(p, PLAY_NUMBER);

	e->number = number;
	return e;
}

/* ---- Arguments ---- */

/*
 * Options are words: "user" stands alone, "cycles=" has a value, "raw()=" an index too; the values
 * of "mode=@" and "policy=@" are names.
 */
static const char *find_option(const char *options, const char *word)
{
	size_t length = strlen(word);

	for (const char *s = options; s; s = strchr(s, ' ')) {
		s += *s == ' ';
		if (!strncmp(s, word, length) && !strchr("abcdefghijklmnopqrstuvwxyz_0123456789",
							  s[length] ? s[length] : ' '))
			return s + length;
		if (*s == '\0')
			break;
	}
	return NULL;
}

static struct play_expr *parse_name_value(struct play_parser *p, const char *key)
{
	uint32_t line = p->next->line;
	const char *name = play_needs_word(p, "a name");
	const struct play_word *word;

	if (!strcmp(key, "policy"))
		return play_new_number(p, strcmp(name, "none")
						  ? play_name_number(p, name, PLAY_FILTER_NAME)
						  : UINT64_MAX);
	word = play_find_word(name);
	/* A partition, said so of one VM, is one with the lazy switch. */
	for (unsigned int mode = 0; word && mode < PLAY_MODES; mode++) {
		if (word->matrix == 1u << mode ||
		    (mode == PLAY_PARTITIONED && word->matrix >> mode & 1))
			return play_new_number(p, mode);
	}
	play_refuse(p, line, "'%s' is no mode", name);
}

static void parse_option(struct play_parser *p, struct play_arg *arg, const char *form)
{
	arg->key = p->next++->text;
	if (form[0] == '(') {
		play_needs(p, '(');
		arg->index = play_parse_expr(p);
		play_needs(p, ')');
	} else if (form[0] != '=') {
		return;
	}
	play_needs(p, '=');
	arg->value = form[0] == '=' && form[1] == '@' ? parse_name_value(p, arg->key)
						      : play_parse_expr(p);
}

static void parse_arg(struct play_parser *p, struct play_arg *arg, const char *options)
{
	const char *form = NULL;

	if (options && p->next->kind == PLAY_WORD)
		form = find_option(options, p->next->text);
	if (form) {
		parse_option(p, arg, form);
		return;
	}
	if (p->next->kind == PLAY_QUOTED) {
		arg->value = play_new_expr(p, PLAY_STRING);
		arg->value->text = p->next++->text;
		return;
	}
	arg->value = play_parse_expr(p);
	if (play_takes(p, PLAY_PAIR('.', '.')))
		arg->last = play_parse_expr(p);
}

static bool args_end(const struct play_parser *p, int close)
{
	return p->next->kind == PLAY_NEWLINE || p->next->kind == PLAY_END ||
	       play_at_sign(p, close) || play_at_sign(p, '{') || play_at_sign(p, '}');
}

struct play_arg *play_parse_args(struct play_parser *p, const char *options, int close)
{
	struct play_arg *first = NULL, **end = &first;

	while (!args_end(p, close)) {
		*end = play_allocate(p->file, sizeof(**end));
		parse_arg(p, *end, options);
		end = &(*end)->next;
		if (play_takes(p, ','))
			play_skip_newlines(p);
		else if (close == ')')
			break;
	}
	return first;
}

/* ---- Names ---- */

static unsigned int positional(const struct play_arg *args)
{
	unsigned int n = 0;

	for (; args; args = args->next)
		n += !args->key;
	return n;
}

static struct play_arg *call_args(struct play_parser *p, const char *options)
{
	struct play_arg *args = NULL;

	if (play_takes(p, '(')) {
		args = play_parse_args(p, options, ')');
		play_needs(p, ')');
	}
	return args;
}

static struct play_expr *parse_call(struct play_parser *p, const struct play_function *function,
				    uint32_t line)
{
	struct play_expr *e = play_new_expr(p, PLAY_CALL);
	const char *name = function->name;

	e->line = line;
	e->args = call_args(p, function->options);
	/* event(0).selector: the member says which function it is. */
	if (!function->call) {
		if (!play_takes(p, '.'))
			play_refuse(p, line, "write %s(...).member", name);
		name = text("%s.%s", name, play_needs_word(p, "a member"));
		function = play_find_function(name);
		if (!function)
			play_refuse(p, line, "nothing is named '%s'", name);
	}
	if (positional(e->args) < function->min || positional(e->args) > function->max)
		play_refuse(p, line, "%s takes %u to %u values", name, function->min,
			    function->max);
	e->function = function;
	return e;
}

static struct play_expr *parse_macro(struct play_parser *p, const struct play_definition *d,
				     uint32_t line)
{
	struct play_expr *e = play_new_expr(p, PLAY_MACRO);

	e->line = line;
	e->definition = d;
	e->args = d->param_count ? call_args(p, NULL) : NULL;
	if (positional(e->args) != d->param_count)
		play_refuse(p, line, "%s takes %u values", d->name, d->param_count);
	return e;
}

static struct play_expr *parse_known(struct play_parser *p, const struct play_name *name,
				     uint32_t line)
{
	struct play_expr *e;

	if (name->kind == PLAY_NAME_DEFINITION)
		return parse_macro(p, name->definition, line);
	if (name->kind == PLAY_NAME_FILTER || name->kind == PLAY_NAME_STATE ||
	    name->kind == PLAY_NAME_EVENT)
		return play_new_number(p, name->number);
	e = play_new_expr(p, name->kind == PLAY_NAME_ARRAY ? PLAY_ELEMENT : PLAY_VARIABLE);
	e->number = name->number;
	e->text = name->name;
	if (name->kind == PLAY_NAME_ARRAY) {
		e->size = name->size;
		play_needs(p, '[');
		e->a = play_parse_expr(p);
		play_needs(p, ']');
	}
	return e;
}

static struct play_expr *parse_param(struct play_parser *p, const char *word)
{
	for (unsigned int i = 0; p->definition && i < p->definition->param_count; i++) {
		if (!strcmp(p->definition->params[i], word)) {
			struct play_expr *e = play_new_expr(p, PLAY_PARAM);

			e->number = i;
			return e;
		}
	}
	return NULL;
}

static struct play_expr *parse_family(struct play_parser *p, const char *word)
{
	struct play_expr *e;
	struct play_family family;

	if (!play_at_sign(p, '(') || !play_find_family(word, &family))
		return NULL;
	e = play_new_expr(p, PLAY_FAMILY);
	e->family = family;
	e->text = word;
	play_needs(p, '(');
	e->a = play_parse_expr(p);
	play_needs(p, ')');
	return e;
}

static struct play_expr *parse_word(struct play_parser *p)
{
	uint32_t line = p->next->line;
	const char *word = p->next++->text;
	const struct play_function *function;
	const struct play_name *name;
	struct play_expr *e = parse_param(p, word);
	uint64_t number;

	if (e)
		return e;
	if (play_takes(p, '.'))
		word = text("%s.%s", word, play_needs_word(p, "a member"));
	name = play_find_name(p->file, word);
	if (name)
		return parse_known(p, name, line);
	function = play_find_function(word);
	if (function)
		return parse_call(p, function, line);
	e = parse_family(p, word);
	if (e)
		return e;
	if (!play_find_constant(word, &number) && !play_find_register(word, &number))
		play_refuse(p, line, "nothing is named '%s'", word);
	return play_new_number(p, number);
}

/* ---- Operators ---- */

static struct play_expr *parse_primary(struct play_parser *p)
{
	struct play_expr *e;

	if (p->next->kind == PLAY_DIGITS) {
		e = play_new_number(p, p->next->number);
		p->next++;
		return e;
	}
	if (p->next->kind == PLAY_WORD)
		return parse_word(p);
	if (!play_takes(p, '('))
		play_refuse(p, p->next->line, "a value is missing");
	e = play_parse_expr(p);
	play_needs(p, ')');
	return e;
}

static struct play_expr *parse_unary(struct play_parser *p)
{
	struct play_expr *e;

	if (!play_at_sign(p, '~') && !play_at_sign(p, '!') && !play_at_sign(p, '-'))
		return parse_primary(p);
	play_enter_block(p);
	e = play_new_expr(p, PLAY_UNARY);
	e->op = p->next++->sign;
	e->a = parse_unary(p);
	p->depth--;
	return e;
}

/* From weak to strong. */
static const struct {
	int ops[6];
} levels[] = {
	{ { PLAY_PAIR('|', '|') } },
	{ { PLAY_PAIR('&', '&') } },
	{ { PLAY_PAIR('=', '='), PLAY_PAIR('!', '='), '<', PLAY_PAIR('<', '='), '>',
	    PLAY_PAIR('>', '=') } },
	{ { '|' } },
	{ { '^' } },
	{ { '&' } },
	{ { PLAY_PAIR('<', '<'), PLAY_PAIR('>', '>') } },
	{ { '+', '-' } },
	{ { '*', '/', '%' } },
};

#define COMPARISONS 2u

static bool at_level(const struct play_parser *p, unsigned int level)
{
	for (size_t i = 0; i < PLAY_COUNT(levels[0].ops); i++) {
		if (levels[level].ops[i] && play_at_sign(p, levels[level].ops[i]))
			return true;
	}
	return false;
}

static struct play_expr *parse_level(struct play_parser *p, unsigned int level);

/* a in b..c */
static struct play_expr *parse_within(struct play_parser *p, struct play_expr *a)
{
	struct play_expr *e = play_new_expr(p, PLAY_WITHIN);

	e->a = a;
	e->b = parse_level(p, COMPARISONS + 1);
	play_needs(p, PLAY_PAIR('.', '.'));
	e->c = parse_level(p, COMPARISONS + 1);
	return e;
}

static struct play_expr *parse_level(struct play_parser *p, unsigned int level)
{
	struct play_expr *left;

	if (level == PLAY_COUNT(levels))
		return parse_unary(p);
	left = parse_level(p, level + 1);
	if (level == COMPARISONS && play_takes_word(p, "in"))
		return parse_within(p, left);
	while (at_level(p, level)) {
		struct play_expr *e = play_new_expr(p, PLAY_BINARY);

		e->op = p->next++->sign;
		play_skip_newlines(p);
		e->a = left;
		e->b = parse_level(p, level + 1);
		left = e;
	}
	return left;
}

struct play_expr *play_parse_expr(struct play_parser *p)
{
	struct play_expr *e, *choice;

	play_enter_block(p);
	e = parse_level(p, 0);
	if (play_takes(p, '?')) {
		choice = play_new_expr(p, PLAY_CHOICE);
		choice->a = e;
		choice->b = play_parse_expr(p);
		play_needs(p, ':');
		choice->c = play_parse_expr(p);
		e = choice;
	}
	p->depth--;
	return e;
}
