/*
 * The baseline of the routes bench: sends a file of ready-made netlink messages, BATCH of them a sendmsg with one ACK each,
 * and nothing else. Prints nanoseconds and refused messages. The file holds what the driver itself sends, so that both
 * move the same bytes.
 *
 *   routes FILE BATCH
 */
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int wait_for_ack(int fd, unsigned int seq, long *refused)
{
	static char answer[65536];

	for (;;) {
		ssize_t got = recv(fd, answer, sizeof answer, 0);
		struct nlmsghdr *message = (struct nlmsghdr *)answer;

		if (got < 0)
			return -1;
		for (size_t left = (size_t)got; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			if (message->nlmsg_type != NLMSG_ERROR)
				continue;
			if (((struct nlmsgerr *)NLMSG_DATA(message))->error)
				++*refused;
			if (message->nlmsg_seq == seq)
				return 0;
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timespec from, to;
	int one = 1, fd, batch;
	long size, refused = 0;
	unsigned int seq = 0;
	char *data;
	FILE *file;

	if (argc != 3 || (batch = atoi(argv[2])) < 1) {
		fprintf(stderr, "usage: routes FILE BATCH\n");
		return 2;
	}
	file = fopen(argv[1], "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
		perror(argv[1]);
		return 1;
	}
	rewind(file);
	data = malloc((size_t)size + 1);
	if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) {
		perror(argv[1]);
		return 1;
	}
	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (fd < 0 || setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one) != 0) {
		perror("netlink");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long at = 0; at < size;) {
		struct nlmsghdr *message = NULL;
		long start = at;

		for (int i = 0; i < batch && at < size; i++) {
			message = (struct nlmsghdr *)(data + at);
			message->nlmsg_seq = ++seq;
			at += NLMSG_ALIGN(message->nlmsg_len);
		}
		message->nlmsg_flags |= NLM_F_ACK;
		if (sendto(fd, data + start, (size_t)(at - start), 0, (struct sockaddr *)&kernel, sizeof kernel) < 0 ||
		    wait_for_ack(fd, seq, &refused) != 0) {
			perror("netlink");
			return 1;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%lld %ld\n", (to.tv_sec - from.tv_sec) * 1000000000LL + (to.tv_nsec - from.tv_nsec), refused);
	return 0;
}
