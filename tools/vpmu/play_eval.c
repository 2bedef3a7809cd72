/* SPDX-License-Identifier: MIT */
/* Values of expressions, and of the arguments of steps. */
#include "play.h"

#include <string.h>

#include <vpmu/arm.h>

static void work(struct play_run *r)
{
	if (++r->work > PLAY_WORK_MAX)
		play_fail(r, "the case does not end: more than %u steps", PLAY_WORK_MAX);
}

static uint64_t family_member(struct play_run *r, const struct play_expr *e)
{
	uint64_t i = play_evaluate(r, e->a);

	if (i >= e->family.members)
		play_senseless(r, "%s has members 0 to %u, not %llu", e->text,
			       e->family.members - 1, (unsigned long long)i);
	if (!e->family.stride)
		return vpmu_arm_reg_member(e->family.first, (unsigned int)i);
	return e->family.first + i * e->family.stride;
}

static uint64_t element(struct play_run *r, const struct play_expr *e)
{
	uint64_t i = play_evaluate(r, e->a);

	if (i >= e->size)
		play_senseless(r, "%s[%llu] is beyond its %u elements", e->text,
			       (unsigned long long)i, e->size);
	return r->variables[e->number + i];
}

static uint64_t unary(int op, uint64_t a)
{
	if (op == '~')
		return ~a;
	return op == '!' ? !a : 0 - a;
}

static uint64_t divided(struct play_run *r, int op, uint64_t a, uint64_t b)
{
	if (!b)
		play_senseless(r, "division by 0");
	return op == '/' ? a / b : a % b;
}

static uint64_t shifted(int op, uint64_t a, uint64_t b)
{
	if (b > 63)
		return 0;
	return op == PLAY_PAIR('<', '<') ? a << b : a >> b;
}

static uint64_t compared(int op, uint64_t a, uint64_t b)
{
	switch (op) {
	case PLAY_PAIR('=', '='): return a == b;
	case PLAY_PAIR('!', '='): return a != b;
	case '<': return a < b;
	case PLAY_PAIR('<', '='): return a <= b;
	case '>': return a > b;
	default: return a >= b;
	}
}

uint64_t play_operate(struct play_run *r, int op, uint64_t a, uint64_t b)
{
	switch (op) {
	case '|': return a | b;
	case '^': return a ^ b;
	case '&': return a & b;
	case '+': return a + b;
	case '-': return a - b;
	case '*': return a * b;
	case '/':
	case '%': return divided(r, op, a, b);
	case PLAY_PAIR('<', '<'):
	case PLAY_PAIR('>', '>'): return shifted(op, a, b);
	default: return compared(op, a, b);
	}
}

/* && and || do not evaluate what does not matter. */
static uint64_t binary(struct play_run *r, const struct play_expr *e)
{
	uint64_t a = play_evaluate(r, e->a);

	if (e->op == PLAY_PAIR('&', '&'))
		return a && play_evaluate(r, e->b);
	if (e->op == PLAY_PAIR('|', '|'))
		return a || play_evaluate(r, e->b);
	return play_operate(r, e->op, a, play_evaluate(r, e->b));
}

static uint64_t within(struct play_run *r, const struct play_expr *e)
{
	uint64_t a = play_evaluate(r, e->a);
	uint64_t first = play_evaluate(r, e->b);

	return a >= first && a <= play_evaluate(r, e->c);
}

/* A definition uses earlier ones only, so this ends. */
static uint64_t macro(struct play_run *r, const struct play_expr *e)
{
	const uint64_t *outer = r->params;
	uint64_t params[PLAY_PARAMS_MAX] = { 0 };
	unsigned int n = 0;
	uint64_t value;

	for (const struct play_arg *arg = e->args; arg; arg = arg->next)
		params[n++] = play_evaluate(r, arg->value);
	r->params = params;
	value = play_evaluate(r, e->definition->body);
	r->params = outer;
	return value;
}

uint64_t play_evaluate(struct play_run *r, const struct play_expr *e)
{
	work(r);
	switch (e->kind) {
	case PLAY_NUMBER: return e->number;
	case PLAY_STRING: play_senseless(r, "a string has no value");
	case PLAY_VARIABLE: return r->variables[e->number];
	case PLAY_PARAM: return r->params[e->number];
	case PLAY_ELEMENT: return element(r, e);
	case PLAY_FAMILY: return family_member(r, e);
	case PLAY_UNARY: return unary(e->op, play_evaluate(r, e->a));
	case PLAY_BINARY: return binary(r, e);
	case PLAY_CHOICE: return play_evaluate(r, play_evaluate(r, e->a) ? e->b : e->c);
	case PLAY_WITHIN: return within(r, e);
	case PLAY_CALL: return e->function->call(r, e->args);
	case PLAY_MACRO: return macro(r, e);
	}
	return 0;
}

/* ---- Arguments ---- */

/* What an argument needs must succeed, whatever its step must come out as. */
static uint64_t evaluate_arg(struct play_run *r, const struct play_expr *e)
{
	enum play_outcome wanted = r->wanted;
	bool by_hand = r->by_hand;
	uint64_t value;

	r->wanted = PLAY_OK;
	r->by_hand = false;
	value = play_evaluate(r, e);
	r->wanted = wanted;
	r->by_hand = by_hand;
	return value;
}

static const struct play_arg *positional(const struct play_arg *args, unsigned int n)
{
	for (; args; args = args->next) {
		if (!args->key && n-- == 0)
			return args;
	}
	return NULL;
}

uint64_t play_arg(struct play_run *r, const struct play_arg *args, unsigned int n)
{
	return evaluate_arg(r, positional(args, n)->value);
}

unsigned int play_arg_count(const struct play_arg *args)
{
	unsigned int n = 0;

	while (positional(args, n))
		n++;
	return n;
}

const struct play_arg *play_find_option(const struct play_arg *args, const char *key)
{
	for (; args; args = args->next) {
		if (args->key && !strcmp(args->key, key))
			return args;
	}
	return NULL;
}

uint64_t play_option(struct play_run *r, const struct play_arg *args, const char *key,
		     uint64_t otherwise)
{
	const struct play_arg *arg = play_find_option(args, key);

	return arg ? evaluate_arg(r, arg->value) : otherwise;
}

unsigned int play_index(struct play_run *r, const struct play_arg *args, unsigned int n,
			unsigned int size)
{
	uint64_t value = play_arg(r, args, n);

	if (value >= size)
		play_senseless(r, "%llu is not below %u", (unsigned long long)value, size);
	return (unsigned int)value;
}
