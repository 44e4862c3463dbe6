/*
 * The Node-API face of netlink.c.
 *
 * Every call on a socket is one piece of async work on libuv's pool; agent/kernel/addon.ts queues calls, so a socket has at
 * most one under way. A subscription has a thread of its own, which sleeps in poll() and hands whole messages to
 * JavaScript through a thread-safe function; while JavaScript is busy the kernel's buffer holds what comes.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <node_api.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "netlink.h"

/* A socket is freed by the last of: its JavaScript object, its work under way. */
struct handle {
	struct ls_socket socket;
	int busy;
	int closed;
	int collected;
};

enum verb { REQUEST, QUERY, DUMP_START, DUMP_NEXT };

struct work {
	napi_async_work work;
	napi_deferred deferred;
	napi_ref keep;
	struct handle *handle;
	enum verb verb;
	uint8_t *data;
	size_t length;
	uint32_t batch;
	int error;
	int done;
	int interrupted;
	struct ls_failures failures;
	struct ls_failure failure;
	struct ls_bytes answer;
};

/* agent/kernel/addon.ts says what it was about. */
static napi_value throw_errno(napi_env env, int error)
{
	napi_throw_error(env, "ERR_NETLINK", strerror(error));
	return NULL;
}

/* The bytes of a Uint8Array argument; false where it is something else. */
static bool bytes_of(napi_env env, napi_value value, void **bytes, size_t *length)
{
	napi_typedarray_type type;
	bool is_array = false;

	return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
	       napi_get_typedarray_info(env, value, &type, length, bytes, NULL, NULL) == napi_ok &&
	       type == napi_uint8_array;
}

static napi_value number(napi_env env, double value)
{
	napi_value result;

	napi_create_double(env, value, &result);
	return result;
}

static void set(napi_env env, napi_value object, const char *name, napi_value value)
{
	napi_set_named_property(env, object, name, value);
}

static napi_value failure_object(napi_env env, const struct ls_failure *failure)
{
	napi_value object, text;

	napi_create_object(env, &object);
	set(env, object, "index", number(env, failure->index));
	set(env, object, "errno", number(env, failure->error));
	napi_create_string_utf8(env, failure->message, NAPI_AUTO_LENGTH, &text);
	set(env, object, "message", text);
	return object;
}

static void close_when_idle(struct handle *handle)
{
	if (handle->closed && !handle->busy)
		ls_close(&handle->socket);
	if (handle->collected && !handle->busy) {
		ls_close(&handle->socket);
		free(handle);
	}
}

static void collect_handle(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	(void)env;
	(void)hint;
	handle->collected = 1;
	close_when_idle(handle);
}

static void free_bytes(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	free(data);
}

static void execute(napi_env env, void *data)
{
	struct work *work = data;
	struct ls_socket *socket = &work->handle->socket;

	(void)env;
	switch (work->verb) {
	case REQUEST:
		work->error = ls_request(socket, work->data, work->length, work->batch, &work->failures);
		break;
	case QUERY:
		work->error = ls_query(socket, work->data, work->length, &work->answer, &work->failure);
		break;
	case DUMP_START:
		work->error = ls_dump_start(socket, work->data, work->length);
		if (work->error)
			break;
		/* The first chunk comes with the start. */
		__attribute__((fallthrough));
	case DUMP_NEXT:
		work->error = ls_dump_next(socket, &work->answer, &work->done, &work->interrupted, &work->failure);
		break;
	}
}

/* The answer as a Uint8Array that owns the bytes. */
static napi_value take_answer(napi_env env, struct work *work)
{
	napi_value buffer, array;
	size_t length = work->answer.length;
	uint8_t *data = work->answer.data;

	if (length == 0) {
		napi_create_arraybuffer(env, 0, NULL, &buffer);
	} else {
		uint8_t *fitted = realloc(data, length);

		if (fitted)
			data = fitted;
		work->answer.data = NULL;
		if (napi_create_external_arraybuffer(env, data, length, free_bytes, NULL, &buffer) != napi_ok) {
			free(data);
			return NULL;
		}
	}
	napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &array);
	return array;
}

static napi_value outcome(napi_env env, struct work *work)
{
	napi_value result, value;

	if (work->verb == REQUEST) {
		napi_create_array_with_length(env, work->failures.count, &result);
		for (size_t i = 0; i < work->failures.count; i++)
			napi_set_element(env, result, (uint32_t)i, failure_object(env, &work->failures.list[i]));
		return result;
	}
	napi_create_object(env, &result);
	value = take_answer(env, work);
	if (value)
		set(env, result, "bytes", value);
	napi_get_boolean(env, work->done, &value);
	set(env, result, "done", value);
	napi_get_boolean(env, work->interrupted, &value);
	set(env, result, "interrupted", value);
	if (work->failure.error)
		set(env, result, "failure", failure_object(env, &work->failure));
	return result;
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct work *work = data;
	napi_value value, text;

	if (status == napi_ok && work->error == 0) {
		napi_resolve_deferred(env, work->deferred, outcome(env, work));
	} else {
		const char *reason = status == napi_ok ? strerror(work->error) : "the work was cancelled";

		napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &text);
		napi_create_error(env, NULL, text, &value);
		set(env, value, "errno", number(env, work->error));
		napi_reject_deferred(env, work->deferred, value);
	}
	work->handle->busy = 0;
	close_when_idle(work->handle);
	napi_delete_reference(env, work->keep);
	napi_delete_async_work(env, work->work);
	free(work->data);
	free(work->answer.data);
	free(work->failures.list);
	free(work);
}

