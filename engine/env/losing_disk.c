/* Data of files: what is read now, what is durable, and the writes in between. */
#include "engine/env/losing_internal.h"

static void image_resize(struct losing_env *env, struct losing_image *image, size_t len)
{
    if (len > image->cap) {
        size_t cap = KAP_MAX(len, image->cap * 2);
        uint8_t *data = losing_alloc(env, cap);
        if (image->len > 0)
            memcpy(data, image->data, image->len);
        losing_free(env, image->data);
        image->data = data;
        image->cap = cap;
    }
    if (len > image->len)
        memset(image->data + image->len, 0, len - image->len);
    image->len = len;
}

static void image_write(struct losing_env *env, struct losing_image *image, uint64_t offset, const void *data,
                        size_t len)
{
    if (len == 0)
        return;
    if (offset + len > image->len)
        image_resize(env, image, (size_t)offset + len);
    memcpy(image->data + offset, data, len);
}

static void writes_free(struct losing_env *env, struct losing_write *write)
{
    while (write) {
        struct losing_write *next = write->next;
        losing_free(env, write);
        write = next;
    }
}

void losing_node_free(struct losing_env *env, struct losing_node *node)
{
    writes_free(env, node->writes);
    losing_free(env, node->live.data);
    losing_free(env, node->durable.data);
    losing_entries_free(env, &node->live_names);
    losing_entries_free(env, &node->durable_names);
    losing_free(env, node);
}

static struct losing_write *write_new(struct losing_env *env, uint64_t seq, uint64_t offset, const void *data,
                                      size_t len)
{
    struct losing_write *write = losing_alloc(env, sizeof *write + len);
    write->seq = seq;
    write->offset = offset;
    write->len = len;
    if (len > 0)
        memcpy(write->data, data, len);
    return write;
}

static void writes_append(struct losing_node *node, struct losing_write *write)
{
    struct losing_write **end = &node->writes;
    while (*end)
        end = &(*end)->next;
    *end = write;
}

/* A durable write supersedes what older unsynced ones have in its range: they keep what lies before and after. */
static void writes_cut(struct losing_env *env, struct losing_node *node, uint64_t from, uint64_t to)
{
    for (struct losing_write **at = &node->writes; *at;) {
        struct losing_write *write = *at, *next = write->next;
        uint64_t end = write->offset + write->len;
        if (end <= from || write->offset >= to) {
            at = &write->next;
            continue;
        }
        struct losing_write **link = at;
        if (write->offset < from) {
            *link = write_new(env, write->seq, write->offset, write->data, (size_t)(from - write->offset));
            link = &(*link)->next;
        }
        if (end > to) {
            *link = write_new(env, write->seq, to, write->data + (to - write->offset), (size_t)(end - to));
            link = &(*link)->next;
        }
        *link = next;
        losing_free(env, write);
        at = link;
    }
}

static bool truncation_pending(const struct losing_node *node)
{
    for (const struct losing_write *write = node->writes; write; write = write->next)
        if (write->truncation)
            return true;
    return false;
}

void losing_write(struct losing_env *env, struct losing_node *node, uint64_t offset, const void *data, size_t len,
                  bool durable)
{
    env->seq++;
    image_write(env, &node->live, offset, data, len);
    if (!durable || truncation_pending(node))
        writes_append(node, write_new(env, env->seq, offset, data, len));
    if (!durable)
        return;
    if (truncation_pending(node)) { /* its place in the order matters, so everything before it becomes durable too */
        losing_sync(env, node, env->seq);
        return;
    }
    writes_cut(env, node, offset, offset + len);
    image_write(env, &node->durable, offset, data, len);
}

void losing_truncate(struct losing_env *env, struct losing_node *node, uint64_t bytes)
{
    env->seq++;
    image_resize(env, &node->live, (size_t)bytes);
    struct losing_write *write = write_new(env, env->seq, bytes, NULL, 0);
    write->truncation = true;
    writes_append(node, write);
}

static void write_apply(struct losing_env *env, struct losing_node *node, const struct losing_write *write)
{
    if (write->truncation)
        image_resize(env, &node->durable, (size_t)write->offset);
    else
        image_write(env, &node->durable, write->offset, write->data, write->len);
}

void losing_sync(struct losing_env *env, struct losing_node *node, uint64_t horizon)
{
    while (node->writes && node->writes->seq <= horizon) {
        struct losing_write *write = node->writes;
        write_apply(env, node, write);
        node->writes = write->next;
        losing_free(env, write);
    }
}

/* What of one sector of one unsynced write is on the disk. at..end are bytes of the write; the image is long enough or
 * they are beyond the size that survived. */
static void sector_survive(struct losing_env *env, struct losing_node *node, const struct losing_write *write,
                           size_t at, size_t end, unsigned keep_percent)
{
    uint64_t *chance = &env->chance_damage;
    if (write->offset + end > node->durable.len)
        end = write->offset + at < node->durable.len ? (size_t)(node->durable.len - write->offset) : at;
    if (at == end)
        return;
    uint8_t *to = node->durable.data + write->offset + at;
    if (!env->options.sectors_whole && losing_chance(chance) % 16 == 0) {
        if (losing_chance(chance) % 2 == 0) {
            memcpy(to, write->data + at, losing_chance(chance) % (end - at));
            return;
        }
        for (size_t i = 0; i < end - at; i++)
            to[i] = (uint8_t)losing_chance(chance);
        return;
    }
    if (losing_chance(chance) % 100 < keep_percent)
        memcpy(to, write->data + at, end - at);
}

/* The size and the data of an extending write arrive independently: a longer file may read as zeros. */
static void write_survive(struct losing_env *env, struct losing_node *node, const struct losing_write *write,
                          unsigned keep_percent)
{
    bool size_kept = losing_chance(&env->chance_damage) % 100 < keep_percent;
    if (write->truncation) {
        if (size_kept)
            write_apply(env, node, write);
        return;
    }
    if (size_kept && write->offset + write->len > node->durable.len)
        image_resize(env, &node->durable, (size_t)write->offset + write->len);
    for (size_t at = 0; at < write->len;) {
        uint64_t sector_end = (write->offset + at) / KAP_LOSING_SECTOR * KAP_LOSING_SECTOR + KAP_LOSING_SECTOR;
        size_t end = KAP_MIN((size_t)(sector_end - write->offset), write->len);
        sector_survive(env, node, write, at, end, keep_percent);
        at = end;
    }
}

void losing_data_survive(struct losing_env *env, struct losing_node *node, enum kap_losing_mode mode,
                         unsigned keep_percent)
{
    if (mode == KAP_LOSING_ALL_KEPT)
        losing_sync(env, node, UINT64_MAX);
    else if (mode == KAP_LOSING_TORN)
        for (const struct losing_write *write = node->writes; write; write = write->next)
            write_survive(env, node, write, keep_percent);
    writes_free(env, node->writes);
    node->writes = NULL;
    node->live.len = 0;
    image_write(env, &node->live, 0, node->durable.data, node->durable.len);
}
