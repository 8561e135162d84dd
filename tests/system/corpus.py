"""kap import free-exercise-db, export, import into an empty store and export again: what both tests of the import share."""

import contextlib
import filecmp
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tempfile

from conftest import BUILD, Daemon

KAP, KAPCTL = BUILD / 'tools/kap/kap', BUILD / 'tools/kapctl/kapctl'


def run(*arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, check=False)
    assert done.returncode == 0, (arguments, done.returncode, done.stderr.decode())
    return done.stdout


def kap(daemon, *arguments):
    return run(KAP, '-u', 'kap+unix://' + daemon.unix, *arguments)


def imported(daemon, path):
    """created, updated, unchanged, images attached, already, absent, as the command prints them."""
    text = kap(daemon, 'import', 'free-exercise-db', path).decode()
    found = re.search(r'created (\d+) updated (\d+) unchanged (\d+) images attached (\d+) already (\d+) absent (\d+)', text)
    return tuple(int(number) for number in found.groups())


def images_of(path):
    """What the corpus names: files that are there, and how many names there are in all."""
    exercises = json.loads((path / 'exercises.json').read_text(encoding='utf-8'))
    names = [name for exercise in exercises for name in exercise['images']]
    return len(exercises), [path / 'images' / name for name in names if (path / 'images' / name).exists()], len(names)


def head(daemon):
    return json.loads(kap(daemon, 'call', 'server.stats'))['commits']['head_seq']


@contextlib.contextmanager
def store(base):
    directory = tempfile.mkdtemp(dir=base)
    daemon = Daemon(directory)
    yield daemon
    daemon.stop()
    assert run(KAPCTL, 'verify', directory).endswith(b'ok\n')


def round_trip(daemon, base):
    """Export, import into an empty store, export again: byte for byte the same, blobs included."""
    out = pathlib.Path(tempfile.mkdtemp(dir=base))
    kap(daemon, 'export', '--blobs', out / 'blobs', '-o', out / 'rows')
    with store(base) as other:
        kap(other, 'import', 'ndjson', '--blobs', out / 'blobs', out / 'rows')
        kap(other, 'export', '--blobs', out / 'blobs2', '-o', out / 'rows2')
    assert (out / 'rows').read_bytes() == (out / 'rows2').read_bytes()
    names = sorted(os.listdir(out / 'blobs'))
    assert names == sorted(os.listdir(out / 'blobs2'))
    same, different, failed = filecmp.cmpfiles(out / 'blobs', out / 'blobs2', names, shallow=False)
    assert len(same) == len(names) and not different and not failed
    return out


def images_check(daemon, images):
    for image in images:
        data = image.read_bytes()
        hash = hashlib.sha256(data).hexdigest()
        assert kap(daemon, 'blob', 'get', hash) == data, image
        first, last = len(data) // 3, len(data) // 2
        assert kap(daemon, 'blob', 'get', hash, '--range', f'{first}-{last}') == data[first:last + 1], image
