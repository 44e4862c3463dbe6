/*
 * The session-reflector (RFC 8762 section 4.3), stateless: every answer carries the sequence number of its question.
 *
 * Who may ask: sockets are bound to tunnels, where cryptokey routing has proved the source. Even so nothing is answered
 * that did not come from a unicast address (link-local in IPv6) other than the one it was sent to, nor from the probe port
 * itself, since two reflectors would answer each other for ever. An answer is exactly as long as its question, and goes
 * back to where that came from, whole or not at all (probe-device.c), so that one that arrives proves its size for both
 * directions. A peer has 200 answers a second and a burst of 100, and for what is longer than an ordinary probe 64 KiB a
 * second and a burst of 256 KiB; all whom we do not probe share one such allowance per device.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "probe.h"

#define RATE 200.0
#define BURST 100.0
#define PADDING_RATE 65536.0
#define PADDING_BURST 262144.0
/* Of one device before the others have their turn. */
#define BATCHES 4

struct ls_probe_inbound {
	uint8_t bytes[LS_BATCH][LS_STAMP_LARGEST];
	struct sockaddr_storage from[LS_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[LS_BATCH][192];
	_Alignas(struct cmsghdr) uint8_t source[LS_BATCH][CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct iovec pieces[LS_BATCH];
	struct mmsghdr in[LS_BATCH];
	struct iovec answers[LS_BATCH];
	struct mmsghdr out[LS_BATCH];
};

/* What the kernel says of a packet. */
struct circumstances {
	struct timespec received;
	uint8_t ttl;
	uint8_t destination[16];
	bool known; /* the destination */
};

static double refilled(double level, double seconds, double rate, double burst)
{
	level += seconds * rate;
	return level < burst ? level : burst;
}

/* Large questions use up what is theirs, and leave the ordinary ones alone. */
static bool take_token(struct ls_probe_bucket *bucket, size_t length, int64_t now)
{
	double padding = length > LS_STAMP_PACKET ? (double)(length - LS_STAMP_PACKET) : 0;
	/* One that was never used is full. */
	double seconds = bucket->at ? (double)(now - bucket->at) / LS_SECOND : INFINITY;

	bucket->tokens = refilled(bucket->tokens, seconds, RATE, BURST);
	bucket->padding = refilled(bucket->padding, seconds, PADDING_RATE, PADDING_BURST);
	bucket->at = now;
	if (bucket->tokens < 1 || bucket->padding < padding)
		return false;
	bucket->tokens--;
	bucket->padding -= padding;
	return true;
}

static void read_control(struct msghdr *message, struct circumstances *of)
{
	memset(of, 0, sizeof *of);
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		const uint8_t *data = CMSG_DATA(control);
		int hops;

		if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&of->received, data, sizeof of->received);
		} else if ((control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT) ||
			   (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL)) {
			memcpy(&hops, data, sizeof hops);
			of->ttl = (uint8_t)hops;
		} else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
			memcpy(of->destination, data + offsetof(struct in6_pktinfo, ipi6_addr), 16);
			of->known = true;
		} else if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
			memcpy(of->destination, data + offsetof(struct in_pktinfo, ipi_addr), 4);
			of->known = true;
		}
	}
}

static bool is_unicast(uint32_t family, const uint8_t *address)
{
	if (family == 6)
		return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
	return address[0] > 0 && address[0] < 224 && address[0] != 127;
}

static bool may_ask(const struct ls_probe *probe, const struct ls_probe_device *device, const uint8_t *source,
		    uint16_t port, const struct circumstances *of)
{
	return of->known && port != 0 && port != probe->port && is_unicast(device->family, source) &&
	       is_unicast(device->family, of->destination) && memcmp(source, of->destination, 16) != 0;
}

/* The answer leaves from the address that was asked. */
static void set_source(struct msghdr *message, const struct ls_probe_device *device, const struct circumstances *of)
{
	struct cmsghdr *control = message->msg_control;

	if (device->family == 6) {
		struct in6_pktinfo source = { .ipi6_ifindex = device->ifindex };

		memcpy(&source.ipi6_addr, of->destination, 16);
		message->msg_controllen = CMSG_SPACE(sizeof source);
		*control = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof source),
					     .cmsg_level = IPPROTO_IPV6,
					     .cmsg_type = IPV6_PKTINFO };
		memcpy(CMSG_DATA(control), &source, sizeof source);
	} else {
		struct in_pktinfo source = { .ipi_ifindex = (int)device->ifindex };

		memcpy(&source.ipi_spec_dst, of->destination, 4);
		message->msg_controllen = CMSG_SPACE(sizeof source);
		*control = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof source),
					     .cmsg_level = IPPROTO_IP,
					     .cmsg_type = IP_PKTINFO };
		memcpy(CMSG_DATA(control), &source, sizeof source);
	}
}

