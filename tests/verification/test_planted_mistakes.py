"""Mistakes that other converters have made, planted in the output of every family: `verify` sees each of them.

The bytes alone must show them, so no network runs. The source's values include those that careless copies lose: a
zero and its negative, a denormal, and a NaN with a payload.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters.errors import ConverterError
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import families
from converters.mapping.table_files import layout_names, network_names
from converters.mapping.variants import variants
from converters.tensor import Held
from tests.helpers import in_memory, layout_weights, selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from converters.mapping.schema import LayoutTable
    from converters.mapping.variants import Variant

    State = dict[str, np.ndarray]
    """The arrays of an output that may be changed, by name."""

ODD = np.array([0x00000000, 0x80000000, 0x00000001, 0x7FC01234], "<u4").view("<f4")
"""Zero, negative zero, the smallest denormal, and a NaN with a payload."""


def cases() -> Iterator[pytest.param]:
    """The smallest variant of each family, from a foreign layout where there is one, to a layout of PyTorch."""
    for family in network_names():
        by_size = sorted(variants(family), key=lambda one: selection.parameters_of(one.name))
        yield next(
            pytest.param(source.name, target.name, one, id=f"{one.name}-{source.name}-{target.name}")
            for one in by_size
            for source, target in sorted(pairs_of(one), key=lambda pair: pair[0].format == "pytorch")
        )


def pairs_of(one: Variant) -> Iterator[tuple[LayoutTable, LayoutTable]]:
    """The pairs of layouts between which a variant can be converted, the output's being one of PyTorch."""
    tables = [load_layout(name) for name in layout_names()]
    takes = [
        table
        for table in tables
        if one.family in families(table) and not table.support_for(one.name).unsupported
    ]
    for source in takes:
        for target in takes:
            if (
                source.name != target.name
                and target.format == "pytorch"
                and layout_weights.keeps_statistics(source)
                and layout_weights.keeps_statistics(target)
                and not layout_weights.fixes_other_settings(source, target, one)
            ):
                yield source, target


def first(state: State, fits: Callable[[str, np.ndarray], object]) -> np.ndarray:
    return next(array for name, array in state.items() if fits(name, array))


def is_kernel(name: str, array: np.ndarray) -> bool:
    return array.ndim >= 4 and array.shape[-1] > 1


def with_steps_in_time(_: str, array: np.ndarray) -> bool:
    """A kernel with several steps in time, or for 2D networks several rows."""
    return array.ndim >= 4 and array.shape[2] > 1


def exchanged_tensors(state: State) -> None:
    """Two tensors of one shape, as of two blocks, have changed places."""
    seen: dict[tuple[int, ...], np.ndarray] = {}
    for array in state.values():
        other = seen.setdefault(array.shape, array)
        if other is not array and other.size > 1 and other.tobytes() != array.tobytes():
            other[...], array[...] = array.copy(), other.copy()
            return
    raise AssertionError("no two tensors of one shape")


def permuted_channels(state: State) -> None:
    kernel = first(state, lambda name, array: array.ndim > 1 and array.shape[0] > 1)
    kernel[...] = np.roll(kernel, 1, axis=0)


def transposed_kernels(state: State) -> None:
    square = [array for name, array in state.items() if is_kernel(name, array)]
    square = [array for array in square if array.shape[-1] == array.shape[-2]]
    assert square
    for array in square:
        array[...] = array.swapaxes(-1, -2).copy()


def reversed_time(state: State) -> None:
    kernel = first(state, with_steps_in_time)
    kernel[...] = kernel[:, :, ::-1].copy()


def one_ulp(state: State) -> None:
    bias = first(state, lambda name, _: name.endswith("bias"))
    bias.reshape(-1)[-1] = np.nextafter(bias.reshape(-1)[-1], np.float32(np.inf))


def other_class_order(state: State) -> None:
    *_, head = (array for array in state.values() if 51 in array.shape[:1])
    head[...] = head[::-1].copy()


def averages(state: State) -> None:
    """What a moving average has instead of the weights: all values a little off."""
    for array in state.values():
        if array.dtype == np.float32:
            array *= np.float32(0.9999)


def float16_round_trip(state: State) -> None:
    for array in state.values():
        if array.dtype == np.float32:
            array[...] = array.astype(np.float16)


def odd_value(old: int, new: int) -> Callable[[State], None]:
    """Exchange one pattern of bits for another, wherever it is."""

    def plant(state: State) -> None:
        count = 0
        for array in state.values():
            if array.dtype == np.float32:
                bits = array.reshape(-1).view("<u4")
                count += int((bits == old).sum())
                bits[bits == old] = new
        assert count, "the output has no such value"

    return plant


def is_variance(name: str, _: object = None) -> bool:
    return name.endswith("running_var")


def negative_variance(state: State) -> None:
    first(state, is_variance).reshape(-1)[0] *= -1


def extra_tensor(state: State) -> None:
    state["extra.weight"] = np.ones((2, 2), np.float32)


MISTAKES = {
    "exchanged tensors": exchanged_tensors,
    "permuted channels": permuted_channels,
    "transposed kernels": transposed_kernels,
    "reversed time": reversed_time,
    "one ulp": one_ulp,
    "class order": other_class_order,
    "averages": averages,
    "float16": float16_round_trip,
    "negative zero": odd_value(0x80000000, 0),
    "denormal": odd_value(1, 0),
    "payload": odd_value(0x7FC01234, 0x7FC00000),
    "negative variance": negative_variance,
    "extra tensor": extra_tensor,
}


def seen(verify: Callable[[], bool]) -> bool:
    """Whether a proof fails, or is refused."""
    try:
        return not verify()
    except ConverterError:
        return True


@pytest.mark.parametrize(
    ("source", "target", "one"),
    selection.one_of_each(cases(), lambda *_: {1}, lambda *case: selection.parameters_of(case[2].name)),
)
def test_planted_mistakes_are_seen(source: str, target: str, one, tmp_path: Path, monkeypatch) -> None:
    tensors = in_memory.seeded(source, one)
    for name, tensor in tensors.items():  # of the head, which some files have twice
        if isinstance(tensor.data, Held) and 51 in tensor.shape:
            values = in_memory.values_of(tensor)
            values.reshape(-1)[: ODD.size] = ODD
            tensors[name] = in_memory.held(name, values)
    given = in_memory.opened(source, tensors, None)
    model = layout_weights.model_of(one, source)
    made, result = in_memory.convert(given, source, target, tmp_path, monkeypatch, variant=model)

    def verified(plant: Callable[[State], None], record) -> bool:
        whole = {name: tensor for name, tensor in made.items() if tensor.nbytes > 4 * in_memory.LARGE}
        state = {
            name: np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape).copy()
            for name, tensor in made.items()
            if name not in whole
        }
        plant(state)
        changed = {
            name: tensor._replace(data=Held(state[name].tobytes()))
            for name, tensor in made.items()
            if name in state
        }
        added = {name: in_memory.held(name, state[name]) for name in state.keys() - made.keys()}
        output = in_memory.opened(target, {**made, **changed, **added}, record)
        return in_memory.verify(given, output, (source, target), monkeypatch, variant=model).ok

    assert verified(lambda _: None, result.provenance), "the right conversion"
    absent = {} if any(map(is_variance, made)) else {"negative variance"}
    missed = [
        mistake
        for (mistake, plant), record in zip(MISTAKES.items(), cycle((result.provenance, None)), strict=False)
        if mistake not in absent and not seen(lambda: verified(plant, record))  # noqa: B023 - called at once
    ]
    assert not missed
