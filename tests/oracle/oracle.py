"""What the oracle tests share: the official messages, our codec as a process, random values."""

import os
import random
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'proto', 'gen'))

import model  # noqa: E402
from google.protobuf import descriptor_pool, message_factory  # noqa: E402

OK, DECODE, INVALID, CORRUPT = 0, 106, 301, 602
F = model.FD


class Codec:
    """wire_tool as a child process."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, verb, name, payload):
        name = name.encode()
        rest = bytes([ord(verb), len(name)]) + name + payload
        self.process.stdin.write(struct.pack('<I', len(rest)) + rest)
        self.process.stdin.flush()
        head = self.process.stdout.read(4)
        if len(head) != 4:
            raise AssertionError(f'wire_tool died on {verb} {name} {payload.hex()}')
        reply = self.process.stdout.read(struct.unpack('<I', head)[0])
        return struct.unpack('<H', reply[:2])[0], reply[2:]

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def official(schema):
    """{message name: class of the official library}, from the same descriptor set, our options left unread."""
    pool = descriptor_pool.DescriptorPool()
    for file in schema.set.file:
        pool.AddSerializedFile(file.SerializeToString())
    factory = message_factory.MessageFactory(pool)
    return {m.name: factory.GetPrototype(pool.FindMessageTypeByName('kap.' + m.name)) for m in schema.messages}


class Values:
    """Random messages within our limits."""

    WORDS = ['', 'Relance', 'd\u00e9fense \u00e9tag\u00e9e', '\u201cpivot\u201d', 'a\nb\tc', '\U0001f3d0', '\u4e2d\u6587', '"\\/']

    def __init__(self, seed):
        self.random = random.Random(seed)

    def number(self, bits, signed):
        width = self.random.randrange(bits + 1)
        value = self.random.getrandbits(width) if width else 0
        if not signed:
            return value
        value = min(value, 2 ** (bits - 1) - 1)
        return -value - 1 if self.random.random() < 0.5 else value

    def scalar(self, field):
        kind, rules = field.proto.type, field.rules
        if kind == F.TYPE_BOOL:
            return self.random.random() < 0.5
        if kind == F.TYPE_STRING:
            return ''.join(self.random.choice(self.WORDS) for _ in range(self.random.randrange(4)))
        if kind == F.TYPE_BYTES:
            length = 16 if rules.id else 32 if rules.hash else self.random.randrange(20)
            return bytes(self.random.getrandbits(8) for _ in range(length))
        if kind == F.TYPE_ENUM:
            return self.random.choice([n for n, _, _ in field.enum.values if n])
        if kind == F.TYPE_DOUBLE:
            return self.random.choice([0.0, -0.0, 0.1, 1e300, -2.5, float('inf'), self.random.gauss(0, 1e6)])
        if rules.time:
            return self.random.randrange(-62135596800000000, 253402300800000000)
        bits = 32 if kind in (F.TYPE_UINT32, F.TYPE_INT32, F.TYPE_SINT32) else 64
        return self.number(bits, kind in (F.TYPE_INT32, F.TYPE_INT64, F.TYPE_SINT32, F.TYPE_SINT64, F.TYPE_SFIXED64))

    def fill(self, message, out, density):
        for field in message.fields:
            if self.random.random() > density or field.rules.HasField('embed'):
                continue
            if field.repeated:
                for _ in range(self.random.randrange(min(field.rules.max_items, 4) + 1)):
                    if field.message:
                        self.fill(field.message, getattr(out, field.name).add(), density * 0.8)
                    else:
                        getattr(out, field.name).append(self.scalar(field))
            elif field.message:
                inner = getattr(out, field.name)
                inner.SetInParent()
                self.fill(field.message, inner, density * 0.8)
            else:
                setattr(out, field.name, self.scalar(field))
        return out


def varint(value, padding=0):
    """padding: bytes more than needed, which decoders must accept."""
    value &= 2 ** 64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(min(padding, 10 - len(out))):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def tag(number, wire, padding=0):
    value = varint(number << 3 | wire)
    return varint(number << 3 | wire, min(padding, 5 - len(value)))
