"""What the application does all day, over the socket."""

import os


import kapwire
from kapwire import entities, new_id, numbers

SESSION, OBJECTIVE, SEQUENCE, EXERCISE, VARIATION = (
    numbers.Kind.Value('KIND_' + name) for name in ('SESSION', 'OBJECTIVE', 'SEQUENCE', 'EXERCISE', 'VARIATION'))
CLASSES = {SESSION: entities.Session, OBJECTIVE: entities.Objective, SEQUENCE: entities.Sequence,
           EXERCISE: entities.Exercise, VARIATION: entities.Variation}
SESSION_SEQUENCES, SEQUENCE_EXERCISES = 1, 3


def graph(client, session):
    """(head, {kind: [rows in key order]})"""
    reply = client.call('session.graph', id=session)
    rows = {kind: [] for kind in CLASSES}
    for typed in reply.rows:
        rows[typed.kind].append(CLASSES[typed.kind].FromString(typed.row))
    return reply.head, rows


def in_order(rows):
    return sorted(rows, key=lambda row: row.position)


def test_save_and_read_a_session(client, world):
    saved = client.call('session.save', **world.tree())
    assert len(saved.changes) == 1 + 1 + 4 * 2 + 12 * 2 and saved.sequence_minutes == 80
    head, rows = graph(client, saved.id)
    assert (head.n_objectives, head.n_sequences, head.n_exercises, head.n_variations) == (5, 4, 12, 12)
    assert head.tree_rev == saved.tree_rev == saved.commit_seq and head.sequence_minutes == 80
    session, = rows[SESSION]
    assert session.sys.id == saved.id and session.sys.rev == saved.rev and session.owner == world.coach
    assert session.intensity == world.intensity and session.status == 1 and session.visibility == 1
    sequences = in_order(rows[SEQUENCE])
    assert [row.title for row in sequences] == [f'Sequence {i}' for i in range(4)]
    for number, sequence in enumerate(sequences):
        mine = in_order([row for row in rows[EXERCISE] if row.sequence == sequence.sys.id])
        assert [row.title for row in mine] == [f'Exercice {number}.{i}' for i in range(3)]
        assert [row.description for row in rows[OBJECTIVE] if row.parent == sequence.sys.id] == [f'But {number}']
    assert {row.exercise for row in rows[VARIATION]} == {row.sys.id for row in rows[EXERCISE]}
    again = client.call('session.graph', id=saved.id, if_none_match=head.tree_rev)
    assert again.unchanged and not again.rows
    assert client.call('session.get', id=saved.id).session == session


def test_page_25_sessions_9_at_a_time(client, world):
    coach = world.user(client, 'pages')
    saved = [client.call('session.save', **world.tree(f'Seance {i}', 1, 1, owner=coach)).id for i in range(25)]
    cursor, seen, sizes = None, [], []
    for _ in range(4):
        page = {'limit': 9, 'want_count': True, **({'cursor': cursor} if cursor else {})}
        reply = client.call('session.list', owner=coach, page=page)
        assert reply.end.total == 25 and reply.end.total_is_exact
        seen += [card.id for card in reply.sessions]
        sizes.append(len(reply.sessions))
        cursor = reply.end.next
        if not cursor:
            break
    assert sizes == [9, 9, 7] and len(set(seen)) == 25 and seen == saved[::-1]


def test_reorder(client, world):
    saved = client.call('session.save', **world.tree())
    _, rows = graph(client, saved.id)
    before = in_order(rows[SEQUENCE])
    wanted = [before[i].sys.id for i in (2, 0, 3, 1)]
    moved = client.call('part.reorder', relation=SESSION_SEQUENCES, parent=saved.id, ids=wanted,
                        expected_tree_rev=saved.tree_rev)
    head, after = graph(client, saved.id)
    assert head.tree_rev == moved.tree_rev > saved.tree_rev
    assert [row.sys.id for row in in_order(after[SEQUENCE])] == wanted
    assert after[EXERCISE] == rows[EXERCISE] and after[SESSION] == rows[SESSION]
    error = client.refused(kapwire.INVALID, 'part.reorder', relation=SESSION_SEQUENCES, parent=saved.id, ids=wanted[:3])
    assert error.faults
    assert graph(client, saved.id) == (head, after)


