"""A user's own module, held against a file: does it load, and does it compute what the source's network does?

The module is torchvision's r3d_18 written once more, with its names: torchvision's own would bring a package of its own
for every version of PyTorch.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - a fixture's type

import numpy as np
import pytest
import torch

from converters import UsageError, convert, load_report, verify
from converters.cli.main import main
from tests.helpers import vmz_files
from tests.helpers.own_modules import Video, other_head

MODULES = "tests.helpers.own_modules"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """VMZ's R3D-18, converted to torchvision's names, and a small clip."""
    folder = tmp_path_factory.mktemp("own")
    vmz_files.write(folder / "in.pkl", "r3d-18", seed=4)
    convert(folder / "in.pkl", folder / "out.pth", to="torchvision")
    random = np.random.default_rng(0)
    np.save(folder / "clip.npy", random.standard_normal((1, 3, 4, 40, 40), np.float32))
    return folder


def test_a_file_that_loads(files: Path) -> None:
    report = load_report(files / "out.pth", Video())
    assert report.strict
    assert (report.missing, report.unexpected, report.shapes) == ((), (), ())
    Video().load_state_dict(torch.load(files / "out.pth", weights_only=True))


def test_the_module_stays_as_it_is(files: Path) -> None:
    model = Video()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_report(files / "out.pth", model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_does_not_load_is_what_pytorch_says(files: Path) -> None:
    report = load_report(files / "out.pth", f"{MODULES}:other_head")
    state = torch.load(files / "out.pth", weights_only=True)
    result = other_head().load_state_dict(state, strict=False)
    assert not report.strict
    assert [*report.missing] == result.missing_keys == ["classifier.weight", "classifier.bias"]
    assert [*report.unexpected] == result.unexpected_keys == ["fc.weight", "fc.bias"]


def test_shapes_and_nearest_names_and_a_prefix(tmp_path: Path, capsys) -> None:
    model = Video(classes=51)
    state = {name.replace("stem", "stemm"): tensor for name, tensor in Video().state_dict().items()}
    torch.save(state, tmp_path / "near.pth")
    report = load_report(tmp_path / "near.pth", model)
    assert [(row.name, row.file, row.module) for row in report.shapes] == [
        ("fc.weight", (400, 512), (51, 512)),
        ("fc.bias", (400,), (51,)),
    ]
    assert report.nearest["stem.0.weight"] == "stemm.0.weight"
    torch.save(
        {f"module.{name}": tensor for name, tensor in Video().state_dict().items()}, tmp_path / "m.pth"
    )
    code = main(["load-report", str(tmp_path / "m.pth"), "--module", f"{MODULES}:right"])
    out = capsys.readouterr().out
    assert code == 1
    assert "loads strictly: NO" in out
    assert "layer{1-4}.0.conv1.0.weight" in out
    assert "are the same after 'module.' is removed" in out


def test_counters_that_pytorch_fills_in_are_not_missing(tmp_path: Path) -> None:
    state = {key: value for key, value in Video().state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "old.pth")
    assert load_report(tmp_path / "old.pth", Video()).strict


@pytest.mark.parametrize(
    ("module", "code", "sentence"),
    [
        ("right", 2, "names no module"),
        ("nowhere.at.all:build", 2, "there is no Python module 'nowhere.at.all'"),
        (f"{MODULES}:nothing", 2, "has no 'nothing'"),
        (f"{MODULES}:NO_MODULE", 2, "neither a module nor a function"),
        ("builtins:dict", 2, "made a dict, not an nn.Module"),
        (f"{MODULES}:failing", 1, "RuntimeError: no weights here"),
    ],
)
def test_a_module_that_cannot_be_built(files: Path, capsys, module: str, code: int, sentence: str) -> None:
    assert main(["load-report", str(files / "out.pth"), "--module", module]) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("build", "first", "order"),
    [
        pytest.param("right", None, "", marks=pytest.mark.full),
        ("planted_eps", "layer3.1", ""),
        pytest.param(
            "Exchanged", "layer1.0", "your module runs layer1.1 before layer1.0", marks=pytest.mark.full
        ),
    ],
)
def test_the_first_block_that_departs_is_named(
    files: Path, capsys, build: str, first: str | None, order: str
) -> None:
    words = ["verify", str(files / "in.pkl"), str(files / "out.pth"), "--clip", str(files / "clip.npy")]
    code = main([*words, "--module", f"{MODULES}:{build}", "--json"])
    data = json.loads(capsys.readouterr().out)
    functional = data["functional"]
    assert functional["first"] == first
    assert functional["order"] == order
    assert functional["module"] == f"{MODULES}:{build}"
    assert code == (first is not None)
    names = [block["name"] for block in functional["blocks"]]
    assert names[0] == "stem"
    assert names[-1] == "logits"
    assert "layer4.1" in names
    if first is None:
        assert max(block["relative"] for block in functional["blocks"]) < 1e-5
    elif build == "planted_eps":
        before = functional["blocks"][: names.index(first)]
        assert max(block["relative"] for block in before) < 1e-5


def test_a_module_that_the_output_does_not_load_into_is_not_run(files: Path, capsys) -> None:
    words = ["verify", str(files / "in.pkl"), str(files / "out.pth"), "--module", f"{MODULES}:other_head"]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert "does not load strictly into" in err
    assert "missing: classifier.weight" in err


def test_a_module_that_does_not_take_the_clip_is_refused(files: Path) -> None:
    class Images(Video):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[:, :, 0])

    with pytest.raises(Exception, match="does not take the clip"):
        verify(files / "in.pkl", files / "out.pth", module=Images(), clip=files / "clip.npy")
    with pytest.raises(UsageError, match="names no module"):
        verify(files / "in.pkl", files / "out.pth", module="nothing")
