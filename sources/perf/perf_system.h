/* SPDX-License-Identifier: MIT */
/* sources/perf's way to the kernel: replaceable, so that a test can refuse any call at any time. */
#ifndef VPMU_PERF_SYSTEM_H
#define VPMU_PERF_SYSTEM_H

#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/types.h>

/* Each returns what the system call does, and -errno in place of -1. */
struct vpmu_perf_system {
	/* A counter of thread (tid) on every CPU, closed by exec. */
	int (*open)(struct vpmu_perf_system *sys, struct perf_event_attr *attr, pid_t tid);
	int (*close)(struct vpmu_perf_system *sys, int fd);
	int (*ioctl)(struct vpmu_perf_system *sys, int fd, unsigned long request, void *argument);
	/* Overflows of (fd) send (signal) to (tid), with si_fd. Three system calls. */
	int (*notify)(struct vpmu_perf_system *sys, int fd, int signal, pid_t tid);
	ssize_t (*read)(struct vpmu_perf_system *sys, int fd, void *buffer, size_t size);
	/* The event's first page, read only, or NULL. */
	void *(*map)(struct vpmu_perf_system *sys, int fd);
	void (*unmap)(struct vpmu_perf_system *sys, void *page);
	/* The CPU that runs the caller: no system call. */
	int (*cpu)(struct vpmu_perf_system *sys);
};

#define VPMU_PERF_NOTIFY_CALLS 3u

/* The kernel's. */
extern const struct vpmu_perf_system vpmu_perf_linux;

#endif
