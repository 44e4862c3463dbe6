/*
 * The Node-API face of probe.h. JavaScript orders (paths, trials, word) by writing into the box; the thread tells by one call of a
 * thread-safe function, which is not repeated until JavaScript has looked into the box.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addon.h"
#include "probe.h"

struct engine {
	struct ls_probe probe;
	napi_threadsafe_function deliver;
	bool refused; /* by the function: the thread has no use of it any more */
	bool ended;
};

/* On the thread. */
static void tell(void *teller)
{
	struct engine *engine = teller;

	if (!engine->refused && napi_call_threadsafe_function(engine->deliver, NULL, napi_tsfn_nonblocking) != napi_ok)
		engine->refused = true;
}

/* Rows as a Float64Array; null of none. */
static napi_value array_of(napi_env env, const struct ls_probe_rows *rows)
{
	size_t count = rows->count * LS_ROW;
	napi_value buffer, array;
	void *bytes;

	if (count == 0) {
		napi_get_null(env, &array);
		return array;
	}
	napi_create_arraybuffer(env, count * sizeof(double), &bytes, &buffer);
	memcpy(bytes, rows->values, count * sizeof(double));
	napi_create_typedarray(env, napi_float64_array, count, buffer, 0, &array);
	return array;
}

static void deliver(napi_env env, napi_value callback, void *context, void *data)
{
	struct engine *engine = context;
	struct ls_probe_box *box;
	struct ls_probe_rows news, report = { 0 };
	napi_value arguments[2], receiver, thrown;

	(void)data;
	/* Without env the process is on its way out, and the engine may be gone. */
	if (!env || !callback || engine->ended)
		return;
	box = &engine->probe.box;
	pthread_mutex_lock(&box->lock);
	news = box->news;
	box->news = (struct ls_probe_rows){ 0 };
	box->turn++;
	if (box->report_unread) {
		report = box->report;
		box->report = (struct ls_probe_rows){ 0 };
		box->report_unread = false;
	}
	box->called = false;
	pthread_mutex_unlock(&box->lock);
	arguments[0] = array_of(env, &news);
	arguments[1] = array_of(env, &report);
	free(news.values);
	free(report.values);
	napi_get_undefined(env, &receiver);
	/* An error of the callback goes where every uncaught error goes, not into a warning (DEP0168). */
	if (napi_call_function(env, receiver, callback, 2, arguments, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
		napi_fatal_exception(env, thrown);
}

static void end_engine(struct engine *engine)
{
	if (engine->ended)
		return;
	engine->ended = true;
	ls_probe_stop(&engine->probe);
	if (!engine->refused)
		napi_release_threadsafe_function(engine->deliver, napi_tsfn_release);
	napi_release_threadsafe_function(engine->deliver, napi_tsfn_abort);
}

static void end_at_exit(void *data)
{
	end_engine(data);
}

static void collect_engine(napi_env env, void *data, void *hint)
{
	(void)hint;
	end_engine(data);
	napi_remove_env_cleanup_hook(env, end_at_exit, data);
	free(data);
}

/* The engine of argument 0, or NULL with an exception. */
static struct engine *engine_of(napi_env env, napi_value value)
{
	struct engine *engine = NULL;

	if (napi_get_value_external(env, value, (void **)&engine) != napi_ok || !engine || engine->ended) {
		ls_throw_errno(env, EBADF);
		return NULL;
	}
	return engine;
}

static napi_value start(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], external, name;
	size_t count = 2;
	uint32_t port = 0;
	struct engine *engine;
	int error;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (napi_get_value_uint32(env, arguments[0], &port) != napi_ok || port == 0 || port > 65535)
		return ls_throw_errno(env, EINVAL);
	engine = calloc(1, sizeof *engine);
	if (!engine)
		return ls_throw_errno(env, ENOMEM);
	engine->probe.port = (uint16_t)port;
	engine->probe.tell = tell;
	engine->probe.teller = engine;
	napi_create_string_utf8(env, "linkspan probes", NAPI_AUTO_LENGTH, &name);
	/* One use for us, one for the thread. */
	if (napi_create_threadsafe_function(env, arguments[1], NULL, name, 0, 2, NULL, NULL, engine, deliver,
					    &engine->deliver) != napi_ok) {
		free(engine);
		return ls_throw_errno(env, ENOMEM);
	}
	/* Probing alone keeps no process alive. */
	napi_unref_threadsafe_function(env, engine->deliver);
	error = ls_probe_start(&engine->probe);
	if (error) {
		engine->ended = true;
		napi_release_threadsafe_function(engine->deliver, napi_tsfn_release);
		napi_release_threadsafe_function(engine->deliver, napi_tsfn_abort);
		/* The function may still look at it: left behind, once, where no thread can be made. */
		return ls_throw_errno(env, error);
	}
	napi_create_external(env, engine, collect_engine, NULL, &external);
	napi_add_env_cleanup_hook(env, end_at_exit, engine);
	return external;
}

/* What (engine, bytes) orders: whole records of `size` bytes. NULL: an exception is pending. */
static struct engine *order_of(napi_env env, napi_callback_info info, size_t size, void **bytes, size_t *length)
{
	napi_value arguments[2];
	size_t count = 2;
	struct engine *engine;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!(engine = engine_of(env, arguments[0])))
		return NULL;
	if (ls_bytes_of(env, arguments[1], bytes, length) && *length % size == 0)
		return engine;
	ls_throw_errno(env, EINVAL);
	return NULL;
}

