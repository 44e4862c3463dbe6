/*
 * Probes and echo requests. What falls due in one tick on one device leaves with one sendmmsg.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "probe.h"

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
	uint32_t seq = ls_path_sent(probe, &path->echo, now, 0);
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
	path->due = now + path->wish.retry_ms * LS_MILLISECOND;
	ls_heap_move(&probe->heap, path);
	if (ls_path_wants_echo(path))
		send_echo(probe, path, now);
	if (device->batched == LS_BATCH)
		ls_send_flush(probe, device);
}

/* An unsent probe counts as sent and will count as unanswered: our own device fails the path like any other part of it. */
static void send_all(struct ls_probe *probe, struct ls_probe_device *device, struct mmsghdr *messages, size_t count)
{
	size_t done = 0;

	while (done < count) {
		int sent = device->ifindex ? sendmmsg(device->sender, messages + done, (unsigned int)(count - done), MSG_DONTWAIT)
					   : -1;

		for (int i = 0; i < sent; i++)
			device->batch[done++]->unsent = false;
		if (sent > 0) {
			ls_count(probe, LS_COUNT_SENT, (uint64_t)sent);
			continue;
		}
		if (device->ifindex && errno == EINTR)
			continue;
		device->batch[done++]->unsent = true;
		ls_count(probe, LS_COUNT_UNSENT, 1);
	}
}

void ls_send_flush(struct ls_probe *probe, struct ls_probe_device *device)
{
	static _Thread_local uint8_t packets[LS_BATCH][LS_STAMP_PACKET];
	static _Thread_local struct sockaddr_storage addresses[LS_BATCH];
	struct iovec pieces[LS_BATCH];
	struct mmsghdr messages[LS_BATCH];
	uint64_t unsent = probe->counters[LS_COUNT_UNSENT];
	size_t count = device->batched;
	int64_t now = ls_now();
	uint64_t stamp = ls_stamp_now();

	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct ls_probe_path *path = device->batch[i];
		/* The last microsecond is random: an answer must name it, so none can be made up or come from an earlier run. */
		uint64_t own = (stamp & ~0xfffULL) | (ls_random(probe) >> 52);
		uint32_t seq = ls_path_sent(probe, &path->probe, now, own);

		path->sample.sent++;
		ls_stamp_write(packets[i], seq, own, probe->error_estimate, path->ssid, &probe->word);
		pieces[i] = (struct iovec){ .iov_base = packets[i], .iov_len = LS_STAMP_PACKET };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &addresses[i],
						       .msg_namelen = ls_path_address(path, probe->port, &addresses[i]),
						       .msg_iov = &pieces[i],
						       .msg_iovlen = 1 };
		ls_path_after_send(probe, path, now);
		ls_heap_move(&probe->heap, path);
	}
	send_all(probe, device, messages, count);
	device->batched = 0;
	if (probe->counters[LS_COUNT_UNSENT] != unsent)
		ls_device_check(probe, device);
}
