"""A record is a claim: one that says more than our own conversion could have written proves nothing."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import converters.verification.verify as verification
from converters import convert, verify
from converters.conversion.rounding import pack
from converters.errors import ConverterError
from tests.helpers import in_memory, layout_weights, selection, vmz_files
from tests.helpers.in_memory import not_run
from tests.verification.test_verify import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A foreign file and a PyTorch file of one network, and what is made of them, with shifted variances."""
    folder = tmp_path_factory.mktemp("forged")
    vmz_files.write(folder / "x.pkl", "r3d-18", seed=3)
    convert(folder / "x.pkl", folder / "x.pth", source="vmz", to="native")
    convert(folder / "x.pkl", folder / "out.safetensors", source="vmz", to="torchvision")
    return {"foreign": folder / "x.pkl", "pytorch": folder / "x.pth", "out": folder / "out.safetensors"}


def noise_with_steps(file: File) -> None:
    """A variance of noise, and steps that lead from it to the source's."""
    name = "layer1.0.conv1.1.running_var"
    variance = file[name]
    noise = np.random.default_rng(0).random(variance.shape, np.float32) + 1
    shift = np.float32(file.record["restore"]["variance"]["shift"])
    steps = (variance - shift).view("i4") - (noise - shift).view("i4")
    start, end = file.header[name]["data_offsets"]
    file.data[start:end] = noise.tobytes()
    file.record["restore"]["variance"]["steps"][name] = pack(steps.tobytes())


def noise_that_moved(file: File) -> None:
    """A convolution of noise, said to be scaled, and steps that lead back."""
    name = "layer1.0.conv1.0.weight"
    weight = file[name]
    noise = np.random.default_rng(0).standard_normal(weight.shape, np.float32)
    steps = weight.view("i4") - (noise * np.float32(1)).view("i4")
    start, end = file.header[name]["data_offsets"]
    file.data[start:end] = noise.tobytes()
    tensors = {name: [1, False, pack(steps.tobytes())]}
    file.record["restore"]["moved"] = {"settings": {}, "tensors": tensors}


def without(*path: str) -> Callable[[File], None]:
    """A record that leaves a field out."""

    def forge(file: File) -> None:
        place = file.record
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return forge


def with_value(value: Any, *path: str) -> Callable[[File], None]:
    """A record with another value of a field."""

    def forge(file: File) -> None:
        place = file.record
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return forge


FORGED = {
    "noise with steps": noise_with_steps,
    "noise that moved": noise_that_moved,
    "no origin": without("origin"),
    "no eps": without("network", "settings", "bn_eps"),
    "no labels": with_value(["?"], "network", "input", "labels"),
    "no mean": without("network", "input", "mean"),
    "no shift": without("restore", "variance"),
    "another eps": with_value(0.5, "network", "settings", "bn_eps"),
    "another shift": with_value(0.25, "restore", "variance", "shift"),
    "a huge shift": with_value(1e300, "restore", "variance", "shift"),
    "an eps that is not a number": with_value(float("nan"), "origin", "bn_eps"),
    "steps of a weight": with_value({"stem.0.weight": pack(b"\0" * 8)}, "restore", "variance", "steps"),
    "a text for a list": with_value("x", "notes"),
    "no restore": without("restore"),
}


