/* SPDX-License-Identifier: MIT */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define VERDICT "vpmu-verdict: "
#define FATAL "vpmu: fatal: " /* shorter than a verdict's line, see struct line */
#define GRACE_MS 2000 /* from a request to end until QEMU is killed */

/* A line of the console as far as something for us could be in it. */
struct line {
	char text[sizeof(VERDICT) + 12];
	size_t length;
	bool too_long;
};

static volatile sig_atomic_t asked_to_end;

static void note_signal(int number)
{
	(void)number;
	asked_to_end = 1;
}

/* -1 if the line is no verdict. A number above 255 does not fit an exit status: 255. */
static int read_verdict(const struct line *line, const char *from)
{
	uint64_t value;
	const size_t prefix = sizeof(VERDICT) - 1;

	if (line->too_long || strncmp(from, VERDICT, prefix) != 0 ||
	    !parse_number(from + prefix, &value))
		return -1;
	return value > 255 ? 255 : (int)value;
}

/* "[N] ": where the monitor shows several guests. returns: N, or -1. */
static int read_guest(const struct line *line)
{
	const char *t = line->text;

	return t[0] == '[' && t[1] >= '0' && t[1] < '0' + (int)VM_MAX && t[2] == ']' && t[3] == ' '
		       ? t[1] - '0' : -1;
}

static void scan_line(const struct line *line, struct console_result *result)
{
	int verdict = read_verdict(line, line->text);
	int guest = read_guest(line);

	if (verdict >= 0)
		result->verdict = verdict;
	if (guest >= 0 && read_verdict(line, line->text + 4) >= 0)
		result->verdicts[guest] = read_verdict(line, line->text + 4);
	if (!strncmp(line->text, FATAL, sizeof(FATAL) - 1))
		result->failed = true;
}

static void scan_byte(struct line *line, char c, struct console_result *result)
{
	if (c == '\n') {
		line->text[line->length] = '\0';
		scan_line(line, result);
		*line = (struct line){ .length = 0 };
	} else if (c != '\r' && line->length < sizeof(line->text) - 1) {
		line->text[line->length++] = c;
	} else if (c != '\r') {
		line->too_long = true;
	}
}

