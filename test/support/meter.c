/*
 * Counts lost packets. `meter send` numbers its packets and keeps a steady pace; `meter receive` marks the numbers it sees.
 * Both end when their stdin closes and print one line of JSON. C, since a garbage collection must not look like loss.
 *
 *   meter receive PORT [ADDRESS]
 *   meter send ADDRESS PORT PACKETS_PER_SECOND FLOWS [BYTES]     flows: source ports, taken in turn
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

#define NUMBERS (1u << 24)

struct packet {
	uint64_t run; /* tells packets of another meter apart */
	uint64_t number;
};

static double now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void fail(const char *what) {
	fprintf(stderr, "meter: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct addrinfo *resolve(const char *address, const char *port, int passive) {
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found;
	if (passive) hints.ai_flags |= AI_PASSIVE;
	int error = getaddrinfo(address, port, &hints, &found);
	if (error) {
		fprintf(stderr, "meter: %s: %s\n", address, gai_strerror(error));
		exit(1);
	}
	return found;
}

/* Has stdin been closed? Waits up to `ms`. */
static int over(int ms) {
	struct pollfd in = {.fd = 0, .events = POLLIN};
	char scrap[64];
	return poll(&in, 1, ms) > 0 && read(0, scrap, sizeof scrap) <= 0;
}

static int receive(const char *port, const char *address) {
	struct addrinfo *at = resolve(address, port, 1);
	int s = socket(at->ai_family, SOCK_DGRAM, 0);
	int size = 16 << 20, off = 0;
	if (s < 0) fail("socket");
	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) fail("SO_RCVBUFFORCE");
	if (at->ai_family == AF_INET6) setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(s, at->ai_addr, at->ai_addrlen)) fail("bind");
	uint8_t *seen = calloc(NUMBERS / 8, 1);
	uint64_t run = 0, received = 0, duplicates = 0, late = 0, highest = 0;
	double last = 0, gap = 0, gap_at = 0, first = 0;
	printf("ready\n");
	fflush(stdout);
	struct pollfd wait[2] = {{.fd = s, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	for (;;) {
		if (poll(wait, 2, -1) < 0) fail("poll");
		if (wait[0].revents & POLLIN) {
			struct packet packet;
			ssize_t length = recv(s, &packet, sizeof packet, MSG_DONTWAIT);
			if (length < (ssize_t)sizeof packet) continue;
			if (run == 0) run = packet.run;
			if (packet.run != run || packet.number >= NUMBERS) continue;
			double time = now_ms();
			if (received == 0) first = time;
			else if (time - last > gap) gap = time - last, gap_at = last - first;
			last = time;
			uint8_t bit = (uint8_t)(1u << (packet.number & 7));
			if (seen[packet.number >> 3] & bit) duplicates++;
			else received++;
			seen[packet.number >> 3] |= bit;
			if (packet.number < highest) late++;
			else highest = packet.number;
		} else if (wait[1].revents && over(0)) {
			break;
		}
	}
	printf("{\"received\":%llu,\"duplicates\":%llu,\"late\":%llu,\"longestGapMs\":%.1f,\"gapAtMs\":%.1f}\n",
	       (unsigned long long)received, (unsigned long long)duplicates, (unsigned long long)late, gap, gap_at);
	return 0;
}

static int transmit(const char *address, const char *port, double rate, int flows, size_t bytes) {
	struct addrinfo *to = resolve(address, port, 0);
	int *sockets = calloc((size_t)flows, sizeof *sockets);
	char *buffer = calloc(1, bytes < sizeof(struct packet) ? sizeof(struct packet) : bytes);
	struct packet *packet = (struct packet *)buffer;
	uint64_t refused = 0;
	if (bytes < sizeof *packet) bytes = sizeof *packet;
	for (int i = 0; i < flows; i++) {
		sockets[i] = socket(to->ai_family, SOCK_DGRAM, 0);
		if (sockets[i] < 0) fail("socket");
	}
	struct timespec clock;
	clock_gettime(CLOCK_REALTIME, &clock);
	packet->run = ((uint64_t)clock.tv_sec << 30 | (uint64_t)clock.tv_nsec) | 1;
	double start = now_ms();
	while (packet->number < NUMBERS) {
		double due = start + (double)packet->number * 1e3 / rate;
		double wait = due - now_ms();
		if (wait > 0.05) {
			/* A steady pace: sleep to the next packet, looking at stdin now and then. */
			struct timespec t = {.tv_sec = (time_t)(wait / 1e3), .tv_nsec = (long)((wait - 1e3 * (double)(time_t)(wait / 1e3)) * 1e6)};
			nanosleep(&t, NULL);
		}
		if (packet->number % 16 == 0 && over(0)) break;
		/* A packet that this host's kernel will not send is a lost one. */
		if (sendto(sockets[packet->number % (uint64_t)flows], buffer, bytes, 0, to->ai_addr, to->ai_addrlen) < 0) refused++;
		packet->number++;
	}
	printf("{\"sent\":%llu,\"refused\":%llu,\"seconds\":%.2f}\n", (unsigned long long)packet->number,
	       (unsigned long long)refused, (now_ms() - start) / 1e3);
	return 0;
}

int main(int count, char **word) {
	if (count >= 3 && strcmp(word[1], "receive") == 0) return receive(word[2], count > 3 ? word[3] : "::");
	if (count >= 6 && strcmp(word[1], "send") == 0 && atof(word[4]) > 0 && atoi(word[5]) > 0)
		return transmit(word[2], word[3], atof(word[4]), atoi(word[5]), count > 6 ? (size_t)atol(word[6]) : 64);
	fprintf(stderr, "usage: meter receive PORT [ADDRESS] | meter send ADDRESS PORT RATE FLOWS [BYTES]\n");
	return 2;
}
