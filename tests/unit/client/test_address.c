#include "tests/lib/test.h"

#include <string.h>

#include "proto/clients/c/client_internal.h"

static struct client_address parse(const char *url)
{
    struct client_address address;
    struct kap_error error = {0};
    cr_assert_eq(client_address_parse(url, &address, &error), KAP_OK, "%s", error.text);
    return address;
}

Test(address, takes_hosts_and_the_default_port)
{
    struct client_address address = parse("kap://localhost");
    cr_assert_not(address.is_unix);
    cr_assert_str_eq(address.host, "localhost");
    cr_assert_str_eq(address.port, "7411");
    address = parse("kap://user@10.0.0.1:99/");
    cr_assert_str_eq(address.host, "10.0.0.1");
    cr_assert_str_eq(address.port, "99");
}

Test(address, takes_ipv6_in_brackets)
{
    struct client_address address = parse("kap://[::1]:7000");
    cr_assert_str_eq(address.host, "::1");
    cr_assert_str_eq(address.port, "7000");
    address = parse("kap://[fe80::2]");
    cr_assert_str_eq(address.host, "fe80::2");
    cr_assert_str_eq(address.port, "7411");
}

Test(address, takes_a_socket_path)
{
    struct client_address address = parse("kap+unix:///run/kapd/kapd.sock?timeout=500ms");
    cr_assert(address.is_unix);
    cr_assert_str_eq(address.host, "/run/kapd/kapd.sock");
    cr_assert_eq(address.timeout_ms, 500u);
}

Test(address, takes_pool_and_timeout)
{
    struct client_address address = parse("kap://h:1/?pool=8&timeout=2s");
    cr_assert_eq(address.pool, 8u);
    cr_assert_eq(address.timeout_ms, 2000u);
}

Test(address, refuses_what_is_not_a_url_of_ours)
{
    static const char *const wrong[] = {"",
                                        "localhost:7411",
                                        "http://localhost",
                                        "kap://",
                                        "kap://:99",
                                        "kap+unix://",
                                        "kap+unix://rel",
                                        "kap://h?pool=x",
                                        "kap://h?x=1",
                                        "kap://h?timeout=2m"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct client_address address;
        struct kap_error error = {0};
        cr_assert_eq(client_address_parse(wrong[i], &address, &error), KAP_INVALID, "%s", wrong[i]);
        cr_assert(error.text[0] != '\0');
    }
}
