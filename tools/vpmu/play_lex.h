/* SPDX-License-Identifier: MIT */
/* Words of a scenario, and the parser's cursor on them. */
#ifndef VPMU_TOOLS_PLAY_LEX_H
#define VPMU_TOOLS_PLAY_LEX_H

#include "play.h"

enum play_token_kind {
	PLAY_END,
	PLAY_NEWLINE,                /* or ';' */
	PLAY_WORD,                   /* text */
	PLAY_DIGITS,                 /* number */
	PLAY_QUOTED,                 /* text */
	PLAY_SIGN,                   /* sign */
};

struct play_token {
	enum play_token_kind kind;
	uint32_t line;
	int sign;
	uint64_t number;
	const char *text;
};

struct play_parser {
	struct play_file *file;
	const struct play_token *next;
	jmp_buf end;
	unsigned int depth;
	const struct play_definition *definition; /* whose body is being read */
	bool head;                   /* no step yet */
};

/* All tokens of the file, ended by PLAY_END. Fails by play_refuse(). */
const struct play_token *play_lex(struct play_parser *p, const char *text);

/* "path:line: sentence" on standard error, and the parser ends. */
void play_refuse(struct play_parser *p, uint32_t line, const char *format, ...) PRINTF_LIKE(3, 4)
	__attribute__((noreturn));

static inline bool play_at_sign(const struct play_parser *p, int sign)
{
	return p->next->kind == PLAY_SIGN && p->next->sign == sign;
}

/* Goes on if the next token is (sign), (word). */
bool play_takes(struct play_parser *p, int sign);
bool play_takes_word(struct play_parser *p, const char *word);
/* The same, or the parser ends. */
void play_needs(struct play_parser *p, int sign);
const char *play_needs_word(struct play_parser *p, const char *what);
const char *play_needs_string(struct play_parser *p, const char *what);
/* Ends if there is something left on the line. */
void play_needs_end(struct play_parser *p);
void play_skip_newlines(struct play_parser *p);

/* play_expr.c */
struct play_expr *play_parse_expr(struct play_parser *p);
/*
 * Arguments up to the end of the line or (close), positional ones separated by commas or nothing;
 * (options) are the keys that there are.
 */
struct play_arg *play_parse_args(struct play_parser *p, const char *options, int close);
struct play_expr *play_new_expr(struct play_parser *p, enum play_expr_kind kind);
struct play_expr *play_new_number(struct play_parser *p, uint64_t number);
void play_enter_block(struct play_parser *p);

/* play_parse.c */
const struct play_name *play_find_name(const struct play_file *f, const char *name);
/* Number of the filter or state (name), which exists from now on. */
uint64_t play_name_number(struct play_parser *p, const char *name, enum play_name_kind kind);

#endif /* VPMU_TOOLS_PLAY_LEX_H */
