/* exercises.c - the free-exercise-db corpus into the library.
 *
 * Ids are named (UUID version 5 under the project's namespace), so a second import finds what the first one made and
 * changes nothing. Reference values are looked up by list and value first: what a curator has made under another id is
 * used as it is. An image that is not there now is attached by a later import; one attached before stays. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/assert.h"
#include "proto/seed_ids.h"
#include "tools/kap/kap.h"

enum { TERMS_MAX = 512, IMAGES_MAX = 24, LIST_PAGE = 200, DURATION_MIN = 10, SLUG_BYTES = 97 };

struct term {
    int32_t list; /* enum kap_ref_kind */
    char value[65];
    struct kap_id id;
};

struct import {
    struct kap_tool *tool;
    struct kap_arena arena; /* of one exercise */
    char directory[1024];
    struct term terms[TERMS_MAX];
    uint32_t n_terms;
    uint32_t terms_created, created, updated, unchanged, attached, already, absent;
};

/* ---- reference values */

static kap_status term_add(struct import *import, int32_t list, struct kap_bytes value, struct kap_id id,
                           struct kap_error *error)
{
    if (import->n_terms == TERMS_MAX)
        return kap_error_set(error, KAP_TOO_LARGE, "more than %d reference values", TERMS_MAX);
    struct term *term = &import->terms[import->n_terms++];
    *term = (struct term){.list = list, .id = id};
    snprintf(term->value, sizeof term->value, "%.*s", (int)value.len, (const char *)value.data);
    return KAP_OK;
}

static kap_status list_load(struct import *import, int32_t list, struct kap_error *error)
{
    struct kap_list_page page = {.has_limit = true, .limit = LIST_PAGE};
    struct kap_ref_list_request request = {
        .has_kind = true, .kind = KAP_KIND_REF_ITEM, .has_ref_kind = true, .ref_kind = list, .page = &page};
    for (;;) {
        struct kap_ref_list_reply reply;
        kap_status status =
            kap_client_send(import->tool->client, KAP_OP_REF_LIST, NULL, &request, &import->arena, &reply, error);
        for (size_t i = 0; status == KAP_OK && i < reply.n_items; i++)
            if (!reply.items[i].has_scope && reply.items[i].sys)
                status = term_add(import, list, reply.items[i].value, reply.items[i].sys->id, error);
        if (status != KAP_OK || !reply.end || !reply.end->has_next)
            return status;
        page.has_cursor = true;
        page.cursor = reply.end->next;
    }
}

static kap_status term_create(struct import *import, int32_t list, const char *value, struct kap_error *error)
{
    char label[65];
    struct kap_sys sys = {.has_id = true, .id = kap_seed_ref_id(list, value)};
    snprintf(label, sizeof label, "%s", value);
    label[0] = (char)(label[0] >= 'a' && label[0] <= 'z' ? label[0] - 'a' + 'A' : label[0]);
    for (char *at = label; *at; at++)
        *at = *at == '_' ? ' ' : *at;
    struct kap_ref_item item = {.sys = &sys,
                                .has_kind = true,
                                .kind = list,
                                .has_value = true,
                                .value = kap_bytes_str(value),
                                .has_label = true,
                                .label = kap_bytes_str(label),
                                .has_label_en = true,
                                .label_en = kap_bytes_str(label)};
    struct kap_ref_put_request request = {.item = &item};
    struct kap_ref_put_reply reply;
    kap_status status =
        kap_client_send(import->tool->client, KAP_OP_REF_PUT, NULL, &request, &import->arena, &reply, error);
    import->terms_created += status == KAP_OK;
    return status == KAP_OK ? term_add(import, list, kap_bytes_str(value), sys.id, error) : status;
}

static kap_status term_of(struct import *import, int32_t list, const char *value, struct kap_id *id_out,
                          struct kap_error *error)
{
    for (int attempt = 0;; attempt++) {
        for (uint32_t i = 0; i < import->n_terms; i++)
            if (import->terms[i].list == list && strcmp(import->terms[i].value, value) == 0) {
                *id_out = import->terms[i].id;
                return KAP_OK;
            }
        KAP_ASSERT(attempt == 0);
        if (strlen(value) == 0 || strlen(value) > 64)
            return kap_error_set(error, KAP_INVALID, "\"%.80s\" is not a reference value", value);
        kap_status status = term_create(import, list, value, error);
        if (status != KAP_OK)
            return status;
    }
}

