"""The pages against the code: examples byte by byte, status codes, operations, limits, keys, file names.

usage: test_protocol_examples.py WIRE_TOOL FRAME_TOOL [--write]

An example of docs/protocol.md is a comment <!-- example: NAME -->, a block of JSON that says what is in the frame, and a
block with its bytes and their meaning. Our codec and frames make the bytes from the JSON; Google's protobuf and the frame of
stranger.py, which was written from the page, must read the same out of them. --write writes the blocks of bytes anew."""

import json
import os
import re
import struct
import subprocess
import sys
import unittest

import stranger
from stranger import oracle

TOOL, FRAME_TOOL = sys.argv[1:3]
DOCS = os.path.join(stranger.ROOT, 'docs')
KINDS = {'request': 1, 'reply': 2, 'push': 3, 'data': 4, 'control': 5}
EXAMPLE = re.compile(r'<!-- example: (\S+) -->\n```json\n(.*?)\n```\n\n```text\n(.*?)```', re.S)


def read(*path):
    with open(os.path.join(stranger.ROOT, *path), encoding='utf-8') as handle:
        return handle.read()


def setUpModule():
    global schema, classes, ops, codec
    schema, classes = stranger.load()
    ops = stranger.operations(schema, classes)
    codec = oracle.Codec(TOOL)


def tearDownModule():
    assert codec.close() == 0, 'wire_tool failed'


def encode(name, value):
    status, data = codec.ask('p', schema.message_of[name].snake, json.dumps(value).encode())
    assert status == 0, data
    return data


def frame_of(example):
    """(bytes of the frame, meta, body) as our library writes them."""
    meta = encode('Meta', example['meta']) if 'meta' in example else b''
    body = encode(example['message'], example['body'])
    head = struct.pack('<BBHHHQII', KINDS[example['kind']], 0, ops[example['op']][0], 0, example.get('status', 0),
                       example['request_id'], len(meta), len(body))
    out = subprocess.run([FRAME_TOOL], input=head + meta + body, stdout=subprocess.PIPE, check=True).stdout
    return out[4:], meta, body


class Dump:
    """Bytes with what they mean, one line per field."""

    def __init__(self, data):
        self.data, self.at, self.lines = data, 0, ['offset  bytes                                            meaning']

    def line(self, size, meaning):
        for start in range(0, size, 16):
            piece = self.data[self.at + start:self.at + min(start + 16, size)]
            self.lines.append(f'{self.at + start:6d}  {piece.hex(" "):<47}  {meaning if start == 0 else ""}'.rstrip())
        self.at += size

    def varint(self, at):
        value = shift = 0
        while True:
            byte = self.data[at]
            value |= (byte & 0x7f) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    def message(self, message, end, indent=''):
        while self.at < end:
            key, at = self.varint(self.at)
            field = next(f for f in message.fields if f.number == key >> 3)
            name = f'{indent}{field.number} {field.name}'
            if key & 7 == 0:
                value, at = self.varint(at)
                if field.proto.type in (field_type('SINT32'), field_type('SINT64')):
                    value = value >> 1 ^ -(value & 1)
                if field.enum:
                    value = f'{value}, {field.enum.short(value)}'
                self.line(at - self.at, f'{name} = {value}')
            elif key & 7 == 1:
                value = struct.unpack('<q' if field.rules.time else '<Q', self.data[at:at + 8])[0]
                self.line(at + 8 - self.at, f'{name} = {value}')
            elif field.message:
                size, at = self.varint(at)
                self.line(at - self.at, f'{name}: {size} bytes')
                self.message(field.message, at + size, indent + '. ')
            else:
                size, at = self.varint(at)
                text = field.proto.type == field_type('STRING')
                value = json.dumps(self.data[at:at + size].decode()) if text else f'{size} bytes'
                self.line(at + size - self.at, f'{name} = {value}')
        assert self.at == end


def field_type(name):
    return getattr(oracle.F, 'TYPE_' + name)


