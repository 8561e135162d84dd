"""A client written from docs/protocol.md and nothing else: Google's protobuf, XXH3 and LZ4 from the system's libraries.

No code of ours makes or reads a frame here, so what the tests below prove is that the page is enough."""

import ctypes
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'oracle'))

import oracle  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')

REQUEST, REPLY, PUSH, DATA, CONTROL = 1, 2, 3, 4, 5
LZ4, MORE, END, BODY_SUM, NO_REPLY, META = 1, 2, 4, 8, 16, 32
HEADER = struct.Struct('<2sBBHHIHHQII')

xxhash = ctypes.CDLL('libxxhash.so.0')
xxhash.XXH3_64bits_withSeed.restype = ctypes.c_uint64
xxhash.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
lz4 = ctypes.CDLL('liblz4.so.1')


def sum32(data, seed):
    return xxhash.XXH3_64bits_withSeed(data, len(data), seed) & 0xffffffff


def frame(kind, op, request_id, body=b'', meta=b'', flags=BODY_SUM, status=0):
    whole = meta + body
    flags |= META if meta else 0
    body_sum = sum32(whole, request_id) if flags & BODY_SUM else 0
    head = HEADER.pack(b'KP', 1, kind, op, flags, len(whole), len(meta), status, request_id, body_sum, 0)[:28]
    return head + struct.pack('<I', sum32(head, 0)) + whole


class Frame:
    def __init__(self, head, body):
        magic, layout, self.kind, self.op, self.flags, length, meta, self.status, self.id, total, check = HEADER.unpack(head)
        assert magic == b'KP' and layout == 1 and check == sum32(head[:28], 0) and length == len(body)
        assert not self.flags & BODY_SUM or total == sum32(body, self.id)
        self.raw, self.meta, self.body = head + body, body[:meta], body[meta:]
        if self.flags & LZ4:
            size = struct.unpack('<I', self.body[:4])[0]
            out = ctypes.create_string_buffer(size)
            got = lz4.LZ4_decompress_safe(self.body[4:], out, len(self.body) - 4, size)
            assert got == size
            self.body = out.raw


def load():
    """(schema, {message name: official class})"""
    schema = oracle.model.load('protoc', os.path.join(ROOT, 'proto'))
    return schema, oracle.official(schema)


class Client:
    """One connection. ops: {name: (number, class of the request, class of the reply)}."""

    def __init__(self, path, ops, classes):
        self.ops, self.classes, self.next_id = ops, classes, 1
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def close(self):
        self.socket.close()

    def __del__(self):
        self.socket.close()

    def exactly(self, size):
        data = b''
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        head = self.exactly(32)
        return Frame(head, self.exactly(struct.unpack('<I', head[8:12])[0]))

    def send(self, name, fields=None, meta=None, flags=BODY_SUM, kind=REQUEST, request_id=None):
        number, request, _ = self.ops[name]
        if request_id is None:
            request_id, self.next_id = self.next_id, self.next_id + 1
        body = request(**(fields or {})).SerializeToString()
        head = self.classes['Meta'](**meta).SerializeToString() if meta else b''
        self.socket.sendall(frame(kind, number, request_id, body, head, flags))
        return request_id

    def answer(self, request_id):
        """(status, message) of a reply that may be in several frames; the bodies are one message, but for a stream."""
        body = b''
        while True:
            got = self.receive()
            if got.kind == CONTROL and not got.flags & END and got.op == self.ops['ping'][0]:
                self.socket.sendall(frame(CONTROL, got.op, got.id, flags=BODY_SUM | END))
                continue
            assert got.kind == REPLY and got.id == request_id, (got.kind, got.id)
            body += got.body
            if not got.flags & MORE:
                break
        if got.status:
            return got.status, self.classes['ErrorReply'].FromString(body)
        name = next(name for name, op in self.ops.items() if op[0] == got.op)
        return 0, self.ops[name][2].FromString(body)

    def call(self, name, fields=None, meta=None):
        return self.answer(self.send(name, fields, meta))


def operations(schema, classes):
    return {schema.op_name(m.options.op): (m.options.op, classes[m.request.name], classes[m.reply.name])
            for m in schema.methods}
