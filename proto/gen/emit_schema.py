"""const struct kap_schema kap_schema: the engine's view of rows (engine/schema/descriptor.h)."""

import hashlib

import keys
from model import Schema

ROOT_RULES = ['KAP_ROOT_SELF', 'KAP_ROOT_FIELD', 'KAP_ROOT_FIELD_IF']
ON_DELETE = [None, 'KAP_ON_DELETE_KEEP', 'KAP_ON_DELETE_CASCADE', 'KAP_ON_DELETE_RESTRICT', 'KAP_ON_DELETE_NULLIFY']


def c_bool(value):
    return 'true' if value else 'false'


def part_init(part):
    field, kind, descending, repeated = part
    return f'{{{field}, KAP_COLUMN_{kind}, {c_bool(descending)}, {c_bool(repeated)}}}'


def parts_init(parts):
    return '{' + ', '.join(part_init(p) for p in parts) + '}'


def when_init(test):
    field, kind, name, values = test
    text = f'.field = {field}, .type = KAP_COLUMN_{kind}'
    if name == 'IN':
        text += f', .by_value = true, .n_values = {len(values)}, .values = {{{", ".join(map(str, values))}}}'
    else:
        text += f', .set = {c_bool(name == "SET")}'
    return '{' + text + '}'


def source_lines(message, index):
    kind, parent, order, count_by, cover, cover_sys, whens, _ = keys.source(message, index)
    covered = [str(n) for n in sorted(cover)]
    if cover_sys:
        covered.insert(0, 'KAP_SYS(1)')
    pieces = [f'.kind = {kind}', f'.n_parent = {len(parent)}', f'.n_order = {len(order)}',
              f'.n_count_by = {len(count_by)}', f'.n_cover = {len(covered)}', f'.n_when = {len(whens)}']
    for name, parts in (('parent', parent), ('order', order), ('count_by', count_by)):
        if parts:
            pieces.append(f'.{name} = {parts_init(parts)}')
    if covered:
        pieces.append(f'.cover = {{{", ".join(covered)}}}')
    if whens:
        pieces.append(f'.when = {{{", ".join(when_init(w) for w in whens)}}}')
    return '    {' + ', '.join(pieces) + '},'


def index_lines(schema):
    names = {number: short for number, _, short in schema.enum_of['IndexId'].values}
    lines, table = [], []
    for number, sources in schema.indexes():
        lines.append(f'static const struct kap_index_source {names[number]}_sources[] = {{')
        lines += [source_lines(m, i) for m, i in sources]
        lines.append('};')
        table.append(
            f'    {{.id = {number}, .name = "{names[number]}", '
            f'.definition_hash = 0x{keys.definition_hash(sources):016x}, '
            f'.counted = {c_bool(sources[0][1].counted)}, .n_sources = {len(sources)}, '
            f'.sources = {names[number]}_sources}},')
    return lines + ['static const struct kap_index_desc indexes[] = {'] + table + ['};', '']


def unique_lines(schema):
    names = {number: short for number, _, short in schema.enum_of['UniqueId'].values}
    lines = ['static const struct kap_unique_desc uniques[] = {']
    for number, message, unique in schema.uniques():
        parts = [keys.part(message, p) for p in unique.parts]
        text = (f'    {{.id = {number}, .name = "{names[number]}", .kind = {message.entity.kind}, '
                f'.n_parts = {len(parts)}, .parts = {parts_init(parts)}')
        test = keys.when(message, unique.when)
        if test:
            text += ', .when = ' + when_init(test)
        lines.append(text + '},')
    return lines + ['};', '']


def ref_lines(schema):
    lines = ['static const struct kap_ref_desc refs[] = {']
    for message in schema.entities:
        for field in message.fields:
            if not field.rules.HasField('ref'):
                continue
            ref = field.rules.ref
            lines.append(
                f'    {{.kind = {message.entity.kind}, .field = {field.number}, .repeated = {c_bool(field.repeated)}, '
                f'.target_kind = {ref.kind}, .target_kind_field = {ref.kind_field}, '
                f'.on_delete = {ON_DELETE[ref.on_delete]}, .index = {ref.index}}}, '
                f'/* {message.snake}.{field.name} */')
    return lines + ['};', '']


def kind_lines(schema):
    lines = ['static const struct kap_kind_desc kinds[] = {']
    for message in schema.entities:
        e = message.entity
        text = (f'    [{e.kind}] = {{.kind = {e.kind}, .name = "{message.snake}", .group = {e.group}, '
                f'.root_rule = {ROOT_RULES[e.root.how]}')
        if e.root.field:
            ref = message.by_number[e.root.field].rules.ref
            text += (f', .root_field = {{{e.root.field}}}, .root_target = {{{ref.kind}}}, '
                     f'.target_kind_field = {ref.kind_field}')
        text += (f', .history = {c_bool(e.history)}, .position_field = {e.position}, '
                 f'.schema_version = {e.schema_version}}},')
        lines.append(text)
    return lines + ['};', '']


def bytes_lines(data):
    lines = ['static const uint8_t descriptor_set[] = {']
    for at in range(0, len(data), 24):
        lines.append('    ' + ', '.join(str(b) for b in data[at:at + 24]) + ',')
    return lines + ['};', '']


def source(schema: Schema):
    stripped = schema.stripped_set()
    # Of our files alone: another protoc brings another descriptor.proto.
    own = b''.join(f.SerializeToString(deterministic=True) for f in schema.plain_files())
    number = int.from_bytes(hashlib.sha256(own).digest()[:8], 'little')
    version = max(m.entity.schema_version for m in schema.entities)
    lines = ['/* kap_schema.c - generated from proto/kap by proto/gen; do not edit. */', '',
             '#include "proto/kap_schema.h"', '', '#include "engine/base/assert.h"', '']
    lines += kind_lines(schema) + index_lines(schema) + unique_lines(schema) + ref_lines(schema)
    lines += bytes_lines(stripped)
    lines += [
        'const struct kap_schema kap_schema = {', f'    .version = {version},', f'    .hash = 0x{number:016x},',
        '    .descriptor_set = {descriptor_set, sizeof descriptor_set},',
    ]
    for name in ('kinds', 'indexes', 'uniques', 'refs'):
        lines.append(f'    .{name} = {name}, .n_{name} = KAP_ARRAY_LEN({name}),')
    return '\n'.join(lines + ['};', ''])


HEADER = '''/* kap_schema.h - generated from proto/kap by proto/gen; do not edit. */
#pragma once

#include "engine/schema/descriptor.h"

extern const struct kap_schema kap_schema;
'''