/* Turns question `i` into an answer, or counts why it gets none. */
static bool answer(struct ls_probe *probe, struct ls_probe_device *device, struct ls_probe_inbound *space, int i,
		   const struct circumstances *of, int64_t now)
{
	struct ls_stamp_reflection how = { .error_estimate = probe->error_estimate, .word = &probe->word };
	struct msghdr *message = &space->in[i].msg_hdr;
	size_t length = space->in[i].msg_len;
	struct ls_probe_path *path;
	struct ls_word word;
	uint8_t source[16];
	uint16_t port = ls_read_address(&space->from[i], source);

	if (!may_ask(probe, device, source, port, of)) {
		ls_count(probe, LS_COUNT_REFUSED, 1);
		return false;
	}
	if (length < LS_STAMP_BASE || message->msg_flags & MSG_TRUNC) {
		ls_count(probe, LS_COUNT_MALFORMED, 1);
		return false;
	}
	path = ls_table_peer(probe, device, source);
	if (!take_token(path ? &path->bucket : &device->strangers, length, now)) {
		ls_count(probe, LS_COUNT_LIMITED, 1);
		return false;
	}
	if (path) {
		word = ls_path_own_word(probe, path, now);
		how.word = &word;
	}
	how.received = ls_stamp(&of->received);
	how.ttl = of->ttl;
	ls_stamp_reflect(space->bytes[i], length, &how);
	if (path && how.word_known)
		ls_path_word(probe, path, &how.sender_word);
	return true;
}

static size_t answer_all(struct ls_probe *probe, struct ls_probe_device *device, struct ls_probe_inbound *space, int count)
{
	int64_t now = ls_now();
	size_t answers = 0;

	for (int i = 0; i < count; i++) {
		struct msghdr *out = &space->out[answers].msg_hdr;
		struct circumstances of;

		read_control(&space->in[i].msg_hdr, &of);
		if (!answer(probe, device, space, i, &of, now))
			continue;
		space->answers[answers] = (struct iovec){ .iov_base = space->bytes[i], .iov_len = space->in[i].msg_len };
		*out = (struct msghdr){ .msg_name = &space->from[i],
					.msg_namelen = space->in[i].msg_hdr.msg_namelen,
					.msg_iov = &space->answers[answers],
					.msg_iovlen = 1,
					.msg_control = space->source[answers] };
		set_source(out, device, &of);
		answers++;
	}
	return answers;
}

static int receive(struct ls_probe_device *device, struct ls_probe_inbound *space)
{
	for (size_t i = 0; i < LS_BATCH; i++) {
		space->pieces[i] = (struct iovec){ .iov_base = space->bytes[i], .iov_len = LS_STAMP_LARGEST };
		space->in[i].msg_hdr = (struct msghdr){ .msg_name = &space->from[i],
							.msg_namelen = sizeof space->from[i],
							.msg_iov = &space->pieces[i],
							.msg_iovlen = 1,
							.msg_control = space->control[i],
							.msg_controllen = sizeof space->control[i] };
	}
	return recvmmsg(device->reflector, space->in, LS_BATCH, MSG_DONTWAIT, NULL);
}

void ls_reflect(struct ls_probe *probe, struct ls_probe_device *device)
{
	struct ls_probe_inbound *space = probe->reflections;

	if (!space)
		space = probe->reflections = malloc(sizeof *space);
	if (!space)
		abort(); /* peers would take us for dead without a word */
	for (int batch = 0; device->reflector >= 0 && batch < BATCHES; batch++) {
		int count = receive(device, space);
		size_t answers, done = 0;
		uint64_t stamp;

		if (count <= 0)
			return;
		answers = answer_all(probe, device, space, count);
		stamp = ls_stamp_now();
		for (size_t i = 0; i < answers; i++)
			ls_stamp_set_time(space->answers[i].iov_base, stamp);
		while (done < answers) {
			int sent = sendmmsg(device->reflector, space->out + done, (unsigned int)(answers - done), MSG_DONTWAIT);

			/* What cannot be sent is lost, like any packet; the next may go elsewhere. */
			done += sent > 0 ? (size_t)sent : 1;
			ls_count(probe, LS_COUNT_REFLECTED, sent > 0 ? (uint64_t)sent : 0);
		}
		if (count < LS_BATCH)
			return;
	}
}
