"""Values decide how axes changed, and what cannot be sure: flattened axes, exchanged axes, factors."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import convert
from converters.formats.open import open_checkpoint
from converters.mapping.user_mapping import load_mapping
from converters.suggestion.axis_search import find_axis_change
from converters.suggestion.suggest import suggest
from tests.suggestion.random_networks import write_caffe

if TYPE_CHECKING:
    from pathlib import Path

DRAW = np.random.default_rng(11)


def values(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape).astype("f4")


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    torch.save({name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}, path)
    return path


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


def converted(folder: Path, left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> str:
    """Propose, convert both ways and compare; returns the mapping."""
    a, b = save(folder / "a.pth", left), save(folder / "b.pth", right)
    found = suggest(a, b, folder / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    convert(a, folder / "out.pth", mapping=folder / "map.toml")
    assert contents(folder / "out.pth") == contents(b)
    convert(b, folder / "back.pth", mapping=folder / "map.toml", reverse=True)
    assert contents(folder / "back.pth") == contents(a)
    return (folder / "map.toml").read_text()


def doubts(folder: Path, left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> dict[str, str]:
    found = suggest(save(folder / "a.pth", left), save(folder / "b.pth", right), folder / "map.toml")
    return {row["from"]: row["doubt"] for row in found.rows}


# Axes


@pytest.mark.parametrize(
    ("volume", "order"),
    [
        ((4, 3, 2), (1, 2, 0)),
        ((4, 3, 2), (2, 1, 0)),
        ((4, 3, 3), (0, 2, 1)),
        ((4, 2, 3, 3), (1, 2, 3, 0)),
        ((4, 2, 3, 3), (2, 3, 1, 0)),
        ((6, 5), (1, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_flattened_axis_in_another_order(volume, order, transposed, tmp_path):
    """Behind a convolution: C·H·W against H·W·C and W·H·C, C·T·H·W against T·H·W·C, also transposed."""
    conv, fc, bias = values(volume[0], 3, 3, 3), values(7, *volume), values(7)
    flat = fc.transpose(0, *(1 + axis for axis in order)).reshape(7, -1)
    left = {"c.w": conv, "f.w": flat.T if transposed else flat, "f.b": bias}
    right = {"conv.weight": conv, "fc.weight": fc.reshape(7, -1), "fc.bias": bias}
    assert "sizes = {" in converted(tmp_path, left, right)


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        ((5, 4, 3, 3), lambda one: one.transpose(0, 1, 3, 2)),
        ((5, 4, 3, 3, 3), lambda one: one.transpose(0, 1, 4, 3, 2)),
        ((6, 6), lambda one: one.T),
        ((5, 4, 3, 2, 2, 2), lambda one: one.transpose(5, 0, 2, 1, 4, 3)),
        ((5, 4, 3, 3), lambda one: one.transpose(0, 2, 3, 1).reshape(5, 36)),
        ((5, 4, 3, 3), lambda one: one.reshape(1, 1, 5, 36)),
        ((24,), lambda one: one.reshape(2, 3, 4).transpose(2, 0, 1).ravel()),
        ((5, 1, 7), lambda one: one.reshape(5, 7)),
    ],
)
def test_axes_exchanged_or_put_together(shape, change, tmp_path):
    kernel = values(*shape)
    converted(tmp_path, {"a": change(kernel)}, {"x": kernel})


def test_every_kernel_its_own_order(tmp_path):
    one, other = values(5, 4, 3, 3), values(6, 5, 3, 3)
    text = converted(
        tmp_path,
        {"a.0.w": one.transpose(0, 1, 3, 2), "a.1.w": other},
        {"b.0.weight": one, "b.1.weight": other},
    )
    assert text.count("O I W H -> O I H W") == 1


def test_values_that_no_order_of_axes_explains(tmp_path):
    """Columns shuffled, gates of an LSTM in another order, and one element that differs."""
    matrix, vector, gates = values(6, 24), values(24), values(12, 5)
    changed = values(8, 6, 3, 3)
    again = changed.copy()
    again[3, 2, 1, 0] += 1
    found = doubts(
        tmp_path,
        {"a": matrix, "b": vector, "c": gates, "d": changed, "e": (kernel := values(5, 3, 3, 3))},
        {
            "x": matrix[:, DRAW.permutation(24)],
            "y": DRAW.permutation(vector),
            "z": gates.reshape(4, 3, 5)[[1, 0, 2, 3]].reshape(12, 5),
            "w": again,
            "v": kernel,
        },
    )
    assert [name for name, doubt in found.items() if not doubt] == ["e"]
    assert "no order of axes" in found["a"]
    assert "no order of axes" in found["b"]
    assert "values differ" in found["d"]


def test_other_weights_leave_a_flattened_axis_open(tmp_path):
    """Shapes and names fit, but what is C·H·W in one file may be H·W·C in the other."""

    def network() -> dict[str, np.ndarray]:
        return {
            "conv.weight": values(8, 3, 3, 3),
            "conv.bias": values(8),
            "fc1.weight": values(10, 8 * 9),
            "fc1.bias": values(10),
            "fc2.weight": values(5, 10),
            "fc2.bias": values(5),
        }

    found = doubts(tmp_path, network(), network())
    assert [name for name, doubt in found.items() if doubt] == ["fc1.weight"]
    assert "flattened in another order" in found["fc1.weight"]


@pytest.mark.parametrize(
    "layers",
    [
        {"c.w": (4, 3, 3, 3), "f.w": (32, 64), "f.b": (32,), "g.w": (64, 32), "g.b": (64,), "h.w": (5, 64)},
        {"c.w": (4, 3, 3, 3), "f.w": (32, 64), "f.b": (32,), "n.w": (64,), "h.w": (64, 32)},
        {"s.w": (64, 3, 3, 3), "c.w": (4, 64, 3, 3), "c.b": (4,), "f.w": (32, 64), "f.b": (32,)},
        {"s.w": (36, 3, 3, 3), "c.w": (4, 36, 1, 1), "f.w": (9, 36), "f.b": (9,), "h.w": (5, 9)},
    ],
)
def test_a_flattened_axis_is_as_long_as_another_layers_outputs(layers, tmp_path):
    """A later layer says nothing of it, nor does an earlier one that a convolution of fewer channels follows."""
    one, other = ({name: values(*shape) for name, shape in layers.items()} for _ in range(2))
    found = doubts(tmp_path, one, {f"net.{name}": array for name, array in other.items()})
    assert "flattened" in found["f.w"]


def test_inputs_that_the_layer_before_puts_out_are_not_flattened(tmp_path):
    layers = {
        "c.w": (8, 3, 3, 3),
        "c.b": (8,),
        "d.w": (4, 8, 3, 3),
        "n.w": (16,),
        "f.w": (12, 16),
        "f.b": (12,),
        "g.w": (5, 12),
        "g.b": (5,),
    }
    one, other = ({name: values(*shape) for name, shape in layers.items()} for _ in range(2))
    found = doubts(tmp_path, one, {f"net.{name}": array for name, array in other.items()})
    assert not any(found.values())


@pytest.mark.parametrize("volume", [(4, 3, 3), (8, 2, 2)], ids=str)
@pytest.mark.parametrize("noise", [1e-4, 1])
def test_a_square_matrix_may_have_a_flattened_axis(volume, noise, tmp_path):
    """Its outputs are as many as its inputs, but they are not its inputs."""
    conv, size = values(volume[0], 3, 5, 5), prod(volume)
    fc, bias, head = values(size, *volume), values(size), values(5, size)
    moved = fc.transpose(0, 2, 3, 1).reshape(size, size) + np.float32(noise) * values(size, size)
    found = doubts(
        tmp_path,
        {"c.w": conv + 1, "f.w": moved, "f.b": bias + 1, "g.w": head + 1},
        {"conv.weight": conv * 2, "fc.weight": fc.reshape(size, size), "fc.bias": bias, "head.weight": head},
    )
    assert found["f.w"]


@pytest.mark.parametrize("size", [6, 11])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_square_kernel_beside_a_convolution_of_the_same_source(size, fresh, tmp_path):
    """Who writes H W I O writes I O; it is not sure where the values do not say so."""
    conv, fc = values(7, 2, 3, 3), values(size, size)
    left = values(size, size) if fresh else fc.T + np.float32(1e-4) * values(size, size)
    found = doubts(
        tmp_path,
        {"c/kernel": values(3, 3, 2, 7), "d/kernel": left},
        {"conv.weight": conv, "fc.weight": fc},
    )
    assert not found["c/kernel"]
    assert found["d/kernel"] or not fresh
    assert '"fc.weight", axes = "I O -> O I"' in (tmp_path / "map.toml").read_text()


@pytest.mark.parametrize("size", [6, 11])
def test_a_lone_square_kernel_is_not_sure(size, tmp_path):
    fc = values(size, size)
    near = fc.T + np.float32(1e-4) * values(size, size)
    assert doubts(tmp_path, {"d/kernel": near}, {"fc.weight": fc})["d/kernel"]
    assert 'axes = "I O -> O I"' in (tmp_path / "map.toml").read_text()


@pytest.mark.parametrize("kernel", [(3, 3), (3, 3, 3)], ids=str)
def test_a_stem_of_three_channels_has_channels_last(kernel, tmp_path):
    """Its shape fits other orders, which no framework has; further kernels make it sure."""
    left, right = {"s/kernel": values(*kernel, 3, 8)}, {"stem.weight": values(8, 3, *kernel)}
    assert doubts(tmp_path, left, right)["s/kernel"]
    assert f'"{"D " * (len(kernel) - 2)}H W I O -> ' in (tmp_path / "map.toml").read_text()
    left["t/kernel"], right["then.weight"] = values(*kernel, 8, 16), values(16, 8, *kernel)
    found = suggest(
        save(tmp_path / "c.pth", left), save(tmp_path / "d.pth", right), tmp_path / "map.toml", force=True
    )
    assert found.unsure == 0


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((8, 6, 3, 3), (0, 1, 3, 2)),
        ((8, 4, 3, 3, 3), (0, 1, 2, 4, 3)),
        ((12, 12), (1, 0)),
        ((8, 8, 3), (1, 0, 2)),
    ],
    ids=str,
)
def test_weights_trained_further_show_exchanged_axes(shape, axes, tmp_path):
    """No value is equal, but the files are alike in one order of axes only: it is proposed, and not sure."""
    kernels = [values(*shape) for _ in range(3)]
    left = {f"a.{number}": one.transpose(axes) for number, one in enumerate(kernels)}
    right = {f"b.{number}": one + values(*shape) / 10 for number, one in enumerate(kernels)}
    found = doubts(tmp_path, left, right)
    assert all("similar in this order of axes" in doubt for doubt in found.values())
    convert(tmp_path / "a.pth", tmp_path / "out.pth", mapping=tmp_path / "map.toml", accept_unsure=True)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    for number, one in enumerate(kernels):
        np.testing.assert_array_equal(state[f"b.{number}"].numpy(), one)


@pytest.mark.parametrize("shape", [(12, 12), (6, 6, 3, 3), (3, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("noise", [0.01, 0.3, 100])
def test_other_values_leave_square_axes_open(shape, noise, tmp_path):
    """However similar they are: only values that are equal, element for element, decide."""
    kernel, head = values(*shape), values(5, shape[0], 7)
    found = doubts(
        tmp_path,
        {"a.weight": kernel, "b.weight": head},
        {"x.weight": kernel + np.float32(noise) * values(*shape), "y.weight": head + 1},
    )
    assert found["a.weight"]
    assert not found["b.weight"]


def test_a_kernel_that_is_similar_in_two_orders_of_axes(tmp_path):
    """Of symmetric kernels, height and width look alike."""
    kernel = values(8, 6, 3, 3)
    kernel += kernel.transpose(0, 1, 3, 2)
    found = doubts(tmp_path, {"a": kernel}, {"x": kernel + values(8, 6, 3, 3) / 2})
    assert "axes of equal size" in found["a"]


@pytest.mark.parametrize("last", [False, True])
def test_outputs_of_a_decoder_may_be_flattened(last, tmp_path):
    """Behind its linear layer a volume is unfolded for a convolution: H·W·C or C·H·W, and its bias too."""

    def decoder() -> dict[str, np.ndarray]:
        return {"fc.w": values(4 * 9, 10), "fc.b": values(36), "up.w": values(4, 2, 3, 3), "up.b": values(2)}

    left, right = decoder(), {f"dec.{name}": array for name, array in decoder().items()}
    if last:
        left["fc.w"], left["up.w"] = values(10, 4 * 9), values(3, 3, 2, 4)
    found = doubts(tmp_path, left, right)
    assert [name for name, doubt in found.items() if "flattened" in doubt] == ["fc.w", "fc.b"]


def test_outputs_of_a_decoder_in_another_order(tmp_path):
    weight, bias, conv = values(4, 3, 2, 10), values(4, 3, 2), values(4, 5, 3, 3)
    left = {"w": weight.reshape(24, 10), "b": bias.ravel(), "c": conv}
    right = {
        "fc.weight": weight.transpose(1, 2, 0, 3).reshape(24, 10),
        "fc.bias": bias.transpose(1, 2, 0).ravel(),
        "up.weight": conv,
    }
    assert "sizes = {" in converted(tmp_path, left, right)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_that_were_rounded_and_widened_again(dtype, tmp_path):
    """They agree, since rounding explains every element; an element that it does not explain is doubted."""
    left = {"f.w": (fc := values(6, 24)), "s.w": (square := values(7, 7)), "f.b": values(6)}
    right = {
        "fc.weight": fc.reshape(6, 4, 3, 2).transpose(0, 2, 3, 1).reshape(6, 24),
        "sq.weight": square.T.copy(),
        "fc.bias": left["f.b"],
    }
    rounded = {
        name: torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy()
        for name, array in right.items()
    }
    assert not any(doubts(tmp_path, left, rounded).values())
    rounded["sq.weight"][2, 3] = 4
    again = suggest(tmp_path / "a.pth", save(tmp_path / "c.pth", rounded), tmp_path / "map.toml", force=True)
    assert [row["from"] for row in again.rows if row["doubt"]] == ["s.w"]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_same_weights_in_another_precision(dtype, tmp_path):
    volume = values(6, 4, 3, 2)
    left = {"c.w": values(4, 3, 3, 3), "c.b": values(4), "f.w": volume.reshape(6, -1), "f.b": values(6)}
    right = {
        "conv.weight": left["c.w"].transpose(0, 1, 3, 2),
        "conv.bias": left["c.b"],
        "fc.weight": volume.transpose(0, 2, 3, 1).reshape(6, -1),
        "fc.bias": left["f.b"],
    }
    a = save(tmp_path / "a.pth", left)
    b = save(tmp_path / "b.pth", {name: array.astype(dtype) for name, array in right.items()})
    found = suggest(a, b, tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml", dtype=dtype)
    assert contents(tmp_path / "out.pth") == contents(b)


def test_the_search_is_bounded():
    """Ones and signs, of which many orders are right to a point."""
    ones = np.ones((64, 64), "u4")
    ones[-1, -1] = 2
    assert find_axis_change(ones, ones[::-1, ::-1].copy()) is None
    signs = DRAW.integers(0, 2, (48, 48)).astype("u4")
    assert find_axis_change(signs, DRAW.permutation(signs.ravel()).reshape(48, 48)) is None
    found = find_axis_change(
        signs, np.ascontiguousarray(signs.reshape(48, 6, 8).transpose(2, 0, 1)).reshape(8, -1)
    )
    assert found is not None


@pytest.mark.parametrize("seed", range(30))
def test_any_change_of_axes_is_found(seed):
    draw = np.random.default_rng(seed)
    shape = tuple(draw.integers(1, 5, draw.integers(1, 6)))
    array = np.arange(prod(shape), dtype="u4").reshape(shape)
    draw.shuffle(array.reshape(-1))
    moved = np.ascontiguousarray(array.transpose(draw.permutation(array.ndim)))
    at = draw.integers(0, moved.ndim)
    moved = moved.reshape(*moved.shape[:at], -1)
    change = find_axis_change(array, moved)
    assert change is not None
    sizes = change.sizes_in(array.shape)
    found = array.reshape([*sizes.values()]).transpose(change.order).reshape(change.right_shape(sizes))
    np.testing.assert_array_equal(found, moved)


@pytest.mark.parametrize("seed", [4, 6, 12, 15])
def test_vectors_of_one_module_do_not_go_to_two(seed, tmp_path):
    """In files without an order, what stands beside a weight may belong to another one, as its name shows."""
    draw = np.random.default_rng(seed)
    names = {"a.conv.w": "x.0.weight", "a.bn.s": "x.1.weight", "a.bn.b": "x.1.bias"}
    names |= {"b.conv.w": "y.0.weight", "b.bn.s": "y.1.weight", "b.bn.b": "y.1.bias"}
    names |= {"f.w": "z.weight", "f.b": "z.bias"}
    shapes = {"a.conv.w": (8, 3, 3, 3), "b.conv.w": (8, 8, 1, 1), "f.w": (8, 8)}
    left, right = ([*one] for one in (names, names.values()))
    draw.shuffle(left)
    draw.shuffle(right)
    back = {name: old for old, name in names.items()}
    found = suggest(
        save(tmp_path / "a.pth", {name: values(*shapes.get(name, (8,))) for name in left}),
        save(tmp_path / "b.pth", {name: values(*shapes.get(back[name], (8,))) for name in right}),
        tmp_path / "map.toml",
    )
    assert {row["from"]: row["to"] for row in found.rows if not row["doubt"]}.items() <= names.items()


# Factors


def norms(factor: float, *, names: tuple[str, str] = ("bn_{}", "scale_{}")) -> tuple[dict, dict]:
    left, right = {}, {}
    for number, size in enumerate((6, 6, 9)):
        conv, mean, scale, shift = values(size, 4, 3, 3), values(size), abs(values(size)), values(size)
        variance = abs(values(size)) + np.float32(0.1)
        sums, scales = (name.format(number) for name in names)
        left |= {
            f"conv_{number}/0": conv,
            f"{sums}/0": mean * np.float32(factor),
            f"{sums}/1": variance * np.float32(factor),
            f"{sums}/2": np.array([factor], "f4"),
            f"{scales}/0": scale,
            f"{scales}/1": shift,
        }
        right |= {
            f"{number}.conv.weight": conv,
            f"{number}.bn.weight": scale,
            f"{number}.bn.bias": shift,
            f"{number}.bn.running_mean": mean,
            f"{number}.bn.running_var": variance,
        }
    return left, right


def write_norms(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    write_caffe(path, {name.replace("_", ""): array for name, array in arrays.items()})
    return path


@pytest.mark.parametrize("factor", [999.982, 1.0, 0.03])
@pytest.mark.parametrize("other", ["same", "fresh"])
def test_caffes_batch_norm_is_divided(factor, other, tmp_path):
    """By its layers, so also against weights that were trained otherwise."""
    left, right = norms(factor, names=("norm_{}", "scale_{}"))
    a = write_norms(tmp_path / "a.caffemodel", left)
    if other == "fresh":
        b = save(tmp_path / "b.pth", norms(1, names=("norm_{}", "scale_{}"))[1])
    else:
        b = save(tmp_path / "b.pth", right)
    for one, two, way in ((a, b, "over"), (b, a, "times")):
        found = suggest(one, two, tmp_path / "map.toml", force=True)
        assert (found.unsure, found.left_over) == (0, ((), ()))
        assert f", {way} = " in (tmp_path / "map.toml").read_text()
        convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml", force=True, reverse=way == "times")
        state = torch.load(tmp_path / "out.pth", weights_only=True)
        for name, wanted in right.items():
            np.testing.assert_allclose(state[name].numpy(), wanted, rtol=4e-7)


def test_a_factor_of_zero(tmp_path):
    """Caffe then takes mean and variance for 0, and so must the port; against other weights they are divided too."""
    left, right = norms(1, names=("norm_{}", "scale_{}"))
    left = {
        name: array * 0 if name.startswith("norm_") and name.endswith("2") else array
        for name, array in left.items()
    }
    a = write_norms(tmp_path / "a.caffemodel", left)
    found = suggest(a, save(tmp_path / "b.pth", right), tmp_path / "map.toml")
    assert not [row for row in found.rows if not row["doubt"] and "running" in row["to"]]
    zeros = {name: array * 0 if "running" in name else array for name, array in right.items()}
    b = save(tmp_path / "c.pth", zeros)
    suggest(a, b, tmp_path / "map.toml", force=True)
    convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml", accept_unsure=True)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    assert all((state[name] == 0).all() for name in zeros if "running" in name)


def test_two_caffe_models_keep_their_factors(tmp_path):
    left, _ = norms(999.982, names=("norm_{}", "scale_{}"))
    a, b = write_norms(tmp_path / "a.caffemodel", left), write_norms(tmp_path / "b.caffemodel", left)
    found = suggest(a, b, tmp_path / "map.toml")
    assert (found.unsure, found.left_over, len(found.rows)) == (0, ((), ()), len(left))
    convert(a, tmp_path / "out.caffemodel", mapping=tmp_path / "map.toml")
    assert contents(tmp_path / "out.caffemodel") == contents(b)


def test_a_factor_in_another_file_is_seen_by_its_quotients(tmp_path):
    """Blobs of a Caffe model that somebody saved with torch; where the values do not say so, nothing is divided."""
    left, right = norms(37.5)
    a = save(tmp_path / "a.pth", left)
    found = suggest(a, save(tmp_path / "b.pth", right), tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    pairs = {(pair.left, pair.over) for pair in load_mapping(str(tmp_path / "map.toml")).pairs if pair.over}
    assert len(pairs) == 6
    _, fresh = norms(1)
    found = suggest(a, save(tmp_path / "c.pth", fresh), tmp_path / "map.toml", force=True)
    assert found.left_over[0] == ("bn_0/2", "bn_1/2", "bn_2/2")
    assert all(row["doubt"] for row in found.rows if row["from"].startswith("bn"))
    assert ", over = " not in (tmp_path / "map.toml").read_text()


NAMES = {
    "factor": ("bn{}/mean", "bn{}/variance", "bn{}/factor", "scale{}/scale", "scale{}/offset"),
    "scale_factor": ("bn{}/mean", "bn{}/variance", "bn{}/scale_factor", "scale{}/scale", "scale{}/offset"),
    "one module": ("bn{}.mean", "bn{}.variance", "bn{}.scale_factor", "bn{}.scale", "bn{}.shift"),
    "numbered": ("bn{}/0", "bn{}/1", "bn{}/2", "bn{}/3", "bn{}/4"),
    "underscores": ("bn{}_mean", "bn{}_variance", "bn{}_moving_fraction", "bn{}_scale", "bn{}_offset"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("further", [False, True])
def test_a_factor_of_any_name(names, further, tmp_path):
    """Also beside scale and shift; with other values it is seen by its place."""
    blobs, right = norms(999.982)
    left = {f"conv{place}/w": blobs[f"conv_{place}/0"] for place in range(3)}
    for place in range(3):
        old = (f"bn_{place}/0", f"bn_{place}/1", f"bn_{place}/2", f"scale_{place}/0", f"scale_{place}/1")
        left |= {name.format(place): blobs[blob] for name, blob in zip(names, old, strict=True)}
    if further:
        right = {name: array + np.float32(0.01) * abs(values(*array.shape)) for name, array in right.items()}
    a, b = save(tmp_path / "a.pth", left), save(tmp_path / "b.pth", right)
    found = suggest(a, b, tmp_path / "map.toml")
    rows = {row["to"]: row["doubt"] for row in found.rows if "running" in row["to"]}
    assert all(rows.values()) if further else (found.unsure, found.left_over) == (0, ((), ()))
    if not further:
        convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml")
        state = torch.load(tmp_path / "out.pth", weights_only=True)
        for name, wanted in right.items():
            np.testing.assert_allclose(state[name].numpy(), wanted, rtol=4e-7)


@pytest.mark.parametrize("factor", [999.982, 1.0])
@pytest.mark.parametrize("name", ["{}/{}", "{}_{}", "{}.{}"])
def test_blobs_as_a_caffe_model_has_them_are_copied(factor, name, tmp_path):
    """Whoever dumped the blobs divided nothing."""
    left, _ = norms(factor, names=("norm_{}", "scale_{}"))
    a = write_norms(tmp_path / "a.caffemodel", left)
    dump = {name.format(*old.replace("_", "").split("/")): array for old, array in left.items()}
    b = save(tmp_path / "b.pth", dump)
    for one, two, out in ((a, b, "out.pth"), (b, a, "out.caffemodel")):
        found = suggest(one, two, tmp_path / "map.toml", force=True)
        assert (found.unsure, found.left_over) == (0, ((), ()))
        convert(one, tmp_path / out, mapping=tmp_path / "map.toml")
        assert contents(tmp_path / out) == contents(two)


def test_blobs_without_their_factors_are_copied_too(tmp_path):
    left, _ = norms(999.982, names=("norm_{}", "scale_{}"))
    a = write_norms(tmp_path / "a.caffemodel", left)
    dump = {
        name.replace("_", ""): array for name, array in left.items() if len(array.shape) > 1 or array.size > 1
    }
    found = suggest(a, save(tmp_path / "b.pth", dump), tmp_path / "map.toml")
    assert {row["why"] for row in found.rows} == {"values"}
    assert (found.unsure, len(found.left_over[0])) == (0, 3)


@pytest.mark.parametrize("blobs", ["012", "abc"])
@pytest.mark.parametrize("factor", [999.982, 0.5])
def test_a_fresh_networks_ones_and_zeros_are_no_constants(blobs, factor, tmp_path):
    """Where the other file has vectors that fit; and that a number may divide mean and variance is said."""
    left, right = norms(factor)
    left = {f"{name[:-1]}{blobs[int(name[-1])]}": array for name, array in left.items()}
    fresh = {
        name: array if "conv" in name else array * 0 + ("var" in name or name.endswith("bn.weight"))
        for name, array in right.items()
    }
    fresh = {name: array * 2 if "conv" in name else array for name, array in fresh.items()}
    found = doubts(tmp_path, left, fresh)
    assert "constants" not in (tmp_path / "map.toml").read_text()
    sums = [doubt for name, doubt in found.items() if name.startswith("bn")]
    assert len(sums) == 6
    assert all("may be a factor" in doubt for doubt in sums)


# Kernels that were multiplied by what one file keeps apart


def rescaled(kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A network of three convolutions as it was trained, and as it runs. Biases are the same where they can be."""
    left, right = {}, {}
    for place, inputs in enumerate((3, 8, 8)):
        kernel, bias, vectors = values(8, inputs, 3, 3), values(8), [abs(values(8)) + 1 for _ in range(4)]
        lengths = vectors[0].reshape(8, 1, 1, 1)
        if kind == "folded":
            names = [f"b.{place}.{word}" for word in ("weight", "bias", "running_mean", "running_var")]
            left |= {f"c.{place}.weight": kernel, **dict(zip(names, vectors, strict=True))}
            bias = vectors[1] - vectors[2]
        else:
            new, other = {
                "weight_norm": ("weight_v", {"weight_g": lengths}),
                "one length": ("weight_v", {"weight_g": lengths[0]}),
                "parametrized": (
                    "parametrizations.weight.original1",
                    {"parametrizations.weight.original0": lengths},
                ),
                "spectral_norm": ("weight_orig", {"weight_u": vectors[1], "weight_v": values(9 * inputs)}),
            }[kind]
            left |= {f"c.{place}.{name}": array for name, array in {new: kernel, **other}.items()}
            left[f"c.{place}.bias"] = bias
        right |= {f"net.{place}.weight": kernel * lengths, f"net.{place}.bias": bias}
    return left, right


