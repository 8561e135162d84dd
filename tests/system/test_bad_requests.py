"""Requests that break a rule: which one is said, with the path, nothing is stored, and the connection goes on."""

import pytest

import kapwire
from conftest import Daemon, World
from kapwire import INVALID, new_id, numbers, requests
from test_flows import EXERCISE, SEQUENCE, graph

SAVE, PING = numbers.OP_SESSION_SAVE, numbers.OP_PING


def faults(error):
    return {(fault.path, fault.code) for fault in error.faults}


def save(world, **fields):
    return requests.SessionSaveRequest(**world.tree(sequences=1, exercises=1, **fields))


def save_refused(client, world, status=INVALID, **fields):
    return client.refused(status, 'session.save', save(world, **fields))


@pytest.fixture(autouse=True)
def nothing_stored(daemon, world):
    with daemon.client() as admin:
        def total():
            return admin.call('session.list', owner=world.coach, page={'want_count': True}).end.total
        before = total()
        yield
        assert total() == before


def test_unknown_op(client):
    client.refused_body(kapwire.UNKNOWN_OP, 9999, b'')


def test_unknown_field(client):
    error = client.refused_body(INVALID, numbers.OP_SESSION_GET, b'\x0a\x10' + new_id() + b'\x98\x06\x01')
    assert 'unknown_field' in {fault.code for fault in error.faults}


def test_wrong_type(client):
    error = client.refused_body(INVALID, numbers.OP_SESSION_GET, b'\x08\x01')
    assert ('id', 'wrong_type') in faults(error)


def test_cut_body(client, world):
    body = save(world).SerializeToString()[:-3]
    fault, = client.refused_body(kapwire.DECODE, SAVE, body).faults
    assert fault.code == 'malformed' and fault.path.startswith('sequences') and 0 < fault.actual < len(body)


def test_too_long_text(client, world):
    error = save_refused(client, world, title='x' * 201)
    fault, = error.faults
    assert (fault.path, fault.code, fault.limit, fault.actual) == ('session.title', 'too_long', 200, 201)


def test_bad_utf8(client, world):
    body = save(world, title='MARK').SerializeToString().replace(b'MARK', b'\xff\xfe\xfdx')
    error = client.refused_body(kapwire.DECODE, SAVE, body)
    fault, = error.faults
    assert (error.path, fault.path, fault.code) == ('session.title', 'session.title', 'bad_utf8')
    assert fault.actual == body.index(b'\xff\xfe\xfdx')  # an id may hold a single 0xff


def test_bad_utf8_deep_in_a_tree(client, world):
    tree = world.tree(sequences=3, exercises=1)
    tree['sequences'][2]['exercises'][0]['exercise']['title'] = 'MARK'
    body = requests.SessionSaveRequest(**tree).SerializeToString().replace(b'MARK', b'x\xff\xfdx')
    error = client.refused_body(kapwire.DECODE, SAVE, body)
    assert error.path == 'sequences[2].exercises[0].exercise.title'


def test_bad_meta(client):
    error = client.refused_body(INVALID, numbers.OP_SESSION_GET, b'', b'\x12\x02ab')
    assert ('idempotency_key', 'bad_id') in faults(error)


def test_missing_fields_all_at_once(client, world):
    error = client.refused(INVALID, 'session.save', session={'title': 'x'}, sequences=[
        {'sequence': {'title': 'x'}, 'exercises': [{'exercise': {'title': 'x'}}]}])
    assert {('session.' + name, 'required') for name in ('objective', 'sport', 'level', 'age_category', 'duration')} <= faults(error)


def test_unknown_enum(client, world):
    assert ('session.age_category', 'unknown_value') in faults(save_refused(client, world, age_category=99))


def test_reference_to_nothing_and_to_the_wrong_kind(client, world):
    for wrong in (new_id(), world.level, world.coach):
        assert 'session.sport' in {fault.path for fault in save_refused(client, world, sport=wrong).faults}


def test_duplicate_unique_key(client, world):
    client.refused(kapwire.UNIQUE, 'user.create', user={'email': f'coach-{world.mark}@example.org'})


def test_forged_cursor(client, world):
    client.refused(kapwire.BAD_CURSOR, 'session.list', owner=world.coach, page={'cursor': b'forged' * 8})


