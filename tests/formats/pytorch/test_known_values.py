"""What training code saves beside the weights is inert: it is read, and never makes a checkpoint damaged or unsafe.

The pickles are real ones of each package, made by ``scripts/fixtures/make_known_value_fixtures.py``.
"""

from __future__ import annotations

import argparse
import array
import collections
import datetime
import decimal
import io
import pathlib
import pickle
import re
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters.errors import BadInput
from converters.files import SourceFile
from converters.formats.pickle.inert_names import NAMES as INERT_NAMES
from converters.formats.pickle.inert_objects import Bystander
from converters.formats.pickle.machine import walk
from converters.formats.pytorch.reader import read_pth
from converters.formats.pytorch.torch_globals import NAMES
from converters.inspection.other_differences import compare_others
from tests.helpers import paths
from tests.helpers.hostile_pickles import call, named, text

if TYPE_CHECKING:
    from pathlib import Path

with zipfile.ZipFile(paths.FIXTURES / "pickle" / "known_values.zip") as archive:
    KNOWN = {name: archive.read(name) for name in archive.namelist()}

P4 = b"\x80\x04"
HISTORY = named("mmengine.logging.history_buffer", "HistoryBuffer")
WEIGHT = (
    text("w")
    + named("torch._utils", "_rebuild_tensor_v2")
    + b"(("
    + text("storage")
    + named("torch", "FloatStorage")
    + text("0")
    + text("cpu")
    + b"K\x04tQK\x00K\x04\x85K\x01\x85\x89}tR"
)


def file_of(folder: Path, data: bytes) -> SourceFile:
    path = folder / "x"
    path.write_bytes(data)
    return SourceFile(path)


def checkpoint(value: bytes) -> bytes:
    """A PyTorch file of ``{'w': tensor, 'beside': value}``; the value is a pickle of its own."""
    start = 2 if value[:1] == b"\x80" else 0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        stream = P4 + b"}" + WEIGHT + b"s" + text("beside") + value[start:-1] + b"s."
        archive.writestr("x/data.pkl", stream)
        archive.writestr("x/data/0", bytes(range(16)))
    return out.getvalue()


def read(folder: Path, value: bytes):
    with file_of(folder, checkpoint(value)) as file:
        found = read_pth(file)
        assert found.tensors["w"].tobytes() == bytes(range(16))
        return found.other_values["beside"]


def refusal(folder: Path, value: bytes) -> str:
    with file_of(folder, checkpoint(value)) as file, pytest.raises(BadInput) as caught:
        read_pth(file)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 3
    return str(caught.value)


def walked(folder: Path, value: bytes) -> object:
    with file_of(folder, value) as file:
        return walk(file, NAMES).value


def test_what_training_code_saves_is_read_beside_the_weights(tmp_path):
    assert len(KNOWN) > 180
    for data in KNOWN.values():
        read(tmp_path, data)


def test_real_keys_are_kept_apart(tmp_path):
    for name in (name for name in KNOWN if name.startswith("keys-py3")):
        assert len(walked(tmp_path, KNOWN[name])) == 14


def test_configurations_are_dictionaries(tmp_path):
    for package in ("addict", "easydict", "fvcore", "lightning", "munch", "yacs"):
        names = [name for name in KNOWN if name.startswith(f"{package}-")]
        assert names
        for name in names:
            assert walked(tmp_path, KNOWN[name]).keys() & {"a", "A"}


def test_a_version_is_its_text(tmp_path):
    for name in (name for name in KNOWN if name.startswith("torch_values-")):
        assert walked(tmp_path, KNOWN[name])[0] == "2.13.0+cpu"


def test_a_checkpoint_of_mmengine(tmp_path):
    (hub,) = [
        data for name, data in KNOWN.items() if name.startswith("mmengine-") and name.endswith("protocol2")
    ]
    history = walked(tmp_path, hub)[0]["log_scalars"]["train/loss"]
    assert isinstance(history, Bystander)
    (state,) = history.made_from()
    functions = [function.name for function in state["statistics_methods"].values()]
    place = "mmengine.logging.history_buffer.HistoryBuffer"
    assert functions == [f"{place}.{name}" for name in ("min", "max", "current", "mean")]


