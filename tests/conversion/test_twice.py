"""Tensors that files store under several names: all must be the same, one is enough, and the way back has those that
were stored."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from converters import convert, load_model
from converters.errors import BadInput, Refused
from converters.formats.open import open_checkpoint
from converters.inspection.diff import diff
from converters.inspection.inspect import inspect
from converters.mapping import table_files
from converters.mapping.check import faults
from converters.reports.terminal.inspection import inspection_text
from tests.helpers.mxnet_files import array, listed, params
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

NETWORK = """
family = "tiny"
[settings]
bn_eps = 1e-5
[types]
tiny-8 = { title = "Tiny", width = 8 }
lone-4 = { title = "Lone", width = 4 }
[variant]
name = "{type}"
parts = ["stem", "head"]
head = "head"
[parts.stem]
"stem" = "conv+bias+bn {width} {channels} 1 3 3 @ 1 2"
[parts.head]
"head" = "fc {classes} {width}"
"""
LAYOUT = """
title = "Tiny, MXNet"
format = "mxnet"
head_optional = true
default_targets = ["tiny-pytorch"]
[parameters]
conv = { weight = ".weight", bias = ".bias" }
bn = { weight = ".gamma", bias = ".beta", running_mean = ".running_mean", running_var = ".running_var" }
fc = { weight = ".weight", bias = ".bias" }
[modules.tiny]
"stem.conv" = "block.W"
"stem.bn" = "block.bn"
"head" = "fc"
[[twice]]
variants = ["tiny-*"]
[twice.names]
"seq.8.*" = "block.*"
"block.W_bn.{0,1}.*" = "block.{W,bn}.*"
[[twice]]
variants = ["*"]
[twice.names]
"head.1.*" = "fc.*"
"""
TARGET = """
title = "Tiny, PyTorch"
format = "pytorch"
[modules.tiny]
"stem.{conv,bn}" = "features.{conv,norm}"
"head" = "classifier"
"""
NATIVE = """
title = "canonical names"
format = "pytorch"
identity = true
priority = 2
"""
LEAVES = {"W": ("weight", "bias"), "bn": ("gamma", "beta", "running_mean", "running_var")}
MODULES = {"W": ("block.W", "seq.8.W", "block.W_bn.0", "seq.8.W_bn.0")}
MODULES["bn"] = ("block.bn", "seq.8.bn", "block.W_bn.1", "seq.8.W_bn.1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mappings")
    for folder in ("networks", "layouts", "labels"):
        (root / folder).mkdir()
    shutil.copy(REPOSITORY / "mappings" / "datasets.txt", root)
    (root / "layouts" / "native.toml").write_text(NATIVE)
    (root / "networks" / "tiny.toml").write_text(NETWORK)
    (root / "layouts" / "tiny-mxnet.toml").write_text(LAYOUT)
    (root / "layouts" / "tiny-pytorch.toml").write_text(TARGET)
    return root


@pytest.fixture(autouse=True)
def _tables(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "ROOT", str(root))


def values(width: int = 8) -> dict[str, np.ndarray]:
    """The tensors by their own names."""
    rng = np.random.default_rng(width)
    shapes = {"block.W.weight": (width, 3, 1, 3, 3), "block.W.bias": (width,)}
    shapes |= {f"block.bn.{leaf}": (width,) for leaf in LEAVES["bn"]}
    shapes |= {"fc.weight": (5, width), "fc.bias": (5,)}
    return {name: (rng.random(shape) + 0.5).astype("float32") for name, shape in shapes.items()}


def stored(which: dict[str, tuple[int, ...]], width: int = 8, head: tuple[str, ...] = ("head.1", "fc")):
    """A file with the modules' names at these places of `MODULES`, in an order of its own."""
    own = values(width)
    out = {}
    for module, places in which.items():
        for place, leaf in itertools.product(places, LEAVES[module]):
            out[f"{MODULES[module][place]}.{leaf}"] = own[f"block.{module}.{leaf}"]
    return out | {f"{name}.{leaf}": own[f"fc.{leaf}"] for name in head for leaf in ("weight", "bias")}


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path.write_bytes(params(arrays))
    return path


ALL = {"W": (1, 3, 0, 2), "bn": (3, 1, 2, 0)}


