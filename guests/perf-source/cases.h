/* SPDX-License-Identifier: MIT */
/*
 * A Linux system of one program: it is /init, and asks sources/perf about real counters. Each case
 * is one line on the console, see tests/e2e/lib.sh.
 */
#ifndef VPMU_PERF_SOURCE_CASES_H
#define VPMU_PERF_SOURCE_CASES_H

#include "perf_source.h"

/* Of a case: (good) has to hold, or the message is why it failed. The first one is kept. */
void check(bool good, const char *message, ...) __attribute__((format(printf, 2, 3)));

/* Runs a case and prints its line. */
void run_case(const char *name, void (*body)(void));

/* The case cannot run here. */
void skip_case(const char *name, const char *why);

void cases_of_counters(void);
void cases_of_user_reads(void);
void cases_of_refusals(void);
void cases_of_guests(void);
void cases_of_emulated_guests(void);

/* ---- The source under test: one, of this thread ---- */

extern struct vpmu_perf_host host;
extern struct vpmu_perf_source source;
extern unsigned int opened;                  /* events, so far */
extern volatile unsigned int hints[VPMU_COUNTER_MAX];

/*
 * Anew, for (v) or nobody: hints are counted, and told to (v). (count_host): for loops of our own.
 */
void start_source_of(struct vpmu_vcpu *v, bool count_host, void (*kick)(void *context));

void start_source(bool count_host, void (*kick)(void *context));
void stop_source(void);

/* In (slot), or the case fails. */
bool create(unsigned int slot, const struct vpmu_event *e);
uint64_t value_of(unsigned int slot);

struct vpmu_event event_of(enum vpmu_event_meaning meaning);
struct vpmu_event user_event_of(enum vpmu_event_meaning meaning);

/* Writes a number to a file below /proc/sys/kernel; false: there is no such file. */
bool set_kernel(const char *name, int value);

/* ---- The loop ---- */

#define LOOP_INSTRUCTIONS 4u                 /* per iteration */

void loop(uint64_t iterations);

/* ---- The guest of KVM ---- */

/* A branch and the loop; the store after it traps, so it does not retire. */
uint64_t guest_length(uint64_t iterations);
void set_guest_loop(uint64_t iterations);

/* KVM_RUN. returns: true: to the end of the loop; false: a signal ended it. */
bool enter_guest(void);

/* For a signal handler: the guest is not entered, or left. Until allow_guest(). */
void end_guest(void *context);
void allow_guest(void);

#endif
