"""Which of a checkpoint's dictionaries holds the weights: the plain ones, by name, and never by a guess."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import struct
import types
from collections import Counter, UserDict, defaultdict, deque
from typing import NamedTuple

import numpy as np
import pytest
import torch

from converters import convert, inspect, load_model
from converters.errors import BadInput, Refused, UsageError
from converters.formats.open import open_checkpoint
from converters.formats.pytorch.reader import read_pth
from tests.formats.pytorch.test_reader import file_of, network, saved
from tests.helpers.other_values import all_plain, plain

PLAIN = [
    *(
        "state_dict",
        "model",
        "model_state",
        "model_state_dict",
        "net",
        "network",
        "params",
        "weights",
        "module",
    ),
    *("model.state_dict", "model.module", "checkpoint.model.state_dict"),
]
BESIDE = {
    "set": {1, 2},
    "frozenset": frozenset((1,)),
    "complex": 1j,
    "slice": slice(1, 2),
    "range": range(3),
    "counter": Counter("aab"),
    "defaultdict": defaultdict(list, {"a": [1]}),
    "deque": deque([1, 2], maxlen=5),
    "path": pathlib.PurePosixPath("/data/x"),
    "posix path": pathlib.Path("/data/x"),
    "date": datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(1),
    "decimal": decimal.Decimal("1.5"),
    "namespace": types.SimpleNamespace(a=1),
    "text": np.str_("a"),
    "layout": torch.strided,
    "scheme": torch.per_tensor_affine,
}
"""Values that training scripts save beside weights."""

AVERAGES = ["state_dict_ema", "ema_state_dict", "model_ema", "ema", "ema.module", "modelEMA", "swa_model"]


def nested(path: str, value) -> dict:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


class Found(NamedTuple):
    """What was taken, and the value of its tensor ``w``."""

    wrapper: str | None
    weight: float
    beside: tuple[str, ...]
    other_values: dict[str, object]


def read(folder, value, entry=None, **options) -> Found:
    with file_of(folder, saved(value, **options)) as file:
        found = read_pth(file, entry=entry)
        (weight,) = struct.unpack("<f", found.tensors["w"].tobytes())
        return Found(found.wrapper, weight, found.beside, found.other_values)


def marked(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([float(value)])}


@pytest.mark.parametrize("path", PLAIN)
def test_the_plain_weights_are_found(tmp_path, path):
    optimizer = torch.optim.Adam(network().parameters()).state_dict()
    found = read(tmp_path, {**nested(path, marked(1)), "epoch": 3, "optimizer": optimizer})
    assert found[:3] == (path, 1, ())
    assert set(found.other_values) == {"epoch", "optimizer"}


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("plain", ["state_dict", "model.state_dict", "generator"])
def test_averages_of_the_weights_are_taken_when_asked_for_only(tmp_path, plain, average):
    value = {**nested(average, marked(2)), **nested(plain, marked(1))}
    found = read(tmp_path, value)
    assert found[:3] == (plain, 1, (average,))
    found = read(tmp_path, value, average)
    assert found[:3] == (average, 2, (plain,))
    found = read(tmp_path, nested(average, marked(2)))
    assert found[:3] == (average, 2, ())


def test_a_state_dict_with_dictionaries_in_it_is_one(tmp_path):
    found = read(tmp_path, {**marked(1), "extra": {"centre": torch.ones(2)}, "meta": {"epoch": 1}})
    assert found[:3] == (None, 1, ("extra",))
    assert set(found.other_values) == {"extra", "meta"}


def test_what_may_be_meant_is_asked(tmp_path):
    for paths in (("state_dict", "model"), ("generator", "discriminator"), ("model.a", "model.b")):
        value: dict = {}
        for number, path in enumerate(paths):
            first, _, rest = path.partition(".")
            if rest:
                value.setdefault(first, {})[rest] = marked(number)
            else:
                value[first] = marked(number)
        with pytest.raises(Refused, match="holds 2 state dicts") as caught:
            read(tmp_path, value)
        assert caught.value.where == ", ".join(paths)
        assert f"--entry {paths[0]}" in caught.value.told.hint
        assert [read(tmp_path, value, path).weight for path in paths] == [0, 1]


def test_an_entry_that_is_not_there(tmp_path):
    for value, there in (({"model": marked(1)}, "it has model"), (marked(1), "a state dict itself")):
        with pytest.raises(UsageError, match="no state dict in the entry 'ema'") as caught:
            read(tmp_path, value, "ema")
        assert there in caught.value.told.hint
    path = tmp_path / "x.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(UsageError, match="only files of PyTorch, TensorFlow and JAX have entries"):
        inspect(path, entry="ema")


def test_optimizers_are_no_state_dicts_whatever_their_name(tmp_path):
    sgd = torch.optim.SGD(network().parameters(), 0.1, momentum=0.9).state_dict()
    momenta = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []}
    found = read(tmp_path, {"net": marked(1), "solver": momenta, "opt_dict": sgd, "optim": {"g": marked(2)}})
    assert (found.wrapper, found.beside) == ("net", ())


def test_objects_of_training_code_are_left_aside(tmp_path):
    from argparse import Namespace

    found = read(tmp_path, {"model": marked(1), "args": Namespace(lr=0.1, nested=Namespace(a=1))})
    assert found.weight == 1
    args = found.other_values["args"]
    assert args.kind == "argparse.Namespace"
    assert plain(args)["[0]"]["lr"] == 0.1


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", BESIDE)
def test_data_of_training_scripts_is_left_aside(tmp_path, name, protocol):
    path = tmp_path / "x.pth"
    torch.save({"model": marked(1), "beside": BESIDE[name]}, path, pickle_protocol=protocol)
    with open_checkpoint(str(path)) as found:
        assert list(found.tensors) == list(marked(1))
        assert "beside" in found.other_values


def test_what_a_dictionary_makes_of_missing_values_is_not_made(tmp_path):
    found = read(
        tmp_path, {"model": marked(1), "log": defaultdict(list, {"loss": [0.5]}), "name": np.str_("a")}
    )
    assert all_plain(found.other_values) == {"log": {"loss": [0.5]}, "name": "a"}


def test_a_dictionary_that_is_everywhere_costs_no_more_than_its_entries(tmp_path):
    inner = {f"n{index}": None for index in range(2000)}
    middle = {f"n{index}": inner for index in range(2000)}
    with pytest.raises(BadInput, match="entries in its dictionaries"):
        read(tmp_path, {"model": middle})
    itself: dict = {}
    itself["model"] = itself
    with pytest.raises(BadInput, match="no tensors"):
        read(tmp_path, itself)


def test_a_training_checkpoint_through_the_command(r2d, run, tmp_path):
    convert(r2d, tmp_path / "plain.pth", source="vmz")
    state = torch.load(tmp_path / "plain.pth", weights_only=True)
    shifted = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    path = tmp_path / "run.pth.tar"
    torch.save(
        {"epoch": 7, "model": {"state_dict": state}, "ema": shifted},
        path,
        _use_new_zipfile_serialization=False,
    )
    done = run("auto", path, "out.pth", "--to", "vmz-pt")
    assert done.returncode == 0, done.stderr
    assert (
        "the weights are those in model.state_dict; beside them are ema (--entry chooses another)"
        in done.stdout
    )
    assert "dropped by name: epoch, ema" in done.stdout
    assert "beside them  ema: other weights, which --entry takes" in run("inspect", path).stdout
    for entry, wanted in ((None, state), ("ema", shifted)):
        result = convert(path, tmp_path / f"{entry}.pth", source="vmz-pt", entry=entry)
        assert result.provenance["source"]["wrapper"] == (entry or "model.state_dict")
        written = torch.load(tmp_path / f"{entry}.pth", weights_only=True)
        assert all(torch.equal(written[name], tensor) for name, tensor in wanted.items())
        assert torch.equal(load_model(path, entry=entry).head.bias, wanted["fc.bias"])
        assert inspect(path, entry=entry).network.variant == "r2d-18"
    done = run("inspect", path, "--entry", "no.such")
    assert done.returncode == 2
    assert "it has model.state_dict, ema" in done.stderr


@pytest.mark.parametrize(
    ("value", "wrapper"),
    [
        (lambda state: (state, 3), "0"),
        (lambda state: [3, state, {"lr": 0.1}], "1"),
        (lambda state: {"model": (state, 3)}, "model.0"),
        (lambda state: {"epoch": 1, "saved": [{"net": state}]}, "saved.0.net"),
        (lambda state: UserDict(state), None),
        (lambda state: {"state_dict": UserDict(state)}, "state_dict"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_in_a_sequence_or_a_user_dict_is_found(tmp_path, value, wrapper, protocol):
    found = read(tmp_path, value(marked(1)), pickle_protocol=protocol)
    assert (found.weight, found.wrapper) == (1, wrapper)


def test_two_state_dicts_in_a_tuple_are_asked_for(tmp_path):
    with pytest.raises(Refused, match="not clear which is meant") as caught:
        read(tmp_path, (marked(1), marked(2)))
    assert 'entry="0"' in caught.value.hint
    assert read(tmp_path, (marked(1), marked(2)), entry="1").weight == 2


def test_tensors_without_names_are_no_state_dict(tmp_path):
    with pytest.raises(BadInput, match="holds tensors, but no dictionary of them by name"):
        read(tmp_path, list(marked(1).items()))
