/* dump.h - rows for export and import, and rows by name.
 *
 * A dump gives the rows of one kind in the order of their ids; what the server derives by itself (heads, references to
 * blobs) and tokens are not given. A restore takes them as they are: id, revision and times stay. */
#pragma once

#include "engine/model/model.h"

enum { KAP_DUMP_SCAN_MAX = 20000, KAP_DUMP_BYTES_MAX = 8 * 1024 * 1024 };

KAP_CHECKED kap_status kap_dump_rows(struct kap_model *model, const struct kap_dump_rows_request *request,
                                     struct kap_dump_rows_reply *reply);
KAP_CHECKED kap_status kap_restore_rows(struct kap_model *model, const struct kap_restore_rows_request *request,
                                        struct kap_restore_rows_reply *reply);
KAP_CHECKED kap_status kap_bulk_read(struct kap_model *model, const struct kap_bulk_read_request *request,
                                     struct kap_bulk_read_reply *reply);
