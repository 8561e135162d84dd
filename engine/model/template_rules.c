/* What a template may become: its structure fits its kind, its version counts structures, its status only goes forward. */
#include "engine/base/assert.h"
#include "engine/model/model_internal.h"

static const char *status_name(int32_t status)
{
    const char *name = kap_enum_name(&kap_template_status_enum, status);
    return name ? name : "none";
}

static void one_fault(struct kap_model *model, const struct kap_path *path, const char *name, size_t want, size_t n,
                      int32_t kind)
{
    const struct kap_path structure = {path, "structure", -1}, here = {&structure, name, -1};
    if (n != want)
        kap_faults_add_limit(&model->faults, &here, want ? "required" : "not_allowed", (int64_t)want, (int64_t)n,
                             "a template of kind %s has %s here", kap_enum_name(&kap_template_kind_enum, kind),
                             want ? "exactly one" : "none");
}

static void structure_check(struct kap_model *model, const struct kap_template *template, const struct kap_path *path)
{
    const struct kap_template_structure *s = template->structure;
    int32_t kind = template->kind;
    if (kind != KAP_TEMPLATE_KIND_EXERCISE)
        one_fault(model, path, "exercises", 0, s->n_exercises, kind);
    if (kind == KAP_TEMPLATE_KIND_EXERCISE)
        one_fault(model, path, "exercises", 1, s->n_exercises, kind);
    if (kind != KAP_TEMPLATE_KIND_SESSION) {
        one_fault(model, path, "objectives", 0, s->n_objectives, kind);
        one_fault(model, path, "sequences", kind == KAP_TEMPLATE_KIND_SEQUENCE, s->n_sequences, kind);
    }
}

static kap_status edge_check(struct kap_model *model, struct kap_id id, int32_t from, int32_t to)
{
    const char *allowed = from == KAP_TEMPLATE_STATUS_DRAFT ? "published" : "retired";
    if (from == to || model->is_admin)
        return KAP_OK;
    if (from == 0 && to == KAP_TEMPLATE_STATUS_RETIRED)
        return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_TEMPLATE, id,
                                    "a new template is draft or published, not retired");
    if (from == 0 || (from == KAP_TEMPLATE_STATUS_DRAFT && to == KAP_TEMPLATE_STATUS_PUBLISHED) ||
        (from == KAP_TEMPLATE_STATUS_PUBLISHED && to == KAP_TEMPLATE_STATUS_RETIRED))
        return KAP_OK;
    if (from == KAP_TEMPLATE_STATUS_RETIRED)
        return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_TEMPLATE, id,
                                    "the template goes from retired to nothing, not to %s: make a new one",
                                    status_name(to));
    return kap_model_refuse_row(model, KAP_STATE_CONFLICT, KAP_KIND_TEMPLATE, id,
                                "the template goes from %s to %s, not to %s", status_name(from), allowed,
                                status_name(to));
}

kap_status model_template_rules(struct kap_model *model, struct kap_id id, const struct kap_bytes *before,
                                void *message, const struct kap_path *path)
{
    struct kap_template *template = message, *old = NULL;
    void *stored;
    kap_status status = KAP_OK;
    if (before) {
        status = kap_model_decode(model, KAP_KIND_TEMPLATE, *before, &stored);
        old = status == KAP_OK ? stored : NULL;
    }
    if (status == KAP_OK)
        status = edge_check(model, id, old ? old->status : 0, template->status);
    if (status != KAP_OK)
        return status;
    structure_check(model, template, path);
    if (old && old->kind != template->kind) {
        const struct kap_path here = {path, "kind", -1};
        kap_faults_add(&model->faults, &here, "not_allowed", "the kind of a template does not change: make a new one");
    }
    if (model->faults.n_total > 0)
        return KAP_INVALID;
    bool is_same = old && kap_wire_equal(&kap_template_structure_msg, old->structure, template->structure);
    template->has_version = true;
    template->version = !old ? KAP_MAX(template->version, 1u) : is_same ? old->version : old->version + 1;
    return KAP_OK;
}
