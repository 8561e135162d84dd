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
    struct kap_list all;         /* every file with a handle, for kap_versions_find */
};

struct kap_version_table {
    _Atomic uint32_t refs;
    struct kap_memtable *memtable;
    uint64_t wal_first_file_no; /* oldest log file that holds commits of the table after this one; set by seal */
    uint64_t wal_first_frame_no; /* the first frame in it; set by seal */
    uint64_t seq_max;           /* set by seal */
};

struct kap_tableset {
    _Atomic uint32_t refs;
    struct kap_version_table *active;
    struct kap_version_table *sealed[KAP_SEALED_MAX]; /* newest first */
    uint32_t n_sealed;
};

struct kap_fileset {
    _Atomic uint32_t refs;
    uint32_t n_files[KAP_LEVELS];
    struct kap_version_file **files[KAP_LEVELS]; /* level 0: newest first; below: by key, disjoint */
    struct kap_version_file *storage[];
};

/* A pinned pair. Tables change with the sequencer, files with the holder of the edit lock; both swap under one short
 * lock, so neither can undo the other. */
struct kap_version {
    struct kap_tableset *tables;
    struct kap_fileset *files;
};

struct kap_versions {
    struct kap_spin lock; /* guards current and the graveyard */
    struct kap_memory *memory;
    struct kap_version current;
    struct kap_list graveyard, all;
    _Atomic uint32_t pinned; /* pins held */
};

KAP_CHECKED kap_status kap_versions_init(struct kap_versions *versions, struct kap_memory *memory);
/* All pins are gone. Leaves files that still have handles in the graveyard. */
void kap_versions_deinit(struct kap_versions *versions);

struct kap_version kap_version_pin(struct kap_versions *versions); /* the current one */
void kap_version_unpin(struct kap_versions *versions, struct kap_version version);

/* The active table becomes the newest sealed one, table the active one (its reference is taken over). KAP_OVERLOADED:
 * KAP_SEALED_MAX are sealed. KAP_NO_MEMORY. Sequencer only. */
KAP_CHECKED kap_status kap_versions_seal(struct kap_versions *versions, struct kap_version_table *table);

/* How many tables are sealed, and the highest seq in them (0: none). */
uint32_t kap_versions_sealed(struct kap_versions *versions, uint64_t *seq_max_out);

/* Files on level 0 now. */
uint32_t kap_versions_level0(struct kap_versions *versions);

/* A copy of the current files to change, with room for n_add more; edit lock only. Install it or release it. */
KAP_CHECKED kap_status kap_fileset_derive(struct kap_versions *versions, uint32_t n_add, struct kap_fileset **files_out);
void kap_fileset_add(struct kap_fileset *files, struct kap_version_file *file);
void kap_fileset_remove(struct kap_versions *versions, struct kap_fileset *files, const struct kap_version_file *file);
void kap_fileset_release(struct kap_versions *versions, struct kap_fileset *files);
/* files become current, and flushed (NULL: none) leaves the sealed tables, in one step for every reader. Takes over the
 * reference to files. KAP_NO_MEMORY: nothing changed and files is still the caller's. */
KAP_CHECKED kap_status kap_versions_install(struct kap_versions *versions, struct kap_fileset *files,
                                            const struct kap_version_table *flushed);

KAP_CHECKED kap_status kap_version_table_create(struct kap_versions *versions, struct kap_version_table **table_out);
void kap_version_table_release(struct kap_versions *versions, struct kap_version_table *table);
/* A file that no version names yet; refs = 1, the maker's. */
KAP_CHECKED kap_status kap_version_file_create(struct kap_versions *versions, uint8_t level, struct kap_segment *segment,
                                               struct kap_file *file, struct kap_version_file **file_out);
void kap_version_file_release(struct kap_versions *versions, struct kap_version_file *file);
/* The file of this id that some version still names, with a reference for the caller; or NULL. */
struct kap_version_file *kap_versions_find(struct kap_versions *versions, uint64_t file_id);
/* The next buried file, to be closed (and unlinked when obsolete) and freed by kap_version_file_destroy; or NULL. */
struct kap_version_file *kap_versions_exhume(struct kap_versions *versions);
void kap_version_file_destroy(struct kap_versions *versions, struct kap_version_file *file);
