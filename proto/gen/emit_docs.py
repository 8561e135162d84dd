"""docs/reference/*.md: what the .proto files say, for people."""

import emit_tables
from model import FD, Schema

NOTE = '\n_Written by proto/gen from proto/kap; change it there._\n'
ON_DELETE = ['', 'keep', 'cascade', 'restrict', 'nullify']
CHECKS = ['', 'before login', 'role', 'each row read', 'each row written', 'each operation inside']


def escape(text):
    return text.replace('|', '\\|')


def type_text(schema, field):
    r = field.rules
    if field.proto.type == FD.TYPE_BYTES:
        text = 'id' if r.id else 'sha-256' if r.hash else 'bytes'
    elif r.time:
        text = 'time'
    elif field.message:
        text = f'[{field.message.snake}](#{field.message.snake})'
        if field.message.entity:
            text = f'[{field.message.snake}](entities.md#{field.message.snake})'
    elif field.enum:
        text = f'[{field.enum.snake}](enums.md#{field.enum.snake})'
    else:
        text = 'json' if r.json_object else FD.Type.Name(field.proto.type).removeprefix('TYPE_').lower()
    return f'list of {text}' if field.repeated else text


def limit_text(schema, field):
    r, parts = field.rules, []
    if r.required:
        parts.append('**required**')
    if r.max_items:
        parts.append(f'at most {r.max_items} items')
    if r.min_bytes and r.max_bytes:
        parts.append(f'{r.min_bytes} to {r.max_bytes} bytes')
    elif r.max_bytes:
        parts.append(f'at most {r.max_bytes} bytes')
    if r.HasField('min') or r.HasField('max'):
        low = str(r.min) if r.HasField('min') else ''
        parts.append(f'{low}..{r.max if r.HasField("max") else ""}')
    if r.at_least:
        parts.append('not below the field ' + str(r.at_least))
    if r.format:
        name = schema.options.Format.Name(r.format).removeprefix('FORMAT_').lower()
        parts.append(f'format {name}')
    if r.kinds:
        parts.append('one of ' + ', '.join(schema.kind_name(k) for k in r.kinds))
    if r.HasField('ref'):
        parts.append(reference_text(schema, field))
    if r.HasField('default_number'):
        value = field.enum.short(r.default_number) if field.enum else r.default_number
        parts.append(f'default {value}')
    if r.default_text:
        parts.append(f'default {r.default_text}')
    if r.output:
        parts.append('set by the server')
    if r.secret:
        parts.append('never logged')
    return '; '.join(parts)


def reference_text(schema, field):
    ref = field.rules.ref
    target = schema.kind_name(ref.kind) if ref.kind else f'the kind in field {ref.kind_field}'
    if ref.ref_kind:
        target += ' ' + schema.enum_of['RefKind'].short(ref.ref_kind)
    return f'refers to {target}, on delete {ON_DELETE[ref.on_delete]}'


def field_table(schema, message):
    lines = ['| no | field | type | limits | |', '|---|---|---|---|---|']
    for field in message.fields:
        lines.append(f'| {field.number} | `{field.name}` | {type_text(schema, field)} | {limit_text(schema, field)} | '
                     f'{escape(schema.comment(message, field))} |')
    return lines + ['']


def rules_text(schema, message, rules):
    texts = []
    for rule in rules:
        text = schema.options.Rule.Who.Name(rule.who).removeprefix('WHO_').lower().replace('_', ' ')
        if rule.who_field:
            text += f' (`{message.by_number[rule.who_field].name}`)'
        for i, when in enumerate(rule.when):
            field = message.by_number[when.field]
            names = ', '.join(field.enum.short(v) if field.enum else str(v) for v in when.values)
            test = {1: 'is set', 2: 'is not set', 3: f'is {names}'}[when.test]
            text += f' {"and" if i else "when"} `{field.name}` {test}'
        texts.append(text)
    return '; '.join(texts) or 'nobody'


