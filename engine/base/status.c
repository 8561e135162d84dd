#include "engine/base/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct status_row {
    kap_status status;
    enum kap_status_class class;
    const char *name;
    const char *sentence;
};

static const struct status_row rows[] = {
#define KAP_STATUS(number, name, class, sentence) {number, KAP_CLASS_##class, #name, sentence},
#include "engine/base/status.def"
#undef KAP_STATUS
};

static const struct status_row *row_find(kap_status status)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return &rows[i];
    return NULL;
}

const char *kap_status_name(kap_status status)
{
    const struct status_row *row = row_find(status);
    return row ? row->name : "UNKNOWN";
}

const char *kap_status_sentence(kap_status status)
{
    const struct status_row *row = row_find(status);
    return row ? row->sentence : "unknown result code";
}

enum kap_status_class kap_status_class(kap_status status)
{
    const struct status_row *row = row_find(status);
    return row ? row->class : KAP_CLASS_SERVER;
}

kap_status kap_error_set(struct kap_error *error, kap_status status, const char *format, ...)
{
    if (error && error->status == KAP_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
        error->status = status;
    }
    return status;
}
