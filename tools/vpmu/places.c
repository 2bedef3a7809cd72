/* SPDX-License-Identifier: MIT */
#include "places.h"

#include "common.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAKE_GUEST "guests/linux/build.sh"

/* The folder of the running program. */
static const char *own_folder(void)
{
	static char path[PATH_MAX];
	ssize_t n;

	if (path[0] != '\0')
		return path;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0)
		die(EXIT_CANNOT, "/proc/self/exe: %s", strerror(errno));
	path[n] = '\0';
	*strrchr(path, '/') = '\0';
	return path;
}

static bool exists(const char *path)
{
	return access(path, R_OK) == 0;
}

/* The source tree, if the program lies in its build/NAME/tools/vpmu; else NULL. */
static const char *source_tree(void)
{
	const char *root = text("%s/../../../..", own_folder());

	return exists(text("%s/" MAKE_GUEST, root)) ? root : NULL;
}

const char *place_monitor(void)
{
	const char *root = source_tree();
	const char *path = root ? text("%s/build/arm64/hosts/el2/monitor.img", root)
				: text("%s/" VPMU_LIBEXEC "/monitor.img", own_folder());

	if (!exists(path))
		die(EXIT_CANNOT, "the monitor is not there: %s: %s", path,
		    root ? "scripts/build.sh arm64 builds it" : "name it with --monitor");
	return path;
}

static const char *in_path(const char *name)
{
	char *copy = text("%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	char *next = copy, *folder;

	while ((folder = strsep(&next, ":")) != NULL) {
		const char *path = text("%s/%s", *folder ? folder : ".", name);

		if (access(path, X_OK) == 0)
			return path;
	}
	return NULL;
}

const char *place_qemu(void)
{
	const char *root = source_tree();
	const char *path = in_path("qemu-system-aarch64");

	if (!path && root) {
		path = text("%s/build/qemu10/qemu-system-aarch64", root);
		path = exists(path) ? path : NULL;
	}
	if (!path)
		die(EXIT_CANNOT, "qemu-system-aarch64 is not installed (Debian: qemu-system-arm)");
	return path;
}

/* Run the script that makes the guest, below (build). Its messages go to standard error. */
static void make_guest(const char *root, const char *build)
{
	const char *script = text("%s/" MAKE_GUEST, root);
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		setenv("VPMU_BUILD", build, 1);
		execl(script, script, (char *)NULL);
		die(EXIT_CANNOT, "%s: %s", script, strerror(errno));
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		die(EXIT_CANNOT, "%s: %s", script, strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		die(EXIT_CANNOT, "the default guest could not be made; --kernel names another one");
}

/* An installed command keeps what it makes in the user's cache folder. */
static const char *user_cache(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (cache && *cache == '/')
		return text("%s/vpmu", cache);
	if (home && *home == '/')
		return text("%s/.cache/vpmu", home);
	die(EXIT_CANNOT, "neither XDG_CACHE_HOME nor HOME says where to keep the default guest");
}

struct default_guest place_guest(bool make)
{
	const char *root = source_tree();
	const char *build = root ? text("%s/build", root) : user_cache();

	if (make)
		make_guest(root ? root : text("%s/" VPMU_SHARE, own_folder()), build);
	return (struct default_guest){
		.kernel = text("%s/images/linux/Image", build),
		.initrd = text("%s/images/linux/initramfs.cpio.gz", build),
	};
}
