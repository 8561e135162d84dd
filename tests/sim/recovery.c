/* After a restart: everything that is stored is read behind the service's back and compared with the model. */
#include <stdarg.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/model/check.h"
#include "proto/kap_schema.h"
#include "proto/wire.h"
#include "tests/sim/world.h"

struct stored {
    uint16_t tree;
    struct kap_bytes key, value; /* key without the tree's number */
};

struct stored_list {
    struct stored *at;
    uint32_t n, cap;
};

static struct kap_id id_at(struct kap_bytes bytes, size_t at)
{
    struct kap_id id = {{0}};
    if (bytes.len >= at + sizeof id.bytes)
        memcpy(id.bytes, bytes.data + at, sizeof id.bytes);
    return id;
}

/* Big-endian, as keys have it. */
static uint64_t seq_at(struct kap_bytes key, size_t at)
{
    uint64_t seq = 0;
    for (size_t i = at; i < at + 8 && i < key.len; i++)
        seq = seq << 8 | key.data[i];
    return seq;
}

static void blocks_load(struct kap_store *store, struct kap_queue *queue, struct kap_read_context *context)
{
    for (int rounds = 0; rounds < 100000; rounds++) {
        kap_store_pump(store);
        if (kap_store_next_ready(store) == context)
            return;
        kap_queue_poll(queue, 1000000);
    }
    sim_fail("blocks never arrive");
}

static void stored_add(struct kap_arena *arena, struct stored_list *list, const struct kap_entry *entry)
{
    uint16_t tree = kap_tree_of(entry->key);
    if (tree != KAP_TREE_ROWS && tree != KAP_TREE_HISTORY && tree != KAP_TREE_IDEMPOTENCY && tree != KAP_TREE_LOCATOR)
        return;
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 512;
        struct stored *at = sim_alloc(arena, cap * sizeof *at);
        if (list->n)
            memcpy(at, list->at, list->n * sizeof *at);
        list->at = at;
        list->cap = cap;
    }
    struct kap_bytes key = kap_bytes(entry->key.data + KAP_TREE_BYTES, entry->key.len - KAP_TREE_BYTES);
    list->at[list->n++] = (struct stored){tree, sim_copy(arena, key), sim_copy(arena, entry->value)};
}

/* Everything in the order of keys. */
static struct stored_list everything(struct kap_arena *arena, struct kap_store *store, struct kap_queue *queue)
{
    static const uint8_t lo[1] = {0}, hi[1] = {0xff};
    struct kap_env *env = kap_store_env(store);
    struct stored_list list = {0};
    struct kap_read_context context;
    struct kap_view view;
    struct kap_arena scratch;
    kap_status status = KAP_PENDING;
    kap_arena_init(&scratch, &env->memory, 16 * 1024, 0);
    kap_store_context_init(store, &context);
    kap_store_view_begin(store, &view, &context);
    while (status == KAP_PENDING) {
        struct kap_scan scan;
        list.n = 0;
        kap_arena_reset(&scratch);
        status = kap_scan_init(&scan, &view, &scratch, kap_bytes(lo, 1), kap_bytes(hi, 1));
        while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK)
            stored_add(arena, &list, &scan.entry);
        if (status == KAP_PENDING)
            blocks_load(store, queue, &context);
    }
    if (status != KAP_END)
        sim_fail("the stored rows cannot be read: %s", kap_status_name(status));
    struct kap_model_check_result result;
    while ((status = kap_model_check(&view, &kap_schema, &env->memory, &result)) == KAP_PENDING)
        blocks_load(store, queue, &context);
    if (status != KAP_OK || result.faults)
        sim_fail("what follows from the rows is not what is stored (%s), %llu faults, the first: %s",
                 kap_status_name(status), (unsigned long long)result.faults, result.first_fault);
    kap_store_view_end(store, &view);
    kap_read_context_release(&context);
    kap_arena_deinit(&scratch);
    return list;
}

/* ---- comparing; the first difference is kept in words */

struct comparing {
    struct model *model;
    const struct stored_list *list;
    char why[240];
};

static bool differs(struct comparing *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool differs(struct comparing *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->why, sizeof c->why, format, arguments);
    va_end(arguments);
    return false;
}

/* A row whose id we could not know: the one that says the same, written by the same commit. */
static struct sim_row *unknown_find(struct model *model, uint8_t kind, const struct sim_fields *sys,
                                    const struct sim_fields *rest)
{
    for (uint32_t i = 0; i < model->kinds[kind].n; i++) {
        struct sim_row *row = model->kinds[kind].at[i];
        if (!model_is_placeholder(row->id) || row->commit_seq != fields_number(sys, 7, 0) ||
            row->rev != fields_number(sys, 2, 0) || !fields_equal(&row->fields, rest))
            continue;
        model_rename(model, 0, row->id, fields_id(sys, 1));
        return row;
    }
    return NULL;
}