/* paths(engine, bytes): whole records of struct ls_probe_wish, all there are to be. */
static napi_value paths(napi_env env, napi_callback_info info)
{
	size_t length = 0;
	void *bytes = NULL;
	struct ls_probe_wish *wishes;
	struct ls_probe_box *box;
	struct engine *engine = order_of(env, info, sizeof *wishes, &bytes, &length);

	if (!engine)
		return NULL;
	wishes = malloc(length ? length : 1);
	if (!wishes)
		return ls_throw_errno(env, ENOMEM);
	if (length)
		memcpy(wishes, bytes, length);
	box = &engine->probe.box;
	pthread_mutex_lock(&box->lock);
	free(box->wishes);
	box->wishes = wishes;
	box->wish_count = length / sizeof *wishes;
	pthread_mutex_unlock(&box->lock);
	ls_probe_wake(&engine->probe);
	return NULL;
}

/* trials(engine, bytes): whole records of struct ls_probe_trial_order, more of them. */
static napi_value trials(napi_env env, napi_callback_info info)
{
	size_t length = 0;
	void *bytes = NULL;
	struct ls_probe_trial_order *all;
	struct ls_probe_box *box;
	struct engine *engine = order_of(env, info, sizeof *all, &bytes, &length);

	if (!engine || length == 0)
		return NULL;
	box = &engine->probe.box;
	pthread_mutex_lock(&box->lock);
	all = realloc(box->trials, box->trial_count * sizeof *all + length);
	if (all) {
		memcpy(all + box->trial_count, bytes, length);
		box->trials = all;
		box->trial_count += length / sizeof *all;
	}
	pthread_mutex_unlock(&box->lock);
	if (!all)
		return ls_throw_errno(env, ENOMEM);
	ls_probe_wake(&engine->probe);
	return NULL;
}

static napi_value word(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	size_t count = 4;
	uint32_t flags = 0, weight = 0;
	double serial = 0;
	struct engine *engine;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!(engine = engine_of(env, arguments[0])))
		return NULL;
	napi_get_value_uint32(env, arguments[1], &flags);
	napi_get_value_uint32(env, arguments[2], &weight);
	napi_get_value_double(env, arguments[3], &serial);
	pthread_mutex_lock(&engine->probe.box.lock);
	engine->probe.box.word = (struct ls_word){ .flags = (uint16_t)flags,
						   .weight = (uint16_t)weight,
						   .serial = (uint64_t)serial };
	pthread_mutex_unlock(&engine->probe.box.lock);
	return NULL;
}

static napi_value counters(napi_env env, napi_callback_info info)
{
	napi_value argument, array, value;
	size_t count = 1;
	struct engine *engine;

	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	if (!(engine = engine_of(env, argument)))
		return NULL;
	napi_create_array_with_length(env, LS_COUNTERS, &array);
	for (uint32_t i = 0; i < LS_COUNTERS; i++) {
		napi_create_double(env, (double)__atomic_load_n(&engine->probe.counters[i], __ATOMIC_RELAXED), &value);
		napi_set_element(env, array, i, value);
	}
	return array;
}

static napi_value stop(napi_env env, napi_callback_info info)
{
	napi_value argument;
	size_t count = 1;
	struct engine *engine = NULL;

	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	if (napi_get_value_external(env, argument, (void **)&engine) == napi_ok && engine)
		end_engine(engine);
	return NULL;
}

void ls_addon_probe(napi_env env, napi_value exports)
{
	napi_property_descriptor properties[] = {
		{ "probeStart", NULL, start, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "probePaths", NULL, paths, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "probeTrials", NULL, trials, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "probeWord", NULL, word, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "probeCounters", NULL, counters, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "probeStop", NULL, stop, NULL, NULL, NULL, napi_enumerable, NULL },
	};

	napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties);
}
