/* SPDX-License-Identifier: MIT */
/* vpmu run --host-profile: what the monitor says at the end, as tables and folded stacks. */
#ifndef VPMU_TOOLS_PROFILE_H
#define VPMU_TOOLS_PROFILE_H

#include "common.h"

struct profile_options {
	const char *sides;  /* NULL: no profile */
	const char *period; /* NULL: the monitor's default */
	const char *event;
	const char *out;    /* for the folded stacks; NULL: none */
	const char *key;    /* stands in each of the monitor's lines */
};

/* Makes a key, and the monitor's words. */
void profile_words(struct args *words, struct profile_options *o);
/* What each line of the monitor begins with. */
const char *profile_marker(const struct profile_options *o);
/*
 * (lines): without the marker. (monitor): the image, beside which its symbols are. returns: false: they are
 * not complete.
 */
bool profile_report(const struct args *lines, const char *monitor, const struct profile_options *o);

#endif /* VPMU_TOOLS_PROFILE_H */
