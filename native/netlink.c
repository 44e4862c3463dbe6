/*
 * Requests, dumps and subscriptions over one netlink socket (net/netlink/af_netlink.c).
 *
 * A request is many messages in few sendmsg calls. The kernel works through all messages of one sendmsg before it returns
 * and queues an error for each that failed; only the last one is asked for an ACK, so a batch of 64 good messages costs two
 * system calls. Answers carry the sequence number of their message, which gives the index.
 */
#define _GNU_SOURCE
#include "netlink.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

/* linux/netfilter/nfnetlink.h */
#define NFNL_BATCH_BEGIN 0x10
#define NFNL_BATCH_END 0x11

/* The kernel answers a request at once; a dump chunk too. This is a stop for what never happens. */
#define TIMEOUT_SECONDS 10
#define SEND_BUFFER (64 << 20)
#define RECEIVE_BUFFER (8 << 20)
/* Dumps come in pieces of up to 32 KiB (max_recvmsg_len); several make a chunk worth a trip to JavaScript. */
#define PIECE (64 << 10)
#define CHUNK (128 << 10)

static void force_buffer(int fd, int forced, int plain, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) != 0)
		setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

static int open_bound(int protocol, struct sockaddr_nl *address)
{
	socklen_t length = sizeof *address;
	int one = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -errno;
	/* Kernels without one of these still work: errors then lack their text. */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	if (protocol == NETLINK_ROUTE)
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof one);
	memset(address, 0, sizeof *address);
	address->nl_family = AF_NETLINK;
	if (bind(fd, (struct sockaddr *)address, sizeof *address) != 0 ||
	    getsockname(fd, (struct sockaddr *)address, &length) != 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

int ls_open(struct ls_socket *s, int protocol)
{
	struct sockaddr_nl address;
	struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
	int fd = open_bound(protocol, &address);

	if (fd < 0)
		return -fd;
	force_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);
	force_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	memset(s, 0, sizeof *s);
	s->fd = fd;
	s->protocol = protocol;
	s->port_id = address.nl_pid;
	return 0;
}

void ls_close(struct ls_socket *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static int send_all(struct ls_socket *s, const uint8_t *data, size_t length)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	for (;;) {
		ssize_t sent = sendto(s->fd, data, length, 0, (struct sockaddr *)&kernel, sizeof kernel);

		if (sent == (ssize_t)length)
			return 0;
		if (sent >= 0)
			return EMSGSIZE;
		if (errno != EINTR)
			return errno;
	}
}

/* The message at `at` of `length` received bytes, or NULL at the end. `at` moves on to the next. */
static struct nlmsghdr *next_message(uint8_t *bytes, size_t length, size_t *at)
{
	struct nlmsghdr *message = (struct nlmsghdr *)(bytes + *at);

	if (*at >= length || length - *at < sizeof *message || message->nlmsg_len < sizeof *message ||
	    message->nlmsg_len > length - *at)
		return NULL;
	*at += NLMSG_ALIGN(message->nlmsg_len);
	return message;
}

/* Positive length, or negative errno. */
static ssize_t receive(int fd, uint8_t *buffer, size_t room, int flags)
{
	for (;;) {
		struct sockaddr_nl from = { 0 };
		struct iovec piece = { .iov_base = buffer, .iov_len = room };
		struct msghdr header = { .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &piece, .msg_iovlen = 1 };
		ssize_t got = recvmsg(fd, &header, flags);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN && !(flags & MSG_DONTWAIT) ? -ETIMEDOUT : -errno;
		/* Only the kernel has port id 0; anybody may send to our port. */
		if (from.nl_pid != 0)
			continue;
		if (header.msg_flags & MSG_TRUNC)
			return -EMSGSIZE;
		return got;
	}
}

/*
 * Empties the socket. After an overrun the kernel drops every answer until the queue has been empty once
 * (NETLINK_S_CONGESTED), so this must happen before the next request.
 */
