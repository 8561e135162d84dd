"""Key parts, tests and index sources of the engine's descriptor tables, and the hash that defines an index."""

import hashlib

from model import FD, GenError

SYS_TYPES = {1: 'ID', 2: 'F64LE', 3: 'F64LE', 4: 'F64LE', 5: 'ID', 6: 'ID', 7: 'F64LE'}


def column_type(message, number):
    field = message.by_number.get(number)
    if field is None:
        raise GenError(f'{message.name}: no field {number}')
    kind = field.proto.type
    if kind == FD.TYPE_BYTES:
        return 'ID' if field.is_id else 'BYTES'
    table = {
        FD.TYPE_UINT32: 'U64', FD.TYPE_UINT64: 'U64', FD.TYPE_BOOL: 'U64', FD.TYPE_ENUM: 'U64', FD.TYPE_SINT32: 'S64',
        FD.TYPE_SINT64: 'S64', FD.TYPE_SFIXED64: 'F64LE', FD.TYPE_FIXED64: 'F64LE', FD.TYPE_STRING: 'TEXT',
    }
    if kind not in table:
        raise GenError(f'{message.name}.{field.name}: its type cannot be part of a key')
    return table[kind]


def part(message, key_part):
    """(field expression, column type, descending, repeated) of one key part."""
    if key_part.sys:
        if key_part.field or key_part.sys not in SYS_TYPES:
            raise GenError(f'{message.name}: a key part is a field or a field of Sys')
        return (f'KAP_SYS({key_part.sys})', SYS_TYPES[key_part.sys], key_part.descending, False)
    return (str(key_part.field), column_type(message, key_part.field), key_part.descending,
            message.by_number[key_part.field].repeated)


def when(message, test):
    """(field, column type, test name, values) or None."""
    if not test.field:
        return None
    name = {1: 'SET', 2: 'UNSET', 3: 'IN'}.get(test.test)
    if name is None:
        raise GenError(f'{message.name}: a condition on field {test.field} without a test')
    if (name == 'IN') != bool(test.values):
        raise GenError(f'{message.name}: the condition on field {test.field} needs values exactly when it is TEST_IN')
    return (test.field, column_type(message, test.field), name, tuple(test.values))


def source(message, index):
    """Everything that shapes the keys and values of one source, as a tuple; its repr is what the hash is of."""
    return (
        message.entity.kind,
        tuple(part(message, p) for p in index.parent),
        tuple(part(message, p) for p in index.order),
        tuple(part_of_count(message, n) for n in index.count_by),
        tuple(index.cover), index.cover_sys,
        tuple(when(message, w) for w in index.when),
        index.counted,
    )


def part_of_count(message, number):
    return (str(number), column_type(message, number), False, False)


def definition_hash(sources):
    digest = hashlib.sha256(repr(sorted(source(m, i) for m, i in sources)).encode()).digest()
    return int.from_bytes(digest[:8], 'little')


def unique_hash(message, unique):
    text = repr((message.entity.kind, tuple(part(message, p) for p in unique.parts), when(message, unique.when)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'little')
