"""An input that is written to while it is read is noticed, in every format and in every file of a set."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from converters.errors import BadInput, ConverterError
from converters.formats.open import open_checkpoint
from tests.helpers.paths import FIXTURES, REPOSITORY

sys.path.append(str(REPOSITORY / "scripts"))
from fuzzing.seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    from fuzzing.seeds import Seed

    from converters.files import SourceFile


def changed(file: SourceFile) -> bool:
    try:
        file.refuse_changed()
    except BadInput as error:
        return "changed while it was read" in str(error)
    return False


def notices(seed: Seed, folder: Path) -> bool | None:
    """Whether a change of each of the files is noticed; None for a file that is not a checkpoint."""
    for name, content in seed.files.items():
        (folder / name).write_bytes(content)
    try:
        checkpoint = open_checkpoint(str(folder / next(iter(seed.files))))
    except ConverterError:
        return None
    with checkpoint:
        if any(map(changed, checkpoint.files)):
            return False
        for number, name in enumerate(seed.files, 1):
            os.utime(folder / name, (1, 1))
            if sum(map(changed, checkpoint.files)) != number:
                return False
    return True


def test_every_file_of_every_format_is_watched(tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="the extra [hdf5] is not installed")
    kinds = set()
    for number, seed in enumerate(seeds(FIXTURES)):
        folder = tmp_path / str(number)
        folder.mkdir()
        noticed = notices(seed, folder)
        assert noticed is not False, [*seed.files]
        kinds |= {seed.kind} if noticed else set()
    assert kinds >= {"pytorch", "caffe2", "caffe", "chainer", "mxnet", "paddle", "jax"}
    assert kinds >= {"tensorflow", "onnx", "arrays"}