def dump(example):
    data, meta, body = frame_of(example)
    out = Dump(data)
    flags = struct.unpack('<H', data[6:8])[0]
    names = [n for n, bit in (('LZ4', 1), ('MORE', 2), ('END', 4), ('BODY_SUM', 8), ('NO_REPLY', 16), ('META', 32)) if flags & bit]
    status = example.get('status', 0)
    for size, meaning in ((2, 'magic "KP"'), (1, 'layout'), (1, 'kind: ' + example['kind']),
                          (2, f'op {ops[example["op"]][0]}: {example["op"]}'), (2, 'flags: ' + ', '.join(names)),
                          (4, f'body_len = {len(meta) + len(body)}'), (2, f'meta_len = {len(meta)}'),
                          (2, f'status = {status}'), (8, f'request_id = {example["request_id"]}'),
                          (4, 'body_sum'), (4, 'head_sum')):
        out.line(size, meaning)
    if meta:
        out.message(schema.message_of['Meta'], 32 + len(meta), 'Meta ')
    out.message(schema.message_of[example['message']], len(data))
    return '\n'.join(out.lines) + '\n'


class Examples(unittest.TestCase):
    def setUp(self):
        self.examples = EXAMPLE.findall(read('docs', 'protocol.md'))

    def test_the_bytes_are_those_of_our_library(self):
        self.assertGreaterEqual(len(self.examples), 5)
        self.assertEqual(len(self.examples), read('docs', 'protocol.md').count('<!-- example:'))
        for name, text, block in self.examples:
            self.assertEqual(block, dump(json.loads(text)), f'{name}: run this test with --write')

    def test_a_stranger_reads_the_same_in_them(self):
        for name, text, block in self.examples:
            example = json.loads(text)
            data = bytes.fromhex(''.join(line[8:55] for line in block.splitlines()[1:]))
            frame = stranger.Frame(data[:32], data[32:])
            self.assertEqual((frame.kind, frame.op, frame.id, frame.status),
                             (KINDS[example['kind']], ops[example['op']][0], example['request_id'],
                              example.get('status', 0)), name)
            message = classes[example['message']].FromString(frame.body)
            self.assertEqual(message.SerializeToString(deterministic=True), frame.body, name)
            if example['kind'] == 'request':
                self.assertIsInstance(message, ops[example['op']][1])
            elif frame.status == 0:
                self.assertIsInstance(message, ops[example['op']][2])
            self.assertEqual(stranger.frame(frame.kind, frame.op, frame.id, frame.body, frame.meta, frame.flags,
                                            frame.status), data, name)


def table(page, heading):
    """Rows of the first table under a heading, cells stripped."""
    text = re.search(r'^\|(?:.*\n\|)*.*', page.split('\n' + heading + '\n', 1)[1], re.M).group(0)
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()][2:]


def code_of(text):
    return text.strip('`')


