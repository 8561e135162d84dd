/* version.h - an immutable picture of where the data is: memtables and segments by level.
 *
 * A version is pinned by whoever reads; a segment lives as long as some version names it. Installing a new version never
 * disturbs readers of an older one, so no reader waits for a flush or a compaction and no compaction for a reader.
 *
 * Life     built by the one who changes it -> current (kap_versions_install) -> gone with its last pin. A segment that the
 *          manifest no longer names is marked obsolete; with its last version its handle lands in the graveyard, from
 *          which a background step closes and unlinks it.
 * Threads  pin, unpin: any. install: whoever holds the edit lock, or the sequencer for a new memtable. */
#pragma once

#include <stdatomic.h>

#include "engine/base/list.h"
#include "engine/base/spin.h"
#include "engine/env/env.h"
#include "engine/manifest/manifest.h"
#include "engine/memtable/memtable.h"
#include "engine/segment/segment_reader.h"

enum { KAP_SEALED_MAX = 3 };

struct kap_version_file {
    _Atomic uint32_t refs; /* versions that name it, plus its maker until handed over */
    uint8_t level;
    _Atomic bool obsolete;
    bool busy;                   /* input of a compaction; edit lock */
    struct kap_segment_meta meta; /* keys borrowed from segment */
    struct kap_segment *segment;
    struct kap_file *file;
    struct kap_list grave;
};

struct kap_version_table {
    _Atomic uint32_t refs;
    struct kap_memtable *memtable;
    uint64_t wal_first_file_no; /* oldest log file that holds commits of the table after this one; set by seal */
    uint64_t seq_max;           /* set by seal */
};

struct kap_version {
    _Atomic uint32_t refs;
    struct kap_versions *owner;
    struct kap_version_table *active;
    struct kap_version_table *sealed[KAP_SEALED_MAX]; /* newest first */
    uint32_t n_sealed;
    uint32_t n_files[KAP_LEVELS];
    struct kap_version_file **files[KAP_LEVELS]; /* level 0: newest first; below: by key, disjoint */
    struct kap_version_file *storage[];
};

struct kap_versions {
    struct kap_spin lock; /* guards current and the graveyard */
    struct kap_memory *memory;
    struct kap_version *current;
    struct kap_list graveyard;
    _Atomic uint32_t pinned; /* versions alive */
};

KAP_CHECKED kap_status kap_versions_init(struct kap_versions *versions, struct kap_memory *memory);
/* All pins are gone. Leaves files that still have handles in the graveyard. */
void kap_versions_deinit(struct kap_versions *versions);

struct kap_version *kap_version_pin(struct kap_versions *versions); /* the current one */
void kap_version_unpin(struct kap_version *version);               /* NULL is allowed */

/* A new version from the current one, not yet installed, with room for n_add files. The caller changes its arrays with
 * the functions below and installs it, or unpins it to give up. KAP_NO_MEMORY. */
KAP_CHECKED kap_status kap_version_derive(struct kap_versions *versions, uint32_t n_add, struct kap_version **version_out);
void kap_version_add_file(struct kap_version *version, struct kap_version_file *file);
void kap_version_remove_file(struct kap_version *version, const struct kap_version_file *file);
void kap_version_remove_table(struct kap_version *version, const struct kap_version_table *table);
/* Makes version current; the tables of the then current one are taken over when keep_tables (a file change must not undo
 * a seal that happened meanwhile), the files when keep_files. */
void kap_versions_install(struct kap_versions *versions, struct kap_version *version, bool keep_tables, bool keep_files,
                          const struct kap_version_table *flushed);

KAP_CHECKED kap_status kap_version_table_create(struct kap_versions *versions, struct kap_version_table **table_out);
void kap_version_table_release(struct kap_versions *versions, struct kap_version_table *table);
/* A file that no version names yet; refs = 1, the maker's. */
KAP_CHECKED kap_status kap_version_file_create(struct kap_versions *versions, uint8_t level, struct kap_segment *segment,
                                               struct kap_file *file, struct kap_version_file **file_out);
void kap_version_file_release(struct kap_versions *versions, struct kap_version_file *file);
/* The next buried file, to be closed (and unlinked when obsolete) and freed by kap_version_file_destroy; or NULL. */
struct kap_version_file *kap_versions_exhume(struct kap_versions *versions);
void kap_version_file_destroy(struct kap_versions *versions, struct kap_version_file *file);