@pytest.mark.parametrize("name", ["_annealing_cos", "_annealing_linear"])
def test_functions_of_schedulers_are_mentioned(tmp_path, name):
    owner = ("torch.optim.lr_scheduler", "OneCycleLR")
    for value in (
        call("builtins", "getattr", named(*owner), text(name)),
        named(owner[0], f"{owner[1]}.{name}"),
    ):
        read(tmp_path, P4 + value + b".")


OTHER_FORMS = {
    "getattr of another class": call("builtins", "getattr", named("argparse", "Namespace"), text("min")),
    "getattr of another name": call("builtins", "getattr", HISTORY, text("__init__")),
    "getattr of a function": call("builtins", "getattr", named("collections", "OrderedDict"), text("min")),
    "getattr of a text": call("builtins", "getattr", text("x"), text("min")),
    "getattr with a default": call("builtins", "getattr", HISTORY, text("min"), b"N"),
    "getattr of nothing": call("builtins", "getattr"),
    "getattr called": call("builtins", "getattr", HISTORY, text("min")) + b")R",
    "function called": named("mmengine.logging.history_buffer", "HistoryBuffer.min") + b")R",
    "another function": named("mmengine.logging.history_buffer", "HistoryBuffer.__init__"),
    "two attributes": named("mmengine.logging.history_buffer", "HistoryBuffer.min.__globals__"),
    "a class called": HISTORY + b")R",
    "a class with arguments": HISTORY + b"K\x01\x85\x81",
    "an attribute by a state": HISTORY + b"Nb",
    "type of a name": call("builtins", "type", text("X"), b")", b"}"),
    "type of a value": call("builtins", "type", b"K\x01"),
    "partial": call("functools", "partial", named("builtins", "int")),
    "item of a list": call("_operator", "getitem", b"]", b"K\x00"),
    "item of a class": call("_operator", "getitem", HISTORY, b"K\x00"),
    "attrgetter": call("operator", "attrgetter", text("x")),
    "methodcaller": call("operator", "methodcaller", text("x")),
    "reduce with a list": call("_functools", "reduce", b"]", b"]"),
    "reduce with a class": call("_functools", "reduce", named("builtins", "int"), b"]"),
    "reconstructed from an int": call("copyreg", "_reconstructor", HISTORY, named("builtins", "int"), b"K\x01"),
    "reconstructed without a class": call("copyreg", "_reconstructor", text("x"), named("builtins", "object"), b"N"),
    "reconstructed with a value": call("copyreg", "_reconstructor", HISTORY, named("builtins", "object"), b"K\x01"),
    "reconstructed function": call(
        "copyreg", "_reconstructor", named("builtins", "getattr"), named("builtins", "object"), b"N"
    ),
    "new of a function": call("copyreg", "__newobj__", named("builtins", "getattr")),
    "new of nothing": call("copyreg", "__newobj__"),
    "version of a number": named("torch.torch_version", "TorchVersion") + b"K\x01\x85\x81",
    "version of nothing": named("torch.torch_version", "TorchVersion") + b")\x81",
    "Any called": named("typing", "Any") + b")R",
    "OneCycleLR": named("torch.optim.lr_scheduler", "OneCycleLR") + b")\x81",
    "scheduler by another name": named("torch.optim.lr_scheduler", "OneCycleLR.step"),
    "callback": named("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") + b")\x81",
    "dictionary of two": call("easydict", "EasyDict", b"}", b"}"),
    "dictionary of a number": call("easydict", "EasyDict", b"K\x01"),
    "ufunc": named("numpy", "frompyfunc"),
    "loader": call("torch.storage", "_load_from_bytes", b"C\x00"),
}  # fmt: skip


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_other_forms_of_known_names_are_refused(tmp_path, form):
    assert "contains" in refusal(tmp_path, P4 + OTHER_FORMS[form] + b".") or form == "an attribute by a state"


