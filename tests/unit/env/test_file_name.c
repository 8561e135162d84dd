#include "tests/lib/test.h"

#include "engine/env/file_name.h"

Test(file_name, every_name_survives_a_round_trip_and_a_temporary_one_is_of_another_kind)
{
    const uint64_t numbers[] = {0, 1, 0xabc, 0x12345678, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
    for (int k = KAP_FILE_WAL; k < KAP_FILE_TEMPORARY; k++)
        for (int i = 0; i < 7; i++) {
            enum kap_file_kind kind = (enum kap_file_kind)k;
            uint64_t number = kap_file_kind_numbered(kind) ? numbers[i] : 0;
            struct kap_file_name back = {0};
            char text[KAP_FILE_NAME_BYTES];
            kap_file_name_print(kind, number, text);
            cr_assert(kap_file_name_parse(text, &back), "%s", text);
            cr_assert(back.kind == kind && back.of == kind && back.number == number, "%s", text);
            if (!kap_file_kind_may_be_temporary(kind))
                continue;
            kap_file_name_print_temporary(kind, number, text);
            cr_assert(kap_file_name_parse(text, &back), "%s", text);
            cr_assert(back.kind == KAP_FILE_TEMPORARY && back.of == kind && back.number == number, "%s", text);
        }
    cr_assert_not(kap_file_kind_may_be_temporary(KAP_FILE_LOCK));
    cr_assert_not(kap_file_kind_may_be_temporary(KAP_FILE_BLOBS));
}

Test(file_name, names_are_spelled_as_the_format_says)
{
    char text[KAP_FILE_NAME_BYTES];
    kap_file_name_print(KAP_FILE_WAL, 0x1f, text);
    cr_assert_str_eq(text, "wal-0000001f.log");
    kap_file_name_print(KAP_FILE_SEGMENT, UINT32_MAX, text);
    cr_assert_str_eq(text, "seg-ffffffff.kap");
    kap_file_name_print_temporary(KAP_FILE_MANIFEST, 2, text);
    cr_assert_str_eq(text, "manifest-00000002.tmp");
    kap_file_name_print_temporary(KAP_FILE_PACK, 3, text);
    cr_assert_str_eq(text, "pack-00000003.blob.tmp");
    kap_file_name_print(KAP_FILE_SUPERBLOCK, 0, text);
    cr_assert_str_eq(text, "superblock");
    kap_file_name_print(KAP_FILE_LOCK, 0, text);
    cr_assert_str_eq(text, "lock");
}

Test(file_name, what_is_not_ours_is_refused)
{
    static const char *const names[] = {
        "",
        ".",
        "..",
        "wal",
        "wal-",
        "wal-0000001.log",
        "wal-1.log",
        ".tmp",
        "lock.tmp",
        "lost.tmp",
        "snapshots/",
        "wal-000000001.log",
        "locks",
        "superbloc",
        "superblock2",
        "Lock",
        "blobs.tmp",
        "wal-0000000A.log",
        "seg-00000001.log",
        "wal-00000001.log.tmp.tmp",
        "wal-00000001.log.bak",
        "wal-+0000001.log",
        "wal- 0000001.log",
        "manifest-00000001x",
        "pack-00000001.blob.tm",
        "wal-0x000001.log",
        "superblock.tmp ",
        "seg-10000000000000000.kap",
        "seg-.kap",
        "pack-000000001.blob",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct kap_file_name name = {.number = 77};
        cr_assert_not(kap_file_name_parse(names[i], &name), "%s", names[i]);
        cr_assert_eq(name.number, 77u, "written on success only");
    }
}
