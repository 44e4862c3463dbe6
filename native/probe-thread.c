/*
 * The loop. Questions of others wake the thread and are answered at once, or within 2 ms where they come thick. Everything
 * of our own happens in ticks of 2 ms: answers are taken, then what is overdue is counted, then what is due is sent. So
 * 1,000 paths cost 500 wakeups a second and not 10,000; waking for each packet took two thirds more processor time. Our
 * round trips do not suffer, for the kernel notes when an answer came; and a thread that did not run for a while finds its
 * answers before it counts them missing.
 *
 * No tick is without work, and who is due soon goes with who is due (ls_path_earliest): a few paths become one group that
 * wakes the thread when it asks and, while any is up, when the answers must be there. Ten that are down cost 6 wakeups a
 * second.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

#define TICK (2 * LS_MILLISECOND)
/* Between wakeups while questions come thick, so that they are answered in batches; one that comes alone does not wait. */
#define GAP TICK
#define THICK (3 * GAP)
#define EVENTS 64
#define REFUSED_MICROSECONDS 100000
/* It needs a tenth of a processor for 1,000 paths, and needs it at once. */
#define NICENESS -10

static void tick(struct ls_probe *probe)
{
	struct ls_probe_heap *heap = &probe->heap;
	size_t together = 0;
	int64_t now;

	ls_take_answers(probe);
	now = ls_now();
	probe->in_step = 0;
	while (heap->count > 0) {
		struct ls_probe_path *path = heap->list[0].path;
		bool is_due = heap->list[0].at <= now;

		/* Who makes a group full goes before its time. */
		if (!is_due && (together >= probe->group || ls_path_earliest(path) > now))
			break;
		if (ls_path_step(probe, path, now)) {
			ls_send_path(probe, path, now);
			together++;
		} else {
			ls_heap_move(heap, path);
			if (!is_due)
				break;
		}
	}
	for (size_t i = 0; i < probe->device_count; i++)
		ls_send_flush(probe, probe->devices[i], now);
}

static void once_a_second(struct ls_probe *probe)
{
	struct timespec used;

	for (size_t i = 0; i < probe->device_count; i++)
		ls_device_check(probe, probe->devices[i]);
	probe->error_estimate = ls_error_estimate();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	ls_set_count(probe, LS_COUNT_CPU_NS, (uint64_t)used.tv_sec * LS_SECOND + (uint64_t)used.tv_nsec);
	ls_box_report(probe);
}

static void give_up_orders(struct ls_probe_orders *orders)
{
	free(orders->wishes);
	free(orders->trials);
}

/* Paths first: a trial may be of one that is new. */
static void take_orders(struct ls_probe *probe, struct ls_probe_orders *orders)
{
	if (orders->wishes)
		ls_table_order(probe, orders->wishes, orders->wish_count, ls_now());
	if (orders->trials)
		ls_trial_order(probe, orders->trials, orders->trial_count, ls_now());
	give_up_orders(orders);
}

/* When the next tick is to be, on a grid. */
static int64_t next_tick(const struct ls_probe *probe, int64_t now)
{
	int64_t due = probe->heap.count ? probe->heap.list[0].at : INT64_MAX - TICK;

	return due <= now ? now + 1 - now % TICK + TICK - 1 : due + TICK - 1 - (due + TICK - 1) % TICK;
}

