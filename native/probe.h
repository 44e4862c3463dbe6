/*
 * The probe engine: STAMP (RFC 8762, RFC 8972) over every path, on a thread of its own. Nothing in here knows of Node but
 * probe-addon.c, and nothing of gateways: a path is an id, a device and an address.
 *
 *   probe-wire.c      packets: what is sent, what is reflected, what an answer says
 *   probe-clock.c     three clocks, and what is known of their errors
 *   probe-device.c    the sockets of one device
 *   probe-path.c      one path: schedule, what counts as unanswered, up and down
 *   probe-trial.c     does a packet of this size pass?
 *   probe-sample.c    what a path measured since the last report
 *   probe-table.c     all paths: by id, by device and address, by who is due next
 *   probe-send.c      probes and echo requests, in batches
 *   probe-answer.c    what comes back
 *   probe-reflect.c   what others send us
 *   probe-outbox.c    what JavaScript will read, and its orders
 *   probe-thread.c    the loop
 *   probe-addon.c     the Node-API face
 *   probe-order.h     what crosses it
 *
 * The thread alone touches paths, devices and tables. What it shares with JavaScript is struct ls_probe_box, under a lock
 * that is held for copies only: a stalled main thread delays nothing here.
 *
 * All times are CLOCK_MONOTONIC nanoseconds unless they are called stamps (NTP format, RFC 8762 section 4.1.1), which the
 * far end reads and no decision here rests on.
 */
#ifndef LINKSPAN_PROBE_H
#define LINKSPAN_PROBE_H

#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "probe-order.h"

#define LS_MILLISECOND 1000000LL
#define LS_SECOND 1000000000LL

/* A packet in unauthenticated mode, our TLV behind it, and the largest that is reflected (padding finds path MTUs). */
#define LS_STAMP_BASE 44
#define LS_STAMP_PACKET 64
#define LS_STAMP_LARGEST 9216

#define LS_BATCH 32
/* Probes of a path whose answers are still recognised. */
#define LS_RING 32
#define LS_SAMPLES 64
/* Packets of one trial, at most. */
#define LS_TRIES 24

/* A probe or an echo request that was sent. */
struct ls_probe_sent {
	int64_t at;
	uint64_t stamp;
	uint32_t seq;
	bool answered;
	bool overdue;
};

struct ls_probe_bucket {
	int64_t at;
	double tokens;
	double padding; /* bytes beyond what an ordinary probe has */
};

/* Since the last report that JavaScript took. */
struct ls_probe_sample {
	uint32_t sent;
	uint32_t answered;
	uint32_t unanswered;
	uint32_t late; /* answered after they had counted as unanswered */
	uint32_t count;
	int64_t sum;
	int64_t rtt[LS_SAMPLES];
};

/* One kind of question and what became of it. */
struct ls_probe_row {
	uint32_t next; /* sequence number of the next */
	uint32_t oldest; /* of those not decided */
	uint32_t misses; /* in a row */
	uint32_t answers; /* in a row */
	struct ls_probe_sent ring[LS_RING];
};

/* The question of a size that is asked, or was asked last. */
struct ls_probe_trial {
	uint32_t number;
	size_t payload;
	uint32_t tries;
	uint32_t sent;
	uint32_t first; /* sequence number of the first, in a session of its own */
	uint64_t stamps[LS_TRIES];
	uint32_t heard; /* ordinary probes answered and not, meanwhile */
	uint32_t missed;
	uint32_t changes; /* path->changes when it began */
	int64_t next; /* when it goes on; INT64_MAX: it does not */
	uint32_t decided; /* the last number with a verdict */
	enum ls_probe_verdict verdict;
};

struct ls_probe_device;

struct ls_probe_path {
	struct ls_probe_wish wish;
	struct ls_probe_device *device;
	uint16_t ssid;
	struct ls_probe_row probe;
	struct ls_probe_row echo;
	struct ls_probe_trial trial;
	bool echo_heard; /* since probes went unanswered */
	bool unsent; /* the last probe did not leave this host */
	int64_t last_send;
	int64_t next_send;
	int64_t due;
	size_t place; /* in the heap */

	enum ls_probe_state state;
	enum ls_probe_cause cause;
	uint32_t changes;
	int64_t since;
	int64_t up_since;
	int64_t back_since; /* first answer since it went down; 0: none */
	int64_t hold;
	int64_t returned; /* when it was no longer down; 0: it never was */
	bool was_up;
	bool was_down;

	int64_t smoothed;
	double jitter;
	int64_t last_rtt;
	int64_t last_seen;
	struct ls_probe_sample sample;

	struct ls_word word;
	bool word_known;
	struct ls_probe_bucket bucket;
	bool kept; /* mark of the order being carried out */
	bool changed;
	uint64_t box_turn; /* box->turn and row where the unread news of this path lies */
	size_t box_row;
};