static void drain(struct ls_socket *s, uint8_t *buffer)
{
	ssize_t got;

	do
		got = receive(s->fd, buffer, PIECE, MSG_DONTWAIT);
	while (got >= 0 || got == -ENOBUFS || got == -EMSGSIZE);
}

static void copy_text(char *to, size_t room, const char *from, size_t length)
{
	if (length >= room)
		length = room - 1;
	memcpy(to, from, length);
	to[length] = '\0';
}

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
	copy_text(failure->message, sizeof failure->message, message, strlen(message));
	return 0;
}

/* Text of NLMSGERR_ATTR_MSG in an NLMSG_ERROR or NLMSG_DONE of `head` fixed payload bytes. */
static void extended_text(const struct nlmsghdr *message, size_t head, char *text, size_t room)
{
	size_t at = NLMSG_HDRLEN + head;

	text[0] = '\0';
	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	while (at + sizeof(struct nlattr) <= message->nlmsg_len) {
		const struct nlattr *attribute = (const void *)((const uint8_t *)message + at);

		if (attribute->nla_len < sizeof *attribute || at + attribute->nla_len > message->nlmsg_len)
			return;
		if ((attribute->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
			copy_text(text, room, (const char *)(attribute + 1), attribute->nla_len - sizeof *attribute);
		at += NLA_ALIGN(attribute->nla_len);
	}
}

/* Errno of an NLMSG_ERROR (0: an ACK), with its text. */
static int error_of(const struct nlmsghdr *message, char *text, size_t room)
{
	const struct nlmsgerr *error = NLMSG_DATA(message);
	size_t head = sizeof *error;

	text[0] = '\0';
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof *error))
		return EBADMSG;
	if (!(message->nlmsg_flags & NLM_F_CAPPED) && error->error != 0 && error->msg.nlmsg_len > NLMSG_HDRLEN)
		head += NLMSG_ALIGN(error->msg.nlmsg_len) - NLMSG_HDRLEN;
	extended_text(message, head, text, room);
	return error->error < 0 ? -error->error : error->error;
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
		ssize_t got = receive(s->fd, buffer, PIECE, 0);
		struct nlmsghdr *message;

		if (got < 0) {
			*timed_out = got == -ETIMEDOUT;
			drain(s, buffer);
			return fail_batch(batch, (int)-got, before, failures);
		}
		for (size_t at = 0; (message = next_message(buffer, (size_t)got, &at));) {
			char text[160];
			uint32_t offset = message->nlmsg_seq - batch->first_seq;
			int error;

			if (message->nlmsg_type == NLMSG_OVERRUN) {
				drain(s, buffer);
				return fail_batch(batch, ENOBUFS, before, failures);
			}
			if (message->nlmsg_type != NLMSG_ERROR || offset >= batch->count)
				continue; /* a late answer of an earlier batch, or an echo */
			error = error_of(message, text, sizeof text);
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

	while ((message = next_message(data, length, &at))) {
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
	buffer = malloc(PIECE);
	if (!buffer)
		return ENOMEM;
	for (size_t at = 0; result == 0 && at < length;) {
		struct batch batch = { .first_seq = s->seq + 1, .first_index = index };
		struct nlmsghdr *asked = NULL;
		size_t start = at;

		while (at < length && (per_batch == 0 || batch.count < per_batch)) {
			struct nlmsghdr *message = next_message(data, length, &at);

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
		int error = timed_out ? ETIMEDOUT : send_all(s, data + start, at - start);

		result = error ? fail_batch(&batch, error, failures->count, failures)
			       : collect(s, &batch, buffer, failures, &timed_out);
	}
	free(buffer);
	return result;
}

static int append(struct ls_bytes *bytes, const void *data, size_t length)
{
	if (bytes->room - bytes->length < length) {
		size_t room = bytes->room ? bytes->room : CHUNK + PIECE;
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
	copy_text(failure->message, sizeof failure->message, text, strlen(text));
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
	return send_all(s, data, length);
}

int ls_query(struct ls_socket *s, uint8_t *data, size_t length, struct ls_bytes *answer, struct ls_failure *failure)
{
	uint8_t *buffer = malloc(PIECE);
	int result = buffer ? send_one(s, data, length, NLM_F_ACK) : ENOMEM;
	int finished = result != 0;

	failure->error = 0;
	while (!finished) {
		ssize_t got = receive(s->fd, buffer, PIECE, 0);
		struct nlmsghdr *message;

		if (got < 0) {
			fail(failure, (int)-got, "");
			drain(s, buffer);
			break;
		}
		for (size_t at = 0; !finished && (message = next_message(buffer, (size_t)got, &at));) {
			char text[160];

			if (message->nlmsg_seq != s->seq)
				continue;
			if (message->nlmsg_type == NLMSG_ERROR) {
				int error = error_of(message, text, sizeof text);

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
	uint8_t *buffer = malloc(PIECE);
	int result = 0;

	*done = 0;
	*interrupted = 0;
	failure->error = 0;
	if (!buffer)
		return ENOMEM;
	while (result == 0 && !*done && chunk->length < CHUNK) {
		/* A dump's next piece is made when the last one is read: what has been gathered never waits for it. */
		ssize_t got = receive(s->fd, buffer, PIECE, chunk->length ? MSG_DONTWAIT : 0);
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
		for (size_t at = 0; result == 0 && (message = next_message(buffer, (size_t)got, &at));) {
			char text[160];

			if (message->nlmsg_seq != s->dump_seq)
				continue;
			if (message->nlmsg_flags & NLM_F_DUMP_INTR)
				*interrupted = 1;
			if (message->nlmsg_type == NLMSG_ERROR) {
				int error = error_of(message, text, sizeof text);

				fail(failure, error, text);
				*done = 1;
			} else if (message->nlmsg_type == NLMSG_DONE) {
				int error = message->nlmsg_len >= NLMSG_LENGTH(sizeof error) ? *(int *)NLMSG_DATA(message) : 0;

				if (error < 0) {
					extended_text(message, sizeof error, text, sizeof text);
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

static int join(int fd, const struct ls_wish *wish)
{
	struct sock_fprog program = { .len = (unsigned short)(wish->filter_length / sizeof(struct sock_filter)),
				      .filter = wish->filter };

	/* The filter first: nothing unwanted gets in between. */
	if (program.len && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
		return errno;
	for (size_t at = 0; at + sizeof(uint32_t) <= wish->groups_length; at += sizeof(uint32_t))
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, (uint8_t *)wish->groups + at, sizeof(uint32_t)) != 0)
			return errno;
	return 0;
}

int ls_subscribe(const struct ls_wish *wish, int *fd)
{
	struct sockaddr_nl address;
	int error;

	*fd = open_bound(wish->protocol, &address);
	if (*fd < 0)
		return -*fd;
	force_buffer(*fd, SO_RCVBUFFORCE, SO_RCVBUF, wish->buffer_bytes);
	error = join(*fd, wish);
	if (error)
		close(*fd);
	return error;
}

size_t ls_read_events(int fd, uint8_t *bytes, size_t room, int *overflow)
{
	size_t filled = 0;

	*overflow = 0;
	/* The largest notification is a link's, of a few KiB; one that were cut off counts as lost. */
	while (room - filled >= 32768) {
		ssize_t got = receive(fd, bytes + filled, room - filled, MSG_DONTWAIT);

		if (got == -ENOBUFS || got == -EMSGSIZE)
			*overflow = 1;
		else if (got <= 0)
			break;
		else
			filled += (size_t)got;
	}
	return filled;
}

int ls_notify(const char *path, const char *state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	ssize_t sent;
	int error = 0;
	int fd;

	if (length == 0 || length >= sizeof address.sun_path)
		return EINVAL;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	if (sent < 0)
		error = errno;
	close(fd);
	return error;
}
