/*
 * Netlink sockets without JavaScript: what addon.c wraps. Bytes in, errnos out; every message is encoded and decoded in
 * TypeScript. Nothing in here knows of Node.
 */
#ifndef LINKSPAN_NETLINK_H
#define LINKSPAN_NETLINK_H

#include <stddef.h>
#include <stdint.h>

struct ls_socket {
	int fd;
	int protocol;
	uint32_t port_id;
	uint32_t seq;
	/* Number of the dump under way. */
	uint32_t dump_seq;
};

struct ls_failure {
	uint32_t index;
	int error; /* positive errno */
	char message[160];
};

struct ls_failures {
	struct ls_failure *list;
	size_t count;
	size_t room;
};

struct ls_bytes {
	uint8_t *data;
	size_t length;
	size_t room;
};

/* All return 0 or a positive errno. */
int ls_open(struct ls_socket *socket, int protocol);
void ls_close(struct ls_socket *socket);

/*
 * Sends `length` bytes of whole messages, `batch` a sendmsg (0: all in one), and collects the messages the kernel refused.
 * Numbers the messages and sets NLM_F_ACK on the last of each sendmsg in place.
 */
int ls_request(struct ls_socket *socket, uint8_t *messages, size_t length, uint32_t batch, struct ls_failures *failures);

/* One message and its answer, up to its ACK. A refusal is in `failure` (error 0: none). */
int ls_query(struct ls_socket *socket, uint8_t *message, size_t length, struct ls_bytes *answer, struct ls_failure *failure);

/* Asks for a dump; then ls_dump_next until `done`. */
int ls_dump_start(struct ls_socket *socket, uint8_t *message, size_t length);
int ls_dump_next(struct ls_socket *socket, struct ls_bytes *chunk, int *done, int *interrupted, struct ls_failure *failure);

/* Multicast groups to join (u32 each) and a classic BPF program (struct sock_filter each) that drops what is unwanted. */
struct ls_wish {
	int32_t protocol;
	int32_t buffer_bytes;
	void *groups;
	size_t groups_length;
	void *filter;
	size_t filter_length;
};

int ls_subscribe(const struct ls_wish *wish, int *fd);

/* Takes the events that are there, without waiting; their length. `overflow`: some were lost. */
size_t ls_read_events(int fd, uint8_t *bytes, size_t room, int *overflow);

/* sd_notify(3): one datagram to a path or an abstract name (leading '@'). */
int ls_notify(const char *socket_path, const char *state);

#endif
