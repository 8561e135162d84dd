/* A store that an earlier kapd made gets the indexes it does not have, before anybody reads them. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "engine/index/index.h"
#include "proto/wire.h"

#include <stdio.h>

enum { TAGS = 700 };

static struct service_fixture fx;

/* The schema without some indexes: what the catalogue of an older store knows. */
static const struct kap_schema *schema_without(uint16_t one, uint16_t other)
{
    static struct kap_schema older;
    static struct kap_index_desc indexes[256];
    older = kap_schema;
    older.indexes = indexes;
    older.n_indexes = 0;
    for (uint16_t i = 0; i < kap_schema.n_indexes; i++)
        if (kap_schema.indexes[i].id != one && kap_schema.indexes[i].id != other)
            indexes[older.n_indexes++] = kap_schema.indexes[i];
    return &older;
}

/* Leaves in the store what an older kapd would: nothing, or something that is not true. */
static void index_spoil(uint16_t index)
{
    static const uint16_t trees[] = {0, 1};
    for (size_t t = 0; t < 2; t++) {
        bool more = true;
        while (more) {
            struct kap_read_context context;
            struct kap_arena arena;
            struct kap_scan scan;
            struct kap_key prefix;
            struct kap_txn txn;
            uint64_t seq;
            uint32_t n = 0;
            kap_arena_init(&arena, &fx.env->memory, 64 * 1024, 0);
            kap_store_context_init(fx.store, &context);
            if (trees[t] == 0)
                kap_index_key_init(&prefix, index);
            else
                kap_index_count_key_init(&prefix, index);
            cr_assert_eq(kap_store_txn_begin(fx.store, &txn, &arena, &context), KAP_OK);
            kap_status status = kap_scan_init_prefix(&scan, &txn.view, &arena, kap_key_bytes(&prefix));
            while (status == KAP_OK && n < 100 && (status = kap_scan_next(&scan)) == KAP_OK) {
                struct kap_bytes key = kap_arena_copy(&arena, scan.entry.key);
                status = t == 1 ? kap_txn_put(&txn, key, kap_bytes("\7\0\0\0\0\0\0\0", 8)) : kap_txn_delete(&txn, key);
                n++;
            }
            cr_assert(status == KAP_OK || status == KAP_END);
            more = t == 0 && n == 100;
            cr_assert_eq(kap_store_txn_commit(fx.store, &txn, &seq), KAP_OK);
            kap_read_context_release(&context);
            kap_arena_deinit(&arena);
        }
    }
}

Test(reindex, missing_indexes_are_built_before_the_store_is_served)
{
    service_fixture_open_as(&fx, 51, schema_without(KAP_INDEX_TAG_BY_NAME, KAP_INDEX_USER_ALL));
    cr_assert_eq(fx.n_built, 0u);
    for (int i = 0; i < TAGS; i++) {
        char name[16];
        snprintf(name, sizeof name, "tag%04d", i);
        struct kap_tag tag = {.has_name = true, .name = kap_bytes_str(name)};
        struct kap_ref_put_request put = {.tag = &tag};
        cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_REF_PUT, &put, NULL, NULL), KAP_OK);
    }
    fixture_user(&fx, "one@example.org", KAP_ROLE_COACH);
    index_spoil(KAP_INDEX_TAG_BY_NAME);
    index_spoil(KAP_INDEX_USER_ALL);
    fx.schema = NULL;
    service_fixture_reopen(&fx);
    cr_assert_eq(fx.n_built, 2u);
    service_fixture_check(&fx);
    struct kap_list_page page = {.has_want_count = true, .want_count = true};
    struct kap_ref_list_request list = {.page = &page, .has_kind = true, .kind = KAP_KIND_TAG};
    struct kap_ref_list_reply reply;
    cr_assert_eq(service_call(&fx, fx.admin, KAP_OP_REF_LIST, &list, &reply, NULL), KAP_OK);
    cr_assert_eq(reply.end->total, TAGS);
    service_fixture_reopen(&fx);
    cr_assert_eq(fx.n_built, 0u);
    service_fixture_close(&fx);
}
