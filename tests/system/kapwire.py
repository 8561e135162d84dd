"""A client of the wire written from proto/frame_format.h and proto/kap alone: nothing of it is shared with the daemon.

Classes come from protoc, checksums from libxxhash, so both sides must agree with somebody else. A Client sends one request
and waits, or many and reads the replies as they come; raw() sends bytes that no client should.
"""

import ctypes
import importlib
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAGIC, LAYOUT = 0x504b, 1
REQUEST, REPLY, PUSH, DATA, CONTROL = 1, 2, 3, 4, 5
LZ4, MORE, END, BODY_SUM, NO_REPLY, META = 1, 2, 4, 8, 16, 32
HEADER = struct.Struct('<HBBHHIHHQII')
(OK, BAD_FRAME, CHECKSUM, TOO_LARGE, UNKNOWN_OP, UNSUPPORTED_VERSION, DECODE, NOT_READY) = (0, *range(101, 108))
UNAUTHENTICATED, BAD_CREDENTIALS, FORBIDDEN = 201, 202, 204
INVALID, NOT_FOUND, GONE, ALREADY_EXISTS, UNIQUE, REFERENCED, BAD_CURSOR = range(301, 308)
REV_CONFLICT, STATE_CONFLICT, GUARD_FAILED, IDEMPOTENCY_MISMATCH = range(401, 405)
OVERLOADED, NO_SPACE, DEADLINE, SHUTTING_DOWN = 501, 504, 508, 603

_xxhash = ctypes.CDLL('libxxhash.so.0')
_xxhash.XXH3_64bits_withSeed.restype = ctypes.c_uint64
_xxhash.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def checksum64(data, seed=0):
    return _xxhash.XXH3_64bits_withSeed(bytes(data), len(data), seed)


def checksum(data, seed=0):
    return checksum64(data, seed) & 0xffffffff


def _classes():
    out = pathlib.Path(tempfile.mkdtemp(prefix='kap-py-'))
    try:
        protos = [f'kap/{name}.proto' for name in ('numbers', 'options', 'entities', 'requests')]
        subprocess.run(['protoc', f'-I{ROOT / "proto"}', f'--python_out={out}', *protos], check=True)
        sys.path.insert(0, str(out))
        return [importlib.import_module(f'kap.{name}_pb2') for name in ('numbers', 'entities', 'requests')]
    finally:
        subprocess.run(['rm', '-rf', str(out)], check=True)


numbers, entities, requests = _classes()


def _operations():
    """{"session.save": (op, request class, reply class)} from the services of requests.proto."""
    found = {}
    for service in requests.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            area = service.name[:-len('Service')]
            name = f'{area.upper()}_{method.name.upper()}'
            number = dict(numbers.Op.items()).get('OP_' + name) or dict(numbers.Op.items()).get('OP_' + method.name.upper())
            found[f'{area.lower()}.{method.name.lower()}'] = (
                number, getattr(requests, method.input_type.name), getattr(requests, method.output_type.name))
    return found


OPERATIONS = _operations()


def new_id():
    return os.urandom(16)


def header(op, request_id, body=b'', meta_len=0, kind=REQUEST, flags=0, status=0, magic=MAGIC, layout=LAYOUT, body_len=None,
           body_sum=None):
    """The 32 bytes before body; whatever is given stands there, right or wrong, under a right header checksum."""
    flags |= META if meta_len else 0
    if body_sum is None:
        body_sum = checksum(body, request_id) if flags & BODY_SUM else 0
    head = HEADER.pack(magic, layout, kind, op, flags, len(body) if body_len is None else body_len, meta_len, status,
                       request_id, body_sum, 0)[:28]
    return head + struct.pack('<I', checksum(head))


def frame(op, request_id, body=b'', meta=b'', flags=BODY_SUM, **wrong):
    whole = meta + body
    return header(op, request_id, whole, len(meta), flags=flags, **wrong) + whole


class Closed(Exception):
    """The daemon closed the connection."""


