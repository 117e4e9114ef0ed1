"""Graphs of the target: every family's network in ONNX, as PyTorch computes it; torch.export; their records."""

from __future__ import annotations

from math import prod
from pathlib import Path  # noqa: TC003 - a fixture's type

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from converters import Refused, UsageError, convert, export_graph, inspect, load_model, use_tables
from converters.cli.main import main
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import tensor_slots
from converters.mapping.table_files import network_names
from converters.mapping.variants import is_detector, variants
from converters.networks import network_record
from tests.helpers import layout_weights
from tests.helpers.paths import REPOSITORY
from tests.helpers.selection import first_of, longest

TABLES = REPOSITORY / "docs" / "own-tables" / "gesture_tables"


def native_file(path: Path, name: str, layout: str = "native") -> Path:
    """A file of a network with seeded weights."""
    table, variant = load_layout(layout), layout_weights.variant(name)
    state = {
        key: torch.from_numpy(np.frombuffer(tensor.tobytes(), np.float32).reshape(tensor.shape).copy())
        for key, tensor in layout_weights.seeded(table, variant).items()
    }
    torch.save(state, path)
    return path


@pytest.fixture
def small(tmp_path: Path):
    """A file of the small network of docs/own-tables, which is known meanwhile."""
    with use_tables(TABLES):
        yield native_file(tmp_path / "small.pth", "gesture-r3d-10", "gesture-net")


def run(path: Path, clip: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"clip": clip})[0]


def logits(path: Path, clip: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return load_model(path)(torch.from_numpy(clip)).numpy()


def has_all(path: Path, other: Path) -> bool:
    """Whether a file has all tensors of another, bit for bit; counters may be more."""
    found, wanted = (torch.load(file, weights_only=True) for file in (path, other))
    return all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize("dynamic", first_of([True, False]))
def test_an_onnx_file_gives_the_logits_of_one_clip(small: Path, tmp_path: Path, dynamic: bool) -> None:
    out = tmp_path / "out.onnx"
    graph = export_graph(small, out, clip_size=(4, 32, 32), dynamic=dynamic)
    assert graph.relative <= 1e-5
    assert graph.inputs["clip"] == ((1, 3, "T", "H", "W") if dynamic else (1, 3, 4, 32, 32))
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 18
    random = np.random.default_rng(1)
    for size in ((4, 32, 32), (7, 50, 41)) if dynamic else ((4, 32, 32),):
        clip = random.standard_normal((1, 3, *size), np.float32)
        wanted = logits(small, clip)
        assert np.abs(run(out, clip) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    found = inspect(out)
    assert found.network is not None
    assert found.network.variant == "gesture-r3d-10"
    convert(out, tmp_path / "back.pth", to="gesture-net")
    assert has_all(tmp_path / "back.pth", small)


def test_the_command_and_its_wrong_uses(small: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "out.onnx")
    tables = ["--tables", str(TABLES)]
    words = [str(small), out, "--graph", "target", "--clip-size", "2x16x16", *tables]
    assert main(words) == 0
    assert "gives logits [1, 51]" in capsys.readouterr().out
    for wrong, sentence in (
        ([str(small), out, "--clip-size", "2x16x16"], "needs --graph target"),
        ([*words, "--to", "native"], "cannot be combined"),
        ([*words[:4], "--clip-size", "16"], "is not a clip size"),
        ([str(small), str(tmp_path / "out.pth"), "--graph", "target"], "is an .onnx or a .pt2"),
    ):
        assert main([*wrong, *tables, "--force"]) == 2
        assert sentence in capsys.readouterr().err


def test_a_graph_that_depends_on_the_clips_size_is_refused_and_not_written(
    small: Path, tmp_path: Path, monkeypatch
) -> None:
    from converters.networks.families.resnet3d import VideoResNet

    forward = VideoResNet.forward

    def of_one_size(self: VideoResNet, x: torch.Tensor) -> torch.Tensor:
        return forward(self, x) * float(x.shape[3])

    monkeypatch.setattr(VideoResNet, "forward", of_one_size)
    export_graph(small, tmp_path / "fixed.onnx", clip_size=(2, 16, 16))
    with pytest.raises(Refused, match="does not compute what the network does"):
        export_graph(small, tmp_path / "out.onnx", clip_size=(2, 16, 16), dynamic=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fixed.onnx", "small.pth"]


@pytest.mark.full
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_program_of_torch_export_is_known_by_its_record(small: Path, tmp_path: Path, dynamic: bool) -> None:
    out = tmp_path / "out.pt2"
    export_graph(small, out, clip_size=(16, 48, 48), dynamic=dynamic)
    clip = torch.randn(1, 3, *((19, 66, 57) if dynamic else (16, 48, 48)))
    program = torch.export.load(out).module()
    with torch.inference_mode():
        assert torch.equal(program(clip), load_model(small)(clip))
    found = inspect(out)
    assert found.container == "program of torch.export"
    assert found.network is not None
    assert found.network.variant == "gesture-r3d-10"
    convert(out, tmp_path / "back.pth", to="gesture-net")
    assert has_all(tmp_path / "back.pth", small)
    plain = tmp_path / "plain.pt2"
    torch.export.save(torch.export.load(out), plain)
    with pytest.raises(Exception, match=r"is a program of torch\.export, which is not read"):
        inspect(plain)


def smallest(family: str) -> str:
    """The network of a family with the fewest weights, detectors aside."""

    def weights(name: str) -> int:
        variant = layout_weights.variant(name)
        sizes = layout_weights.sizes(variant)
        slots = tensor_slots(load_layout("native"), variant, sizes, {"blending": False})
        return sum(prod(slot.file_shape(sizes)) for slot in slots)

    return min((one.name for one in variants(family) if not is_detector(one)), key=weights)


SLOW = {"vgg", "inception_v3", "c3d_bn", "c3d_resnet", "p3d", "resnet_vd", "resnet_i3d", "tsm"}
"""Families of large networks, or of layers that other families have."""


@pytest.mark.full
@pytest.mark.parametrize("family", longest(network_names(), SLOW.__contains__))
def test_every_family_computes_the_same_as_a_graph(family: str, tmp_path: Path) -> None:
    path = native_file(tmp_path / "in.pth", name := smallest(family))
    model = layout_weights.model_of(layout_weights.variant(name), "native")
    clip = network_record(family).test_clip
    size = None if clip is None or family == "audiovisual" else clip[2:]
    graph = export_graph(path, tmp_path / "out.onnx", clip_size=size, variant=model)
    assert graph.relative <= 1e-5


def test_only_two_suffixes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is an \.onnx or a \.pt2"):
        export_graph(tmp_path / "in.pth", tmp_path / "out.engine")
