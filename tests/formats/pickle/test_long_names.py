"""A name that is too long is refused as that, in every pickle whose entries need names."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters.errors import BadInput
from converters.formats.open import open_checkpoint
from tests.helpers.paddle_files import NAME_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE = np.ones(2, "f4")
FILES: dict[str, Callable[[str], Any]] = {
    "caffe2.pkl": lambda name: {"blobs": {name: ONE}},
    "paddle.pdparams": lambda name: {name: ONE, NAME_TABLE: {name: "w_0"}},
    "jax.pkl": lambda name: ({"params": {name: ONE}}, None),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("file", FILES)
def test_a_long_name(file: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / file
    for name in ("a" * 255, "é" * 127):
        path.write_bytes(pickle.dumps(FILES[file](name), protocol))
        with open_checkpoint(str(path)) as found:
            assert next(iter(found.tensors)).endswith(name)
    for name, size in (("a" * 256, "256"), ("é" * 128, "256"), ("a" * 5000, "5,000")):
        path.write_bytes(pickle.dumps(FILES[file](name), protocol))
        with pytest.raises(BadInput, match=f"has a name of {size} bytes, and at most 255 can be read"):
            open_checkpoint(str(path))
