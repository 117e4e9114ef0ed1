"""`convert verify`: right conversions of every source, and the mistakes that names and shapes cannot see."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import struct
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional as F

import converters.verification.verify as verification
from converters import BadInput, Refused, UsageError, convert, verify
from converters.cli.main import main
from converters.files import CHUNK
from converters.networks import NetworkRecord, network_record
from converters.networks.families import bn_inception, c3d, i3d, resnet3d
from converters.verification.clips import REGIONS, random_regions
from tests.conversion.test_onnx import exported, write_i3d, write_small_c3d, write_tsn
from tests.helpers import seeded_weights_zoo, selection, vmz_files, zoo_tables
from tests.helpers.in_memory import not_run
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from converters.networks import ModuleShapes, Settings

CLIPS = {
    source: network_record(family).test_clip
    for source, family in {"vmz": "resnet3d", "i3d": "i3d", "tsn": "bn_inception", "c3d": "c3d"}.items()
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    """A small clip for each source."""
    folder = tmp_path_factory.mktemp("clips")
    for name, shape in CLIPS.items():
        np.save(folder / f"{name}.npy", np.random.default_rng(5).standard_normal(shape, np.float32))
    return {name: folder / f"{name}.npy" for name in CLIPS}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    """A file of each source framework."""
    folder = tmp_path_factory.mktemp("sources")
    vmz_files.write(folder / "vmz.pkl", "ir-csn-26", seed=8)
    return {
        "vmz": folder / "vmz.pkl",
        "i3d": write_i3d(folder),
        "tsn": write_tsn(folder),
        "c3d": write_small_c3d(folder),
    }


# Right conversions


@pytest.mark.parametrize(
    ("source", "to"),
    [("vmz", "vmz-pt"), ("vmz", "mmaction"), ("i3d", "pytorch-i3d"), ("tsn", "mmaction"), ("c3d", "native")],
)
def test_a_right_conversion(source: str, to: str, sources, clips, device: str, tmp_path: Path) -> None:
    convert(sources[source], tmp_path / "out.pth", source=source, to=to)
    found = verify(sources[source], tmp_path / "out.pth", clip=clips[source], device=device)
    assert found.ok, found.functional.first
    names = [block.name for block in found.functional.blocks]
    assert names[-1] == "logits"
    assert len(set(names)) == len(names) >= 12
    assert all(0 <= block.relative <= found.functional.tolerance for block in found.functional.blocks)
    assert all(block.cosine > 0.99999 for block in found.functional.blocks)
    assert found.functional.source_top[0].number == found.functional.output_top[0].number
    assert (found.declared.notes, found.declared.first) == ((), "")


def test_an_eps_in_the_variances_is_no_mistake(tmp_path: Path, clips) -> None:
    """torchvision's networks have eps 1e-5. The inverse restores what that rounded."""
    vmz_files.write(tmp_path / "x.pkl", "r3d-18", seed=8)
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="vmz", to="torchvision")
    found = verify(tmp_path / "x.pkl", tmp_path / "out.pth", clip=clips["vmz"])
    assert found.ok
    assert found.declared.notes == ("batch norm eps 1e-05 instead of 0.001, absorbed in the variances",)


def test_what_a_project_computes_differently_is_measured_but_no_fault(sources, clips, tmp_path: Path) -> None:
    """mmaction's I3D pads and pools differently by design: at odd sizes it is a different function."""
    convert(sources["i3d"], tmp_path / "out.pth", source="i3d", to="mmaction")
    found = verify(sources["i3d"], tmp_path / "out.pth", clip=clips["i3d"])
    assert found.ok
    assert found.declared.first == "Conv3d_1a_7x7"
    assert found.declared.relative > 1e-3
    assert any("padded differently" in note for note in found.declared.notes)


def test_a_conversion_by_another_tool(sources, clips, tmp_path: Path) -> None:
    """A bare state dict without a record."""
    convert(sources["vmz"], tmp_path / "converted.pth", source="vmz")
    torch.save(torch.load(tmp_path / "converted.pth", weights_only=True), tmp_path / "bare.pth")
    assert verify(sources["vmz"], tmp_path / "bare.pth", clip=clips["vmz"], settings={"pool1": True}).ok


def test_other_forms_of_a_source(sources, clips, tmp_path: Path) -> None:
    """An ONNX export shows pool1 itself; prefixes and settings are the source's."""
    export = exported(tmp_path, "ip-csn-26")
    convert(export, tmp_path / "a.pth", source="onnx")
    found = verify(export, tmp_path / "a.pth")
    assert found.ok
    assert found.functional.clip.startswith("1x3x8x64x64"), "the size that its graph takes"
    with pytest.raises(Refused, match="cannot run the source's network on this clip"):
        verify(export, tmp_path / "a.pth", clip=clips["vmz"])
    convert(sources["vmz"], tmp_path / "b.pth", source="vmz", settings={"pool1": False})
    assert verify(sources["vmz"], tmp_path / "b.pth", clip=clips["vmz"], settings={"pool1": False}).ok
    convert(sources["vmz"], tmp_path / "b.onnx", source="vmz", settings={"pool1": False})
    assert verify(tmp_path / "b.onnx", tmp_path / "b.pth", clip=clips["vmz"]).ok


def test_noise_of_the_clip_that_the_network_was_made_for(tmp_path: Path) -> None:
    vmz_files.write(tmp_path / "a.pkl", "a_resnet-18", seed=3)
    convert(tmp_path / "a.pkl", tmp_path / "a.pth", source="vmz")
    one, other = (verify(tmp_path / "a.pkl", tmp_path / "a.pth", seed=seed) for seed in (1, 2))
    assert one.ok
    assert one.functional.clip == "1x1x100x40, noise of seed 1"
    assert one.functional.source_top[0].logit != other.functional.source_top[0].logit