class Refused(Exception):
    """A reply with a status other than 0; error is its ErrorReply."""

    def __init__(self, status, error):
        super().__init__(f'{status} {error.name}: {error.message} {[f.path + " " + f.code for f in error.faults]}')
        self.status, self.error = status, error


class Client:
    def __init__(self, address, token=None, hello=True, timeout=60):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.received, self.last_id, self.parts, self.early = b'', 0, {}, {}
        self.on_behalf_of = None
        try:
            self.socket.connect(address)
            self.welcome = self.hello(token) if hello else None
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def hello(self, token=None, **fields):
        if token:
            fields['token'] = token
        fields = {'protocol_min': 1, 'protocol_max': 1, 'client': 'kapwire', **fields}
        return self.call('connection.hello', **fields)

    # ---- bytes

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed() from error

    def _read(self, count):
        while len(self.received) < count:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError as error:
                raise Closed() from error
            if not more:
                raise Closed()
            self.received += more
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def read_frame(self):
        """(kind, op, flags, status, request_id, body), every checksum checked."""
        head = self._read(HEADER.size)
        magic, layout, kind, op, flags, body_len, meta_len, status, request_id, body_sum, head_sum = HEADER.unpack(head)
        assert (magic, layout) == (MAGIC, LAYOUT), head.hex()
        assert head_sum == checksum(head[:28]), 'header checksum of a reply'
        body = self._read(body_len)
        assert meta_len == 0 and not flags & LZ4
        if flags & BODY_SUM:
            assert body_sum == checksum(body, request_id), 'body checksum of a reply'
        return kind, op, flags, status, request_id, body

    def read_reply(self):
        """(request_id, op, status, body) of the next whole reply; pings are answered on the way."""
        while True:
            kind, op, flags, status, request_id, body = self.read_frame()
            if kind == CONTROL:
                if op == numbers.OP_PING and not flags & END:
                    self.raw(frame(op, request_id, kind=CONTROL, flags=BODY_SUM | END))
                continue
            assert kind == REPLY, kind
            body = self.parts.pop(request_id, b'') + body
            if not flags & MORE:
                return request_id, op, status, body
            self.parts[request_id] = body

    def expect_close(self):
        try:
            data = self._read(1)
        except Closed:
            return
        raise AssertionError(f'not closed, got {data!r}')

    # ---- requests

    def send_body(self, op, body, meta=b'', request_id=None):
        if request_id is None:
            self.last_id += 1
            request_id = self.last_id
        self.raw(frame(op, request_id, body, meta))
        return request_id

    def wait(self, request_id):
        while request_id not in self.early:
            answered, _, status, body = self.read_reply()
            self.early[answered] = (status, body)
        return self.early.pop(request_id)

    def send(self, name, /, message=None, meta=None, **fields):
        op, request_class, _ = OPERATIONS[name]
        meta = dict(meta or {})
        if self.on_behalf_of is not None:
            meta.setdefault('on_behalf_of', self.on_behalf_of)
        body = (message if message is not None else request_class(**fields)).SerializeToString()
        return self.send_body(op, body, requests.Meta(**meta).SerializeToString() if meta else b'')

    def result(self, name, request_id):
        status, body = self.wait(request_id)
        if status != OK:
            raise Refused(status, requests.ErrorReply.FromString(body))
        return OPERATIONS[name][2].FromString(body)

    def call(self, name, /, message=None, meta=None, **fields):
        return self.result(name, self.send(name, message, meta, **fields))

    def refused(self, expected, name, /, message=None, meta=None, **fields):
        """The ErrorReply; the status must be the one expected."""
        try:
            reply = self.call(name, message, meta, **fields)
        except Refused as refused:
            assert refused.status == expected, refused
            assert refused.error.code == expected and refused.error.name and refused.error.message
            return refused.error
        raise AssertionError(f'{name} was carried out: {reply}')

    def refused_body(self, expected, op, body, meta=b''):
        status, reply = self.wait(self.send_body(op, body, meta))
        error = requests.ErrorReply.FromString(reply)
        assert status == expected, f'{status} {error}'
        assert error.code == expected and error.message
        return error
