#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "proto/clients/c/client_internal.h"

static kap_status refuse(const char *url, struct kap_error *error)
{
    return kap_error_set(error, KAP_INVALID,
                         "\"%.100s\" is not a URL of a kapd; write kap://host:port or kap+unix:///path/kapd.sock", url);
}

/* "2s", "500ms"; a bare number is a count. false: neither. */
static bool number_parse(struct kap_bytes text, uint32_t *number_out)
{
    char copy[16], *end;
    snprintf(copy, sizeof copy, "%.*s", (int)KAP_MIN(text.len, sizeof copy - 1), (const char *)text.data);
    unsigned long number = strtoul(copy, &end, 10);
    if (!isdigit((unsigned char)copy[0]) || number > 1000000)
        return false;
    bool seconds = strcmp(end, "s") == 0;
    *number_out = (uint32_t)(seconds ? number * 1000 : number);
    return seconds || *end == '\0' || strcmp(end, "ms") == 0;
}

static kap_status query_parse(const char *query, struct client_address *address, struct kap_error *error)
{
    for (const char *at = query; *at;) {
        size_t len = strcspn(at, "&");
        struct kap_bytes pair = kap_bytes(at, len), pool = kap_bytes_str("pool="), timeout = kap_bytes_str("timeout=");
        bool known = false;
        if (kap_bytes_starts(pair, pool))
            known = number_parse(kap_bytes(at + pool.len, len - pool.len), &address->pool);
        else if (kap_bytes_starts(pair, timeout))
            known = number_parse(kap_bytes(at + timeout.len, len - timeout.len), &address->timeout_ms);
        if (!known)
            return kap_error_set(error, KAP_INVALID,
                                 "the URL's \"%.*s\" is not known; there are pool=N and timeout=2s or timeout=500ms",
                                 (int)KAP_MIN(len, 80), at);
        at += len + (at[len] == '&');
    }
    return KAP_OK;
}

static bool host_parse(struct kap_bytes authority, struct client_address *address)
{
    const char *text = (const char *)authority.data;
    const char *at_sign = memchr(text, '@', authority.len);
    size_t len = authority.len;
    if (at_sign) {
        len -= (size_t)(at_sign + 1 - text);
        text = at_sign + 1;
    }
    const char *colon = memrchr(text, ':', len);
    const char *bracket = memrchr(text, ']', len);
    size_t host_len = colon && colon > bracket ? (size_t)(colon - text) : len;
    size_t port_len = host_len < len ? len - host_len - 1 : 0;
    snprintf(address->port, sizeof address->port, "%.*s", (int)port_len, port_len ? colon + 1 : "");
    if (port_len == 0)
        snprintf(address->port, sizeof address->port, "7411");
    if (host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']') {
        text++;
        host_len -= 2;
    }
    if (host_len == 0 || host_len >= sizeof address->host || port_len >= sizeof address->port)
        return false;
    snprintf(address->host, sizeof address->host, "%.*s", (int)host_len, text);
    return true;
}

kap_status client_address_parse(const char *url, struct client_address *address_out, struct kap_error *error)
{
    static const char tcp[] = "kap://", local[] = "kap+unix://";
    const char *query = strchr(url, '?');
    size_t len = query ? (size_t)(query - url) : strlen(url);
    *address_out = (struct client_address){0};
    if (strncmp(url, local, sizeof local - 1) == 0) {
        const char *path = url + sizeof local - 1;
        size_t path_len = len - (sizeof local - 1);
        if (path_len == 0 || path[0] != '/' || path_len >= sizeof address_out->host)
            return refuse(url, error);
        address_out->is_unix = true;
        snprintf(address_out->host, sizeof address_out->host, "%.*s", (int)path_len, path);
    } else if (strncmp(url, tcp, sizeof tcp - 1) == 0) {
        const char *authority = url + sizeof tcp - 1;
        size_t rest = len - (sizeof tcp - 1), authority_len = KAP_MIN(rest, strcspn(authority, "/"));
        if (!host_parse(kap_bytes(authority, authority_len), address_out))
            return refuse(url, error);
    } else {
        return refuse(url, error);
    }
    return query ? query_parse(query + 1, address_out, error) : KAP_OK;
}
