"""Our codec against the official library: every message, random values, both directions, damage of every kind.

usage: test_wire.py WIRE_TOOL [SEED]
Listed differences, all of them stricter: an id is 16 bytes; a tag of zero and an end-group tag without its group are
malformed (the C++ parser behind Python stops there and calls it a success, other official ones refuse); a tag has 32 bits and
an integer 64 (it drops the bits above); from clients, unknown fields and enum values, text with control characters and lists
over their limit are refused."""

import os
import struct
import sys
import unittest

import oracle
from oracle import F, OK, CORRUPT, DECODE, INVALID, tag, varint

TOOL, SEED = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), 'little')


def setUpModule():
    global schema, classes, codec
    print(f'seed {SEED}', file=sys.stderr)
    here = os.path.dirname(os.path.abspath(__file__))
    schema = oracle.model.load('protoc', os.path.join(here, '..', '..', 'proto'))
    classes = oracle.official(schema)
    codec = oracle.Codec(TOOL)


def tearDownModule():
    assert codec.close() == 0, 'wire_tool failed'


def canonical(message):
    return message.SerializeToString(deterministic=True)


def without_unknown(message):
    message.DiscardUnknownFields()
    return canonical(message)


def wild_encoding(values, message, out):
    """The same content as no sane encoder writes it: any order, long integers, unpacked lists, overwritten values."""
    pieces = []
    for field in message.fields:
        if field.repeated:
            items = list(getattr(out, field.name))
        else:
            items = [getattr(out, field.name)] if out.HasField(field.name) else []
        chunk = []
        if items and not field.repeated and not field.message and values.random.random() < 0.3:
            chunk.append(item_bytes(values, field, values.scalar(field)))  # loses against the later one
        chunk += [item_bytes(values, field, item) for item in items]
        if chunk:
            pieces.append(chunk)
    encoded = b''
    while pieces:  # fields interleaved, the items of one field in their order
        chunk = values.random.choice(pieces)
        encoded += chunk.pop(0)
        if not chunk:
            pieces.remove(chunk)
    return encoded


def item_bytes(values, field, value):
    kind, padding = field.proto.type, values.random.randrange(3)
    if kind in (F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_MESSAGE):
        if kind == F.TYPE_STRING:
            value = value.encode()
        elif kind == F.TYPE_MESSAGE:
            value = wild_encoding(values, field.message, value)
        return tag(field.number, 2, padding) + varint(len(value), padding) + value
    if kind in (F.TYPE_FIXED64, F.TYPE_SFIXED64, F.TYPE_DOUBLE):
        form = {F.TYPE_FIXED64: '<Q', F.TYPE_SFIXED64: '<q', F.TYPE_DOUBLE: '<d'}[kind]
        return tag(field.number, 1, padding) + struct.pack(form, value)
    if kind in (F.TYPE_SINT32, F.TYPE_SINT64):
        value = value << 1 if value >= 0 else (-value << 1) - 1
    return tag(field.number, 0, padding) + varint(int(value), padding)


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def stricter(message, data):
    """Is there, in bytes that the official library accepts, one of the listed differences? An independent little reader."""
    at, groups = 0, 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, wire = key >> 3, key & 7
        if key > 0xffffffff or groups == 0 and (wire == 4 or key == 0):
            return True
        groups += {3: 1, 4: -1}.get(wire, 0)
        if wire == 0:
            value, at = read_varint(data, at)
            if value >= 2 ** 64:
                return True
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = read_varint(data, at)
            content = data[at:at + length]
            at += length
            field = message.by_number.get(number) if groups == 0 else None
            if field and field.rules.id and length != 16:
                return True
            if field and field.message and stricter(field.message, content):
                return True
            packed = field and field.repeated and field.proto.type in (F.TYPE_UINT32, F.TYPE_ENUM)
            while packed and content:
                value, used = read_varint(content, 0)
                content = content[used:]
                if value >= 2 ** 64:
                    return True
    return False


