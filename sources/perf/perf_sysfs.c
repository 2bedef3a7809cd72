/* SPDX-License-Identifier: MIT */
/* What sysfs and procfs say: bounded reads, and every line may be rubbish. */
#include "perf_host.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES "sys/bus/event_source/devices"
#define PATH_SIZE 1024u
#define LINE_SIZE 1024u

/* The first line of file (a)/(b)/(c), without its end. */
static bool line_of(const char *a, const char *b, const char *c, char line[LINE_SIZE])
{
	char path[PATH_SIZE];
	int n = snprintf(path, sizeof(path), "%s/%s/%s", a, b, c);
	FILE *file = n < (int)sizeof(path) ? fopen(path, "re") : NULL;
	bool good;

	if (!file)
		return false;
	good = fgets(line, LINE_SIZE, file) != NULL;
	(void)fclose(file);
	if (good)
		line[strcspn(line, "\n")] = '\0';
	return good;
}

static bool number(const char **s, int base, uint64_t *n)
{
	char *end;

	if (**s < '0' || **s > '9')
		return false;
	*n = strtoull(*s, &end, base);
	*s = end;
	return true;
}

/* "A" or "A-B" at (*s), and the comma after it. */
static bool range(const char **s, uint64_t limit, uint64_t *first, uint64_t *last)
{
	if (!number(s, 10, first))
		return false;
	*last = *first;
	if (**s == '-') {
		++*s;
		if (!number(s, 10, last))
			return false;
	}
	if (**s == ',')
		++*s;
	return *first <= *last && *last < limit;
}

static void read_cpus(struct vpmu_perf_pmu *pmu, const char *list)
{
	uint64_t first, last;

	while (range(&list, VPMU_PERF_CPUS, &first, &last)) {
		for (uint64_t i = first; i <= last; i++)
			pmu->cpus[i / 64] |= (uint64_t)1 << i % 64;
	}
}

/* Where a field lies. */
struct format {
	unsigned int word;           /* config, config1, config2 */
	uint64_t bits;
};

/* "config:0-7,32-35" */
static bool parse_format(const char *s, struct format *f)
{
	uint64_t first, last, word = 0;

	if (strncmp(s, "config", 6) != 0)
		return false;
	s += 6;
	if (*s != ':' && (!number(&s, 10, &word) || *s != ':'))
		return false;
	*f = (struct format){ .word = (unsigned int)word };
	s++;
	while (*s) {
		if (!range(&s, 64, &first, &last))
			return false;
		f->bits |= (UINT64_MAX >> (63 - last)) & (UINT64_MAX << first);
	}
	return f->bits;
}

static bool read_format(const char *pmu, const char *field, struct format *f)
{
	char line[LINE_SIZE], folder[PATH_SIZE];

	if (snprintf(folder, sizeof(folder), "%s/format", pmu) >= (int)sizeof(folder))
		return false;
	return line_of(folder, ".", field, line) && parse_format(line, f);
}

/* The low bits of (value), spread over (bits); false: it has more. */
static bool spread(uint64_t bits, uint64_t value, uint64_t *out)
{
	for (; bits; bits &= bits - 1) {
		*out |= value & 1 ? bits & -bits : 0;
		value >>= 1;
	}
	return !value;
}

/* "umask=0x01" or "umask"; only fields of config, the rest is more than a selector. */
static bool parse_term(const char *pmu, char *term, uint64_t *config)
{
	char *equals = strchr(term, '=');
	const char *s = equals ? equals + 1 : "1";
	struct format f = { 0 };
	uint64_t value;

	if (equals)
		*equals = '\0';
	if (strchr(term, '/') || !number(&s, 0, &value) || *s)
		return false;
	if (!strcmp(term, "config"))
		f.bits = UINT64_MAX;
	else if (!read_format(pmu, term, &f))
		return false;
	return f.word == 0 && spread(f.bits, value, config);
}

