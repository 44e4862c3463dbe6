/*
 * The Node-API face of netlink.h.
 *
 * Every call on a socket is one piece of async work on libuv's pool; agent/kernel/addon.ts queues calls, so a socket has at
 * most one under way. Subscriptions are in subscription.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addon.h"
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
napi_value ls_throw_errno(napi_env env, int error)
{
	napi_throw_error(env, "ERR_NETLINK", strerror(error));
	return NULL;
}

/* The bytes of a Uint8Array argument; false where it is something else. */
bool ls_bytes_of(napi_env env, napi_value value, void **bytes, size_t *length)
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
		return ls_throw_errno(env, EINVAL);
	if (handle->closed || handle->busy)
		return ls_throw_errno(env, handle->closed ? EBADF : EBUSY);
	napi_get_value_uint32(env, arguments[1], &verb);
	napi_get_value_uint32(env, arguments[3], &batch);
	if (!ls_bytes_of(env, arguments[2], &bytes, &length) || verb > DUMP_NEXT)
		return ls_throw_errno(env, EINVAL);
	work = calloc(1, sizeof *work);
	if (!work || !(work->data = malloc(length ? length : 1))) {
		free(work);
		return ls_throw_errno(env, ENOMEM);
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
		return ls_throw_errno(env, error);
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
		{ "subscribe", NULL, ls_addon_subscribe, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "unsubscribe", NULL, ls_addon_unsubscribe, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "notify", NULL, notify, NULL, NULL, NULL, napi_enumerable, NULL },
	};

	napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties);
	ls_addon_probe(env, exports);
	return exports;
}
