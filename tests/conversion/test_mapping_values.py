"""Mapping files that do more than rename: factors as in Caffe's BatchNorm, flattened axes, ONNX models."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch

from converters import BadInput, Refused, UsageError, convert
from converters.conversion.by_user_mapping import mapped_plan, match
from converters.formats.open import open_checkpoint
from converters.mapping.user_mapping import MappingError, parse_mapping
from converters.tensor import Held, Tensor
from tests.helpers import caffe_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def parse(text: str):
    return parse_mapping(text.encode(), "map.toml")


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


# Factors

FACTORS = """
[from]
format = "caffe"
[index.unit]
u = ["a", "b"]
[tensors]
"bn_{u}/0" = { to = "{u}.running_mean", over = "bn_{u}/2" }
"bn_{u}/1" = { to = "{u}.running_var", over = "bn_{u}/2" }
"""


def caffe_norms(path: Path, factors: dict[str, float]) -> dict[str, np.ndarray]:
    """A Caffe model of BatchNorm layers; returns the plain means and variances as Caffe reads them."""
    draw = np.random.default_rng(3)
    layers, plain = [], {}
    for unit, factor in factors.items():
        mean, variance = draw.standard_normal(7).astype("f4"), draw.random(7).astype("f4")
        held = [mean * np.float32(factor), variance * np.float32(factor)] if factor else [mean, variance]
        blobs = [*held, np.array([factor], "f4")]
        layers.append(caffe_files.new_layer(f"bn_{unit}", "BatchNorm", *map(caffe_files.blob, blobs)))
        plain[f"{unit}.running_mean"] = mean if factor else mean * 0
        plain[f"{unit}.running_var"] = variance if factor else variance * 0
    path.write_bytes(b"".join(layers))
    return plain


@pytest.mark.parametrize("factors", [(999.982, 1.0), (0.0, 0.25), (1e-3, 1e6)])
def test_caffes_factor_is_divided_by_and_comes_back(factors, tmp_path):
    """Caffe reads mean and variance over the factor, and 0 for a factor of 0."""
    plain = caffe_norms(tmp_path / "a.caffemodel", dict(zip("ab", factors, strict=True)))
    (tmp_path / "map.toml").write_text(FACTORS)
    call = {"mapping": tmp_path / "map.toml", "check": True}
    convert(tmp_path / "a.caffemodel", tmp_path / "b.pth", **call)
    state = torch.load(tmp_path / "b.pth", weights_only=True)
    for name, wanted in plain.items():
        np.testing.assert_allclose(state[name].numpy(), wanted, rtol=2e-7, atol=0)
    convert(tmp_path / "b.pth", tmp_path / "back.caffemodel", reverse=True, **call)
    assert contents(tmp_path / "back.caffemodel") == contents(tmp_path / "a.caffemodel")


def test_without_a_record_the_factor_is_one(tmp_path):
    """Also where a cast lies in between: Caffe then reads what the file has."""
    caffe_norms(tmp_path / "a.caffemodel", {"a": 999.982, "b": 0.0})
    (tmp_path / "map.toml").write_text(FACTORS)
    call = {"mapping": tmp_path / "map.toml", "check": True}
    convert(tmp_path / "a.caffemodel", tmp_path / "half.pth", dtype="float16", **call)
    torch.save(torch.load(tmp_path / "half.pth", weights_only=True), tmp_path / "bare.pth")
    for name in ("half", "bare"):
        back = tmp_path / f"{name}.caffemodel"
        convert(tmp_path / f"{name}.pth", back, reverse=True, dtype="float32", **call)
        found = contents(back)
        assert found["bn_a/2"] == found["bn_b/2"] == ("float32", (1,), np.float32([1]).tobytes())
        state = torch.load(tmp_path / f"{name}.pth", weights_only=True)
        assert found["bn_a/0"][2] == state["a.running_mean"].float().numpy().tobytes()


def test_a_factor_on_the_right(tmp_path):
    """The same table with its sides exchanged."""
    caffe_norms(tmp_path / "a.caffemodel", {"a": 3.0})
    (tmp_path / "map.toml").write_text(
        '[to]\nformat = "caffe"\n[tensors]\n"m" = { to = "bn_a/0", times = "bn_a/2" }\n'
        '"v" = { to = "bn_a/1", times = "bn_a/2" }'
    )
    call = {"mapping": tmp_path / "map.toml"}
    convert(tmp_path / "a.caffemodel", tmp_path / "b.pth", reverse=True, **call)
    assert list(contents(tmp_path / "b.pth")) == ["m", "v"]
    convert(tmp_path / "b.pth", tmp_path / "c.caffemodel", **call)
    assert contents(tmp_path / "c.caffemodel") == contents(tmp_path / "a.caffemodel")


def test_a_record_that_does_not_go_with_its_tensors(tmp_path):
    caffe_norms(tmp_path / "a.caffemodel", {"a": 3.7, "b": 3.7})
    (tmp_path / "map.toml").write_text(FACTORS)
    call = {"mapping": tmp_path / "map.toml"}
    convert(tmp_path / "a.caffemodel", tmp_path / "b.safetensors", **call)
    raw = (tmp_path / "b.safetensors").read_bytes()
    assert b'bn_a/2\\":[\\"float32' in raw
    (tmp_path / "b.safetensors").write_bytes(raw.replace(b'bn_a/2\\":[\\"float32', b'bn_a/2\\":[\\"float99'))
    with pytest.raises(BadInput, match="record does not fit its tensors"):
        convert(tmp_path / "b.safetensors", tmp_path / "c.caffemodel", reverse=True, **call)


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"m": ("float32", (3,))}, "missing: f"),
        ({"m": ("float32", (3,)), "f": ("float32", (3,))}, "shape: f (3, wanted one number)"),
        (
            {"m": ("float32", (3,)), "f": ("int64", ())},
            "dtype: f (int64, but must be of a floating-point type)",
        ),
        (
            {"m": ("int32", (3,)), "f": ("float32", ())},
            "dtype: m (int32, but must be of a floating-point type)",
        ),
        ({"m": ("float32", (3,)), "f": ("float32", (1, 1)), "g": ("float32", (1,))}, "unused: g"),
    ],
)
def test_factors_that_do_not_fit(tensors, fault):
    file = {
        name: Tensor(name, dtype, shape, Held(bytes(8 * prod(shape))))
        for name, (dtype, shape) in tensors.items()
    }
    found = match(parse('[tensors]\n"m" = { to = "x", over = "f" }'), file)
    assert [str(one) for one in found.faults] == [fault]


# Flattened axes


def changed(values: np.ndarray, row: str) -> Iterator[np.ndarray]:
    """A tensor by a row's axes, and back again."""
    mapping = parse(f'[tensors]\n"a" = {{ to = "b", {row} }}')
    for name, table in (("a", mapping), ("b", mapping.reversed())):
        tensors = {name: Tensor(name, "float32", values.shape, Held(values.tobytes()))}
        row_ = mapped_plan(match(table, tensors), tensors).rows[0]
        values = np.frombuffer(row_.tensor(tensors).tobytes(), "f4").reshape(row_.shape)
        yield values


