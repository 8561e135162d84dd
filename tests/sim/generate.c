#include "tests/sim/generate.h"

#include <stdarg.h>
#include <stdlib.h>

#include "proto/ops.h"
#include "proto/wire.h"

uint32_t draw(struct generator *g, uint32_t below)
{
    return sim_draw(&g->world->random, below);
}

bool chance(struct generator *g, uint32_t percent)
{
    return sim_chance(&g->world->random, percent);
}

void *make(struct generator *g, size_t bytes)
{
    return sim_alloc(&g->world->arena, bytes);
}

struct kap_bytes make_text(struct generator *g, const char *what, uint32_t bytes_max)
{
    uint32_t len = 12 + draw(g, bytes_max - 12);
    char *text = make(g, len + 24);
    int start = snprintf(text, len + 24, "%s %llu", what, (unsigned long long)++g->serial);
    for (uint32_t i = (uint32_t)start; i < len; i++)
        text[i] = draw(g, 6) ? (char)('a' + draw(g, 26)) : ' ';
    return kap_bytes(text, len > (uint32_t)start ? len : (uint32_t)start);
}

struct kap_id make_id(struct generator *g)
{
    struct kap_id id;
    uint64_t low = sim_draw64(&g->world->random), high = sim_draw64(&g->world->random);
    memcpy(id.bytes, &low, 8);
    memcpy(id.bytes + 8, &high, 8);
    id.bytes[0] &= 0x7f; /* not one of the model's placeholders */
    return id;
}

struct sim_row *pick_row(struct generator *g, uint8_t kind)
{
    const struct sim_rows *rows = &g->world->model.kinds[kind];
    return rows->n ? rows->at[draw(g, rows->n)] : NULL;
}

struct kap_id pick_id(struct generator *g, uint8_t kind)
{
    const struct sim_row *row = chance(g, 92) ? pick_row(g, kind) : NULL;
    const struct sim_row *tomb = chance(g, 50) ? pick_row(g, MODEL_TOMB) : NULL;
    if (row && !model_is_placeholder(row->id))
        return row->id;
    if (tomb && !model_is_placeholder(tomb->id))
        return tomb->id;
    return g->ids[chance(g, 70) ? kind : KAP_KIND_SESSION][draw(g, GENERATOR_IDS)];
}

struct kap_id pick_ref(struct generator *g, enum kap_ref_kind list)
{
    const struct sim_rows *items = &g->world->model.kinds[KAP_KIND_REF_ITEM];
    uint32_t start = draw(g, items->n);
    for (uint32_t i = 0; i < items->n && !chance(g, 1); i++) {
        const struct sim_row *item = items->at[(start + i) % items->n];
        if (fields_number(&item->fields, 2, 0) == (uint64_t)list && !model_is_placeholder(item->id))
            return item->id;
    }
    return pick_id(g, chance(g, 80) ? KAP_KIND_REF_ITEM : KAP_KIND_TAG);
}

struct kap_sys *make_sys(struct generator *g, struct kap_id id)
{
    struct kap_sys *sys = make(g, sizeof *sys);
    *sys = (struct kap_sys){.has_id = true, .id = id};
    return sys;
}

struct kap_sys *make_sys_new(struct generator *g, uint8_t kind)
{
    if (chance(g, 40))
        return NULL;
    return make_sys(g, chance(g, 70) ? make_id(g) : g->ids[kind][draw(g, GENERATOR_IDS)]);
}

struct sim_who pick_who(struct generator *g)
{
    return g->world->principals[draw(g, g->world->n_principals)];
}

struct sim_who who_may_write(struct generator *g, const struct sim_row *row)
{
    struct world *world = g->world;
    uint32_t start = draw(g, world->n_principals);
    for (uint32_t i = 0; row && i < world->n_principals && !chance(g, 3); i++) {
        const struct sim_who *who = &world->principals[(start + i) % world->n_principals];
        if (!rules_may_write(&world->model, who, row) || (who_is(who, KAP_ROLE_ADMIN) && chance(g, 60)))
            continue;
        return *who;
    }
    return pick_who(g);
}

