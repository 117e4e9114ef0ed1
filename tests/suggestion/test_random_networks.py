"""Proposals for random networks: what is sure is right, and the conversion gives what was planted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert
from converters.formats.open import open_checkpoint
from converters.mapping.user_mapping import load_mapping
from converters.suggestion.suggest import suggest
from tests.suggestion import random_networks

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = {
    "caffe": ("a.caffemodel", random_networks.write_caffe),
    "tensorflow": ("a.ckpt", random_networks.write_tensorflow),
}


def contents(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(str(path)) as found:
        floats = [one for one in found.tensors.values() if one.dtype == "float32"]
        return {one.name: np.frombuffer(one.tobytes(), "f4").reshape(one.shape) for one in floats}


def files(folder: Path, made: random_networks.Planted, left: str) -> tuple[Path, Path]:
    name, write = WRITERS[left]
    write(folder / name, made.left)
    torch.save({name: torch.from_numpy(array) for name, array in made.right.items()}, folder / "b.pth")
    return folder / name, folder / "b.pth"


@pytest.mark.parametrize("seed", range(20))
def test_planted_networks(seed, tmp_path):
    left = ("caffe", "tensorflow")[seed % 2]
    made = random_networks.network(seed, left=left, axes=2 + seed // 2 % 2)
    a, b = files(tmp_path, made, left)
    found = suggest(a, b, tmp_path / "map.toml")
    sure = {row["from"]: row["to"] for row in found.rows if not row["doubt"]}
    assert sure.items() <= made.names.items()
    assert len(sure) > 0.9 * len(made.names), [row for row in found.rows if row["doubt"]]
    mapping = load_mapping(str(tmp_path / "map.toml"))
    convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml", accept_unsure=True, check=True)
    out = contents(tmp_path / "out.pth")
    for pair in mapping.pairs:
        np.testing.assert_allclose(
            out[pair.right], made.right[pair.right], rtol=4e-7, atol=0, err_msg=pair.right
        )
    if not found.unsure and not any(found.left_over):
        back = tmp_path / f"back{a.suffix}"
        convert(tmp_path / "out.pth", back, mapping=tmp_path / "map.toml", reverse=True)
        again, first = contents(back), contents(a)
        assert again.keys() == first.keys()
        for name, array in first.items():
            assert again[name].tobytes() == array.tobytes(), name


def test_a_norm_trained_otherwise_lends_no_vector_to_a_convolution(tmp_path):
    """Every vector has four numbers, no value agrees, and some convolutions have biases of their own."""
    values = np.random.default_rng(0)
    norm = {
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
        "gamma": "weight",
        "beta": "bias",
    }
    left, right, names = {}, {}, {}
    for number, kernel in enumerate([(1, 1), (1, 3), (3, 1), (1, 3), (3, 1)]):
        pairs = {f"net/c{number}/kernel": f"body.{number}.0.weight"}
        pairs |= {f"net/c{number}/bias": f"body.{number}.0.bias"} if number % 2 else {}
        pairs |= {f"net/b{number}/{one}": f"body.{number}.1.{other}" for one, other in norm.items()}
        for one, other in pairs.items():
            shapes = ((*kernel, 4, 4), (4, 4, *kernel)) if one.endswith("kernel") else ((4,), (4,))
            left[one], right[other] = (values.random(shape, "f4") for shape in shapes)
        names |= pairs
    a, b = files(tmp_path, random_networks.Planted(left, right, names), "tensorflow")
    sure = {row["from"]: row["to"] for row in suggest(a, b, tmp_path / "map.toml").rows if not row["doubt"]}
    assert sure
    assert sure.items() <= names.items()


@pytest.mark.parametrize("seed", range(4))
def test_a_scale_layer_trained_otherwise_lends_no_shift_to_a_convolution(seed, tmp_path):
    """Caffe's blobs have numbers for names: which layer they are of is all that tells shifts from biases."""
    values = np.random.default_rng(seed)
    left, right, names = {}, {}, {}
    for number in range(2):
        module = f"body.{number}"
        pairs = {f"conv{number}/0": f"{module}.0.weight", f"conv{number}/1": f"{module}.0.bias"}
        pairs |= {f"norm{number}/0": f"{module}.1.running_mean", f"norm{number}/1": f"{module}.1.running_var"}
        pairs |= {f"scale{number}/0": f"{module}.1.weight", f"scale{number}/1": f"{module}.1.bias"}
        for one, other in pairs.items():
            shape = (4, 4, 3, 3) if other.endswith("0.weight") else (4,)
            for side, name in ((left, one), (right, other)):
                drawn = values.standard_normal(shape).astype("f4")
                side[name] = abs(drawn) if name.endswith(("running_var", f"norm{number}/1")) else drawn
        left[f"norm{number}/2"] = np.ones(1, "f4")
        names |= pairs
    a, b = files(tmp_path, random_networks.Planted(left, right, names), "caffe")
    sure = {row["from"]: row["to"] for row in suggest(a, b, tmp_path / "map.toml").rows if not row["doubt"]}
    assert sure
    assert sure.items() <= names.items()
