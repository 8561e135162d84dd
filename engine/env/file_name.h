/* file_name.h - every file name the store can create, and the parser back. What does not parse is not ours.
 *
 * A number is 8 lower-case hex digits, more only when it needs them (%08x). Exactly what print gives is what parse
 * takes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { KAP_FILE_NAME_BYTES = 40 }; /* enough for every name, with the NUL */

enum kap_file_kind {
    KAP_FILE_WAL = 1, /* wal-%08x.log */
    KAP_FILE_SEGMENT, /* seg-%08x.kap */
    KAP_FILE_MANIFEST, /* manifest-%08x */
    KAP_FILE_PACK, /* pack-%08x.blob */
    KAP_FILE_SUPERBLOCK, /* superblock */
    KAP_FILE_LOCK, /* lock */
    KAP_FILE_SNAPSHOTS, /* snapshots/ */
    KAP_FILE_LOST, /* lost/: what recovery set aside instead of deleting */
    KAP_FILE_BLOBS, /* blobs/ */
    /* A file's name with .tmp: unfinished, to be renamed, or removed by the next start. (A snapshot's directory, whose name
     * is its user's, is treated alike: snapshots/NAME.tmp.) */
    KAP_FILE_TEMPORARY,
    KAP_FILE_KINDS
};

struct kap_file_name {
    enum kap_file_kind kind;
    enum kap_file_kind of; /* TEMPORARY: what it was to become; otherwise kind */
    uint64_t number; /* 0 for kinds without one */
};

bool kap_file_kind_numbered(enum kap_file_kind kind);
bool kap_file_kind_is_directory(enum kap_file_kind kind);
/* Neither a directory nor the lock is ever temporary. */
bool kap_file_kind_may_be_temporary(enum kap_file_kind kind);
/* Any kind but TEMPORARY; number is 0 for kinds without one. */
void kap_file_name_print(enum kap_file_kind kind, uint64_t number, char name_out[KAP_FILE_NAME_BYTES]);
void kap_file_name_print_temporary(enum kap_file_kind of, uint64_t number, char name_out[KAP_FILE_NAME_BYTES]);
/* False: not a name of ours. */
bool kap_file_name_parse(const char *text, struct kap_file_name *name_out) __attribute__((warn_unused_result));
