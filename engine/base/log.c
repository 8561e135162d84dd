#include "engine/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static void (*log_sink)(void *, enum kap_log_level, const char *);
static void *log_context;
static _Atomic int log_level = KAP_LOG_INFO;

void kap_log_set_sink(void (*sink)(void *, enum kap_log_level, const char *), void *context)
{
    log_sink = sink;
    log_context = context;
}

void kap_log_set_level(enum kap_log_level level)
{
    atomic_store(&log_level, level);
}

void kap_log(enum kap_log_level level, const char *module, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char line[1024];
    if ((int)level < atomic_load(&log_level) || level >= KAP_LOG_OFF)
        return;
    int at = snprintf(line, sizeof line, "level=%s module=%s ", names[level], module);
    va_list args;
    va_start(args, format);
    vsnprintf(line + at, sizeof line - (size_t)at, format, args);
    va_end(args);
    if (log_sink) {
        log_sink(log_context, level, line);
        return;
    }
    struct timespec now; /* the default sink is for daemons and tools, never for the simulator: it sets its own */
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    fprintf(stderr, "time=%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ %s\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
            tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000, line);
}
