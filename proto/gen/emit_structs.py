"""C enums, structs and message tables of one .proto file."""

import os

from model import FD, Schema

HEAD = '/* {name} - generated from proto/{source} by proto/gen; do not edit. */\n'


def c_name_of_file(proto_file):
    return 'kap_' + os.path.basename(proto_file).rsplit('.', 1)[0]


def enums_of(schema: Schema, file):
    lines = []
    for enum in (e for e in schema.enums if e.file == file.name):
        lines.append(f'enum {enum.c_name} {{')
        lines += [f'    KAP_{name} = {number},' for number, name, _ in enum.values]
        lines += ['};', f'extern const struct kap_enum {enum.c_name}_enum;', '']
    return lines


def member_lines(field):
    c_type, name = field.c_type(), field.name
    if field.repeated:
        return [f'    size_t n_{name};', f'    {c_type} *{name};']
    if field.proto.type == FD.TYPE_MESSAGE:
        return [f'    {c_type} *{name};']
    return [f'    bool has_{name};', f'    {c_type} {name};']




def header(schema: Schema, file):
    name = c_name_of_file(file.name)
    imports = [c_name_of_file(d) for d in file.dependency if d.startswith('kap/') and not d.endswith('options.proto')]
    lines = [HEAD.format(name=name + '.h', source=file.name), '#pragma once', '', '#include "proto/message.h"']
    lines += [f'#include "proto/{i}.h"' for i in imports]
    lines += [''] + enums_of(schema, file)
    messages = [m for m in schema.messages if m.file == file.name]
    for message in messages:
        comment = schema.comment(message)
        if comment:
            lines += comment_lines(comment)
        lines.append(f'struct {message.c_name} {{')
        for field in message.fields:
            lines += member_lines(field)
        if message.stored:
            lines.append('    struct kap_bytes unknown; /* fields of a newer schema, raw; kept on encode */')
        if not message.fields and not message.stored:
            lines.append('    bool empty; /* C wants a member */')
        lines += ['};', f'extern const struct kap_msg {message.c_name}_msg;', '']
    return '\n'.join(lines)


def comment_lines(text, width=116):
    words, lines, line = text.split(), [], '/*'
    for word in words:
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ' *'
        line += ' ' + word
    lines.append(line + ' */')
    return lines


FLAGS = [
    ('required', 'REQUIRED'), ('hash', 'HASH'), ('time', 'TIME'), ('json_object', 'JSON'), ('output', 'OUTPUT'),
    ('secret', 'SECRET'),
]


def c_string(text):
    return 'NULL' if not text else '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def rules_init(field):
    r = field.rules
    flags = ['KAP_FIELD_' + c for attribute, c in FLAGS if getattr(r, attribute)]
    flags += ['KAP_FIELD_HAS_' + n.upper() for n in ('min', 'max') if r.HasField(n)]
    if r.HasField('default_number'):
        flags.append('KAP_FIELD_HAS_DEFAULT')
    parts = []
    if flags:
        parts.append('.flags = ' + ' | '.join(flags))
    for attribute, member in (('format', 'format'), ('at_least', 'at_least'), ('min_bytes', 'min_bytes'),
                              ('max_bytes', 'max_bytes'), ('max_items', 'max_items')):
        if getattr(r, attribute):
            parts.append(f'.{member} = {getattr(r, attribute)}')
    for attribute in ('min', 'max', 'default_number'):
        if r.HasField(attribute):
            parts.append(f'.{attribute} = {getattr(r, attribute)}')
    if r.default_text:
        parts.append(f'.default_text = {c_string(r.default_text)}')
    if r.HasField('embed'):
        parts += [f'.embed = {r.embed.by}', f'.embed_field = {r.embed.field}']
    if r.HasField('ref'):
        parts += [f'.ref_kind = {r.ref.kind}', f'.ref_kind_field = {r.ref.kind_field}', f'.ref_list = {r.ref.ref_kind}']
    if r.kinds:
        parts += [f'.n_kinds = {len(r.kinds)}', '.kinds = {' + ', '.join(str(k) for k in r.kinds) + '}']
    return '{' + (', '.join(parts) or '0') + '}'


def table_of(message):
    c = message.c_name
    lines = []
    if message.fields:
        lines.append(f'static const struct kap_field_rules {c}_rules[] = {{')
        lines += [f'    {rules_init(f)}, /* {f.name} */' for f in message.fields]
        lines += ['};', f'static const struct kap_field {c}_fields[] = {{']
        for i, field in enumerate(message.fields):
            lines.append('    ' + field_init(message, field, i))
        top = message.fields[-1].number
        slots = [0] * (top + 1)
        for i, field in enumerate(message.fields):
            slots[field.number] = i + 1
        lines += ['};', f'static const uint8_t {c}_slots[] = {{{", ".join(map(str, slots))}}};']
    counts = any(f.repeated or f.proto.type == FD.TYPE_MESSAGE for f in message.fields)
    top = message.fields[-1].number if message.fields else 0
    pieces = [f'.name = "{message.snake}"', f'.full_name = "kap.{message.name}"', f'.size = sizeof(struct {c})']
    if message.stored:
        pieces.append(f'.unknown_at = offsetof(struct {c}, unknown)')
    pieces += [f'.n_fields = {len(message.fields)}', f'.max_number = {top}',
               f'.kind = {message.entity.kind if message.entity else 0}', f'.needs_count = {str(counts).lower()}']
    if message.fields:
        pieces += [f'.fields = {c}_fields', f'.slots = {c}_slots']
    lines += [f'const struct kap_msg {c}_msg = {{', *[f'    {p},' for p in pieces], '};', '']
    return lines


def field_init(message, field, slot):
    c = message.c_name
    kind = field.type_constant()
    if field.repeated:
        has = f'offsetof(struct {c}, n_{field.name})'
    elif kind == 'MESSAGE':
        has = '0'
    else:
        has = f'offsetof(struct {c}, has_{field.name})'
    pieces = [
        f'.number = {field.number}', f'.type = KAP_FIELD_{kind}', f'.repeated = {str(field.repeated).lower()}',
        f'.item_size = sizeof({field.c_type()})', f'.has_at = {has}',
        f'.value_at = offsetof(struct {c}, {field.name})',
    ]
    if field.message:
        pieces.append(f'.msg = &{field.message.c_name}_msg')
    if field.enum:
        pieces.append(f'.enumeration = &{field.enum.c_name}_enum')
    pieces += [f'.rules = &{c}_rules[{slot}]', f'.name = "{field.name}"']
    return '{' + ', '.join(pieces) + '},'


def source(schema: Schema, file):
    name = c_name_of_file(file.name)
    lines = [HEAD.format(name=name + '.c', source=file.name), f'#include "proto/{name}.h"', '']
    for enum in (e for e in schema.enums if e.file == file.name):
        values = sorted((n, s) for n, _, s in enum.values if n != 0)
        lines.append(f'static const struct kap_enum_value {enum.c_name}_values[] = {{')
        lines += [f'    {{{n}, "{s}"}},' for n, s in values]
        lines += ['};', f'const struct kap_enum {enum.c_name}_enum = '
                  f'{{"{enum.snake}", {enum.c_name}_values, {len(values)}}};', '']
    for message in (m for m in schema.messages if m.file == file.name):
        lines += table_of(message)
    return '\n'.join(lines)