class Pages(unittest.TestCase):
    def test_every_status_code_is_in_the_page(self):
        wanted = [(number, name, meaning) for number, name, meaning in re.findall(
            r'KAP_STATUS\((\d+), (\w+), \w+, "([^"]+)"\)', read('engine', 'base', 'status.def')) if int(number) > 99]
        found = [(row[0], code_of(row[1]), row[2]) for row in table(read('docs', 'protocol.md'), '### Status codes')]
        self.assertEqual(found, wanted)

    def test_every_operation_is_in_the_pages(self):
        wanted = sorted((op[0], name) for name, op in ops.items())
        found = [(int(row[0]), code_of(row[1])) for row in table(read('docs', 'protocol.md'), '## Operations')]
        self.assertEqual(found, wanted)
        rows = re.findall(r'^\| (\d+) \| \[([a-z._]+)\]', read('docs', 'reference', 'requests.md'), re.M)
        self.assertEqual([(int(number), name) for number, name in rows], wanted)

    def test_every_fault_code_is_in_the_page(self):
        wanted = set()
        for folder in ('proto', 'engine/model', 'server', 'server/handlers'):
            for file in os.listdir(os.path.join(stranger.ROOT, folder)):
                if file.endswith('.c'):
                    text = read(folder, file)
                    wanted |= set(re.findall(r'kap_faults_add(?:_limit)?\([^;]*?,\s*"([a-z_]+)",', text))
                    wanted |= set(re.findall(r'\bfault\w*\([^;]*?,\s*"([a-z]+_[a-z_]+|required)",', text))
                    wanted |= set(re.findall(r'\bmalformed\([^;]*?,\s*"([a-z_0-9]+)",', text))
        found = {code_of(row[0]) for row in table(read('docs', 'protocol.md'), '### Codes of faults')}
        self.assertEqual(found - wanted, set())
        self.assertEqual(wanted - found, set())

    def test_limits_are_those_of_the_code(self):
        page = read('docs', 'protocol.md')
        values = {}
        for path in (('server', 'connection_internal.h'), ('server', 'auth.c'), ('server', 'blobs.c'),
                     ('proto', 'frame_format.h'), ('proto', 'message.h'), ('engine', 'model', 'model.h'),
                     ('engine', 'model', 'listing.h'), ('server', 'handlers', 'session.c')):
            for name, value in re.findall(r'\b([A-Z0-9_]{6,}) = ([0-9][0-9 *+<]*)[,} ]', read(*path)):
                values[name] = eval(value)
        for name, text in re.findall(r'\(`([A-Z0-9_]+)` = ([0-9,]+)\)', page):
            self.assertEqual(int(text.replace(',', '')), values.get(name), name)

    def test_every_configuration_key_is_in_the_page(self):
        keys = re.findall(r'KEY\("([a-z0-9_.]+)", CONFIG_\w+, \w+, "([^"]*)"', read('server', 'config.c'))
        found = [(code_of(row[0]), code_of(row[1]).replace('(empty)', '')) for row in
                 table(read('docs', 'operating.md'), '## Configuration')]
        self.assertEqual(found, keys)

    def test_exit_codes_are_those_of_the_daemon(self):
        wanted = {'0'} | set(re.findall(r'EXIT_\w+ = (\d+)', read('server', 'main.c')))
        self.assertEqual({code_of(row[0]) for row in table(read('docs', 'operating.md'), '## Exit codes')}, wanted)

    def test_formats_names_every_tree_seed_tag_and_magic(self):
        page = read('docs', 'formats.md')
        trees = re.findall(r'KAP_TREE_([A-Z]+) = (\d+)', read('engine', 'schema', 'tree.h'))
        trees = [(name, number) for name, number in trees if name != 'BYTES']
        self.assertEqual([(code_of(row[0]), row[1]) for row in table(page, '### Trees') if row[0] != '256 + id'],
                         [(number, name.lower()) for name, number in trees])
        seeds = re.findall(r'KAP_SEED_(\w+) = (0x[0-9a-f]+)', read('engine', 'base', 'checksum.h'))
        for name, value in seeds:
            self.assertIn(f'`{value}`', page, name)
        for name, value in re.findall(r'(MANIFEST_[A-Z_]+) = (\d+),', read('engine', 'manifest', 'manifest_format.h')):
            if not name.startswith('MANIFEST_ALIGN'):
                self.assertRegex(page, rf'\| {value} \| `{name}` ')
        for folder in ('wal', 'manifest', 'blob', 'segment'):
            for value in re.findall(r'#define KAP_\w*MAGIC (?:UINT64_C\()?(0x[0-9a-f]+)',
                                    read('engine', folder, folder + '_format.h')):
                magic = int(value, 16).to_bytes(8, 'little').decode()
                self.assertIn(f'`{magic}`', page)

    def test_formats_layouts_are_those_of_the_headers(self):
        """Every line `offset size field` of a *_format.h stands in the page as | offset | size | `field` |."""
        page = re.sub(r'[ `]', '', read('docs', 'formats.md'))
        for folder in ('wal', 'manifest', 'blob', 'segment', 'btree'):
            text = read('engine', folder, folder + '_format.h')
            rows = re.findall(r'^ \*\s+(\d+)\s{2,}(\d+) ([a-z_]+)', text, re.M)
            self.assertGreater(len(rows), 5, folder)
            for offset, size, field in rows:
                self.assertIn(f'|{offset}|{size}|{field}|', page, folder)

    def test_the_pages_link_to_what_is_there(self):
        for name in ('formats.md', 'protocol.md', 'operating.md'):
            page = read('docs', name)
            for line in page.splitlines():
                if not line.startswith(('|', '    ')):
                    self.assertLessEqual(len(line), 122, f'{name}: {line[:60]}')
            for target in re.findall(r'\]\(([^)#]+)[^)]*\)', page):
                self.assertTrue(os.path.exists(os.path.join(DOCS, target)), f'{name}: {target}')


def write():
    setUpModule()
    path = os.path.join(DOCS, 'protocol.md')
    page = read('docs', 'protocol.md')
    page = EXAMPLE.sub(lambda m: f'<!-- example: {m[1]} -->\n```json\n{m[2]}\n```\n\n```text\n{dump(json.loads(m[2]))}```', page)
    with open(path, 'w', encoding='utf-8') as handle:
        handle.write(page)
    tearDownModule()


if __name__ == '__main__':
    if '--write' in sys.argv:
        write()
    else:
        unittest.main(argv=sys.argv[:1])
