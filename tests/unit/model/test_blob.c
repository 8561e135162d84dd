#include "engine/model/blob.h"

#include "tests/lib/service_fixture.h"
#include "tests/lib/test.h"

static struct service_fixture fx;
static uint8_t hash[KAP_BLOB_HASH_BYTES] = {7, 7, 7};

/* What the blob store does at the end of an upload. */
static kap_status upload_end(struct kap_run *run, void *request, void *reply)
{
    struct kap_blob blob = {.has_hash = true,
                            .hash = kap_bytes(hash, sizeof hash),
                            .has_size = true,
                            .size = 3,
                            .has_status = true,
                            .status = KAP_BLOB_STATUS_COMPLETE};
    (void)request;
    (void)reply;
    kap_status status = kap_blob_put(&run->model, &blob);
    return status == KAP_OK ? kap_blob_grant(&run->model, blob.hash, run->access.principal.user) : status;
}

static kap_status may_read(struct kap_run *run, void *request, void *reply)
{
    bool may = false;
    (void)request;
    (void)reply;
    kap_status status = kap_access_blob(&run->access, kap_bytes(hash, sizeof hash), &may);
    return status == KAP_OK && !may ? KAP_NOT_FOUND : status;
}

Test(blob, is_readable_as_long_as_a_row_that_uses_it_is)
{
    service_fixture_open(&fx, 31);
    struct kap_id sport = fixture_ref(&fx, KAP_REF_KIND_SPORT, "handball");
    struct kap_id level = fixture_ref(&fx, KAP_REF_KIND_LEVEL, "beginner");
    struct kap_principal coach = fixture_user(&fx, "coach@example.org", KAP_ROLE_COACH);
    struct kap_principal other = fixture_user(&fx, "other@example.org", KAP_ROLE_COACH);
    struct kap_blob_commit_request commit = {.has_upload = true, .upload = {{1}}};
    struct kap_blob_stat_request stat = {.has_hash = true, .hash = kap_bytes(hash, sizeof hash)};
    struct kap_session_save_request *save = fixture_session(&fx, sport, level, "A", 1, 1);
    struct kap_session_save_reply saved;
    struct kap_error_reply error;
    kap_service_set_handler(fx.service, KAP_OP_BLOB_COMMIT, upload_end, NULL);
    kap_service_set_handler(fx.service, KAP_OP_BLOB_STAT, may_read, NULL);
    save->session->has_cover = true;
    save->session->cover = stat.hash;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, NULL, &error), KAP_INVALID);
    cr_assert(kap_bytes_eq(error.path, kap_bytes_str("session.cover")));
    cr_assert_eq(service_call(&fx, coach, KAP_OP_BLOB_COMMIT, &commit, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, other, KAP_OP_SESSION_SAVE, save, NULL, NULL), KAP_INVALID);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, &saved, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, coach, KAP_OP_BLOB_STAT, &stat, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, other, KAP_OP_BLOB_STAT, &stat, NULL, NULL), KAP_NOT_FOUND);
    struct kap_sys sys = {.has_id = true, .id = saved.id};
    save->session->sys = &sys;
    save->session->has_visibility = true;
    save->session->visibility = KAP_VISIBILITY_PUBLIC;
    save->n_sequences = save->n_objectives = 0;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_SAVE, save, NULL, NULL), KAP_OK);
    cr_assert_eq(service_call(&fx, other, KAP_OP_BLOB_STAT, &stat, NULL, NULL), KAP_OK);
    struct kap_session_delete_request delete = {.has_id = true, .id = saved.id};
    struct kap_session_delete_reply deleted;
    cr_assert_eq(service_call(&fx, coach, KAP_OP_SESSION_DELETE, &delete, &deleted, NULL), KAP_OK);
    cr_assert_eq(deleted.rows, 5); /* the session, its three parts, the use of the blob */
    cr_assert_eq(service_call(&fx, other, KAP_OP_BLOB_STAT, &stat, NULL, NULL), KAP_NOT_FOUND);
    service_fixture_close(&fx);
}
