#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kap/kap.h"

static int put(struct kap_tool *tool, const char *path, const char *type)
{
    struct kap_error error = {0};
    uint8_t hash[32];
    uint64_t size;
    bool was_there;
    kap_status status = kap_blob_upload_file(tool->client, path, type, hash, &size, &was_there, &error);
    if (status != KAP_OK)
        return kap_tool_fail(status, &error);
    for (size_t i = 0; i < sizeof hash; i++)
        printf("%02x", hash[i]);
    putchar('\n');
    fprintf(stderr, "kap: %llu bytes%s\n", (unsigned long long)size, was_there ? ", were there already" : "");
    return 0;
}

static bool hash_parse(const char *text, uint8_t hash_out[32])
{
    if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
        return false;
    for (size_t i = 0; i < 32; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        hash_out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* "A-B", both inclusive, or "A-". */
static bool range_parse(const char *text, uint64_t *offset_out, uint64_t *length_out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    uint64_t first = strtoull(text, &end, 10);
    if (*end != '-')
        return false;
    *offset_out = first;
    *length_out = UINT64_MAX;
    if (end[1] == '\0')
        return true;
    uint64_t last = strtoull(end + 1, &end, 10);
    *length_out = last - first + 1;
    return *end == '\0' && last >= first;
}

static kap_status file_sink(void *context, struct kap_bytes bytes)
{
    return fwrite(bytes.data, 1, bytes.len, context) == bytes.len ? KAP_OK : KAP_NO_SPACE;
}

static int get(struct kap_tool *tool, const char *hash_text, const char *path, const char *range)
{
    struct kap_error error = {0};
    uint8_t hash[32];
    uint64_t offset = 0, length = UINT64_MAX;
    if (!hash_parse(hash_text, hash))
        return kap_tool_usage("a blob is named by its SHA-256: 64 hex digits");
    if (range && !range_parse(range, &offset, &length))
        return kap_tool_usage("--range takes A-B or A-, the first and last byte from 0");
    FILE *file = path ? fopen(path, "we") : stdout;
    if (!file) {
        fprintf(stderr, "kap: cannot write %s (%s)\n", path, strerrorname_np(errno));
        return KAP_EXIT_FAILED;
    }
    kap_status status = kap_blob_download(tool->client, hash, offset, length, file_sink, file, &error);
    if ((path ? fclose(file) : fflush(file)) != 0 && status == KAP_OK)
        status = kap_error_set(&error, KAP_NO_SPACE, "cannot write all of it");
    return status == KAP_OK ? 0 : kap_tool_fail(status, &error);
}

int kap_blob_main(struct kap_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {{"range", required_argument, NULL, 'r'},
                                            {"type", required_argument, NULL, 't'},
                                            {"output", required_argument, NULL, 'o'},
                                            {0}};
    const char *path = NULL, *range = NULL, *type = NULL;
    int letter;
    while ((letter = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
        if (letter == '?')
            return KAP_EXIT_USAGE;
        *(letter == 'o' ? &path : letter == 'r' ? &range : &type) = optarg;
    }
    if (argc - optind == 2 && strcmp(argv[optind], "put") == 0)
        return put(tool, argv[optind + 1], type);
    if (argc - optind == 2 && strcmp(argv[optind], "get") == 0)
        return get(tool, argv[optind + 1], path, range);
    return kap_tool_usage("blob put FILE [--type TYPE], or blob get HASH [-o FILE] [--range A-B]");
}
