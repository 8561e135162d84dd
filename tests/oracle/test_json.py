"""Our JSON against the mapping rebuilt here from the descriptors and the official values.

usage: test_json.py WIRE_TOOL [SEED]"""

import base64
import datetime
import json
import os
import sys
import unittest
import uuid

import oracle
from oracle import F, OK

TOOL, SEED = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), 'little')
EPOCH = datetime.datetime(1970, 1, 1)


def setUpModule():
    global schema, classes, codec
    print(f'seed {SEED}', file=sys.stderr)
    here = os.path.dirname(os.path.abspath(__file__))
    schema = oracle.model.load('protoc', os.path.join(here, '..', '..', 'proto'))
    classes = oracle.official(schema)
    codec = oracle.Codec(TOOL)


def tearDownModule():
    assert codec.close() == 0, 'wire_tool failed'


def expected_scalar(field, value):
    kind, rules = field.proto.type, field.rules
    if kind == F.TYPE_BYTES:
        if rules.id:
            return str(uuid.UUID(bytes=value))
        return value.hex() if rules.hash else base64.b64encode(value).decode()
    if kind == F.TYPE_ENUM:
        return field.enum.short(value)
    if rules.time:
        return (EPOCH + datetime.timedelta(microseconds=value)).strftime('%Y-%m-%dT%H:%M:%S.%fZ').rjust(27, '0')
    if kind in (F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_SINT64, F.TYPE_FIXED64, F.TYPE_SFIXED64):
        return str(value)
    if kind == F.TYPE_DOUBLE and value == float('inf'):
        return 'Infinity'
    return value


def expected(message, out):
    result = {}
    for field in message.fields:
        if field.repeated:
            items = getattr(out, field.name)
            if len(items):
                result[field.name] = [expected_value(field, item) for item in items]
        elif out.HasField(field.name):
            result[field.name] = expected_value(field, getattr(out, field.name))
    return result


def expected_value(field, value):
    return expected(field.message, value) if field.message else expected_scalar(field, value)


class Json(unittest.TestCase):
    def test_printed_as_the_mapping_says_and_read_back(self):
        for message in schema.messages:
            values = oracle.Values(f'{SEED} json {message.name}')
            for _ in range(10):
                out = values.fill(message, classes[message.name](), values.random.choice([0.3, 1.0]))
                data = out.SerializeToString(deterministic=True)
                status, text = codec.ask('j', message.snake, data)
                self.assertEqual(status, OK, message.name)
                self.assertEqual(json.loads(text), expected(message, out), message.name)
                self.assertEqual(list(json.loads(text)), list(expected(message, out)), 'order of the members')
                for given in (text, json.dumps(expected(message, out), indent=1).encode()):
                    status, back = codec.ask('p', message.snake, given)
                    self.assertEqual((status, back.hex()), (OK, data.hex()), f'{message.name} {given!r}')

    def test_rows_are_opened_inside_their_envelope(self):
        for entity in schema.entities:
            values = oracle.Values(f'{SEED} rows {entity.name}')
            row = values.fill(entity, classes[entity.name](), 0.8)
            data = row.SerializeToString(deterministic=True)
            envelope = classes['TypedRow'](kind=entity.entity.kind, row=data).SerializeToString(deterministic=True)
            status, text = codec.ask('j', 'typed_row', envelope)
            self.assertEqual(status, OK)
            self.assertEqual(json.loads(text), {'kind': entity.snake, 'row': expected(entity, row)})
            self.assertEqual(codec.ask('p', 'typed_row', text), (OK, envelope))


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