@pytest.mark.parametrize(
    ("which", "head"),
    [
        (ALL, ("head.1", "fc")),
        ({"W": (0,), "bn": (0,)}, ("fc",)),
        ({"W": (1,), "bn": (1,)}, ("head.1",)),
        ({"W": (2,), "bn": (3,)}, ("head.1",)),
        ({"W": (3, 1), "bn": (0, 2)}, ("fc", "head.1")),
        ({"W": (3,), "bn": (2,)}, ()),
    ],
)
def test_any_of_the_names_and_the_way_back(tmp_path: Path, which, head) -> None:
    source = write(tmp_path / "x.params", stored(which, head=head))
    convert(source, tmp_path / "out.pth", source="tiny-mxnet", check=True)
    with open_checkpoint(str(tmp_path / "out.pth")) as checkpoint:
        state = {name: tensor.tobytes() for name, tensor in checkpoint.tensors.items()}
    own = values()
    assert state["features.conv.weight"] == own["block.W.weight"].tobytes()
    assert state["features.norm.running_var"] == own["block.bn.running_var"].tobytes()
    assert ("classifier.weight" in state) == bool(head)
    convert(tmp_path / "out.pth", tmp_path / "back.params", to="tiny-mxnet")
    assert (tmp_path / "back.params").read_bytes() == source.read_bytes()


def test_a_new_file_has_all_names_of_its_variant(tmp_path: Path) -> None:
    for width, further in ((8, 18 + 2), (4, 2)):
        whole = {"W": (0,), "bn": (0,)}
        write(tmp_path / "x.params", stored(whole, width))
        convert(tmp_path / "x.params", tmp_path / "a.pth", source="tiny-mxnet", force=True)
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors", to="native", force=True)
        with open_checkpoint(str(tmp_path / "b.safetensors")) as checkpoint:
            bare = {name: one.tobytes() for name, one in checkpoint.tensors.items() if "num_" not in name}
            shapes = {name: one.shape for name, one in checkpoint.tensors.items()}
        import torch

        state = {name: torch.frombuffer(bytearray(raw), dtype=torch.float32) for name, raw in bare.items()}
        torch.save({name: one.view(shapes[name]) for name, one in state.items()}, tmp_path / "bare.pth")
        convert(tmp_path / "bare.pth", tmp_path / "new.params", source="native", to="tiny-mxnet", force=True)
        with open_checkpoint(str(tmp_path / "new.params")) as checkpoint:
            assert len(checkpoint.tensors) == 8 + further
            names = {*checkpoint.tensors}
        if width == 8:
            assert names == {*stored(ALL)}
        else:
            assert names == {*stored(whole, 4)}


def test_unequal_values_are_refused_with_both_names(tmp_path: Path) -> None:
    for which, name in ((ALL, "seq.8.W_bn.0.weight"), ({"W": (1, 3), "bn": (0,)}, "seq.8.W_bn.0.weight")):
        arrays = stored(which)
        arrays[name] = arrays[name].copy()
        arrays[name].flat[-1] += 1
        write(tmp_path / "x.params", arrays)
        with pytest.raises(
            Refused, match="stores one tensor under two names, with different values"
        ) as error:
            convert(tmp_path / "x.params", tmp_path / "out.pth", source="tiny-mxnet")
        assert name in str(error.value)
        assert str(error.value).count("weight") == 2
        assert not (tmp_path / "out.pth").exists()
        with pytest.raises(
            Refused, match="stores one tensor under two names, with different values"
        ) as loaded:
            load_model(tmp_path / "x.params", "tiny-mxnet")
        assert loaded.value.where == error.value.where


def test_other_shapes_dtypes_and_names_are_faults(tmp_path: Path) -> None:
    wrong = {
        "other shape": {"head.1.weight": np.zeros((6, 8), "float32")},
        "other axes": {"head.1.weight": np.zeros((5, 8, 1), "float32")},
        "no float": {"head.1.bias": np.zeros(5, "int32")},
        "no such name": {"head.2.bias": np.zeros(5, "float32")},
        "no such variant": {"seq.9.W.weight": np.zeros((8, 3, 1, 3, 3), "float32")},
    }
    for case, arrays in wrong.items():
        write(tmp_path / "x.params", {**stored(ALL), **arrays})
        with pytest.raises(Refused) as error:
            convert(tmp_path / "x.params", tmp_path / "out.pth", source="tiny-mxnet", force=True)
        if case != "other axes":
            assert next(iter(arrays)) in "".join(error.value.faults), case