struct ls_probe_device {
	char name[IFNAMSIZ];
	uint32_t family;
	unsigned int ifindex; /* 0: closed */
	int sender;
	int reflector;
	int echo;
	bool echo_raw;
	size_t paths;
	struct ls_probe_bucket strangers;
	struct ls_probe_path *batch[LS_BATCH]; /* to be sent with the next flush */
	size_t batched;
};

/* The time stands beside the path: to compare is not to touch it. */
struct ls_probe_due {
	int64_t at;
	struct ls_probe_path *path;
};

struct ls_probe_heap {
	struct ls_probe_due *list;
	size_t count;
};

struct ls_probe_table {
	struct ls_probe_path **paths; /* in no order */
	size_t count;
	struct ls_probe_path **by_id;
	struct ls_probe_path **by_peer;
	size_t slots; /* a power of two */
};

struct ls_probe_rows {
	double *values;
	size_t count;
	size_t room;
};

/* Shared with JavaScript. */
struct ls_probe_box {
	pthread_mutex_t lock;
	struct ls_word word;
	struct ls_probe_wish *wishes; /* the last order, until the thread takes it */
	size_t wish_count;
	struct ls_probe_trial_order *trials; /* ordered since the thread last took them */
	size_t trial_count;
	bool stop;
	struct ls_probe_rows news; /* at most one row a path */
	uint64_t turn; /* goes up when JavaScript takes the news */
	struct ls_probe_rows report;
	bool report_unread;
	bool called; /* JavaScript has been told and has not looked yet */
};

/* What the thread takes out of the box; lists to be freed. */
struct ls_probe_orders {
	struct ls_probe_wish *wishes; /* NULL: the paths stay as they are */
	size_t wish_count;
	struct ls_probe_trial_order *trials;
	size_t trial_count;
};

struct ls_probe {
	uint16_t port;
	int wake; /* eventfd: an order lies in the box */
	int inbound; /* epoll: wake, reflectors */
	int answers; /* epoll: senders, echo sockets; looked at once a tick */
	pthread_t thread;
	struct ls_probe_box box;
	void (*tell)(void *teller); /* asks JavaScript to look into the box; called on the thread */
	void *teller;

	struct ls_probe_table table;
	struct ls_probe_heap heap;
	struct ls_probe_device **devices;
	size_t device_count;
	struct ls_word word; /* the thread's copy */
	uint64_t secret; /* of this run: in echo requests and random numbers */
	uint64_t random;
	uint16_t error_estimate;
	int64_t woken; /* when last */
	int64_t asked; /* when last by a question */
	bool thick; /* questions come in wakeup after wakeup */
	size_t group; /* so many paths are probed together, at most */
	uint32_t varied; /* of 65536: how much earlier a group goes next time, of the fifth that it may */
	size_t in_step; /* paths of this tick that were given their next time */
	bool any_changed;
	bool heard; /* by the last report: something was */
	uint64_t counters[LS_COUNTERS];
	struct ls_probe_inbound *reflections; /* buffers of probe-reflect.c */
};

/* probe-clock.c */
int64_t ls_now(void);
struct timespec;
uint64_t ls_stamp(const struct timespec *real);
uint64_t ls_stamp_now(void);
/* The moment of a kernel receive stamp on the monotonic clock; `now` where the wall clock has jumped since. */
int64_t ls_moment_of(const struct timespec *kernel, const struct timespec *real_now, int64_t now);
uint16_t ls_error_estimate(void);
uint64_t ls_random(struct ls_probe *probe);

/* probe-wire.c */
struct ls_stamp_answer {
	uint32_t seq; /* the sender's own */
	uint64_t stamp; /* the sender's own */
	bool word_known;
	struct ls_word word;
};
struct ls_stamp_reflection {
	uint64_t received;
	uint16_t error_estimate;
	uint8_t ttl;
	const struct ls_word *word;
	/* out: the sender's word */
	bool word_known;
	struct ls_word sender_word;
};
void ls_stamp_write(uint8_t *packet, uint32_t seq, uint64_t stamp, uint16_t error_estimate, uint16_t ssid,
		    const struct ls_word *word);
/* Behind it, up to `length` bytes in all: Extra Padding (RFC 8972 section 4.1). At least 4 bytes more than a packet. */
void ls_stamp_pad(uint8_t *packet, size_t length);
bool ls_stamp_read_answer(const uint8_t *packet, size_t length, struct ls_stamp_answer *answer);
/* In place; the length stays. All but the time of sending, which is set last. */
void ls_stamp_reflect(uint8_t *packet, size_t length, struct ls_stamp_reflection *how);
void ls_stamp_set_time(uint8_t *packet, uint64_t stamp);

/* probe-device.c */
struct ls_probe_device *ls_device_take(struct ls_probe *probe, const char *name, uint32_t family);
void ls_device_leave(struct ls_probe *probe, struct ls_probe_device *device);
/* Opens sockets where the device is there and was not, and anew where another device has its name now. */
void ls_device_check(struct ls_probe *probe, struct ls_probe_device *device);
void ls_device_close(struct ls_probe *probe, struct ls_probe_device *device);

