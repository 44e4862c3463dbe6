/*
 * One netlink socket (net/netlink/af_netlink.c): open, send, receive, and what the kernel's errors say.
 */
#include "socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

/* The kernel answers a request at once; a dump's piece too. This is a stop for what never happens. */
#define TIMEOUT_SECONDS 10
#define SEND_BUFFER (64 << 20)
#define RECEIVE_BUFFER (8 << 20)

void ls_force_buffer(int fd, int forced, int plain, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) != 0)
		setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

int ls_open_bound(int protocol, struct sockaddr_nl *address)
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
	int fd = ls_open_bound(protocol, &address);

	if (fd < 0)
		return -fd;
	ls_force_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);
	ls_force_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
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

int ls_send(struct ls_socket *s, const uint8_t *data, size_t length)
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
struct nlmsghdr *ls_next_message(uint8_t *bytes, size_t length, size_t *at)
{
	struct nlmsghdr *message = (struct nlmsghdr *)(bytes + *at);

	if (*at >= length || length - *at < sizeof *message || message->nlmsg_len < sizeof *message ||
	    message->nlmsg_len > length - *at)
		return NULL;
	*at += NLMSG_ALIGN(message->nlmsg_len);
	return message;
}

/* Positive length, or negative errno. */
ssize_t ls_receive(int fd, uint8_t *buffer, size_t room, int flags)
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
void ls_drain(struct ls_socket *s, uint8_t *buffer)
{
	ssize_t got;

	do
		got = ls_receive(s->fd, buffer, LS_PIECE, MSG_DONTWAIT);
	while (got >= 0 || got == -ENOBUFS || got == -EMSGSIZE);
}

void ls_copy_text(char *to, size_t room, const char *from, size_t length)
{
	if (length >= room)
		length = room - 1;
	memcpy(to, from, length);
	to[length] = '\0';
}

/* Text of NLMSGERR_ATTR_MSG in an NLMSG_ERROR or NLMSG_DONE of `head` fixed payload bytes. */
void ls_extended_text(const struct nlmsghdr *message, size_t head, char *text, size_t room)
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
			ls_copy_text(text, room, (const char *)(attribute + 1), attribute->nla_len - sizeof *attribute);
		at += NLA_ALIGN(attribute->nla_len);
	}
}

/* Errno of an NLMSG_ERROR (0: an ACK), with its text. */
int ls_error_of(const struct nlmsghdr *message, char *text, size_t room)
{
	const struct nlmsgerr *error = NLMSG_DATA(message);
	size_t head = sizeof *error;

	text[0] = '\0';
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof *error))
		return EBADMSG;
	if (!(message->nlmsg_flags & NLM_F_CAPPED) && error->error != 0 && error->msg.nlmsg_len > NLMSG_HDRLEN)
		head += NLMSG_ALIGN(error->msg.nlmsg_len) - NLMSG_HDRLEN;
	ls_extended_text(message, head, text, room);
	return error->error < 0 ? -error->error : error->error;
}