static kap_status term_list(struct import *import, int32_t list, const json_t *values, size_t *n_out,
                            struct kap_id **ids_out, struct kap_error *error)
{
    size_t n = json_array_size(values);
    *ids_out = kap_arena_push(&import->arena, (n + 1) * sizeof **ids_out);
    if (!*ids_out)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an exercise");
    for (size_t i = 0; i < n; i++) {
        const char *value = json_string_value(json_array_get(values, i));
        kap_status status = term_of(import, list, value ? value : "", &(*ids_out)[i], error);
        if (status != KAP_OK)
            return status;
    }
    *n_out = n;
    return KAP_OK;
}

/* ---- images */

static struct kap_media *media_at(struct kap_exercise *exercise, uint32_t position)
{
    for (size_t i = 0; i < exercise->n_media; i++)
        if (exercise->media[i].role == KAP_MEDIA_ROLE_IMAGE && exercise->media[i].position == position)
            return &exercise->media[i];
    return NULL;
}

static kap_status image_attach(struct import *import, struct kap_exercise *exercise, uint32_t position,
                               const char *path, struct kap_error *error)
{
    uint64_t size;
    bool was_there;
    uint8_t *hash = kap_arena_push(&import->arena, 32);
    if (!hash)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an image");
    kap_status status = kap_blob_upload_file(import->tool->client, path, "image/jpeg", hash, &size, &was_there, error);
    if (status != KAP_OK)
        return status;
    struct kap_media *media = media_at(exercise, position);
    if (media && kap_bytes_eq(media->blob, kap_bytes(hash, 32))) {
        import->already++;
        return KAP_OK;
    }
    import->attached++;
    if (!media)
        media = &exercise->media[exercise->n_media++];
    *media = (struct kap_media){.has_blob = true,
                                .blob = kap_bytes(hash, 32),
                                .has_role = true,
                                .role = KAP_MEDIA_ROLE_IMAGE,
                                .has_position = true,
                                .position = position};
    return KAP_OK;
}

/* media: those of the stored row, with the images that are there now put in their places. */
static kap_status images_attach(struct import *import, const json_t *images, const struct kap_exercise *stored,
                                struct kap_exercise *exercise, struct kap_error *error)
{
    exercise->media = kap_arena_push(&import->arena, 2 * IMAGES_MAX * sizeof *exercise->media);
    if (!exercise->media)
        return kap_error_set(error, KAP_NO_MEMORY, "no memory for an exercise");
    for (size_t i = 0; stored && i < stored->n_media && i < IMAGES_MAX; i++)
        exercise->media[exercise->n_media++] = stored->media[i];
    for (uint32_t i = 0; i < json_array_size(images) && exercise->n_media < IMAGES_MAX; i++) {
        char path[2200];
        struct stat stat_buffer;
        const char *name = json_string_value(json_array_get(images, i));
        snprintf(path, sizeof path, "%s/images/%.1000s", import->directory, name ? name : "");
        if (name && !strstr(name, "..") && stat(path, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode)) {
            kap_status status = image_attach(import, exercise, i, path, error);
            if (status != KAP_OK)
                return status;
        } else {
            uint32_t *count = media_at(exercise, i) ? &import->already : &import->absent;
            (*count)++;
        }
    }
    return KAP_OK;
}

