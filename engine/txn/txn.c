#include "engine/txn/txn.h"

/* Writes are numbered as they come; the newest of a key is what the transaction sees and what is committed. The high
 * numbers keep them above every commit when a scan merges them with the store. */
static kap_status write_add(struct kap_txn *txn, struct kap_bytes key, struct kap_bytes value, enum kap_entry_type type)
{
    struct kap_entry entry = {
        .key = key, .value = value, .seq = (UINT64_C(1) << 62) + txn->n_writes, .type = (uint8_t)type};
    if (key.len < KAP_TREE_BYTES || key.len > KAP_KEY_BYTES_MAX || value.len > KAP_VALUE_BYTES_MAX)
        return KAP_TOO_LARGE;
    if (txn->bytes + key.len + value.len > KAP_TXN_BYTES_MAX)
        return KAP_TOO_LARGE;
    kap_status status = kap_memtable_add(txn->writes, &entry);
    if (status != KAP_OK)
        return status;
    txn->n_writes++;
    txn->bytes += key.len + value.len;
    return KAP_OK;
}

kap_status kap_txn_put(struct kap_txn *txn, struct kap_bytes key, struct kap_bytes value)
{
    return write_add(txn, key, value, KAP_ENTRY_PUT);
}

kap_status kap_txn_delete(struct kap_txn *txn, struct kap_bytes key)
{
    return write_add(txn, key, kap_bytes("", 0), KAP_ENTRY_DELETE);
}
