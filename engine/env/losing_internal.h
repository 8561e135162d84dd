/* losing_internal.h - what the files of env_losing share. */
#pragma once

#include "engine/base/assert.h"
#include "engine/env/env_losing.h"
#include "engine/env/sync_points.h"

struct losing_node;

struct losing_image {
    uint8_t *data;
    size_t len, cap;
};

/* One unsynced write, or truncation to offset. */
struct losing_write {
    struct losing_write *next;
    uint64_t seq, offset;
    size_t len;
    bool truncation;
    uint8_t data[];
};

struct losing_entry {
    char *name;
    struct losing_node *node;
};
struct losing_entries {
    struct losing_entry *list;
    size_t count, cap;
};

/* A file or a directory; its names are entries of directories. */
struct losing_node {
    struct losing_node *next;
    bool directory, reachable, locked;
    uint32_t opens;
    struct losing_image live, durable; /* a file's: as read now; as after losing everything unsynced */
    struct losing_write *writes; /* oldest first: durable and these make live */
    struct losing_entries live_names, durable_names; /* a directory's */
};

/* An unsynced change of names: the half that adds, the half that takes away, or both of a rename. dir is NULL for a
 * half that is absent or durable. */
struct losing_half {
    struct losing_node *dir, *node;
    char *name;
};
struct losing_change {
    struct losing_change *next;
    uint64_t seq;
    struct losing_half add, take;
};

struct losing_file {
    struct losing_file *next;
    struct losing_node *node;
    uint32_t in_flight;
    bool locks, direct;
};

struct losing_fifo {
    struct kap_io *first, *last;
    uint32_t count;
};

struct losing_worker;

struct losing_queue {
    struct kap_queue base;
    struct losing_queue *next;
    struct losing_worker *worker; /* NULL: polled by the main thread */
    uint32_t depth;
    struct losing_fifo in_flight; /* in order of submission; the first depth may complete */
    struct losing_fifo finished; /* done() is due in poll */
};

struct losing_env {
    struct kap_env base;
    struct kap_memory memory; /* the machine's own, so that the store's budget and hook do not see it */
    struct kap_losing_options options;
    uint64_t chance_schedule, chance_entropy, chance_damage; /* states of generators */
    /* disk */
    struct losing_node *nodes, *root;
    struct losing_change *changes; /* oldest first */
    struct losing_file *files;
    uint64_t seq; /* of the newest write or change */
    bool crashed;
    uint64_t crash_in, io_count, trace;
    const char *lost_sync;
    uint64_t sync_counts[KAP_SYNC_POINT_COUNT];
    /* executor */
    struct losing_queue *queues;
    struct losing_worker *workers, *running;
    int64_t now_ns, wall_offset_us;
};

extern const struct kap_env_ops losing_ops;

static inline struct losing_env *losing_env_of(struct kap_env *base)
{
    KAP_ASSERT(base->ops == &losing_ops);
    return KAP_OWNER(base, struct losing_env, base);
}

enum {
    LOSING_NEXT, /* env_private slots: in a fifo */
    LOSING_HORIZON, /* a sync covers what has a seq up to this */
};

/* env_losing.c */
uint64_t losing_chance(uint64_t *state);
void *losing_alloc(struct losing_env *env, size_t bytes);
void losing_free(struct losing_env *env, void *pointer);
char *losing_strdup(struct losing_env *env, const char *text);
void losing_trace(struct losing_env *env, uint64_t value);

/* losing_disk.c: data of files */
void losing_node_free(struct losing_env *env, struct losing_node *node);
void losing_write(struct losing_env *env, struct losing_node *node, uint64_t offset, const void *data, size_t len,
                  bool durable);
void losing_truncate(struct losing_env *env, struct losing_node *node, uint64_t bytes);
void losing_sync(struct losing_env *env, struct losing_node *node, uint64_t horizon);
void losing_data_survive(struct losing_env *env, struct losing_node *node, enum kap_losing_mode mode,
                         unsigned keep_percent);

/* losing_names.c: directories */
struct losing_node *losing_node_add(struct losing_env *env, bool directory);
/* NULL when there is no such file. */
struct losing_node *losing_find(struct losing_env *env, const char *path);
/* The directory and last part of a path; false when the directory does not exist. */
bool losing_split(struct losing_env *env, const char *path, struct losing_node **dir_out,
                  char name_out[KAP_PATH_BYTES_MAX]);
struct losing_node *losing_entry_get(const struct losing_entries *entries, const char *name);
kap_status losing_make(struct losing_env *env, const char *path, bool directory, struct losing_node **node_out);
kap_status losing_remove(struct losing_env *env, const char *path, bool directory);
kap_status losing_rename(struct losing_env *env, const char *from, const char *to);
kap_status losing_link(struct losing_env *env, const char *from, const char *to);
kap_status losing_sync_dir(struct losing_env *env, const char *path, uint64_t horizon);
void losing_names_survive(struct losing_env *env, enum kap_losing_mode mode, unsigned keep_percent);
void losing_entries_free(struct losing_env *env, struct losing_entries *entries);
/* Frees nodes that nothing can reach any more. */
void losing_sweep(struct losing_env *env);
uint64_t losing_used_bytes(struct losing_env *env);

/* losing_io.c: operations */
void losing_submit(struct kap_queue *queue, struct kap_io *io);
/* The operation takes effect (or the power fails at it); the caller takes it from its queue and calls done(). */
void losing_execute(struct losing_env *env, struct kap_io *io);
void losing_file_free(struct losing_env *env, struct losing_file *file);
void losing_fifo_push(struct losing_fifo *fifo, struct kap_io *io);
struct kap_io *losing_fifo_take(struct losing_fifo *fifo, uint32_t position);

/* losing_executor.c: queues, workers, time */
kap_status losing_queue_create(struct kap_env *env, uint32_t depth, struct kap_queue **queue_out,
                               struct kap_error *error);
void losing_queue_destroy(struct kap_queue *queue);
int losing_poll(struct kap_queue *queue, int64_t wait_ns);
kap_status losing_worker_start(struct kap_env *env, const char *name, kap_step_fn step, void *context,
                               struct kap_worker **worker_out);
void losing_worker_wake(struct kap_worker *worker);
void losing_worker_sleep(struct kap_worker *worker, int64_t ns);
void losing_worker_stop(struct kap_worker *worker);
