#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/checksum.h"
#include "engine/env/file_name.h"
#include "engine/manifest/manifest_format.h"
#include "tools/kapctl/segment_walk.h"
#include "tools/kapctl/verify.h"

/* Two whole copies of one pair are a store; a copy that was written and is not whole any more is damage all the same,
 * which the next start of a kapd repairs. */
void verify_superblock(struct verify *verify)
{
    static const uint8_t unwritten[KAP_SUPERBLOCK_COPY_BYTES];
    uint8_t *data;
    size_t len;
    uint32_t whole = 0, written = 0;
    struct kap_error error = {0};
    kap_status status = kap_offline_read(verify->offline, "superblock", 0, 0, &data, &len);
    if (status != KAP_OK) {
        kap_error_set(&error, status, "cannot read %s/superblock: %s", verify->offline->directory,
                      status == KAP_NO_FILE ? "there is none, so this is no kap store" : kap_status_sentence(status));
        verify_fault(verify, status, &error);
        return;
    }
    for (uint64_t at = 0; at + KAP_SUPERBLOCK_COPY_BYTES <= len && at < KAP_SUPERBLOCK_BYTES;
         at += KAP_SUPERBLOCK_COPY_BYTES) {
        const uint8_t *copy = data + at;
        if (memcmp(copy, unwritten, sizeof unwritten) == 0)
            continue;
        written++;
        if (kap_le64_load(copy + 8) == KAP_SUPERBLOCK_MAGIC &&
            kap_checksum(copy + 8, KAP_SUPERBLOCK_COPY_BYTES - 8, KAP_SEED_SUPERBLOCK) == kap_le64_load(copy))
            whole++;
        else
            verify_damage(verify, "superblock, offset %llu: copy %llu does not match its checksum",
                          (unsigned long long)at, (unsigned long long)(at / KAP_SUPERBLOCK_COPY_BYTES));
    }
    kap_memory_free(&verify->offline->env->memory, data);
    verify_line(verify, "superblock", "%u of %u written copies are whole", whole, written);
}

static void block_damaged(void *context, const char *text)
{
    struct verify *verify = context;
    verify_damage(verify, "%s: %s", verify->subject, text);
}

static void segment_check(struct verify *verify, const struct kap_manifest_file *file)
{
    struct kap_memory *memory = &verify->offline->env->memory;
    const struct kap_segment *segment;
    struct kap_error error = {0};
    uint8_t *data;
    size_t len, before = verify_damages(verify);
    kap_file_name_print(KAP_FILE_SEGMENT, file->meta.file_id, verify->subject);
    kap_status status = kap_offline_segment(verify->offline, file, &segment, &error);
    struct segment_walk walk = {.memory = memory, .damage = block_damaged, .context = verify};
    if (status == KAP_OK)
        status = kap_offline_read(verify->offline, verify->subject, 0, 0, &data, &len);
    if (status == KAP_OK) {
        walk.segment = segment;
        walk.file = kap_bytes(data, len);
        if (len != file->meta.file_bytes)
            verify_damage(verify, "%s: %zu bytes long, the manifest says %llu", verify->subject, len,
                          (unsigned long long)file->meta.file_bytes);
        status = segment_walk(&walk);
        kap_memory_free(memory, data);
    }
    if (status != KAP_OK)
        verify_fault(verify, status, &error);
    bool damaged = status != KAP_OK || verify_damages(verify) > before;
    verify_line(verify, verify->subject, "level %u, %llu entries%s", file->level, (unsigned long long)walk.entries,
                damaged ? ", damaged" : "");
}

static void level_check(struct verify *verify, uint8_t level)
{
    const struct kap_manifest_state *state = &verify->offline->state;
    for (uint32_t i = 0; i < state->n_files; i++)
        for (uint32_t j = i + 1; j < state->n_files; j++) {
            const struct kap_segment_meta *a = &state->files[i].meta, *b = &state->files[j].meta;
            if (state->files[i].level != level || state->files[j].level != level ||
                kap_bytes_cmp(a->largest, b->smallest) < 0 || kap_bytes_cmp(b->largest, a->smallest) < 0)
                continue;
            verify_damage(verify, "seg-%08llx.kap and seg-%08llx.kap of level %u hold the same range of keys",
                          (unsigned long long)a->file_id, (unsigned long long)b->file_id, level);
        }
}

void verify_segments(struct verify *verify)
{
    const struct kap_manifest_state *state = &verify->offline->state;
    for (uint32_t i = 0; i < state->n_files && verify->failed == KAP_OK; i++)
        segment_check(verify, &state->files[i]);
    for (uint8_t level = 1; level < KAP_LEVELS; level++)
        level_check(verify, level);
}
