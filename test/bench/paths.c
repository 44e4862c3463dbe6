/*
 * The baseline of the paths bench, and the crowd it is measured against: a sender and a reflector of STAMP packets, and
 * nothing else: no state of paths, no stamps of the kernel's, nothing in the answers but what the RFC wants moved.
 *
 *   paths near  DEVICE PORT COUNT INTERVAL_MS SECONDS    probes fe80::1:1 to fe80::1:<COUNT>
 *   paths crowd DEVICE PORT COUNT INTERVAL_MS SECONDS    is all of those, and each of them probes fe80::1
 *
 * INTERVAL_MS 0: reflects only. Prints packets sent, answers received, packets reflected, and nanoseconds of processor time.
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 32
#define ROOM 2048
#define PACKET 64
#define TICK_NS 2000000LL

static uint8_t bytes[BATCH][ROOM];
static struct sockaddr_in6 peers[BATCH];
static _Alignas(struct cmsghdr) uint8_t control[BATCH][CMSG_SPACE(sizeof(struct in6_pktinfo))];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];
static long sent, answered, reflected;
static unsigned int ifindex;
static int crowd, port;

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int open_bound(const char *device, int at)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)at) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 4 << 20, one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 ||
	    (crowd && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one) != 0) ||
	    bind(fd, (struct sockaddr *)&any, sizeof any) != 0) {
		perror(device);
		exit(1);
	}
	return fd;
}

static struct in6_addr address_of(uint32_t low)
{
	struct in6_addr address = { .s6_addr = { 0xfe, 0x80 } };

	for (int i = 0; i < 4; i++)
		address.s6_addr[15 - i] = (uint8_t)(low >> 8 * i);
	return address;
}

/* Prepares message `i` to receive. */
static void prepare(int i)
{
	pieces[i] = (struct iovec){ bytes[i], ROOM };
	messages[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
					       .msg_namelen = sizeof peers[i],
					       .msg_iov = &pieces[i],
					       .msg_iovlen = 1,
					       .msg_control = crowd ? control[i] : NULL,
					       .msg_controllen = crowd ? sizeof control[i] : 0 };
}

/* One of the crowd speaks for itself. */
static void speak_as(int i, struct in6_addr own)
{
	struct in6_pktinfo source = { .ipi6_addr = own, .ipi6_ifindex = ifindex };
	struct cmsghdr *head = (struct cmsghdr *)control[i];

	head->cmsg_len = CMSG_LEN(sizeof source);
	head->cmsg_level = IPPROTO_IPV6;
	head->cmsg_type = IPV6_PKTINFO;
	memcpy(CMSG_DATA(head), &source, sizeof source);
	messages[i].msg_hdr.msg_control = control[i];
	messages[i].msg_hdr.msg_controllen = sizeof control[i];
}

static void send_all(int fd, int count, long *counter)
{
	for (int done = 0; done < count;) {
		int got = sendmmsg(fd, messages + done, (unsigned int)(count - done), 0);

		done += got > 0 ? got : 1;
		*counter += got > 0 ? got : 0;
	}
}

static void take_answers(int fd)
{
	int count;

	do {
		for (int i = 0; i < BATCH; i++)
			prepare(i);
		count = recvmmsg(fd, messages, BATCH, 0, NULL);
		answered += count > 0 ? count : 0;
	} while (count == BATCH);
}

static void reflect(int fd)
{
	int count;

	do {
		for (int i = 0; i < BATCH; i++)
			prepare(i);
		count = recvmmsg(fd, messages, BATCH, 0, NULL);
		for (int i = 0; i < count; i++) {
			pieces[i].iov_len = messages[i].msg_len;
			memcpy(bytes[i] + 24, bytes[i], 14);
			if (crowd) {
				struct cmsghdr *head = CMSG_FIRSTHDR(&messages[i].msg_hdr);
				struct in6_pktinfo arrived;

				memcpy(&arrived, CMSG_DATA(head), sizeof arrived);
				speak_as(i, arrived.ipi6_addr);
			}
		}
		if (count > 0)
			send_all(fd, count, &reflected);
	} while (count == BATCH);
}

static void send_due(int fd, long first, long due, int count, uint32_t seq)
{
	int batch = 0;

	for (long n = first; n < due; n++) {
		uint32_t who = (uint32_t)(n % count);

		prepare(batch);
		memset(bytes[batch], 0, PACKET);
		bytes[batch][3] = (uint8_t)seq;
		pieces[batch].iov_len = PACKET;
		peers[batch] = (struct sockaddr_in6){ .sin6_family = AF_INET6,
						      .sin6_port = htons((uint16_t)port),
						      .sin6_scope_id = ifindex,
						      .sin6_addr = address_of(crowd ? 1 : 0x10000 + who + 1) };
		if (crowd)
			speak_as(batch, address_of(0x10000 + who + 1));
		if (++batch == BATCH) {
			send_all(fd, batch, &sent);
			batch = 0;
		}
	}
	send_all(fd, batch, &sent);
}

int main(int argc, char **argv)
{
	struct rusage used;
	long long start, end, tick;
	int sender, reflector, count, interval;
	long next = 0;

	if (argc != 7) {
		fprintf(stderr, "usage: paths near|crowd DEVICE PORT COUNT INTERVAL_MS SECONDS\n");
		return 2;
	}
	crowd = strcmp(argv[1], "crowd") == 0;
	port = atoi(argv[3]);
	count = atoi(argv[4]);
	interval = atoi(argv[5]);
	ifindex = if_nametoindex(argv[2]);
	sender = open_bound(argv[2], 0);
	reflector = open_bound(argv[2], port);
	start = tick = now_ns();
	end = start + atoll(argv[6]) * 1000000000LL;
	for (;;) {
		struct pollfd waits[] = { { reflector, POLLIN, 0 }, { sender, POLLIN, 0 } };
		long long now = now_ns();

		if (now >= end)
			break;
		if (now >= tick && interval) {
			/* Evenly spread: after t ms, t * count / interval packets. */
			long due = (long)((now - start) / 1000 * count / interval / 1000);

			send_due(sender, next, due, count, (uint32_t)(next / count));
			next = due;
			tick = now + TICK_NS;
		}
		poll(waits, 2, interval ? 2 : 100);
		if (waits[0].revents)
			reflect(reflector);
		if (waits[1].revents)
			take_answers(sender);
	}
	getrusage(RUSAGE_SELF, &used);
	printf("%ld %ld %ld %lld\n", sent, answered, reflected,
	       (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000LL +
		       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000LL);
	return 0;
}
