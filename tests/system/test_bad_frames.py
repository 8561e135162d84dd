"""Bytes that no client should send: a clear answer or a closed connection, and a daemon that lives on."""

import socket
import struct

import pytest

import kapwire
from kapwire import HEADER, Client, frame, header, numbers, requests

PING = numbers.OP_PING


def lost(client, data):
    """The framing is lost: BAD_FRAME, then the end."""
    client.raw(data)
    request_id, _, status, body = client.read_reply()
    assert (request_id, status) == (0, kapwire.BAD_FRAME)
    assert requests.ErrorReply.FromString(body).message
    client.expect_close()


def refusal(client, data):
    client.raw(data)
    request_id, _, status, body = client.read_reply()
    error = requests.ErrorReply.FromString(body)
    assert error.code == status and error.message
    return status, request_id


@pytest.mark.parametrize('wrong', [{'magic': 0x4b51}, {'layout': 2}, {'kind': 9}, {'flags': 0x4000}])
def test_a_header_that_is_not_ours(client, wrong):
    lost(client, frame(PING, 7, **wrong))


def test_bad_header_checksum(client):
    good = bytearray(frame(PING, 7))
    good[8] ^= 1
    lost(client, bytes(good))


def test_oversized_length(client):
    """The checksum holds, so the frame can be answered; nothing of that size is ever waited for in memory."""
    status, request_id = refusal(client, header(PING, 7, body_len=0xfffffff0))
    assert (status, request_id) == (kapwire.TOO_LARGE, 7)


def test_a_too_large_body_is_skipped_and_the_connection_goes_on(client):
    body = bytes((1 << 20) + 1)
    status, request_id = refusal(client, frame(numbers.OP_SESSION_SAVE, 1000, body))
    assert (status, request_id) == (kapwire.TOO_LARGE, 1000)
    assert client.call('connection.ping', echo=b'x').echo == b'x'


def test_bad_body_checksum(client):
    status, request_id = refusal(client, frame(PING, 1000, b'\x0a\x01x', body_sum=1))
    assert (status, request_id) == (kapwire.CHECKSUM, 1000)
    client.call('connection.ping')


@pytest.mark.parametrize('cut', [1, 31, 32, 40])
def test_truncated_frame(daemon, client, cut):
    with daemon.client() as broken:
        broken.raw(frame(PING, 7, b'\x0a\x10' + bytes(16))[:cut])
        broken.socket.shutdown(socket.SHUT_WR)
        broken.expect_close()


def test_a_frame_in_single_bytes(client):
    for byte in frame(PING, 1000, b'\x0a\x01x'):
        client.raw(bytes([byte]))
    request_id, _, status, _ = client.read_reply()
    assert (request_id, status) == (1000, kapwire.OK)


def test_lz4_that_is_none(client):
    status, request_id = refusal(
        client, frame(PING, 1000, struct.pack('<I', 4000) + b'\xff' * 40, flags=kapwire.LZ4 | kapwire.BODY_SUM))
    assert (status, request_id) == (kapwire.DECODE, 1000)
    client.call('connection.ping')


def test_a_request_id_twice(client):
    more = kapwire.MORE | kapwire.BODY_SUM
    client.raw(frame(numbers.OP_SESSION_SAVE, 1000, b'', flags=more) + frame(numbers.OP_SESSION_GET, 1000, b''))
    _, _, status, _ = client.read_reply()
    assert status == kapwire.INVALID
    client.expect_close()


def test_before_hello(daemon):
    with Client(daemon.unix, hello=False) as stranger:
        stranger.call('connection.ping')
        stranger.refused(kapwire.NOT_READY, 'session.get', id=kapwire.new_id())


def test_no_protocol_in_common(daemon):
    with Client(daemon.unix, hello=False) as stranger:
        stranger.refused(kapwire.UNSUPPORTED_VERSION, 'connection.hello', protocol_min=2, protocol_max=3)
        stranger.expect_close()


def test_hello_twice(client):
    client.refused(kapwire.STATE_CONFLICT, 'connection.hello', protocol_min=1, protocol_max=1)
    client.call('connection.ping')


def test_tcp_without_a_token(daemon):
    with Client(daemon.tcp, hello=False) as stranger:
        stranger.refused(kapwire.UNAUTHENTICATED, 'connection.hello', protocol_min=1, protocol_max=1)
        stranger.expect_close()
    with Client(daemon.tcp, hello=False) as stranger:
        stranger.refused(kapwire.BAD_CREDENTIALS, 'connection.hello', protocol_min=1, protocol_max=1, token='x' * 40)


def test_http_is_told_so(daemon):
    with Client(daemon.tcp, hello=False) as browser:
        browser.raw(b'GET / HTTP/1.1\r\nHost: kap\r\n\r\n' + bytes(HEADER.size))
        assert browser._read(12) == b'HTTP/1.1 400'


def test_random_bytes(daemon):
    import random
    dice = random.Random(11)
    for _ in range(50):
        with daemon.client() as noisy:
            noisy.raw(dice.randbytes(dice.randrange(1, 3000)))
    with daemon.client() as client:
        client.call('connection.ping')
