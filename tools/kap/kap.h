/* kap.h - what the subcommands of kap share. Each takes its own arguments (argv[0] is its name) and returns an exit code. */
#pragma once

#include "proto/clients/c/kap_client.h"

enum {
    KAP_EXIT_OK = 0,
    KAP_EXIT_FAILED = 1,
    KAP_EXIT_USAGE = 2,
    KAP_EXIT_UNREACHABLE = 3,
    KAP_EXIT_REFUSED = 4,
    KAP_EXIT_CORRUPT = 5,
    KAP_EXIT_STORAGE = 70,
};

struct kap_tool {
    struct kap_memory memory;
    struct kap_client *client; /* connects with the first call */
    struct kap_meta meta; /* --as, --idempotency-key */
};

/* 2xx refused; unreachable, corrupt, storage; else failed. */
int kap_exit_of(kap_status status);
/* "kap: message" to standard error; returns the exit code. */
int kap_tool_fail(kap_status status, const struct kap_error *error);
int kap_tool_usage(const char *text);

/* Takes 'a' (--as) or 'i' (--idempotency-key), a UUID; false: said what is wrong with it. */
bool kap_tool_meta(struct kap_tool *tool, int letter, const char *text);

/* One operation with its request as JSON text; into out (cleared first) the reply as JSON, or the words of the server's
 * refusal. Nothing in out and not KAP_OK: error says what was wrong before it came to that. */
KAP_CHECKED kap_status kap_json_call(struct kap_tool *tool, const char *op, struct kap_bytes json, unsigned indent,
                                     struct kap_buffer *out, struct kap_error *error);
/* Everything from a file; "-": standard input. */
KAP_CHECKED kap_status kap_read_all(const char *path, struct kap_buffer *out, struct kap_error *error);

/* The server's refusal in lines, without a line end. */
void kap_refusal_print(kap_status status, const struct kap_error_reply *reply, struct kap_buffer *out);
/* No such operation: names the nearest one. Returns KAP_UNKNOWN_OP. */
kap_status kap_op_refuse(const char *name, struct kap_error *error);

/* A row without its commit_seq, which means something in its own store only; row->row moves into the arena. message_out:
 * its struct, or NULL. KAP_CORRUPT, KAP_NO_MEMORY. */
KAP_CHECKED kap_status kap_row_portable(struct kap_typed_row *row, struct kap_arena *arena, void **message_out);

int kap_call_main(struct kap_tool *tool, int argc, char **argv);
int kap_ops_main(struct kap_tool *tool, int argc, char **argv);
int kap_blob_main(struct kap_tool *tool, int argc, char **argv);
int kap_import_main(struct kap_tool *tool, int argc, char **argv);
int kap_export_main(struct kap_tool *tool, int argc, char **argv);
int kap_shell_main(struct kap_tool *tool, int argc, char **argv);

int kap_import_exercises(struct kap_tool *tool, const char *path);