@pytest.mark.parametrize(
    ("shape", "row", "wanted"),
    [
        (
            (5, 24),
            'axes = "O (C H W) -> O (H W C)", sizes = { C = 4, H = 3 }',
            lambda x: x.reshape(5, 4, 3, 2).transpose(0, 2, 3, 1).reshape(5, 24),
        ),
        (
            (24, 5),
            'axes = "(W H C) O -> O (C H W)", sizes = { C = 4, H = 3, W = 2 }',
            lambda x: x.reshape(2, 3, 4, 5).transpose(3, 2, 1, 0).reshape(5, 24),
        ),
        (
            (5, 120),
            'axes = "O (C T H W) -> O (T H W C)", sizes = { C = 5, T = 4, H = 3 }',
            lambda x: x.reshape(5, 5, 24).transpose(0, 2, 1).reshape(5, 120),
        ),
        (
            (5, 4, 3, 2),
            'axes = "O C H W -> 1 O (H W C)", sizes = { H = 3, W = 2 }',
            lambda x: x.transpose(0, 2, 3, 1).reshape(1, 5, 24),
        ),
        ((5, 4, 3, 3), 'axes = "O I H W -> O I W H"', lambda x: x.transpose(0, 1, 3, 2)),
        ((24,), 'axes = "(C S) -> (S C)", sizes = { C = 4 }', lambda x: x.reshape(4, 6).T.ravel()),
    ],
)
def test_flattened_axes_both_ways(shape, row, wanted):
    values = np.arange(prod(shape), dtype="f4").reshape(shape)
    there, back = changed(values, row)
    np.testing.assert_array_equal(there, wanted(values))
    np.testing.assert_array_equal(back, values)


