#include "tools/kapctl/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUT_COLUMNS_MAX = 24, OUT_CELL_BYTES = 512 };

void out_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

void out_text(json_t *object, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_object_set_new(object, name, json_vsprintf(format, arguments));
    va_end(arguments);
}

static json_t *member(json_t *object, const char *name, json_t *(*make)(void))
{
    json_t *found = json_object_get(object, name);
    if (!found) {
        found = make();
        json_object_set_new(object, name, found);
    }
    return found;
}

json_t *out_list(json_t *object, const char *name)
{
    return member(object, name, json_array);
}

json_t *out_section(json_t *object, const char *name)
{
    return member(object, name, json_object);
}

json_t *out_row(json_t *list)
{
    json_t *row = json_object();
    json_array_append_new(list, row);
    return row;
}

void out_pairs(json_t *list, const char *text)
{
    json_t *row = out_row(list);
    char note[OUT_CELL_BYTES] = "";
    while (*text) {
        char word[OUT_CELL_BYTES];
        size_t len = strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s", (int)len, text);
        char *equals = strchr(word, '='), *end;
        if (equals) {
            *equals = 0;
            unsigned long long number = strtoull(equals + 1, &end, 10);
            if (equals[1] && *end == 0 && strlen(equals + 1) < 19 && (equals[1] != '0' || !equals[2]))
                out_number(row, word, number);
            else
                out_text(row, word, "%s", equals + 1);
        } else if (len > 0) {
            size_t used = strlen(note);
            snprintf(note + used, sizeof note - used, "%s%s", used ? " " : "", word);
        }
        text += len + (text[len] == ' ');
    }
    if (note[0])
        out_text(row, "note", "%s", note);
}

void out_hex(struct kap_bytes bytes, size_t max, char *text_out, size_t cap)
{
    size_t n = bytes.len < max ? bytes.len : max, at = 0;
    text_out[0] = 0;
    for (size_t i = 0; i < n && at + 3 < cap; i++)
        at += (size_t)snprintf(text_out + at, cap - at, "%02x", bytes.data[i]);
    if (n < bytes.len)
        snprintf(text_out + at, cap - at, " and %zu more", bytes.len - n);
}

static void cell(const json_t *value, char text[OUT_CELL_BYTES])
{
    text[0] = 0;
    if (json_is_string(value))
        snprintf(text, OUT_CELL_BYTES, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(text, OUT_CELL_BYTES, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, OUT_CELL_BYTES, "%.6g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(text, OUT_CELL_BYTES, "%s", json_is_true(value) ? "yes" : "no");
    else if (value && !json_is_null(value)) {
        char *dumped = json_dumps(value, JSON_COMPACT);
        snprintf(text, OUT_CELL_BYTES, "%s", dumped ? dumped : "");
        free(dumped);
    }
}

/* The columns of a table: the members of its rows, in the order in which they first come. */
static size_t columns_of(json_t *rows, const char *names[OUT_COLUMNS_MAX])
{
    size_t n = 0, slot;
    json_t *row, *value;
    const char *name;
    json_array_foreach(rows, slot, row) json_object_foreach(row, name, value)
    {
        size_t at = 0;
        while (at < n && strcmp(names[at], name) != 0)
            at++;
        if (at == n && n < OUT_COLUMNS_MAX)
            names[n++] = name;
    }
    return n;
}

/* Numbers to the right; the last column ends the line without blanks behind it. */
static void column_print(const char *text, size_t at, size_t n, bool right, int width)
{
    bool last = at + 1 == n;
    if (right)
        printf("%s%*s", at ? "  " : "", width, text);
    else
        printf("%s%-*s", at ? "  " : "", last ? 0 : width, text);
    if (last)
        printf("\n");
}

static void table_print(json_t *rows)
{
    const char *names[OUT_COLUMNS_MAX];
    int widths[OUT_COLUMNS_MAX];
    bool right[OUT_COLUMNS_MAX];
    char text[OUT_CELL_BYTES];
    size_t n = columns_of(rows, names), slot;
    json_t *row;
    for (size_t at = 0; at < n; at++) {
        widths[at] = (int)strlen(names[at]);
        right[at] = true;
        json_array_foreach(rows, slot, row)
        {
            json_t *value = json_object_get(row, names[at]);
            cell(value, text);
            widths[at] = (int)strlen(text) > widths[at] ? (int)strlen(text) : widths[at];
            right[at] &= !value || json_is_number(value);
        }
    }
    for (size_t at = 0; at < n; at++)
        column_print(names[at], at, n, right[at], widths[at]);
    json_array_foreach(rows, slot, row)
    {
        for (size_t at = 0; at < n; at++) {
            cell(json_object_get(row, names[at]), text);
            column_print(text, at, n, right[at], widths[at]);
        }
    }
}

static void object_print(json_t *object)
{
    const char *name;
    char text[OUT_CELL_BYTES];
    json_t *value;
    int width = 0;
    json_object_foreach(object, name, value) if (!json_is_object(value) && !json_is_array(value) &&
                                                 (int)strlen(name) > width) width = (int)strlen(name);
    json_object_foreach(object, name, value)
    {
        if (json_is_object(value) || json_is_array(value))
            continue;
        cell(value, text);
        printf("%-*s  %s\n", width, name, text);
    }
    json_object_foreach(object, name, value)
    {
        if (json_is_object(value)) {
            printf("\n%s\n", name);
            object_print(value);
        } else if (json_is_array(value) && json_array_size(value) > 0) {
            printf("\n%s\n", name);
            size_t slot;
            json_t *item;
            if (json_is_object(json_array_get(value, 0)))
                table_print(value);
            else
                json_array_foreach(value, slot, item)
                {
                    cell(item, text);
                    printf("%s\n", text);
                }
        }
    }
}

void out_print(json_t *document, bool as_json)
{
    if (as_json) {
        json_dumpf(document, stdout, JSON_INDENT(2));
        printf("\n");
    } else {
        object_print(document);
    }
    json_decref(document);
}
