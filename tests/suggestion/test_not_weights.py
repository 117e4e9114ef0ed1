"""What is not a weight is left aside and said; what is one never vanishes; a proposal without a doubt converts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from converters import Refused, convert
from converters.formats.open import open_checkpoint
from converters.suggestion.not_weights import sort_out
from converters.suggestion.suggest import suggest
from tests.helpers import tensorflow_files, vmz_files
from tests.helpers.caffe_files import message, number

if TYPE_CHECKING:
    from pathlib import Path

Arrays = dict[str, np.ndarray]
DRAW = np.random.default_rng(5)
VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"


def values(*shape: int) -> np.ndarray:
    return DRAW.standard_normal(shape).astype("f4")


def save(path: Path, arrays: Arrays) -> Path:
    torch.save({name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}, path)
    return path


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


def small() -> Arrays:
    """A convolution and a classifier, under PyTorch's names."""
    return {
        "conv1.weight": values(8, 3, 3, 3),
        "conv1.bias": values(8),
        "fc.weight": values(5, 8),
        "fc.bias": values(5),
    }


def converts(folder: Path, a: Path, b: Path) -> str:
    """That a proposal needs no hand and converts to the other file; returns the mapping."""
    found = suggest(a, b, folder / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    out = folder / f"out{b.suffix if b.suffix == '.ckpt' else '.pth'}"
    convert(a, out, mapping=folder / "map.toml")
    right = contents(b)
    assert {name: one for name, one in contents(out).items() if name in right and one[0] == "float32"} == {
        name: one for name, one in right.items() if one[0] == "float32" and name != "data"
    }
    return (folder / "map.toml").read_text()


# Caffe2


def caffe2(state: Arrays) -> Arrays:
    words = {"conv1.weight": "conv1_w", "conv1.bias": "conv1_b", "fc.weight": "pred_w", "fc.bias": "pred_b"}
    return {words[name]: array for name, array in state.items()}


def fill(name: str, array: np.ndarray) -> bytes:
    shape = message(5, message(1, b"shape"), *(number(6, size) for size in array.shape))
    numbers = message(5, message(1, b"values"), *(b"\x2d" + struct.pack("<f", one) for one in array.ravel()))
    return message(2, message(2, name.encode()), message(4, b"GivenTensorFill"), shape, numbers)


def constant_fill(name: str, *shape: int) -> bytes:
    sizes = message(5, message(1, b"shape"), *(number(6, size) for size in shape))
    return message(2, message(2, name.encode()), message(4, b"ConstantFill"), sizes)


def operator(kind: str, inputs: list[str], output: str) -> bytes:
    names = [message(1, name.encode()) for name in inputs]
    return message(2, *names, message(2, output.encode()), message(4, kind.encode()))


@pytest.mark.parametrize("other", ["equal", "fresh"])
def test_a_bias_of_caffe2_does_not_vanish(other, tmp_path):
    """``conv1_b``, which Detectron's layout ignores in its own files."""
    state = small()
    vmz_files.write_arrays(tmp_path / "a.pkl", caffe2(state))
    b = save(tmp_path / "b.pth", state if other == "equal" else small())
    found = suggest(tmp_path / "a.pkl", b, tmp_path / "map.toml")
    assert ("conv1_b", "conv1.bias") in {(row["from"], row["to"]) for row in found.rows}
    assert found.dropped == ((), ())
    convert(tmp_path / "a.pkl", tmp_path / "out.pth", mapping=tmp_path / "map.toml")
    assert contents(tmp_path / "out.pth") == contents(save(tmp_path / "c.pth", state))


@pytest.mark.parametrize(
    ("data", "ops"),
    [
        (constant_fill("data", 1), []),
        (constant_fill("data", 1, 3, 4, 4), []),
        (fill("data", np.zeros((1, 3, 2, 2))), []),
        (constant_fill("gpu_0/clip", 1), []),
        (
            constant_fill("clip", 2, 3, 4),
            [
                operator("Conv", ["clip", "conv1_w", "conv1_b"], "y"),
                operator("FC", ["y", "pred_w", "pred_b"], "z"),
            ],
        ),
    ],
    ids=["as exported", "shape", "values", "other name", "read as input"],
)
def test_a_blob_that_is_fed_is_no_weight(data, ops, tmp_path):
    state = small()
    fills = [fill(name, array) for name, array in caffe2(state).items()]
    (tmp_path / "init_net.pb").write_bytes(message(1, b"net") + b"".join([*fills, data]))
    if ops:
        (tmp_path / "predict_net.pb").write_bytes(message(1, b"net") + b"".join(ops))
    text = converts(tmp_path, tmp_path / "init_net.pb", save(tmp_path / "b.pth", state))
    assert "drop = [" in text
    found = suggest(tmp_path / "b.pth", tmp_path / "init_net.pb", tmp_path / "back.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))


def test_solver_state_of_caffe2_is_a_pattern(tmp_path):
    """Only beside the blob that it belongs to: a weight by such a name alone stays."""
    state = small()
    blobs = caffe2(state)
    solver = {f"{name}_momentum": array * 0 for name, array in blobs.items()}
    more = {"lr": np.array([0.1], "f4"), "model_iter": np.array([7], "i8"), "late_momentum": values(8, 4)}
    vmz_files.write_arrays(tmp_path / "a.pkl", {**blobs, **solver, **more})
    b = save(tmp_path / "b.pth", {**state, "late.weight": more["late_momentum"]})
    found = suggest(tmp_path / "a.pkl", b, tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    assert set(found.dropped[0]) == {*solver, "lr", "model_iter"}
    convert(tmp_path / "a.pkl", tmp_path / "out.pth", mapping=tmp_path / "map.toml")
    assert contents(tmp_path / "out.pth") == contents(b)
    del blobs["conv1_b"], solver["conv1_b_momentum"]
    vmz_files.write_arrays(tmp_path / "c.pkl", {**blobs, **solver})
    found = suggest(tmp_path / "c.pkl", save(tmp_path / "d.pth", small()), tmp_path / "map.toml", force=True)
    assert found.dropped[0] == ("*_momentum",)


@pytest.mark.parametrize(
    ("format_", "names"),
    [
        (
            "pytorch",
            ["data_preprocessor.mean", "backbone.slow_path.layer4_lateral.conv.weight", "lr", "x.Adam"],
        ),
        ("caffe2-pickle", ["conv1_b", "x_momentum", "pred_lr_w", "iter_w"]),
        ("tensorflow", ["a/Momentum", "RGB/global_step/w", "net/optimizer_block/w"]),
        ("chainer", ["extensions/w", "stop_trigger/w"]),
    ],
)
def test_a_project_ignores_only_its_own(format_, names, tmp_path):
    path = save(tmp_path / "a.pth", {name: values(4, 3) for name in names})
    with open_checkpoint(str(path)) as file:
        assert sort_out(file.replace(format=format_)).weights == tuple(names)


# TensorFlow


def write_tf(folder: Path, arrays: Arrays, *, graph: bool) -> Path:
    """A bundle, with an object graph as TF 2 writes it."""
    numbers = {"float32": 1, "int32": 3, "int64": 9}
    data, entries = b"", {}
    for name, array in sorted(arrays.items()):
        raw = np.ascontiguousarray(array).tobytes()
        entries[name.encode()] = tensorflow_files.entry(
            array.shape, len(data), raw, dtype=numbers[str(array.dtype)]
        )
        data += raw
    if graph:
        raw = b"\x04" + bytes(4) + b"\x0a\x00\x0a\x00"
        entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = tensorflow_files.entry((), len(data), raw, dtype=7)
        data += raw
    return folder / f"{tensorflow_files.write_v2(folder, entries, data)}.index"


def tensorflow(state: Arrays, *, ending: str = VARIABLE) -> Arrays:
    words = {
        "conv1.weight": "model/conv1/kernel",
        "conv1.bias": "model/conv1/bias",
        "fc.weight": "model/fc/kernel",
        "fc.bias": "model/fc/bias",
    }
    return {
        words[name] + ending: array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        for name, array in state.items()
    }


@pytest.mark.parametrize("other", ["equal", "fresh"])
def test_an_object_graph_of_tensorflow_2(other, tmp_path):
    state = small()
    variables = tensorflow(state)
    rest = {
        f"save_counter{VARIABLE}": np.array(3),
        f"optimizer/iter{VARIABLE}": np.array(900),
        f"optimizer/learning_rate{VARIABLE}": np.array(0.1, "f4"),
        f"optimizer/_variables/1{VARIABLE}": np.array(0.9, "f4"),
        f"optimizer/_variables/2{VARIABLE}": values(8),
    }
    rest |= {
        f"{name.removesuffix(VARIABLE)}/.OPTIMIZER_SLOT/optimizer/{slot}{VARIABLE}": array * 0
        for name, array in variables.items()
        for slot in "mv"
    }
    a = write_tf(tmp_path, {**variables, **rest}, graph=True)
    if other == "equal":
        converts(tmp_path, a, save(tmp_path / "b.pth", state))
    else:
        found = suggest(a, save(tmp_path / "b.pth", small()), tmp_path / "map.toml")
        assert (found.unsure, found.left_over) == (0, ((), ()))
        convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml")
        assert contents(tmp_path / "out.pth") == contents(save(tmp_path / "c.pth", state))


def test_slots_of_tensorflow_1(tmp_path):
    state = small()
    variables = tensorflow(state, ending="")
    slots = {
        f"{name}/{slot}": array * 0 + 1
        for name, array in variables.items()
        for slot in ("Adam", "Adam_1", "ExponentialMovingAverage")
    }
    rest = {
        "beta1_power": np.array(0.9, "f4"),
        "global_step": np.array(5),
        "beta2_power": np.array(0.9, "f4"),
    }
    a = write_tf(tmp_path, {**variables, **slots, **rest}, graph=False)
    text = converts(tmp_path, a, save(tmp_path / "b.pth", state))
    assert '"*/Adam"' in text


def test_tensorflow_on_the_right_has_its_counters(tmp_path):
    state = small()
    counters = {f"save_counter{VARIABLE}": np.array(3), "global_step": np.array([8], "i4")}
    b = write_tf(tmp_path, {**tensorflow(state), **counters}, graph=True)
    a = save(tmp_path / "a.pth", state)
    found = suggest(a, b, tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    convert(a, tmp_path / "out.ckpt", mapping=tmp_path / "map.toml")
    out, right = contents(tmp_path / "out.ckpt"), contents(b)
    assert {name: one[:2] for name, one in out.items()} == {name: one[:2] for name, one in right.items()}
    convert(tmp_path / "out.ckpt", tmp_path / "back.pth", mapping=tmp_path / "map.toml", reverse=True)
    assert contents(tmp_path / "back.pth") == contents(a)


# Chainer


def test_a_snapshot_of_chainer(tmp_path):
    """A trainer's snapshot: the model, its optimizer, and what the trainer counts."""
    state = small() | {
        name: abs(values(8)) for name in ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    }
    words = {
        "conv1.weight": "conv1/W",
        "conv1.bias": "conv1/b",
        "fc.weight": "fc/W",
        "fc.bias": "fc/b",
        "bn.weight": "bn/gamma",
        "bn.bias": "bn/beta",
        "bn.running_mean": "bn/avg_mean",
        "bn.running_var": "bn/avg_var",
    }
    model = {f"updater/model:main/{words[name]}": array for name, array in state.items()}
    trainer = {
        "updater/model:main/bn/N": np.array(100),
        "updater/iteration": np.array(5000),
        "updater/optimizer:main/t": np.array(5000),
        "updater/optimizer:main/conv1/W/v": np.zeros((8, 3, 3, 3), "f4"),
        "updater/iterator:main/epoch": np.array(3),
        "stop_trigger/x": values(2),
        "_snapshot_elapsed_time": np.array(3.5),
    }
    np.savez(tmp_path / "a.npz", **model, **trainer)
    converts(tmp_path, tmp_path / "a.npz", save(tmp_path / "b.pth", state))


# PyTorch


@pytest.mark.parametrize(
    "name", ["step", "global_step", "ema.num_updates", "iteration", "num_batches_tracked"]
)
def test_counters_are_no_weights(name, tmp_path):
    state = small()
    a, b = save(tmp_path / "a.pth", {**state, name: np.array(4)}), save(tmp_path / "b.pth", state)
    converts(tmp_path, a, b)


@pytest.mark.parametrize("name", ["zero_point", "queue", "classes"])
def test_other_integers_are_left_over(name, tmp_path):
    state = small()
    a = save(tmp_path / "a.pth", {**state, name: np.array(4)})
    found = suggest(a, save(tmp_path / "b.pth", state), tmp_path / "map.toml")
    assert found.left_over == ((name,), ())
    with pytest.raises(Refused, match="nobody has confirmed"):
        convert(a, tmp_path / "out.pth", mapping=tmp_path / "map.toml")


# ONNX


def write_onnx(path: Path, arrays: Arrays, nodes: list[onnx.NodeProto], more: Arrays | None = None) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        [
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in {**arrays, **(more or {})}.items()
        ],
    )
    onnx.save(helper.make_model(graph), path)
    return path


def conv_and_gemm(trans: int) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Conv", ["x", "onnx::Conv_1", "onnx::Conv_2"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Resize", ["c", "roi", "scales"], ["d"]),
        helper.make_node("Mul", ["d", "onnx::Mul_7"], ["e"]),
        helper.make_node("Gemm", ["e", "head.w", "head.b"], ["y"], transB=trans),
    ]


SETTINGS = {
    "low": np.array(0, "f4"),
    "high": np.array(6, "f4"),
    "shape": np.array([1, -1]),
    "roi": np.zeros(0, "f4"),
    "scales": np.array([1, 1, 2, 2], "f4"),
    "onnx::Mul_7": np.array(0.5, "f4"),
}


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("side", ["left", "right"])
def test_onnx_on_either_side(side, trans, tmp_path):
    state = small()
    linear = state["fc.weight"] if trans else state["fc.weight"].T
    weights = {
        "onnx::Conv_1": state["conv1.weight"],
        "onnx::Conv_2": state["conv1.bias"],
        "head.w": linear,
        "head.b": state["fc.bias"],
    }
    settings = {name: array for name, array in SETTINGS.items() if name != "roi"}
    model = write_onnx(tmp_path / "a.onnx", weights, conv_and_gemm(trans), settings)
    other = save(tmp_path / "b.pth", state)
    if side == "left":
        text = converts(tmp_path, model, other)
        assert '[from]\nformat = "onnx"' in text
        return
    found = suggest(other, model, tmp_path / "map.toml")
    assert (found.unsure, found.left_over) == (0, ((), ()))
    convert(other, tmp_path / "out.safetensors", mapping=tmp_path / "map.toml")
    wanted = {name: one for name, one in contents(model).items() if name in weights}
    assert contents(tmp_path / "out.safetensors") == wanted
    convert(model, tmp_path / "back.pth", mapping=tmp_path / "map.toml", reverse=True)
    assert contents(tmp_path / "back.pth") == contents(other)


def test_two_onnx_models(tmp_path):
    state = small()
    first = {
        "w": state["conv1.weight"],
        "b": state["conv1.bias"],
        "m": state["fc.weight"],
        "c": state["fc.bias"],
    }
    second = {f"layer.{name}": array for name, array in first.items()}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        helper.make_node("Gemm", ["a", "m", "c"], ["y"]),
    ]
    a, b = (write_onnx(tmp_path / f"{name}.onnx", one, nodes) for name, one in (("a", first), ("b", second)))
    converts(tmp_path, a, b)


