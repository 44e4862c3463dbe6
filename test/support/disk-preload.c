/*
 * A disk that fails, for a whole process (LD_PRELOAD). While the file LINKSPAN_TEST_DISK names exists and is not empty, calls
 * of the kinds that it lists fail, where they are about a file below LINKSPAN_TEST_DISK_BELOW: `w` to write, `s` to make
 * durable, `r` to read; behind them the errno, `ws 5`. Every other write does half of what was asked, as a disk does that
 * fills up, and the next one fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Past the functions below. */
static size_t read_text(const char *file, char *text, size_t size)
{
	long fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC), got;

	if (fd < 0)
		return 0;
	got = syscall(SYS_read, fd, text, size - 1);
	syscall(SYS_close, fd);
	text[got > 0 ? got : 0] = 0;
	return got > 0 ? (size_t)got : 0;
}

static bool lies_below(int fd, const char *below)
{
	char link[64], path[4096];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return false;
	path[length] = 0;
	return strncmp(path, below, strlen(below)) == 0;
}

/* The errno with which a call of this kind fails; 0: it does not. */
static int fault(int fd, char kind)
{
	const char *file = getenv("LINKSPAN_TEST_DISK"), *below = getenv("LINKSPAN_TEST_DISK_BELOW");
	int before = errno, number = 0;
	char text[64], kinds[16] = "";

	if (file && below && fd > 2 && read_text(file, text, sizeof text) > 0 &&
	    sscanf(text, "%15s %d", kinds, &number) == 2 && (!strchr(kinds, kind) || !lies_below(fd, below)))
		number = 0;
	errno = before;
	return number;
}

/* Bytes to be written; -1: none, with errno. */
static ssize_t room(int fd, size_t length)
{
	static unsigned int turn;
	int number = fault(fd, 'w');

	if (number == 0)
		return (ssize_t)length;
	if (length > 1 && __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % 2 == 0)
		return (ssize_t)(length / 2);
	errno = number;
	return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t length)
{
	ssize_t some = room(fd, length);

	return some < 0 ? -1 : REAL(write)(fd, bytes, (size_t)some);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
	ssize_t some = room(fd, length);

	return some < 0 ? -1 : REAL(pwrite64)(fd, bytes, (size_t)some, at);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
	errno = fault(fd, 'w');
	return errno ? -1 : REAL(writev)(fd, pieces, count);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at)
{
	errno = fault(fd, 'w');
	return errno ? -1 : REAL(pwritev64)(fd, pieces, count, at);
}

ssize_t read(int fd, void *bytes, size_t length)
{
	int number = fault(fd, 'r');

	if (number == 0)
		return REAL(read)(fd, bytes, length);
	errno = number;
	return -1;
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at)
{
	int number = fault(fd, 'r');

	if (number == 0)
		return REAL(pread64)(fd, bytes, length, at);
	errno = number;
	return -1;
}

static int durable(int fd, int (*real)(int))
{
	int number = fault(fd, 's');

	if (number == 0)
		return real(fd);
	errno = number;
	return -1;
}

int fsync(int fd)
{
	return durable(fd, REAL(fsync));
}

int fdatasync(int fd)
{
	return durable(fd, REAL(fdatasync));
}
