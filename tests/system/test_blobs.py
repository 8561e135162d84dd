"""Blobs under load: many streams at once, all answered, and slow readers that hold nobody up."""

import hashlib
import os

from kapwire import OK, requests


def put(client, data):
    begun = client.call('blob.begin', hash=hashlib.sha256(data).digest(), size=len(data), media_type='image/png')
    for offset in range(0, len(data), 65536):
        client.call('blob.write', upload=begun.upload, offset=offset, data=data[offset:offset + 65536])
    client.call('blob.commit', upload=begun.upload)
    return hashlib.sha256(data).digest()


def pieces_of(client, request_id):
    """The bytes of a stream, read frame by frame: a whole BlobReadReply each."""
    while request_id not in client.early:
        kind, _, flags, status, answered, body = client.read_frame()
        if kind == 2:
            assert status == OK, requests.ErrorReply.FromString(body)
            parts = client.parts.setdefault(answered, [])
            parts.append(requests.BlobReadReply.FromString(body))
            if not flags & 2:
                client.early[answered] = parts
    parts = client.early.pop(request_id)
    at = parts[0].offset
    for part in parts:
        assert part.offset == at
        at += len(part.data)
    return b''.join(part.data for part in parts)


def test_more_streams_than_the_server_reads_at_a_time(daemon):
    """32 pieces are under way at most; whoever comes then waits its turn, and a snapshot finds a place of its own."""
    clients = [daemon.client() for _ in range(6)]
    try:
        data = [os.urandom(180000) for _ in range(6)]
        hashes = [put(client, content) for client, content in zip(clients, data)]
        asked = []
        for turn in range(30):
            for number, client in enumerate(clients):
                which = (turn + number) % len(data)
                asked.append((client, which, turn * 1000,
                              client.send('blob.read', hash=hashes[which], offset=turn * 1000, length=150000)))
        with daemon.client() as other:
            other.call('snapshot.create', name='amid-streams')
            other.call('snapshot.delete', name='amid-streams')
        for client, which, offset, request_id in asked:
            assert pieces_of(client, request_id) == data[which][offset:offset + 150000]
    finally:
        for client in clients:
            client.close()
