/* config.h - what kapd is told: one table of keys, filled from defaults, a file, and --set, in this order.
 *
 * The file is INI: [net] with listen = ... below it is the key net.listen. Sizes take KiB, MiB, GiB; times ms, s, min, h.
 * Errors  KAP_INVALID: what is wrong, where, and what was probably meant. */
#pragma once

#include <stdio.h>

#include "engine/base/status.h"

enum { KAP_CONFIG_TEXT_BYTES = 1024 };

struct kap_config {
    char directory[KAP_CONFIG_TEXT_BYTES];
    char listen[KAP_CONFIG_TEXT_BYTES], socket[KAP_CONFIG_TEXT_BYTES], http[KAP_CONFIG_TEXT_BYTES];
    char unix_roles[KAP_CONFIG_TEXT_BYTES];
    char log_level[KAP_CONFIG_TEXT_BYTES];
    uint64_t connections, in_flight, max_frame, unread_bytes;
    uint64_t idle_ping_ms, hello_ms, drain_grace_ms;
    uint64_t memtable_bytes, wal_file_bytes, block_cache_bytes, segment_file_bytes, level1_bytes, l0_files;
    uint64_t space_floor_bytes, memory_bytes;
};

void kap_config_default(struct kap_config *config);
/* key: "net.listen". where: for the message, "--set" or "kapd.conf line 3". */
KAP_CHECKED kap_status kap_config_set(struct kap_config *config, const char *key, const char *value, const char *where,
                                      struct kap_error *error);
KAP_CHECKED kap_status kap_config_file(struct kap_config *config, const char *path, struct kap_error *error);
/* What keys together must hold, beyond their ranges. */
KAP_CHECKED kap_status kap_config_check(const struct kap_config *config, struct kap_error *error);
/* As a file that kap_config_file reads back, with a comment per key. */
void kap_config_print(const struct kap_config *config, FILE *out);

/* The nearest of names, or NULL when none is near: for "did you mean". */
const char *kap_config_nearest(const char *word, const char *const *names, size_t n_names);
