#include "engine/segment/block_image.h"

#include "engine/base/assert.h"

static uint32_t slot_of(const struct kap_block_image *image, uint64_t offset)
{
    uint32_t low = 0, high = image->block_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (image->blocks[middle]->ref.offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static kap_status room_make(struct kap_block_image *image)
{
    if (image->block_count < image->block_cap)
        return KAP_OK;
    uint32_t cap = image->block_cap ? image->block_cap * 2 : 16;
    struct kap_block **blocks = kap_memory_resize(image->memory, image->blocks, cap * sizeof(struct kap_block *));
    if (!blocks)
        return kap_error_set(&image->error, KAP_NO_MEMORY, "no memory for %u blocks", cap);
    image->blocks = blocks;
    image->block_cap = cap;
    return KAP_OK;
}

static kap_status image_get(struct kap_block_source *source, const struct kap_block_ref *ref,
                            const struct kap_block **block_out)
{
    struct kap_block_image *image = KAP_OWNER(source, struct kap_block_image, source);
    uint32_t slot = slot_of(image, ref->offset);
    if (slot < image->block_count && image->blocks[slot]->ref.offset == ref->offset &&
        image->blocks[slot]->ref.checksum == ref->checksum) {
        *block_out = image->blocks[slot];
        return KAP_OK;
    }
    uint64_t at = ref->offset - image->offset;
    if (ref->offset < image->offset || at > image->bytes.len || ref->stored_bytes > image->bytes.len - at) {
        image->missing = *ref;
        return KAP_PENDING;
    }
    struct kap_block *block = NULL;
    kap_status status = room_make(image);
    if (status == KAP_OK)
        status = kap_block_load(image->memory, ref, kap_bytes(image->bytes.data + at, ref->stored_bytes), &block,
                                &image->error);
    if (status != KAP_OK) {
        source->failed = *ref;
        return status;
    }
    memmove(image->blocks + slot + 1, image->blocks + slot, (image->block_count - slot) * sizeof(struct kap_block *));
    image->blocks[slot] = block;
    image->block_count++;
    *block_out = block;
    return KAP_OK;
}

void kap_block_image_init(struct kap_block_image *image, struct kap_memory *memory, struct kap_bytes bytes,
                          uint64_t offset)
{
    static const struct kap_block_source_ops ops = {.get = image_get};
    *image = (struct kap_block_image){.source = {.ops = &ops}, .memory = memory, .bytes = bytes, .offset = offset};
}

void kap_block_image_move(struct kap_block_image *image, struct kap_bytes bytes, uint64_t offset)
{
    for (uint32_t slot = 0; slot < image->block_count; slot++)
        kap_block_free(image->memory, image->blocks[slot]);
    image->block_count = 0;
    image->bytes = bytes;
    image->offset = offset;
}

void kap_block_image_deinit(struct kap_block_image *image)
{
    kap_block_image_move(image, kap_bytes(NULL, 0), 0);
    kap_memory_free(image->memory, image->blocks);
    image->blocks = NULL;
    image->block_cap = 0;
}
