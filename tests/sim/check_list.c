/* Lists page by page, while others write: each page is what stands behind the last entry given, at its own commit. */
#include "tests/sim/check.h"
#include "tests/sim/generate.h"

static bool is_wanted(const struct doing *d, const struct kap_session_list_request *request, const struct sim_row *row)
{
    struct sim_fields seen = rules_seen(d->model, KAP_KIND_SESSION, &row->fields);
    return (!request->has_owner || kap_id_eq(fields_id(&seen, 2), request->owner)) &&
           (!request->has_tag || fields_holds_id(&seen, 18, request->tag)) &&
           (!request->has_cloned_from || kap_id_eq(fields_id(&seen, 22), request->cloned_from)) &&
           (!request->has_visibility || fields_number(&seen, 26, 0) == (uint64_t)request->visibility) &&
           rules_may_read(d->model, &d->who, row);
}

/* Newest first, then by id. */
static bool is_before(int64_t time, struct kap_id id, const struct sim_row *row)
{
    return time > row->created_at || (time == row->created_at && kap_id_cmp(id, row->id) < 0);
}

static void card_check(struct doing *d, struct sim_row *row, const struct kap_session_card *card)
{
    if (!card->has_id || (!model_is_placeholder(row->id) && !kap_id_eq(card->id, row->id)))
        sim_fail("a list: expected the session %s, found %s", sim_id(row->id), sim_id(card->id));
    check_id(d->model, NULL, row, true, card->id);
    check_number("created_at of a card", (uint64_t)row->created_at, card->has_created_at, (uint64_t)card->created_at);
    check_number("status of a card", fields_number(&row->fields, 25, 0), card->has_status, (uint64_t)card->status);
    if (!kap_bytes_eq(card->title, fields_bytes(&row->fields, 4)))
        sim_fail("the card of the session %s has another title", sim_id(row->id));
}

static struct sim_row *next_of(struct doing *d, const struct kap_session_list_request *request, bool has_last,
                               int64_t last_time, struct kap_id last)
{
    struct sim_rows *sessions = &d->model->kinds[KAP_KIND_SESSION];
    struct sim_row *next = NULL;
    for (uint32_t i = 0; i < sessions->n; i++) {
        struct sim_row *row = sessions->at[i];
        if ((!has_last || is_before(last_time, last, row)) && is_wanted(d, request, row) &&
            (!next || is_before(row->created_at, row->id, next)))
            next = row;
    }
    return next;
}

void check_session_list(struct doing *d, const struct sim_request *asked,
                        const struct kap_session_list_request *request, const struct kap_session_list_reply *reply)
{
    const struct sim_page *page = asked->page;
    const struct kap_list_page *wanted = request->page;
    bool has_last = page->has_last;
    int64_t last_time = page->last_time;
    struct kap_id last = page->last;
    uint64_t total = 0;
    if (!reply)
        return;
    for (size_t i = 0; i < reply->n_sessions; i++) {
        struct sim_row *row = next_of(d, request, has_last, last_time, last);
        if (!row)
            sim_fail("a list gives the session %s, which does not belong there", sim_id(reply->sessions[i].id));
        card_check(d, row, &reply->sessions[i]);
        has_last = true;
        last_time = row->created_at;
        last = row->id;
    }
    bool is_full = reply->n_sessions == wanted->limit, goes_on = reply->end && reply->end->has_next;
    struct sim_row *missing = next_of(d, request, has_last, last_time, last);
    if (reply->n_sessions > wanted->limit || (missing && (!is_full || !goes_on)) || (goes_on && !is_full))
        sim_fail("a page of %zu of at most %u sessions %s, and %s is missing", reply->n_sessions, wanted->limit,
                 goes_on ? "goes on" : "is the last", missing ? sim_id(missing->id) : "nothing");
    for (uint32_t i = 0; i < d->model->kinds[KAP_KIND_SESSION].n; i++)
        total += is_wanted(d, request, d->model->kinds[KAP_KIND_SESSION].at[i]);
    check_number("total of a list", total, reply->end->has_total, reply->end->total);
    if (!reply->end->has_total_is_exact || !reply->end->total_is_exact)
        sim_fail("a total that is not exact");
}
