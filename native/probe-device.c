/*
 * The sockets of one device, each bound to it: probes leave by it whatever the routes say, and nothing that arrives
 * elsewhere is even looked at. A sender on a port of its own, a reflector on the fabric's probe port, and one for echo
 * requests. At most 64 devices times three. What they send leaves whole or not at all, whatever the routes say of MTUs
 * (IP_PMTUDISC_PROBE): a trial of a size, or the answer to one, that was cut in two would prove nothing.
 *
 * A socket stays bound to the number of a device that is gone. So the name is looked up once a second, and when sending
 * fails, and the sockets are made anew where the number is another.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "probe.h"

/* Some 2,000 probes: half a second of 1,000 paths in trouble. */
#define RECEIVE_BUFFER (2 << 20)
#define HOPS 255

/* linux/icmp.h, which net/if.h does not go with. */
#define ICMP_FILTER 1
#define ICMP_ECHOREPLY 0

static void set(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof value);
}

static int open_bound(const struct ls_probe_device *device, int type, int protocol)
{
	bool six = device->family == 6;
	int fd = socket(six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device->name, (socklen_t)strlen(device->name)) != 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	if (six) {
		set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, HOPS);
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	} else {
		set(fd, IPPROTO_IP, IP_TTL, HOPS);
		set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	}
	return fd;
}

static int open_udp(const struct ls_probe_device *device, uint16_t port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	bool is_six = device->family == 6;
	int fd = open_bound(device, SOCK_DGRAM, IPPROTO_UDP);

	if (fd < 0)
		return -1;
	if (port && is_six) {
		set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
		set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	} else if (port) {
		set(fd, IPPROTO_IP, IP_RECVTTL, 1);
		set(fd, IPPROTO_IP, IP_PKTINFO, 1);
	}
	if (bind(fd, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four, is_six ? sizeof six : sizeof four) != 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/*
 * A raw socket needs CAP_NET_RAW, a datagram one a group of net.ipv4.ping_group_range; with neither, an agent that is
 * silent cannot be told from a gateway that is down.
 */
static int open_echo(struct ls_probe_device *device)
{
	int protocol = device->family == 6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP;
	int fd = open_bound(device, SOCK_RAW, protocol);

	device->echo_raw = fd >= 0;
	if (fd < 0)
		return open_bound(device, SOCK_DGRAM, protocol);
	if (device->family == 6) {
		struct icmp6_filter filter;

		ICMP6_FILTER_SETBLOCKALL(&filter);
		ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
		setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
	} else {
		uint32_t filter = ~(1U << ICMP_ECHOREPLY);

		setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
	}
	return fd;
}

/* The low bit says that it is the echo socket. */
static void watch(int epoll, int fd, struct ls_probe_device *device, uintptr_t bit)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uintptr_t)device | bit };

	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void ls_device_close(struct ls_probe *probe, struct ls_probe_device *device)
{
	(void)probe;
	close_one(&device->sender);
	close_one(&device->reflector);
	close_one(&device->echo);
	device->ifindex = 0;
}

void ls_device_check(struct ls_probe *probe, struct ls_probe_device *device)
{
	unsigned int ifindex = if_nametoindex(device->name);

	if (ifindex == device->ifindex)
		return;
	ls_device_close(probe, device);
	if (ifindex == 0)
		return;
	device->sender = open_udp(device, 0);
	device->reflector = device->sender < 0 ? -1 : open_udp(device, probe->port);
	if (device->sender < 0 || device->reflector < 0) {
		ls_set_count(probe, LS_COUNT_LAST_ERRNO, (uint64_t)errno);
		ls_count(probe, LS_COUNT_SOCKET_ERRORS, 1);
		ls_device_close(probe, device);
		return;
	}
	device->echo = open_echo(device);
	device->ifindex = ifindex;
	watch(probe->inbound, device->reflector, device, 0);
	watch(probe->answers, device->sender, device, 0);
	if (device->echo >= 0)
		watch(probe->answers, device->echo, device, 1);
}

struct ls_probe_device *ls_device_take(struct ls_probe *probe, const char *name, uint32_t family)
{
	struct ls_probe_device *device;
	struct ls_probe_device **list;

	for (size_t i = 0; i < probe->device_count; i++) {
		device = probe->devices[i];
		if (device->family == family && strcmp(device->name, name) == 0) {
			device->paths++;
			return device;
		}
	}
	device = calloc(1, sizeof *device);
	list = realloc(probe->devices, (probe->device_count + 1) * sizeof *list);
	if (!device || !list)
		abort(); /* paths would go unwatched without a word */
	memcpy(device->name, name, sizeof device->name);
	device->family = family;
	device->sender = device->reflector = device->echo = -1;
	device->paths = 1;
	probe->devices = list;
	probe->devices[probe->device_count++] = device;
	ls_device_check(probe, device);
	return device;
}

void ls_device_leave(struct ls_probe *probe, struct ls_probe_device *device)
{
	if (--device->paths > 0)
		return;
	ls_device_close(probe, device);
	for (size_t i = 0; i < probe->device_count; i++)
		if (probe->devices[i] == device)
			probe->devices[i] = probe->devices[--probe->device_count];
	free(device);
}