def test_edit_one_exercise(client, world):
    saved = client.call('session.save', **world.tree())
    old_head, before = graph(client, saved.id)
    target = before[EXERCISE][5]
    put = client.call('exercise.put', exercise={'sys': {'id': target.sys.id}, 'title': 'Relance a deux'},
                      expected_rev=target.sys.rev, expected_tree_rev=saved.tree_rev)
    head, after = graph(client, saved.id)
    assert put.rev == target.sys.rev + 1 and put.tree_rev == head.tree_rev == put.commit_seq > saved.tree_rev
    for kind in (SESSION, OBJECTIVE, SEQUENCE, VARIATION):
        assert after[kind] == before[kind]
    edited, = [row for row in after[EXERCISE] if row not in before[EXERCISE]]
    assert len(after[EXERCISE]) == len(before[EXERCISE])
    assert edited.sys.id == target.sys.id and edited.sys.rev == put.rev and edited.title == 'Relance a deux'
    edited.title = target.title
    edited.sys.CopyFrom(target.sys)
    assert edited == target
    for name in ('n_objectives', 'n_sequences', 'n_exercises', 'n_variations', 'sequence_minutes'):
        assert getattr(head, name) == getattr(old_head, name)


def test_a_second_editor_with_a_stale_tree_is_refused(daemon, client, world):
    saved = client.call('session.save', **world.tree())
    _, rows = graph(client, saved.id)
    first, second = (row.sys.id for row in rows[EXERCISE][:2])
    with daemon.client() as editor:
        newer = client.call('exercise.put', exercise={'sys': {'id': first}, 'title': 'A'}, expected_tree_rev=saved.tree_rev)
        error = editor.refused(kapwire.REV_CONFLICT, 'exercise.put', exercise={'sys': {'id': second}, 'title': 'B'},
                               expected_tree_rev=saved.tree_rev)
        assert error.current_tree_rev == newer.tree_rev
        error = editor.refused(kapwire.REV_CONFLICT, 'exercise.put', exercise={'sys': {'id': first}, 'title': 'B'},
                               expected_rev=1)
        assert error.current_rev == newer.rev
        head, after = graph(editor, saved.id)
        assert head.tree_rev == newer.tree_rev and {row.title for row in after[EXERCISE]}.isdisjoint({'B'})
        editor.call('exercise.put', exercise={'sys': {'id': second}, 'title': 'B'}, expected_tree_rev=error.current_tree_rev
                    or newer.tree_rev)


def test_clone(client, world):
    saved = client.call('session.save', **world.tree())
    old_head, source = graph(client, saved.id)
    copy = client.call('session.clone', id=saved.id, title='Copie', owner=world.coach, expected_tree_rev=saved.tree_rev)
    head, rows = graph(client, copy.id)
    assert copy.id != saved.id and rows[SESSION][0].cloned_from == saved.id and rows[SESSION][0].title == 'Copie'
    for kind in (OBJECTIVE, SEQUENCE, EXERCISE, VARIATION):
        assert len(rows[kind]) == len(source[kind])
        assert {row.sys.id for row in rows[kind]}.isdisjoint({row.sys.id for row in source[kind]})
    assert [row.title for row in in_order(rows[SEQUENCE])] == [row.title for row in in_order(source[SEQUENCE])]
    assert graph(client, saved.id) == (old_head, source)
    assert head.n_exercises == 12
    clones = client.call('session.list', cloned_from=saved.id, page={'want_count': True})
    assert [card.id for card in clones.sessions] == [copy.id] and clones.end.total == 1