@pytest.mark.parametrize("source", selection.first_of(["foreign", "pytorch"]))
@pytest.mark.parametrize("name", selection.first_of(FORGED, 6))
def test_a_forged_record_proves_nothing(name: str, source: str, files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(verification, "compare", not_run)
    (tmp_path / "out.safetensors").write_bytes(files["out"].read_bytes())
    file = File(tmp_path / "out.safetensors")
    FORGED[name](file)
    file.write()
    try:
        found = verify(files[source], tmp_path / "out.safetensors")
    except ConverterError:
        return
    assert not found.ok


def test_the_true_record_is_right(files, monkeypatch) -> None:
    monkeypatch.setattr(verification, "compare", not_run)
    assert verify(files["foreign"], files["out"]).ok
    assert verify(files["pytorch"], files["out"]).ok


@pytest.mark.parametrize("change", ["float64", "counter"])
def test_other_dtypes_are_not_bit_for_bit(change: str, files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(verification, "compare", not_run)
    state = torch.load(files["pytorch"], weights_only=True)
    name = next(name for name in state if name.endswith("running_var"))
    if change == "float64":
        state[name] = state[name].double()
    else:
        state[name.removesuffix("running_var") + "num_batches_tracked"] = torch.tensor(0.0)
    torch.save(state, tmp_path / "copy.pth")
    try:
        found = verify(files["foreign"], tmp_path / "copy.pth", layout="pytorch")
    except ConverterError:
        return
    assert not found.ok


WRONG = [None, "x", [], {}, 2, 0.5, "float16"]
"""Values of which each is a wrong one of most fields."""

FREE = ("tool", "crc32", "sha256", "notes", "dropped", "model", "choices", "name")
"""What a source cannot tell: what was done to another file, in words, with which version, and what it was called."""


def places(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of all fields of a record that a source contradicts or proves."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name not in FREE:
            yield (*at, name)
            yield from places(inner, (*at, name))


def lies(record: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The record with each field left out, and with wrong values of each."""
    for place in places(record):
        for value in (KeyError, *WRONG):
            lie = copy.deepcopy(record)
            inner = lie
            for name in place[:-1]:
                inner = inner[name]
            if inner[place[-1]] == value:
                continue
            if value is KeyError:
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
            yield (*place, str(value)), lie


@pytest.mark.parametrize(
    ("variant", "source", "target"),
    selection.first_of(
        [
            ("movinet-a0-base", "movinet", "movinet-pytorch"),
            ("ir-csn-26", "vmz", "mmaction"),
            ("ir-csn-26", "native", "mmaction"),
            ("tsm-r50", "tsm", "mmaction2"),
        ],
        0,
    ),
)
def test_every_lie_of_a_record_is_said(
    variant: str, source: str, target: str, tmp_path: Path, monkeypatch
) -> None:
    one = layout_weights.variant(variant)
    model = layout_weights.model_of(one, source)
    given = in_memory.opened(source, in_memory.seeded(source, one), None)
    made, result = in_memory.convert(given, source, target, tmp_path, monkeypatch, variant=model)
    true = json.loads(json.dumps(result.provenance))

    def says_nothing(record: dict[str, Any]) -> bool:
        try:
            output = in_memory.opened(target, made, record)
            found = in_memory.verify(given, output, (source, target), monkeypatch, variant=model)
        except ConverterError:
            return False
        return found.ok and not found.declared.notes

    assert says_nothing(true)
    believed = [place for place, lie in lies(true) if says_nothing(lie)]
    assert not believed


def test_what_the_record_has_is_said_in_words(tmp_path: Path, monkeypatch) -> None:
    one = layout_weights.variant("ir-csn-26")
    given = in_memory.opened("vmz", in_memory.seeded("vmz", one), None)
    made, result = in_memory.convert(given, "vmz", "mmaction", tmp_path, monkeypatch)

    def said(change: Callable[[dict[str, Any]], object]) -> tuple[str, ...]:
        record = json.loads(json.dumps(result.provenance))
        change(record)
        output = in_memory.opened("mmaction", made, record)
        found = in_memory.verify(given, output, ("vmz", "mmaction"), monkeypatch)
        assert found.ok == (not found.exact.record)
        return (*found.exact.record, *found.declared.notes)

    says = {
        "licence x instead of": lambda record: record["network"].update(licence="x"),
        "classes 2 instead of": lambda record: record["network"].update(classes=2),
        "nothing of the network": lambda record: record.pop("network"),
        "no origin": lambda record: record.pop("origin"),
        "an origin that does not match the source: dtype": lambda record: record["origin"].update(
            dtype="float16"
        ),
        "source's scope x instead of": lambda record: record["source"].update(scope="x"),
        "mapping's network x": lambda record: record["mapping"].update(network="x"),
        "another file than the source": lambda record: record["source"].update(size=2),
    }
    for words, change in says.items():
        assert any(words in fault for fault in said(change)), words
