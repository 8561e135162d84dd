"""kapd as a program: flags, configuration, its directory, its end."""

import contextlib
import os
import pathlib
import subprocess
import time

import pytest

import kapwire
from kapwire import numbers, requests
from conftest import KAPD, Daemon, World
from test_flows import graph


@pytest.fixture
def directory(base):
    return base / ('d' + os.urandom(3).hex())


def kapd(*arguments, code):
    """What it said on both outputs; it must end by itself with this exit code."""
    ended = subprocess.run([KAPD, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    said = ended.stdout + ended.stderr
    assert ended.returncode == code, f'exit {ended.returncode}: {said}'
    return said


def filled(directory):
    """A stopped directory with one session in it; (its id, its graph)."""
    running = Daemon(directory)
    with running.client() as client:
        saved = client.call('session.save', **World(client).tree())
        stored = graph(client, saved.id)
    running.stop()
    return saved.id, stored


def still_there(directory, session, stored):
    running = Daemon(directory)
    with running.client() as client:
        assert graph(client, session) == stored
    running.stop()


@pytest.mark.parametrize('arguments, words', [
    (['--lisen', '127.0.0.1:0'], ['--lisen', 'did you mean --listen']),
    (['--wholly-unlike-anything'], ['--help']),
    (['--listen'], ['wants a value']),
    (['stray'], ['stray', '-D']),
    (['--set', 'net.conections=3'], ['net.conections', 'did you mean net.connections']),
    (['--set', 'net.connections'], ['key=value']),
    (['--set', 'net.connections=many'], ['net.connections', 'whole number']),
    (['--set', 'net.connections=0'], ['net.connections', 'out of range', '65536']),
    (['--set', 'store.memtable=12parsec'], ['store.memtable', '64MiB']),
    (['--set', 'log.level=loud'], ['log.level', 'debug']),
    (['--set', 'auth.unix_roles=0:king'], ['auth.unix_roles', 'UID:ROLE']),
    (['--set', 'memory.budget=1MiB'], ['memory.budget']),
    (['--http', '127.0.0.1:0'], ['not available']),
    (['--listen', '-', '--socket', '-'], ['nobody could connect']),
])
def test_misspelt_and_impossible(directory, arguments, words):
    said = kapd('-D', directory, *arguments, code=2)
    assert all(word in said for word in words), said
    assert not directory.exists()


def test_no_directory_given():
    assert '-D DIR' in kapd(code=2)
    assert '--ephemeral' in kapd('--ephemeral', '-D', 'x', code=2)


def test_help_version_and_check():
    assert '--check-config' in kapd('--help', code=0)
    assert kapd('--version', code=0).startswith('kapd ')
    assert 'in_flight = 17' in kapd('--check-config', '--set', 'net.in_flight=17', code=0)


def test_configuration_file(base, directory):
    file = base / ('c' + os.urandom(3).hex() + '.ini')
    file.write_text('[net]\nin_flight = 33\nlisen = 127.0.0.1:0\n')
    said = kapd('-D', directory, '-c', file, code=2)
    assert 'net.lisen' in said and 'net.listen' in said and str(file) in said
    file.write_text('[net]\nin_flight = 33\nconnections = 44\n')
    said = kapd('-c', file, '--set', 'net.connections=55', '--check-config', code=0)
    assert 'in_flight = 33' in said and 'connections = 55' in said
    file.write_text('[net\n')
    assert str(file) in kapd('-D', directory, '-c', file, code=2)
    assert 'gone.ini' in kapd('-D', directory, '-c', base / 'gone.ini', code=2)


def last_words(client):
    """What the server says of the connection itself before it closes it."""
    request_id, _, status, body = client.read_reply()
    client.expect_close()
    assert request_id == 0
    return status, requests.ErrorReply.FromString(body)


def test_silence_before_hello_ends_in_time(directory):
    running = Daemon(directory, '--set', 'net.hello_timeout=200ms')
    with kapwire.Client(running.unix, hello=False) as silent:
        began = time.monotonic()
        status, error = last_words(silent)
        assert status == kapwire.DEADLINE and 'hello' in error.message
        assert 0.2 <= time.monotonic() - began < 5
    running.stop()


def test_connections_are_limited_and_the_next_is_told(directory):
    running = Daemon(directory, '--set', 'net.connections=2')
    with running.client() as first, running.client():
        for address in (running.unix, running.tcp):
            with kapwire.Client(address, hello=False) as third:
                third.raw(kapwire.frame(numbers.OP_PING, 1) * 50)  # what was sent before it heard does not cost it the words
                status, error = last_words(third)
                assert status == kapwire.OVERLOADED and error.retryable and error.retry_after_ms > 0
                assert '2 connections' in error.message and 'net.connections' in error.message
        begun = time.monotonic()
        for _ in range(50):  # a flood does not fill the log
            with kapwire.Client(running.unix, hello=False) as refused:
                assert last_words(refused)[0] == kapwire.OVERLOADED
        lines = [line for line in running.said().splitlines() if 'msg="connection refused"' in line]
        assert 1 <= len(lines) <= 3 + time.monotonic() - begun, lines
        first.call('connection.ping')
    with running.client() as again:
        again.call('connection.ping')
    running.stop()


def test_requests_in_flight_are_limited(directory):
    """Past the limit the server stops reading and forgets nothing."""
    running = Daemon(directory, '--set', 'net.in_flight=2')
    with running.client() as client:
        asked = [client.send('server.status') for _ in range(100)]
        for request_id in asked:
            client.result('server.status', request_id)
    running.stop()


def test_an_address_in_use_is_no_failure_of_the_storage(directory, base):
    import socket
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        said = kapd('-D', directory, '--listen', address, code=1)
        assert address in said and 'in use' in said and '--listen' in said
    path = str(base / ('s' + os.urandom(3).hex()))
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(path)
        taken.listen()
        said = kapd('-D', directory, '--listen', '127.0.0.1:0', '--socket', path, code=1)
        assert path in said and '--socket' in said


def test_directory_locked(directory):
    running = Daemon(directory)
    said = kapd('-D', directory, '--listen', '127.0.0.1:0', code=4)
    assert 'in use' in said and str(directory) in said
    with running.client() as client:
        client.call('connection.ping')
    running.stop()


def test_directory_made_or_impossible(base, directory):
    running = Daemon(directory)
    running.stop()
    assert directory.stat().st_mode & 0o777 == 0o700
    said = kapd('-D', base / 'absent' / 'deep', '--listen', '127.0.0.1:0', code=1)
    assert 'absent' in said and 'ENOENT' in said
    file = base / ('f' + os.urandom(3).hex())
    file.write_text('not a directory')
    said = subprocess.run([KAPD, '-D', file], capture_output=True, text=True, timeout=60)
    assert said.returncode not in (0, -6, -11) and said.stderr


def test_half_written(directory):
    """The log ends in the middle of a record, as after a power cut: what is whole stays."""
    session, stored = filled(directory)
    log = max((path for path in directory.rglob('*') if path.is_file() and 'wal' in str(path)),
              key=lambda path: path.stat().st_mtime)
    data = bytearray(log.read_bytes())
    end = len(bytes(data).rstrip(b'\0'))
    data[end:end + 20] = os.urandom(20)
    log.write_bytes(data)
    still_there(directory, session, stored)


@pytest.mark.parametrize('keep', [0, 10, 5000])
@pytest.mark.parametrize('which', ['manifest-*', 'superblock'])
def test_a_file_that_was_cut_short_is_named(directory, which, keep):
    """Never an empty store over a full one."""
    session, stored = filled(directory)
    file = next(directory.glob(which))
    whole = file.read_bytes()
    if keep >= len(whole) or (which == 'superblock' and keep > 4096):  # one whole copy of it is enough
        file.write_bytes(whole[:keep])
        return still_there(directory, session, stored)
    file.write_bytes(whole[:keep])
    assert file.name in kapd('-D', directory, '--listen', '127.0.0.1:0', code=5)
    file.write_bytes(whole)
    still_there(directory, session, stored)


def test_a_newer_format_is_left_alone(directory):
    session, stored = filled(directory)
    superblock = directory / 'superblock'
    ours = superblock.read_bytes()
    newer = bytearray(ours)
    for at in range(0, len(ours), 4096):  # checksum 8, magic 8, format 4: see docs/formats.md
        newer[at + 16] += 1
        newer[at:at + 8] = kapwire.checksum64(newer[at + 8:at + 4096], 0x53555031).to_bytes(8, 'little')
    superblock.write_bytes(newer)
    said = kapd('-D', directory, '--listen', '127.0.0.1:0', code=4)
    assert 'format 2' in said and 'use a newer kapd' in said
    assert superblock.read_bytes() == newer
    superblock.write_bytes(ours)
    still_there(directory, session, stored)


@contextlib.contextmanager
def ending_told(running):
    """When the daemon goes, what it said belongs to the failure."""
    try:
        yield
    except kapwire.Closed as closed:
        raise AssertionError(f'the daemon closed: {running.process.poll()} {running.said()}') from closed


@pytest.fixture
def small_disk(base):
    """A file system of its own, 80 MiB."""
    place = base / ('t' + os.urandom(3).hex())
    place.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=80m', 'none', place], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f'no file system can be mounted here: {mounted.stderr.strip()}')
    yield place
    subprocess.run(['umount', '-l', place], check=True)


@pytest.mark.parametrize('floor', ['8MiB', '1MiB'])  # told in time; and when the disk itself says so
def test_a_full_disk(small_disk, floor):
    """Writes are refused by name, reads go on, what was answered stays, and with room again writes go on."""
    directory = small_disk / 'd'
    running = Daemon(directory, '--set', 'store.wal_file=4MiB', '--set', 'store.memtable=4MiB',
                     '--set', f'store.space_floor={floor}')
    with ending_told(running), running.client() as client:
        world = World(client)
        saved = client.call('session.save', **world.tree())
        stored = graph(client, saved.id)
        disk = os.statvfs(small_disk)
        ballast = small_disk / 'ballast'
        ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - 11 * 2**20))
        kept, refused = [], None
        for i in range(2000):
            try:
                kept.append(client.call('session.save', **world.tree(f'Plein {i}', description='x' * 8000)).id)
            except kapwire.Refused as error:
                refused = error
                break
        assert refused is not None and refused.error.name == 'NO_SPACE', refused
        assert graph(client, saved.id) == stored
        ballast.unlink()
        for attempt in range(100):  # the free space is looked at now and then
            try:
                kept.append(client.call('session.save', **world.tree('Encore')).id)
                break
            except kapwire.Refused:
                time.sleep(0.1)
        assert attempt < 99
    running.stop()
    running = Daemon(directory)
    with running.client() as client:
        assert graph(client, saved.id) == stored
        for session in kept:
            assert client.call('session.get', id=session).session.sys.id == session
    running.stop()


