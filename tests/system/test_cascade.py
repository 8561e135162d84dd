"""A delete with more rows than one commit takes: gone for everybody at once, taken away step by step, also after a kill."""

import re
import subprocess
import tempfile
import time

import pytest
from conftest import BUILD, Daemon, World
from kapwire import GONE, NOT_FOUND, Refused, new_id, numbers, requests

COMMENTS = 6000


def many(client, name, messages):
    for start in range(0, len(messages), 32):
        sent = [client.send(name, message) for message in messages[start:start + 32]]
        for request_id in sent:
            client.result(name, request_id)


def left(client):
    line, = [job for job in client.call('server.status').jobs if job.startswith('deletes:')]
    return int(re.search(r'of (\d+) still', line).group(1))


def wait_done(client):
    end = time.monotonic() + 60
    while left(client):
        assert time.monotonic() < end, client.call('server.status').jobs
        time.sleep(0.01)


def verified(directory):
    done = subprocess.run([BUILD / 'tools/kapctl/kapctl', 'verify', directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith('ok\n'), done.stdout + done.stderr
    return int(re.search(r'(\d+) rows,', done.stdout).group(1))


class Discussed:
    """Two sessions of one coach, both favourites, one with thousands of comments."""

    def __init__(self, daemon):
        self.admin = daemon.client()
        self.world = World(self.admin)
        self.coach = daemon.client()
        self.coach.on_behalf_of = self.world.coach
        self.large, self.small = (self.coach.call('session.save', **self.world.tree(title)).id for title in ('Large', 'Small'))
        self.comments = [new_id() for _ in range(COMMENTS)]
        self.kept = new_id()
        comment = requests.CommentPutRequest
        many(self.coach, 'comment.put', [comment(comment={'sys': {'id': id}, 'session': self.large, 'content': f'N {number}'})
                                         for number, id in enumerate(self.comments)])
        self.coach.call('comment.put', comment={'sys': {'id': self.kept}, 'session': self.small, 'content': 'Reste'})
        self.coach.call('favorite.set', target_kind=numbers.KIND_SESSION, target=self.large)
        self.coach.call('favorite.set', target_kind=numbers.KIND_SESSION, target=self.small)

    def by_author(self):
        return self.coach.call('comment.list', author=self.world.coach, page={'limit': 200, 'want_count': True})

    def gone(self):
        """What every reader must see from the commit of the delete on."""
        coach = self.coach
        page = self.by_author()
        assert [comment.sys.id for comment in page.comments] == [self.kept], len(page.comments)
        assert page.end.total == 1 and page.end.total_is_exact and not page.end.next
        coach.refused(NOT_FOUND, 'comment.list', session=self.large)
        coach.refused(NOT_FOUND, 'session.graph', id=self.large)
        found = coach.call('bulk.read', rows=[{'kind': numbers.KIND_COMMENT, 'id': id}
                                              for id in (self.comments[0], self.kept, self.comments[-1])])
        assert len(found.rows) == 1 and len(found.missing) == 2
        favorites = coach.call('favorite.list', page={'want_count': True})
        assert [favorite.target for favorite in favorites.favorites] == [self.small] and favorites.end.total == 1
        for id in (self.comments[0], self.comments[-1]):
            coach.refused(NOT_FOUND, 'row.delete', kind=numbers.KIND_COMMENT, id=id)


def test_gone_at_once_and_taken_away(base):
    directory = tempfile.mkdtemp(dir=base)
    daemon = Daemon(directory)
    there = Discussed(daemon)
    tree = len([row for row in there.coach.call('session.graph', id=there.large).rows if row.kind != numbers.KIND_TREE_HEAD])
    assert there.by_author().end.total == COMMENTS + 1
    dry = there.coach.call('session.delete', id=there.large, dry_run=True)
    assert dry.rows == tree + COMMENTS + 1  # the favourite
    assert there.by_author().end.total == COMMENTS + 1
    deleted = there.coach.send('session.delete', id=there.large)
    again = there.coach.send('comment.put', comment={'sys': {'id': there.comments[-1]}, 'session': there.small, 'content': 'Encore'})
    assert there.coach.result('session.delete', deleted).rows == dry.rows
    with pytest.raises(Refused) as refused:  # its row is stored still
        there.coach.result('comment.put', again)
    assert refused.value.status == GONE
    there.gone()
    while left(there.admin):
        there.gone()
    there.gone()
    there.coach.close()
    daemon.stop()
    verified(directory)


def test_a_kill_between_the_steps(base):
    directory = tempfile.mkdtemp(dir=base)
    daemon = Daemon(directory)
    there = Discussed(daemon)
    there.coach.call('session.delete', id=there.large)
    daemon.kill()
    before = verified(directory)
    daemon = Daemon(directory)
    there.admin, there.coach = daemon.client(), daemon.client()
    there.coach.on_behalf_of = there.world.coach
    there.gone()
    wait_done(there.admin)
    there.gone()
    there.coach.close()
    daemon.stop()
    after = verified(directory)
    print(before - after, "rows were taken away after the kill")
    assert after <= before
