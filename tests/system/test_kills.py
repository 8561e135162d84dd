"""kill -9 of the daemon at random moments while several clients write.

Every acknowledged session tree must be there whole after the restart, an unacknowledged one whole or not at all, and a repeat
under its idempotency key must find what happened. What was acknowledged is known to the clients alone, in this process.
KAP_KILLS sets how often; KAP_SEED repeats a run's moments.
"""

import os
import random
import threading
import time

import kapwire
from conftest import Daemon, World
from test_flows import EXERCISE, SEQUENCE, SESSION, graph

KILLS = int(os.environ.get('KAP_KILLS', '10'))
SEED = int(os.environ.get('KAP_SEED', random.randrange(1 << 32)))
CLIENTS, IN_FLIGHT = 4, 3


class Writer(threading.Thread):
    """Saves trees, several at a time, until the daemon dies; then done and open hold what it knows."""

    def __init__(self, daemon, world, number):
        super().__init__()
        self.daemon, self.world, self.number = daemon, world, number
        self.done, self.open, self.failure = {}, {}, None

    def request(self):
        session, key = kapwire.new_id(), kapwire.new_id()
        tree = self.world.tree(f'Ecrit {self.number}', 3, 2)
        tree['session']['sys'] = {'id': session}
        return session, key, tree

    def run(self):
        try:
            with self.daemon.client() as client:
                waiting = []
                while True:
                    while len(waiting) < IN_FLIGHT:
                        session, key, tree = self.request()
                        self.open[session] = (key, tree)
                        request_id = client.send('session.save', meta={'idempotency_key': key}, **tree)
                        waiting.append((request_id, session))
                    request_id, session = waiting.pop(0)
                    self.done[session] = (client.result('session.save', request_id), *self.open[session])
                    del self.open[session]
        except (kapwire.Closed, ConnectionError):
            pass
        except BaseException as failure:
            self.failure = failure


def check_whole(client, session, tree):
    head, rows = graph(client, session)
    assert (head.n_sequences, head.n_exercises, head.n_objectives, head.n_variations) == (3, 6, 4, 6), head
    assert len(rows[SESSION]) == 1 and len(rows[SEQUENCE]) == 3 and len(rows[EXERCISE]) == 6
    assert rows[SESSION][0].title == tree['session']['title']
    return head


def total(client, world):
    end = client.call('session.list', owner=world.coach, page={'want_count': True, 'limit': 1}).end
    assert end.total_is_exact
    return end.total


def test_kills_under_load(base):
    dice = random.Random(SEED)
    print(f'KAP_SEED={SEED} KAP_KILLS={KILLS}')
    directory = base / ('kills' + os.urandom(3).hex())
    options = ('--set', 'store.memtable=1MiB', '--set', 'store.wal_file=1MiB')
    running = Daemon(directory, *options)
    with running.client() as client:
        world = World(client)
    stored = {}
    try:
        for number in range(KILLS):
            writers = [Writer(running, world, i) for i in range(CLIENTS)]
            for writer in writers:
                writer.start()
            time.sleep(dice.uniform(0.02, 0.5))
            running.kill()
            for writer in writers:
                writer.join()
                assert writer.failure is None, writer.failure
            running = Daemon(directory, *options)
            with running.client() as client:
                for writer in writers:
                    for session, (reply, key, tree) in writer.done.items():
                        assert check_whole(client, session, tree).tree_rev == reply.tree_rev, f'kill {number}'
                        stored[session] = (reply.tree_rev, tree)
                    for session, (key, tree) in writer.open.items():
                        try:
                            before = check_whole(client, session, tree)
                        except kapwire.Refused as refused:
                            assert refused.status == kapwire.NOT_FOUND, refused
                            before = None
                        reply = client.call('session.save', meta={'idempotency_key': key}, **tree)
                        assert before is None or reply.tree_rev == before.tree_rev
                        check_whole(client, session, tree)
                        stored[session] = (reply.tree_rev, tree)
                assert total(client, world) == len(stored), f'kill {number}'
                for session in dice.sample(sorted(stored), min(20, len(stored))):
                    assert check_whole(client, session, stored[session][1]).tree_rev == stored[session][0]
        with running.client() as client:
            for session, (tree_rev, tree) in stored.items():
                assert check_whole(client, session, tree).tree_rev == tree_rev
        assert len(stored) > KILLS
        running.stop()
    finally:
        if running.process.poll() is None:
            running.kill()
