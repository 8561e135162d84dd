/* One client's bytes against the connection's state machine, without a socket. */
#include "tests/lib/test.h"

#include <openssl/evp.h>

#include "engine/base/assert.h"
#include "engine/base/log.h"
#include "proto/frame.h"
#include "proto/ops.h"
#include "proto/wire.h"
#include "server/auth.h"
#include "server/blobs.h"
#include "server/connection.h"
#include "tests/lib/service_fixture.h"

enum { REPLIES_MAX = 64 };

struct reply {
    struct kap_frame frame;
    struct kap_error_reply error;
};

struct world {
    struct service_fixture fixture;
    struct kap_auth auth;
    struct kap_blobs *blobs;
    struct kap_connection_pool pool;
    struct kap_connection *connection;
    struct kap_buffer in, out; /* what the client sends, what it has got */
    size_t out_at;
    bool is_over;
};

static void world_connect(struct world *world, uint8_t kind, uint32_t uid)
{
    const struct kap_peer peer = {.kind = kind, .uid = uid, .address = "test"};
    cr_assert_eq(kap_connection_open(&world->pool, &peer, world, &world->connection), KAP_OK);
    kap_buffer_clear(&world->in);
    kap_buffer_clear(&world->out);
    world->out_at = 0;
    world->is_over = false;
}

static void world_open(struct world *world)
{
    memset(world, 0, sizeof *world);
    kap_log_set_level(KAP_LOG_OFF); /* refusals are what these tests are about */
    service_fixture_open(&world->fixture, 1);
    (void)fixture_user(&world->fixture, "coach@example.org", KAP_ROLE_COACH);
    kap_connection_options_default(&world->auth.limits);
    world->auth.limits.frame_bytes_max = 64 * 1024;
    world->auth.owner_uid = 1000;
    world->auth.version = "test";
    kap_auth_install(&world->auth, world->fixture.service);
    cr_assert_eq(kap_blobs_create(world->fixture.service, &world->blobs), KAP_OK);
    kap_connection_pool_init(&world->pool, world->fixture.service, &world->auth.limits);
    kap_buffer_init(&world->in, &world->fixture.env->memory);
    kap_buffer_init(&world->out, &world->fixture.env->memory);
    world_connect(world, KAP_PEER_UNIX, 1000);
}

static void world_close(struct world *world)
{
    kap_connection_close(world->connection);
    cr_assert_eq(world->pool.stats.in_flight, 0);
    cr_assert_eq(world->pool.stats.open, 0);
    kap_blobs_destroy(world->blobs);
    kap_connection_pool_deinit(&world->pool);
    kap_buffer_deinit(&world->in);
    kap_buffer_deinit(&world->out);
    service_fixture_close(&world->fixture);
}

/* What the connection has to send goes to the client. */
static bool collect(struct world *world)
{
    bool any = false;
    while (kap_connection_next_ready(&world->pool) != NULL) {
        struct kap_bytes bytes = kap_connection_output(world->connection);
        kap_buffer_append(&world->out, bytes.data, bytes.len);
        if (bytes.len > 0)
            kap_connection_sent(world->connection, bytes.len);
        any = true;
    }
    return any;
}

/* Rounds of a loop until nothing happens any more. */
static void world_run(struct world *world)
{
    struct service_fixture *fixture = &world->fixture;
    for (int quiet = 0; quiet < 20;) {
        struct kap_read_context *context;
        bool any = kap_queue_poll(fixture->queue, 100000) > 0;
        while ((context = kap_store_next_ready(fixture->store)) != NULL)
            kap_service_resume(fixture->service, context);
        any = kap_service_poll(fixture->service) > 0 || any;
        any = collect(world) || any;
        kap_store_pump(fixture->store);
        quiet = any ? 0 : quiet + 1;
    }
    world->is_over = kap_connection_is_over(world->connection);
}

static void feed(struct world *world, size_t step)
{
    for (size_t at = 0; at < world->in.len; at += step) {
        kap_connection_feed(world->connection, kap_bytes(world->in.data + at, KAP_MIN(step, world->in.len - at)));
        (void)collect(world);
    }
    kap_buffer_clear(&world->in);
    world_run(world);
}

static void put_frame(struct world *world, uint8_t kind, uint16_t op, uint64_t id, uint16_t flags,
                      struct kap_bytes body)
{
    struct kap_frame frame = {.kind = kind, .op = op, .request_id = id, .flags = flags, .body = body};
    cr_assert(kap_buffer_reserve(&world->in, kap_frame_bytes_max(0, body.len)));
    world->in.len += kap_frame_write(&frame, KAP_FRAME_BUILD_SUM, world->in.data + world->in.len);
}

