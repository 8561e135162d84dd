/* Directories: names now, names that are durable, and the changes in between. */
#include "engine/env/losing_internal.h"

struct losing_node *losing_entry_get(const struct losing_entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->list[i].name, name) == 0)
            return entries->list[i].node;
    return NULL;
}

static void entry_set(struct losing_env *env, struct losing_entries *entries, const char *name,
                      struct losing_node *node)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->list[i].name, name) == 0) {
            entries->list[i].node = node;
            return;
        }
    if (entries->count == entries->cap) {
        size_t cap = entries->cap ? entries->cap * 2 : 8;
        struct losing_entry *list = losing_alloc(env, cap * sizeof *list);
        if (entries->count > 0)
            memcpy(list, entries->list, entries->count * sizeof *list);
        losing_free(env, entries->list);
        entries->list = list;
        entries->cap = cap;
    }
    entries->list[entries->count++] = (struct losing_entry){losing_strdup(env, name), node};
}

/* Only while the name still means that node: another may have taken it since. */
static void entry_take(struct losing_env *env, struct losing_entries *entries, const char *name,
                       const struct losing_node *node)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->list[i].name, name) == 0 && entries->list[i].node == node) {
            losing_free(env, entries->list[i].name);
            entries->list[i] = entries->list[--entries->count];
            return;
        }
}

void losing_entries_free(struct losing_env *env, struct losing_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        losing_free(env, entries->list[i].name);
    losing_free(env, entries->list);
    *entries = (struct losing_entries){0};
}

struct losing_node *losing_node_add(struct losing_env *env, bool directory)
{
    struct losing_node *node = losing_alloc(env, sizeof *node);
    node->directory = directory;
    node->next = env->nodes;
    env->nodes = node;
    return node;
}

/* The next part of a path; false at its end. "." and empty parts do not count. */
static bool path_part(const char **path, char part_out[KAP_PATH_BYTES_MAX])
{
    for (;;) {
        const char *at = *path + strspn(*path, "/");
        size_t len = strcspn(at, "/");
        KAP_ASSERT(len < KAP_PATH_BYTES_MAX);
        *path = at + len;
        if (len == 0)
            return false;
        if (len == 1 && at[0] == '.')
            continue;
        memcpy(part_out, at, len);
        part_out[len] = '\0';
        return true;
    }
}

bool losing_split(struct losing_env *env, const char *path, struct losing_node **dir_out,
                  char name_out[KAP_PATH_BYTES_MAX])
{
    char next[KAP_PATH_BYTES_MAX];
    struct losing_node *dir = env->root;
    if (!path_part(&path, name_out))
        return false;
    while (path_part(&path, next)) {
        dir = losing_entry_get(&dir->live_names, name_out);
        if (!dir || !dir->directory)
            return false;
        strcpy(name_out, next);
    }
    *dir_out = dir;
    return true;
}

struct losing_node *losing_find(struct losing_env *env, const char *path)
{
    char part[KAP_PATH_BYTES_MAX];
    struct losing_node *node = env->root;
    while (node && path_part(&path, part))
        node = node->directory ? losing_entry_get(&node->live_names, part) : NULL;
    return node;
}

static void half_set(struct losing_env *env, struct losing_half *half, struct losing_node *dir, const char *name,
                     struct losing_node *node)
{
    *half = (struct losing_half){.dir = dir, .node = node, .name = losing_strdup(env, name)};
}

static void half_clear(struct losing_env *env, struct losing_half *half)
{
    losing_free(env, half->name);
    *half = (struct losing_half){0};
}

static struct losing_change *change_append(struct losing_env *env)
{
    struct losing_change *change = losing_alloc(env, sizeof *change), **end = &env->changes;
    while (*end)
        end = &(*end)->next;
    change->seq = ++env->seq;
    *end = change;
    return change;
}

kap_status losing_make(struct losing_env *env, const char *path, bool directory, struct losing_node **node_out)
{
    struct losing_node *dir;
    char name[KAP_PATH_BYTES_MAX];
    if (!losing_split(env, path, &dir, name))
        return losing_find(env, path) ? KAP_EXISTS : KAP_NO_FILE;
    if (losing_entry_get(&dir->live_names, name))
        return KAP_EXISTS;
    struct losing_node *node = losing_node_add(env, directory);
    entry_set(env, &dir->live_names, name, node);
    half_set(env, &change_append(env)->add, dir, name, node);
    *node_out = node;
    return KAP_OK;
}

kap_status losing_remove(struct losing_env *env, const char *path, bool directory)
{
    struct losing_node *dir;
    char name[KAP_PATH_BYTES_MAX];
    struct losing_node *node = losing_split(env, path, &dir, name) ? losing_entry_get(&dir->live_names, name) : NULL;
    if (!node)
        return KAP_NO_FILE;
    if (node->directory != directory)
        return KAP_IO;
    if (node->live_names.count > 0)
        return KAP_EXISTS;
    entry_take(env, &dir->live_names, name, node);
    half_set(env, &change_append(env)->take, dir, name, node);
    return KAP_OK;
}

