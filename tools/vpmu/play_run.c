/* SPDX-License-Identifier: MIT */
/* One case: its steps one after the other, and what is said about it. */
#include "play_world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool play_is(const struct play_run *r, uint32_t archs)
{
	return archs >> r->what->model->arch & 1;
}

/* ---- Ends ---- */

static void PRINTF_LIKE(3, 0) __attribute__((noreturn))
end(struct play_run *r, enum play_verdict verdict, const char *format, va_list ap)
{
	r->verdict = verdict;
	vsnprintf(r->reason, sizeof(r->reason), format, ap);
	longjmp(r->end, 1);
}

void play_fail(struct play_run *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	end(r, PLAY_FAILED, format, ap);
}

void play_senseless(struct play_run *r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	end(r, PLAY_SENSELESS, format, ap);
}

/* ---- Outcomes ---- */

void play_came_out(struct play_run *r, const char *what, enum play_outcome outcome)
{
	r->outcome = outcome;
	if (r->wanted != PLAY_ANY && r->wanted != outcome)
		play_fail(r, "%s: expected %s, seen %s", what, play_outcome_names[r->wanted],
			  play_outcome_names[outcome]);
}

static enum play_outcome outcome_of(struct play_run *r, const char *what, int returned)
{
	static const struct {
		int returned;
		enum play_outcome outcome;
	} rows[] = {
		{ VPMU_HANDLED, PLAY_OK },
		{ VPMU_FAULT_GP, PLAY_GP },
		{ VPMU_FAULT_UNDEF, PLAY_UNDEF },
		{ VPMU_FAULT_EL1_TRAP, PLAY_EL1 },
		{ VPMU_AGAIN, PLAY_AGAIN },
		{ VPMU_ERR_PARAM, PLAY_E_PARAM },
		{ VPMU_ERR_SIZE, PLAY_E_SIZE },
		{ VPMU_ERR_STATE, PLAY_E_STATE },
		{ VPMU_ERR_UNSUPPORTED, PLAY_E_UNSUPPORTED },
		{ VPMU_ERR_LIMIT, PLAY_E_LIMIT },
		{ VPMU_ERR_BUSY, PLAY_E_BUSY },
		{ VPMU_ERR_WATCHDOG, PLAY_E_WATCHDOG },
	};

	for (size_t i = 0; i < PLAY_COUNT(rows); i++) {
		if (rows[i].returned == returned)
			return rows[i].outcome;
	}
	play_fail(r, "%s returned %d, which is no outcome", what, returned);
}

/* 0 is "not mine" of an access. */
void play_accessed(struct play_run *r, const char *what, int returned)
{
	play_came_out(r, what, returned ? outcome_of(r, what, returned) : PLAY_NOT_MINE);
}

void play_returned(struct play_run *r, const char *what, int returned)
{
	play_came_out(r, what, returned ? outcome_of(r, what, returned) : PLAY_OK);
}

void play_must(struct play_run *r, const char *what, int returned)
{
	if (returned)
		play_fail(r, "%s: expected OK, seen %s (%s)", what,
			  play_outcome_names[outcome_of(r, what, returned)],
			  vpmu_strerror(returned));
}

/* ---- Expectations ---- */

static const struct {
	int op;
	const char *text;
} comparisons[] = {
	{ PLAY_PAIR('=', '='), "==" }, { PLAY_PAIR('!', '='), "!=" }, { '<', "<" },
	{ PLAY_PAIR('<', '='), "<=" }, { '>', ">" },		      { PLAY_PAIR('>', '='), ">=" },
};

static const char *comparison(const struct play_expr *e)
{
	for (size_t i = 0; e->kind == PLAY_BINARY && i < PLAY_COUNT(comparisons); i++) {
		if (comparisons[i].op == e->op)
			return comparisons[i].text;
	}
	return NULL;
}

static void expect(struct play_run *r, const struct play_expr *e)
{
	const char *op = comparison(e);
	uint64_t a, b;

	if (!op && e->kind != PLAY_WITHIN) {
		if (!play_evaluate(r, e))
			play_fail(r, "expected what is not 0, seen 0");
		return;
	}
	a = play_evaluate(r, e->a);
	b = play_evaluate(r, e->b);
	if (op) {
		if (!play_operate(r, e->op, a, b))
			play_fail(r, "expected %s %#llx, seen %#llx", op, (unsigned long long)b,
				  (unsigned long long)a);
		return;
	}
	if (a < b || a > play_evaluate(r, e->c))
		play_fail(r, "expected %#llx..%#llx, seen %#llx", (unsigned long long)b,
			  (unsigned long long)play_evaluate(r, e->c), (unsigned long long)a);
}