def test_delete_takes_everything_along(client, world):
    coach = world.user(client, 'delete')
    tag = client.call('ref.put', tag={'name': 'gone-' + world.mark}).id
    fields = {'owner': coach, 'tags': [tag]}
    keep = client.call('session.save', **world.tree('Reste', **fields))
    gone = client.call('session.save', **world.tree('Part', **fields))
    copy = client.call('session.clone', id=gone.id, owner=coach)
    kept_head, kept = graph(client, keep.id)
    _, rows = graph(client, gone.id)
    everything = [(kind, row.sys.id) for kind in rows for row in rows[kind]]

    def total(**by):
        end = client.call('session.list', page={'want_count': True, 'limit': 100}, **by).end
        assert end.total_is_exact
        return end.total

    assert (total(owner=coach), total(tag=tag), total(cloned_from=gone.id)) == (3, 3, 1)
    dry = client.call('session.delete', id=gone.id, dry_run=True)
    assert graph(client, gone.id)[1] == rows
    deleted = client.call('session.delete', id=gone.id, expected_tree_rev=gone.tree_rev)
    assert deleted.rows == dry.rows >= len(everything)
    client.refused(kapwire.NOT_FOUND, 'session.graph', id=gone.id)
    client.refused(kapwire.NOT_FOUND, 'session.get', id=gone.id)
    bulk = client.call('bulk.read', rows=[{'kind': kind, 'id': row} for kind, row in everything])
    assert not bulk.rows and len(bulk.missing) == len(everything)
    for kind, row in everything:
        if kind == EXERCISE:
            client.refused(kapwire.NOT_FOUND, 'exercise.get', id=row)
    assert (total(owner=coach), total(tag=tag)) == (2, 2)
    listed = client.call('session.list', owner=coach, page={'limit': 100}).sessions
    assert {card.id for card in listed} == {keep.id, copy.id}
    assert graph(client, keep.id) == (kept_head, kept)
    # NULLIFY rewrites nothing: the copy stays as it was, and what it was cloned from is not there.
    origin = client.call('session.get', id=copy.id).session
    assert origin.sys.rev == copy.rev
    assert not origin.HasField('cloned_from')
    assert total(cloned_from=gone.id) == 0
    client.call('row.delete', kind=26, id=tag)
    assert total(tag=tag) == 0
    kept = client.call('session.get', id=keep.id).session
    assert not kept.tags and kept.sys.rev == 1 and kept.title == 'Reste'
    renamed = client.call('session.save', session={'sys': {'id': keep.id}, 'title': 'Reste toujours'})
    assert [change.rev for change in renamed.changes] == [2]
    for _, sequence in [pair for pair in everything if pair[0] == SEQUENCE]:
        client.refused(kapwire.NOT_FOUND, 'exercise.list', sequence=sequence)


def test_an_idempotency_key_is_carried_out_once(daemon, client, world):
    key, tree = new_id(), world.tree('Une fois')
    tree['session']['sys'] = {'id': new_id()}
    first = client.call('session.save', meta={'idempotency_key': key}, **tree)
    with daemon.client() as other:
        assert other.call('session.save', meta={'idempotency_key': key}, **tree) == first
        other.refused(kapwire.IDEMPOTENCY_MISMATCH, 'session.save', meta={'idempotency_key': key}, **world.tree('Autre'))
    assert client.call('session.get', id=first.id).session.sys.rev == first.rev == 1


def test_a_batch_is_all_or_nothing(client, world):
    save = kapwire.requests.SessionSaveRequest

    def op(tree):
        return {'op': numbers.OP_SESSION_SAVE, 'body': save(**tree).SerializeToString()}

    trees = [world.tree(f'Lot {i}', 1, 1) for i in range(3)]
    for tree in trees:
        tree['session']['sys'] = {'id': new_id()}
    reply = client.call('txn.batch', ops=[op(tree) for tree in trees])
    assert [save_reply.op for save_reply in reply.results] == [numbers.OP_SESSION_SAVE] * 3
    for tree in trees:
        assert graph(client, tree['session']['sys']['id'])[0].tree_rev == reply.commit_seq
        tree['session']['sys'] = {'id': new_id()}
    trees[2]['session']['sport'] = new_id()
    client.refused(kapwire.INVALID, 'txn.batch', ops=[op(tree) for tree in trees])
    for tree in trees:
        client.refused(kapwire.NOT_FOUND, 'session.get', id=tree['session']['sys']['id'])


def test_pipelined_replies_belong_to_their_requests(client, world):
    ids = [client.call('session.save', **world.tree(f'Tuyau {i}', 1, 1)).id for i in range(20)]
    asked = [client.send('session.get', id=ids[i % 20]) for i in range(200)]
    for i, request_id in reversed(list(enumerate(asked))):
        assert client.result('session.get', request_id).session.title == f'Tuyau {i % 20}'


def test_read_your_writes_on_another_connection(daemon, client, world):
    with daemon.client() as other:
        for i in range(20):
            saved = client.call('session.save', **world.tree(f'Lu {i}', 1, 1))
            got = other.call('session.get', meta={'min_commit_seq': saved.commit_seq}, id=saved.id)
            assert got.session.title == f'Lu {i}' and got.commit_seq >= saved.commit_seq


def test_everything_is_there_after_a_restart(base):
    from conftest import Daemon, World
    directory = base / ('restart' + os.urandom(3).hex())
    running = Daemon(directory)
    with running.client() as client:
        world = World(client)
        saved = client.call('session.save', **world.tree())
        stored = graph(client, saved.id)
    running.stop()
    running = Daemon(directory)
    with running.client() as client:
        assert graph(client, saved.id) == stored
        assert client.call('session.list', owner=world.coach, page={'want_count': True}).end.total == 1
    running.stop()


