"""docs/protocol.md against a running kapd, through a client that was written from the page: stranger.py.

usage: test_protocol_live.py KAPD"""

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import stranger
from stranger import BODY_SUM, CONTROL, END, MORE, NO_REPLY, REPLY, REQUEST

KAPD = sys.argv[1]
STATUS = dict((name, int(number)) for number, name in re.findall(
    r'KAP_STATUS\((\d+), (\w+),', open(os.path.join(stranger.ROOT, 'engine', 'base', 'status.def'), encoding='utf-8').read()))


def setUpModule():
    global schema, classes, ops
    schema, classes = stranger.load()
    ops = stranger.operations(schema, classes)


class Daemon:
    def __init__(self, *more):
        self.directory = tempfile.TemporaryDirectory(prefix='kd')
        self.path = os.path.join(self.directory.name, 's')
        self.process = subprocess.Popen(
            [KAPD, '-D', os.path.join(self.directory.name, 'data'), '--socket', self.path, '--listen', '127.0.0.1:0',
             '--set', 'log.level=error', '--set', 'store.wal_file=1MiB', *more], stdout=subprocess.PIPE, text=True)
        self.ready = self.process.stdout.readline()

    def client(self, hello=True, **fields):
        client = stranger.Client(self.path, ops, classes)
        if hello:
            status, client.welcome = client.call('hello', dict({'protocol_min': 1, 'protocol_max': 1}, **fields))
            assert status == 0, client.welcome
        return client

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.process.stdout.close()
        self.directory.cleanup()
        return code