static void put(struct world *world, uint16_t op, uint64_t id, const void *request)
{
    struct kap_bytes body = kap_wire_encode_in(kap_op_find(op)->request, request, &world->fixture.arena);
    put_frame(world, KAP_FRAME_REQUEST, op, id, 0, body);
}

static const struct kap_hello_request good_hello = {
    .has_protocol_min = true, .protocol_min = 1, .has_protocol_max = true, .protocol_max = 1};

static void hello(struct world *world)
{
    put(world, KAP_OP_HELLO, 1000, &good_hello);
}

/* The next frame that came; false: none. */
static bool next(struct world *world, struct reply *reply_out)
{
    const struct kap_frame_limits limits = {.body_bytes_max = 1 << 20, .raw_bytes_max = 1 << 20};
    struct kap_bytes rest = kap_bytes(world->out.data + world->out_at, world->out.len - world->out_at);
    size_t used;
    if (rest.len == 0)
        return false;
    cr_assert_eq(kap_frame_parse(rest, &limits, &world->fixture.arena, &reply_out->frame, &used), KAP_OK);
    world->out_at += used;
    if (reply_out->frame.status != 0)
        cr_assert_eq(kap_wire_decode(&kap_error_reply_msg, reply_out->frame.body, &world->fixture.arena,
                                     KAP_WIRE_STORED, &reply_out->error, NULL),
                     KAP_OK);
    return true;
}

static void expect(struct world *world, uint64_t id, kap_status status)
{
    struct reply reply;
    cr_assert(next(world, &reply), "no reply to %llu", (unsigned long long)id);
    cr_assert_eq(reply.frame.request_id, id);
    cr_assert_eq(reply.frame.status, (uint16_t)status, "%s", kap_status_name((kap_status)reply.frame.status));
}

static void expect_silence(struct world *world)
{
    struct reply reply;
    cr_assert_not(next(world, &reply));
}

static void welcomed(struct world *world)
{
    hello(world);
    feed(world, SIZE_MAX / 2);
    expect(world, 1000, KAP_OK);
}

static const struct kap_ping_request no_echo;

Test(connection, answers_only_hello_and_ping_before_hello)
{
    static struct world world;
    struct kap_session_list_request list = {0};
    world_open(&world);
    put(&world, KAP_OP_SESSION_LIST, 1, &list);
    put(&world, KAP_OP_PING, 2, &no_echo);
    hello(&world);
    put(&world, KAP_OP_SESSION_LIST, 3, &list); /* waits for hello, which came before it */
    feed(&world, SIZE_MAX / 2);
    expect(&world, 1, KAP_NOT_READY);
    expect(&world, 2, KAP_OK);
    expect(&world, 1000, KAP_OK);
    struct reply reply;
    cr_assert(next(&world, &reply));
    cr_assert_eq(reply.frame.request_id, 3);
    cr_assert_neq(reply.frame.status, KAP_NOT_READY);
    world_close(&world);
}

Test(connection, knows_who_may_come_over_the_unix_socket)
{
    static struct world world;
    world_open(&world);
    welcomed(&world);
    kap_connection_close(world.connection);
    world_connect(&world, KAP_PEER_UNIX, 4242);
    hello(&world);
    feed(&world, SIZE_MAX / 2);
    expect(&world, 1000, KAP_FORBIDDEN);
    cr_assert(world.is_over);
    kap_connection_close(world.connection);
    world_connect(&world, KAP_PEER_TCP, UINT32_MAX);
    hello(&world);
    feed(&world, SIZE_MAX / 2);
    expect(&world, 1000, KAP_UNAUTHENTICATED);
    cr_assert(world.is_over);
    world_close(&world);
}

Test(connection, takes_bytes_in_any_pieces)
{
    static struct world world;
    for (size_t step = 1; step < 90; step += step < 40 ? 1 : 13) {
        world_open(&world);
        hello(&world);
        feed(&world, step);
        for (uint64_t id = 1; id < 6; id++)
            put(&world, KAP_OP_PING, id, &no_echo);
        feed(&world, step);
        expect(&world, 1000, KAP_OK);
        for (uint64_t id = 1; id < 6; id++)
            expect(&world, id, KAP_OK);
        expect_silence(&world);
        world_close(&world);
    }
}