@pytest.mark.parametrize("source", selection.all_but(["vmz", "i3d", "tsn", "c3d"], "i3d", "c3d"))
def test_a_backbone_is_compared_with_the_rest_of_its_source(
    source: str, sources, clips, tmp_path: Path
) -> None:
    convert(sources[source], tmp_path / "out.pth", source=source, to="native", backbone=True)
    found = verify(sources[source], tmp_path / "out.pth", clip=clips[source])
    assert found.ok
    assert len(found.exact.dropped) == 2
    assert not any("logits" in block.name for block in found.functional.blocks)
    assert found.functional.source_top == found.functional.output_top == ()


@pytest.mark.parametrize(("source", "shape"), [("tsn", (2, 3, 3, 31, 38)), ("vmz", (3, 8, 48, 52))])
def test_several_clips_and_one(source: str, shape: tuple[int, ...], sources, tmp_path: Path) -> None:
    """Two clips of three segments; one clip without an axis for clips."""
    convert(sources[source], tmp_path / "out.pth", source=source)
    np.save(tmp_path / "clip.npy", np.random.default_rng(5).standard_normal(shape, np.float32))
    found = verify(sources[source], tmp_path / "out.pth", clip=tmp_path / "clip.npy")
    assert found.ok
    assert found.functional.blocks[-1].shape[0] == (2 if source == "tsn" else 1)


@pytest.mark.full
def test_audio_visual_networks(tmp_path: Path, clips) -> None:
    """The log-mel spectrograms are noise, one for each clip."""
    vmz_files.write(tmp_path / "x.pkl", "av_resnet-r3d-18", seed=8, change="g_blend=1")
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="vmz")
    found = verify(tmp_path / "x.pkl", tmp_path / "out.pth", clip=clips["vmz"])
    assert found.ok
    assert found.functional.clip == f"{'x'.join(map(str, CLIPS['vmz']))} and 1x1x100x40, vmz.npy"
    assert {"video_logits", "audio_logits", "fuse1"} < {block.name for block in found.functional.blocks}


# Planted mistakes


class File:
    """An output in safetensors whose arrays and record can be changed."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        self.path, self.header = path, json.loads(content[8 : 8 + size])
        self.record = json.loads(self.header["__metadata__"]["provenance"])
        self.data = bytearray(content[8 + size :])

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self.header[name]
        start, end = entry["data_offsets"]
        return np.frombuffer(self.data, "<f4", (end - start) // 4, start).reshape(entry["shape"])

    def write(self) -> None:
        self.header["__metadata__"]["provenance"] = json.dumps(self.record)
        text = json.dumps(self.header).encode()
        self.path.write_bytes(struct.pack("<Q", len(text)) + text + self.data)


def exchange(left: np.ndarray, right: np.ndarray) -> None:
    left[:], right[:] = right.copy(), left.copy()


def exchanged_convolutions(file: File) -> None:
    exchange(
        file["layer2.0.conv3.conv.weight"], file["layer2.1.conv1.conv.weight"].reshape(128, 128, 1, 1, 1)
    )


def exchanged_mean_and_bias(file: File) -> None:
    exchange(file["layer3.0.conv2.bn.running_mean"], file["layer3.0.conv2.bn.bias"])


def bgr(file: File) -> None:
    file["stem.conv.weight"][:] = file["stem.conv.weight"][:, ::-1].copy()


def inverse_deviation(file: File) -> None:
    file["layer1.1.conv2.bn.running_var"][:] **= -0.5


def small_eps(file: File) -> None:
    file.record["network"]["settings"]["bn_eps"] = 1e-5


def without_pool1(file: File) -> None:
    file.record["network"]["settings"]["pool1"] = False


def rounded(file: File) -> None:
    weight = file["layer4.0.conv1.conv.weight"]
    weight[:] = weight.astype(np.float16)


def one_nan(file: File) -> None:
    file["layer4.1.conv3.bn.bias"][17] = np.nan


def one_bit(file: File) -> None:
    file["head.bias"].view("<u4")[3] ^= 1


MISTAKES = [
    (exchanged_convolutions, "layer2.0", ["layer2.0.conv3.conv.weight", "layer2.1.conv1.conv.weight"]),
    (exchanged_mean_and_bias, "layer3.0", ["layer3.0.conv2.bn.bias", "layer3.0.conv2.bn.running_mean"]),
    (bgr, "stem", ["stem.conv.weight"]),
    (inverse_deviation, "layer1.1", ["layer1.1.conv2.bn.running_var"]),
    (small_eps, "stem", None),  # every variance
    (without_pool1, "pool1", []),
    (rounded, "layer4.0", ["layer4.0.conv1.conv.weight"]),
    (one_nan, "layer4.1", ["layer4.1.conv3.bn.bias"]),
]


@pytest.mark.parametrize(
    ("plant", "block", "changed"), MISTAKES, ids=lambda value: getattr(value, "__name__", None)
)
def test_mistakes_in_a_file_are_caught(
    plant, block: str, changed, sources, clips, tmp_path: Path, capsys
) -> None:
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    file = File(tmp_path / "out.safetensors")
    plant(file)
    file.write()
    words = ["verify", sources["vmz"], tmp_path / "out.safetensors", "--clip", clips["vmz"]]
    assert main([*map(str, words), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert found["functional"]["first"] == block
    names = sorted(one["canonical"] for one in found["exact"]["changed"])
    assert (
        names == changed
        if changed is not None
        else {name.rpartition(".")[2] for name in names} == {"running_var"}
    )
    assert not found["exact"]["ok"], "a record of another setting is a fault as well"


def test_a_mistake_too_small_to_compute_is_caught_by_the_bytes(sources, clips, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    file = File(tmp_path / "out.safetensors")
    one_bit(file)
    file.write()
    found = verify(sources["vmz"], tmp_path / "out.safetensors", clip=clips["vmz"])
    assert (found.ok, found.exact.ok, found.functional.ok) == (False, False, True)
    assert found.exact.changed[0].canonical == "head.bias"
    assert found.exact.changed[0].why.startswith("1 of 400 values differ, by up to ")


def test_how_many_values_differ_in_a_large_tensor(sources, clips, tmp_path: Path) -> None:
    """A tensor that is read in several pieces."""
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    file = File(tmp_path / "out.safetensors")
    weight = file["head.weight"].reshape(-1)
    assert weight.nbytes > 2 * CHUNK
    weight[[5, -5]] += np.float32(0.5)
    file.write()
    (changed,) = verify(sources["vmz"], tmp_path / "out.safetensors", clip=clips["vmz"]).exact.changed
    assert changed.why == "2 of 204,800 values differ, by up to 5.00e-01"


@pytest.mark.full
def test_a_norm_that_is_stored_twice_must_be_the_same(tmp_path: Path, monkeypatch) -> None:
    """mmaction's block has its norm under two names, and loads the second over the first. In a file without a record,
    what was merged into theta is compared with the conversion itself: the way back rounds."""
    monkeypatch.setattr(verification, "compare", not_run)
    vmz_files.write_arrays(
        tmp_path / "x.pkl", seeded_weights_zoo.zoo_weights(zoo_tables.nonlocal_blobs("i3d_r50_nonlocal"), 3)
    )
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="nonlocal", to="mmaction", variant="8x8")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    words = {"source_layout": "nonlocal", "layout": "mmaction", "variant": "8x8"}
    torch.save(state, tmp_path / "bare.pth")
    assert verify(tmp_path / "x.pkl", tmp_path / "bare.pth", **words).ok
    for name in ("nonlocal_block.bn.weight", "nonlocal_block.theta.weight"):
        value = state[f"backbone.layer2.1.{name}"].view(-1)
        kept = value[7].item()
        value[7] += 1e-3
        torch.save(state, tmp_path / "bare.pth")
        value[7] = kept
        (changed,) = verify(tmp_path / "x.pkl", tmp_path / "bare.pth", **words).exact.changed
        assert changed.canonical == f"layer2.nonlocal1.{name.split('.', 1)[1]}"


def test_a_layout_that_rounds_without_a_record(tmp_path: Path, monkeypatch) -> None:
    """Another tool's torchvision file: some variances come back rounded, yet each is what it must be."""
    monkeypatch.setattr(verification, "compare", not_run)
    vmz_files.write(tmp_path / "x.pkl", "r3d-18", seed=3)
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="vmz", to="torchvision")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    torch.save(state, tmp_path / "bare.pth")
    assert verify(tmp_path / "x.pkl", tmp_path / "bare.pth", layout="torchvision").ok
    variance = state["layer4.1.conv2.1.running_var"]
    variance[3] = torch.nextafter(variance[3], torch.tensor(9.0))
    torch.save(state, tmp_path / "bare.pth")
    (changed,) = verify(tmp_path / "x.pkl", tmp_path / "bare.pth", layout="torchvision").exact.changed
    assert changed.canonical == "layer4.1.conv2.bn.running_var"