/* ---- Steps ---- */

static void run_steps(struct play_run *r, const struct play_step *s);

static void assign_element(struct play_run *r, const struct play_step *s)
{
	uint64_t i = play_evaluate(r, s->e->a);

	if (i >= s->e->size)
		play_senseless(r, "%s[%llu] is beyond its %u elements", s->e->text,
			       (unsigned long long)i, s->e->size);
	r->variables[s->number + i] = play_evaluate(r, s->e2);
}

/* One step, of which (wanted) must come out. A wrong state of the vCPU shows only by hand. */
static void run_wanted(struct play_run *r, const struct play_step *s, enum play_outcome wanted)
{
	r->wanted = wanted;
	r->by_hand = wanted == PLAY_E_STATE || wanted == PLAY_AGAIN;
	r->outcome = PLAY_OK;
	run_steps(r, s->body);
	r->wanted = PLAY_OK;
	r->by_hand = false;
	if (wanted != PLAY_ANY && r->outcome != wanted)
		play_fail(r, "expected %s, seen %s", play_outcome_names[wanted],
			  play_outcome_names[r->outcome]);
}

static void repeat(struct play_run *r, const struct play_step *s)
{
	for (uint64_t n = play_evaluate(r, s->e); n; n--)
		run_steps(r, s->body);
}

static void foreach_msr(struct play_run *r, const struct play_step *s)
{
	uint32_t list[PLAY_MSRS_MAX];
	size_t count = vpmu_x86_msr_list(&play_vm(r)->vm, list, PLAY_MSRS_MAX);

	if (!play_is(r, PLAY_X86) || count > PLAY_MSRS_MAX)
		play_senseless(r, "there is no list of MSRs here");
	for (size_t i = 0; i < count; i++) {
		r->variables[s->number] = list[i];
		run_steps(r, s->body);
	}
}

static void foreach(struct play_run *r, const struct play_step *s)
{
	if (!s->args)
		foreach_msr(r, s);
	for (const struct play_arg *arg = s->args; arg; arg = arg->next) {
		uint64_t value = play_evaluate(r, arg->value);
		uint64_t last = arg->last ? play_evaluate(r, arg->last) : value;

		for (; value <= last; value++) {
			r->variables[s->number] = value;
			run_steps(r, s->body);
			if (value == UINT64_MAX)
				break;
		}
	}
}

static bool holds(const struct play_run *r, const struct play_step *s)
{
	for (unsigned int i = 0; i < PLAY_ONLY_WORDS_MAX && s->only[i]; i++) {
		bool not = s->only[i] & 0x80;

		if (play_word_holds(&play_words[(s->only[i] & 0x7F) - 1], r->what->model->arch,
				    r->what->mode) == not)
			return false;
	}
	return true;
}

static void on_vcpu(struct play_run *r, const struct play_step *s)
{
	uint64_t n = play_evaluate(r, s->e);
	unsigned int outer = r->vcpu;

	if (n >= r->world->vcpu_count || play_is_bare(r))
		play_senseless(r, "there is no vCPU %llu", (unsigned long long)n);
	r->vcpu = (unsigned int)n;
	run_steps(r, s->body);
	r->vcpu = outer;
}

static void on_cpu(struct play_run *r, const struct play_step *s)
{
	uint64_t n = play_evaluate(r, s->e);
	int outer = r->cpu;

	if (n >= r->what->file->cpu_count || play_is_bare(r))
		play_senseless(r, "there is no CPU %llu", (unsigned long long)n);
	r->cpu = (int)n;
	run_steps(r, s->body);
	r->cpu = outer;
}

static void skip(struct play_run *r, const struct play_step *s)
{
	r->verdict = PLAY_SKIPPED;
	snprintf(r->reason, sizeof(r->reason), "%s", s->text);
	longjmp(r->end, 1);
}