kap_status losing_rename(struct losing_env *env, const char *from, const char *to)
{
    struct losing_node *from_dir, *to_dir;
    char from_name[KAP_PATH_BYTES_MAX], to_name[KAP_PATH_BYTES_MAX];
    if (!losing_split(env, from, &from_dir, from_name) || !losing_split(env, to, &to_dir, to_name))
        return KAP_NO_FILE;
    struct losing_node *node = losing_entry_get(&from_dir->live_names, from_name);
    if (!node)
        return KAP_NO_FILE;
    struct losing_node *replaced = losing_entry_get(&to_dir->live_names, to_name);
    if (replaced == node)
        return KAP_OK; /* two names of one file: both stay, as POSIX has it */
    if (replaced && replaced->directory != node->directory)
        return KAP_IO;
    if (replaced && replaced->live_names.count > 0)
        return KAP_EXISTS;
    entry_set(env, &to_dir->live_names, to_name, node);
    entry_take(env, &from_dir->live_names, from_name, node);
    struct losing_change *change = change_append(env);
    half_set(env, &change->add, to_dir, to_name, node);
    half_set(env, &change->take, from_dir, from_name, node);
    return KAP_OK;
}

kap_status losing_link(struct losing_env *env, const char *from, const char *to)
{
    struct losing_node *node = losing_find(env, from), *dir;
    char name[KAP_PATH_BYTES_MAX];
    if (!node || !losing_split(env, to, &dir, name))
        return KAP_NO_FILE;
    if (node->directory)
        return KAP_NOT_PERMITTED;
    if (losing_entry_get(&dir->live_names, name))
        return KAP_EXISTS;
    entry_set(env, &dir->live_names, name, node);
    half_set(env, &change_append(env)->add, dir, name, node);
    return KAP_OK;
}

static void change_apply(struct losing_env *env, struct losing_change *change, const struct losing_node *only_dir)
{
    if (change->add.dir && (!only_dir || change->add.dir == only_dir)) {
        entry_set(env, &change->add.dir->durable_names, change->add.name, change->add.node);
        half_clear(env, &change->add);
    }
    if (!change->add.dir && change->take.dir && (!only_dir || change->take.dir == only_dir)) {
        entry_take(env, &change->take.dir->durable_names, change->take.name, change->take.node);
        half_clear(env, &change->take);
    }
}

kap_status losing_sync_dir(struct losing_env *env, const char *path, uint64_t horizon)
{
    struct losing_node *dir = losing_find(env, path);
    if (!dir)
        return KAP_NO_FILE;
    if (!dir->directory)
        return KAP_IO;
    for (struct losing_change **at = &env->changes; *at && (*at)->seq <= horizon;) {
        struct losing_change *change = *at;
        change_apply(env, change, dir);
        if (change->add.dir || change->take.dir) {
            at = &change->next;
        } else {
            *at = change->next;
            losing_free(env, change);
        }
    }
    losing_sweep(env);
    return KAP_OK;
}

void losing_names_survive(struct losing_env *env, enum kap_losing_mode mode, unsigned keep_percent)
{
    while (env->changes) {
        struct losing_change *change = env->changes;
        bool kept = mode == KAP_LOSING_ALL_KEPT;
        if (mode == KAP_LOSING_TORN)
            kept = losing_chance(&env->chance_damage) % 100 < keep_percent;
        if (kept)
            change_apply(env, change, NULL);
        half_clear(env, &change->add);
        half_clear(env, &change->take);
        env->changes = change->next;
        losing_free(env, change);
    }
    for (struct losing_node *node = env->nodes; node; node = node->next) {
        losing_entries_free(env, &node->live_names);
        for (size_t i = 0; i < node->durable_names.count; i++)
            entry_set(env, &node->live_names, node->durable_names.list[i].name, node->durable_names.list[i].node);
    }
    losing_sweep(env);
}

static void reach(struct losing_node *node)
{
    if (!node || node->reachable)
        return;
    node->reachable = true;
    for (size_t i = 0; i < node->live_names.count; i++)
        reach(node->live_names.list[i].node);
    for (size_t i = 0; i < node->durable_names.count; i++)
        reach(node->durable_names.list[i].node);
}

void losing_sweep(struct losing_env *env)
{
    for (struct losing_node *node = env->nodes; node; node = node->next)
        node->reachable = false;
    reach(env->root);
    for (struct losing_change *change = env->changes; change; change = change->next) {
        reach(change->add.dir);
        reach(change->add.node);
        reach(change->take.dir);
        reach(change->take.node);
    }
    for (struct losing_file *file = env->files; file; file = file->next)
        reach(file->node);
    for (struct losing_node **at = &env->nodes; *at;) {
        struct losing_node *node = *at;
        if (node->reachable) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        losing_node_free(env, node);
    }
}

static void used_add(struct losing_node *dir, uint64_t *bytes)
{
    for (size_t i = 0; i < dir->live_names.count; i++) {
        struct losing_node *node = dir->live_names.list[i].node;
        if (node->reachable)
            continue; /* another name of a file already counted */
        node->reachable = true;
        *bytes += node->live.len;
        used_add(node, bytes);
    }
}

uint64_t losing_used_bytes(struct losing_env *env)
{
    uint64_t bytes = 0;
    for (struct losing_node *node = env->nodes; node; node = node->next)
        node->reachable = false;
    used_add(env->root, &bytes);
    for (struct losing_file *file = env->files; file; file = file->next)
        if (!file->node->reachable) {
            file->node->reachable = true; /* unlinked and open */
            bytes += file->node->live.len;
        }
    return bytes;
}