static bool row_compare(struct comparing *c, const struct stored *stored)
{
    struct model *model = c->model;
    struct kap_id root = id_at(stored->key, 1), id = id_at(stored->key, 18);
    uint8_t kind = stored->key.data[17];
    struct sim_fields fields, sys;
    if (!fields_parse(model->arena, stored->value, &fields) ||
        !fields_parse(model->arena, fields_bytes(&fields, 1), &sys))
        return differs(c, "a stored %s is no message", model_kind_name(kind));
    fields = fields_without(model->arena, &fields, 1);
    struct sim_row *row = model_find(model, kind, id);
    if (kind == KAP_KIND_TREE_HEAD) {
        if (!row || fields_number(&fields, 2, 0) != row->commit_seq)
            return differs(c, "head of %s: expected tree_rev %llu, found %llu", sim_id(id),
                           (unsigned long long)(row ? row->commit_seq : 0),
                           (unsigned long long)fields_number(&fields, 2, 0));
        return true;
    }
    if (!row)
        row = unknown_find(model, kind, &sys, &fields);
    if (!row)
        return differs(c, "the %s %s (rev %llu of commit %llu) is stored but should not be there",
                       model_kind_name(kind), sim_id(id), (unsigned long long)fields_number(&sys, 2, 0),
                       (unsigned long long)fields_number(&sys, 7, 0));
    uint32_t field = fields_differ(&row->fields, &fields);
    if (!kap_id_eq(row->root, root) || field != 0)
        return differs(c, "the %s %s differs in field %u (0: its root); stored is rev %llu of commit %llu",
                       model_kind_name(kind), sim_id(id), field, (unsigned long long)fields_number(&sys, 2, 0),
                       (unsigned long long)fields_number(&sys, 7, 0));
    if (row->rev != fields_number(&sys, 2, 0) || row->commit_seq != fields_number(&sys, 7, 0) ||
        row->created_at != (int64_t)fields_number(&sys, 3, 0) || row->updated_at != (int64_t)fields_number(&sys, 4, 0))
        return differs(c, "the %s %s: expected rev %llu of commit %llu, found rev %llu of commit %llu (or other times)",
                       model_kind_name(kind), sim_id(id), (unsigned long long)row->rev,
                       (unsigned long long)row->commit_seq, (unsigned long long)fields_number(&sys, 2, 0),
                       (unsigned long long)fields_number(&sys, 7, 0));
    return true;
}

static bool key_compare(struct comparing *c, const struct stored *stored)
{
    const struct sim_row *key = model_find_key(c->model, id_at(stored->key, 0), id_at(stored->key, 16));
    struct kap_idempotency_record record;
    if (kap_wire_decode(&kap_idempotency_record_msg, stored->value, c->model->arena, KAP_WIRE_STORED, &record, NULL))
        return differs(c, "an idempotency record cannot be decoded");
    if (!key || key->commit_seq != record.commit_seq || !kap_bytes_eq(key->reply, record.reply))
        return differs(c, "idempotency key %s of commit %llu should not be there", sim_id(id_at(stored->key, 16)),
                       (unsigned long long)record.commit_seq);
    return true;
}

static bool missing_find(struct comparing *c, uint32_t n_stored[MODEL_KINDS])
{
    for (uint32_t kind = 1; kind < MODEL_KINDS; kind++) {
        if (kind == MODEL_TOMB || c->model->kinds[kind].n == n_stored[kind])
            continue;
        return differs(c, "expected %u rows of kind %s, found %u", c->model->kinds[kind].n,
                       model_kind_name((uint8_t)kind), n_stored[kind]);
    }
    return true;
}

/* ---- history: for every row and commit of the log one record, with the row as it was before */

struct past {
    struct kap_id root, id;
    uint8_t kind;
    uint64_t seq;
    const struct sim_row *before, *after;
};

static int past_order(const void *a, const void *b)
{
    const struct past *x = a, *y = b;
    int order = kap_id_cmp(x->root, y->root);
    if (order == 0)
        order = (int)x->kind - (int)y->kind;
    if (order == 0)
        order = kap_id_cmp(x->id, y->id);
    if (order == 0)
        order = x->seq > y->seq ? -1 : x->seq < y->seq; /* newest first */
    return order;
}

