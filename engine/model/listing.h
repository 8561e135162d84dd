/* listing.h - pages of an index: cursor, filters, exact totals.
 *
 * A cursor is opaque: version, digest of the filters, last key, and a checksum under a key only the server has. A forged
 * one, or one of other filters, is KAP_BAD_CURSOR.
 *
 * Totals  exact when the filter is one counted index and every bucket is wholly visible or wholly hidden; else the scan
 *         counts up to KAP_LIST_SCAN_MAX entries and says whether that was all. */
#pragma once

#include "engine/model/model.h"

enum { KAP_LIST_LIMIT_DEFAULT = 50, KAP_LIST_SCAN_MAX = 20000, KAP_CURSOR_KEY_BYTES = 32 };

/* What a list needs to know besides the request. */
struct kap_list_scope {
    uint8_t cursor_key[KAP_CURSOR_KEY_BYTES];
    uint16_t op;
    bool is_admin, is_expert;
    struct kap_id user;
    struct kap_id principal; /* who may use the cursors */
};

enum kap_bucket { KAP_BUCKET_HIDDEN, KAP_BUCKET_VISIBLE, KAP_BUCKET_MIXED };

struct kap_list_entry {
    struct kap_bytes key; /* of the index */
    struct kap_bytes value; /* covering */
    struct kap_id id;
};

struct kap_listing {
    const struct kap_list_scope *scope;
    const struct kap_list_page *page; /* NULL: the first, of the default length */
    uint16_t index;
    struct kap_key prefix; /* of the entries; kap_index_key_init and the parent */
    uint64_t filter_digest; /* of all that the request filters by */
    bool is_counting; /* set while only counting: keep answers, but records nothing */
    bool is_filtered; /* keep may turn entries away that the principal may see */
    /* KAP_OK: on the page; KAP_NOT_FOUND: not for this principal or not of this filter. */
    kap_status (*keep)(void *context, const struct kap_list_entry *entry);
    /* Of one bucket of the count; NULL: all is visible. parts: the buckets' numbers. */
    enum kap_bucket (*bucket)(void *context, const uint64_t *parts, uint32_t n_parts);
    void *context;
};

/* Calls keep for entry after entry until the page is full. */
KAP_CHECKED kap_status kap_listing_run(struct kap_model *model, struct kap_listing *list,
                                       struct kap_list_end **end_out);
/* How many entries a page may have: the room keep needs. */
uint32_t kap_listing_limit(const struct kap_list_page *page);
/* A digest to build filter_digest from. */
uint64_t kap_list_digest(uint64_t digest, const void *data, size_t len);