Test(connection, closes_when_the_framing_is_lost)
{
    static struct world world;
    for (size_t byte = 0; byte < KAP_FRAME_HEADER_BYTES; byte++) {
        world_open(&world);
        welcomed(&world);
        put(&world, KAP_OP_PING, 1, &no_echo);
        world.in.data[byte] ^= 0x41;
        feed(&world, SIZE_MAX / 2);
        expect(&world, 0, KAP_BAD_FRAME);
        cr_assert(world.is_over);
        cr_assert_not(kap_connection_wants(world.connection));
        world_close(&world);
    }
}

Test(connection, answers_a_damaged_body_and_goes_on)
{
    static struct world world;
    struct kap_ping_request ping = {.has_echo = true, .echo = kap_bytes_str("hello")};
    world_open(&world);
    welcomed(&world);
    put(&world, KAP_OP_PING, 1, &ping);
    world.in.data[KAP_FRAME_HEADER_BYTES + 3] ^= 1;
    put(&world, KAP_OP_PING, 2, &ping);
    put_frame(&world, KAP_FRAME_REQUEST, 9999, 3, 0, kap_bytes("", 0));
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_SESSION_GET, 4, 0, kap_bytes("\xff\xff\xff", 3));
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_SESSION_GET, 0, 0, kap_bytes("", 0));
    put_frame(&world, KAP_FRAME_PUSH, KAP_OP_PING, 6, 0, kap_bytes("", 0));
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_PING, 7, KAP_FRAME_NO_REPLY, kap_bytes("", 0));
    put(&world, KAP_OP_HELLO, 8, &good_hello);
    put(&world, KAP_OP_PING, 9, &ping);
    feed(&world, SIZE_MAX / 2);
    expect(&world, 1, KAP_CHECKSUM);
    expect(&world, 2, KAP_OK);
    expect(&world, 3, KAP_UNKNOWN_OP);
    expect(&world, 4, KAP_DECODE);
    expect(&world, 0, KAP_INVALID);
    expect(&world, 6, KAP_INVALID);
    expect(&world, 7, KAP_INVALID);
    expect(&world, 8, KAP_STATE_CONFLICT);
    expect(&world, 9, KAP_OK);
    world_close(&world);
}

Test(connection, tells_other_protocols_in_their_own_words)
{
    static struct world world;
    world_open(&world);
    kap_buffer_printf(&world.in, "GET / HTTP/1.1\r\n\r\n");
    feed(&world, SIZE_MAX / 2);
    cr_assert(kap_bytes_starts(kap_buffer_bytes(&world.out), kap_bytes_str("HTTP/1.1 400 ")));
    cr_assert(world.is_over);
    kap_connection_close(world.connection);
    world_connect(&world, KAP_PEER_TCP, 0);
    kap_buffer_append(&world.in, "\x16\x03\x01\x02", 4);
    feed(&world, 1);
    cr_assert(kap_bytes_starts(kap_buffer_bytes(&world.out), kap_bytes("\x15\x03\x03", 3)));
    cr_assert(world.is_over);
    world_close(&world);
}

Test(connection, limits_the_first_frame)
{
    static struct world world;
    static uint8_t large[20 * 1024];
    world_open(&world);
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_HELLO, 1, 0, kap_bytes(large, sizeof large));
    feed(&world, SIZE_MAX / 2);
    expect(&world, 1, KAP_TOO_LARGE);
    cr_assert(world.is_over);
    world_close(&world);
}

Test(connection, puts_a_body_in_more_frames_together)
{
    static struct world world;
    static uint8_t piece[64 * 1024];
    struct kap_ping_request ping = {.has_echo = true, .echo = kap_bytes_str("x")};
    world_open(&world);
    welcomed(&world);
    struct kap_session_get_request get = {.has_id = true, .id = {{1, 2, 3}}};
    struct kap_bytes body = kap_wire_encode_in(&kap_session_get_request_msg, &get, &world.fixture.arena);
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_SESSION_GET, 1, KAP_FRAME_MORE, kap_bytes(body.data, 5));
    put(&world, KAP_OP_PING, 2, &ping); /* others go on meanwhile */
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_SESSION_GET, 1, KAP_FRAME_END, kap_bytes(body.data + 5, body.len - 5));
    for (int i = 0; i < 70; i++) /* over 4 MiB: answered at once, the rest skipped */
        put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_TXN_BATCH, 3, KAP_FRAME_MORE, kap_bytes(piece, sizeof piece));
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_TXN_BATCH, 3, KAP_FRAME_END, kap_bytes(piece, 1));
    put(&world, KAP_OP_PING, 4, &ping);
    feed(&world, 16 * 1024);
    expect(&world, 2, KAP_OK);
    expect(&world, 1, KAP_NOT_FOUND);
    expect(&world, 3, KAP_TOO_LARGE);
    expect(&world, 4, KAP_OK);
    expect_silence(&world);
    world_close(&world);
}

