/*
 * What comes back: answers of reflectors and of far kernels. Looked at once a tick, before anything counts as unanswered;
 * the kernel's stamps say when each one came.
 */
#define _GNU_SOURCE
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "probe.h"

#define ROOM 256
/* Of one socket in one tick: whoever floods it does not keep the others waiting. */
#define BATCHES 16
#define EVENTS 64

struct arrival {
	uint8_t bytes[ROOM];
	struct sockaddr_storage from;
	_Alignas(struct cmsghdr) uint8_t control[128];
};

uint16_t ls_read_address(const struct sockaddr_storage *from, uint8_t *address)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *four = (const struct sockaddr_in *)from;

	memset(address, 0, 16);
	if (from->ss_family == AF_INET6) {
		memcpy(address, &six->sin6_addr, 16);
		return ntohs(six->sin6_port);
	}
	memcpy(address, &four->sin_addr, 4);
	return ntohs(four->sin_port);
}

static int64_t moment_of(struct msghdr *message, const struct timespec *real, int64_t now)
{
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		struct timespec stamp;

		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&stamp, CMSG_DATA(control), sizeof stamp);
		return ls_moment_of(&stamp, real, now);
	}
	return now;
}

static bool take_probe(struct ls_probe *probe, struct ls_probe_path *path, const uint8_t *bytes, size_t length, int64_t at)
{
	struct ls_stamp_answer answer;

	if (!ls_stamp_read_answer(bytes, length < ROOM ? length : ROOM, &answer))
		return false;
	if (!ls_path_answered(probe, path, answer.seq, answer.stamp, at))
		return ls_trial_answered(probe, path, &answer, length);
	if (answer.word_known)
		ls_path_word(probe, path, &answer.word);
	return true;
}

/* An ICMP header of 8 bytes, then what probe-send.c put there. A raw IPv4 socket gives the IP header too. */
static bool take_echo(struct ls_probe *probe, struct ls_probe_path *path, const uint8_t *bytes, size_t length, int64_t at)
{
	bool six = path->wish.family == 6;
	size_t head = !six && path->device->echo_raw ? (size_t)(bytes[0] & 15) * 4 : 0;
	uint64_t secret;
	uint32_t seq;

	if (length < head + 20 || bytes[head] != (six ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY))
		return false;
	memcpy(&secret, bytes + head + 8, sizeof secret);
	memcpy(&seq, bytes + head + 16, sizeof seq);
	return secret == probe->secret && ls_path_echoed(probe, path, seq, at);
}

static void take_from(struct ls_probe *probe, struct ls_probe_device *device, bool echo)
{
	static _Thread_local struct arrival arrivals[LS_BATCH];
	struct iovec pieces[LS_BATCH];
	struct mmsghdr messages[LS_BATCH];
	int fd = echo ? device->echo : device->sender;

	for (int batch = 0; fd >= 0 && batch < BATCHES; batch++) {
		struct timespec real;
		int64_t now;
		int count;

		for (size_t i = 0; i < LS_BATCH; i++) {
			pieces[i] = (struct iovec){ .iov_base = arrivals[i].bytes, .iov_len = ROOM };
			messages[i].msg_hdr = (struct msghdr){ .msg_name = &arrivals[i].from,
							       .msg_namelen = sizeof arrivals[i].from,
							       .msg_iov = &pieces[i],
							       .msg_iovlen = 1,
							       .msg_control = arrivals[i].control,
							       .msg_controllen = sizeof arrivals[i].control };
		}
		/* Of a long one its length, and as much of it as we read. */
		count = recvmmsg(fd, messages, LS_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
		if (count <= 0)
			return;
		clock_gettime(CLOCK_REALTIME, &real);
		now = ls_now();
		for (int i = 0; i < count; i++) {
			int64_t at = moment_of(&messages[i].msg_hdr, &real, now);
			uint8_t address[16];
			uint16_t port = ls_read_address(&arrivals[i].from, address);
			struct ls_probe_path *path = ls_table_peer(probe, device, address);
			size_t length = messages[i].msg_len;
			bool known = path && (echo ? take_echo(probe, path, arrivals[i].bytes, length, at)
						   : port == probe->port &&
							     take_probe(probe, path, arrivals[i].bytes, length, at));

			if (known)
				ls_heap_move(&probe->heap, path);
			else
				ls_count(probe, LS_COUNT_UNMATCHED, 1);
		}
		if (count < LS_BATCH)
			return;
	}
}

void ls_take_answers(struct ls_probe *probe)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(probe->answers, events, EVENTS, 0);

	for (int i = 0; i < count; i++) {
		uintptr_t bits = (uintptr_t)events[i].data.u64;

		take_from(probe, (struct ls_probe_device *)(bits & ~(uintptr_t)1), bits & 1);
	}
}
