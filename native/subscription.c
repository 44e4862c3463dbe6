/*
 * Subscriptions. Each has a thread of its own, which sleeps in poll() and hands whole messages to JavaScript through a
 * thread-safe function; while JavaScript is busy the kernel's buffer holds what comes.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "addon.h"
#include "netlink.h"

struct subscription {
	int fd;
	int wake;
	uint8_t *buffer;
	pthread_t thread;
	napi_threadsafe_function deliver;
	int closed;
};

/* Whole messages, or an overflow where length is 0. */
struct event {
	size_t length;
	uint8_t bytes[];
};

#define EVENT_CHUNK (128 << 10)
/* After a delivery the thread lets events gather this long: a burst becomes few, large chunks. */
#define REFUSED_MICROSECONDS 100000
#define GATHER_MILLISECONDS 2

static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	struct event *event = data;
	napi_value buffer, argument, receiver, thrown;
	void *bytes;

	(void)context;
	/* Without env the process is on its way out. */
	if (env && callback) {
		napi_get_undefined(env, &receiver);
		if (event->length == 0) {
			napi_get_null(env, &argument);
		} else {
			napi_create_arraybuffer(env, event->length, &bytes, &buffer);
			memcpy(bytes, event->bytes, event->length);
			napi_create_typedarray(env, napi_uint8_array, event->length, buffer, 0, &argument);
		}
		/* An error of the callback goes where every uncaught error goes, not into a warning (DEP0168). */
		if (napi_call_function(env, receiver, callback, 1, &argument, NULL) == napi_pending_exception &&
		    napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
			napi_fatal_exception(env, thrown);
	}
	free(event);
}

/* Hands one event to JavaScript, waiting where 16 are unread. False: the subscription is being closed. */
static bool hand_over(struct subscription *subscription, const uint8_t *bytes, size_t length)
{
	struct event *event = malloc(sizeof *event + length);

	if (!event)
		abort(); /* events would be lost without a word */
	event->length = length;
	if (length)
		memcpy(event->bytes, bytes, length);
	if (napi_call_threadsafe_function(subscription->deliver, event, napi_tsfn_blocking) == napi_ok)
		return true;
	free(event);
	return false;
}

static void *listen_thread(void *data)
{
	struct subscription *subscription = data;
	uint8_t *buffer = subscription->buffer;

	for (;;) {
		struct pollfd waits[2] = { { .fd = subscription->wake, .events = POLLIN },
					   { .fd = subscription->fd, .events = POLLIN } };
		size_t filled;
		int overflow;

		if (poll(waits, 2, -1) < 0) {
			/* With a descriptor limit below two it always fails, and trying again at once would take a core. */
			if (errno != EINTR)
				usleep(REFUSED_MICROSECONDS);
			continue;
		}
		if (waits[0].revents)
			break;
		filled = ls_read_events(subscription->fd, buffer, EVENT_CHUNK, &overflow);
		/* A refused call has also given up this thread's use of the function: it must not be released again. */
		if ((filled && !hand_over(subscription, buffer, filled)) ||
		    (overflow && !hand_over(subscription, NULL, 0)))
			return NULL;
		poll(waits, 1, GATHER_MILLISECONDS);
	}
	napi_release_threadsafe_function(subscription->deliver, napi_tsfn_release);
	return NULL;
}

static void release_subscription(struct subscription *subscription)
{
	close(subscription->fd);
	close(subscription->wake);
	free(subscription->buffer);
	subscription->buffer = NULL;
}

static void end_subscription(struct subscription *subscription)
{
	uint64_t one = 1;

	if (subscription->closed)
		return;
	subscription->closed = 1;
	napi_release_threadsafe_function(subscription->deliver, napi_tsfn_abort);
	if (write(subscription->wake, &one, sizeof one) != sizeof one)
		abort(); /* an eventfd takes its first write */
	pthread_join(subscription->thread, NULL);
	release_subscription(subscription);
}

static void end_at_exit(void *data)
{
	end_subscription(data);
}

static void collect_subscription(napi_env env, void *data, void *hint)
{
	(void)hint;
	end_subscription(data);
	napi_remove_env_cleanup_hook(env, end_at_exit, data);
	free(data);
}

napi_value ls_addon_unsubscribe(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t count = 1;
	struct subscription *subscription = NULL;

	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	if (napi_get_value_external(env, argument, (void **)&subscription) == napi_ok && subscription)
		end_subscription(subscription);
	return NULL;
}

/*
 * subscribe(protocol, groups, bufferBytes, filter, callback): an external; the callback gets bytes or null. Groups are a
 * Uint8Array of u32, the filter one of struct sock_filter, empty for none.
 */
napi_value ls_addon_subscribe(napi_env env, napi_callback_info info)
{
	napi_value arguments[5], external, name;
	size_t count = 5;
	struct ls_wish wish = { 0 };
	void *groups, *filter;
	struct subscription *subscription;
	int error;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	napi_get_value_int32(env, arguments[0], &wish.protocol);
	napi_get_value_int32(env, arguments[2], &wish.buffer_bytes);
	if (!ls_bytes_of(env, arguments[1], &groups, &wish.groups_length) ||
	    !ls_bytes_of(env, arguments[3], &filter, &wish.filter_length))
		return ls_throw_errno(env, EINVAL);
	wish.groups = groups;
	wish.filter = filter;
	subscription = calloc(1, sizeof *subscription);
	if (!subscription)
		return ls_throw_errno(env, ENOMEM);
	error = ls_subscribe(&wish, &subscription->fd);
	if (error) {
		free(subscription);
		return ls_throw_errno(env, error);
	}
	subscription->wake = eventfd(0, EFD_CLOEXEC);
	subscription->buffer = malloc(EVENT_CHUNK);
	napi_create_string_utf8(env, "linkspan netlink events", NAPI_AUTO_LENGTH, &name);
	if (subscription->wake < 0 || !subscription->buffer ||
	    napi_create_threadsafe_function(env, arguments[4], NULL, name, 16, 1, NULL, NULL, NULL, deliver,
					    &subscription->deliver) != napi_ok) {
		release_subscription(subscription);
		free(subscription);
		return ls_throw_errno(env, ENOMEM);
	}
	/* Waiting for events alone keeps no process alive. */
	napi_unref_threadsafe_function(env, subscription->deliver);
	/* One use for us, one for the thread. */
	napi_acquire_threadsafe_function(subscription->deliver);
	error = pthread_create(&subscription->thread, NULL, listen_thread, subscription);
	if (error) {
		napi_release_threadsafe_function(subscription->deliver, napi_tsfn_release);
		napi_release_threadsafe_function(subscription->deliver, napi_tsfn_abort);
		release_subscription(subscription);
		free(subscription);
		return ls_throw_errno(env, error);
	}
	napi_create_external(env, subscription, collect_subscription, NULL, &external);
	napi_add_env_cleanup_hook(env, end_at_exit, subscription);
	return external;
}
