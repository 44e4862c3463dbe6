/*
 * Multicast groups: what the kernel tells of changes.
 */
#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket.h"

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

	*fd = ls_open_bound(wish->protocol, &address);
	if (*fd < 0)
		return -*fd;
	ls_force_buffer(*fd, SO_RCVBUFFORCE, SO_RCVBUF, wish->buffer_bytes);
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
		ssize_t got = ls_receive(fd, bytes + filled, room - filled, MSG_DONTWAIT);

		if (got == -ENOBUFS || got == -EMSGSIZE)
			*overflow = 1;
		else if (got <= 0)
			break;
		else
			filled += (size_t)got;
	}
	return filled;
}
