/* log.h - structured log lines: "time level module message", in logfmt, one write each.
 *
 * Whoever gives up logs, once; callees do not. Threads: any. Text of users never goes into a log line. */
#pragma once

enum kap_log_level {
    KAP_LOG_DEBUG,
    KAP_LOG_INFO,
    KAP_LOG_WARN,
    KAP_LOG_ERROR,
    KAP_LOG_OFF,
};

/* The sink gets one whole line without a newline. NULL restores the default, which writes to standard error with the
 * wall clock. Set before threads start. */
void kap_log_set_sink(void (*sink)(void *context, enum kap_log_level level, const char *line), void *context);
void kap_log_set_level(enum kap_log_level level);
/* module: "wal"; format: logfmt pairs, e.g. "msg=\"tail cut\" file=%u offset=%llu". */
void kap_log(enum kap_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
