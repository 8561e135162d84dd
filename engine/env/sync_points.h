/* sync_points.h - every sync of the store, by name, so that a test can remove them one at a time.
 *
 * Give KAP_SYNC_POINT(name) to kap_io.sync_point of a SYNC, SYNC_DIR or DSYNC write. A name that is not listed does not
 * compile. In a -Dlose_sync build the losing environment skips the one that is chosen, and a crash test must notice. */
#pragma once

#define KAP_SYNC_POINTS(X)                                                                                             \
    X(store_dir)                                                                                                       \
    X(recovered_log)                                                                                                   \
    X(recovered_superblock)                                                                                            \
    X(recovered_snapshots)                                                                                             \
    X(wal_frame)                                                                                                       \
    X(wal_create_dir)                                                                                                  \
    X(segment_data)                                                                                                    \
    X(segment_dir)                                                                                                     \
    X(manifest_edit)                                                                                                   \
    X(manifest_new)                                                                                                    \
    X(manifest_new_dir)                                                                                                \
    X(superblock)                                                                                                      \
    X(pack_data)                                                                                                       \
    X(pack_dir)                                                                                                        \
    X(snapshot_files_dir)                                                                                              \
    X(snapshot_manifest)                                                                                               \
    X(snapshot_superblock)                                                                                             \
    X(snapshot_dir)

enum kap_sync_point {
#define KAP_SYNC_POINT_ENUM(name) KAP_SYNC_POINT_##name,
    KAP_SYNC_POINTS(KAP_SYNC_POINT_ENUM)
#undef KAP_SYNC_POINT_ENUM
        KAP_SYNC_POINT_COUNT
};

/* The name as a string; a constant expression. */
#define KAP_SYNC_POINT(name) (&#name[0 * KAP_SYNC_POINT_##name])