static bool parse_event(const char *pmu, char *line, uint64_t *config)
{
	char *term;

	*config = 0;
	while ((term = strsep(&line, ",")) != NULL) {
		if (!parse_term(pmu, term, config))
			return false;
	}
	return true;
}

bool vpmu_perf_find_name(const struct vpmu_perf_host *host, const char *name, unsigned int *index)
{
	for (unsigned int i = 0; i < host->names; i++) {
		if (!strcmp(host->name[i].name, name)) {
			*index = i;
			return true;
		}
	}
	return false;
}

/* A folder's files, as far as they have a short plain name, are visited for PMU (pmu). */
struct walk {
	struct vpmu_perf_host *host;
	unsigned int pmu;
	char parent[PATH_SIZE];
	char folder[PATH_SIZE];
};

static void each_file(struct walk *w, void (*visit)(struct walk *w, const char *name))
{
	DIR *d = opendir(w->folder);
	struct dirent *entry;

	if (!d)
		return;
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] != '.' && strlen(entry->d_name) < VPMU_PERF_NAME)
			visit(w, entry->d_name);
	}
	(void)closedir(d);
}

static bool join(char out[PATH_SIZE], const char *a, const char *b)
{
	return snprintf(out, PATH_SIZE, "%s/%s", a, b) < (int)PATH_SIZE;
}

static void visit_format(struct walk *w, const char *name)
{
	struct vpmu_perf_pmu *pmu = &w->host->pmu[w->pmu];
	char line[LINE_SIZE];
	struct format f;

	if (!line_of(w->folder, ".", name, line) || !parse_format(line, &f))
		return;
	if (f.word == 0)
		pmu->config_bits |= f.bits;
	if (f.word == 1 && !strcmp(name, "rdpmc"))
		pmu->user_read = f.bits;
}

/* Where events have to ask for it, a page shows that they have, even if no counter is shown. */
static bool user_may_read(const char *root)
{
	char line[LINE_SIZE];

	return line_of(root, "proc/sys/kernel", "perf_user_access", line) && line[0] == '1';
}

/* Names with a dot are about other names. Names that the first PMU does not have are not common. */
static void visit_event(struct walk *w, const char *name)
{
	struct vpmu_perf_host *host = w->host;
	unsigned int i = host->names;
	char line[LINE_SIZE];
	uint64_t config;

	if (strchr(name, '.') || !line_of(w->folder, ".", name, line) ||
	    !parse_event(w->parent, line, &config))
		return;
	if (!vpmu_perf_find_name(host, name, &i)) {
		if (w->pmu > 0 || i == VPMU_PERF_NAMES)
			return;
		host->name[i] = (struct vpmu_perf_name){ 0 };
		memcpy(host->name[i].name, name, strlen(name));
		host->names++;
	}
	host->name[i].config[w->pmu] = config;
	host->name[i].listed |= 1u << w->pmu;
}

static void drop_uncommon(struct vpmu_perf_host *host)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < host->names; i++) {
		if (host->name[i].listed == (1u << host->pmus) - 1)
			host->name[kept++] = host->name[i];
	}
	host->names = kept;
}

/* A core's PMU is called "cpu" or says which cores are its; others have a "cpumask", or nothing. */
static bool read_pmu(const char *devices, const char *name, struct vpmu_perf_pmu *pmu)
{
	char line[LINE_SIZE];
	const char *s = line;
	uint64_t type;

	*pmu = (struct vpmu_perf_pmu){ .all_cpus = !strcmp(name, "cpu") };
	memcpy(pmu->name, name, strlen(name));
	if (line_of(devices, name, "cpus", line)) {
		pmu->all_cpus = false;
		read_cpus(pmu, line);
	} else if (!pmu->all_cpus) {
		return false;
	}
	if (!line_of(devices, name, "type", line) || !number(&s, 10, &type) || type > UINT32_MAX)
		return false;
	pmu->type = (uint32_t)type;
	return true;
}

