/* shell.c - requests by hand: OP [JSON], completed with tab; help, help OP, quit. */
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "proto/ops.h"
#include "tools/kap/kap.h"

enum { HISTORY_LINES = 1000 };

static char *prompt(EditLine *edit)
{
    static char text[] = "kap> ";
    (void)edit;
    return text;
}

/* The longest start that all operations beginning with word share; lists them when that adds nothing. */
static unsigned char complete(EditLine *edit, int key)
{
    const LineInfo *line = el_line(edit);
    size_t len = (size_t)(line->cursor - line->buffer), shared = 0, n = 0;
    const char *word = line->buffer, *first = NULL;
    (void)key;
    if (len >= 5 && strncmp(word, "help ", 5) == 0) {
        word += 5;
        len -= 5;
    }
    for (size_t i = 0; i < kap_n_ops; i++) {
        const char *name = kap_ops[i].name;
        if (strncmp(name, word, len) != 0)
            continue;
        if (n++ == 0) {
            first = name;
            shared = strlen(name);
        }
        while (strncmp(name, first, shared) != 0)
            shared--;
    }
    if (n == 0)
        return CC_REFRESH_BEEP;
    if (shared > len) {
        char rest[128];
        snprintf(rest, sizeof rest, "%.*s%s", (int)(shared - len), first + len, n == 1 ? " " : "");
        return el_insertstr(edit, rest) < 0 ? CC_ERROR : CC_REFRESH;
    }
    putchar('\n');
    for (size_t i = 0; i < kap_n_ops; i++)
        if (strncmp(kap_ops[i].name, word, len) == 0)
            printf("%s  ", kap_ops[i].name);
    putchar('\n');
    return CC_REDISPLAY;
}

static const char *type_name(const struct kap_field *field)
{
    static const char *const names[] = {"",       "bool",   "number", "number", "number", "number", "number", "number",
                                        "number", "number", "number", "",       "text",   "base64", "uuid",   ""};
    if (field->type == KAP_FIELD_MESSAGE)
        return field->msg->name;
    if (field->type == KAP_FIELD_ENUM)
        return "one of";
    if (field->rules && field->rules->flags & KAP_FIELD_TIME)
        return "time";
    return field->rules && field->rules->flags & KAP_FIELD_HASH ? "hash" : names[field->type];
}

static void fields_print(const struct kap_msg *msg)
{
    for (uint16_t i = 0; i < msg->n_fields; i++) {
        const struct kap_field *field = &msg->fields[i];
        bool required = field->rules && field->rules->flags & KAP_FIELD_REQUIRED;
        printf("    %-22s %s%s%s", field->name, type_name(field), field->repeated ? "[]" : "",
               required ? ", required" : "");
        for (uint16_t v = 0; field->type == KAP_FIELD_ENUM && field->enumeration && v < field->enumeration->n_values;
             v++)
            printf("%s%s", v ? ", " : " ", field->enumeration->values[v].name);
        putchar('\n');
    }
}

static void help(const char *name)
{
    const struct kap_op_desc *op = name[0] ? kap_op_find_named(kap_bytes_str(name)) : NULL;
    if (name[0] && !op) {
        const struct kap_msg *msg = kap_message_find(kap_bytes_str(name));
        if (msg)
            fields_print(msg);
        else
            printf("there is neither an operation nor a message \"%s\"\n", name);
        return;
    }
    if (op) {
        printf("%s%s\n  request\n", op->name, op->write ? " (a write)" : "");
        fields_print(op->request);
        puts("  reply");
        fields_print(op->reply);
        return;
    }
    puts("OP [JSON]   sends a request, for example: session.list {\"owner\": \"...\"}\n"
         "help OP     its fields; help MESSAGE those of a message in it\nquit\n");
    for (size_t i = 0; i < kap_n_ops; i++)
        printf("%-20s%s", kap_ops[i].name, i % 4 == 3 ? "\n" : "");
    putchar('\n');
}

static void request(struct kap_tool *tool, char *line)
{
    struct kap_error error = {0};
    struct kap_buffer out;
    char *json = line + strcspn(line, " \t");
    if (*json)
        *json++ = '\0';
    json += strspn(json, " \t");
    kap_buffer_init(&out, &tool->memory);
    kap_status status = kap_json_call(tool, line, kap_bytes_str(*json ? json : "{}"), 2, &out, &error);
    if (status == KAP_OK)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    else if (out.len > 0)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    else
        printf("%s: %s\n", kap_status_name(status), error.text[0] ? error.text : kap_status_sentence(status));
    kap_buffer_deinit(&out);
}

/* false: no more. */
static bool line_run(struct kap_tool *tool, const char *text)
{
    char *line = strdup(text);
    if (!line)
        return false;
    char *at = line + strspn(line, " \t");
    at[strcspn(at, "\r\n")] = '\0';
    bool on = strcmp(at, "quit") != 0 && strcmp(at, "exit") != 0;
    if (strncmp(at, "help", 4) == 0 && (at[4] == '\0' || at[4] == ' '))
        help(at + 4 + strspn(at + 4, " "));
    else if (on && at[0] && at[0] != '#')
        request(tool, at);
    fflush(stdout);
    free(line);
    return on;
}

static int script(struct kap_tool *tool)
{
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0 && line_run(tool, line))
        continue;
    free(line);
    return 0;
}

int kap_shell_main(struct kap_tool *tool, int argc, char **argv)
{
    struct kap_error error = {0};
    struct kap_hello_reply hello;
    HistEvent event;
    (void)argv;
    if (argc != 1)
        return kap_tool_usage("shell takes no arguments");
    kap_status status = kap_client_hello(tool->client, &hello, &error);
    if (status != KAP_OK)
        return kap_tool_fail(status, &error);
    if (!isatty(STDIN_FILENO))
        return script(tool);
    printf("%.*s; tab completes, help explains, quit ends\n", (int)hello.server.len, (const char *)hello.server.data);
    EditLine *edit = el_init("kap", stdin, stdout, stderr);
    History *past = history_init();
    if (!edit || !past)
        return KAP_EXIT_FAILED;
    history(past, &event, H_SETSIZE, HISTORY_LINES);
    el_set(edit, EL_PROMPT, prompt);
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_HIST, history, past);
    el_set(edit, EL_ADDFN, "kap-complete", "complete an operation", complete);
    el_set(edit, EL_BIND, "^I", "kap-complete", NULL);
    int len;
    for (const char *line; (line = el_gets(edit, &len)) != NULL && len > 0;) {
        history(past, &event, H_ENTER, line);
        if (!line_run(tool, line))
            break;
    }
    history_end(past);
    el_end(edit);
    return 0;
}