Test(connection, closes_when_an_open_id_is_used_again)
{
    static struct world world;
    world_open(&world);
    welcomed(&world);
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_TXN_BATCH, 7, KAP_FRAME_MORE, kap_bytes("a", 1));
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_SESSION_GET, 7, 0, kap_bytes("", 0));
    feed(&world, SIZE_MAX / 2);
    expect(&world, 0, KAP_INVALID);
    cr_assert(world.is_over);
    world_close(&world);
}

Test(connection, cancels_with_one_final_reply)
{
    static struct world world;
    struct kap_cancel_request cancel = {.has_request_id = true, .request_id = 7};
    struct reply reply;
    struct kap_cancel_reply cancelled;
    world_open(&world);
    welcomed(&world);
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_TXN_BATCH, 7, KAP_FRAME_MORE, kap_bytes("a", 1));
    put(&world, KAP_OP_CANCEL, 8, &cancel);
    put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_TXN_BATCH, 7, KAP_FRAME_END, kap_bytes("a", 1));
    put(&world, KAP_OP_CANCEL, 9, &cancel);
    feed(&world, SIZE_MAX / 2);
    expect(&world, 7, KAP_CANCELLED);
    for (uint64_t id = 8; id <= 9; id++) {
        cr_assert(next(&world, &reply));
        cr_assert_eq(reply.frame.request_id, id);
        cr_assert_eq(kap_wire_decode(&kap_cancel_reply_msg, reply.frame.body, &world.fixture.arena, KAP_WIRE_STORED,
                                     &cancelled, NULL),
                     KAP_OK);
        cr_assert_eq(cancelled.found, id == 8);
    }
    expect_silence(&world);
    world_close(&world);
}

Test(connection, says_goodbye_when_the_server_drains)
{
    static struct world world;
    struct reply reply;
    world_open(&world);
    welcomed(&world);
    kap_connection_pool_drain(&world.pool, 5000);
    struct kap_session_get_request get = {.has_id = true, .id = {{1}}};
    put(&world, KAP_OP_SESSION_GET, 1, &get);
    feed(&world, SIZE_MAX / 2);
    cr_assert(next(&world, &reply));
    cr_assert_eq(reply.frame.kind, KAP_FRAME_CONTROL);
    cr_assert_eq(reply.frame.op, KAP_OP_GOODBYE);
    expect(&world, 1, KAP_SHUTTING_DOWN);
    struct kap_goodbye_request goodbye = {0};
    put(&world, KAP_OP_GOODBYE, 2, &goodbye);
    feed(&world, SIZE_MAX / 2);
    expect(&world, 2, KAP_OK);
    cr_assert(world.is_over);
    world_close(&world);
}

/* ---- streams */

static uint8_t blob_bytes[700 * 1000];

static void blob_upload(struct world *world, uint8_t hash_out[32])
{
    struct service_fixture *fixture = &world->fixture;
    struct kap_blob_begin_reply begun;
    struct kap_blob_commit_reply committed;
    static const uint8_t hash[32] = {0x5b, 0xb4, 0x62, 0x0d};
    for (size_t i = 0; i < sizeof blob_bytes; i++)
        blob_bytes[i] = (uint8_t)(i * 31 + (i >> 9));
    struct kap_blob_begin_request begin = {
        .has_hash = true, .hash = kap_bytes(hash, 32), .has_size = true, .size = sizeof blob_bytes};
    memcpy(hash_out, hash, 32);
    for (int attempt = 0; attempt < 2; attempt++) { /* the first learns the hash from the refusal of a wrong one */
        begin.hash = kap_bytes(hash_out, 32);
        cr_assert_eq(service_call(fixture, fixture->admin, KAP_OP_BLOB_BEGIN, &begin, &begun, NULL), KAP_OK);
        cr_assert_eq(begun.have_up_to, 0);
        for (size_t at = 0; at < sizeof blob_bytes; at += 200 * 1000) {
            struct kap_blob_write_request write = {
                .has_upload = true,
                .upload = begun.upload,
                .has_offset = true,
                .offset = at,
                .has_data = true,
                .data = kap_bytes(blob_bytes + at, KAP_MIN(sizeof blob_bytes - at, 200 * 1000))};
            cr_assert_eq(service_call(fixture, fixture->admin, KAP_OP_BLOB_WRITE, &write, NULL, NULL), KAP_OK);
        }
        struct kap_blob_commit_request commit = {.has_upload = true, .upload = begun.upload};
        kap_status status = service_call(fixture, fixture->admin, KAP_OP_BLOB_COMMIT, &commit, &committed, NULL);
        cr_assert_eq(status, attempt == 0 ? KAP_INVALID : KAP_OK);
        EVP_Digest(blob_bytes, sizeof blob_bytes, hash_out, NULL, EVP_sha256(), NULL);
    }
}

