"""The import of the real corpus, where it is: KAP_CORPUS, or shared/data beside the checkout. Else it is skipped."""

import os
import pathlib

import pytest

import corpus
import kapwire

PATH = pathlib.Path(os.environ.get('KAP_CORPUS', kapwire.ROOT.parent / 'shared/data/free-exercise-db'))


@pytest.mark.skipif(not PATH.is_dir(), reason=f'{PATH} is not there')
def test_the_corpus(base):
    exercises, images, named = corpus.images_of(PATH)
    with corpus.store(base) as daemon:
        assert corpus.imported(daemon, PATH) == (exercises, 0, 0, len(images), 0, named - len(images))
        before = corpus.round_trip(daemon, base)
        assert corpus.imported(daemon, PATH) == (0, 0, exercises, 0, len(images), named - len(images))
        again = corpus.round_trip(daemon, base)
        assert (before / 'rows').read_bytes() == (again / 'rows').read_bytes(), 'a second import changed something'
        corpus.images_check(daemon, images)
