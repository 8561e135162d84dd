#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/env/env_uring.h"
#include "tests/lib/store_fixture.h"

/* The same work as on the machine in memory, with real threads and a real disk: what TSan looks at. */

static struct fixture fixture;
static char directory[64];

static void quiet(void *context, enum kap_log_level level, const char *line)
{
    (void)context, (void)level, (void)line;
}

static void directory_remove(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

Test(store_uring, flushes_compacts_and_recovers_beside_a_writer, .timeout = 120)
{
    struct kap_env *env;
    struct kap_error error = {0};
    kap_log_set_sink(quiet, NULL);
    snprintf(directory, sizeof directory, "/tmp/kap-store-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(kap_env_uring_create(&env, &error), KAP_OK, "%s", error.text);
    fixture_init(&fixture, env, 5);
    fixture.options.directory = directory;
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(fixture_open(&fixture), KAP_OK, "%s", fixture.error.text);
        fixture_check(&fixture, "opened");
        for (int i = 0; i < 300; i++)
            cr_assert_eq(fixture_commit(&fixture), KAP_OK);
        if (round == 1) {
            cr_assert_eq(fixture_blob(&fixture), KAP_OK);
            cr_assert_eq(fixture_snapshot(&fixture, "snap"), KAP_OK);
        }
        fixture_check(&fixture, "written");
        cr_assert_eq(fixture_compact(&fixture), KAP_OK);
        fixture_check(&fixture, "compacted");
        if (fixture.blob_acked)
            fixture_blob_check(&fixture, "blob");
        fixture_close(&fixture);
    }
    fixture.options.directory = strcat(directory, "/snapshots/snap");
    fixture.options.create = false;
    static struct fixture snapshot;
    snapshot = fixture;
    snapshot.acked_seq = fixture.commits[fixture.snapshot_commits - 1].seq;
    cr_assert_eq(fixture_open(&snapshot), KAP_OK, "%s", snapshot.error.text);
    fixture_check(&snapshot, "snapshot");
    cr_assert_eq(snapshot.n_commits, fixture.snapshot_commits);
    fixture_close(&snapshot);
    kap_env_uring_destroy(env);
    *strstr(directory, "/snapshots") = 0;
    directory_remove();
}