ALLOCATING = {
    "bytearray of a size": call("builtins", "bytearray", b"J\xff\xff\xff\x7f"),
    "bytes of a size": call("builtins", "bytes", b"J\xff\xff\xff\x7f"),
    "a dictionary by a range": call("easydict", "EasyDict", call("builtins", "range", b"J\xff\xff\xff\x7f")),
    "a deque of a range": call("collections", "deque", call("builtins", "range", b"J\xff\xff\xff\x7f")),
    "a deque of a text": call("collections", "deque", text("x" * 200)),
    "a deque of a deep tuple": call("collections", "deque", b"K\x01" + b"2\x86" * 40),
    "a deque whose length is a list": call("collections", "deque", b")", b"]"),
    "a size of a tuple": call("torch", "Size", b"K\x01" + b"2\x86" * 40),
    "an OrderedDict of a text": call("collections", "OrderedDict", text("ab" * 100)),
    "a scalar of objects": call(
        "numpy.core.multiarray", "scalar", call("numpy", "dtype", text("O8"), b"K\x00", b"K\x01"), b"]"
    ),
}


@pytest.mark.parametrize("form", ALLOCATING)
def test_what_would_allocate_is_refused(tmp_path, form):
    assert len(refusal(tmp_path, P4 + ALLOCATING[form] + b".")) < 400


def test_large_arguments_are_only_held(tmp_path):
    value = [
        range(1 << 60),
        slice(0, 1 << 60),
        decimal.Decimal("1e999999"),
        array.array("d", [1.5]),
        re.compile("(a+)+$"),
    ]
    read(tmp_path, pickle.dumps(value, 4))


