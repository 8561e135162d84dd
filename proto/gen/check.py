"""The rules of the schema. Each check raises GenError with what is wrong, where, and why it matters."""

import keys
from model import FD, GenError, Schema

KEEP, CASCADE, RESTRICT, NULLIFY = 1, 2, 3, 4
WHO_ROOT, WHO_REFERRER = 6, 7
WHO_OF_ROOT = {14, 15}
WHO_WITH_FIELD = {2}  # OWNER names a field; CLUB_MEMBER and CLUB_MANAGER may mean the row itself
ROW_BYTES_MAX = 256 * 1024
FIELDS_MAX = 64


def run(schema: Schema):
    for message in schema.messages:
        check_fields(message)
    for message in schema.entities:
        check_entity(schema, message)
    check_indexes(schema)
    check_requests(schema)
    check_depth(schema)


def check_fields(message):
    if len(message.fields) > FIELDS_MAX:
        raise GenError(f'{message.name}: more than {FIELDS_MAX} fields')
    if message.fields and message.fields[-1].number > 255:
        raise GenError(f'{message.name}: field numbers above 255 would make the lookup table large')
    names = {f.name for f in message.fields}
    for field in message.fields:
        where, r = f'{message.name}.{field.name}', field.rules
        if ('n_' if field.repeated else 'has_') + field.name in names or (message.stored and field.name == 'unknown'):
            raise GenError(f'{where}: its C member would collide with another')
        if not field.repeated and not field.optional and field.proto.type != FD.TYPE_MESSAGE:
            raise GenError(f'{where}: write `optional`, because unset differs from the default')
        if field.repeated and not r.max_items:
            raise GenError(f'{where}: a list needs max_items')
        if not field.repeated and r.max_items:
            raise GenError(f'{where}: max_items on a field that is no list')
        text = field.proto.type in (FD.TYPE_STRING, FD.TYPE_BYTES)
        if text and not (r.max_bytes or r.id or r.hash):
            raise GenError(f'{where}: text and bytes need max_bytes (or id, hash)')
        if (r.id or r.hash) and field.proto.type != FD.TYPE_BYTES:
            raise GenError(f'{where}: id and hash are for bytes')
        if r.time and field.proto.type != FD.TYPE_SFIXED64:
            raise GenError(f'{where}: time is for sfixed64')
        if (r.json_object or r.format) and field.proto.type != FD.TYPE_STRING:
            raise GenError(f'{where}: json_object and format are for text')
        if r.kinds and field.type_name != 'Kind':
            raise GenError(f'{where}: kinds is for fields of type Kind')
        if len(r.kinds) > 8:
            raise GenError(f'{where}: at most 8 kinds')
        if r.HasField('default_number') and field.repeated:
            raise GenError(f'{where}: a list has no default')
        for sibling, name in ((r.at_least, 'at_least'), (r.embed.field, 'embed'), (r.ref.kind_field, 'kind_field')):
            if sibling and sibling not in message.by_number:
                raise GenError(f'{where}: {name} names field {sibling}, which does not exist')
        if r.embed.field > field.number:
            raise GenError(f'{where}: the field that names an embedded message comes before it')
        check_reference(message, field)


def check_reference(message, field):
    where, r = f'{message.name}.{field.name}', field.rules
    if not r.HasField('ref'):
        return
    if not r.id:
        raise GenError(f'{where}: a reference is an id')
    if bool(r.ref.kind) == bool(r.ref.kind_field):
        raise GenError(f'{where}: a reference names its kind or the field that says it, one of them')
    if not r.ref.on_delete:
        raise GenError(f'{where}: a reference needs on_delete')
    if r.ref.on_delete == KEEP:
        if r.ref.index:
            raise GenError(f'{where}: a reference that is kept needs no index')
        return
    if not message.entity:
        raise GenError(f'{where}: only fields of the row itself can be more than KEEP')
    served = [i for i in message.entity.index if i.id == r.ref.index and serves(i, field, r.ref)]
    if not r.ref.index or not served:
        raise GenError(f'{where}: on_delete needs the index that finds the referrers, with this field as its parent')
    if any(i.when for i in served):
        raise GenError(f'{where}: the index that serves on_delete must hold every row, so it has no condition')
    if r.ref.on_delete == RESTRICT and not served[0].counted:
        raise GenError(f'{where}: RESTRICT reads the count, so its index must be counted')


def serves(index, field, ref):
    parents = [p.field for p in index.parent]
    return parents == ([ref.kind_field, field.number] if ref.kind_field else [field.number])


