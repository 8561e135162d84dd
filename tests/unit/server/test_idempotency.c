/* Idempotency keys: whose they are, and how long they are kept. */
#include "tests/lib/service_fixture.h"

#include "tests/lib/test.h"

#include "engine/index/index.h"
#include "proto/wire.h"

static struct service_fixture fx;

static uint32_t records_count(void)
{
    struct kap_read_context context;
    struct kap_view view;
    struct kap_scan scan;
    struct kap_key prefix;
    struct kap_arena arena;
    uint32_t n = 0;
    kap_arena_init(&arena, &fx.env->memory, 64 * 1024, 0);
    kap_key_init(&prefix, KAP_TREE_IDEMPOTENCY);
    kap_store_context_init(fx.store, &context);
    kap_store_view_begin(fx.store, &view, &context);
    kap_status status = KAP_PENDING;
    while (status == KAP_PENDING) {
        n = 0;
        status = kap_scan_init_prefix(&scan, &view, &arena, kap_key_bytes(&prefix));
        while (status == KAP_OK && (status = kap_scan_next(&scan)) == KAP_OK)
            n++;
        if (status == KAP_PENDING) {
            kap_store_pump(fx.store);
            kap_queue_poll(fx.queue, 1000000);
            kap_store_next_ready(fx.store);
        }
    }
    cr_assert_eq(status, KAP_END);
    kap_store_view_end(fx.store, &view);
    kap_read_context_release(&context);
    kap_arena_deinit(&arena);
    return n;
}

static kap_status tag_make(struct kap_principal who, uint8_t key, const char *name, struct kap_ref_put_reply *reply)
{
    struct kap_tag tag = {.has_name = true, .name = kap_bytes_str(name)};
    struct kap_ref_put_request put = {.tag = &tag};
    struct kap_meta meta = {.has_idempotency_key = true, .idempotency_key = {{key}}};
    struct kap_bytes body = kap_wire_encode_in(&kap_ref_put_request_msg, &put, &fx.arena);
    return service_call_raw(&fx, who, KAP_OP_REF_PUT, &meta, body, reply, NULL);
}

static void settle(void)
{
    uint64_t seq;
    struct kap_store_stats stats;
    cr_assert_eq(kap_store_flush(fx.store, &seq), KAP_OK);
    kap_store_compact_all(fx.store);
    do {
        kap_store_pump(fx.store);
        kap_queue_poll(fx.queue, 1000000);
        kap_store_stats(fx.store, &stats);
    } while (stats.flushed_seq < seq || stats.compaction_wanted > 0);
}

Test(idempotency, keys_of_different_credentials_are_different_keys)
{
    service_fixture_open(&fx, 3);
    struct kap_principal one = fx.admin, two = fx.admin;
    struct kap_ref_put_reply first, second, again;
    one.credential.bytes[0] = 1;
    two.credential.bytes[0] = 2;
    cr_assert_eq(tag_make(one, 9, "a", &first), KAP_OK);
    cr_assert_eq(tag_make(two, 9, "b", &second), KAP_OK);
    cr_assert(!kap_id_eq(first.id, second.id));
    cr_assert_eq(tag_make(one, 9, "a", &again), KAP_OK);
    cr_assert(kap_id_eq(first.id, again.id));
    cr_assert_eq(tag_make(one, 9, "b", &again), KAP_IDEMPOTENCY_MISMATCH);
    service_fixture_close(&fx);
}

Test(idempotency, records_are_gone_a_day_later)
{
    service_fixture_open(&fx, 3);
    struct kap_ref_put_reply reply;
    cr_assert_eq(tag_make(fx.admin, 1, "a", &reply), KAP_OK);
    cr_assert_eq(tag_make(fx.admin, 2, "b", &reply), KAP_OK);
    settle();
    cr_assert_eq(records_count(), 2u);
    kap_losing_advance(fx.env, INT64_C(25) * 3600 * 1000000000);
    cr_assert_eq(tag_make(fx.admin, 3, "c", &reply), KAP_OK);
    settle();
    cr_assert_eq(records_count(), 1u);
    cr_assert_eq(tag_make(fx.admin, 1, "d", &reply), KAP_OK); /* a new key by now */
    service_fixture_close(&fx);
}
