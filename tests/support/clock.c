// Preloaded into a program: its wall clock is so many seconds ahead as the file STEPPED_CLOCK says, and can be stepped
// while it runs. What waits until a time of the wall clock waits as long as the kernel would let it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shared;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("STEPPED_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0)
        abort();
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        abort();
    shared = mapped;
    close(file);
}

static int64_t ahead(void) { return shared ? *shared : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += ahead();
    return failed;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now)
        *now = precise.tv_sec;
    return precise.tv_sec;
}

typedef int (*wait_fn)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

// In slices: the clock may be stepped meanwhile.
int pthread_cond_timedwait(pthread_cond_t *restrict changed, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until) {
    static wait_fn real;
    if (!real)
        real = (wait_fn)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real)
        real = (wait_fn)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    for (;;) {
        struct timespec now, slice;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = (int64_t)(until->tv_sec - now.tv_sec) * 1000000000 + until->tv_nsec - now.tv_nsec;
        int64_t most = 20000000;
        int64_t wait = left < 0 ? 0 : left < most ? left : most;
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &slice);
        slice.tv_nsec += wait;
        if (slice.tv_nsec >= 1000000000) {
            slice.tv_nsec -= 1000000000;
            slice.tv_sec += 1;
        }
        int ended = real(changed, lock, &slice);
        if (ended != ETIMEDOUT || left <= most)
            return ended;
    }
}

// The C library's own is the same wait under another name.
int cnd_timedwait(cnd_t *restrict changed, mtx_t *restrict lock, const struct timespec *restrict until) {
    int ended = pthread_cond_timedwait((pthread_cond_t *)changed, (pthread_mutex_t *)lock, until);
    return ended == ETIMEDOUT ? thrd_timedout : ended ? thrd_error : thrd_success;
}
