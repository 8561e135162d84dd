#include "engine/env/file_name.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"

enum { DIGITS_MIN = 8, DIGITS_MAX = 16 };
static const char TEMPORARY[] = ".tmp";

static const struct {
    const char *before, *after;
    bool numbered, directory;
} kinds[KAP_FILE_KINDS] = {
    [KAP_FILE_WAL] = {"wal-", ".log", true, false},
    [KAP_FILE_SEGMENT] = {"seg-", ".kap", true, false},
    [KAP_FILE_MANIFEST] = {"manifest-", "", true, false},
    [KAP_FILE_PACK] = {"pack-", ".blob", true, false},
    [KAP_FILE_SUPERBLOCK] = {"superblock", "", false, false},
    [KAP_FILE_LOCK] = {"lock", "", false, false},
    [KAP_FILE_SNAPSHOTS] = {"snapshots", "", false, true},
    [KAP_FILE_LOST] = {"lost", "", false, true},
    [KAP_FILE_BLOBS] = {"blobs", "", false, true},
};

static void kind_check(enum kap_file_kind kind)
{
    KAP_ASSERT(kind >= KAP_FILE_WAL && kind < KAP_FILE_TEMPORARY);
}

bool kap_file_kind_numbered(enum kap_file_kind kind)
{
    kind_check(kind);
    return kinds[kind].numbered;
}

bool kap_file_kind_is_directory(enum kap_file_kind kind)
{
    kind_check(kind);
    return kinds[kind].directory;
}

bool kap_file_kind_may_be_temporary(enum kap_file_kind kind)
{
    kind_check(kind);
    return !kinds[kind].directory && kind != KAP_FILE_LOCK;
}

static void name_print(enum kap_file_kind kind, uint64_t number, const char *suffix, char name_out[KAP_FILE_NAME_BYTES])
{
    kind_check(kind);
    KAP_ASSERT(kinds[kind].numbered || number == 0);
    char digits[DIGITS_MAX + 1] = "";
    if (kinds[kind].numbered)
        snprintf(digits, sizeof digits, "%08llx", (unsigned long long)number);
    int len =
        snprintf(name_out, KAP_FILE_NAME_BYTES, "%s%s%s%s", kinds[kind].before, digits, kinds[kind].after, suffix);
    KAP_ASSERT(len > 0 && len < KAP_FILE_NAME_BYTES);
}

void kap_file_name_print(enum kap_file_kind kind, uint64_t number, char name_out[KAP_FILE_NAME_BYTES])
{
    name_print(kind, number, "", name_out);
}

void kap_file_name_print_temporary(enum kap_file_kind of, uint64_t number, char name_out[KAP_FILE_NAME_BYTES])
{
    KAP_ASSERT(kap_file_kind_may_be_temporary(of));
    name_print(of, number, TEMPORARY, name_out);
}

/* Returns the end of the digits, or NULL. By hand: strtoull would take signs, blanks and capitals. */
static const char *number_parse(const char *text, uint64_t *number_out)
{
    uint64_t number = 0;
    int digits = 0;
    for (;; digits++) {
        char c = text[digits];
        bool decimal = c >= '0' && c <= '9';
        if (!decimal && !(c >= 'a' && c <= 'f'))
            break;
        if (digits == DIGITS_MAX)
            return NULL;
        number = number << 4 | (uint64_t)(decimal ? c - '0' : c - 'a' + 10);
    }
    if (digits < DIGITS_MIN || (digits > DIGITS_MIN && text[0] == '0'))
        return NULL;
    *number_out = number;
    return text + digits;
}

static bool kind_parse(enum kap_file_kind kind, const char *text, struct kap_file_name *name_out)
{
    size_t before = strlen(kinds[kind].before), after = strlen(kinds[kind].after);
    uint64_t number = 0;
    if (strncmp(text, kinds[kind].before, before) != 0)
        return false;
    text += before;
    if (kinds[kind].numbered && !(text = number_parse(text, &number)))
        return false;
    if (strncmp(text, kinds[kind].after, after) != 0)
        return false;
    text += after;
    bool temporary = kap_file_kind_may_be_temporary(kind) && strcmp(text, TEMPORARY) == 0;
    if (text[0] != '\0' && !temporary)
        return false;
    *name_out = (struct kap_file_name){.kind = temporary ? KAP_FILE_TEMPORARY : kind, .of = kind, .number = number};
    return true;
}

bool kap_file_name_parse(const char *text, struct kap_file_name *name_out)
{
    for (int kind = KAP_FILE_WAL; kind < KAP_FILE_TEMPORARY; kind++)
        if (kind_parse((enum kap_file_kind)kind, text, name_out))
            return true;
    return false;
}