/* ---- one exercise */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static int32_t number_in(const char *const *names, const char *name)
{
    for (int32_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i + 1;
    return 0;
}

static const char *intensity_of(const char *category)
{
    if (strcmp(category, "stretching") == 0)
        return "low";
    return strcmp(category, "cardio") == 0 || strcmp(category, "strength") == 0 ? "medium" : "high";
}

static kap_status steps_fill(struct import *import, const json_t *steps, struct kap_exercise *exercise)
{
    struct kap_buffer joined;
    exercise->n_steps = json_array_size(steps);
    exercise->steps = kap_arena_push(&import->arena, (exercise->n_steps + 1) * sizeof *exercise->steps);
    if (!exercise->steps)
        return KAP_NO_MEMORY;
    kap_buffer_init(&joined, &import->tool->memory);
    for (size_t i = 0; i < exercise->n_steps; i++) {
        const char *step = json_string_value(json_array_get(steps, i));
        exercise->steps[i] = kap_bytes_str(step ? step : "");
        kap_buffer_printf(&joined, "%s%s", i ? "\n" : "", step ? step : "");
    }
    exercise->has_description = true;
    exercise->description =
        joined.len > 0 ? kap_arena_copy(&import->arena, kap_buffer_bytes(&joined)) : exercise->title;
    bool failed = joined.failed || !exercise->description.data;
    kap_buffer_deinit(&joined);
    return failed ? KAP_NO_MEMORY : KAP_OK;
}

static kap_status terms_fill(struct import *import, const json_t *from, struct kap_exercise *exercise,
                             struct kap_error *error)
{
    const char *equipment = text_of(from, "equipment"), *category = text_of(from, "category");
    kap_status status = term_of(import, KAP_REF_KIND_LEVEL, text_of(from, "level"), &exercise->level, error);
    if (status == KAP_OK)
        status = term_of(import, KAP_REF_KIND_EXERCISE_CATEGORY, category, &exercise->category, error);
    if (status == KAP_OK)
        status = term_of(import, KAP_REF_KIND_INTENSITY, intensity_of(category), &exercise->intensity, error);
    if (status == KAP_OK)
        status = term_of(import, KAP_REF_KIND_SPORT, "strength_conditioning", &exercise->sport, error);
    exercise->has_level = exercise->has_category = exercise->has_intensity = exercise->has_sport = true;
    if (status == KAP_OK && equipment[0]) {
        exercise->equipment = kap_arena_push(&import->arena, sizeof *exercise->equipment);
        exercise->n_equipment = exercise->equipment != NULL;
        status = exercise->equipment ? term_of(import, KAP_REF_KIND_EQUIPMENT, equipment, exercise->equipment, error)
                                     : KAP_NO_MEMORY;
    }
    if (status == KAP_OK)
        status = term_list(import, KAP_REF_KIND_MUSCLE, json_object_get(from, "primaryMuscles"),
                           &exercise->n_muscles_primary, &exercise->muscles_primary, error);
    if (status == KAP_OK)
        status = term_list(import, KAP_REF_KIND_MUSCLE, json_object_get(from, "secondaryMuscles"),
                           &exercise->n_muscles_secondary, &exercise->muscles_secondary, error);
    return status;
}

static void scalars_fill(const json_t *from, struct kap_exercise *exercise)
{
    static const char *const forces[] = {"static", "pull", "push", NULL};
    static const char *const mechanics[] = {"compound", "isolation", NULL};
    exercise->has_title = exercise->has_activity_type = exercise->has_duration = true;
    exercise->title = kap_bytes_str(text_of(from, "name"));
    exercise->activity_type = KAP_ACTIVITY_TYPE_EXERCISE;
    exercise->duration = DURATION_MIN;
    exercise->force = number_in(forces, text_of(from, "force"));
    exercise->has_force = exercise->force != 0;
    exercise->mechanic = number_in(mechanics, text_of(from, "mechanic"));
    exercise->has_mechanic = exercise->mechanic != 0;
    exercise->has_visibility = exercise->has_license = exercise->has_attribution = true;
    exercise->visibility = KAP_VISIBILITY_PUBLIC;
    exercise->license = kap_bytes_str("Unlicense");
    exercise->attribution = kap_bytes_str("free-exercise-db");
}

/* Lower case; what a slug may not hold becomes "_". */
static void slug_of(const char *id, char slug_out[SLUG_BYTES])
{
    size_t len = 0;
    for (; id[len] && len < SLUG_BYTES - 1; len++) {
        unsigned char letter = (unsigned char)id[len];
        bool plain = isalnum(letter) && letter < 128;
        slug_out[len] = (char)(plain || letter == '-' ? tolower(letter) : '_');
    }
    slug_out[len] = '\0';
}

static kap_status exercise_import(struct import *import, const json_t *from, struct kap_error *error)
{
    char slug[SLUG_BYTES];
    slug_of(text_of(from, "id"), slug);
    struct kap_sys sys = {.has_id = true, .id = kap_seed_id(kap_bytes_str(slug))};
    struct kap_exercise exercise = {.sys = &sys, .has_slug = true, .slug = kap_bytes_str(slug)};
    struct kap_exercise_get_request get = {.has_id = true, .id = sys.id};
    struct kap_exercise_get_reply got = {0};
    struct kap_error ignored = {0};
    kap_arena_reset(&import->arena);
    kap_status status =
        kap_client_send(import->tool->client, KAP_OP_EXERCISE_GET, NULL, &get, &import->arena, &got, &ignored);
    if (status != KAP_OK && status != KAP_NOT_FOUND)
        return kap_error_set(error, status, "%s", ignored.text);
    const struct kap_exercise *stored = status == KAP_OK ? got.exercise : NULL;
    scalars_fill(from, &exercise);
    status = steps_fill(import, json_object_get(from, "instructions"), &exercise);
    if (status == KAP_OK)
        status = terms_fill(import, from, &exercise, error);
    if (status == KAP_OK)
        status = images_attach(import, json_object_get(from, "images"), stored, &exercise, error);
    if (status != KAP_OK)
        return kap_error_set(error, status, "%s", kap_status_sentence(status));
    struct kap_exercise_put_request put = {.exercise = &exercise};
    struct kap_put_reply reply;
    status = kap_client_send(import->tool->client, KAP_OP_EXERCISE_PUT, NULL, &put, &import->arena, &reply, error);
    if (status != KAP_OK)
        return status;
    if (!stored)
        import->created++;
    else if (stored->sys && stored->sys->rev == reply.rev)
        import->unchanged++;
    else
        import->updated++;
    return KAP_OK;
}

/* ---- the file */

/* PATH is the directory, or its exercises.json. */
static json_t *corpus_load(struct import *import, const char *path)
{
    char file[1100];
    struct stat stat_buffer;
    json_error_t why;
    bool is_directory = stat(path, &stat_buffer) == 0 && S_ISDIR(stat_buffer.st_mode);
    const char *slash = strrchr(path, '/');
    snprintf(import->directory, sizeof import->directory, "%.*s",
             is_directory ? (int)strlen(path)
             : slash      ? (int)(slash - path)
                          : 1,
             is_directory || slash ? path : ".");
    snprintf(file, sizeof file, "%s%s", path, is_directory ? "/exercises.json" : "");
    json_t *corpus = json_load_file(file, JSON_REJECT_DUPLICATES, &why);
    if (!corpus)
        fprintf(stderr, "kap: cannot read %s: %s, line %d\n", file, why.text, why.line);
    return corpus;
}

static kap_status import_run(struct import *import, const json_t *corpus, struct kap_error *error)
{
    static const int32_t lists[] = {KAP_REF_KIND_LEVEL, KAP_REF_KIND_EXERCISE_CATEGORY, KAP_REF_KIND_INTENSITY,
                                    KAP_REF_KIND_SPORT, KAP_REF_KIND_EQUIPMENT,         KAP_REF_KIND_MUSCLE};
    kap_status status = KAP_OK;
    for (size_t i = 0; status == KAP_OK && i < KAP_ARRAY_LEN(lists); i++)
        status = list_load(import, lists[i], error);
    for (size_t i = 0; status == KAP_OK && i < json_array_size(corpus); i++) {
        struct kap_error why = {0};
        const json_t *from = json_array_get(corpus, i);
        status = exercise_import(import, from, &why);
        if (status != KAP_OK)
            kap_error_set(error, status, "exercise %zu (%.60s): %s", i, text_of(from, "id"), why.text);
    }
    return status;
}

int kap_import_exercises(struct kap_tool *tool, const char *path)
{
    static struct import import; /* the table of terms is too large for the stack */
    struct kap_error error = {0};
    import = (struct import){.tool = tool};
    json_t *corpus = corpus_load(&import, path);
    if (!corpus)
        return KAP_EXIT_USAGE;
    kap_arena_init(&import.arena, &tool->memory, 64 * 1024, 0);
    kap_status status = import_run(&import, corpus, &error);
    kap_arena_deinit(&import.arena);
    json_decref(corpus);
    printf("created %u updated %u unchanged %u images attached %u already %u absent %u\n", import.created,
           import.updated, import.unchanged, import.attached, import.already, import.absent);
    if (import.terms_created > 0)
        printf("reference values created %u\n", import.terms_created);
    return status == KAP_OK ? 0 : kap_tool_fail(status, &error);
}
