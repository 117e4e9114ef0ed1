"""What refusals advise: options that the command has, that solve everything, and every command that fits."""

from __future__ import annotations

import pickle
import re
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest

from converters import convert
from converters.cli.main import main
from converters.conversion.inflate import inflate
from converters.conversion.recognize import recognize
from converters.errors import Refused
from converters.formats.checkpoint import Checkpoint
from converters.mapping.layout_tables import load_layout
from tests.helpers.layout_weights import shell, shells

if TYPE_CHECKING:
    from pathlib import Path

    from converters.tensor import Tensor


def opened(layout: str, tensors: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(path="x", format=load_layout(layout).format, container="file", tensors=tensors)


@pytest.mark.parametrize(
    ("asked", "layout", "name", "commands"),
    [
        ("vmz", "slowfast", "c2d-r50", {"nonlocal", "slowfast"}),
        ("vmz", "slowfast", "i3d-nl-r50", {"nonlocal", "slowfast"}),
        ("vmz", "slowfast", "slowfast-r50", {"slowfast"}),
        ("tsn", "c3d", "c3d-plain", {"c3d"}),
        ("mmaction2", "torchvision", "r3d-18", {"torchvision", "vmz-pt"}),
        ("mmaction2", "native", "r3d-18", {"native"}),
    ],
)
def test_every_command_that_fits_is_named(asked: str, layout: str, name: str, commands: set[str]) -> None:
    with pytest.raises(Refused) as caught:
        recognize(opened(layout, shells(layout, name, classes=400)), asked)
    assert set(re.findall(r"`convert ([\w-]+) \.\.\.`", caught.value.told.hint)) == commands
    assert set(re.findall(r"'([\w-]+)'", caught.value.hint)) == commands


def test_a_tie_of_layouts_names_all_commands() -> None:
    with pytest.raises(Refused, match="2 layouts") as caught:
        recognize(opened("slowfast", shells("slowfast", "c2d-r50", classes=400)), None)
    assert caught.value.told.hint == "say which: `convert nonlocal ...` or `convert slowfast ...`"
    assert caught.value.hint == "name the layout: 'nonlocal' or 'slowfast'"


def run_with(heads: dict[str, int], prefix: str, beside: str) -> Checkpoint:
    """A 2D ResNet-50 with torchvision's names, whose head is these layers, each with its inputs."""
    resnet = shells("torchvision", "resnet2d-50")
    state = {prefix + name: tensor for name, tensor in resnet.items() if not name.startswith("fc.")}
    for head, inputs in heads.items():
        state |= {f"{head}.weight": shell("", (51, inputs)), f"{head}.bias": shell("", (51,))}
    if beside:
        state[beside] = shell(beside, (4, 4, 4))
    return opened("torchvision", {name: tensor._replace(name=name) for name, tensor in state.items()})


@pytest.mark.parametrize(
    ("command", "prefix", "heads", "beside", "option"),
    [
        ("torchvision", "", {"classifier.1": 2048}, "", "--head classifier.1"),
        ("inflate", "module.trunk.", {"module.new_fc": 2048}, "", "--head module.new_fc"),
        ("inflate", "", {"fc.0": 2048, "fc.3": 51}, "", "--drop 'fc.*'"),
        ("torchvision", "model.", {"model.fc": 2048}, "queue", "--drop 'queue'"),
    ],
)
def test_what_is_advised_works(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    heads: dict[str, int],
    beside: str,
    option: str,
    command: str,
) -> None:
    found = run_with(heads, prefix, beside)
    monkeypatch.setattr("converters.conversion.execute.open_checkpoint", lambda *_, **__: found)
    words = [command, str(tmp_path / "in.pth"), str(tmp_path / "out.pth"), "--dry-run"]
    words += ["--variant", "slowonly-r50"] if command == "inflate" else []
    assert main(words) == 1
    said = capsys.readouterr().err
    assert option in said
    assert main([*words, *shlex.split(option)]) == 0


def test_inflate_takes_the_head_and_drops_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run_with({"net.last": 2048}, "net.", "net.queue")
    monkeypatch.setattr("converters.conversion.execute.open_checkpoint", lambda *_, **__: found)
    done = inflate(
        tmp_path / "in.pth",
        tmp_path / "out.pth",
        variant="slowonly-r50",
        head="net.last",
        drop=["*queue"],
        dry_run=True,
    )
    assert done.info.classes == 51
    assert "net.queue" in done.dropped
    assert "dropped as asked for: net.queue" in done.notes


def test_inflate_has_every_option_that_it_may_advise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["inflate", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert options >= {"--entry", "--head", "--drop", "--model", "--variant", "--inverse-std", "--force"}


@pytest.mark.parametrize("wrapper", ["model", "params"])
def test_unknown_arrays_are_of_no_known_network(wrapper: str, tmp_path: Path) -> None:
    """Where no layout was asked for, none is spoken of: Detectron2's pickles, parameters of Flax."""
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({wrapper: {"stem.conv1.weight": np.ones((4, 3, 7, 7), "f4")}}))
    with pytest.raises(Refused, match="is not a known network"):
        convert(path, tmp_path / "out.pth")
