/* SPDX-License-Identifier: MIT */
/* cmocka needs these four first, in this order. */
#ifndef VPMU_TESTS_CMOCKA_H
#define VPMU_TESTS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) ((uint64_t)1 << (n))

#endif