def test_a_file_that_lacks_a_tensor_is_told_its_own_name(tmp_path: Path) -> None:
    arrays = stored({"W": (1,), "bn": (1,)})
    del arrays["seq.8.bn.beta"]
    write(tmp_path / "x.params", arrays)
    with pytest.raises(Refused) as error:
        convert(tmp_path / "x.params", tmp_path / "out.pth", source="tiny-mxnet")
    assert [fault for fault in error.value.faults if fault.startswith("missing")] == [
        "missing: block.bn.beta"
    ]


@pytest.mark.parametrize("forms", [[(1, (2, 0))], [(2, (1, 0)), (2, (2, 1)), (0, (1, 0)), (2, (1, 0))]])
def test_prefixes_versions_and_devices_come_back(tmp_path: Path, forms: list[Any]) -> None:
    arrays = stored(ALL)
    prefixed = [("aux:" if "running" in name else "arg:") + name for name in arrays]
    each = zip(arrays.values(), itertools.cycle(forms), strict=False)
    data = listed((array(one, *form) for one, form in each), prefixed)
    (tmp_path / "x.params").write_bytes(data)
    convert(tmp_path / "x.params", tmp_path / "out.safetensors", source="tiny-mxnet")
    convert(tmp_path / "out.safetensors", tmp_path / "back.params", to="tiny-mxnet")
    assert (tmp_path / "back.params").read_bytes() == data


def test_a_record_that_lacks_every_name_of_a_tensor(tmp_path: Path) -> None:
    write(tmp_path / "x.params", stored({"W": (1,), "bn": (0,)}))
    convert(tmp_path / "x.params", tmp_path / "out.safetensors", source="tiny-mxnet")
    data = (tmp_path / "out.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    record = json.loads(header["__metadata__"]["provenance"])
    assert "block.W.weight" in record["origin"]["lacks"]
    record["origin"]["lacks"].append("seq.8.W.weight")
    header["__metadata__"]["provenance"] = json.dumps(record)
    text = json.dumps(header).encode()
    (tmp_path / "bad.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(BadInput, match="its provenance record does not fit its tensors"):
        convert(tmp_path / "bad.safetensors", tmp_path / "back.params", to="tiny-mxnet")


def test_inspect_and_diff_know_all_names(tmp_path: Path) -> None:
    write(tmp_path / "x.params", stored(ALL))
    convert(tmp_path / "x.params", tmp_path / "out.pth", source="tiny-mxnet")
    assert diff(tmp_path / "x.params", tmp_path / "out.pth").same
    write(tmp_path / "one.params", stored({"W": (2,), "bn": (1,)}))
    assert diff(tmp_path / "x.params", tmp_path / "one.params").same
    arrays = stored(ALL)
    arrays["seq.8.bn.gamma"] = arrays["seq.8.bn.gamma"] + 1
    write(tmp_path / "other.params", arrays)
    found = diff(tmp_path / "other.params", tmp_path / "one.params")
    assert [row.name for row in found.rows if row.kind != "equal"] == ["seq.8.bn.gamma"]
    assert "not used" not in inspection_text(inspect(tmp_path / "x.params"))


SLIPS = {
    "no such tensor": ('"head.1.*" = "fc.*"', '"head.1.*" = "fcc.*"', "'head.1.*' is the further name of no"),
    "other stars": ('"head.1.*" = "fc.*"', '"head.1" = "fc.*"', "as many '*'"),
    "a name twice": ('"seq.8.*" = "block.*"', '"seq.{8,8}.*" = "block.{W,W}.*"', "a second time"),
    "no such variant": ('variants = ["tiny-*"]', 'variants = ["tinny-*"]', "'tinny-*' matches no variant"),
    "another tensor's": ('"head.1.*" = "fc.*"', '"block.W.*" = "fc.*"', "the name of"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slips_in_a_table(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, slip: str) -> None:
    before, after, what = SLIPS[slip]
    copy = tmp_path / "mappings"
    shutil.copytree(root, copy)
    path = copy / "layouts" / "tiny-mxnet.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    monkeypatch.setattr(table_files, "ROOT", str(copy))
    found = [str(fault) for fault in faults("layouts", "tiny-mxnet")]
    assert what in found[0], found