def check_entity(schema, message):
    e, name = message.entity, message.name
    first = message.by_number.get(1)
    if first is None or first.type_name != 'Sys':
        raise GenError(f'{name}: field 1 of a row is Sys')
    if e.kind == 0 or not e.group or not e.schema_version:
        raise GenError(f'{name}: a row needs kind, group and schema_version')
    if e.kind > 255:
        raise GenError(f'{name}: a kind is one byte of the key')
    if not e.read or not e.write and name != 'TreeHead':
        raise GenError(f'{name}: a row needs read and write rules, or nobody may touch it')
    if e.root.how and (e.root.field not in message.by_number
                       or not message.by_number[e.root.field].rules.HasField('ref')):
        raise GenError(f'{name}: the root field must be a reference')
    if e.position and e.position not in message.by_number:
        raise GenError(f'{name}: no position field {e.position}')
    for rule in [*e.read, *e.write]:
        if not rule.who:
            raise GenError(f'{name}: a rule without who')
        if rule.who in WHO_WITH_FIELD and not rule.who_field:
            raise GenError(f'{name}: an owner rule names the field of the owner')
        for number in (rule.who_field, *(w.field for w in rule.when)):
            if number and number not in message.by_number:
                raise GenError(f'{name}: a rule names field {number}, which does not exist')
        if len(rule.when) > 2 or any(len(w.values) > 8 for w in rule.when):
            raise GenError(f'{name}: at most 2 conditions of a rule, of 8 values each')
        if rule.who in WHO_OF_ROOT and not e.root.how:
            raise GenError(f'{name}: a rule about the root of a row that is its own root')
    if schema.entity_of_kind[e.kind] is not message:
        raise GenError(f'{name}: kind {e.kind} is taken by {schema.entity_of_kind[e.kind].name}')


def check_indexes(schema):
    for number, sources in schema.indexes():
        name = schema.enum_of['IndexId'].short(number)
        if not name:
            raise GenError(f'index {number} has no name in IndexId')
        if len({i.counted for _, i in sources}) != 1:
            raise GenError(f'index {name}: counted in one source and not in another')
        shapes = {tuple(p[1:3] for p in keys.source(m, i)[1]) for m, i in sources}
        if len(shapes) != 1:
            raise GenError(f'index {name}: its sources differ in the types of the parent')
        for message, index in sources:
            check_source(name, message, index)
    seen = {}
    for number, message, unique in schema.uniques():
        if number in seen:
            raise GenError(f'unique key {number} stands in {seen[number]} and {message.name}')
        seen[number] = message.name
        if not unique.parts or len(unique.parts) > 4:
            raise GenError(f'unique key {number}: 1 to 4 parts')


def check_source(name, message, index):
    where = f'index {name} of {message.name}'
    parts = keys.source(message, index)
    for limit, what, items in ((4, 'parent parts', parts[1]), (4, 'order parts', parts[2]), (2, 'count_by', parts[3]),
                               (16, 'covered fields', index.cover), (3, 'conditions', index.when)):
        if len(items) > limit:
            raise GenError(f'{where}: more than {limit} {what}')
    if sum(p[3] for p in parts[1] + parts[2]) > 1:
        raise GenError(f'{where}: at most one repeated part')
    if any(p[1] in ('TEXT',) for p in parts[1]):
        raise GenError(f'{where}: text cannot be a parent, its width would differ from entry to entry')
    for number in [*index.cover, *index.count_by]:
        if number not in message.by_number:
            raise GenError(f'{where}: no field {number}')
    if any(len(w.values) > 8 or any(v > 255 for v in w.values) for w in index.when):
        raise GenError(f'{where}: at most 8 values below 256 in a condition')
    if index.count_by and not index.counted:
        raise GenError(f'{where}: count_by without counted')
    if index.cover:
        missing = fields_of_read_rules(message) - set(index.cover)
        if missing:
            fields = ', '.join(message.by_number[n].name for n in sorted(missing))
            raise GenError(f'{where}: the entry must cover {fields}, which the read rules of {message.name} ask about')


def fields_of_read_rules(message):
    """Rows whose read rule is that of their root or referrer fetch it anyway."""
    needed = set()
    for rule in message.entity.read:
        needed |= {n for n in (rule.who_field, *(w.field for w in rule.when)) if n}
    return needed


def check_requests(schema):
    ops, messages = {}, {}
    for method in schema.methods:
        where, o = f'{method.service}.{method.name}', method.options
        if o is None or not o.op:
            raise GenError(f'{where}: no op')
        if not o.access.check:
            raise GenError(f'{where}: no access rule; an operation without one must not exist')
        if o.access.check != 1 and not o.role:
            raise GenError(f'{where}: no role may send it')
        if not o.since:
            raise GenError(f'{where}: no since')
        if o.op in ops:
            raise GenError(f'{where}: op {o.op} is {ops[o.op]}')
        ops[o.op] = where
        expected = f'{method.service[:-len("Service")].lower()}.{method.name.lower()}'
        if method.service != 'ConnectionService' and schema.op_name(o.op) != expected:
            raise GenError(f'{where}: its op is called {schema.op_name(o.op)}')
        if method.request.name in messages:
            raise GenError(f'{where}: {method.request.name} belongs to {messages[method.request.name]}')
        messages[method.request.name] = where
        seq = method.reply.by_number.get(1)
        if seq is None or seq.name != 'commit_seq':
            raise GenError(f'{where}: field 1 of the reply is commit_seq')
    unused = [name for number, name, _ in schema.enum_of['Op'].values if number and number not in ops]
    if unused:
        raise GenError(f'op {unused[0]} has no method')


def check_depth(schema, limit=16):
    def depth(message, above):
        if message.name in above:
            raise GenError(f'{message.name} holds itself: {" > ".join(above)}')
        inner = [depth(f.message, above + [message.name]) for f in message.fields if f.message]
        return 1 + max(inner, default=0)
    for message in schema.messages:
        if depth(message, []) > limit:
            raise GenError(f'{message.name}: nested deeper than {limit}')
