/*
 * Requests: many messages in few sendmsg calls.
 *
 * The kernel works through all messages of one sendmsg before it returns and queues an error for each that failed; only the
 * last one is asked for an ACK, so a batch of 64 good messages costs two system calls. Answers carry the sequence number of
 * their message, which gives the index.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "socket.h"

/* linux/netfilter/nfnetlink.h */
#define NFNL_BATCH_BEGIN 0x10
#define NFNL_BATCH_END 0x11

static int add_failure(struct ls_failures *failures, uint32_t index, int error, const char *message)
{
	struct ls_failure *failure;

	if (failures->count == failures->room) {
		size_t room = failures->room ? failures->room * 2 : 16;
		struct ls_failure *list = realloc(failures->list, room * sizeof *list);

		if (!list)
			return ENOMEM;
		failures->list = list;
		failures->room = room;
	}
	failure = &failures->list[failures->count++];
	failure->index = index;
	failure->error = error;
	ls_copy_text(failure->message, sizeof failure->message, message, strlen(message));
	return 0;
}

struct batch {
	uint32_t first_seq;
	uint32_t first_index;
	uint32_t count;
	/* The message that was asked for an ACK. */
	uint32_t ack_seq;
	int transaction;
};

/* Every message of the batch failed, or may have: what was collected for single ones is replaced. */
static int fail_batch(const struct batch *batch, int error, size_t keep, struct ls_failures *failures)
{
	failures->count = keep;
	for (uint32_t i = 0; i < batch->count; i++)
		if (add_failure(failures, batch->first_index + i, error, ""))
			return ENOMEM;
	return 0;
}

/*
 * Reads until the batch's ACK. ENOBUFS means that errors may be lost: every message then counts as failed.
 * `timed_out`: the kernel did not answer at all.
 */
static int collect(struct ls_socket *s, const struct batch *batch, uint8_t *buffer, struct ls_failures *failures,
		   int *timed_out)
{
	size_t before = failures->count;

	for (;;) {
		ssize_t got = ls_receive(s->fd, buffer, LS_PIECE, 0);
		struct nlmsghdr *message;

		if (got < 0) {
			*timed_out = got == -ETIMEDOUT;
			ls_drain(s, buffer);
			return fail_batch(batch, (int)-got, before, failures);
		}
		for (size_t at = 0; (message = ls_next_message(buffer, (size_t)got, &at));) {
			char text[160];
			uint32_t offset = message->nlmsg_seq - batch->first_seq;
			int error;

			if (message->nlmsg_type == NLMSG_OVERRUN) {
				ls_drain(s, buffer);
				return fail_batch(batch, ENOBUFS, before, failures);
			}
			if (message->nlmsg_type != NLMSG_ERROR || offset >= batch->count)
				continue; /* a late answer of an earlier batch, or an echo */
			error = ls_error_of(message, text, sizeof text);
			if (error && add_failure(failures, batch->first_index + offset, error, text))
				return ENOMEM;
			if (message->nlmsg_seq == batch->ack_seq)
				return 0;
			/* Refused as a whole (no permission, no memory, failed commit): the answer names the batch begin. */
			if (error && batch->transaction && offset == 0)
				return 0;
		}
	}
}

/* Number of messages, or -1 where they are not whole and aligned, or a transaction is not closed. */
static int64_t count_messages(uint8_t *data, size_t length, int protocol)
{
	struct nlmsghdr *message, *first = NULL, *last = NULL;
	int64_t count = 0;
	size_t at = 0;

	while ((message = ls_next_message(data, length, &at))) {
		first = first ? first : message;
		last = message;
		count++;
	}
	if (at != length)
		return -1;
	/* Without its end the kernel checks a transaction, acknowledges it and forgets it. */
	if (protocol == NETLINK_NETFILTER && first && first->nlmsg_type == NFNL_BATCH_BEGIN &&
	    last->nlmsg_type != NFNL_BATCH_END)
		return -1;
	return count;
}

int ls_request(struct ls_socket *s, uint8_t *data, size_t length, uint32_t per_batch, struct ls_failures *failures)
{
	uint8_t *buffer;
	uint32_t index = 0;
	int64_t total = count_messages(data, length, s->protocol);
	int result = 0, timed_out = 0;

	if (total < 0 || total > UINT32_MAX)
		return EINVAL;
	buffer = malloc(LS_PIECE);
	if (!buffer)
		return ENOMEM;
	for (size_t at = 0; result == 0 && at < length;) {
		struct batch batch = { .first_seq = s->seq + 1, .first_index = index };
		struct nlmsghdr *asked = NULL;
		size_t start = at;

		while (at < length && (per_batch == 0 || batch.count < per_batch)) {
			struct nlmsghdr *message = ls_next_message(data, length, &at);

			message->nlmsg_seq = ++s->seq;
			message->nlmsg_pid = 0;
			message->nlmsg_flags |= NLM_F_REQUEST; /* others are passed over in silence */
			if (s->protocol == NETLINK_NETFILTER && message->nlmsg_type == NFNL_BATCH_BEGIN)
				batch.transaction = 1;
			/* The end of a transaction is not acknowledged before Linux 6.10: ask the message before it. */
			else if (!batch.transaction || message->nlmsg_type != NFNL_BATCH_END)
				asked = message;
			batch.count++;
		}
		index += batch.count;
		if (asked == NULL)
			continue; /* an empty transaction changes nothing and is not answered */
		asked->nlmsg_flags |= NLM_F_ACK;
		batch.ack_seq = asked->nlmsg_seq;
		/* A kernel that did not answer once is not asked again, or 100,000 messages would wait for hours. */
		int error = timed_out ? ETIMEDOUT : ls_send(s, data + start, at - start);

		result = error ? fail_batch(&batch, error, failures->count, failures)
			       : collect(s, &batch, buffer, failures, &timed_out);
	}
	free(buffer);
	return result;
}
