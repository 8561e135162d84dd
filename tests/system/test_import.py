"""The import of an exercise corpus, with a small one of our own."""

import json
import pathlib
import tempfile

import pytest

import corpus


def exercise(name, images, **fields):
    return {'id': name.replace(' ', '_'), 'name': name, 'force': 'pull', 'level': 'beginner', 'mechanic': None,
            'equipment': 'kettlebell', 'primaryMuscles': ['dos'], 'secondaryMuscles': ['bras', 'épaules'],
            'instructions': ['Se placer.', 'Tirer.'], 'category': 'strength',
            'images': [f'{name.replace(" ", "_")}/{number}.jpg' for number in range(images)], **fields}


@pytest.fixture
def made(base):
    path = pathlib.Path(tempfile.mkdtemp(dir=base))
    exercises = [exercise('Tirage un', 2), exercise('Tirage deux', 2), exercise('Sans image', 0, instructions=[])]
    (path / 'exercises.json').write_text(json.dumps(exercises), encoding='utf-8')
    for name, data in (('Tirage_un/0.jpg', b'\xff\xd8' + b'un' * 70000), ('Tirage_un/1.jpg', b'\xff\xd8deux'),
                       ('Tirage_deux/0.jpg', b'\xff\xd8' + bytes(range(256)) * 11)):
        (path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (path / 'images' / name).write_bytes(data)
    return path


def test_import_again_later_and_round_trip(base, made):
    with corpus.store(base) as daemon:
        assert corpus.imported(daemon, made) == (3, 0, 0, 3, 0, 1)
        before = corpus.round_trip(daemon, base)
        assert corpus.imported(daemon, made) == (0, 0, 3, 0, 3, 1)
        again = corpus.round_trip(daemon, base)
        assert (before / 'rows').read_bytes() == (again / 'rows').read_bytes(), 'a second import changed something'
        (made / 'images/Tirage_deux/1.jpg').write_bytes(b'\xff\xd8 later')  # absent so far: a later import attaches it
        assert corpus.imported(daemon, made) == (0, 1, 2, 1, 3, 0)
        corpus.images_check(daemon, corpus.images_of(made)[1])
        (made / 'images/Tirage_un/1.jpg').unlink()  # what was attached stays
        assert corpus.imported(daemon, made)[:3] == (0, 0, 3)
        corpus.round_trip(daemon, base)


def test_what_is_no_corpus(base, made):
    (made / 'exercises.json').write_text('{"not": "a list"', encoding='utf-8')
    with corpus.store(base) as daemon:
        for path in (made, made / 'nowhere'):
            with pytest.raises(AssertionError, match='exercises.json|nowhere'):
                corpus.imported(daemon, path)
