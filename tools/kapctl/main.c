/* main.c - options and verbs of kapctl. */
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "tools/kapctl/inspect.h"
#include "tools/kapctl/online.h"
#include "tools/kapctl/verify.h"

struct verb {
    const char *name, *arguments, *line, *help;
    enum ctl_exit (*run)(const struct ctl *ctl);
};

static const struct verb verbs[] = {
    {"inspect", "FILE|DIR [--entries[=N]]", "a file or directory of a store as text",
     "Prints wal-*.log, seg-*.kap, manifest-*, superblock, blobs/pack-*.blob, snapshots/NAME/info or a whole data\n"
     "directory. With --entries a segment's keys and values follow, at most N of them. A directory may be looked at\n"
     "beside a running kapd; a file that goes meanwhile is an error: run it again. Exit 5 when the file is damaged.",
     inspect_run},
    {"verify", "DIR", "proves every byte of a stopped store",
     "Takes the directory's lock, then reads the superblock, the manifest, every block of every segment, the log and\n"
     "every chunk of every blob, and compares all checksums, orders and counts. Nothing is changed. Prints one line "
     "for\n"
     "each thing checked, then ok, or what is damaged with file and offset. Exit 0: ok. 5: damaged. 1: could not look.",
     verify_run},
    {"status", "", "a running kapd at a glance",
     "Version, state, commits, memory, log, segments, compaction, and why writers wait if they do.", status_run},
    {"compaction", "run|status", "sort segments into the lowest levels",
     "run asks for it and returns; with --wait once it is done; --dry-run says how much there is to do.\n"
     "status prints what compactions have read and written.",
     compaction_run},
    {"snapshot", "create NAME|list|delete NAME", "hard-link copies of the store",
     "A snapshot is a directory under DIR/snapshots that kapd -D opens. delete takes --dry-run.", snapshot_run},
    {"token", "create|list|revoke ID", "what services log in with",
     "create --name N --role R [--user ID] [--expires 90d] prints the token once: only its hash is kept.\n"
     "revoke takes --dry-run.",
     token_run},
    {"doctor", "[DIR]", "what is wrong, and what to do",
     "Asks whether io_uring is permitted, the server reachable, the directory writable, the disk roomy, and whether "
     "there\n"
     "are snapshots and free log slots. Exit 1 when a check failed.",
     doctor_run},
};

enum ctl_exit ctl_exit_of(kap_status status)
{
    switch (status) {
    case KAP_OK:
        return CTL_OK;
    case KAP_CORRUPT:
        return CTL_CORRUPT;
    case KAP_UNREACHABLE:
    case KAP_DEADLINE:
        return CTL_UNREACHABLE;
    case KAP_IO:
    case KAP_NO_SPACE:
        return CTL_STORAGE;
    default:
        return kap_status_class(status) == KAP_CLASS_AUTH ? CTL_REFUSED : CTL_FAILED;
    }
}

enum ctl_exit ctl_fail(const struct kap_error *error)
{
    fflush(stdout);
    fprintf(stderr, "kapctl: %s\n", error->text);
    return ctl_exit_of(error->status);
}

enum ctl_exit ctl_usage(const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "kapctl: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "; see kapctl --help\n");
    return CTL_USAGE;
}

static void help_print(void)
{
    printf("kapctl - look after a kapd and its data directory\n\n");
    for (size_t i = 0; i < KAP_ARRAY_LEN(verbs); i++)
        printf("  %-10s %-28s %s\n", verbs[i].name, verbs[i].arguments, verbs[i].line);
    printf("  %-10s %-28s %s\n\n", "help", "VERB", "more about one of them");
    printf("  -u, --url URL             kap://host:port or kap+unix:///path; else KAP_URL. Token: KAP_TOKEN_FILE\n"
           "  -o, --output table|json   how to print; table by default\n"
           "      --dry-run             only say what would happen\n"
           "  -h, --help                this page\n"
           "      --version\n\n"
           "Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 refused, 5 corruption found, 70 storage failure.\n");
}

