/*
 * Stands in for systemd: prints what arrives at a notification socket (sd_notify(3)), one line a message with the time in
 * ms before it. Ends when its stdin closes.
 *
 *   notified PATH
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int fail(const char *what) {
	fprintf(stderr, "notified: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int count, char **word) {
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	if (count != 2 || strlen(word[1]) >= sizeof at.sun_path) {
		fprintf(stderr, "usage: notified PATH\n");
		return 2;
	}
	strcpy(at.sun_path, word[1]);
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (s < 0) return fail("socket");
	unlink(word[1]);
	if (bind(s, (struct sockaddr *)&at, sizeof at)) return fail("bind");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("0 listening\n");
	struct pollfd wait[2] = {{.fd = s, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	for (;;) {
		char text[4096];
		if (poll(wait, 2, -1) < 0) return fail("poll");
		if (wait[0].revents & POLLIN) {
			ssize_t length = recv(s, text, sizeof text - 1, 0);
			if (length < 0) return fail("recv");
			text[length] = '\0';
			for (ssize_t i = 0; i < length; i++)
				if (text[i] == '\n') text[i] = ' ';
			struct timespec t;
			clock_gettime(CLOCK_REALTIME, &t);
			printf("%lld %s\n", (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000, text);
		} else if (wait[1].revents && read(0, text, sizeof text) <= 0) {
			return 0;
		}
	}
}
