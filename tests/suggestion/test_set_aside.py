"""What a file keeps beside its weights, averages or another state dict, may be what the other file is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert
from converters.suggestion.suggest import suggest
from tests.suggestion.random_networks import write_tensorflow

if TYPE_CHECKING:
    from pathlib import Path

DRAW = np.random.default_rng(3)
SHAPES = {"a/w": (3, 3, 2, 8), "a/b": (8,), "b/w": (3, 3, 8, 6), "b/b": (6,), "c/w": (6, 5), "c/b": (5,)}

Arrays = dict[str, np.ndarray]


def weights() -> Arrays:
    return {name: DRAW.standard_normal(shape).astype("f4") for name, shape in SHAPES.items()}


def near(arrays: Arrays) -> Arrays:
    noise = weights()
    return {name: array + np.float32(0.01) * noise[name] for name, array in arrays.items()}


def ported(arrays: Arrays) -> dict[str, torch.Tensor]:
    """With PyTorch's names and axes."""
    first = {
        name: array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T for name, array in arrays.items()
    }
    return {
        f"net.{name.replace('/w', '.weight').replace('/b', '.bias')}": torch.from_numpy(array.copy())
        for name, array in first.items()
    }


def averages(folder: Path, raw: Arrays, other: Arrays, name: str = "ExponentialMovingAverage") -> Path:
    path = folder / "a.ckpt"
    write_tensorflow(path, raw | {f"{key}/{name}": array for key, array in other.items()})
    return path


def entries(folder: Path, raw: Arrays, other: Arrays) -> Path:
    path = folder / "a.pth"
    torch.save({"state_dict": ported(raw), "ema_state_dict": ported(other)}, path)
    return path


@pytest.mark.parametrize(
    ("write", "entry"), [(averages, "ExponentialMovingAverage"), (entries, "ema_state_dict")]
)
@pytest.mark.parametrize("half", [False, True])
def test_the_other_file_has_the_averages(write, entry, half, tmp_path):
    raw = weights()
    other = near(raw)
    wanted = {name.replace("net", "model"): array for name, array in ported(other).items()}
    if half:
        wanted = {name: array.half() for name, array in wanted.items()}
    torch.save(wanted, tmp_path / "b.pth")
    a = write(tmp_path, raw, other)
    found = suggest(a, tmp_path / "b.pth", tmp_path / "map.toml")
    assert len(found.rows) == found.unsure == len(raw)
    assert all("values are those of" in row["doubt"] for row in found.rows)
    assert found.notes[-1].endswith(f"{entry!r} in the left one: convert that entry")
    convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml", accept_unsure=True, entry=entry)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    assert all(torch.equal(state[name].to(array.dtype), array) for name, array in wanted.items())


@pytest.mark.parametrize("write", [averages, entries])
def test_the_first_file_is_made_of_averages(write, tmp_path):
    raw = weights()
    other = near(raw)
    torch.save(ported(other), tmp_path / "b.pth")
    found = suggest(tmp_path / "b.pth", write(tmp_path, raw, other), tmp_path / "map.toml")
    assert len(found.rows) == found.unsure == len(raw)
    assert "the left file has the values of" in found.notes[-1]


def test_one_layer_is_an_average(tmp_path):
    raw = weights()
    other = near(raw)
    torch.save(ported(raw | {"b/w": other["b/w"]}), tmp_path / "b.pth")
    found = suggest(averages(tmp_path, raw, other), tmp_path / "b.pth", tmp_path / "map.toml")
    assert [row["from"] for row in found.rows if row["doubt"]] == ["b/w"]


def test_a_slot_has_no_entry(tmp_path):
    raw = weights()
    other = near(raw)
    torch.save(ported(other), tmp_path / "b.pth")
    found = suggest(averages(tmp_path, raw, other, "Momentum"), tmp_path / "b.pth", tmp_path / "map.toml")
    assert found.unsure == len(raw)
    assert not any("--entry" in note for note in found.notes)


@pytest.mark.parametrize("write", [averages, entries])
def test_the_weights_themselves_are_sure(write, tmp_path):
    raw = weights()
    torch.save(ported(raw), tmp_path / "b.pth")
    found = suggest(write(tmp_path, raw, near(raw)), tmp_path / "b.pth", tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
