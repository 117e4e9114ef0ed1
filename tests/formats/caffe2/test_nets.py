"""Caffe2's nets as their writers leave them: names may be missing, empty or long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from converters.errors import BadInput
from converters.formats.open import open_checkpoint
from tests.helpers.caffe_files import message, number

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = message(5, message(1, b"shape"), number(6, 2))
VALUES = message(5, message(1, b"values"), b"\x2d" + bytes(4) + b"\x2d" + bytes(4))
FILL = message(2, message(2, b"conv1_w"), message(4, b"GivenTensorFill"), SHAPE, VALUES)
NAMED_FILL = message(
    2, message(2, b"conv1_w"), message(3, b""), message(4, b"GivenTensorFill"), SHAPE, VALUES
)


@pytest.mark.parametrize(
    "start",
    [b"", message(1, b""), message(1, b"init"), message(1, b"n" * 200), message(1, b"n" * 900)],
    ids=["no name", "empty", "short", "long", "very long"],
)
@pytest.mark.parametrize("fill", [FILL, NAMED_FILL], ids=["", "named"])
@pytest.mark.parametrize(
    "rest", [b"", message(3, b"simple") + number(4, 4) + message(8, b"conv1_w")], ids=["", "rest"]
)
def test_a_net_by_any_name(start: bytes, fill: bytes, rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "init_net.pb"
    path.write_bytes(start + fill + rest)
    with open_checkpoint(str(path)) as checkpoint:
        assert checkpoint.container == "Caffe2 init net"
        assert checkpoint.tensors["conv1_w"].shape == (2,)


def test_blobs_without_elements(tmp_path: Path) -> None:
    path = tmp_path / "init_net.pb"
    empty = message(5, message(1, b"shape"), number(6, 0), number(6, 3))
    fills = (b"GivenTensorFill", b"ConstantFill")
    ops = [message(2, message(2, kind), message(4, kind), empty) for kind in fills]
    path.write_bytes(FILL + b"".join(ops))
    with open_checkpoint(str(path)) as checkpoint:
        for kind in fills:
            tensor = checkpoint.tensors[kind.decode()]
            assert (tensor.shape, tensor.tobytes()) == ((0, 3), b"")


def test_a_predict_net_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "predict_net.pb"
    relu = message(2, message(1, b"data"), message(2, b"y"), message(4, b"Relu"))
    for start in (b"", message(1, b""), message(1, b"") + message(3, b"dag")):
        path.write_bytes(start + relu)
        with pytest.raises(BadInput, match="describes a network only"):
            open_checkpoint(str(path))


@pytest.mark.parametrize(
    "start", [b"", message(1, b""), message(1, b"n" * 200)], ids=["no name", "empty", "long"]
)
def test_caffe_models_stay_caffe_models(start: bytes, tmp_path: Path) -> None:
    blob = message(7, message(7, number(1, 2)), message(5, bytes(8)))
    path = tmp_path / "net.caffemodel"
    path.write_bytes(start + message(100, message(1, b"conv1"), message(2, b"Convolution"), blob))
    with open_checkpoint(str(path)) as checkpoint:
        assert checkpoint.format == "caffe"
        assert checkpoint.tensors["conv1/0"].shape == (2,)