def test_a_projects_own_settings_are_no_mistake_without_a_record(tmp_path: Path, monkeypatch) -> None:
    """Another tool's file: the source says which settings its weights need; the project's own are declared."""
    blobs = zoo_tables.slowfast_blobs(zoo_tables.models()["I3D_8x8_R50"]["table"])
    vmz_files.write_arrays(tmp_path / "x.pkl", seeded_weights_zoo.zoo_weights(blobs, 3))
    convert(
        tmp_path / "x.pkl", tmp_path / "out.pth", source="slowfast", to="mmaction2", variant="I3D_8x8_R50"
    )
    torch.save(torch.load(tmp_path / "out.pth", weights_only=True), tmp_path / "bare.pth")
    np.save(tmp_path / "clip.npy", np.random.default_rng(5).standard_normal((1, 3, 4, 193, 195), np.float32))
    words = {"source_layout": "slowfast", "variant": "I3D_8x8_R50", "clip": tmp_path / "clip.npy"}
    found = verify(tmp_path / "x.pkl", tmp_path / "bare.pth", layout="mmaction2", **words)
    assert found.ok, found.functional.first
    assert found.declared.first == "stem"
    assert "mmaction2's own network has stem_stride = 2" in found.declared.notes[-1]

    # A model's name of the source's is none of the output's, which are two.
    monkeypatch.setattr(verification, "compare", not_run)
    vmz_files.write_arrays(
        tmp_path / "y.pkl", seeded_weights_zoo.zoo_weights(zoo_tables.nonlocal_blobs("c2d_r50_baseline"), 3)
    )
    convert(tmp_path / "y.pkl", tmp_path / "y.pth", source="nonlocal", to="pyslowfast", variant="8x8")
    torch.save(torch.load(tmp_path / "y.pth", weights_only=True), tmp_path / "bare.pth")
    words = {"source_layout": "nonlocal", "layout": "pyslowfast", "variant": "8x8"}
    assert verify(tmp_path / "y.pkl", tmp_path / "bare.pth", **words).ok


def other_order(network: dict) -> None:
    network["input"]["order"] = "BGR"