/* Frames of a stream that came: checks their bytes, moves at. The flags of the last. */
static uint16_t chunks_take(struct world *world, uint64_t ids, uint64_t at[3])
{
    struct reply reply;
    struct kap_blob_read_reply part;
    uint16_t flags = 0;
    while (next(world, &reply)) {
        uint64_t id = reply.frame.request_id;
        cr_assert(id >= 1 && id <= ids && reply.frame.status == 0);
        cr_assert_eq(kap_wire_decode(&kap_blob_read_reply_msg, reply.frame.body, &world->fixture.arena, KAP_WIRE_STORED,
                                     &part, NULL),
                     KAP_OK);
        cr_assert_leq(part.data.len, 64 * 1024);
        cr_assert_eq(part.offset, at[id]);
        cr_assert_eq(memcmp(part.data.data, blob_bytes + at[id], part.data.len), 0);
        at[id] += part.data.len;
        flags = reply.frame.flags;
    }
    return flags;
}

Test(connection, streams_a_blob_as_far_as_the_credit_goes)
{
    static struct world world;
    uint8_t hash[32];
    uint64_t at[3] = {0};
    world_open(&world);
    blob_upload(&world, hash);
    welcomed(&world);
    struct kap_blob_read_request read = {.has_hash = true, .hash = kap_bytes(hash, 32)};
    put(&world, KAP_OP_BLOB_READ, 1, &read);
    put(&world, KAP_OP_BLOB_READ, 2, &read);
    feed(&world, SIZE_MAX / 2);
    cr_assert(chunks_take(&world, 2, at) & KAP_FRAME_MORE);
    cr_assert_eq(at[1], 256 * 1024);
    cr_assert_eq(at[2], 256 * 1024);
    struct kap_credit_request credit = {.has_request_id = true, .request_id = 2, .has_bytes = true, .bytes = 100000};
    struct kap_bytes body = kap_wire_encode_in(&kap_credit_request_msg, &credit, &world.fixture.arena);
    put_frame(&world, KAP_FRAME_CONTROL, KAP_OP_CREDIT, 0, 0, body);
    feed(&world, SIZE_MAX / 2);
    chunks_take(&world, 2, at);
    cr_assert_eq(at[1], 256 * 1024);
    cr_assert_eq(at[2], 256 * 1024 + 100000);
    credit.bytes = 1 << 20;
    put_frame(&world, KAP_FRAME_CONTROL, KAP_OP_CREDIT, 0, 0,
              kap_wire_encode_in(&kap_credit_request_msg, &credit, &world.fixture.arena));
    feed(&world, SIZE_MAX / 2);
    cr_assert(chunks_take(&world, 2, at) & KAP_FRAME_END);
    cr_assert_eq(at[2], sizeof blob_bytes);
    struct kap_cancel_request cancel = {.has_request_id = true, .request_id = 1};
    put(&world, KAP_OP_CANCEL, 9, &cancel);
    feed(&world, SIZE_MAX / 2);
    expect(&world, 1, KAP_CANCELLED);
    expect(&world, 9, KAP_OK);
    world_close(&world);
}

/* ---- anything at all */

Test(connection, outlives_damaged_streams_of_frames)
{
    static struct world world;
    uint32_t random = 12345;
    struct kap_session_get_request get = {.has_id = true, .id = {{1, 2, 3}}};
    world_open(&world);
    for (int round = 0; round < 400; round++) {
        kap_connection_close(world.connection);
        world_connect(&world, KAP_PEER_UNIX, 1000);
        hello(&world);
        for (uint64_t id = 1; id < 5; id++)
            put(&world, id & 1 ? KAP_OP_PING : KAP_OP_SESSION_GET, id, id & 1 ? (const void *)&no_echo : &get);
        put_frame(&world, KAP_FRAME_REQUEST, KAP_OP_TXN_BATCH, 6, KAP_FRAME_MORE, kap_bytes("abc", 3));
        for (int flips = round % 4; flips > 0; flips--) {
            random = random * 1664525 + 1013904223;
            world.in.data[random % world.in.len] ^= (uint8_t)(1 << (random >> 28 & 7));
        }
        random = random * 1664525 + 1013904223;
        world.in.len -= random % 50;
        feed(&world, 1 + random % 70);
    }
    world_close(&world);
}
