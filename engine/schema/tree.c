#include "engine/schema/tree.h"

#include "engine/base/assert.h"

static const struct kap_tree_traits traits[] = {
    [KAP_TREE_ROWS] = {.prefix_bytes = 2 + 1 + 16, .point_filter = true, .compress = true},
    [KAP_TREE_LOCATOR] = {.prefix_bytes = 2 + 16, .point_filter = false, .compress = false},
    [KAP_TREE_HISTORY] = {.prefix_bytes = 2 + 16, .point_filter = false, .compress = true},
    [KAP_TREE_TRASH] = {.prefix_bytes = 2 + 16, .point_filter = false, .compress = true},
    [KAP_TREE_IDEMPOTENCY] = {.prefix_bytes = 0, .point_filter = true, .compress = true},
    [KAP_TREE_COUNT] = {.prefix_bytes = 2 + 2 + 16, .point_filter = true, .compress = false},
    [KAP_TREE_UNIQUE] = {.prefix_bytes = 0, .point_filter = true, .compress = false},
    [KAP_TREE_BLOB] = {.prefix_bytes = 0, .point_filter = true, .compress = true},
    [KAP_TREE_UPLOAD] = {.prefix_bytes = 0, .point_filter = true, .compress = true},
    [KAP_TREE_META] = {.prefix_bytes = 0, .point_filter = true, .compress = false},
    [KAP_TREE_MARK] = {.prefix_bytes = 0, .point_filter = true, .compress = false},
    [KAP_TREE_JOB] = {.prefix_bytes = 0, .point_filter = true, .compress = false},
};

struct kap_tree_traits kap_tree_traits(uint16_t tree)
{
    static const struct kap_tree_traits index_traits = {.prefix_bytes = 2 + 16, .compress = true};
    if (tree < KAP_ARRAY_LEN(traits) && tree != 0)
        return traits[tree];
    return index_traits;
}