def other_mean(network: dict) -> None:
    network["input"]["mean"] = [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("plant", "text"),
    [
        (other_order, "order BGR instead of RGB"),
        (other_mean, "mean 0 0 0 instead of 110.201 100.64 95.9966"),
    ],
)
def test_a_record_with_other_preprocessing(plant, text: str, sources, clips, tmp_path: Path, capsys) -> None:
    """Right weights, but the record asks for wrong clips."""
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    file = File(tmp_path / "out.safetensors")
    plant(file.record["network"])
    file.write()
    words = ["verify", sources["vmz"], tmp_path / "out.safetensors", "--clip", clips["vmz"]]
    reports = ["--html", tmp_path / "x.html", "--junit", tmp_path / "x.xml"]
    assert main(list(map(str, [*words, *reports]))) == 1
    out = capsys.readouterr().out
    assert "exact       FAILED: all 142 tensors are restored bit for bit, but the record is wrong" in out
    assert f"  the record has {text}" in out
    assert text in (tmp_path / "x.html").read_text()
    (failure,) = ET.fromstring((tmp_path / "x.xml").read_text()).iter("failure")
    assert failure.get("message") == f"the record has {text}"


def test_a_record_of_settings_that_the_network_lacks(sources, clips, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    file = File(tmp_path / "out.safetensors")
    file.record["restore"]["moved"] = {"settings": {"nonlocal_scale": True}, "tensors": {}}
    file.write()
    with pytest.raises(BadInput, match="its provenance record does not fit its tensors"):
        verify(sources["vmz"], tmp_path / "out.safetensors", clip=clips["vmz"])


def change_a_stride(model: onnx.ModelProto) -> None:
    node = [node for node in model.graph.node if node.op_type == "Conv"][7]
    next(attribute for attribute in node.attribute if attribute.name == "strides").ints[0] = 2


def change_a_pad(model: onnx.ModelProto) -> None:
    node = [node for node in model.graph.node if node.op_type == "Conv"][9]
    pads = next(attribute for attribute in node.attribute if attribute.name == "pads")
    pads.ints[:] = [2, 1, 1, 0, 1, 1]


def change_the_domain(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").domain = "elsewhere"


def change_the_output(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    model.graph.output[0].name = node.output[0] = "renamed"
    model.graph.node.add(op_type="Neg", input=["renamed"], output=["out"])
    model.graph.output[0].name = "out"


def change_a_relu(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Abs"


@pytest.mark.parametrize(
    "change",
    [change_a_stride, change_a_pad, change_the_domain, change_the_output, change_a_relu],
    ids=lambda change: change.__name__,
)
@pytest.mark.parametrize("record", [True, pytest.param(False, marks=pytest.mark.full)])
def test_the_graph_of_an_onnx_output(sources, clips, tmp_path: Path, change, record: bool) -> None:
    """It is run as it is, whether or not this tool wrote it."""
    convert(sources["vmz"], tmp_path / "out.onnx", source="vmz")
    model = onnx.load(tmp_path / "out.onnx")
    change(model)
    if not record:
        del model.metadata_props[:]
    onnx.save(model, tmp_path / "wrong.onnx")
    found = verify(sources["vmz"], tmp_path / "wrong.onnx", clip=clips["vmz"])
    assert (found.ok, found.exact.ok) == (False, True)
    assert found.functional.first.name == "graph"


def test_a_graph_that_another_tool_wrote_may_compute_the_same(sources, clips, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.onnx", source="vmz")
    model = onnx.load(tmp_path / "out.onnx")
    del model.metadata_props[:]
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    before = relu.output[0]
    relu.output[0] = "inner"
    place = list(model.graph.node).index(relu)
    model.graph.node.insert(place + 1, onnx.helper.make_node("Identity", ["inner"], [before]))
    onnx.save(model, tmp_path / "other.onnx")
    found = verify(sources["vmz"], tmp_path / "other.onnx", clip=clips["vmz"])
    assert found.ok
    assert found.functional.blocks[0].name == "graph"


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.00390625), ("bfloat16", 0.03125)])
def test_a_cast_is_the_source_rounded(
    dtype: str, tolerance: float, sources, clips, tmp_path: Path, run
) -> None:
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz", dtype=dtype)
    found = verify(sources["vmz"], tmp_path / "out.pth", clip=clips["vmz"])
    assert found.verdict == "verified"
    assert found.exact.rounded == found.exact.tensors
    assert found.functional.tolerance == tolerance
    assert 1e-5 < found.functional.worst.relative < tolerance / 2
    done = run("verify", sources["vmz"], tmp_path / "out.pth", "--clip", clips["vmz"])
    assert "142 of 142 tensors are the source's, rounded as the record says" in done.stdout
    assert "verified: YES, all values as they were rounded and both networks" in done.stdout
    assert f"{tolerance:.1e} is allowed, as the weights are rounded to {dtype}" in done.stdout


def test_half_precision_that_no_record_says_is_caught(sources, clips, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    state = torch.load(tmp_path / "out.pth")
    torch.save(
        {name: value.half() if value.is_floating_point() else value for name, value in state.items()},
        tmp_path / "half.pth",
    )
    found = verify(sources["vmz"], tmp_path / "half.pth", clip=clips["vmz"])
    assert not found.exact.rounded
    assert len({tensor.name for tensor in found.exact.changed}) == found.exact.tensors
    assert found.verdict == "not verified"


def test_another_rounding_than_the_record_says_is_caught(sources, clips, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", dtype="float16")
    file = File(tmp_path / "out.safetensors")
    file.data[file.header["stem.0.weight"]["data_offsets"][0]] ^= 1  # the last bit of one value
    file.write()
    found = verify(sources["vmz"], tmp_path / "out.safetensors", clip=clips["vmz"])
    assert [tensor.canonical for tensor in found.exact.changed] == ["stem.conv.weight"]
    assert found.exact.rounded == found.exact.tensors - 1


def test_a_pytorch_source_runs_its_own_layouts_network(sources, clips, tmp_path: Path, run) -> None:
    convert(sources["vmz"], tmp_path / "a.pth", source="vmz")
    convert(tmp_path / "a.pth", tmp_path / "b.safetensors", to="native")
    found = verify(tmp_path / "a.pth", tmp_path / "b.safetensors", clip=clips["vmz"], require="functional")
    assert found.ok
    assert (found.verdict, found.functional.worst.relative) == ("verified", 0.0)
    file = File(tmp_path / "b.safetensors")
    bgr(file)
    file.write()
    done = run("verify", tmp_path / "a.pth", tmp_path / "b.safetensors", "--clip", clips["vmz"])
    assert done.returncode == 1
    assert "the first block to differ is stem" in done.stdout
    assert "both are our reference networks: the source is a PyTorch file" in done.stdout


def test_one_file_is_not_its_own_source(sources) -> None:
    with pytest.raises(UsageError, match="are the same file"):
        verify(sources["vmz"], sources["vmz"])


def test_the_wrong_order_is_said(sources, tmp_path: Path, run) -> None:
    shutil.copy(sources["vmz"], tmp_path / "in.pkl")
    convert(tmp_path / "in.pkl", tmp_path / "out.pth", source="vmz")
    done = run("verify", "out.pth", "in.pkl")
    assert done.returncode == 0
    assert "verified" not in done.stdout
    assert (
        "functional  not run: the files are in the wrong order: out.pth was made from in.pkl, as its record says; the "
        "source comes first\nbytes only: the networks were not run" in done.stdout
    )
    done = run("verify", "out.pth", "in.pkl", "--require", "functional", "--junit", "x.xml")
    assert done.returncode == 1
    assert "bytes only: the networks were not run; --require functional asks for more" in done.stdout
    suite = ET.fromstring((tmp_path / "x.xml").read_text())
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "0")
    assert run("verify", "out.pth", "in.pkl", "--require", "exact").returncode == 0
    with pytest.raises(UsageError, match="cannot require 'all': one of exact, functional"):
        verify(tmp_path / "in.pkl", tmp_path / "out.pth", require="all")


def test_convert_says_what_was_done(tmp_path: Path) -> None:
    vmz_files.write(tmp_path / "a.pkl", "a_resnet-18", seed=3)
    done = convert(tmp_path / "a.pkl", tmp_path / "a.pth", check=True, verify=True)
    assert done.checked
    assert done.verification.verdict == "verified"
    assert "checked, verified" in repr(done)
    assert done.as_data()["verification"]["verdict"] == "verified"
    for wrong in ({"dry_run": True}, {"mapping": "m.toml"}):
        with pytest.raises(UsageError, match="verify=True cannot be combined with"):
            convert(tmp_path / "a.pkl", tmp_path / "b.pth", verify=True, **wrong)


def symmetric_stem(self: i3d.I3D, clip: torch.Tensor) -> list[int]:
    return [3, 3] * 3


def symmetric_pool(
    self: i3d.I3D, x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]
) -> torch.Tensor:
    padding = [size // 2 for size in kernel] if max(kernel) > 2 else 0
    return F.max_pool3d(x, kernel, stride, padding=padding, ceil_mode=max(kernel) == 2)


def bare_stem(self: resnet3d.VideoResNet, x: torch.Tensor) -> torch.Tensor:
    return self.stem(x)


def floored_pool(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return torch.max_pool2d(x, *args, **{**kwargs, "ceil_mode": False})


def padded_pool5(shapes: ModuleShapes, _: Settings) -> c3d.C3D:
    return c3d.C3D(shapes, 0.0, "padded")


@pytest.mark.parametrize(
    ("source", "owner", "name", "mistake", "block"),
    [
        ("i3d", i3d.I3D, "_stem_padding", symmetric_stem, "Conv3d_1a_7x7"),
        ("i3d", i3d.I3D, "_pool", symmetric_pool, "MaxPool3d_2a_3x3"),
        ("vmz", resnet3d.VideoResNet, "enter", bare_stem, "stem"),
        ("tsn", bn_inception.F, "max_pool2d", floored_pool, "pool1/3x3_s2"),
        ("c3d", c3d, "NETWORK", NetworkRecord(build=padded_pool5, test_clip=None), "pool5"),
    ],
    ids=["symmetric stem", "symmetric pools", "missing ReLU", "floor for ceil", "padded pool5"],
)
def test_mistakes_in_a_network_are_caught(
    source: str, owner, name: str, mistake, block: str, sources, clips, tmp_path: Path, monkeypatch
) -> None:
    convert(sources[source], tmp_path / "out.pth", source=source, to="native")
    clip = clips[source]
    if source == "i3d":  # at even sizes TensorFlow pads by 2 and 3
        clip = tmp_path / "even.npy"
        np.save(clip, np.random.default_rng(5).standard_normal((1, 3, 10, 196, 196), np.float32))
    if source == "c3d":
        clip = tmp_path / "whole.npy"
        np.save(clip, np.random.default_rng(5).standard_normal((1, 3, 16, 112, 112), np.float32))
    monkeypatch.setattr(owner, name, mistake)
    found = verify(sources[source], tmp_path / "out.pth", clip=clip)
    assert found.exact.ok
    assert not found.ok
    assert found.functional.first.name == block


# What it prints


def test_the_output_of_the_command(sources, clips, tmp_path: Path, run) -> None:
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    done = run("verify", sources["vmz"], tmp_path / "out.safetensors", "--clip", clips["vmz"])
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1] == "exact       all 142 tensors are restored bit for bit"
    assert lines[2].startswith("functional  all 12 blocks agree to 1e-05 of the largest value (worst ")
    assert lines[-1].startswith("verified: YES")
    file = File(tmp_path / "out.safetensors")
    bgr(file)
    file.write()
    done = run("verify", sources["vmz"], tmp_path / "out.safetensors", "--clip", clips["vmz"])
    assert done.returncode == 1
    assert (
        "exact       FAILED: 1 of 142 tensors are not restored\n  conv1_w (stem.conv.weight): " in done.stdout
    )
    assert "functional  FAILED: the first block to differ is stem, off by " in done.stdout
    assert "verified: NO" in done.stdout


def test_convert_and_verify_in_one_command(tmp_path: Path, capsys, monkeypatch) -> None:
    """An audio network: its clips are small."""
    vmz_files.write(tmp_path / "a.pkl", "a_resnet-18", seed=3)
    words = ["vmz", str(tmp_path / "a.pkl"), str(tmp_path / "a.pth"), "--verify"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.index("wrote ") < out.index("exact       all ") < out.index("verified: YES")
    assert main([*words, "--force", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["target"], found["verification"]["exact"]["ok"]) == (True, "native", True)
    before = (tmp_path / "a.pth").read_bytes()
    assert main([*words, "--force", "--dry-run"]) == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main([*words, "--force"]) == 1
    assert "pip install '.[onnx]'" in capsys.readouterr().err
    assert (tmp_path / "a.pth").read_bytes() == before


@pytest.mark.full
def test_a_renamed_head_and_a_chosen_state_dict(sources, clips, tmp_path: Path) -> None:
    with np.load(sources["c3d"]) as arrays:
        np.savez(tmp_path / "x.npz", **{name.replace("fc8/", "mine/"): arrays[name] for name in arrays})
    words = ["auto", str(tmp_path / "x.npz"), str(tmp_path / "out.pth"), "--head", "mine", "--verify"]
    assert main(words) == 0
    found = verify(tmp_path / "x.npz", tmp_path / "out.pth", head="mine", clip=clips["c3d"])
    assert found.ok
    assert found.functional.blocks[-1].name == "logits"
    state = torch.load(tmp_path / "out.pth")
    averaged = {name: value + 1 for name, value in state.items()}
    torch.save({"state_dict": state, "ema_state_dict": averaged}, tmp_path / "run.pth")
    words = [
        "auto",
        str(tmp_path / "run.pth"),
        str(tmp_path / "ema.pth"),
        "--verify",
        "--entry",
        "ema_state_dict",
    ]
    assert main(words) == 0
    assert verify(tmp_path / "run.pth", tmp_path / "ema.pth", entry="ema_state_dict").ok
    assert not verify(tmp_path / "run.pth", tmp_path / "ema.pth").ok


def test_junit(sources, clips, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.safetensors", source="vmz", to="native")
    file = File(tmp_path / "out.safetensors")
    one_nan(file)
    file.write()
    words = ["verify", sources["vmz"], tmp_path / "out.safetensors", "--clip", clips["vmz"], "--quiet"]
    assert main([*map(str, words), "--junit", str(tmp_path / "x.xml")]) == 1
    suite = ET.fromstring((tmp_path / "x.xml").read_text())
    cases = {case.get("name"): case.find("failure") for case in suite}
    assert len(cases) == int(suite.get("tests")) == 13
    failed = {name: case.get("message") for name, case in cases.items() if case is not None}
    assert list(failed) == ["bytes", "layer4.1", "pool", "logits"]
    assert failed["bytes"].startswith("comp_7_spatbn_4_b: 1 of 512 values differ, with NaN")
    assert failed["layer4.1"] == "NaN or Inf on the output's side"
    assert int(suite.get("failures")) == 4


def test_two_different_networks_are_not_compared(r2d: Path, sources, tmp_path: Path) -> None:
    convert(r2d, tmp_path / "out.pth", source="vmz")
    with pytest.raises(
        Refused,
        match=r"the files hold two different networks: ir-CSN-26, 400 classes, 3 channels, and R2D-18",
    ):
        verify(sources["vmz"], tmp_path / "out.pth")


def test_impossible_options(sources, tmp_path: Path, clips) -> None:
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    with pytest.raises(UsageError, match="unknown device 'tpu': one of cpu, cuda, auto"):
        verify(sources["vmz"], tmp_path / "out.pth", device="tpu")
    for seed in (-1, 1 << 32):
        with pytest.raises(UsageError, match=f"the seed {seed} is not from 0 to 4,294,967,295"):
            verify(sources["vmz"], tmp_path / "out.pth", seed=seed)


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"
GOOD = np.ones((1, 3, 8, 48, 48), np.float32)


@pytest.mark.parametrize(
    ("clip", "text"),
    [
        (np.zeros((3, 4)), "is not a clip: float64 3x4: expected an array with 5 axes"),
        (GOOD[:, :0], "is not a clip"),
        (GOOD > 0, "is not a clip: bool"),
        (GOOD.astype("u1"), "holds uint8, not float32: preprocess the frames first"),
        (GOOD.astype("i8"), "holds int64, not float32"),
        (GOOD, "holds only the value 1: it proves little"),
        (GOOD.astype("c8"), "elements of type <c8"),
        (np.array([{}], object), "pickled Python objects"),
        (GOOD * np.float32(np.nan), "holds NaN, Inf or values beyond float32's range"),
        (GOOD.astype("f8") * 1e300, "holds NaN, Inf or values beyond float32's range"),
        (b"", "is empty"),
        (b"nothing", "is a text file"),
        (HEADER % "1, 3, 8, 48, 1000000000000", "takes 0 bytes"),
        (HEADER % f"1, 3, 8, 48, {1 << 70}", "impossible shape|takes 0 bytes"),
        (HEADER % f"1, {'-' * 3000}1", "a header that numpy does not read"),
        (None, "cannot be opened"),
    ],
)
def test_files_that_are_not_clips(clip, text: str, sources, tmp_path: Path, capsys) -> None:
    """Exit code 3 and the clip's name, before anything of the size that it claims is allocated."""
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    path = tmp_path / "clip.npy"
    if isinstance(clip, str):
        clip = b"\x93NUMPY\1\0" + struct.pack("<H", len(clip) + 1) + clip.encode() + b"\n"
    if isinstance(clip, bytes):
        path.write_bytes(clip)
    elif clip is not None:
        np.save(path, clip)
    words = ["verify", sources["vmz"], tmp_path / "out.pth", "--clip", path, "--json"]
    assert main(list(map(str, words))) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(path)
    assert re.search(text, f"{found['error']}: {found['hint']}")


def test_a_huge_clip_is_refused_by_its_size(sources, tmp_path: Path) -> None:
    """Its file has the size that its header claims, and is a hole on the disk."""
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    header = (HEADER % "1, 3, 1, 32768, 32768").ljust(117) + "\n"
    path = tmp_path / "clip.npy"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode())
        file.truncate(file.tell() + 4 * 3 * 32768**2)
    with pytest.raises(BadInput, match="holds a clip of 12,884,901,888 bytes"):
        verify(sources["vmz"], tmp_path / "out.pth", clip=path)


def test_clips_that_do_not_fit_the_network(sources, tmp_path: Path) -> None:
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    np.save(tmp_path / "flow.npy", GOOD[:, :2])
    with pytest.raises(BadInput, match=r"flow\.npy: is a clip of 2 channels, and the network takes 3 \("):
        verify(sources["vmz"], tmp_path / "out.pth", clip=tmp_path / "flow.npy")
    np.save(tmp_path / "last.npy", GOOD.transpose(0, 2, 3, 4, 1))
    with pytest.raises(
        BadInput, match=r"is a clip of 8 channels, .* takes 3; the last axis has 3: are the channels"
    ):
        verify(sources["vmz"], tmp_path / "out.pth", clip=tmp_path / "last.npy")


def test_clips_in_other_forms(sources, tmp_path: Path) -> None:
    """Any dtype, byte order and memory layout: the same values are the same clip."""
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    values = np.random.default_rng(5).integers(-9, 9, (1, 3, 8, 16, 20))
    forms = [values.astype(dtype) for dtype in ("<f4", ">f4", "f8", "f2", "i1")]
    tops = []
    for array in (*forms, np.asfortranarray(values, "f4")):
        np.save(tmp_path / "clip.npy", array)
        found = verify(sources["vmz"], tmp_path / "out.pth", clip=tmp_path / "clip.npy")
        assert found.ok
        tops.append(found.functional.source_top)
    assert tops == tops[:1] * 6


@pytest.mark.parametrize("name", ["source", "output", "clip"])
@pytest.mark.parametrize("option", ["--junit", "--html"])
def test_no_report_replaces_what_is_read(
    name: str, option: str, sources, clips, tmp_path: Path, capsys
) -> None:
    convert(sources["vmz"], tmp_path / "out.pth", source="vmz")
    files = {"source": sources["vmz"], "output": tmp_path / "out.pth", "clip": clips["vmz"]}
    before = files[name].read_bytes()
    (tmp_path / "link").symlink_to(files[name])
    words = ["verify", files["source"], files["output"], "--clip", files["clip"], option, tmp_path / "link"]
    assert main([*map(str, words), "--force"]) == 2
    assert "input and output are the same file" in capsys.readouterr().err
    assert files[name].read_bytes() == before


def test_the_check_of_all_mappings(capsys, monkeypatch) -> None:
    """On one network; `make parity` runs it on all. Failures are reported in full."""
    spec = importlib.util.spec_from_file_location("check_parity", REPOSITORY / "scripts" / "check_parity.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)  # its dataclasses look themselves up there
    spec.loader.exec_module(script)
    assert script.main(["--only", "ir-csn-26"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [
        f"ok   vmz -> {to}" for to in ("vmz-pt", "native", "mmaction")
    ]
    assert lines[-1] == "all agree"
    with pytest.raises(SystemExit):
        script.main(["--only", "ir-csn-27"])
    assert "no network is called ir-csn-27" in capsys.readouterr().err
    monkeypatch.setattr(resnet3d.VideoResNet, "enter", bare_stem)
    monkeypatch.setattr(script, "holding_layouts", lambda one: (["native"], []))
    assert script.main(["--only", "ir-csn-26"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL vmz -> native: ir-csn-26: 0 tensors differ, worst block ")
    assert "functional  FAILED: the first block to differ is stem, off by " in out
    assert out.endswith("1 failed\n")


@pytest.mark.full
def test_models_that_tensors_cannot_distinguish(tmp_path: Path) -> None:
    """The source is what the user says, the output what its record says."""
    blobs = zoo_tables.nonlocal_blobs("i3d_r50_nonlocal")
    model = "32x2"
    vmz_files.write_arrays(tmp_path / "x.pkl", seeded_weights_zoo.zoo_weights(blobs, 3))
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="nonlocal", variant=model)
    np.save(tmp_path / "clip.npy", np.random.default_rng(5).standard_normal((1, 3, 16, 209, 209), np.float32))
    clip = tmp_path / "clip.npy"
    with pytest.raises(Refused, match="models that compute different things"):
        verify(tmp_path / "x.pkl", tmp_path / "out.pth", source_layout="nonlocal", clip=clip)
    found = verify(
        tmp_path / "x.pkl", tmp_path / "out.pth", source_layout="nonlocal", variant=model, clip=clip
    )
    assert found.ok, found.functional.first
    assert sum("nonlocal" in block.name for block in found.functional.blocks) == 5
    convert(tmp_path / "x.pkl", tmp_path / "out.onnx", source="nonlocal", variant=model)
    assert verify(tmp_path / "out.onnx", tmp_path / "out.pth", clip=clip).ok


ZOO = [
    ("SLOWFAST_8x8_R50", (1, 3, 8, 193, 195), {"slow_frames": "stride"}, "slow.stem"),
    ("SLOWONLY_8x8_R50", (1, 3, 2, 194, 193), {"pool1_padding": 0}, "pool1"),
    ("I3D_NLN_8x8_R50", (1, 3, 4, 193, 193), {"nonlocal_scale": False}, "layer2.nonlocal1"),
    ("C2D_NOPOOL_8x8_R50", (1, 3, 2, 193, 193), {"pool2_stride": 2}, "pool2"),
    ("X3D_XS", (1, 3, 3, 161, 193), {"window": 7}, "pool"),
    ("AVA_SLOW_8x8_R50", (2, 3, 3, 65, 80), {"roi_aligned": True}, "regions"),
    ("AVA_SLOWFAST_32x2_R101_50_50", (1, 3, 8, 48, 63), {"nonlocal_pool_frames": 1}, "slow.layer3.nonlocal6"),
]
"""A model of each kind in PySlowFast, a small clip, a mistake that no tensor shows, and the block that it is in."""
LARGE = [
    "AVA_SLOW_8x8_R50",
    "SLOWFAST_8x8_R50",
    "SLOWONLY_8x8_R50",
    "C2D_NOPOOL_8x8_R50",
    "AVA_SLOWFAST_32x2_R101_50_50",
    "I3D_NLN_8x8_R50",
]


@pytest.mark.parametrize(
    ("model", "shape", "mistake", "block"),
    selection.longest(selection.all_but(ZOO, *LARGE), lambda model, *_: model in LARGE[-2:]),
    ids=[row[0] for row in ZOO],
)
def test_pyslowfast(model: str, shape: tuple[int, ...], mistake: dict, block: str, tmp_path: Path) -> None:
    arrays = seeded_weights_zoo.zoo_weights(zoo_tables.slowfast_blobs(zoo_tables.models()[model]["table"]), 3)
    for name, array in arrays.items():  # else noise is multiplied: weights by affinities grow with their cube
        if name.startswith("nonlocal") and name.endswith("_bn_s"):
            array *= 0.01
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    np.save(tmp_path / "clip.npy", np.random.default_rng(5).standard_normal(shape, np.float32))
    convert(tmp_path / "x.pkl", tmp_path / "out.safetensors", source="slowfast", variant=model, to="native")
    words = {"source_layout": "slowfast", "variant": model, "clip": tmp_path / "clip.npy"}
    found = verify(tmp_path / "x.pkl", tmp_path / "out.safetensors", **words)
    assert found.ok, found.functional.first
    assert not any(one.fault for one in found.functional.blocks)
    assert ("3x5" in found.functional.clip or "6x5" in found.functional.clip) == model.startswith("AVA")
    file = File(tmp_path / "out.safetensors")
    assert mistake.keys() <= file.record["network"]["settings"].keys()
    file.record["network"] |= {"model": "", "settings": {**file.record["network"]["settings"], **mistake}}
    file.write()
    found = verify(tmp_path / "x.pkl", tmp_path / "out.safetensors", **words)
    assert (found.ok, found.exact.ok, found.functional.ok) == (False, False, False)
    assert found.functional.first.name == block


def test_a_network_that_the_zoo_lacks_is_not_written(tmp_path: Path) -> None:
    """PySlowFast's later detectors crop their regions differently from those of its Caffe2 zoo."""
    blobs = seeded_weights_zoo.zoo_weights(zoo_tables.slowfast_blobs("AVA_SLOW_8x8_R50"), 3)
    vmz_files.write_arrays(tmp_path / "x.pkl", blobs)
    convert(tmp_path / "x.pkl", tmp_path / "x.pth", source="slowfast", variant="AVA_SLOW_8x8_R50")
    torch.save(torch.load(tmp_path / "x.pth"), tmp_path / "short.pth")  # without its record
    with pytest.raises(Refused, match="pools and samples"):
        convert(
            tmp_path / "short.pth", tmp_path / "y.onnx", source="pyslowfast", variant="AVA_SLOW_8x8_R50_SHORT"
        )
    assert not (tmp_path / "y.onnx").exists()


@pytest.mark.full
def test_pyslowfast_as_onnx_and_in_a_project_with_other_settings(tmp_path: Path) -> None:
    """This tool's ONNX file is a source like the pickle; mmaction2 picks other slow frames unless it is set up."""
    model = "SLOWFAST_8x8_R50"
    vmz_files.write_arrays(
        tmp_path / "x.pkl", seeded_weights_zoo.zoo_weights(zoo_tables.slowfast_blobs(model), 3)
    )
    np.save(tmp_path / "clip.npy", np.random.default_rng(5).standard_normal((1, 3, 8, 193, 193), np.float32))
    convert(tmp_path / "x.pkl", tmp_path / "x.onnx", source="slowfast", variant=model)
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="slowfast", to="mmaction2")
    found = verify(tmp_path / "x.onnx", tmp_path / "out.pth", clip=tmp_path / "clip.npy")
    assert found.ok, found.functional.first
    assert found.source_layout == "slowfast"
    assert any("slow_frames = stride" in note for note in found.declared.notes)
    assert found.declared.first == "slow.stem"
    assert found.declared.relative > 1e-3


def test_noise_for_a_detector(tmp_path: Path) -> None:
    """Regions depend on the seed, and are inside the frame."""
    one, other = (random_regions(np.random.RandomState(seed), (2, 3, 4, 60, 80)) for seed in (1, 2))
    assert one.shape == (2 * REGIONS, 5)
    assert one[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert (one[:, 1:3] < [40, 30]).all()
    assert (one[:, 3:] > [40, 30]).all()
    assert (one[:, 3:] <= [80, 60]).all()
    assert (one[:, 1:] >= 0).all()
    assert (one != other).any()