/* The bytes go out unchanged; a closed standard output does not stop the guest. */
static void pass_on(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(STDOUT_FILENO, data, size);

		if (n < 0 && errno == EAGAIN) {
			/* QEMU made the terminal that it shares with us non-blocking. */
			struct pollfd wait_for = { .fd = STDOUT_FILENO, .events = POLLOUT };

			poll(&wait_for, 1, -1);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

/* ---- Lines that are kept ---- */

#define KEPT_MAX 500u

struct keeper {
	const char *marker;
	size_t matched;        /* bytes of it that this line began with, and are not shown yet */
	bool is_other;         /* this line began otherwise */
	char line[KEPT_MAX];   /* after the marker */
	size_t length;
	char shown[4096];      /* not written yet */
	size_t pending;
};

static void flush_shown(struct keeper *k)
{
	pass_on(k->shown, k->pending);
	k->pending = 0;
}

static void show(struct keeper *k, char c)
{
	if (k->pending == sizeof(k->shown))
		flush_shown(k);
	k->shown[k->pending++] = c;
}

static void end_kept(struct keeper *k, struct args *kept)
{
	args_add(kept, text("%.*s", (int)k->length, k->line));
	k->length = 0;
	k->matched = 0;
}

/* It is no such line: what was held back is shown after all. */
static void give_up(struct keeper *k)
{
	for (size_t i = 0; i < k->matched; i++)
		show(k, k->marker[i]);
	k->matched = 0;
	k->is_other = true;
}

static void keep_byte(struct keeper *k, char c, struct args *kept)
{
	if (!k->is_other && k->marker[k->matched] == '\0') {
		if (c == '\n')
			end_kept(k, kept);
		else if (c != '\r' && k->length < sizeof(k->line))
			k->line[k->length++] = c;
		return;
	}
	if (!k->is_other && c == k->marker[k->matched]) {
		k->matched++;
		return;
	}
	give_up(k);
	show(k, c);
	k->is_other = c != '\n';
}

static void keep_or_show(struct keeper *k, const char *data, size_t size, struct args *kept)
{
	if (!k->marker) {
		pass_on(data, size);
		return;
	}
	for (size_t i = 0; i < size; i++)
		keep_byte(k, data[i], kept);
	flush_shown(k);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static pid_t start(const struct args *command, int *output)
{
	int ends[2];
	pid_t pid, parent = getpid();

	if (pipe(ends) < 0)
		die(EXIT_CANNOT, "pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die(EXIT_CANNOT, "fork: %s", strerror(errno));
	if (pid > 0) {
		close(ends[1]);
		*output = ends[0];
		return pid;
	}
	/* A guest never outlives the command, however that ends. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_CANNOT);
	signal(SIGPIPE, SIG_DFL);
	dup2(ends[1], STDOUT_FILENO);
	close(ends[0]);
	close(ends[1]);
	execvp(command->list[0], command->list);
	die(EXIT_CANNOT, "%s: %s", command->list[0], strerror(errno));
}

/*
 * How long to wait for output: until (deadline), 0 meaning none, but never longer than a
 * second, because a signal that comes just before the wait does not end it.
 */
static int wait_ms(uint64_t deadline)
{
	uint64_t now = now_ms();

	if (deadline == 0 || deadline >= now + 1000)
		return 1000;
	return deadline <= now ? 0 : (int)(deadline - now);
}

/* Asks QEMU to end once, and kills it if it does not. */
static void end_child(pid_t pid, uint64_t *deadline, bool *ending)
{
	kill(pid, *ending ? SIGKILL : SIGTERM);
	*ending = true;
	*deadline = now_ms() + GRACE_MS;
}

static void pass_through(pid_t pid, int output, uint64_t deadline, struct keeper *keeper,
			 struct console_result *result)
{
	struct line line = { .length = 0 };
	bool ending = false;
	char block[4096];

	for (;;) {
		struct pollfd wait_for = { .fd = output, .events = POLLIN };
		int ready = poll(&wait_for, 1, wait_ms(deadline));
		ssize_t n;

		if (asked_to_end && !ending) {
			result->interrupted = true;
			end_child(pid, &deadline, &ending);
		} else if (deadline != 0 && now_ms() >= deadline) {
			result->timed_out |= !ending;
			end_child(pid, &deadline, &ending);
		}
		if (ready <= 0)
			continue;
		n = read(output, block, sizeof(block));
		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		for (ssize_t i = 0; i < n; i++)
			scan_byte(&line, block[i], result);
		if (n > 0)
			keep_or_show(keeper, block, (size_t)n, &result->kept);
	}
}

static int wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_CANNOT;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = note_signal };

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* QEMU changes both, and a QEMU that had to be killed does not change them back. */
struct terminal {
	struct termios modes;
	bool is_terminal;
	int flags; /* of the open file, which the shell shares with us */
};

static void save_terminal(struct terminal *t)
{
	t->is_terminal = tcgetattr(STDIN_FILENO, &t->modes) == 0;
	t->flags = fcntl(STDIN_FILENO, F_GETFL);
}

static void restore_terminal(const struct terminal *t)
{
	if (t->is_terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &t->modes);
	if (t->flags >= 0)
		fcntl(STDIN_FILENO, F_SETFL, t->flags);
}

struct console_result console_run(const struct args *command, uint64_t timeout, const char *marker)
{
	struct console_result result = { .verdict = -1, .verdicts = { -1, -1, -1, -1 } };
	struct keeper keeper = { .marker = marker };
	struct terminal terminal;
	int output;
	pid_t pid;

	save_terminal(&terminal);
	catch_signals();
	pid = start(command, &output);
	pass_through(pid, output, timeout ? now_ms() + timeout * 1000 : 0, &keeper, &result);
	result.status = wait_status(pid);
	restore_terminal(&terminal);
	return result;
}