/* Insertions, deletions, changes and swaps of neighbours that make b of a; words are short. */
static size_t distance(const char *a, const char *b)
{
    enum { WORD = 24 };
    size_t cost[WORD + 1][WORD + 1], n = KAP_MIN(strlen(a), (size_t)WORD), m = KAP_MIN(strlen(b), (size_t)WORD);
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            size_t change = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = KAP_MIN(change, KAP_MIN(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = KAP_MIN(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    return cost[n][m];
}

static const struct verb *verb_find(const char *name)
{
    const struct verb *near = NULL;
    size_t best = 3;
    for (size_t i = 0; i < KAP_ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
        size_t far = distance(name, verbs[i].name);
        if (far < best) {
            best = far;
            near = &verbs[i];
        }
    }
    if (near)
        ctl_usage("there is no verb \"%.40s\"; did you mean \"%s\"?", name, near->name);
    else
        ctl_usage("there is no verb \"%.40s\"", name);
    return NULL;
}

static enum ctl_exit help_run(const struct ctl *ctl)
{
    if (ctl->argc == 0) {
        help_print();
        return CTL_OK;
    }
    const struct verb *verb = verb_find(ctl->argv[0]);
    if (!verb)
        return CTL_USAGE;
    printf("kapctl %s %s\n\n%s\n", verb->name, verb->arguments, verb->help);
    return CTL_OK;
}

static bool number_parse(const char *text, unsigned long *number_out)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != 0)
        return false;
    *number_out = number;
    return true;
}

/* CTL_OK: go on; otherwise exit with *result_out. */
static bool options_parse(int argc, char **argv, struct ctl *ctl, enum ctl_exit *result_out)
{
    enum {
        OPTION_ENTRIES = 256,
        OPTION_VERSION,
        OPTION_DRY,
        OPTION_WAIT,
        OPTION_NAME,
        OPTION_ROLE,
        OPTION_USER,
        OPTION_EXPIRES
    };
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"url", required_argument, NULL, 'u'},
                                            {"dry-run", no_argument, NULL, OPTION_DRY},
                                            {"wait", no_argument, NULL, OPTION_WAIT},
                                            {"name", required_argument, NULL, OPTION_NAME},
                                            {"role", required_argument, NULL, OPTION_ROLE},
                                            {"user", required_argument, NULL, OPTION_USER},
                                            {"expires", required_argument, NULL, OPTION_EXPIRES},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, OPTION_VERSION},
                                            {"entries", optional_argument, NULL, OPTION_ENTRIES},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "o:u:h", options, NULL)) != -1)
        switch (option) {
        case 'o':
            ctl->json = strcmp(optarg, "json") == 0;
            if (!ctl->json && strcmp(optarg, "table") != 0) {
                *result_out = ctl_usage("there is no output \"%.20s\"; there are table and json", optarg);
                return false;
            }
            break;
        case 'h':
            help_print();
            *result_out = CTL_OK;
            return false;
        case OPTION_VERSION:
            printf("kapctl %s\n", KAP_VERSION);
            *result_out = CTL_OK;
            return false;
        case 'u':
            ctl->url = optarg;
            break;
        case OPTION_DRY:
            ctl->dry_run = true;
            break;
        case OPTION_WAIT:
            ctl->wait = true;
            break;
        case OPTION_NAME:
            ctl->name = optarg;
            break;
        case OPTION_ROLE:
            ctl->role = optarg;
            break;
        case OPTION_USER:
            ctl->user = optarg;
            break;
        case OPTION_EXPIRES:
            ctl->expires = optarg;
            break;
        case OPTION_ENTRIES:
            ctl->entries = true;
            ctl->entries_max = ULONG_MAX;
            if (optarg && !number_parse(optarg, &ctl->entries_max)) {
                *result_out = ctl_usage("--entries=%.20s is not a number", optarg);
                return false;
            }
            break;
        default:
            *result_out = CTL_USAGE; /* getopt has said which */
            return false;
        }
    return true;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    enum ctl_exit result = CTL_OK;
    if (!options_parse(argc, argv, &ctl, &result))
        return (int)result;
    if (optind == argc)
        return (int)ctl_usage("say what to do");
    const char *name = argv[optind];
    ctl.argc = argc - optind - 1;
    ctl.argv = argv + optind + 1;
    if (strcmp(name, "help") == 0)
        return (int)help_run(&ctl);
    const struct verb *verb = verb_find(name);
    return (int)(verb ? verb->run(&ctl) : CTL_USAGE);
}
