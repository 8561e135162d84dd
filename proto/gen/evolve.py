"""Nothing that was released changes its meaning: the schema against proto/kap/released.json.

The file says what the last release promised: numbers, types and limits of fields, enum values, kinds and where their rows
lie, index definitions, request types. Old stores and old clients live by it."""

import json
import os

import keys
from model import FD, GenError

HINT = 'numbers are for ever: reserve the old one and take a new one'


def describe(schema):
    """What a release promises, as plain data."""
    index_names = {number: short for number, _, short in schema.enum_of['IndexId'].values}
    unique_names = {number: short for number, _, short in schema.enum_of['UniqueId'].values}
    return {
        'messages': {m.name: {str(f.number): field(f) for f in m.fields} for m in schema.messages},
        'enums': {e.name: {str(n): s for n, _, s in e.values} for e in schema.enums},
        'kinds': {str(m.entity.kind): {'message': m.name, 'group': m.entity.group, 'root': m.entity.root.how,
                                       'root_field': m.entity.root.field} for m in schema.entities},
        'indexes': {str(n): {'name': index_names[n], 'definition': f'{keys.definition_hash(s):016x}'}
                    for n, s in schema.indexes()},
        'uniques': {str(n): {'name': unique_names[n], 'definition': f'{keys.unique_hash(m, u):016x}'}
                    for n, m, u in schema.uniques()},
        'ops': {str(m.options.op): {'name': schema.op_name(m.options.op), 'request': m.request.name,
                                    'reply': m.reply.name} for m in schema.methods},
    }


def field(f):
    r = f.rules
    kind = FD.Type.Name(f.proto.type).removeprefix('TYPE_').lower()
    promise = {'name': f.name, 'type': f.type_name or kind, 'repeated': f.repeated}
    for name in ('id', 'hash', 'time', 'required', 'max_bytes', 'min_bytes', 'max_items'):
        if getattr(r, name):
            promise[name] = getattr(r, name)
    for name in ('min', 'max'):
        if r.HasField(name):
            promise[name] = getattr(r, name)
    return promise


def load(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding='utf-8') as handle:
        return json.load(handle)


def lines_of(value, depth):
    """JSON with one promise a line, so that a diff shows which one changed."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, sort_keys=True)
    numbers = all(key.isdigit() for key in value)
    ordered = sorted(value, key=int if numbers else str)
    body = ',\n'.join(f'{json.dumps(key)}: {lines_of(value[key], depth - 1)}' for key in ordered)
    return '{\n' + body + '\n}'


def save(path, schema):
    promises = describe(schema)
    sections = [f'{json.dumps(name)}: {lines_of(promises[name], 2 if name == "messages" else 1)}' for name in promises]
    with open(path, 'w', encoding='utf-8') as handle:
        handle.write('{\n' + ',\n'.join(sections) + '\n}\n')


def check(schema, released):
    now = describe(schema)
    for name, fields in released['messages'].items():
        if name not in now['messages']:
            raise GenError(f'message {name} was released and is gone')
        check_message(schema.message_of[name], fields, now['messages'][name])
    for name, values in released['enums'].items():
        if name not in now['enums']:
            raise GenError(f'enum {name} was released and is gone')
        check_enum(schema.enum_of[name], values, now['enums'][name])
    for number, kind in released['kinds'].items():
        if number not in now['kinds']:
            raise GenError(f'kind {number} ({kind["message"]}) was released and is gone')
        if now['kinds'][number] != kind:
            raise GenError(f'kind {number}: its message, group or root changed; rows of old stores lie under the old key')
    for what in ('indexes', 'uniques'):
        for number, promise in released[what].items():
            current = now[what].get(number)
            if current and current['definition'] != promise['definition']:
                raise GenError(f'{what[:-2] if what == "indexes" else "unique key"} {number} ({promise["name"]}): its '
                               'definition changed; a changed definition takes a new number and is built anew')
    for number, promise in released['ops'].items():
        if now['ops'].get(number) != promise:
            raise GenError(f'op {number} ({promise["name"]}): its name or messages changed, or it is gone')


def is_reserved(ranges, number, inclusive):
    return any(r.start <= number < r.end + inclusive for r in ranges)


def check_message(message, released, now):
    new = [f for number, f in now.items() if number not in released]
    for f in new:
        if f.get('required') and message.name.endswith('Request'):
            raise GenError(f'{message.name}.{f["name"]}: a new field cannot be required, old clients do not send it')
    for number, old in released.items():
        where = f'{message.name}.{old["name"]}'
        if number not in now:
            if not is_reserved(message.proto.reserved_range, int(number), 0):
                raise GenError(f'{where}: removed without `reserved {number}`; {HINT}')
            continue
        current = now[number]
        if current['name'] != old['name']:
            raise GenError(f'{where}: field {number} is called {current["name"]} now; JSON and scripts use the name, and '
                           f'{HINT}')
        for attribute in ('type', 'repeated', 'id', 'hash', 'time'):
            if current.get(attribute) != old.get(attribute):
                raise GenError(f'{where}: {attribute} of field {number} changed; {HINT}')
        check_limits(where, old, current)


def check_limits(where, old, now):
    for name in ('max_bytes', 'max_items', 'max'):
        if name in now and (name not in old or now[name] < old[name]):
            raise GenError(f'{where}: {name} was lowered; stored rows may be over it')
    for name in ('min_bytes', 'min'):
        if name in now and (name not in old or now[name] > old[name]):
            raise GenError(f'{where}: {name} was raised; stored rows may be below it')
    if now.get('required') and not old.get('required'):
        raise GenError(f'{where}: became required; old clients may not send it')


def check_enum(enum, released, now):
    for number, name in released.items():
        if number not in now:
            if not is_reserved(enum.proto.reserved_range, int(number), 1):
                raise GenError(f'enum {enum.name}: {name} = {number} removed without `reserved`; {HINT}')
        elif now[number] != name:
            raise GenError(f'enum {enum.name}: {number} was {name} and is {now[number]}; {HINT}')