def test_sigterm_under_load(directory):
    """What was answered before the end is there after it."""
    running = Daemon(directory)
    with running.client() as client:
        world = World(client)
        asked = [client.send('session.save', **world.tree(f'Fin {i}', 2, 2)) for i in range(50)]
        saved = [client.result('session.save', asked.pop(0)) for _ in range(10)]
        running.process.terminate()
        for request_id in asked:
            try:
                saved.append(client.result('session.save', request_id))
            except kapwire.Refused as refused:
                assert refused.status == kapwire.SHUTTING_DOWN and refused.error.retryable
            except kapwire.Closed:
                break
    running.stop()
    running = Daemon(directory)
    with running.client() as client:
        for reply in saved:
            assert graph(client, reply.id)[0].tree_rev == reply.tree_rev
    running.stop()


def test_drain_ends_in_time_with_an_idle_client(directory):
    running = Daemon(directory, '--set', 'net.drain_grace=300ms')
    with running.client():
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 20


def test_ephemeral_leaves_nothing(base):
    import signal
    process = subprocess.Popen([KAPD, '--ephemeral'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env={**os.environ, 'TMPDIR': str(base)})
    words = dict(word.split('=', 1) for word in process.stdout.readline().split()[2:])
    made = pathlib.Path(words['unix']).parent
    with kapwire.Client(words['unix']) as client:
        client.call('connection.ping')
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0 and made.parent == base and not made.exists()
    process.stdout.close()
