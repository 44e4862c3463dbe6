/*
 * Queries, which have one answer, and dumps, which have as many as it takes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "socket.h"

/* Several pieces make a chunk that is worth a trip to JavaScript. */
#define CHUNK (128 << 10)

static int append(struct ls_bytes *bytes, const void *data, size_t length)
{
	if (bytes->room - bytes->length < length) {
		size_t room = bytes->room ? bytes->room : CHUNK + LS_PIECE;
		uint8_t *grown;

		while (room - bytes->length < length)
			room *= 2;
		grown = realloc(bytes->data, room);
		if (!grown)
			return ENOMEM;
		bytes->data = grown;
		bytes->room = room;
	}
	memcpy(bytes->data + bytes->length, data, length);
	bytes->length += length;
	return 0;
}

static void fail(struct ls_failure *failure, int error, const char *text)
{
	failure->index = 0;
	failure->error = error;
	ls_copy_text(failure->message, sizeof failure->message, text, strlen(text));
}

/* Numbers and sends a single message. */
static int send_one(struct ls_socket *s, uint8_t *data, size_t length, uint16_t flags)
{
	struct nlmsghdr *message = (struct nlmsghdr *)data;

	if (length < sizeof *message || message->nlmsg_len < sizeof *message || message->nlmsg_len > length)
		return EINVAL;
	message->nlmsg_seq = ++s->seq;
	message->nlmsg_pid = 0;
	message->nlmsg_flags |= NLM_F_REQUEST | flags;
	return ls_send(s, data, length);
}

int ls_query(struct ls_socket *s, uint8_t *data, size_t length, struct ls_bytes *answer, struct ls_failure *failure)
{
	uint8_t *buffer = malloc(LS_PIECE);
	int result = buffer ? send_one(s, data, length, NLM_F_ACK) : ENOMEM;
	int finished = result != 0;

	failure->error = 0;
	while (!finished) {
		ssize_t got = ls_receive(s->fd, buffer, LS_PIECE, 0);
		struct nlmsghdr *message;

		if (got < 0) {
			fail(failure, (int)-got, "");
			ls_drain(s, buffer);
			break;
		}
		for (size_t at = 0; !finished && (message = ls_next_message(buffer, (size_t)got, &at));) {
			char text[160];

			if (message->nlmsg_seq != s->seq)
				continue;
			if (message->nlmsg_type == NLMSG_ERROR) {
				int error = ls_error_of(message, text, sizeof text);

				if (error)
					fail(failure, error, text);
				finished = 1;
			} else {
				result = append(answer, message, NLMSG_ALIGN(message->nlmsg_len));
				finished = result != 0;
			}
		}
	}
	free(buffer);
	return result;
}

int ls_dump_start(struct ls_socket *s, uint8_t *data, size_t length)
{
	int error = send_one(s, data, length, NLM_F_DUMP);

	s->dump_seq = s->seq;
	return error;
}

int ls_dump_next(struct ls_socket *s, struct ls_bytes *chunk, int *done, int *interrupted, struct ls_failure *failure)
{
	uint8_t *buffer = malloc(LS_PIECE);
	int result = 0;

	*done = 0;
	*interrupted = 0;
	failure->error = 0;
	if (!buffer)
		return ENOMEM;
	while (result == 0 && !*done && chunk->length < CHUNK) {
		/* A dump's next piece is made when the last one is read: what has been gathered never waits for it. */
		ssize_t got = ls_receive(s->fd, buffer, LS_PIECE, chunk->length ? MSG_DONTWAIT : 0);
		struct nlmsghdr *message;

		if (got == -EAGAIN)
			break;
		if (got < 0)
			fail(failure, (int)-got, "");
		if (got == -ENOBUFS || got == -EMSGSIZE)
			continue; /* a piece is lost, but the kernel goes on until its NLMSG_DONE */
		if (got < 0) {
			*done = 1;
			break;
		}
		for (size_t at = 0; result == 0 && (message = ls_next_message(buffer, (size_t)got, &at));) {
			char text[160];

			if (message->nlmsg_seq != s->dump_seq)
				continue;
			if (message->nlmsg_flags & NLM_F_DUMP_INTR)
				*interrupted = 1;
			if (message->nlmsg_type == NLMSG_ERROR) {
				int error = ls_error_of(message, text, sizeof text);

				fail(failure, error, text);
				*done = 1;
			} else if (message->nlmsg_type == NLMSG_DONE) {
				int error = message->nlmsg_len >= NLMSG_LENGTH(sizeof error) ? *(int *)NLMSG_DATA(message) : 0;

				if (error < 0) {
					ls_extended_text(message, sizeof error, text, sizeof text);
					fail(failure, -error, text);
				}
				*done = 1;
			} else if (message->nlmsg_type >= NLMSG_MIN_TYPE) {
				result = append(chunk, message, NLMSG_ALIGN(message->nlmsg_len));
			}
		}
	}
	free(buffer);
	return result;
}