/* probe-path.c */
void ls_path_begin(struct ls_probe *probe, struct ls_probe_path *path, int64_t now);
/* Its profile may be another: a shorter interval begins now. */
void ls_path_retime(struct ls_probe *probe, struct ls_probe_path *path, int64_t now);
/* JavaScript is to be told of it. */
void ls_path_mark(struct ls_probe *probe, struct ls_probe_path *path);
/* Sets path->due. */
void ls_path_set_due(struct ls_probe_path *path);
/* From when on it may be probed together with others. */
int64_t ls_path_earliest(const struct ls_probe_path *path);
/* Counts what went unanswered; true: it is time to send. Sets path->due. */
bool ls_path_step(struct ls_probe *probe, struct ls_probe_path *path, int64_t now);
bool ls_path_wants_echo(const struct ls_probe_path *path);
/* Notes one that leaves now; its sequence number. */
uint32_t ls_path_sent(struct ls_probe_row *row, int64_t now, uint64_t stamp);
/* Sets when the next goes. */
void ls_path_after_send(struct ls_probe *probe, struct ls_probe_path *path, int64_t now);
/* False: it answers nothing we asked. Sets path->due, too. */
bool ls_path_answered(struct ls_probe *probe, struct ls_probe_path *path, uint32_t seq, uint64_t stamp, int64_t at);
bool ls_path_echoed(struct ls_probe *probe, struct ls_probe_path *path, uint32_t seq, int64_t at);
void ls_path_word(struct ls_probe *probe, struct ls_probe_path *path, const struct ls_word *word);
struct ls_word ls_path_own_word(const struct ls_probe *probe, const struct ls_probe_path *path, int64_t now);

/* probe-trial.c */
void ls_trial_order(struct ls_probe *probe, const struct ls_probe_trial_order *orders, size_t count, int64_t now);
/* Sends the next packet or decides, where it is time. */
void ls_trial_step(struct ls_probe *probe, struct ls_probe_path *path, int64_t now);
/* False: it answers no trial. `length`: of the whole UDP payload. */
bool ls_trial_answered(struct ls_probe *probe, struct ls_probe_path *path, const struct ls_stamp_answer *answer,
		       size_t length);

/* probe-sample.c */
void ls_sample_rtt(struct ls_probe_path *path, int64_t rtt);
void ls_sample_row(const struct ls_probe_path *path, double *row);

/* probe-table.c */
void ls_table_order(struct ls_probe *probe, const struct ls_probe_wish *wishes, size_t count, int64_t now);
/* Or NULL. */
struct ls_probe_path *ls_table_id(const struct ls_probe_table *table, uint32_t id);
struct ls_probe_path *ls_table_peer(const struct ls_probe *probe, const struct ls_probe_device *device,
				    const uint8_t *address);
void ls_table_clear(struct ls_probe *probe);
void ls_heap_move(struct ls_probe_heap *heap, struct ls_probe_path *path);
/* A socket address of a path, port in host order; its length. */
socklen_t ls_path_address(const struct ls_probe_path *path, uint16_t port, struct sockaddr_storage *to);

/* probe-send.c */
void ls_send_path(struct ls_probe *probe, struct ls_probe_path *path, int64_t now);
/* `tick`: when it began, one moment for the schedules of all that it sends. */
void ls_send_flush(struct ls_probe *probe, struct ls_probe_device *device, int64_t tick);

/* probe-answer.c, probe-reflect.c */
void ls_take_answers(struct ls_probe *probe);
void ls_reflect(struct ls_probe *probe, struct ls_probe_device *device);
/* 16 bytes of an address, an IPv4 one in the first four; the port in host order. */
uint16_t ls_read_address(const struct sockaddr_storage *from, uint8_t *address);

/* probe-outbox.c */
void ls_box_publish(struct ls_probe *probe);
void ls_box_report(struct ls_probe *probe);
/* Takes the word, and what was ordered where `orders` is given. False: stop. */
bool ls_box_take(struct ls_probe *probe, struct ls_probe_orders *orders);

/* probe-thread.c */
/* 0 or a positive errno. */
int ls_probe_start(struct ls_probe *probe);
/* Returns when the thread has ended and all it had is given back. */
void ls_probe_stop(struct ls_probe *probe);
void ls_probe_wake(struct ls_probe *probe);

static inline void ls_count(struct ls_probe *probe, enum ls_probe_counter counter, uint64_t more)
{
	__atomic_fetch_add(&probe->counters[counter], more, __ATOMIC_RELAXED);
}

static inline void ls_set_count(struct ls_probe *probe, enum ls_probe_counter counter, uint64_t value)
{
	__atomic_store_n(&probe->counters[counter], value, __ATOMIC_RELAXED);
}

#endif
