/* SPDX-License-Identifier: MIT */
/* What users are told who may not count: each case in a process that has given up its rights. */
#include "cases.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER_ONLY 100 /* beside the errors, in a process's status */

static int answer(void)
{
	static struct vpmu_perf_host probed;
	struct vpmu_perf_system sys = vpmu_perf_linux;
	enum vpmu_perf_error error = vpmu_perf_host_find(&probed, "");

	if (!error)
		error = vpmu_perf_host_probe(&probed, &sys);
	if (!error && probed.user_only)
		return USER_ONLY;
	return (int)error;
}

static void check_answer(const char *whose, void (*give_up)(void), int expected)
{
	pid_t child = fork();
	int status = 0;

	if (!child) {
		give_up();
		_exit(answer());
	}
	check(waitpid(child, &status, 0) == child && WIFEXITED(status), "%s: no end", whose);
	check(WEXITSTATUS(status) == expected, "%s: answer %d, expected %d", whose,
	      WEXITSTATUS(status), expected);
}

static void ordinary_user(void)
{
	if (setgid(1000) || setuid(1000))
		_exit(255);
}

static void paranoid(void)
{
	/* Debian's kernel has a level 3: nothing for anybody without the right. */
	(void)set_kernel("perf_event_paranoid", 3);
	check_answer("level 3", ordinary_user, VPMU_PERF_PARANOID);
	(void)set_kernel("perf_event_paranoid", 2);
	check_answer("level 2", ordinary_user, USER_ONLY);
	(void)set_kernel("perf_event_paranoid", 1);
	check_answer("level 1", ordinary_user, VPMU_PERF_OK);
}

static void refuse_with(unsigned int number)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(255);
}

static void forbid(void)
{
	refuse_with(EPERM);
}

static void hide(void)
{
	refuse_with(ENOSYS);
}

static void seccomp(void)
{
	check_answer("refused", forbid, VPMU_PERF_FORBIDDEN);
	check_answer("hidden", hide, VPMU_PERF_NO_SYSTEM_CALL);
}

/* Enough to look at sysfs first: an event needs one more than a file at a time. */
static void use_files_up(void)
{
	const struct rlimit limit = { 3, 3 };

	if (vpmu_perf_host_find(&host, "") || setrlimit(RLIMIT_NOFILE, &limit))
		_exit(255);
	_exit((int)vpmu_perf_host_probe(&host, &(struct vpmu_perf_system){
		.open = vpmu_perf_linux.open, .close = vpmu_perf_linux.close,
		.map = vpmu_perf_linux.map, .unmap = vpmu_perf_linux.unmap,
	}));
}

static void no_files(void)
{
	check_answer("no files", use_files_up, VPMU_PERF_NO_FILES);
}

void cases_of_refusals(void)
{
	run_case("paranoid", paranoid);
	run_case("seccomp", seccomp);
	run_case("no_files", no_files);
}
