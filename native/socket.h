/*
 * What request.c, query.c and event.c share; nothing outside native/ uses it.
 */
#ifndef LINKSPAN_SOCKET_H
#define LINKSPAN_SOCKET_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "netlink.h"

/* A dump comes in pieces of up to 32 KiB (max_recvmsg_len); this holds any of them. */
#define LS_PIECE (64 << 10)

/* A bound socket with extended ACKs and strict dump checks, or a negative errno. */
int ls_open_bound(int protocol, struct sockaddr_nl *address);

/* Sets a buffer's size past the system's limit where we may, up to it where not. */
void ls_force_buffer(int fd, int forced, int plain, int bytes);

/* 0 or a positive errno. */
int ls_send(struct ls_socket *s, const uint8_t *data, size_t length);

/* Length of what the kernel sent, or a negative errno: -ETIMEDOUT, with MSG_DONTWAIT -EAGAIN, -ENOBUFS after an overrun. */
ssize_t ls_receive(int fd, uint8_t *buffer, size_t room, int flags);

/* The message at `at` of `length` bytes, or NULL at the end. `at` moves on to the next. */
struct nlmsghdr *ls_next_message(uint8_t *bytes, size_t length, size_t *at);

void ls_drain(struct ls_socket *s, uint8_t *buffer);

void ls_copy_text(char *to, size_t room, const char *from, size_t length);
void ls_extended_text(const struct nlmsghdr *message, size_t head, char *text, size_t room);
int ls_error_of(const struct nlmsghdr *message, char *text, size_t room);

#endif