def test_a_cursor_is_of_one_list_one_filter_and_one_principal(daemon, client, world):
    coach, other = world.user(client, 'cursor'), world.user(client, 'cursor-other')
    for number in range(3):
        client.call('session.save', **world.tree(f'Page {number}', 1, 1, owner=coach, visibility=3))
    page = {'limit': 1, 'cursor': client.call('session.list', owner=coach, page={'limit': 1}).end.next}
    assert client.call('session.list', owner=coach, page=page).sessions
    client.refused(kapwire.BAD_CURSOR, 'session.list', owner=world.coach, page=page)
    client.refused(kapwire.BAD_CURSOR, 'session.list', owner=coach, visibility=3, page=page)
    client.refused(kapwire.BAD_CURSOR, 'user.list', page=page)
    client.refused(kapwire.BAD_CURSOR, 'session.list', owner=coach, page=page, meta={'on_behalf_of': other})
    cut = {'limit': 1, 'cursor': page['cursor'][:-1]}
    client.refused(kapwire.BAD_CURSOR, 'session.list', owner=coach, page=cut)


def test_a_cursor_of_the_run_before_is_stale(base):
    running = Daemon(base / 'stale')
    with running.client() as client:
        world = World(client)
        for number in range(2):
            client.call('session.save', **world.tree(f'Page {number}', 1, 1))
        cursor = client.call('session.list', owner=world.coach, page={'limit': 1}).end.next
    running.stop()
    running = Daemon(base / 'stale')
    with running.client() as client:
        client.refused(kapwire.BAD_CURSOR, 'session.list', owner=world.coach, page={'limit': 1, 'cursor': cursor})
        assert client.call('session.list', owner=world.coach, page={'limit': 1}).sessions
    running.stop()


def test_an_export_with_references_to_what_is_gone_goes_in_again(base):
    """Kept references (KEEP), like who wrote a comment, outlive their target; loose ones are not exported at all."""
    rows = []
    running = Daemon(base / 'from')
    with running.client() as client:
        world = World(client)
        tag = client.call('ref.put', tag={'name': 'passager'}).id
        source = client.call('session.save', **world.tree('Source', 1, 1, tags=[tag]))
        author = {'on_behalf_of': world.user(client, 'auteur')}
        client.call('session.save', session={'sys': {'id': source.id}, 'visibility': 3})
        comment = client.call('comment.put', comment={'session': source.id, 'content': 'Bien'}, meta=author)
        client.call('row.delete', kind=32, id=comment.id)
        client.call('row.delete', kind=26, id=tag)
        for kind in (16, 27, 26, 2, 4, 5, 6, 3, 32, 66):
            rows += client.call('dump.rows', kind=kind, limit=1000).rows
        assert any(row.kind == 66 for row in rows) and not any(row.kind in (26, 32) for row in rows)
    running.stop()
    running = Daemon(base / 'to')
    with running.client() as client:
        done = client.call('restore.rows', rows=rows)
        assert done.created == len(rows)
        assert not client.call('session.get', id=source.id).session.tags
    running.stop()


def test_1001_ops(client):
    client.refused(INVALID, 'txn.batch', ops=[{'op': PING}] * 1001)


def test_a_tree_over_the_limits(client, world):
    tree = world.tree(sequences=65, exercises=0)
    assert 'sequences' in {fault.path for fault in client.refused(INVALID, 'session.save', **tree).faults}
    tree = world.tree(sequences=40, exercises=20)
    with pytest.raises(kapwire.Refused) as refused:
        client.call('session.save', **tree)
    assert refused.value.status in (INVALID, kapwire.TOO_LARGE) and '1000' in str(refused.value)


def test_a_move_across_roots(client, world):
    one, two = (client.call('session.save', save(world)) for _ in range(2))
    (_, first), (_, second) = graph(client, one.id), graph(client, two.id)
    moved = {'sys': {'id': first[EXERCISE][0].sys.id}, 'sequence': second[SEQUENCE][0].sys.id}
    with pytest.raises(kapwire.Refused) as refused:
        client.call('exercise.put', exercise=moved)
    assert refused.value.status in (INVALID, kapwire.STATE_CONFLICT)
    assert (graph(client, one.id)[1], graph(client, two.id)[1]) == (first, second)
    for saved in (one, two):
        client.call('session.delete', id=saved.id)


def test_nesting(client):
    body = b''
    for _ in range(120):
        body = b'\x0b' + body + b'\x0c'
    client.refused_body(kapwire.DECODE, numbers.OP_SESSION_GET, body)