class Wire(unittest.TestCase):
    def each(self, rounds, salt):
        for message in schema.messages:
            values = oracle.Values(f'{SEED} {salt} {message.name}')
            for n in range(rounds):
                out = values.fill(message, classes[message.name](), values.random.choice([0.2, 0.6, 1.0]))
                yield message, values, out

    def test_random_messages_pass_in_both_directions(self):
        for message, _, out in self.each(12, 'both'):
            data = canonical(out)
            for verb in 'cs':
                status, back = codec.ask(verb, message.snake, data)
                self.assertEqual(status, OK, f'{message.name} {data.hex()} {back}')
                self.assertEqual(back.hex(), data.hex(), message.name)

    def test_wild_encodings_mean_the_same(self):
        for message, values, out in self.each(8, 'wild'):
            data = wild_encoding(values, message, out)
            expected = classes[message.name].FromString(data)
            status, back = codec.ask('c', message.snake, data)
            self.assertEqual(status, OK, f'{message.name} {data.hex()} {back}')
            self.assertEqual(back.hex(), canonical(expected).hex(), f'{message.name} {data.hex()}')

    def judge(self, message, data):
        """Ours as stored bytes against the official parser; returns the status."""
        try:
            expected = classes[message.name].FromString(data)
        except Exception:
            expected = None
        status, back = codec.ask('s', message.snake, data)
        if expected is None:
            self.assertEqual(status, CORRUPT, f'{message.name}: only we accept {data.hex()}')
        elif status == OK:
            same = classes[message.name].FromString(back)
            self.assertEqual(without_unknown(same), without_unknown(expected), f'{message.name} {data.hex()}')
        else:
            self.assertEqual(status, CORRUPT)
            self.assertTrue(stricter(message, data), f'{message.name}: only we refuse {data.hex()}')
        return status

    def test_every_truncation_is_judged_alike(self):
        accepted = 0
        for message, _, out in self.each(2, 'cut'):
            data = canonical(out)
            for length in range(min(len(data), 600)):
                cut = data[:length]
                accepted += self.judge(message, cut) == OK
                status, _ = codec.ask('c', message.snake, cut)
                self.assertIn(status, (OK, DECODE))
        self.assertGreater(accepted, 500)

    def test_damaged_bytes_are_judged_alike(self):
        for message, values, out in self.each(4, 'damage'):
            data = bytearray(canonical(out))
            for _ in range(25):
                damaged = bytearray(data)
                for _ in range(values.random.randrange(1, 3)):
                    if damaged:
                        damaged[values.random.randrange(len(damaged))] = values.random.getrandbits(8)
                self.judge(message, bytes(damaged))

    def test_noise_is_judged_alike(self):
        for message in schema.messages:
            values = oracle.Values(f'{SEED} noise {message.name}')
            for _ in range(60):
                noise = bytes(values.random.getrandbits(8) & values.random.choice([0x1f, 0x7f, 0xff])
                              for _ in range(values.random.randrange(24)))
                self.judge(message, noise)

    def test_unknown_fields_of_rows_survive_and_clients_hear_of_them(self):
        extra = tag(250, 0) + varint(7) + tag(251, 2) + varint(2) + b'xy' + tag(252, 1) + b'8 bytes!' \
            + tag(253, 3) + tag(1, 0) + varint(1) + tag(253, 4) + tag(254, 5) + b'four'
        for message, _, out in self.each(3, 'unknown'):
            data = canonical(out)
            status, back = codec.ask('s', message.snake, extra + data)
            self.assertEqual(status, OK, message.name)
            self.assertEqual(back, data + extra if message.stored else data, message.name)
            status, back = codec.ask('c', message.snake, data + extra)
            self.assertEqual((status, back), (INVALID, b' unknown_field'), message.name)

    def test_unknown_enum_values_are_kept_or_refused(self):
        for message in schema.messages:
            for field in message.fields:
                if not field.enum:
                    continue
                data = tag(field.number, 0) + varint(241)
                status, back = codec.ask('s', message.snake, data)
                self.assertEqual(status, OK)
                self.assertEqual(back, canonical(classes[message.name].FromString(data)))
                status, back = codec.ask('c', message.snake, data)
                path = field.name + ('[0]' if field.repeated else '')
                self.assertEqual((status, back.decode()), (INVALID, path + ' unknown_value'))

    def test_lists_over_their_limit_are_refused_from_clients(self):
        for message in schema.messages:
            for field in message.fields:
                if not field.repeated or field.message or field.rules.max_items > 5000:
                    continue
                values = oracle.Values(f'{SEED} lists')
                out = classes[message.name]()
                while len(getattr(out, field.name)) <= field.rules.max_items:
                    getattr(out, field.name).append(values.scalar(field))
                status, back = codec.ask('c', message.snake, canonical(out))
                self.assertEqual((status, back.decode()), (INVALID, field.name + ' too_many'))
                status, back = codec.ask('s', message.snake, canonical(out))
                self.assertEqual((status, back), (OK, canonical(out)))


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