static void wait_until(struct ls_probe *probe, int64_t when)
{
	struct epoll_event events[EVENTS];
	int64_t now = ls_now(), left = when - now, rest = probe->woken + GAP - now;
	struct timespec pause = { .tv_nsec = rest };
	bool questions = false;
	uint64_t woken;
	int ms, count;

	if (probe->thick && rest > 0 && now - probe->asked < THICK) {
		nanosleep(&pause, NULL);
		left -= rest;
	}
	ms = left <= 0 ? 0 : (int)((left + LS_MILLISECOND - 1) / LS_MILLISECOND);
	count = epoll_wait(probe->inbound, events, EVENTS, ms);
	probe->woken = ls_now();
	ls_count(probe, LS_COUNT_WAKEUPS, 1);
	/* With nothing to wait on it always fails, and trying again at once would take a core. */
	if (count < 0 && errno != EINTR)
		usleep(REFUSED_MICROSECONDS);
	/* The word first: what JavaScript has said holds for the next packet. */
	ls_box_take(probe, NULL);
	for (int i = 0; i < count; i++) {
		if (events[i].data.u64) {
			ls_reflect(probe, (struct ls_probe_device *)(uintptr_t)events[i].data.u64);
			questions = true;
		} else if (read(probe->wake, &woken, sizeof woken) < 0) {
			continue;
		}
	}
	if (questions) {
		probe->thick = probe->woken - probe->asked < THICK;
		probe->asked = probe->woken;
	}
}

static void *run(void *data)
{
	struct ls_probe *probe = data;
	int64_t report = ls_now() + LS_SECOND, next = 0;

	/* Of this thread alone. With neither CAP_SYS_NICE nor LimitNICE= it waits its turn like any other. */
	setpriority(PRIO_PROCESS, 0, NICENESS);
	for (;;) {
		struct ls_probe_orders orders;
		bool go_on = ls_box_take(probe, &orders);
		int64_t now;

		if (!go_on) {
			give_up_orders(&orders);
			return NULL;
		}
		take_orders(probe, &orders);
		next = next_tick(probe, ls_now());
		wait_until(probe, next < report ? next : report);
		now = ls_now();
		if (now >= next)
			tick(probe);
		ls_box_publish(probe);
		if (now >= report) {
			once_a_second(probe);
			report = report + LS_SECOND > now ? report + LS_SECOND : now + LS_SECOND;
		}
	}
}

static void give_back(struct ls_probe *probe)
{
	ls_table_clear(probe);
	if (probe->wake >= 0)
		close(probe->wake);
	if (probe->inbound >= 0)
		close(probe->inbound);
	if (probe->answers >= 0)
		close(probe->answers);
	free(probe->reflections);
	free(probe->box.wishes);
	free(probe->box.trials);
	free(probe->box.news.values);
	free(probe->box.report.values);
	pthread_mutex_destroy(&probe->box.lock);
}

int ls_probe_start(struct ls_probe *probe)
{
	struct epoll_event woken = { .events = EPOLLIN, .data.u64 = 0 };
	int error = 0;

	probe->box.turn = 1;
	probe->error_estimate = ls_error_estimate();
	if (getrandom(&probe->secret, sizeof probe->secret, 0) < 0)
		return errno;
	probe->random = (probe->secret ^ (uint64_t)ls_now()) | 1;
	pthread_mutex_init(&probe->box.lock, NULL);
	probe->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	probe->inbound = epoll_create1(EPOLL_CLOEXEC);
	probe->answers = epoll_create1(EPOLL_CLOEXEC);
	if (probe->wake < 0 || probe->inbound < 0 || probe->answers < 0 ||
	    epoll_ctl(probe->inbound, EPOLL_CTL_ADD, probe->wake, &woken) != 0)
		error = errno;
	if (!error)
		error = pthread_create(&probe->thread, NULL, run, probe);
	if (error)
		give_back(probe);
	return error;
}

void ls_probe_wake(struct ls_probe *probe)
{
	uint64_t one = 1;

	if (write(probe->wake, &one, sizeof one) != sizeof one && errno != EAGAIN)
		abort(); /* an eventfd takes what does not overflow it */
}

void ls_probe_stop(struct ls_probe *probe)
{
	pthread_mutex_lock(&probe->box.lock);
	probe->box.stop = true;
	pthread_mutex_unlock(&probe->box.lock);
	ls_probe_wake(probe);
	pthread_join(probe->thread, NULL);
	give_back(probe);
}
