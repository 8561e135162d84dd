"""A dry run says what would be and leaves nothing behind, whatever the operation: no commit, no idempotency key."""

import pytest

import kapwire
from kapwire import new_id, numbers


def _session(admin, world):
    return {'id': admin.call('session.save', **world.tree(sequences=1, exercises=1)).id}


def _row(admin, world):
    return {'kind': numbers.KIND_SESSION, **_session(admin, world)}


def _ref(admin, world):
    return {'kind': numbers.KIND_REF_ITEM, 'id': world.item(admin, 'EQUIPMENT', 'dry-' + new_id().hex())}


def _token(admin, world):
    return {'id': admin.call('token.create', name='dry', role=numbers.ROLE_SERVICE).id}


def _snapshot(admin, world):
    return {'name': admin.call('snapshot.create', name='dry-' + new_id().hex()[:8]).snapshot.name}


def _rows(admin, world):
    rows = admin.call('dump.rows', kind=numbers.KIND_REF_ITEM).rows
    item = kapwire.entities.RefItem.FromString(rows[0].row)
    item.sys.rev += 1
    item.label = 'changed'
    return {'rows': [{'kind': numbers.KIND_REF_ITEM, 'row': item.SerializeToString()}]}


PREPARE = {'session.delete': _session, 'row.delete': _row, 'ref.delete': _ref, 'token.revoke': _token,
           'snapshot.delete': _snapshot, 'restore.rows': _rows, 'compaction.run': lambda *_: {}}


def test_every_operation_with_a_dry_run_is_here():
    assert set(PREPARE) == {name for name, (_, request, _) in kapwire.OPERATIONS.items()
                            if 'dry_run' in request.DESCRIPTOR.fields_by_name}


@pytest.mark.parametrize('name', PREPARE)
def test_nothing_is_left_behind(client, world, name):
    fields, key = PREPARE[name](client, world), new_id()
    before = client.call('connection.ping').commit_seq
    for _ in range(2):
        client.call(name, dry_run=True, meta={'idempotency_key': key}, **fields)
    assert client.call('connection.ping').commit_seq == before
    client.call(name, meta={'idempotency_key': key}, **fields)  # it was all there still, and so was the key
