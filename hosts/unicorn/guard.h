/* SPDX-License-Identifier: MIT */
/*
 * Unicorn's translator aborts on some undefined instructions (2.0.1: FF /5 with a register), and
 * has crashed in others. A guest must not end its host that way. Within guard_enter() and
 * guard_leave(), SIGABRT, SIGSEGV, SIGBUS and SIGFPE of this thread come back to guard_enter(); the
 * engine is then beyond use, but the process is not. Elsewhere the signals do what they did.
 */
#ifndef VPMU_UNICORN_GUARD_H
#define VPMU_UNICORN_GUARD_H

#include <setjmp.h>
#include <stdbool.h>

struct guard {
	sigjmp_buf back;
	struct guard *outer;
};

/* Takes the signals over, once per process. */
void guard_install(void);
void guard_push(struct guard *g);
void guard_pop(void);
/* 0 at first; the signal's number when it comes back. The caller's frame must stay. */
#define guard_enter(g) (guard_push(g), sigsetjmp((g)->back, 0))
#define guard_leave() guard_pop()

#endif
