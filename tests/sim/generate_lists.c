/* Lists of sessions, read page by page; and snapshots. */
#include "tests/sim/generate.h"

static struct sim_request *page_ask(struct generator *g, struct sim_page *page, const struct kap_meta *meta)
{
    struct kap_session_list_request *request = make(g, sizeof *request);
    struct kap_list_page *wanted = make(g, sizeof *wanted);
    *request = *(const struct kap_session_list_request *)page->request;
    *wanted = (struct kap_list_page){.has_limit = true,
                                     .limit = 1 + draw(g, 4),
                                     .has_want_count = true,
                                     .want_count = true,
                                     .has_cursor = page->has_last,
                                     .cursor = page->cursor};
    request->page = wanted;
    struct sim_request *made =
        make_request(g, KAP_OP_SESSION_LIST, page->who, request, "%s", page->has_last ? "on" : "");
    if (meta)
        made->meta = *meta;
    made->page = page;
    return made;
}

/* A new list, or the next page of one that goes on. */
struct sim_request *generate_list(struct generator *g)
{
    while (g->n_pages > 0 && chance(g, 75)) {
        struct sim_page *page = g->pages[--g->n_pages];
        if (page->incarnation == g->world->incarnation)
            return page_ask(g, page, &page->meta);
    }
    struct kap_session_list_request *request = make(g, sizeof *request);
    uint32_t by = draw(g, 5);
    if ((request->has_owner = by < 2))
        request->owner = pick_id(g, KAP_KIND_USER);
    if ((request->has_tag = by == 2))
        request->tag = pick_id(g, KAP_KIND_TAG);
    if ((request->has_cloned_from = by == 3))
        request->cloned_from = pick_id(g, KAP_KIND_SESSION);
    if ((request->has_visibility = chance(g, 20)))
        request->visibility = 1 + (int32_t)draw(g, 3);
    struct sim_page *page = make(g, sizeof *page);
    *page = (struct sim_page){
        .op = KAP_OP_SESSION_LIST, .who = pick_who(g), .request = request, .incarnation = g->world->incarnation};
    return page_ask(g, page, NULL);
}

struct sim_request *generate_snapshot(struct generator *g)
{
    struct kap_snapshot_create_request *request = make(g, sizeof *request);
    char *name = make(g, 32);
    if (g->n_snapshots >= WORLD_SNAPSHOTS_MAX)
        return NULL;
    snprintf(name, 32, "s-%u", g->n_snapshots++);
    request->has_name = true;
    request->name = kap_bytes_str(name);
    return make_request(g, KAP_OP_SNAPSHOT_CREATE, pick_who(g), request, "%s", name);
}

static void *reply_read(struct world *world, const struct kap_msg *msg, const struct sim_answer *answer)
{
    return check_decode(&world->model, msg, answer->reply);
}

/* A list that goes on goes on behind its last entry; a snapshot that was answered is there for good. */
void generator_saw(struct world *world, const struct sim_request *request, const struct sim_answer *answer)
{
    struct generator *g = world->generator;
    if (answer->status != KAP_OK)
        return;
    if (request->op == KAP_OP_SNAPSHOT_CREATE && world->n_snapshots < WORLD_SNAPSHOTS_MAX) {
        const struct kap_snapshot_create_reply *reply = reply_read(world, &kap_snapshot_create_reply_msg, answer);
        snprintf(world->snapshots[world->n_snapshots].name, sizeof world->snapshots[0].name, "%.*s",
                 (int)reply->snapshot->name.len, (const char *)reply->snapshot->name.data);
        world->snapshots[world->n_snapshots++].seq = reply->snapshot->commit_seq;
    }
    if (request->op != KAP_OP_SESSION_LIST || !request->page)
        return;
    world->counts.pages++;
    const struct kap_session_list_reply *reply = reply_read(world, &kap_session_list_reply_msg, answer);
    if (!reply->end->has_next || reply->n_sessions == 0 || g->n_pages == GENERATOR_PAGES_MAX)
        return;
    const struct kap_session_card *last = &reply->sessions[reply->n_sessions - 1];
    struct sim_page *page = make(g, sizeof *page);
    *page = *request->page;
    page->cursor = reply->end->next;
    page->has_last = true;
    page->last = last->id;
    page->last_time = last->created_at;
    page->meta = request->meta;
    g->pages[g->n_pages++] = page;
}
