/*
 * Clocks. Schedules and round trips run on CLOCK_MONOTONIC. The wall clock appears in two places only: the NTP stamps that
 * the RFC wants in packets, and the kernel's receive stamps, which are brought to the monotonic clock at once.
 */
#include <sys/timex.h>
#include <time.h>

#include "probe.h"

/* From 1900, where NTP's era 0 begins, to 1970. */
#define NTP_OFFSET 2208988800ULL
/* A packet older than this was not received before the wall clock was set, or this thread did not run. */
#define OLDEST_RECEIPT (2 * LS_SECOND)

static int64_t nanoseconds(const struct timespec *time)
{
	return (int64_t)time->tv_sec * LS_SECOND + time->tv_nsec;
}

int64_t ls_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return nanoseconds(&now);
}

uint64_t ls_stamp(const struct timespec *real)
{
	uint64_t fraction = ((uint64_t)real->tv_nsec << 32) / LS_SECOND;

	return ((uint64_t)real->tv_sec + NTP_OFFSET) << 32 | fraction;
}

uint64_t ls_stamp_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ls_stamp(&now);
}

int64_t ls_moment_of(const struct timespec *kernel, const struct timespec *real_now, int64_t now)
{
	int64_t age = nanoseconds(real_now) - nanoseconds(kernel);

	return age < 0 || age > OLDEST_RECEIPT ? now : now - age;
}

/*
 * RFC 4656 section 4.1.2: S (synchronised to UTC), Z (0: NTP format), 6 bits of scale, 8 of multiplier, which is never 0;
 * the error is multiplier * 2^(scale - 32) seconds. What the kernel's clock discipline knows; where it may not be asked
 * (ProtectClock= of systemd), the largest error and no S.
 */
uint16_t ls_error_estimate(void)
{
	struct timex timex = { 0 };
	int state = adjtimex(&timex);
	bool synchronised = state >= 0 && state != TIME_ERROR && !(timex.status & STA_UNSYNC);
	uint64_t units, scale = 0;

	if (state < 0)
		return 63 << 8 | 1;
	/* maxerror is in microseconds, the unit 2^-32 seconds. */
	units = ((uint64_t)timex.maxerror << 32) / 1000000;
	while (units > 255 && scale < 63) {
		units = (units + 1) / 2;
		scale++;
	}
	return (uint16_t)((synchronised ? 0x8000 : 0) | scale << 8 | (units ? units : 1));
}

/* xorshift64*: schedules must not march in step; nothing secret rests on it. */
uint64_t ls_random(struct ls_probe *probe)
{
	uint64_t x = probe->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	probe->random = x;
	return x * 0x2545f4914f6cdd1dULL;
}
