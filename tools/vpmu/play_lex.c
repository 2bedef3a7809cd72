/* SPDX-License-Identifier: MIT */
#include "play_lex.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct block {
	struct block *next;
	max_align_t data[];
};

void *play_allocate(struct play_file *f, size_t size)
{
	struct block *block = calloc(1, sizeof(*block) + size);

	if (!block)
		die(EXIT_CANNOT, "out of memory");
	block->next = f->blocks;
	f->blocks = block;
	return block->data;
}

void play_unload(struct play_file *f)
{
	struct block *block = f->blocks;

	while (block) {
		struct block *next = block->next;

		free(block);
		block = next;
	}
	free(f);
}

void play_refuse(struct play_parser *p, uint32_t line, const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s:%u: ", p->file->path, line);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	longjmp(p->end, 1);
}

/* ---- From characters to tokens ---- */

struct lexer {
	struct play_parser *p;
	const char *at;
	uint32_t line;
	unsigned int parens;
	struct play_token *out;
};

static char *copy(struct play_parser *p, const char *from, size_t length)
{
	char *s = play_allocate(p->file, length + 1);

	memcpy(s, from, length);
	return s;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static void lex_word(struct lexer *l)
{
	const char *start = l->at;

	while (in_word(*l->at))
		l->at++;
	l->out->kind = PLAY_WORD;
	l->out->text = copy(l->p, start, (size_t)(l->at - start));
}

/* 0x1_0000 and 1_000 are numbers; 12ab, 0x and 1__0 are not. */
static void lex_number(struct lexer *l)
{
	bool hex = l->at[0] == '0' && (l->at[1] == 'x' || l->at[1] == 'X');
	uint64_t base = hex ? 16 : 10, number = 0;
	const char *start = l->at += hex ? 2 : 0;

	for (; in_word(*l->at); l->at++) {
		uint64_t digit;

		if (*l->at == '_' && l->at > start && in_word(l->at[1]) && l->at[1] != '_')
			continue;
		if (!isxdigit((unsigned char)*l->at))
			play_refuse(l->p, l->line, "this is not a number");
		digit = (uint64_t)(isdigit((unsigned char)*l->at)
					   ? *l->at - '0'
					   : tolower((unsigned char)*l->at) - 'a' + 10);
		if (digit >= base)
			play_refuse(l->p, l->line, "this is not a number");
		if (number > (UINT64_MAX - digit) / base)
			play_refuse(l->p, l->line, "this number does not fit in 64 bits");
		number = number * base + digit;
	}
	if (l->at == start)
		play_refuse(l->p, l->line, "this is not a number");
	l->out->kind = PLAY_DIGITS;
	l->out->number = number;
}

static void lex_string(struct lexer *l)
{
	const char *start = ++l->at;

	while (*l->at != '"' && *l->at != '\n' && *l->at != '\0')
		l->at++;
	if (*l->at != '"')
		play_refuse(l->p, l->line, "a string ends on its line");
	l->out->kind = PLAY_QUOTED;
	l->out->text = copy(l->p, start, (size_t)(l->at++ - start));
}

static void lex_sign(struct lexer *l)
{
	static const char pairs[][3] = { "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", ".." };
	char c = *l->at;

	l->out->kind = PLAY_SIGN;
	for (size_t i = 0; i < PLAY_COUNT(pairs); i++) {
		if (c == pairs[i][0] && l->at[1] == pairs[i][1]) {
			l->out->sign = PLAY_PAIR(pairs[i][0], pairs[i][1]);
			l->at += 2;
			return;
		}
	}
	if (!strchr("{}()[]=,:.?~!-*/%+<>&^|", c))
		play_refuse(l->p, l->line, "the character '%c' has no place here",
			    isprint((unsigned char)c) ? c : '?');
	l->parens += c == '(';
	l->parens -= c == ')' && l->parens > 0;
	l->out->sign = c;
	l->at++;
}

static void lex_newline(struct lexer *l)
{
	bool counts = l->parens == 0;

	l->line += *l->at == '\n';
	l->at++;
	if (counts)
		l->out++->kind = PLAY_NEWLINE;
}

/* What is between tokens. */
static void skip_blanks(struct lexer *l)
{
	while (*l->at == ' ' || *l->at == '\t' || *l->at == '\r')
		l->at++;
	if (*l->at == '#')
		l->at += strcspn(l->at, "\n");
}

static void lex_one(struct lexer *l)
{
	if (*l->at == '\n' || *l->at == ';') {
		lex_newline(l);
		return;
	}
	if (isdigit((unsigned char)*l->at))
		lex_number(l);
	else if (in_word(*l->at))
		lex_word(l);
	else if (*l->at == '"')
		lex_string(l);
	else
		lex_sign(l);
	l->out++;
}

const struct play_token *play_lex(struct play_parser *p, const char *text)
{
	/* Every token has a character of its own. */
	struct play_token *tokens = play_allocate(p->file, (strlen(text) + 1) * sizeof(*tokens));
	struct lexer l = { .p = p, .at = text, .line = 1, .out = tokens };

	for (skip_blanks(&l); *l.at != '\0'; skip_blanks(&l)) {
		l.out->line = l.line;
		lex_one(&l);
	}
	l.out->line = l.line;
	l.out->kind = PLAY_END;
	return tokens;
}

/* ---- The parser's cursor ---- */

bool play_takes(struct play_parser *p, int sign)
{
	if (!play_at_sign(p, sign))
		return false;
	p->next++;
	return true;
}

bool play_takes_word(struct play_parser *p, const char *word)
{
	if (p->next->kind != PLAY_WORD || strcmp(p->next->text, word))
		return false;
	p->next++;
	return true;
}

void play_needs(struct play_parser *p, int sign)
{
	if (play_takes(p, sign))
		return;
	if (sign > 0xFF)
		play_refuse(p, p->next->line, "'%c%c' is missing", sign >> 8, sign & 0xFF);
	play_refuse(p, p->next->line, "'%c' is missing", sign);
}

const char *play_needs_word(struct play_parser *p, const char *what)
{
	if (p->next->kind != PLAY_WORD)
		play_refuse(p, p->next->line, "%s is missing", what);
	return p->next++->text;
}

const char *play_needs_string(struct play_parser *p, const char *what)
{
	if (p->next->kind != PLAY_QUOTED)
		play_refuse(p, p->next->line, "%s in quotes is missing", what);
	return p->next++->text;
}

static bool at_line_end(const struct play_parser *p)
{
	return p->next->kind == PLAY_NEWLINE || p->next->kind == PLAY_END || play_at_sign(p, '}');
}

void play_needs_end(struct play_parser *p)
{
	if (!at_line_end(p))
		play_refuse(p, p->next->line, "the step has ended, but the line goes on");
}

void play_skip_newlines(struct play_parser *p)
{
	while (p->next->kind == PLAY_NEWLINE)
		p->next++;
}

const char *play_line(const struct play_file *f, uint32_t line, int *length)
{
	const char *s = f->text;

	for (; line > 1 && *s != '\0'; line--) {
		s += strcspn(s, "\n");
		s += *s == '\n';
	}
	s += strspn(s, " \t");
	*length = (int)strcspn(s, "\r\n");
	return s;
}