/* Changes of one row in one commit become one. The log is in order, so the first before and the last after count. */
static struct past *past_gather(struct model *model, uint32_t *n_out)
{
    struct past *past = sim_alloc(model->arena, (model->n_applied + 1) * sizeof *past);
    uint32_t n = 0, first_of_seq = 0;
    for (uint32_t i = 0; i < model->n_applied; i++) {
        const struct sim_change *change = &model->log[i];
        const struct sim_row *row = change->before ? change->before : change->after;
        bool is_known = false;
        if (row->kind >= MODEL_TOMB || row->kind == KAP_KIND_TREE_HEAD)
            continue;
        if (n > 0 && past[n - 1].seq != change->seq)
            first_of_seq = n;
        for (uint32_t k = first_of_seq; k < n && !is_known; k++) {
            is_known = past[k].kind == row->kind && kap_id_eq(past[k].id, row->id) && past[k].seq == change->seq;
            if (is_known)
                past[k].after = change->after;
        }
        if (!is_known)
            past[n++] = (struct past){row->root, row->id, row->kind, change->seq, change->before, change->after};
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) /* what came and went within a commit has no past */
        if (past[i].before || past[i].after)
            past[kept++] = past[i];
    qsort(past, kept, sizeof *past, past_order);
    *n_out = kept;
    return past;
}

static bool record_compare(struct comparing *c, const struct stored *stored, const struct past *past)
{
    struct kap_history_record record;
    struct sim_fields fields, sys;
    uint64_t seq = ~seq_at(stored->key, 33);
    int32_t op = !past->before ? KAP_CHANGE_OP_CREATE : !past->after ? KAP_CHANGE_OP_DELETE : KAP_CHANGE_OP_UPDATE;
    if (!kap_id_eq(id_at(stored->key, 0), past->root) || stored->key.data[16] != past->kind ||
        !kap_id_eq(id_at(stored->key, 17), past->id) || seq != past->seq)
        return differs(c, "history: expected commit %llu of the %s %s, found commit %llu of %s",
                       (unsigned long long)past->seq, model_kind_name(past->kind), sim_id(past->id),
                       (unsigned long long)seq, sim_id(id_at(stored->key, 17)));
    if (kap_wire_decode(&kap_history_record_msg, stored->value, c->model->arena, KAP_WIRE_STORED, &record, NULL))
        return differs(c, "history: a record cannot be decoded");
    if (record.op != op || (past->before && record.rev != past->before->rev))
        return differs(c, "history of the %s %s at commit %llu: op %d, rev %llu", model_kind_name(past->kind),
                       sim_id(past->id), (unsigned long long)seq, record.op, (unsigned long long)record.rev);
    if (!past->before)
        return true;
    if (!fields_parse(c->model->arena, record.image, &fields) ||
        !fields_parse(c->model->arena, fields_bytes(&fields, 1), &sys))
        return differs(c, "history: an image is no message");
    fields = fields_without(c->model->arena, &fields, 1);
    if (!fields_equal(&fields, &past->before->fields) || fields_number(&sys, 2, 0) != past->before->rev ||
        fields_number(&sys, 7, 0) != past->before->commit_seq)
        return differs(c, "history of the %s %s at commit %llu: not the row as it was before",
                       model_kind_name(past->kind), sim_id(past->id), (unsigned long long)seq);
    return true;
}

static bool history_compare(struct comparing *c)
{
    uint32_t n, at = 0;
    const struct past *past = past_gather(c->model, &n);
    for (uint32_t i = 0; i < c->list->n; i++) {
        if (c->list->at[i].tree != KAP_TREE_HISTORY)
            continue;
        if (at == n)
            return differs(c, "history has more records than there were changes");
        if (!record_compare(c, &c->list->at[i], &past[at++]))
            return false;
    }
    return at == n ? true
                   : differs(c, "history lacks the %s %s at commit %llu", model_kind_name(past[at].kind),
                             sim_id(past[at].id), (unsigned long long)past[at].seq);
}

/* A row in the locator is a part, under the root it says. */
static bool locator_compare(struct comparing *c, const struct stored *stored)
{
    const struct sim_row *row = model_find(c->model, stored->key.data[16], id_at(stored->key, 0));
    if (!row || !kap_id_eq(row->root, id_at(stored->value, 0)))
        return differs(c, "the locator names the %s %s under another root, or it should not be there",
                       model_kind_name(stored->key.data[16]), sim_id(id_at(stored->key, 0)));
    return true;
}