/* call(socket, verb, bytes, batch): a promise. */
static napi_value call(napi_env env, napi_callback_info info)
{
	napi_value arguments[4], promise, name;
	size_t count = 4, length = 0;
	struct handle *handle = NULL;
	struct work *work;
	uint32_t verb = 0, batch = 0;
	void *bytes = NULL;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (count < 4 || napi_get_value_external(env, arguments[0], (void **)&handle) != napi_ok || handle == NULL)
		return throw_errno(env, EINVAL);
	if (handle->closed || handle->busy)
		return throw_errno(env, handle->closed ? EBADF : EBUSY);
	napi_get_value_uint32(env, arguments[1], &verb);
	napi_get_value_uint32(env, arguments[3], &batch);
	if (!bytes_of(env, arguments[2], &bytes, &length) || verb > DUMP_NEXT)
		return throw_errno(env, EINVAL);
	work = calloc(1, sizeof *work);
	if (!work || !(work->data = malloc(length ? length : 1))) {
		free(work);
		return throw_errno(env, ENOMEM);
	}
	/* A copy, because the sequence numbers are written into it on another thread. */
	if (length)
		memcpy(work->data, bytes, length);
	work->length = length;
	work->verb = (enum verb)verb;
	work->batch = batch;
	work->handle = handle;
	handle->busy = 1;
	napi_create_promise(env, &work->deferred, &promise);
	napi_create_reference(env, arguments[0], 1, &work->keep);
	napi_create_string_utf8(env, "linkspan netlink", NAPI_AUTO_LENGTH, &name);
	napi_create_async_work(env, NULL, name, execute, complete, work, &work->work);
	napi_queue_async_work(env, work->work);
	return promise;
}

static napi_value open_socket(napi_env env, napi_callback_info info)
{
	napi_value argument, result, external;
	size_t count = 1;
	int32_t protocol = 0;
	struct handle *handle = calloc(1, sizeof *handle);
	int error;

	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	napi_get_value_int32(env, argument, &protocol);
	error = handle ? ls_open(&handle->socket, protocol) : ENOMEM;
	if (error) {
		free(handle);
		return throw_errno(env, error);
	}
	napi_create_object(env, &result);
	napi_create_external(env, handle, collect_handle, NULL, &external);
	set(env, result, "handle", external);
	set(env, result, "portId", number(env, handle->socket.port_id));
	return result;
}

static napi_value close_socket(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t count = 1;
	struct handle *handle = NULL;

	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	if (napi_get_value_external(env, argument, (void **)&handle) == napi_ok && handle) {
		handle->closed = 1;
		close_when_idle(handle);
	}
	return NULL;
}

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

		if (poll(waits, 2, -1) < 0)
			continue;
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

static napi_value unsubscribe(napi_env env, napi_callback_info info)
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
static napi_value subscribe(napi_env env, napi_callback_info info)
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
	if (!bytes_of(env, arguments[1], &groups, &wish.groups_length) ||
	    !bytes_of(env, arguments[3], &filter, &wish.filter_length))
		return throw_errno(env, EINVAL);
	wish.groups = groups;
	wish.filter = filter;
	subscription = calloc(1, sizeof *subscription);
	if (!subscription)
		return throw_errno(env, ENOMEM);
	error = ls_subscribe(&wish, &subscription->fd);
	if (error) {
		free(subscription);
		return throw_errno(env, error);
	}
	subscription->wake = eventfd(0, EFD_CLOEXEC);
	subscription->buffer = malloc(EVENT_CHUNK);
	napi_create_string_utf8(env, "linkspan netlink events", NAPI_AUTO_LENGTH, &name);
	if (subscription->wake < 0 || !subscription->buffer ||
	    napi_create_threadsafe_function(env, arguments[4], NULL, name, 16, 1, NULL, NULL, NULL, deliver,
					    &subscription->deliver) != napi_ok) {
		release_subscription(subscription);
		free(subscription);
		return throw_errno(env, ENOMEM);
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
		return throw_errno(env, error);
	}
	napi_create_external(env, subscription, collect_subscription, NULL, &external);
	napi_add_env_cleanup_hook(env, end_at_exit, subscription);
	return external;
}

/* A string argument of any length, to be freed; NULL where it is none. */
static char *text_of(napi_env env, napi_value value)
{
	size_t length;
	char *text;

	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || !(text = malloc(length + 1)))
		return NULL;
	napi_get_value_string_utf8(env, value, text, length + 1, NULL);
	return text;
}

static napi_value notify(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	size_t count = 2;
	char *path, *state;
	int error = EINVAL;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	path = text_of(env, arguments[0]);
	state = text_of(env, arguments[1]);
	if (path && state)
		error = ls_notify(path, state);
	free(path);
	free(state);
	return number(env, error);
}

NAPI_MODULE_INIT()
{
	napi_property_descriptor properties[] = {
		{ "open", NULL, open_socket, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "close", NULL, close_socket, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "call", NULL, call, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "subscribe", NULL, subscribe, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "unsubscribe", NULL, unsubscribe, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "notify", NULL, notify, NULL, NULL, NULL, napi_enumerable, NULL },
	};

	napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties);
	return exports;
}