def test_a_size_that_does_not_divide_the_axis():
    mapping = parse('[tensors]\n"a" = { to = "b", axes = "O (C S) -> O (S C)", sizes = { C = 4 } }')
    (fault,) = match(mapping, {"a": Tensor("a", "float32", (2, 9), Held(bytes(72)))}).faults
    assert str(fault) == "shape: a (2x9, wanted axes of O, 4 x S)"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('axes = "O (C H W) -> O (H W C)"', "sizes must say all but one"),
        ('axes = "O (C H W) -> O (H W C)", sizes = { C = 4 }', "sizes must say all but one"),
        ('axes = "O C H -> O (C H)"', "sizes must say all but one"),
        ('axes = "O (C H) -> O (H C)", sizes = { X = 4 }', "sizes must be a table"),
        ('axes = "O (C H) -> O (H C)", sizes = { C = 0 }', "sizes must be a table"),
        ('axes = "O (C H) -> O (H C)", sizes = { C = true }', "sizes must be a table"),
        ('axes = "O (C H) -> O (H C)", sizes = 4', "sizes must be a table"),
        ('axes = "O (C H -> O (H C)", sizes = { C = 4 }', "axes must be such as"),
        ('axes = "O ((C H)) -> O (H C)", sizes = { C = 4 }', "axes must be such as"),
        ('axes = "O () C -> O C"', "axes must be such as"),
        ('axes = "O C) -> O C"', "axes must be such as"),
        ('axes = "O (C 1) -> O C"', "axes must be such as"),
        ('axes = "' + " ".join("abcdefghijklmnopq") + ' -> a"', "axes must be such as"),
        ("sizes = { C = 4 }", "sizes but no axes"),
        ('over = "c{n}"', "factor of another index"),
        ("over = 5", "is not a name"),
        ('over = "a"', "which others are multiplied by"),
        ('times = "b"', "which others are multiplied by"),
    ],
)
def test_rows_that_do_not_follow_the_grammar(row, said):
    with pytest.raises(MappingError, match=said):
        parse(f'[index.i]\nn = "0-1"\n[tensors]\n"u{{n}}" = "v{{n}}"\n"a" = {{ to = "b", {row} }}')


# ONNX models


def test_an_onnx_model_is_read_and_its_names_are_written_elsewhere(tmp_path):
    values = np.arange(6, dtype="f4").reshape(2, 3)
    node = onnx.helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 2])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.onnx")
    (tmp_path / "map.toml").write_text('[from]\nformat = "onnx"\n[tensors]\n"w" = "fc.weight"')
    call = {"mapping": tmp_path / "map.toml"}
    convert(tmp_path / "a.onnx", tmp_path / "b.pth", **call)
    with pytest.raises(UsageError, match="a mapping file has no network"):
        convert(tmp_path / "b.pth", tmp_path / "c.onnx", reverse=True, **call)
    convert(tmp_path / "b.pth", tmp_path / "c.safetensors", reverse=True, **call)
    assert contents(tmp_path / "c.safetensors") == contents(tmp_path / "a.onnx")
    with pytest.raises(Refused, match="does not fit"):
        convert(tmp_path / "a.onnx", tmp_path / "d.pth", reverse=True, **call)
