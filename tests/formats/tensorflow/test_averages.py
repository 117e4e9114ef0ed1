"""Averages in TensorFlow checkpoints, taken in place of the variables by ``--entry``."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from converters.errors import UsageError
from converters.formats.open import open_checkpoint
from tests.helpers.tensorflow_files import entry, write_v2

if TYPE_CHECKING:
    from pathlib import Path

AVERAGE = "ExponentialMovingAverage"


def checkpoint(folder: Path, *names: str) -> str:
    """A checkpoint of variables of one number each: 0, 1, 2 and so on."""
    data = [struct.pack("<f", number) for number in range(len(names))]
    rows = {
        name.encode(): entry((1,), 4 * place, one)
        for place, (name, one) in enumerate(zip(names, data, strict=True))
    }
    return write_v2(folder, rows, b"".join(data))


def values(path: str, name: str | None) -> dict[str, float]:
    with open_checkpoint(path, entry=name) as found:
        assert found.details.get("wrapper") == name
        return {key: struct.unpack("<f", tensor.tobytes())[0] for key, tensor in found.tensors.items()}


@pytest.mark.parametrize("name", [AVERAGE, "shadow_average", "ema", "ema_1"])
def test_averages_take_the_place_of_their_variables(tmp_path: Path, name: str) -> None:
    path = checkpoint(tmp_path, "a/w", "b", f"b/{name}", f"train/a/w/{name}", "a/w/Adam", f"alone/{name}")
    assert values(path, None)["a/w"] == 0
    assert values(path, name) == {"a/w": 3, "b": 2, "a/w/Adam": 4, "alone": 5}


def test_averages_of_an_object_graph(tmp_path: Path) -> None:
    """An optimizer of TensorFlow 2's model garden has them as slots."""
    end, slot = "/.ATTRIBUTES/VARIABLE_VALUE", "/.OPTIMIZER_SLOT/optimizer"
    names = [
        f"{name}{end}"
        for name in ("m/w", "m/mean", f"m/w{slot}/average", f"m/w{slot}/momentum", f"m/mean/{AVERAGE}")
    ]
    path = checkpoint(tmp_path, *names)
    assert values(path, "average") == dict(zip((names[0], names[1], *names[3:]), (2, 1, 3, 4), strict=True))
    assert values(path, AVERAGE) == dict(zip(names[:4], (0, 4, 2, 3), strict=True))


@pytest.mark.parametrize(
    ("names", "asked", "hint"),
    [
        (("a", "a/Adam"), AVERAGE, "leave --entry out"),
        (("a", "a/Adam"), "Adam", "leave --entry out"),
        (("a", f"a/{AVERAGE}"), "average", f"--entry may be {AVERAGE}"),
        (("a", f"a/{AVERAGE}", "b/ema"), "a", f"--entry may be {AVERAGE} or ema"),
    ],
)
def test_what_is_no_average_is_not_taken(
    tmp_path: Path, names: tuple[str, ...], asked: str, hint: str
) -> None:
    with pytest.raises(UsageError, match="has no averages called") as caught:
        open_checkpoint(checkpoint(tmp_path, *names), entry=asked)
    assert caught.value.told.hint == hint
