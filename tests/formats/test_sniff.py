"""The kind of a file by its first bytes, where two kinds begin alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from converters.formats.open import open_checkpoint
from converters.formats.sniff import HEAD, sniff

if TYPE_CHECKING:
    from pathlib import Path


def safetensors(length: int) -> bytes:
    """A file of one float32 zero whose header takes ``length`` bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return length.to_bytes(8, "little") + header.ljust(length) + bytes(4)


@pytest.mark.parametrize("length", [128 + 256 * protocol for protocol in range(6)])
def test_a_safetensors_header_whose_length_begins_like_a_pickle_is_read(length: int, tmp_path: Path) -> None:
    data = safetensors(length)
    assert data[0] == 0x80
    assert data[1] <= 5
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with open_checkpoint(str(path)) as checkpoint:
        assert checkpoint.container == "safetensors"
        assert list(checkpoint.tensors) == ["w"]


def test_a_length_beyond_the_longest_safetensors_header_does_not_make_a_pickle_one() -> None:
    head = b"\x80\x02" + bytes(5) + b"\x01{" + bytes(HEAD)
    assert sniff(head) == "pickle"


@pytest.mark.parametrize(
    "field",
    [
        b"\x12\x01a",
        b"\x1a\x01a",
        b"\x22\x01a",
        b"\x28\x01",
        b"\x32\x01a",
        b"\x3a\x01a",
        b"\x42\x01a",
        b"\x72\x01a",
        b"\xa2\x01\x01a",
        b"\xca\x01\x01a",
    ],
)
def test_any_field_may_follow_the_version_of_an_onnx_model(field):
    assert sniff(b"\x08\x0e" + field) == "protobuf"
