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
};

/* 2xx refused; unreachable, corrupt, storage; else failed. */
int kap_exit_of(kap_status status);
/* "kap: message" to standard error; returns the exit code. */
int kap_tool_fail(kap_status status, const struct kap_error *error);
int kap_tool_usage(const char *text);

/* One operation with its request as JSON text; the reply as JSON into out (cleared first). on_error: the ErrorReply as
 * JSON instead, when the server sent one. */
KAP_CHECKED kap_status kap_json_call(struct kap_tool *tool, const char *op, struct kap_bytes json, unsigned indent,
                                     struct kap_buffer *out, struct kap_error *error);
/* Everything from a file; "-": standard input. */
KAP_CHECKED kap_status kap_read_all(const char *path, struct kap_buffer *out, struct kap_error *error);

int kap_call_main(struct kap_tool *tool, int argc, char **argv);
int kap_blob_main(struct kap_tool *tool, int argc, char **argv);
int kap_import_main(struct kap_tool *tool, int argc, char **argv);
int kap_export_main(struct kap_tool *tool, int argc, char **argv);
int kap_shell_main(struct kap_tool *tool, int argc, char **argv);

int kap_import_exercises(struct kap_tool *tool, const char *path);