# Two networks that are not one


def network(*widths: int, kernel: int = 3, classes: int = 10) -> Arrays:
    state: Arrays = {}
    for place, (inputs, outputs) in enumerate(zip((3, *widths), widths, strict=False)):
        state[f"layers.{place}.conv.weight"] = values(outputs, inputs, kernel, kernel)
        state[f"layers.{place}.bn.weight"] = values(outputs)
        state[f"layers.{place}.bn.bias"] = values(outputs)
    state["fc.weight"], state["fc.bias"] = values(classes, widths[-1]), values(classes)
    return state


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (network(8, 8, 16, 16, 32), network(8, 8, 8, 8, 8, 16, 16, 16, 32, 32, 32)),
        (network(*[8] * 4, *[16] * 4), network(*[8] * 8, *[16] * 8)),
        (network(8, 16, 32, kernel=3), network(8, 16, 32, kernel=5)),
        (network(8, 16, 24, 32), network(12, 16, 20, 28)),
        ({"a": values(4, 3), "b": values(3)}, {"c": values(7, 2), "d": values(3)}),
    ],
    ids=["other depths", "twice as deep", "other kernels", "other widths", "vectors only"],
)
def test_two_networks_are_said_in_one_sentence(left, right, run, tmp_path):
    save(tmp_path / "a.pth", left)
    save(tmp_path / "b.pth", {name.replace("layers", "stage"): array for name, array in right.items()})
    done = run("suggest", "a.pth", "b.pth", "-o", "map.toml")
    assert (done.returncode, done.stdout) == (1, "")
    sentence, hint = done.stderr.splitlines()
    assert "is not the same network as" in sentence
    assert hint == "hint: give two files of one network"
    assert not (tmp_path / "map.toml").exists()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (network(8, 16, 32), network(8, 16, 32, classes=4)),
        (
            network(8, 16, 32),
            {**network(8, 16, 32), "aux.weight": values(4, 16), "neck.weight": values(6, 32, 1, 1)},
        ),
        ({name: one for name, one in network(8, 16, 32).items() if "fc" not in name}, network(8, 16, 32)),
    ],
    ids=["other classes", "more heads", "without a head"],
)
def test_one_network_with_another_head(left, right, tmp_path):
    found = suggest(save(tmp_path / "a.pth", left), save(tmp_path / "b.pth", right), tmp_path / "map.toml")
    assert {row["from"]: row["to"] for row in found.rows} == {
        name: name for name in left if name in right and left[name].shape == right[name].shape
    }