def entities(schema: Schema):
    lines = ['# Entities', NOTE,
             'Every row begins with [sys](#sys): id, revision, times, authors, commit_seq. Sizes are bytes.', '']
    for message in schema.entities:
        e = message.entity
        lines += [f'## {message.snake}', '', f'Kind {e.kind}. {schema.comment(message)}'.rstrip(), '']
        if e.root.how:
            root = message.by_number[e.root.field].name
            lines += [f'Lies with the root of `{root}`' + (' when that is set.' if e.root.how == 2 else '.'), '']
        lines += field_table(schema, message)
        lines += [f'- read: {rules_text(schema, message, e.read)}',
                  f'- write: {rules_text(schema, message, e.write)}', '']
    lines += ['# Parts and records', '']
    for message in schema.messages:
        if message.file.endswith('entities.proto') and not message.entity:
            lines += [f'## {message.snake}', '', schema.comment(message), ''] + field_table(schema, message)
    return '\n'.join(lines)


def requests(schema: Schema):
    lines = ['# Requests', NOTE,
             'Roles: the ones listed may send it. Before a reply with a status other than 0 see '
             '[error_reply](#error_reply).', '',
             '| op | name | roles | checked | |', '|---|---|---|---|---|']
    roles = schema.enum_of['Role']
    for method in sorted(schema.methods, key=lambda m: m.options.op):
        o = method.options
        who = 'everyone' if o.access.check == 1 else ', '.join(
            roles.short(r) for r in sorted(emit_tables.roles_of(o)))
        marks = [w for w, on in (('write', o.write), ('idempotent', o.idempotent), ('stream', o.stream)) if on]
        lines.append(f'| {o.op} | [{schema.op_name(o.op)}](#{method.request.snake}) | {who} | '
                     f'{CHECKS[o.access.check]} | {", ".join(marks)} |')
    lines.append('')
    for message in schema.messages:
        if message.file.endswith('requests.proto'):
            lines += [f'## {message.snake}', '']
            if schema.comment(message):
                lines += [schema.comment(message), '']
            lines += field_table(schema, message) if message.fields else ['No fields.', '']
    return '\n'.join(lines)


def enums(schema: Schema):
    lines = ['# Enums', NOTE, 'JSON uses the names; 0 means unset and is refused from clients.', '']
    for enum in schema.enums:
        lines += [f'## {enum.snake}', '', '| no | name |', '|---|---|']
        lines += [f'| {n} | {s} |' for n, _, s in sorted(enum.values) if n] + ['']
    return '\n'.join(lines)


def part_text(message, part):
    if part.sys:
        name = {1: 'id', 2: 'rev', 3: 'created_at', 4: 'updated_at', 7: 'commit_seq'}.get(part.sys, 'sys')
    else:
        name = message.by_number[part.field].name + ('[]' if message.by_number[part.field].repeated else '')
    return ('~' if part.descending else '') + name


def relations(schema: Schema):
    names = {number: short for number, _, short in schema.enum_of['IndexId'].values}
    lines = ['# Relations', NOTE,
             'Key: [256 + number][parent][order][id]; `~` newest or largest first; `[]` one entry per item. '
             'Counted: an exact count per parent, in buckets.', '',
             '| no | index | of | parent | order | counted by | covers | only |', '|---|---|---|---|---|---|---|---|']
    for number, sources in schema.indexes():
        for message, index in sources:
            def fields(numbers):
                return ', '.join(message.by_number[n].name for n in numbers)
            only = '; '.join(
                f'{message.by_number[w.field].name} ' + {1: 'set', 2: 'unset', 3: 'in ' + ', '.join(
                    message.by_number[w.field].enum.short(v) for v in w.values) if w.values else ''}[w.test]
                for w in index.when)
            lines.append(
                f'| {number} | {names[number]} | {message.snake} | '
                f'{", ".join(part_text(message, p) for p in index.parent) or "(all)"} | '
                f'{", ".join(part_text(message, p) for p in index.order)} | '
                f'{(fields(index.count_by) or "total") if index.counted else ""} | {fields(index.cover)} | {only} |')
    unique_names = {number: short for number, _, short in schema.enum_of['UniqueId'].values}
    lines += ['', '## Unique keys', '', 'Text is NFC and case-folded.', '', '| no | name | of | parts |', '|---|---|---|---|']
    for number, message, unique in schema.uniques():
        parts = ', '.join(part_text(message, p) for p in unique.parts)
        lines.append(f'| {number} | {unique_names[number]} | {message.snake} | {parts} |')
    return '\n'.join(lines + [''])


def pages(schema: Schema):
    return {'entities.md': entities(schema), 'requests.md': requests(schema), 'enums.md': enums(schema),
            'relations.md': relations(schema)}