def season(client):
    """A session with a sequence, and its owner."""
    kind = schema.enum_of['RefKind'].proto.value
    kind = {v.name: v.number for v in kind}
    for which, value in (('SPORT', 'handball'), ('LEVEL', 'regional'), ('INTENSITY', 'medium')):
        status, reply = client.call('ref.put', {'item': {'kind': kind['REF_KIND_' + which], 'value': value,
                                                         'label': value.capitalize()}})
        assert status == 0, reply
        if which == 'SPORT':
            sport = reply.id
        elif which == 'LEVEL':
            level = reply.id
    status, reply = client.call('user.create', {'user': {'email': 'coach@example.org', 'roles': [2]}})
    assert status == 0, reply
    status, saved = client.call('session.save', {
        'session': {'owner': reply.id, 'title': 'Counter-attack', 'objective': 'Run early', 'sport': sport, 'level': level,
                    'age_category': 1, 'duration': 90, 'participants_min': 8, 'participants_max': 16}})
    assert status == 0, saved
    return reply.id, saved


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        if not cls.daemon.ready.startswith('kapd ready '):
            cls.daemon.process.wait(10)
            raise unittest.SkipTest('kapd does not start here; is io_uring permitted?')
        cls.client = cls.daemon.client()
        cls.user, cls.saved = season(cls.client)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.daemon.stop() == 0

    def test_hello_tells_the_limits(self):
        limits = self.client.welcome.limits
        self.assertEqual((limits.max_frame, limits.max_in_flight, limits.max_batch_ops, limits.max_batch_bytes,
                          limits.max_list, limits.max_tree_rows, limits.max_nesting, limits.idle_ping_s),
                         (1 << 20, 256, 1000, 4 << 20, 200, 1000, 16, 30))
        self.assertEqual(self.client.welcome.server_id, self.daemon.client().welcome.server_id)

    def test_before_hello_only_hello_and_ping_are_answered(self):
        client = self.daemon.client(hello=False)
        self.assertEqual(client.call('ping', {'echo': b'there?'})[1].echo, b'there?')
        self.assertEqual(client.call('session.get', {'id': self.saved.id})[0], STATUS['NOT_READY'])
        self.assertEqual(client.call('hello', {'protocol_min': 2, 'protocol_max': 9})[0], STATUS['UNSUPPORTED_VERSION'])
        with self.assertRaises(EOFError):
            client.receive()

    def test_hello_with_a_wrong_token_or_server_closes(self):
        for fields, status in (({'token': 'kap_no'}, 'BAD_CREDENTIALS'), ({'expected_server': b'x' * 16}, 'GUARD_FAILED')):
            client = self.daemon.client(hello=False)
            self.assertEqual(client.call('hello', dict({'protocol_min': 1, 'protocol_max': 1}, **fields))[0],
                             STATUS[status])
            with self.assertRaises(EOFError):
                client.receive()

    def test_a_second_hello_is_refused(self):
        self.assertEqual(self.daemon.client().call('hello', {'protocol_min': 1, 'protocol_max': 1})[0],
                         STATUS['STATE_CONFLICT'])

    def test_a_broken_header_is_answered_under_id_0_and_closes(self):
        client = self.daemon.client()
        head = bytearray(stranger.frame(REQUEST, ops['ping'][0], 5))
        head[4] ^= 1
        client.socket.sendall(head)
        got = client.receive()
        self.assertEqual((got.id, got.op, got.status), (0, 0, STATUS['BAD_FRAME']))
        with self.assertRaises(EOFError):
            client.receive()

    def test_another_protocol_is_told_so(self):
        for first, answer in ((b'GET / HTTP/1.1\r\n\r\n', b'HTTP/1.1 400'), (b'\x16\x03\x01', b'\x15\x03\x03\x00\x02\x02\x46')):
            client = self.daemon.client(hello=False)
            client.socket.sendall(first)
            self.assertEqual(client.exactly(len(answer)), answer)

    def test_a_damaged_body_is_answered_and_the_connection_goes_on(self):
        client = self.daemon.client()
        whole = bytearray(stranger.frame(REQUEST, ops['session.get'][0], 5, ops['session.get'][1](id=self.saved.id)
                                         .SerializeToString()))
        whole[-1] ^= 1
        client.socket.sendall(whole)
        status, error = client.answer(5)
        self.assertEqual((status, error.retryable), (STATUS['CHECKSUM'], True))
        self.assertEqual(client.call('session.get', {'id': self.saved.id})[0], 0)

    def test_a_body_over_the_limit_is_skipped(self):
        client = self.daemon.client(max_frame=4096)
        client.socket.sendall(stranger.frame(REQUEST, ops['bulk.read'][0], 5, bytes((1 << 20) + 1), flags=0))
        self.assertEqual(client.answer(5)[0], STATUS['TOO_LARGE'])
        self.assertEqual(client.call('ping')[0], 0)

    def test_an_open_id_used_again_closes(self):
        client = self.daemon.client()
        one = stranger.frame(REQUEST, ops['bulk.read'][0], 7, b'', flags=MORE | BODY_SUM)
        client.socket.sendall(one + stranger.frame(REQUEST, ops['ping'][0], 7))
        got = client.receive()
        self.assertEqual((got.id, got.status), (0, STATUS['INVALID']))

    def test_request_id_0_no_reply_and_unknown_operations_are_refused(self):
        client = self.daemon.client()
        client.socket.sendall(stranger.frame(REQUEST, ops['session.get'][0], 0))
        self.assertEqual(client.answer(0)[0], STATUS['INVALID'])
        client.send('session.get', {'id': self.saved.id}, flags=BODY_SUM | NO_REPLY, request_id=9)
        self.assertEqual(client.answer(9)[0], STATUS['INVALID'])
        client.socket.sendall(stranger.frame(REQUEST, 4242, 11))
        self.assertEqual(client.answer(11)[0], STATUS['UNKNOWN_OP'])

    def test_more_frames_make_one_request(self):
        client = self.daemon.client()
        number, request, _ = ops['session.get']
        body = request(id=self.saved.id).SerializeToString()
        client.socket.sendall(stranger.frame(REQUEST, number, 5, body[:4], flags=MORE | BODY_SUM) +
                              stranger.frame(REQUEST, number, 5, body[4:], flags=END | BODY_SUM))
        status, reply = client.answer(5)
        self.assertEqual((status, reply.session.title), (0, 'Counter-attack'))

    def test_a_reply_over_the_clients_limit_comes_in_pieces(self):
        big = '{"a":"' + 'x' * 9000 + '"}'
        self.assertEqual(self.client.call('session.save', {'session': {'sys': {'id': self.saved.id}, 'ext': big}})[0], 0)
        client = self.daemon.client(max_frame=4096)
        client.send('session.get', {'id': self.saved.id}, request_id=3)
        first = client.receive()
        self.assertEqual((first.flags & MORE, len(first.body)), (MORE, 4096))
        body = first.body
        while True:
            got = client.receive()
            body += got.body
            if got.flags & END:
                break
        self.assertEqual(ops['session.get'][2].FromString(body).session.ext, big)

    def test_lz4_is_used_when_asked_for(self):
        client = self.daemon.client(lz4=True)
        self.assertTrue(client.welcome.lz4)
        client.send('server.stats', request_id=3)
        got = client.receive()
        self.assertTrue(got.flags & stranger.LZ4)
        self.assertGreater(len(ops['server.stats'][2].FromString(got.body).stats), 10)

    def test_control_frames(self):
        client = self.daemon.client()
        client.send('ping', kind=CONTROL, request_id=77)
        got = client.receive()
        self.assertEqual((got.kind, got.op, got.id, got.flags & END), (CONTROL, ops['ping'][0], 77, END))
        client.send('cancel', {'request_id': 1234}, request_id=78)
        self.assertEqual(client.answer(78)[1].found, False)
        client.send('goodbye', request_id=79)
        self.assertEqual(client.answer(79)[0], 0)
        with self.assertRaises(EOFError):
            client.receive()

    def test_a_gathering_request_can_be_cancelled(self):
        client = self.daemon.client()
        client.socket.sendall(stranger.frame(REQUEST, ops['bulk.read'][0], 5, b'', flags=MORE | BODY_SUM))
        client.send('cancel', {'request_id': 5}, kind=CONTROL, request_id=0)
        self.assertEqual(client.answer(5)[0], STATUS['CANCELLED'])

    def test_idempotency_keys(self):
        key = b'k' * 16
        fields = {'club': {'name': 'HBC', 'slug': 'hbc'}}
        meta = {'idempotency_key': key}
        status, first = self.client.call('club.save', fields, meta)
        self.assertEqual(status, 0, first)
        self.assertEqual(self.client.call('club.save', fields, meta), (0, first))
        self.assertEqual(self.client.call('club.save', {'club': {'name': 'X', 'slug': 'x'}}, meta)[0],
                         STATUS['IDEMPOTENCY_MISMATCH'])

    def test_min_commit_seq_as_of_and_deadline(self):
        get = {'id': self.saved.id}
        self.assertEqual(self.client.call('session.get', get, {'min_commit_seq': self.saved.commit_seq})[0], 0)
        self.assertEqual(self.client.call('session.get', get, {'min_commit_seq': 1 << 60})[0], STATUS['INVALID'])
        self.assertEqual(self.client.call('session.get', get, {'as_of': 1})[0], STATUS['INVALID'])
        self.assertEqual(self.client.call('session.get', get, {'deadline_ms': 0})[0], STATUS['DEADLINE'])

    def test_an_error_names_every_field(self):
        status, error = self.client.call('session.save', {'session': {'title': '', 'duration': 9999}})
        self.assertEqual((status, error.code, error.name), (STATUS['INVALID'], STATUS['INVALID'], 'INVALID'))
        self.assertGreaterEqual(len(error.faults), 2)
        self.assertIn('session.title', [fault.path for fault in error.faults])

    def test_a_blob_up_and_down_with_credits(self):
        data = os.urandom(700 * 1024)
        digest = hashlib.sha256(data).digest()
        client = self.daemon.client()
        status, begun = client.call('blob.begin', {'hash': digest, 'size': len(data), 'media_type': 'image/jpeg'})
        self.assertEqual((status, begun.have_up_to), (0, 0), begun)
        for at in range(0, len(data), 256 * 1024):
            status, written = client.call('blob.write', {'upload': begun.upload, 'offset': at,
                                                         'data': data[at:at + 256 * 1024]})
            self.assertEqual(status, 0, written)
        self.assertEqual(written.have_up_to, len(data))
        self.assertEqual(client.call('blob.begin', {'hash': digest, 'size': len(data)})[1].upload, begun.upload)
        status, done = client.call('blob.commit', {'upload': begun.upload})
        self.assertEqual((status, done.hash), (0, digest), done)
        self.assertTrue(client.call('blob.begin', {'hash': digest, 'size': len(data)})[1].already_complete)
        client.send('blob.read', {'hash': digest}, request_id=5)
        got, credit = b'', 256 * 1024
        while True:
            piece = client.receive()
            self.assertEqual((piece.kind, piece.id, piece.status), (REPLY, 5, 0))
            reply = ops['blob.read'][2].FromString(piece.body)
            self.assertEqual((reply.offset, reply.size), (len(got), len(data)))
            self.assertLessEqual(len(reply.data), 64 * 1024)
            got += reply.data
            credit -= len(reply.data)
            self.assertGreaterEqual(credit, 0)
            if piece.flags & END:
                break
            if credit == 0:
                client.send('credit', {'request_id': 5, 'bytes': 128 * 1024}, kind=CONTROL, request_id=0)
                credit += 128 * 1024
        self.assertEqual(got, data)
        status, error = client.call('blob.read', {'hash': b'n' * 32})
        self.assertEqual(status, STATUS['NOT_FOUND'])

    def test_a_stream_stops_when_it_is_cancelled(self):
        data = os.urandom(400 * 1024)
        digest = hashlib.sha256(data).digest()
        client = self.daemon.client()
        upload = client.call('blob.begin', {'hash': digest, 'size': len(data)})[1].upload
        for at in range(0, len(data), 200 * 1024):
            client.call('blob.write', {'upload': upload, 'offset': at, 'data': data[at:at + 200 * 1024]})
        client.call('blob.commit', {'upload': upload})
        client.send('blob.read', {'hash': digest}, request_id=5)
        for _ in range(4):
            self.assertTrue(client.receive().flags & MORE)
        client.send('cancel', {'request_id': 5}, kind=CONTROL, request_id=0)
        self.assertEqual(client.receive().status, STATUS['CANCELLED'])

    def test_a_token_speaks_for_its_role(self):
        role = {v.name: v.number for v in schema.enum_of['Role'].proto.value}
        status, token = self.client.call('token.create', {'name': 'web', 'role': role['ROLE_SERVICE']})
        self.assertEqual(status, 0, token)
        self.assertRegex(token.token, r'^kap_[A-Za-z0-9_-]{43}$')
        number = int(re.search(r'tcp=127\.0\.0\.1:(\d+)', self.daemon.ready).group(1))
        client = stranger.Client.__new__(stranger.Client)
        client.ops, client.classes, client.next_id = ops, classes, 1
        client.socket = socket.create_connection(('127.0.0.1', number), 20)
        hello = {'protocol_min': 1, 'protocol_max': 1, 'token': token.token}
        self.assertEqual(client.call('hello', hello)[1].role, role['ROLE_SERVICE'])
        self.assertEqual(client.call('server.status')[0], STATUS['FORBIDDEN'])
        self.assertEqual(client.call('session.get', {'id': self.saved.id}, {'on_behalf_of': self.user})[0], 0)
        client.close()
        client.socket = socket.create_connection(('127.0.0.1', number), 20)
        self.assertEqual(client.call('hello', {'protocol_min': 1, 'protocol_max': 1})[0], STATUS['UNAUTHENTICATED'])
        client.close()


class Stopping(unittest.TestCase):
    def test_goodbye_comes_first(self):
        daemon = Daemon()
        if not daemon.ready.startswith('kapd ready '):
            raise unittest.SkipTest('kapd does not start here; is io_uring permitted?')
        client = daemon.client()
        daemon.process.send_signal(signal.SIGTERM)
        got = client.receive()
        self.assertEqual((got.kind, got.op, got.id), (CONTROL, ops['goodbye'][0], 0))
        self.assertEqual(classes['GoodbyeRequest'].FromString(got.body).grace_ms, 5000)
        with self.assertRaises(EOFError):
            client.receive()
        self.assertEqual(daemon.stop(), 0)


if __name__ == '__main__':
    outcome = unittest.main(argv=sys.argv[:1], exit=False).result
    sys.exit(1 if not outcome.wasSuccessful() else 77 if outcome.skipped else 0)  # 77: skipped, for meson