@pytest.mark.parametrize(
    ("slot", "pattern"),
    [
        ("w/Adam_1", "*/Adam_1"),
        ("w/Nadam", "*/Nadam"),
        ("train/w/Momentum", "*/Momentum"),
        ("Adam/v/w", "Adam/v/*"),
        ("w/ema", "*/ema"),
        ("w_adagrad_squared_sum", "*_adagrad_squared_sum"),
        ("w/scale", ""),
        ("w/head", ""),
    ],
)
def test_slots_are_those_of_layouts_too(slot, pattern, tmp_path):
    """Beside a variable of their shape only, and what merely lies inside a variable is none in an unknown file."""
    file = save(tmp_path / "a.pth", {"w": values(4, 3), slot: values(4, 3)})
    with open_checkpoint(str(file)) as found:
        assert sort_out(found).drop == ((pattern,) if pattern else ())
    file = save(tmp_path / "b.pth", {"w": values(2, 3), slot: values(4, 3)})
    with open_checkpoint(str(file)) as found:
        assert sort_out(found).weights == ("w", slot)


@pytest.mark.parametrize("side", [0, 1])
def test_a_tensor_without_a_name(side, tmp_path):
    files = [tmp_path / "a.pth", tmp_path / "b.pth"]
    torch.save({"": torch.ones(3, 4), "o": torch.ones(2, 5)}, files[side])
    torch.save({"k": torch.ones(3, 4), "p": torch.ones(2, 5)}, files[1 - side])
    with pytest.raises(Refused, match="empty name"):
        suggest(*files, tmp_path / "map.toml")