static void meta_draw(struct generator *g, struct sim_request *request, bool is_write)
{
    struct kap_meta *meta = &request->meta;
    if (is_write && chance(g, 40)) {
        meta->has_idempotency_key = true;
        meta->idempotency_key = make_id(g);
    }
    if (who_is(&request->who, KAP_ROLE_SERVICE) ? chance(g, 85) : chance(g, 1)) {
        meta->has_on_behalf_of = true;
        meta->on_behalf_of = pick_id(g, KAP_KIND_USER);
    }
}

/* A body cut short, or with a byte changed. */
static struct kap_bytes body_spoil(struct generator *g, struct kap_bytes body)
{
    uint8_t *spoilt = make(g, body.len + 1);
    if (body.len == 0)
        return body;
    memcpy(spoilt, body.data, body.len);
    return kap_bytes(spoilt, draw(g, (uint32_t)body.len));
}

struct sim_request *make_request(struct generator *g, uint16_t op, struct sim_who who, const void *request,
                                 const char *format, ...)
{
    struct sim_request *made = make(g, sizeof *made);
    const struct kap_op_desc *desc = kap_op_find(op);
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *made = (struct sim_request){.op = op, .who = who};
    made->body = kap_wire_encode_in(desc->request, request, &g->world->arena);
    if (!made->body.data)
        sim_fail("no memory for a request");
    meta_draw(g, made, desc->write);
    bool is_spoilt = g->is_under_way && desc->write && chance(g, 1);
    if (is_spoilt)
        made->body = body_spoil(g, made->body);
    snprintf(made->text, sizeof made->text, "%s %s by %s%s%s", desc->name, text, sim_id(who.user),
             is_spoilt                     ? " spoilt"
             : made->meta.has_on_behalf_of ? " for another"
                                           : "",
             made->meta.has_idempotency_key ? " keyed" : "");
    if (made->meta.has_idempotency_key)
        g->sent[g->n_sent++ % GENERATOR_SENT_MAX] = made;
    return made;
}

/* Something sent before: as it was, or another request under the same key. */
static struct sim_request *send_again(struct generator *g)
{
    struct sim_request *old = g->sent[draw(g, g->n_sent < GENERATOR_SENT_MAX ? g->n_sent : GENERATOR_SENT_MAX)];
    struct sim_request *again = make(g, sizeof *again);
    *again = *old;
    if (chance(g, 10)) {
        struct sim_request *other = generate_part(g);
        if (other && !other->meta.has_on_behalf_of && !old->meta.has_on_behalf_of) {
            *again = *other;
            again->who = old->who;
            again->meta = old->meta;
        }
    }
    size_t len = strlen(again->text);
    snprintf(again->text + len, sizeof again->text - len, " again");
    return again;
}

struct sim_request *generator_next(struct world *world)
{
    static const struct {
        uint32_t weight;
        struct sim_request *(*generate)(struct generator *g);
    } mix[] = {{30, generate_save}, {12, generate_part},  {6, generate_reorder}, {4, generate_people},
               {4, generate_ref},   {7, generate_delete}, {29, generate_read},   {8, generate_list}};
    struct generator *g = world->generator;
    uint32_t total = 0;
    if (world->n_retries > 0 && chance(g, 50))
        return world->retries[--world->n_retries];
    if (g->n_sent > 0 && chance(g, 3))
        return send_again(g);
    if (draw(g, 150) == 0) {
        struct sim_request *snapshot = generate_snapshot(g);
        if (snapshot)
            return snapshot;
    }
    for (size_t i = 0; i < sizeof mix / sizeof mix[0]; i++)
        total += mix[i].weight;
    for (;;) {
        uint32_t turn = draw(g, total);
        size_t i = 0;
        while (turn >= mix[i].weight)
            turn -= mix[i++].weight;
        struct sim_request *request = mix[i].generate(g);
        if (request)
            return request;
    }
}

struct generator *generator_create(struct world *world)
{
    struct generator *g = sim_alloc(&world->arena, sizeof *g);
    g->world = world;
    for (int kind = 0; kind < MODEL_KINDS; kind++)
        for (int i = 0; i < GENERATOR_IDS; i++)
            g->ids[kind][i] = make_id(g);
    return g;
}