static void print(struct play_run *r, const struct play_step *s)
{
	if (!r->verbose)
		return;
	printf("   ");
	for (const struct play_arg *arg = s->args; arg; arg = arg->next) {
		if (arg->value->kind == PLAY_STRING)
			printf(" %s", arg->value->text);
		else
			printf(" %#llx", (unsigned long long)play_evaluate(r, arg->value));
	}
	putchar('\n');
}

static void show(struct play_run *r, const struct play_step *s)
{
	int length;
	const char *line;

	if (!r->verbose)
		return;
	line = play_line(r->what->file, s->line, &length);
	printf("  %u: %.*s\n", s->line, length, line);
}

static void run_command(struct play_run *r, const struct play_step *s)
{
	const char *breach;

	s->command->run(r, s->args);
	breach = play_breach(r);
	if (breach)
		play_fail(r, "expected no breach of a contract, seen: %s", breach);
}

static void run_step(struct play_run *r, const struct play_step *s)
{
	switch (s->kind) {
	case PLAY_COMMAND: run_command(r, s); return;
	case PLAY_ASSIGN: r->variables[s->number] = play_evaluate(r, s->e); return;
	case PLAY_ASSIGN_ELEMENT: assign_element(r, s); return;
	case PLAY_EVALUATE: (void)play_evaluate(r, s->e); return;
	case PLAY_EXPECT: expect(r, s->e); return;
	case PLAY_EXPECT_OUTCOME: run_wanted(r, s, (enum play_outcome)s->number); return;
	case PLAY_TRY: run_wanted(r, s, PLAY_ANY); return;
	case PLAY_REPEAT: repeat(r, s); return;
	case PLAY_FOREACH: foreach(r, s); return;
	case PLAY_WHILE:
		while (play_evaluate(r, s->e))
			run_steps(r, s->body);
		return;
	case PLAY_IF: run_steps(r, play_evaluate(r, s->e) ? s->body : s->otherwise); return;
	case PLAY_ONLY:
		if (holds(r, s))
			run_steps(r, s->body);
		return;
	case PLAY_ON_VCPU: on_vcpu(r, s); return;
	case PLAY_ON_CPU: on_cpu(r, s); return;
	case PLAY_SKIP: skip(r, s); return;
	case PLAY_PRINT: print(r, s); return;
	}
}

static void run_steps(struct play_run *r, const struct play_step *s)
{
	for (; s; s = s->next) {
		if (++r->work > PLAY_WORK_MAX)
			play_fail(r, "the case does not end: more than %u steps", PLAY_WORK_MAX);
		r->line = s->line;
		show(r, s);
		run_step(r, s);
	}
}

/* ---- The case ---- */

static void print_name(const struct play_case *what)
{
	printf("%s [%s %s]", what->file->id, what->model->label, play_mode_labels[what->mode]);
}

static void report(struct play_run *r)
{
	static const char *const words[] = {
		[PLAY_PASSED] = "ok", [PLAY_FAILED] = "not ok", [PLAY_SKIPPED] = "skip",
		[PLAY_SENSELESS] = "not ok",
	};
	int length;
	const char *line = play_line(r->what->file, r->line, &length);

	printf("%s ", words[r->verdict]);
	print_name(r->what);
	if (r->verdict == PLAY_SKIPPED)
		printf(": %s", r->reason);
	if (r->verdict == PLAY_FAILED || r->verdict == PLAY_SENSELESS)
		printf(": %s:%u: %s\n    %.*s", r->what->file->path, r->line, r->reason, length,
		       line);
	putchar('\n');
	if (r->verdict == PLAY_FAILED)
		play_print_trace(r);
}

enum play_verdict play_case(const struct play_case *what, bool verbose)
{
	struct play_run r = {
		.what = what,
		.verbose = verbose,
		.cpu = -1,
		.verdict = PLAY_PASSED,
		/* Not 0, whatever the seed. */
		.random = what->file->seed * 2 + 0x9E3779B97F4A7C15u,
	};

	r.variables = calloc(what->file->variables + 1, sizeof(*r.variables));
	if (!r.variables)
		die(EXIT_CANNOT, "out of memory");
	r.world = play_world_new(&r);
	if (!setjmp(r.end)) {
		run_steps(&r, what->file->steps);
		play_world_end(&r);
	}
	report(&r);
	free(r.variables);
	play_world_free(r.world);
	return r.verdict;
}
