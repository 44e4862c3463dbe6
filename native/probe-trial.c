/*
 * Trials: does a packet of this size pass? What small probes cannot see is a path that swallows large packets: a smaller MTU
 * on the way whose ICMP is filtered, fragments that are dropped. So JavaScript (agent/probe/mtu.ts) orders a trial of one size
 * at a time, and it is asked with STAMP packets that are padded to it (RFC 8899 section 4.1, packetization-layer probes).
 *
 * An answer is as long as its question and leaves whole, too, so one that comes proves the size in both directions. That is
 * what routes need: what a route's MTU makes of TCP's MSS binds both ends of a connection.
 *
 * Packets of a trial are a session of their own (SSID), so that they disturb neither the sequence of the ordinary ones nor
 * their figures; whether a path is up is no business of theirs. A trial is lost only while the path is up and most ordinary
 * probes of the same time were answered: else a path that goes down, or an agent that falls silent, would look like a small
 * MTU. Packets are as far apart as the ordinary ones at least, so that there are some to compare with.
 */
#include <errno.h>
#include <string.h>

#include "probe.h"

/* Between two packets of a trial, at least. */
#define SPACING (300 * LS_MILLISECOND)
/* Ordinary probes that must have been answered meanwhile. */
#define WITNESSES 2

static size_t headers(const struct ls_probe_path *path)
{
	return path->wish.family == 6 ? 48 : 28;
}

static int64_t spacing(const struct ls_probe_path *path)
{
	int64_t usual = path->smoothed + path->smoothed / 2, interval = path->wish.interval_ms * LS_MILLISECOND;

	if (usual < interval)
		usual = interval;
	return usual > SPACING ? usual : SPACING;
}

static void decide(struct ls_probe *probe, struct ls_probe_path *path, enum ls_probe_verdict verdict)
{
	path->trial.next = INT64_MAX;
	path->trial.decided = path->trial.number;
	path->trial.verdict = verdict;
	ls_path_mark(probe, path);
}

static void send_one(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	static _Thread_local uint8_t packet[LS_STAMP_LARGEST];
	struct ls_probe_trial *trial = &path->trial;
	struct ls_word word = ls_path_own_word(probe, path, now);
	struct sockaddr_storage to;
	socklen_t length = ls_path_address(path, probe->port, &to);
	uint64_t stamp = (ls_stamp_now() & ~0xfffULL) | (ls_random(probe) >> 52);

	/* Never 0, as the path's own is odd. */
	ls_stamp_write(packet, trial->first + trial->sent, stamp, probe->error_estimate, path->ssid ^ 0x100, &word);
	ls_stamp_pad(packet, trial->payload);
	trial->stamps[trial->sent++] = stamp;
	trial->next = now + spacing(path);
	if (path->device->ifindex && sendto(path->device->sender, packet, trial->payload, MSG_DONTWAIT,
					    (struct sockaddr *)&to, length) == (ssize_t)trial->payload)
		ls_count(probe, LS_COUNT_TRIES, 1);
	else
		decide(probe, path, path->device->ifindex && errno == EMSGSIZE ? LS_VERDICT_TOO_BIG : LS_VERDICT_VOID);
}

void ls_trial_step(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	struct ls_probe_trial *trial = &path->trial;

	if (trial->next > now)
		return;
	if (path->state != LS_UP || path->changes != trial->changes)
		decide(probe, path, LS_VERDICT_VOID);
	else if (trial->sent < trial->tries)
		send_one(probe, path, now);
	else if (trial->heard >= WITNESSES && trial->heard > trial->missed)
		decide(probe, path, LS_VERDICT_LOST);
	else
		decide(probe, path, LS_VERDICT_VOID);
}

bool ls_trial_answered(struct ls_probe *probe, struct ls_probe_path *path, const struct ls_stamp_answer *answer,
		       size_t length)
{
	struct ls_probe_trial *trial = &path->trial;
	uint32_t which = answer->seq - trial->first;

	if (which >= trial->sent || trial->stamps[which] != answer->stamp)
		return false;
	/* A reflector that cuts its answers short proves nothing. */
	if (trial->next != INT64_MAX && length == trial->payload) {
		decide(probe, path, LS_VERDICT_ANSWERED);
		ls_path_set_due(path);
	}
	return true;
}

static void begin(struct ls_probe *probe, struct ls_probe_path *path, const struct ls_probe_trial_order *order,
		  int64_t now)
{
	struct ls_probe_trial *trial = &path->trial;
	bool sound = order->size >= headers(path) + LS_STAMP_PACKET + 4 && order->size <= headers(path) + LS_STAMP_LARGEST;

	trial->number = order->number;
	trial->payload = order->size - headers(path);
	trial->tries = order->tries < LS_TRIES ? order->tries : LS_TRIES;
	trial->first += trial->sent;
	trial->sent = 0;
	trial->heard = trial->missed = 0;
	trial->changes = path->changes;
	trial->next = now;
	if (!sound || trial->tries == 0)
		decide(probe, path, LS_VERDICT_VOID);
	ls_path_set_due(path);
	ls_heap_move(&probe->heap, path);
}

void ls_trial_order(struct ls_probe *probe, const struct ls_probe_trial_order *orders, size_t count, int64_t now)
{
	for (size_t i = 0; i < count; i++) {
		struct ls_probe_path *path = ls_table_id(&probe->table, orders[i].id);

		if (path && path->wish.epoch == orders[i].epoch)
			begin(probe, path, &orders[i], now);
	}
}