static void visit_pmu(struct walk *w, const char *name)
{
	struct vpmu_perf_host *host = w->host;
	struct vpmu_perf_pmu pmu;

	if (!read_pmu(w->folder, name, &pmu))
		return;
	if (host->pmus < VPMU_PERF_PMUS)
		host->pmu[host->pmus++] = pmu;
	else
		host->too_many = true;
}

static int by_type(const void *a, const void *b)
{
	const struct vpmu_perf_pmu *x = a, *y = b;

	return (x->type > y->type) - (x->type < y->type);
}

static void read_details(struct vpmu_perf_host *host, const char *devices, unsigned int pmu)
{
	struct walk w = { .host = host, .pmu = pmu };

	if (!join(w.parent, devices, host->pmu[pmu].name))
		return;
	if (join(w.folder, w.parent, "format"))
		each_file(&w, visit_format);
	if (join(w.folder, w.parent, "events"))
		each_file(&w, visit_event);
}

/* ---- Whose processor it is ---- */

static const struct {
	const char *word;
	enum vpmu_perf_encoding encoding;
} vendors[] = {
	{ "GenuineIntel", VPMU_PERF_ENCODING_INTEL },
	{ "AuthenticAMD", VPMU_PERF_ENCODING_AMD },
	{ "HygonGenuine", VPMU_PERF_ENCODING_AMD },
	{ "CPU implementer", VPMU_PERF_ENCODING_ARM },
};

static enum vpmu_perf_encoding encoding_in(const char *line)
{
	for (size_t i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++) {
		if (strstr(line, vendors[i].word))
			return vendors[i].encoding;
	}
	return VPMU_PERF_ENCODING_NONE;
}

/* The first processor's lines say it. */
#define CPUINFO_LINES 64u

static enum vpmu_perf_encoding read_encoding(const char *root)
{
	enum vpmu_perf_encoding encoding = VPMU_PERF_ENCODING_NONE;
	char path[PATH_SIZE], line[LINE_SIZE];
	FILE *file = join(path, root, "proc/cpuinfo") ? fopen(path, "re") : NULL;

	if (!file)
		return encoding;
	for (unsigned int i = 0; i < CPUINFO_LINES && !encoding; i++) {
		if (!fgets(line, sizeof(line), file))
			break;
		encoding = encoding_in(line);
	}
	(void)fclose(file);
	return encoding;
}

static int read_paranoid(const char *root)
{
	char line[LINE_SIZE], *end;
	long n;

	if (!line_of(root, "proc/sys/kernel", "perf_event_paranoid", line))
		return INT_MAX;
	n = strtol(line, &end, 10);
	return end == line || n < -1 || n >= INT_MAX ? INT_MAX : (int)n;
}

enum vpmu_perf_error vpmu_perf_host_find(struct vpmu_perf_host *host, const char *root)
{
	struct walk w = { .host = host };

	*host = (struct vpmu_perf_host){
		.encoding = read_encoding(root), .paranoid = read_paranoid(root),
	};
	if (!join(w.folder, root, DEVICES))
		return VPMU_PERF_NO_PMU;
	each_file(&w, visit_pmu);
	if (host->too_many)
		host->pmus = 0;
	/* On x86 the first is the big cores', whose raw encodings a guest is told. */
	qsort(host->pmu, host->pmus, sizeof(host->pmu[0]), by_type);
	for (unsigned int i = 0; i < host->pmus; i++)
		read_details(host, w.folder, i);
	for (unsigned int i = 0; i < host->pmus && !user_may_read(root); i++)
		host->pmu[i].user_read = 0;
	drop_uncommon(host);
	if (host->too_many)
		return VPMU_PERF_TOO_MANY;
	return host->pmus ? VPMU_PERF_OK : VPMU_PERF_NO_PMU;
}