@pytest.mark.parametrize("kind", ["weight_norm", "one length", "parametrized", "spectral_norm", "folded"])
@pytest.mark.parametrize("further", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_no_kernel_is_sure_beside_what_rescales_it(kind, further, turned, tmp_path):
    """Also where the right network was trained further, and nothing is equal."""
    left, right = rescaled(kind)
    if further:
        right = {name: array + np.float32(0.01) * values(*array.shape) for name, array in right.items()}
    files = (right, left) if turned else (left, right)
    found = doubts(tmp_path, *files)
    kernels = {name for name, array in files[0].items() if array.ndim == 4 and max(array.shape[1:]) > 1}
    assert len(kernels) == 3
    assert all(found[name] for name in kernels if name in found)


def test_equal_vectors_say_that_the_weights_are_the_same(tmp_path):
    """Half of all tensors are equal; what multiplied the kernels is in neither file."""
    left, right = rescaled("weight_norm")
    plain = {name.replace("_v", ""): array for name, array in left.items() if "_g" not in name}
    assert [name for name, doubt in doubts(tmp_path, plain, right).items() if doubt] == [
        f"c.{place}.weight" for place in range(3)
    ]


def test_the_vectors_of_a_block_that_the_other_file_lacks_say_nothing(tmp_path):
    def block(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.conv.weight": values(8, 4, 3, 3), f"{name}.bn.weight": values(8)}

    left = {name: array for place in range(12) for name, array in block(f"net.{place}").items()}
    right = {name: array for place in range(12) for name, array in block(f"net.{place}").items()}
    found = doubts(tmp_path, left, right | block("aux"))
    assert not any(found.values())
