/* SPDX-License-Identifier: MIT */
#include "play_head.h"

#include <string.h>

static uint64_t needs_number(struct play_parser *p, const char *what, uint64_t first, uint64_t last)
{
	if (p->next->kind != PLAY_DIGITS || p->next->number < first || p->next->number > last)
		play_refuse(p, p->next->line, "%s is a number from %llu to %llu", what,
			    (unsigned long long)first, (unsigned long long)last);
	return p->next++->number;
}

/* ---- Lines ---- */

static void parse_scenario(struct play_parser *p)
{
	if (p->file->id)
		play_refuse(p, p->next->line, "a file is one scenario");
	p->file->id = play_needs_word(p, "a name");
	while (play_takes(p, '-')) {
		if (p->next->kind == PLAY_DIGITS)
			p->file->id = text("%s-%llu", p->file->id,
					   (unsigned long long)p->next++->number);
		else
			p->file->id = text("%s-%s", p->file->id, play_needs_word(p, "a word"));
	}
	p->file->meaning = play_needs_string(p, "what it means");
}

static void parse_from(struct play_parser *p)
{
	(void)play_needs_string(p, "the source");
}

/* The words of a line as they are written, with one space between them. */
static const char *label(const struct play_parser *p, const struct play_token *first)
{
	int length;
	const char *s = play_line(p->file, first->line, &length);
	char *out = play_allocate(p->file, (size_t)length + 1), *end = out;

	while (length > 0 && *s != '#' && *s != ';') {
		size_t blanks = strspn(s, " \t");

		if (blanks) {
			*end++ = ' ';
			s += blanks;
			length -= (int)blanks;
			continue;
		}
		*end++ = *s++;
		length--;
	}
	while (end > out && end[-1] == ' ')
		end--;
	*end = '\0';
	return out + strlen("model ");
}

static enum play_arch parse_arch(struct play_parser *p)
{
	const char *name = play_needs_word(p, "intel, amd or arm");

	for (unsigned int arch = 0; arch < PLAY_ARCHS; arch++) {
		if (!strcmp(name, play_arch_names[arch]))
			return (enum play_arch)arch;
	}
	play_refuse(p, p->next->line, "a model is intel, amd or arm");
}

static struct play_shape *add_shape(struct play_parser *p, struct play_shape **list)
{
	unsigned int n = 0;

	for (; *list; list = &(*list)->next)
		n++;
	if (n == PLAY_MODELS_MAX)
		play_refuse(p, p->next->line, "more than %u of these lines", PLAY_MODELS_MAX);
	*list = play_allocate(p->file, sizeof(**list));
	(*list)->line = p->next->line;
	return *list;
}

static void parse_keys(struct play_parser *p, struct play_shape *shape, const char *keys)
{
	shape->args = play_parse_args(p, keys, '}');
	for (const struct play_arg *arg = shape->args; arg; arg = arg->next) {
		if (!arg->key)
			play_refuse(p, shape->line, "here stand only pairs KEY=VALUE");
	}
}

static void parse_model(struct play_parser *p)
{
	struct play_shape *shape = add_shape(p, &p->file->models);

	shape->label = label(p, p->next);
	shape->arch = parse_arch(p);
	parse_keys(p, shape, PLAY_MODEL_KEYS);
	for (const struct play_shape *s = p->file->models; s != shape; s = s->next) {
		if (!strcmp(s->label, shape->label))
			play_refuse(p, shape->line, "this model is there already");
	}
}

static void parse_hardware(struct play_parser *p)
{
	parse_keys(p, add_shape(p, &p->file->hardware), "cpu= " PLAY_HARDWARE_KEYS);
}

static const struct play_arg *find_key(const struct play_arg *args, const char *key)
{
	while (args && (!args->key || strcmp(args->key, key)))
		args = args->next;
	return args;
}

static void parse_vm(struct play_parser *p)
{
	struct play_shape *shape = add_shape(p, &p->file->vms);
	const struct play_arg *vcpus;

	if (p->file->vm_count == PLAY_VMS_MAX)
		play_refuse(p, shape->line, "more than %u VMs", PLAY_VMS_MAX);
	parse_keys(p, shape, "vcpus= mode=@ " PLAY_MODEL_KEYS);
	vcpus = find_key(shape->args, "vcpus");
	if (vcpus && (vcpus->value->kind != PLAY_NUMBER || !vcpus->value->number ||
		      vcpus->value->number > PLAY_VCPUS_MAX))
		play_refuse(p, shape->line, "vcpus is a number from 1 to %u", PLAY_VCPUS_MAX);
	p->file->vcpus[p->file->vm_count++] = vcpus ? (unsigned int)vcpus->value->number : 1;
	p->file->mixed |= find_key(shape->args, "mode") != NULL;
}

static void parse_matrix(struct play_parser *p)
{
	do {
		uint32_t line = p->next->line;
		const char *name = play_needs_word(p, "a mode");
		const struct play_word *word = play_find_word(name);

		if (!strcmp(name, "all"))
			p->file->modes |= PLAY_ALL;
		else if (word && word->matrix)
			p->file->modes |= word->matrix;
		else
			play_refuse(p, line, "'%s' is no mode", name);
	} while (p->next->kind == PLAY_WORD);
}

static void parse_cpus(struct play_parser *p)
{
	p->file->cpu_count = (unsigned int)needs_number(p, "cpus", 1, PLAY_CPUS_MAX);
}

static void parse_vcpus(struct play_parser *p)
{
	p->file->vcpus[0] = (unsigned int)needs_number(p, "vcpus", 1, PLAY_VCPUS_MAX);
}

static void parse_seed(struct play_parser *p)
{
	p->file->seed = needs_number(p, "seed", 0, UINT64_MAX);
}

static const struct {
	const char *word;
	void (*parse)(struct play_parser *p);
} lines[] = {
	{ "scenario", parse_scenario }, { "from", parse_from },	  { "model", parse_model },
	{ "hardware", parse_hardware }, { "vm", parse_vm },	  { "matrix", parse_matrix },
	{ "cpus", parse_cpus },		{ "vcpus", parse_vcpus }, { "seed", parse_seed },
};

bool play_head_word(const char *word)
{
	for (size_t i = 0; i < PLAY_COUNT(lines); i++) {
		if (!strcmp(lines[i].word, word))
			return true;
	}
	return false;
}

static bool parse_line(struct play_parser *p)
{
	for (size_t i = 0; i < PLAY_COUNT(lines); i++) {
		if (play_takes_word(p, lines[i].word)) {
			lines[i].parse(p);
			play_needs_end(p);
			return true;
		}
	}
	return false;
}

/* x86 and Arm guests do not share a machine, and names of registers mean one of the two. */
static void check_head(struct play_parser *p)
{
	struct play_file *f = p->file;
	unsigned int vcpus = 0;

	if (!f->id)
		play_refuse(p, 1, "the line 'scenario NAME \"meaning\"' is missing");
	if (!f->models)
		play_refuse(p, 1, "a line 'model' is missing");
	if (!f->modes)
		f->modes = PLAY_ALL;
	for (unsigned int i = 0; i < f->vm_count; i++)
		vcpus += f->vcpus[i];
	if (vcpus > PLAY_VCPUS_MAX)
		play_refuse(p, 1, "more than %u vCPUs", PLAY_VCPUS_MAX);
}

void play_parse_head(struct play_parser *p)
{
	p->file->cpu_count = 1;
	p->file->vm_count = 1;
	p->file->vcpus[0] = 1;
	do
		play_skip_newlines(p);
	while (parse_line(p));
	check_head(p);
}
