/*
 * Probes and echo requests. What falls due in one tick on one device leaves with a few calls: a packet takes the kernel 4 to
 * 10 microseconds, a call none to speak of, and the last packet of a call must not be taken to have left with the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "probe.h"

/* Probes that leave with one call. */
#define SALVO 4

struct echo_request {
	uint8_t type;
	uint8_t code;
	uint16_t checksum;
	uint16_t id;
	uint16_t seq;
	/* What a kernel returns unseen: whose it is, and which. */
	uint64_t secret;
	uint32_t number;
	uint32_t zero;
};

socklen_t ls_path_address(const struct ls_probe_path *path, uint16_t port, struct sockaddr_storage *to)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
	struct sockaddr_in *four = (struct sockaddr_in *)to;

	memset(to, 0, sizeof *six);
	if (path->wish.family == 6) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		six->sin6_scope_id = path->device->ifindex;
		memcpy(&six->sin6_addr, path->wish.address, 16);
		return sizeof *six;
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(port);
	memcpy(&four->sin_addr, path->wish.address, 4);
	return sizeof *four;
}

/* RFC 1071. The kernel computes ICMPv6's. */
static uint16_t checksum(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void send_echo(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	struct sockaddr_storage to;
	socklen_t length = ls_path_address(path, 0, &to);
	uint32_t seq = ls_path_sent(&path->echo, now, 0);
	struct echo_request request = { .type = path->wish.family == 6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO,
					.id = htons(path->ssid),
					.seq = htons((uint16_t)seq),
					.secret = probe->secret,
					.number = seq };

	if (path->wish.family == 4)
		request.checksum = checksum(&request, sizeof request);
	if (path->device->echo >= 0 && sendto(path->device->echo, &request, sizeof request, MSG_DONTWAIT,
					      (struct sockaddr *)&to, length) == (ssize_t)sizeof request)
		ls_count(probe, LS_COUNT_ECHO_SENT, 1);
	else
		ls_count(probe, LS_COUNT_ECHO_UNSENT, 1);
}

void ls_send_path(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	struct ls_probe_device *device = path->device;

	device->batch[device->batched++] = path;
	/* Not now again; the flush, at the end of this tick, says when. */
	path->last_send = now;
	path->due = path->next_send = now + path->wish.retry_ms * LS_MILLISECOND;
	ls_heap_move(&probe->heap, path);
	if (ls_path_wants_echo(path))
		send_echo(probe, path, now);
	if (device->batched == LS_BATCH)
		ls_send_flush(probe, device, now);
}

/* An unsent probe counts as sent and will count as unanswered: our own device fails the path like any other part of it. */
static void send_all(struct ls_probe *probe, struct ls_probe_device *device, struct ls_probe_path **paths,
		     struct mmsghdr *messages, size_t count)
{
	size_t done = 0;

	while (done < count) {
		int sent = device->ifindex ? sendmmsg(device->sender, messages + done, (unsigned int)(count - done), MSG_DONTWAIT)
					   : -1;

		for (int i = 0; i < sent; i++)
			paths[done++]->unsent = false;
		if (sent > 0) {
			ls_count(probe, LS_COUNT_SENT, (uint64_t)sent);
			continue;
		}
		if (device->ifindex && errno == EINTR)
			continue;
		paths[done++]->unsent = true;
		ls_count(probe, LS_COUNT_UNSENT, 1);
	}
}

/* At most SALVO, since they are all said to leave at the moment of the call. */
static void send_some(struct ls_probe *probe, struct ls_probe_device *device, struct ls_probe_path **paths, size_t count,
		      int64_t tick)
{
	uint8_t packets[SALVO][LS_STAMP_PACKET];
	struct sockaddr_storage addresses[SALVO];
	struct iovec pieces[SALVO];
	struct mmsghdr messages[SALVO];
	int64_t at = ls_now();
	uint64_t stamp = ls_stamp_now();

	for (size_t i = 0; i < count; i++) {
		struct ls_probe_path *path = paths[i];
		/* The last microsecond is random: an answer must name it, so none can be made up or come from an earlier run. */
		uint64_t own = (stamp & ~0xfffULL) | (ls_random(probe) >> 52);
		uint32_t seq = ls_path_sent(&path->probe, at, own);
		struct ls_word word = ls_path_own_word(probe, path, at);

		path->sample.sent++;
		ls_stamp_write(packets[i], seq, own, probe->error_estimate, path->ssid, &word);
		pieces[i] = (struct iovec){ .iov_base = packets[i], .iov_len = LS_STAMP_PACKET };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &addresses[i],
						       .msg_namelen = ls_path_address(path, probe->port, &addresses[i]),
						       .msg_iov = &pieces[i],
						       .msg_iovlen = 1 };
		ls_path_after_send(probe, path, tick);
		ls_heap_move(&probe->heap, path);
	}
	send_all(probe, device, paths, messages, count);
}

void ls_send_flush(struct ls_probe *probe, struct ls_probe_device *device, int64_t tick)
{
	uint64_t unsent = probe->counters[LS_COUNT_UNSENT];

	for (size_t done = 0; done < device->batched; done += SALVO) {
		size_t left = device->batched - done;

		send_some(probe, device, device->batch + done, left < SALVO ? left : SALVO, tick);
	}
	device->batched = 0;
	if (probe->counters[LS_COUNT_UNSENT] != unsent)
		ls_device_check(probe, device);
}