/* The model's state must be rewound to what is compared. */
static bool state_compare(struct comparing *c)
{
    uint32_t n_stored[MODEL_KINDS] = {0};
    /* Rows whose ids we could not know hang on each other: those on top are learnt first. */
    for (int pass = 0; pass < 4; pass++)
        for (uint32_t i = 0; i < c->list->n; i++)
            if (c->list->at[i].tree == KAP_TREE_ROWS &&
                !model_find(c->model, c->list->at[i].key.data[17], id_at(c->list->at[i].key, 18)))
                row_compare(c, &c->list->at[i]);
    for (uint32_t i = 0; i < c->list->n; i++) {
        const struct stored *stored = &c->list->at[i];
        bool same = stored->tree == KAP_TREE_ROWS          ? row_compare(c, stored)
                    : stored->tree == KAP_TREE_IDEMPOTENCY ? key_compare(c, stored)
                    : stored->tree == KAP_TREE_LOCATOR     ? locator_compare(c, stored)
                                                           : true;
        if (!same)
            return false;
        if (stored->tree == KAP_TREE_ROWS)
            n_stored[stored->key.data[17]]++;
        n_stored[MODEL_KEY] += stored->tree == KAP_TREE_IDEMPOTENCY;
    }
    return missing_find(c, n_stored) && history_compare(c);
}

static uint64_t newest_stored(const struct model *model, const struct stored_list *list)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        struct sim_fields fields, sys;
        if (list->at[i].tree != KAP_TREE_ROWS || !fields_parse(model->arena, list->at[i].value, &fields) ||
            !fields_parse(model->arena, fields_bytes(&fields, 1), &sys))
            continue;
        newest = KAP_MAX(newest, fields_number(&sys, 7, 0));
    }
    return newest;
}

void recovery_check(struct world *world, const char *where)
{
    struct model *model = &world->model;
    struct stored_list list = everything(&world->arena, world->store, world->queue);
    struct comparing c = {.model = model, .list = &list};
    uint64_t newest = newest_stored(model, &list), found = UINT64_MAX;
    char why[240] = "";
    for (uint64_t seq = model->head_seq;; seq = model->n_applied ? model->log[model->n_applied - 1].seq : 0) {
        model_rewind(model, seq);
        bool same = state_compare(&c);
        if (seq == newest || why[0] == 0)
            memcpy(why, c.why, sizeof why);
        if (same)
            found = seq;
        if (same || seq <= world->acked_seq || seq == 0)
            break;
        model_rewind(model, seq - 1); /* to the commit before, past numbers left out */
    }
    if (found == UINT64_MAX) {
        sim_fail(
            "%s: the store is not the model at any commit from the acknowledged %llu to the submitted %llu; newest "
            "row stored: %llu; there: %s",
            where, (unsigned long long)world->acked_seq, (unsigned long long)model->head_seq,
            (unsigned long long)newest, why);
    }
    uint64_t head = kap_store_head_seq(world->store);
    if (head < model->head_seq && head < found)
        sim_fail("%s: the store numbers from %llu, but commit %llu is there", where, (unsigned long long)head,
                 (unsigned long long)found);
    sim_event("%s: commit %llu of %llu acknowledged, %llu submitted; goes on from %llu", where,
              (unsigned long long)found, (unsigned long long)world->acked_seq, (unsigned long long)model->head_seq,
              (unsigned long long)head);
    model_truncate(model, found);
    model->head_seq = head;
    model->last_us = 0;
    model->seen_seq = KAP_MAX(world->acked_seq, found); /* what nobody was told may be used again */
    model->may_skip = true;
    world->acked_seq = KAP_MAX(world->acked_seq, found);
    kap_losing_advance(world->env, 1000000000); /* past the times of all commits before */
}

void recovery_check_snapshots(struct world *world)
{
    for (uint32_t i = 0; i < world->n_snapshots; i++) {
        char path[64];
        struct kap_store_options options = world->options;
        struct kap_queue *queue;
        struct kap_store *store;
        struct kap_error error = {0};
        snprintf(path, sizeof path, "/data/snapshots/%s", world->snapshots[i].name);
        options.directory = path;
        options.create = false;
        if (kap_queue_create(world->env, 64, &queue, &error) != KAP_OK ||
            kap_store_open(world->env, queue, &options, &store, &error) != KAP_OK)
            sim_fail("the snapshot %s does not open: %s", path, error.text);
        struct stored_list list = everything(&world->arena, store, queue);
        struct comparing c = {.model = &world->model, .list = &list};
        model_rewind(&world->model, world->snapshots[i].seq);
        if (!state_compare(&c))
            sim_fail("the snapshot %s is not the state of commit %llu: %s", path,
                     (unsigned long long)world->snapshots[i].seq, c.why);
        model_forward(&world->model);
        kap_store_close(store);
        kap_queue_destroy(queue);
        world->counts.snapshots++;
    }
}
