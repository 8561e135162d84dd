/* out.h - a verb's answer, built once as JSON and printed as that or as tables.
 *
 * A document is an object. In a table a member is printed by what it is: a scalar as "name value", a list of objects as
 * columns under the names of the first one's members, a list of strings one a line, an object as a section of its own.
 *
 * Errors  memory: jansson's failures leave members out; ctl tools stop when malloc fails anyway. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "engine/base/bytes.h"

void out_number(json_t *object, const char *name, uint64_t value);
void out_text(json_t *object, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The list or object of this name in object, made when it is not there. */
json_t *out_list(json_t *object, const char *name);
json_t *out_section(json_t *object, const char *name);
/* A fresh object at the end of list. */
json_t *out_row(json_t *list);
/* "seq=1..5 commits=2 cut" as a row: words with "=" become members, others go into "note". */
void out_pairs(json_t *list, const char *text);
/* Lower-case hex of at most max bytes, then the length of the rest. */
void out_hex(struct kap_bytes bytes, size_t max, char *text_out, size_t cap);
/* Prints document on standard output and frees it. */
void out_print(json_t *document, bool as_json);
