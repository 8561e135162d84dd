#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/uuid.h"
#include "tools/kap/kap.h"

static const char usage[] =
    "kap - requests to a kapd\n"
    "\n"
    "  kap [-u URL] [--as USER] COMMAND\n"
    "\n"
    "  call OP [JSON | -]            one typed request: kap call session.get '{\"id\": \"...\"}'\n"
    "       --as USER                on behalf of this user (its UUID; service and administrators)\n"
    "       --idempotency-key UUID   the same key and request are carried out once\n"
    "  ops                           the names of all operations\n"
    "  import free-exercise-db PATH  the exercise library and its images\n"
    "  import ndjson PATH | -        what export wrote; ids, revisions and times are kept\n"
    "         --blobs DIR            and the blobs\n"
    "         --dry-run              says what would change\n"
    "  export [--kind K] [-o FILE]   all rows as ndjson, in (kind, id) order\n"
    "         --blobs DIR            and the blobs they use, as files named by their SHA-256\n"
    "  blob put FILE [--type TYPE]   prints the blob's id, its SHA-256\n"
    "  blob get ID [-o FILE] [--range A-B]\n"
    "  shell                         requests by hand: completion, history, help OP\n"
    "\n"
    "URL: kap://host:port or kap+unix:///path/kapd.sock; else KAP_URL, else kap://127.0.0.1:7411.\n"
    "KAP_TOKEN_FILE names a file with an API token.\n"
    "Exit: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 refused, 5 corruption, 70 storage failure.\n";

static const struct {
    const char *name;
    int (*run)(struct kap_tool *tool, int argc, char **argv);
} commands[] = {
    {"call", kap_call_main},     {"ops", kap_ops_main},       {"blob", kap_blob_main},
    {"import", kap_import_main}, {"export", kap_export_main}, {"shell", kap_shell_main},
};

int kap_exit_of(kap_status status)
{
    if (status == KAP_OK)
        return KAP_EXIT_OK;
    if (status == KAP_UNREACHABLE || status == KAP_DEADLINE)
        return KAP_EXIT_UNREACHABLE;
    if (status == KAP_CORRUPT)
        return KAP_EXIT_CORRUPT;
    if (status == KAP_IO || status == KAP_NO_SPACE)
        return KAP_EXIT_STORAGE;
    return kap_status_class(status) == KAP_CLASS_AUTH ? KAP_EXIT_REFUSED : KAP_EXIT_FAILED;
}

int kap_tool_fail(kap_status status, const struct kap_error *error)
{
    fprintf(stderr, "kap: %s: %s\n", kap_status_name(status),
            error->text[0] ? error->text : kap_status_sentence(status));
    return kap_exit_of(status);
}

int kap_tool_usage(const char *text)
{
    fprintf(stderr, "kap: %s\n", text);
    return KAP_EXIT_USAGE;
}

bool kap_tool_meta(struct kap_tool *tool, int letter, const char *text)
{
    struct kap_id id;
    if (kap_uuid_parse(kap_bytes_str(text), &id) != KAP_OK) {
        fprintf(stderr, "kap: %s takes a UUID, not \"%.60s\"\n", letter == 'a' ? "--as" : "--idempotency-key", text);
        return false;
    }
    if (letter == 'a') {
        tool->meta.has_on_behalf_of = true;
        tool->meta.on_behalf_of = id;
    } else {
        tool->meta.has_idempotency_key = true;
        tool->meta.idempotency_key = id;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"as", required_argument, NULL, 'a'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {0}};
    struct kap_tool tool = {0};
    struct kap_client_options client = {.name = "kap " KAP_VERSION, .lz4 = false};
    struct kap_error error = {0};
    int letter;
    while ((letter = getopt_long(argc, argv, "+u:h", options, NULL)) != -1) {
        if (letter == 'u') {
            client.url = optarg;
        } else if (letter == 'h' || letter == 'V') {
            fputs(letter == 'h' ? usage : "kap " KAP_VERSION "\n", stdout);
            return 0;
        } else if (letter != 'a' || !kap_tool_meta(&tool, letter, optarg)) {
            return KAP_EXIT_USAGE;
        }
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return KAP_EXIT_USAGE;
    }
    for (size_t i = 0; i < KAP_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, argv[optind]) != 0)
            continue;
        if (kap_client_open(&client, &tool.client, &error) != KAP_OK)
            return kap_tool_usage(error.text);
        argc -= optind;
        argv += optind;
        optind = 0; /* GNU getopt: begin anew */
        int code = commands[i].run(&tool, argc, argv);
        kap_client_close(tool.client);
        return code;
    }
    fprintf(stderr, "kap: there is no command \"%s\"; kap --help lists them\n", argv[optind]);
    return KAP_EXIT_USAGE;
}
