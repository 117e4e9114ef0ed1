"""Operations on lazy tensors against numpy and torch, and back."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from converters.conversion.arrays import PART, chunks_of
from converters.conversion.operations.storage import Permute, Reshape, Reverse, Roll
from converters.conversion.operations.values import (
    AddUlps,
    Cast,
    Divide,
    Multiply,
    Scale,
    ShiftVariance,
    ToInverseStd,
    ToVariance,
)
from converters.conversion.rounding import is_exact, pack, rounding_of, ulps_between, unpack
from converters.errors import Refused
from converters.files import CHUNK
from converters.tensor import ITEMSIZE, Held, Tensor, filled, zeros


def tensor_of(array: np.ndarray) -> Tensor:
    array = np.ascontiguousarray(array)
    data = memoryview(array.reshape(-1).view("u1"))
    return Tensor("x", str(array.dtype), array.shape, Held(data))


def array_of(tensor: Tensor) -> np.ndarray:
    return np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape)


@pytest.mark.parametrize("by", [0, 1, 3, -2])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_rolled_columns_are_those_of_numpy(by, dtype):
    array = np.random.default_rng(2).standard_normal((3, 5)).astype(dtype)
    roll = Roll(by=by)
    rolled = roll.apply(tensor_of(array))
    assert np.array_equal(array_of(rolled), np.roll(array, by, 1))
    assert np.array_equal(array_of(roll.inverse().apply(rolled)), array)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_root_is_taken_in_double_precision_and_its_rounding_is_mended(down, dtype):
    array = np.random.default_rng(3).standard_normal((7, 9)).astype(dtype)
    scale = Scale(rows=512, down=down)
    scaled = scale.apply(tensor_of(array))
    factor = 512 ** (-0.5 if down else 0.5)
    assert np.array_equal(array_of(scaled), (array.astype("float64") * factor).astype(dtype))
    back = scale.inverse().apply(scaled)
    assert np.allclose(array_of(back), array, rtol=1e-6)
    steps = ulps_between(tensor_of(array), back)
    assert np.array_equal(array_of(AddUlps(steps=steps).apply(back)), array)


@pytest.mark.parametrize("axes", [(4, 3, 0, 1, 2), (2, 3, 4, 1, 0), (0, 1, 2, 3, 4), (1, 0, 2, 4, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_permute_is_numpys_transpose_and_comes_back(axes, dtype):
    array = np.random.RandomState(0).standard_normal((3, 5, 7, 11, 13)).astype(dtype)
    permute = Permute(axes=axes)
    moved = permute.apply(tensor_of(array))
    assert moved.shape == array.transpose(axes).shape
    assert np.array_equal(array_of(moved), array.transpose(axes))
    assert np.array_equal(array_of(permute.inverse().apply(moved)), array)


def test_permute_in_pieces():
    array = np.random.RandomState(1).standard_normal((64, 7, 7, 7, 64)).astype("float32")
    moved = Permute(axes=(4, 3, 0, 1, 2)).apply(tensor_of(array))
    pieces = [len(chunk) for chunk in moved.data.chunks()]
    assert max(pieces) == CHUNK
    assert sum(pieces) == array.nbytes
    assert np.array_equal(array_of(moved), array.transpose(4, 3, 0, 1, 2))


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("target", ["float32", "float16", "bfloat16", "float64"])
def test_cast_is_torchs(source, target):
    values = torch.cat(
        [
            torch.randn(70_000, generator=torch.Generator().manual_seed(1)) * 10.0,
            torch.tensor(
                [0.0, -0.0, float("inf"), -float("inf"), 1e-8, 65504.0, 65520.0, 1e38, 1.00390625, 1.01171875]
            ),
        ]
    ).to(getattr(torch, source))
    raw = values.view(torch.uint8).numpy()
    cast = Cast(dtype=target).apply(Tensor("x", source, tuple(values.shape), Held(memoryview(raw))))
    got = torch.frombuffer(bytearray(cast.tobytes()), dtype=getattr(torch, target))
    wanted = values.to(getattr(torch, target))
    assert torch.equal(got, wanted)
    assert torch.equal(torch.signbit(got), torch.signbit(wanted))
    if is_exact(source, target):
        assert torch.equal(got.to(getattr(torch, source)), values)


def test_cast_keeps_nan():
    nan = np.array([np.nan, 1.0], "float32")
    for dtype in ("float16", "bfloat16", "float64"):
        cast = Cast(dtype=dtype).apply(tensor_of(nan))
        got = torch.frombuffer(bytearray(cast.tobytes()), dtype=getattr(torch, dtype))
        assert torch.isnan(got).tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_shifted_variance_comes_back_exactly(dtype):
    random = np.random.RandomState(2)
    array = np.concatenate([random.random_sample(1000) ** 8, [0, 1e-30, 1e-3, 5e4]]).astype(dtype)
    shift = ShiftVariance(amount=0.00099)
    there = shift.apply(tensor_of(array))
    assert np.array_equal(array_of(there), (array.astype("float64") + 0.00099).astype(dtype))
    back = shift.inverse().apply(there)
    steps = ulps_between(tensor_of(array), back)
    assert any(steps)
    assert array_of(AddUlps(steps=steps).apply(back)).tobytes() == array.tobytes()


def test_no_variance_becomes_negative():
    with pytest.raises(Refused, match="negative"):
        ShiftVariance(amount=-0.00099).apply(tensor_of(np.array([1e-4], "float32"))).tobytes()


def test_reshape_and_fills():
    array = np.arange(6, dtype="float32")
    assert np.array_equal(array_of(Reshape(shape=(2, 3)).apply(tensor_of(array))), array.reshape(2, 3))
    assert zeros("z", "int64", ()).tobytes() == bytes(8)
    ones = filled("o", "float32", (300, 1000), 1.0)
    assert np.array_equal(array_of(ones), np.ones((300, 1000), "float32"))
    half = torch.frombuffer(bytearray(filled("o", "bfloat16", (3,), 1.0).tobytes()), dtype=torch.bfloat16)
    assert half.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("by", [999.98, 1.0, 3.0, 1e-30, -7.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quotient_is_rounded_once_and_comes_back(by, dtype):
    array = (np.random.RandomState(3).standard_normal(70_001) * 50).astype(dtype)
    divisor = tensor_of(np.array([by], dtype))
    there = Divide(by=divisor).apply(tensor_of(array))
    assert np.array_equal(array_of(there), array / np.array(by, dtype))
    back = Multiply(by=divisor).apply(there)
    steps = ulps_between(tensor_of(array), back)
    assert AddUlps(steps=unpack(pack(steps), len(steps))).apply(back).tobytes() == array.tobytes()


def test_a_quotient_by_zero_is_zero_and_comes_back():
    array = np.array([1.5, -2, 0, 3e38], "float32")
    divisor = tensor_of(np.zeros(1, "float32"))
    there = Divide(by=divisor).apply(tensor_of(array))
    assert not array_of(there).any()
    back = Multiply(by=divisor).apply(there)
    assert AddUlps(steps=ulps_between(tensor_of(array), back)).apply(back).tobytes() == array.tobytes()


def test_inverse_deviations_are_variances_and_come_back():
    eps = 1e-5
    variances = np.random.RandomState(4).uniform(0, 2, 70_001)
    variances[:3] = 0, 1e-12, 1e-5
    inverse = ((variances + eps) ** -0.5).astype("float32")
    there = ToVariance(eps=eps).apply(tensor_of(inverse))
    assert np.allclose(array_of(there), variances, rtol=1e-6, atol=1e-11)
    assert array_of(there).min() >= 0
    back = ToInverseStd(eps=eps).apply(there)
    assert AddUlps(steps=ulps_between(tensor_of(inverse), back)).apply(back).tobytes() == inverse.tobytes()
    for wrong in (0.0, -1.0, 400.0):
        with pytest.raises(Refused, match="inverse"):
            ToVariance(eps=eps).apply(tensor_of(np.array([1, wrong], "float32"))).tobytes()


@pytest.mark.parametrize("size", [0, 7, 9])
def test_steps_of_another_number_are_found(size):
    with pytest.raises(ValueError, match="bytes"):
        unpack(pack(bytes(8)), size)
    with pytest.raises(ValueError, match=r"."):
        unpack("no text of ours", 8)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64"])
def test_a_filled_tensor_has_the_value_that_a_cast_gives(dtype):
    for value in (0.0, 1.0, -1.0, 0.99901) if dtype != "int64" else (0.0, 1.0, -1.0):
        wanted = torch.full((2, 3), value, dtype=getattr(torch, dtype))
        assert filled("x", dtype, (2, 3), value).tobytes() == wanted.view(torch.uint8).numpy().tobytes()


REVERSIBLE = [
    Permute(axes=(1, 0)),
    Roll(by=2),
    Reverse(),
    ShiftVariance(amount=0.00099),
    Scale(rows=512, down=True),
    Divide(by=filled("by", "float32", (1,), 3.0)),
    Multiply(by=filled("by", "float32", (1,), 3.0)),
    ToVariance(eps=1e-5),
    ToInverseStd(eps=1e-5),
]


@pytest.mark.parametrize("operation", REVERSIBLE, ids=lambda operation: type(operation).__name__)
def test_an_inverse_and_the_steps_of_its_rounding_restore_every_bit(operation):
    array = np.random.default_rng(5).uniform(0.5, 2, (40, 50)).astype("float32")
    restored = operation.inverse().apply(operation.apply(tensor_of(array)))
    assert np.allclose(array_of(restored), array, rtol=1e-5)
    steps = rounding_of(operation, tensor_of(array))
    assert len(steps) == array.size * ITEMSIZE["float32"]
    assert AddUlps(steps=steps).apply(restored).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((600, 40, 70), (2, 0, 1)),
        ((2, 3, 300_000), (1, 0, 2)),
        ((1_000_000, 3), (1, 0)),
        ((7, 0, 3), (2, 1, 0)),
    ],
)
def test_moved_axes_are_put_in_order_part_by_part(shape, order):
    moved = np.arange(np.prod(shape), dtype="<f4").reshape(shape).transpose(order)
    found = [bytes(chunk) for chunk in chunks_of(moved)]
    assert b"".join(found) == moved.tobytes()
    assert all(len(chunk) <= CHUNK for chunk in found)
    row = moved.nbytes // len(moved)  # a part has one at least
    tracemalloc.start()
    for _ in chunks_of(moved):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * max(PART, row) + 100_000