UNKNOWN = {
    "wandb.sdk.wandb_config.Config": named("wandb.sdk.wandb_config", "Config"),
    "configs.base.Config": named("configs.base", "Config") + b")\x81}b",
    "__main__.Args": b"c__main__\nArgs\n)\x81}b",
    "functools.partial": b"cfunctools\npartial\n",
    "torch.utils.tensorboard.writer.SummaryWriter": named("torch.utils.tensorboard.writer", "SummaryWriter"),
    "torch.optim.sgd.SGD": named("torch.optim.sgd", "SGD") + b")\x81}b",
    "omegaconf.OmegaConf": named("omegaconf", "OmegaConf"),
    "torch.hub.load": call("torch.hub", "load", text("x")),
    "pip._internal.main": call("pip._internal", "main", b"]"),
    "my_project._Config": named("my_project", "_Config") + b")\x81",
    "easydict.os.system": named("easydict", "os.system"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_refused_by_its_name(tmp_path, name):
    message = refusal(tmp_path, P4 + UNKNOWN[name] + b".")
    assert name in message
    assert "nothing was run" in message
    assert ("contains code" in message) == name.rpartition(".")[2].islower()


BOMBS = {
    "states in turn": HISTORY + b")\x81" + b"}b" * 2,
    "a key of many tuples": b"}" + b"K\x01" + b"2\x86" * 40 + b"Ns",
    "a key that shares": b"}" + b")" + b"2\x86" * 8 + b"Ns",
    "a deep key": b"}K\x01" + b"\x85" * 200_000 + b"Ns",
    "a key with a list in it": b"}]\x85Ns",
    "a key with a dictionary in it": b"}}\x85\x85Ns",
    "one dictionary of many copies": named("easydict", "EasyDict")
    + b"\x94}(" + b"".join(b"J" + index.to_bytes(4, "little") + b"N" for index in range(20_000)) + b"u\x85\x94"
    + b"(" + b"h\x00h\x01R" * 3_000 + b"t",
    "one list of many copies": named("collections", "deque")
    + b"\x94](" + b"N" * 100_000 + b"e\x85\x94" + b"(" + b"h\x00h\x01R" * 3_000 + b"t",
    "one value rebuilt": named("copyreg", "_reconstructor")
    + b"\x94(" + named("easydict", "EasyDict") + named("builtins", "dict")
    + b"}(" + b"".join(b"J" + index.to_bytes(4, "little") + b"N" for index in range(20_000)) + b"ut\x94"
    + b"(" + b"h\x00h\x01R" * 3_000 + b"t",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_of_known_names_are_refused(tmp_path, name):
    data = P4 + BOMBS[name] + b"."
    with file_of(tmp_path, data) as file, pytest.raises(BadInput):
        walk(file, NAMES)


DEEP = {
    "shared": b"K\x01" + b"2\x86" * 40,  # 2 ** 40 numbers if it were written out
    "nested": b"K\x01" + b"\x85" * 20_000,
}


@pytest.mark.full
@pytest.mark.parametrize("deep", DEEP)
def test_no_known_name_prints_or_compares_what_is_deep(tmp_path, deep):
    """Every name is called, made anew and given a state with such values; each ends in a value or a refusal."""
    memo = b"\x80\x02" + DEEP[deep][:2000] + b"q\x000"
    said = [""]
    for module, name in (*NAMES, *INERT_NAMES):
        known = memo + f"c{module}\n{name}\n".encode()
        for arguments in (b"h\x00\x85", b"h\x00h\x00\x86", b"h\x00h\x00h\x00\x87"):
            for end in (b"R", b"\x81", b"R}h\x00h\x00sb", b")\x81h\x00b"):
                with file_of(tmp_path, known + arguments + end + b".") as file:
                    try:
                        walk(file, NAMES)
                    except BadInput as error:
                        said.append(error.what)
    assert max(map(len, said)) < 300


@pytest.mark.parametrize("deep", DEEP)
def test_a_deep_value_beside_the_weights_is_left_aside(tmp_path, deep, run):
    (tmp_path / "x.pth").write_bytes(checkpoint(P4 + DEEP[deep] + b"."))
    for options in ((), ("--json",)):
        done = run("inspect", tmp_path / "x.pth", *options)
        assert done.returncode == 0, done.stderr
        assert "beside" in done.stdout
    assert "holds no " in refusal_of(tmp_path, P4 + DEEP[deep] + b".")


def compared(folder: Path, a: bytes, b: bytes) -> list[str]:
    """How two values beside the weights compare, in files that differ in other bytes."""
    with file_of(folder, checkpoint(a)) as left:
        (folder / "y").write_bytes(repacked(checkpoint(b)))
        with SourceFile(folder / "y") as right:
            others = (read_pth(left).other_values, read_pth(right).other_values)
            return [found.kind for found in compare_others(*others)]


def repacked(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as copy:
        copy.writestr("x/version", b"3\n" * 50)
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    return out.getvalue()


def test_what_is_saved_again_is_equal(tmp_path):
    """Also configurations whose parts know what they are in."""
    for name, data in KNOWN.items():
        if name.endswith(("protocol2", "protocol4")):
            assert compared(tmp_path, data, data) == ["equal"], name


VALUES = {
    "float keys": ({1.5: 1}, {2.5: 1}),
    "float and text": ({1.5: 1}, {"1.5": 1}),
    "None and text": ({None: 1}, {"None": 1}),
    "complex keys": ({1j: 1}, {2j: 1}),
    "date keys": ({datetime.date(2020, 1, 1): 1}, {datetime.date(2020, 1, 2): 1}),
    "long keys": ({"x" * 5000 + "a": 1}, {"x" * 5000 + "b": 1}),
    "long keys in a tuple": ({("x" * 300 + "a",): 1}, {("x" * 300 + "b",): 1}),
    "tuples that end differently": ({("x" * 250, "y"): 1}, {("x" * 250, "z"): 1}),
    "sets as keys": ({frozenset([1]): 1}, {frozenset([2]): 1}),
    "dates": (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    "complex": (1j, 2j),
    "deques": (collections.deque([1]), collections.deque([2])),
    "longest of deques": (collections.deque([1], 2), collections.deque([1], 3)),
    "default factories": (collections.defaultdict(int), collections.defaultdict(list)),
    "numpy dates": (np.datetime64("2020-01-01"), np.datetime64("2020-01-02")),
    "units of dates": (np.datetime64(1, "D"), np.datetime64(1, "h")),
    "numpy complex": (np.complex64(1), np.complex64(2)),
    "long doubles": (np.longdouble(1), np.longdouble(2)),
    "fields of structures": (np.zeros(1, [("a", "<i4")]), np.zeros(1, [("b", "<i4")])),
    "namespaces": (argparse.Namespace(a=1), argparse.Namespace(a=2)),
    "paths": (pathlib.PurePosixPath("a"), pathlib.PurePosixPath("b")),
}


@pytest.mark.parametrize("what", VALUES)
def test_what_differs_is_never_equal(tmp_path, what):
    a, b = VALUES[what]
    for protocol in (0, 2, 4, 5):
        left, right = pickle.dumps(a, protocol), pickle.dumps(b, protocol)
        assert compared(tmp_path, left, left) == ["equal"]
        assert "equal" not in compared(tmp_path, left, right)


def refusal_of(folder: Path, stream: bytes) -> str:
    """What is said of a whole pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x/data.pkl", stream)
    with file_of(folder, out.getvalue()) as file, pytest.raises(BadInput) as caught:
        read_pth(file)
    return str(caught.value)


def test_every_sort_of_key_is_inert_beside_the_weights(tmp_path):
    value = {
        None: 1,
        2.5: 2,
        ("a", 1): 3,
        1 << 80: 4,
        -1: 5,
        "x" * 5000: 6,
        ("k" * 300,): 7,
        "1": 8,
        1: 9,
        "None": 10,
    }
    value |= {torch.float16: 11, torch.device("cpu"): 12, torch.Size([1]): 13}
    torch.save(
        {"state_dict": {"w": torch.ones(2)}, "more": value, "deeper": {"again": value}, **value},
        tmp_path / "x",
    )
    with SourceFile(tmp_path / "x") as file:
        found = read_pth(file)
        assert list(found.tensors) == ["w"]
        assert len(found.other_values) == len(value) + 2
        assert {"None", "2.5", "('a', 1)", "1", "-1", str(1 << 80)} < found.other_values.keys()


def test_a_tensor_has_a_name_of_its_own(tmp_path):
    for value in (
        {"1": torch.ones(2), 1: torch.ones(2)},
        {1: 5, "1": torch.ones(2)},
        {b"1": torch.ones(2), "1": 5},
    ):
        torch.save(value, tmp_path / "x")
        with SourceFile(tmp_path / "x") as file, pytest.raises(BadInput, match="the name 1 twice"):
            read_pth(file)
    torch.save({"n" * 1000: torch.ones(2)}, tmp_path / "x")
    with SourceFile(tmp_path / "x") as file:
        assert list(read_pth(file).tensors) == ["n" * 1000]
    torch.save({"n" * 1025: torch.ones(2)}, tmp_path / "x")
    with SourceFile(tmp_path / "x") as file, pytest.raises(BadInput, match="a name of 1,025 bytes"):
        read_pth(file)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", ["bare", "parallel", "entry", "beside"])
@pytest.mark.filterwarnings("ignore")
def test_a_whole_model_is_named_as_one(tmp_path, wrap, legacy, protocol):
    from converters.formats.open import open_checkpoint

    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    value = {
        "bare": model,
        "parallel": torch.nn.DataParallel(model),
        "entry": {"epoch": 1, "model": model},
        "beside": {"state_dict": model.state_dict(), "criterion": torch.nn.CrossEntropyLoss()},
    }[wrap]
    path = tmp_path / "x.pth"
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    with pytest.raises(BadInput) as caught, open_checkpoint(str(path)):
        pass
    assert "holds a whole model" in caught.value.what
    assert "torch.nn." in caught.value.what
    assert "load it with PyTorch where its code is, and save its state_dict()" in caught.value.hint


def test_a_model_of_a_program_of_its_own_is_named_as_one(tmp_path):
    state = (
        b"}("
        + text("training")
        + b"\x89"
        + b"".join(text(name) + b"}" for name in ("_parameters", "_buffers", "_modules"))
        + b"ub"
    )
    message = refusal(tmp_path, P4 + named("my_project.models", "Net") + b")\x81" + state + b".")
    assert "whole model, which is a program: my_project.models.Net" in message


def test_pickle_agrees_that_the_fixtures_are_plain(tmp_path):
    """Keys and standard values that this Python can load are what the reader finds."""
    for name in ("keys-py3.13-protocol2", "keys-py3.13-protocol5"):
        loaded = pickle.loads(KNOWN[name])
        assert len(loaded) == len(walked(tmp_path, KNOWN[name]))
