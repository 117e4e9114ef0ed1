"""PySlowFast's and video-nonlocal-net's files, from Caffe2 pickles to logits, through the whole product."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import tarfile
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch

from converters import BadInput, Refused, convert, inspect, load_model
from converters.cli.main import main
from converters.conversion.plan import make_plan
from converters.formats.checkpoint import Checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.match import match_file
from converters.mapping.network_info import network_info
from converters.mapping.variants import config, modules, parameters, shapes, variants
from converters.networks import NetworkSpec, build
from converters.networks.regions import Regions
from converters.networks.spec import Settings
from converters.networks.stages import window_means
from converters.tensor import Held, Tensor
from tests.helpers import (
    caffe_files,
    caffe_tables,
    i3d_tables,
    seeded_weights,
    seeded_weights_zoo,
    selection,
    vmz_files,
    zoo_tables,
)
from tests.helpers.golden_parity import TOLERANCE
from tests.helpers.paths import FIXTURES, GOLDENS
from tests.helpers.upstream_tables import target_tables, vmz_tables


def goldens(folder: str) -> list:
    return sorted(path.stem for path in (GOLDENS / folder).glob("*.npz"))


def nonlocal_point(stage: str) -> str:
    """The end point of a blob of video-nonlocal-net."""
    if match := re.fullmatch(r"res(\d)_(\d+)_branch2c_bn", stage):
        return f"layer{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"nonlocal_conv(\d)_(\d+)_sum", stage):
        return f"layer{int(match[1]) - 1}.nonlocal{match[2]}"
    return {"res_conv1_bn": "stem", "pool1": "pool1", "pool2": "pool2", "pool5": "pool"}[stage]


def slowfast_point(stage: str) -> str:
    """The end point of a module of PySlowFast, of a network of one pathway that of its slow one."""
    if match := re.fullmatch(r"head\.(conv_5|avg_pool|lin_5)(?:_relu)?", stage):
        return {"conv_5": "conv5", "avg_pool": "pool", "lin_5": "lin5"}[match[1]]
    if match := re.fullmatch(r"s(\d)_fuse\.relu", stage):
        return f"lateral{int(match[1]) - 1}"
    path, part = re.fullmatch(r"(?:s\d\.|head\.)?pathway(\d)_(\w+)", stage).groups()
    if match := re.fullmatch(r"(?:res|(nonlocal))(\d+)", part):
        point = f"layer{int(stage[1]) - 1}.{match[1] or ''}{match[2]}"
    else:
        point = {"stem": "pool1", "pool": "pool2", "avgpool": "pool"}[part]
    return f"{('slow', 'fast')[int(path)]}.{point}"


def compare(model, clip: np.ndarray, golden, points: dict[str, str], device: str, logits: str) -> None:
    """Every stage and the logits against a golden, in the order they are computed."""
    meta = json.loads(str(golden["meta"]))
    kind = "f64" if "f64/logits" in golden else "f32"
    rows = {points[stage]: row for row, stage in enumerate(meta["stages"]) if stage in points}
    with torch.inference_mode():
        for point, value in model.to(device).steps(torch.from_numpy(clip).to(device)):
            if point == logits:
                wanted = golden[f"{kind}/logits"]
                error = np.abs(value.cpu().numpy().reshape(wanted.shape) - wanted).max()
                assert error <= TOLERANCE[device] * np.abs(wanted).max()
            elif point in rows:
                row = rows.pop(point)
                shape = meta["stage_shapes"][row]
                if shape[0] > len(value):  # frames were folded into the batch, a group at a time
                    value = value.unflatten(2, (-1, shape[2])).transpose(1, 2)
                flat = value.flatten().cpu().numpy()
                assert flat.size == np.prod(shape)
                samples = flat[np.arange(64) * (flat.size - 1) // 63]
                largest = golden[f"{kind}/stats"][row][2]
                error = np.abs(samples - golden[f"{kind}/samples"][row]).max() / largest
                assert error <= TOLERANCE[device], f"the first to depart is {point}, by {error:.1e}"
    assert not rows, f"never computed: {list(rows)}"


NONLOCAL = {
    "c2d_nonlocal_8x8_test": "8x8",
    "i3d_baseline_8x8_test": "8x8",
    "i3d_nonlocal_8x8_test": "8x8",
    "i3d_nonlocal_8x8_val": "8x8",
    "i3d_nonlocal_32x2_test": "32x2",
    "i3d_nonlocal_32x4_affine_test": "32x4",
}


@pytest.mark.parametrize(
    ("folder", "name"),
    selection.one_of_each(
        [(folder, name) for folder in ("nonlocal", "nonlocal-recorded") for name in goldens(folder)],
        lambda folder, name: {folder, *name.split("_")} - {"8x8", "32x2", "32x4", "affine"},
    ),
)
def test_video_nonlocal_net(folder: str, name: str, device: str, tmp_path: Path) -> None:
    golden = np.load(GOLDENS / folder / f"{name}.npz")
    meta = json.loads(str(golden["meta"]))
    blobs = dict(zoo_tables.nonlocal_blobs(Path(meta["table"]).stem.removeprefix("blobs_")))
    if meta["split"] == "test":
        blobs["pred_w"] = (*blobs["pred_w"], 1, 1, 1)
    arrays = seeded_weights_zoo.zoo_weights(blobs, meta["weights_seed"])
    clip = seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"]))
    assert seeded_weights.digest(arrays, b"") == meta["weights_sha256"]
    assert seeded_weights.digest_one(clip) == meta["input_sha256"]
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    convert(
        tmp_path / "x.pkl",
        tmp_path / "out.pth",
        source="nonlocal",
        variant=meta.get("variant") or NONLOCAL[name],
    )
    points = {stage: nonlocal_point(stage) for stage in meta["stages"] if "affinity" not in stage}
    compare(load_model(tmp_path / "out.pth"), clip, golden, points, device, "window_logits")


@pytest.mark.parametrize(
    "name",
    selection.one_of_each(
        goldens("slowfast"), lambda name: {"slowfast", "x3d", "nln"} & set(name.split("_"))
    ),
)
def test_pyslowfast(name: str, device: str, tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "slowfast" / f"{name}.npz")
    meta = json.loads(str(golden["meta"]))
    blobs = zoo_tables.slowfast_blobs(Path(meta["table"]).stem.removeprefix("table_"))
    arrays = seeded_weights_zoo.zoo_weights(blobs, meta["weights_seed"])
    clip = seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"]))
    assert seeded_weights.digest(arrays, b"") == meta["weights_sha256"]
    assert seeded_weights.digest_one(clip) == meta["input_sha256"]
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="slowfast", variant=meta["model"])
    model = load_model(tmp_path / "out.pth")
    two = meta["arch"] == "slowfast"
    pooled = meta["arch"] == "i3d"
    stages = [stage for stage in meta["stages"] if pooled or not re.fullmatch(r"pathway\d_pool", stage)]
    points = {
        stage: slowfast_point(stage) if two else slowfast_point(stage).removeprefix("slow.")
        for stage in stages
    }
    if meta["arch"] == "x3d":  # no pool comes after its stem
        points["s1.pathway0_stem"] = "stem"
    if two:
        assert model.slow_indices(meta["input_shape"][2]).tolist() == meta["slow_frame_indices"]
    compare(model, clip, golden, points, device, "window_logits")


# Mistakes that leave names and shapes as they are, planted: every one is seen, where it is


@pytest.mark.full
def test_planted_in_a_non_local_network(tmp_path: Path) -> None:
    """pool1's padding, the scale of theta, the norm of the non-local blocks, where blocks have their stride."""
    golden = np.load(GOLDENS / "nonlocal" / "i3d_nonlocal_8x8_val.npz")
    meta = json.loads(str(golden["meta"]))
    arrays = seeded_weights_zoo.zoo_weights(
        zoo_tables.nonlocal_blobs("i3d_r50_nonlocal"), meta["weights_seed"]
    )
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="nonlocal", variant="8x8")
    model = load_model(tmp_path / "out.pth")
    clip = seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"]))
    points = {stage: nonlocal_point(stage) for stage in meta["stages"] if "affinity" not in stage}
    block, first = model.get_submodule("layer2.nonlocal1"), model.get_submodule("layer2.0")

    def departs(at: str) -> None:
        with pytest.raises(AssertionError, match=f"the first to depart is {at}, by"):
            compare(model, clip, golden, points, "cpu", "window_logits")

    block.scale = False
    departs("layer2.nonlocal1")
    block.scale, norm, block.bn = True, block.bn, torch.nn.Identity()
    departs("layer2.nonlocal1")
    block.bn = norm
    first.conv1.conv.stride, first.conv2.conv.stride = (1, 2, 2), (1, 1, 1)
    departs("layer2.0")
    model.pool1.padding = (0, 1, 1)
    with pytest.raises(AssertionError):  # another size, which no sample is compared of
        compare(model, clip, golden, points, "cpu", "window_logits")


def test_planted_in_slowfast(tmp_path: Path) -> None:
    """Which frames are the slow ones. The order of the pathways in the head is planted where mmaction's is turned."""
    golden = np.load(GOLDENS / "slowfast" / "slowfast_4x16_224x256.npz")
    meta = json.loads(str(golden["meta"]))
    arrays = seeded_weights_zoo.zoo_weights(
        zoo_tables.slowfast_blobs("SLOWFAST_4x16_R50"), meta["weights_seed"]
    )
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="slowfast", variant="SLOWFAST_4x16_R50")
    model = load_model(tmp_path / "out.pth")
    model.slow_frames = "stride"
    clip = seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"]))
    points = {
        stage: slowfast_point(stage) for stage in meta["stages"] if not re.fullmatch(r"pathway\d_pool", stage)
    }
    with pytest.raises(AssertionError, match=r"the first to depart is slow\.pool1, by"):
        compare(model, clip, golden, points, "cpu", "window_logits")


# What a file is called, what it holds beside weights, and what it does not tell


def halves(blobs) -> dict[str, np.ndarray]:
    """Small arrays for ``blobs`` that differ from name to name."""
    return {
        name: np.full(shape, number / 16, np.float16) for number, (name, shape) in enumerate(blobs.items(), 1)
    }


SLOWFAST_VARIANTS = {
    "C2D_8x8_R50": ("c2d-r50", {"pool2_stride": 2}),
    "C2D_NOPOOL_8x8_R50": ("c2d-r50", {"pool2_stride": 1}),
    "C2D_NLN_8x8_R50": ("c2d-nl-r50", {"pool2_stride": 2, "nonlocal_pool": "before"}),
    "I3D_8x8_R50": ("i3d-r50", {"pool1_padding": 1}),
    "I3D_NLN_8x8_R50": ("i3d-nl-r50", {"nonlocal_weights": "softmax", "nonlocal_scale": True}),
    "SLOWONLY_4x16_R50": ("slowonly-r50", {"pool2_stride": 1}),
    "SLOWONLY_8x8_R50": ("slowonly-r50", {"pool2_stride": 1}),
    "R50_IN1K": ("c2d-r50", {"pool2_stride": 1}),
    "AVA_SLOW_8x8_R50": ("slowonly-ava-r50", {"roi_dilation": 2, "roi_aligned": False, "pool2_stride": 1}),
    "AVA_SLOWFAST_32x2_R101_50_50": (
        "slowfast-nl-ava-50-50-r101",
        {"nonlocal_pool_frames": 2, "roi_aligned": False},
    ),
    "AVA_SLOWFAST_64x2_R101_50_50": ("slowfast-nl-ava-50-50-r101", {"nonlocal_weights": "mean"}),
    "X3D_XS": ("x3d-m", {"window": 5}),
    "X3D_S": ("x3d-m", {"window": 5}),
    "X3D_M": ("x3d-m", {"window": 7}),
    "X3D_L": ("x3d-l", {"window": 10}),
    "SLOWFAST_4x16_R50": ("slowfast-r50", {"alpha": 8, "slow_frames": "linspace"}),
    "SLOWFAST_8x8_R50": ("slowfast-r50", {"alpha": 4}),
    "SLOWFAST_8x8_R101_101_101": ("slowfast-r101", {"alpha": 4}),
    "SLOWFAST_8x8_R101_50_101": ("slowfast-50-101-r101", {"alpha": 4}),
    "SLOWFAST_8x8_R101_50_50": ("slowfast-50-50-r101", {"alpha": 4}),
    "SLOWFAST_16x8_R101_50_50": ("slowfast-50-50-r101", {"alpha": 4}),
    "SLOWFAST_NLN_16x8_R101_50_50": (
        "slowfast-nl-50-50-r101",
        {"alpha": 4, "nonlocal_weights": "mean", "nonlocal_scale": False, "nonlocal_pool_frames": 1},
    ),
}


def lazy(shapes) -> dict[str, Tensor]:
    """Tensors of some names and shapes, without data."""
    return {name: Tensor(name, "float32", shape, Held(memoryview(b""))) for name, shape in shapes.items()}


def slowfast_blob_names(key: str, two: bool, detector: bool) -> str:
    """Canonical name of a PySlowFast key, by rules written for the tests alone."""
    rules = [
        (r"^s(\d)_fuse\.(conv|bn)(?:_f2s)?", lambda m: f"lateral{int(m[1]) - 1}.{m[2]}"),
        (r"^s1\.pathway0_stem\.conv_xy", "path0.stem.space.conv"),
        (r"^s1\.pathway(\d)_stem\.", r"path\1.stem."),
        (r"^head\.lin_5", "lin5"),
        (r"^head\.conv_5_bn", "conv5.bn"),
        (r"^head\.conv_5", "conv5.conv"),
        (r"\.branch2\.se\.", ".squeeze."),
        (r"^head\.projection\.", "roi_head." if detector else "head."),
        (r"\.branch2\.([abc])_bn\.", lambda m: f".conv{'abc'.index(m[1]) + 1}.bn."),
        (r"\.branch2\.([abc])\.", lambda m: f".conv{'abc'.index(m[1]) + 1}.conv."),
        (r"\.branch1_bn\.", ".shortcut.bn."),
        (r"\.branch1\.", ".shortcut.conv."),
        (r"\.conv_(theta|phi|g|out)\.", r".\1."),
        (
            r"^s(\d)\.(path)way(\d)_(?:res|(nonlocal))(\d+)",
            lambda m: f"path{m[3]}.layer{int(m[1]) - 1}.{m[4] or ''}{m[5]}",
        ),
        (r"^path0\.", "slow." if two else ""),
        (r"^path1\.", "fast."),
    ]
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


@pytest.mark.parametrize("model", SLOWFAST_VARIANTS)
def test_every_blob_of_pyslowfast_has_its_place(model: str) -> None:
    """Names, shapes and meaning of every blob, and the key that PySlowFast's own loader gives it."""
    told = zoo_tables.models()[model]
    blobs = lazy(zoo_tables.slowfast_blobs(told["table"]))
    found = match_file(load_layout("slowfast"), blobs, variant=model)
    variant, settings = SLOWFAST_VARIANTS[model]
    info = network_info(found, None, model=model)
    assert (found.variant.name, info.model, info.choices) == (variant, model, ())
    assert settings.items() <= info.settings.items()
    assert info.input["clip"][:2] == [told["frames"], told["train_crop"]]
    assert parameters(found.variant, found.sizes, {}) == told["n_params"]
    plan = make_plan(found, blobs, load_layout("pyslowfast"), info, eps=1e-5)
    keys = zoo_tables.slowfast_keys(told["table"])
    assert {row.target: (row.source, row.shape) for row in plan.rows} == keys
    assert {entry.name: entry.canonical for entry in found.slots} == {
        blob: slowfast_blob_names(key, told["arch"] == "slowfast", model.startswith("AVA"))
        for key, (blob, _) in keys.items()
        if blob
    }


NONLOCAL_MODELS = [name for name, told in zoo_tables.models().items() if "builder" in told]


@pytest.mark.parametrize("model", NONLOCAL_MODELS)
def test_every_blob_of_video_nonlocal_net_has_its_place(model: str) -> None:
    told = zoo_tables.models()[model]
    blobs = lazy(zoo_tables.nonlocal_blobs(told["table"]))
    variant = re.search(r"\d+x\d+", model)[0]
    affine = told["norm"] == "AffineNd"
    found = match_file(load_layout("nonlocal-affine" if affine else "nonlocal"), blobs, variant=variant)
    kind, nl = model[:3], "-nl" if "nonlocal" in model else ""
    info = network_info(found, None, model=variant)
    assert found.variant.name == f"{kind}{nl}-r{told['depth']}"
    assert (
        info.settings["stem_stride"]
        == info.settings["pool1_kernel"]
        == (2 if told["builder"] == "resnet_video_org" else 1)
    )
    assert info.settings["pool1_padding"] == 0
    assert info.settings.get("nonlocal_frames", 0) == (4 if affine and nl else 0)
    assert info.input["clip"][0] == told["frames"]
    assert info.input["frame_step"] == told["sample_rate"]
    norms = [entry for entry in found.slots if entry.kind == "bn" and "nonlocal" in entry.canonical]
    assert len(norms) == 4 * told["nonlocal_blocks"]
    stands_in = sum(found.sizes.get(size, size) for entry in norms if not entry.name for size in entry.shape)
    assert parameters(found.variant, found.sizes, {}) == told["n_params"] + stands_in // 2
    assert sum(bool(entry.name) for entry in found.slots) == told["n_blobs"]


def pickled(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


@pytest.fixture(scope="module")
def i3d_nl(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A training checkpoint of the non-local I3D, in half precision: momentum, an ``lr`` that is an array, a count."""
    arrays = halves(zoo_tables.nonlocal_blobs("i3d_r50_nonlocal"))
    momentum = {f"{blob}_momentum": arrays[blob] for blob in zoo_tables.nonlocal_momentum("i3d_r50_nonlocal")}
    blobs = {**arrays, **momentum, "lr": np.array(0.01, np.float32), "model_iter": 400000}
    assert len(blobs) == 327 + 211 + 2
    return pickled(tmp_path_factory.mktemp("zoo") / "i3d.pkl", {"blobs": blobs}), arrays


def test_a_training_checkpoint(i3d_nl, tmp_path: Path) -> None:
    path, arrays = i3d_nl
    done = convert(path, tmp_path / "out.pth", source="nonlocal", variant="8x8")
    assert len(done.dropped) == 211 + 2
    assert done.provenance["network"]["model"] == "8x8"
    assert done.provenance["network"]["settings"]["pool1_padding"] == 0
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    assert torch.equal(
        state["layer2.nonlocal1.theta.weight"], torch.from_numpy(arrays["nonlocal_conv3_1_theta_w"])
    )
    convert(tmp_path / "out.pth", tmp_path / "back.pkl", source="native", to="nonlocal")
    again = pickle.loads((tmp_path / "back.pkl").read_bytes(), encoding="latin1")["blobs"]
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())


def test_a_bare_dictionary_with_a_plain_rate(i3d_nl, tmp_path: Path) -> None:
    arrays = i3d_nl[1]
    path = pickled(tmp_path / "clean.pkl", {**arrays, "lr": 0.01, "model_iter": 1})
    assert (
        convert(path, tmp_path / "out.pth", source="slowfast").provenance["network"]["model"]
        == "I3D_NLN_8x8_R50"
    )


def test_what_names_and_shapes_leave_open_is_asked_for(i3d_nl, tmp_path: Path, run) -> None:
    path = i3d_nl[0]
    done = run("nonlocal", path, tmp_path / "out.pth")
    assert done.returncode == 1
    assert "8x8, 32x2" in done.stderr
    assert "--variant" in done.stderr
    with pytest.raises(Refused, match="compute different things") as caught:
        convert(path, tmp_path / "out.pth")
    assert caught.value.where == "nonlocal, slowfast"
    for wrong in ("64x2", "32x4", "c2d-r50"):  # 32x4 is affine
        with pytest.raises(Refused, match=f"holds I3D-NL R50 .*, not '{wrong}'") as caught:
            convert(path, tmp_path / "out.pth", source="nonlocal", variant=wrong)
        assert caught.value.told.hint == "--variant may be 8x8, 32x2, i3d-nl-r50"
    assert not (tmp_path / "out.pth").exists()
    found = inspect(path)
    assert found.network.choices == ("8x8", "32x2")
    assert "or slowfast, whose networks compute something else" in found.layout_title
    # Our own names tell as little, once the record is lost.
    convert(path, tmp_path / "out.pth", source="nonlocal", variant="32x2")
    torch.save(torch.load(tmp_path / "out.pth", weights_only=True), tmp_path / "bare.pth")
    with pytest.raises(Refused, match="compute different things"):
        load_model(tmp_path / "bare.pth")
    assert load_model(tmp_path / "bare.pth", variant="32x2").pool1.stride == (2, 2, 2)
    assert load_model(tmp_path / "out.pth").pool1.stride == (2, 2, 2)


@pytest.mark.parametrize(
    ("table", "wrong", "right"),
    [
        ("SLOWFAST_8x8_R50", "SLOWFAST_4x16_R50", "SLOWFAST_8x8_R50, slowfast-r50"),
        ("SLOWFAST_4x16_R50", "SLOWFAST_8x8_R50", "SLOWFAST_4x16_R50, slowfast-r50"),
        (
            "AVA_SLOW_8x8_R50",
            "I3D_8x8_R50",
            "SLOWONLY_4x16_R50, SLOWONLY_8x8_R50, AVA_SLOW_8x8_R50, slowonly-r50, slowonly-ava-r50",
        ),
    ],
)
def test_a_model_that_the_file_contradicts(table: str, wrong: str, right: str, tmp_path: Path) -> None:
    """The kernel of lateral convolutions tells 4x16 from 8x8; of a detector's classes both networks are choices."""
    path = pickled(tmp_path / "x.pkl", halves(zoo_tables.slowfast_blobs(table)))
    with pytest.raises(Refused, match=f"not '{wrong}'") as caught:
        convert(path, tmp_path / "out.pth", source="slowfast", variant=wrong)
    assert caught.value.told.hint == f"--variant may be {right}"
    for name in right.split(", "):
        convert(path, tmp_path / "out.pth", source="slowfast", variant=name, dry_run=True)


def test_a_model_may_have_been_trained_further_on_other_classes(tmp_path: Path) -> None:
    blobs = zoo_tables.slowfast_blobs("R50_IN1K") | {"pred_w": (101, 2048), "pred_b": (101,)}
    path = pickled(tmp_path / "x.pkl", halves(blobs))
    done = convert(path, tmp_path / "out.pth", source="slowfast", variant="R50_IN1K", dry_run=True)
    assert (done.provenance["network"]["model"], done.provenance["network"]["classes"]) == ("R50_IN1K", 101)


def test_models_that_compute_the_same_are_not_asked_for(tmp_path: Path) -> None:
    arrays = halves(zoo_tables.slowfast_blobs("SLOWONLY_4x16_R50"))
    done = convert(pickled(tmp_path / "x.pkl", {"blobs": arrays}), tmp_path / "out.pth", source="slowfast")
    network = done.provenance["network"]
    assert (network["model"], "clip" in network["input"]) == ("", False)
    assert network["input"]["mean"] == [0.45, 0.45, 0.45]
    done = convert(
        tmp_path / "out.pth", tmp_path / "again.pth", source="pyslowfast", variant="SLOWONLY_8x8_R50"
    )
    assert done.provenance["network"]["input"]["clip"] == [8, 224, 224]


def test_padding_that_no_weight_shows_is_said(i3d_nl, tmp_path: Path) -> None:
    done = convert(i3d_nl[0], tmp_path / "out.pth", source="nonlocal", variant="8x8", to="pyslowfast")
    (note,) = (note for note in done.notes if "pool1_padding" in note)
    assert "pool1_padding = 1, but these weights need pool1_padding = 0" in note
    assert load_model(tmp_path / "out.pth").pool1.padding == (0, 0, 0)
    assert not convert(i3d_nl[0], tmp_path / "other.pth", source="slowfast").notes


def test_affine_files_and_what_only_looks_like_one(tmp_path: Path) -> None:
    arrays = halves(zoo_tables.nonlocal_blobs("i3d_r50_nonlocal_affine"))
    path = pickled(tmp_path / "x.pkl", arrays)
    with pytest.raises(Refused) as caught:
        convert(path, tmp_path / "out.pth", source="nonlocal")
    assert caught.value.where == "32x4, 128x1"
    with pytest.raises(Refused):
        convert(path, tmp_path / "out.pth", source="nonlocal", variant="8x8")
    convert(path, tmp_path / "out.pth", source="nonlocal", variant="128x1", dtype="float32")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    norms = {name: tensor for name, tensor in state.items() if ".bn.running_" in name}
    assert {float(value) for name in norms for value in norms[name].unique()} == {
        0.0,
        float(np.float32(1 - 1e-5)),
    }
    assert torch.equal(state["layer3.nonlocal5.bn.weight"], torch.ones(1024))
    convert(tmp_path / "out.pth", tmp_path / "back.pkl", source="native", to="nonlocal-affine")
    again = pickle.loads((tmp_path / "back.pkl").read_bytes(), encoding="latin1")
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())
    # The start for fine-tuning: scale and shift of norms whose statistics are gone.
    for table in ("i3d_r50_nonlocal", "c2d_r50_baseline"):
        whole = zoo_tables.nonlocal_blobs(table)
        kept = {name: shape for name, shape in whole.items() if not re.search("_rm$|_riv$|pred", name)}
        pickled(tmp_path / "start.pkl", halves(kept))
        for variant in (None, "8x8", "32x2"):
            with pytest.raises(Refused, match="does not fit") as caught:
                convert(tmp_path / "start.pkl", tmp_path / "no.pth", source="nonlocal", variant=variant)
            assert "lost their statistics" in caught.value.told.hint
        with pytest.raises(Refused, match="does not fit") as caught:
            convert(tmp_path / "start.pkl", tmp_path / "no.pth", source="slowfast")
        assert "lost their statistics" in caught.value.told.hint
    with pytest.raises(Refused, match="affine") as caught:
        convert(path, tmp_path / "no.pth", source="slowfast")
    assert caught.value.told.hint == "use `convert nonlocal ...`"


@pytest.mark.parametrize("source", ["slowfast", "nonlocal"])
def test_files_that_are_something_else(source: str, tmp_path: Path, i3d_nl, r2d: Path) -> None:
    """A .pkl of these zoos has been a web page, a compressed archive and a PyTorch file of either format."""
    cases = {
        b"<!DOCTYPE html><html><head>": "web page",
        b"\x1f\x8b\x08\0" + bytes(40): "gzip",
    }
    for head, said in cases.items():
        (tmp_path / "x.pkl").write_bytes(head)
        with pytest.raises(BadInput, match=said):
            convert(tmp_path / "x.pkl", tmp_path / "out.pth", source=source)
    with pytest.raises(Refused, match="R2D-18 with the names of VMZ") as caught:
        convert(r2d, tmp_path / "out.pth", source=source)
    assert "convert vmz" in caught.value.told.hint
    convert(i3d_nl[0], tmp_path / "keys.pth", source="slowfast", wrap=True)
    assert list(torch.load(tmp_path / "keys.pth", weights_only=True)) == ["model_state"]
    if source == "nonlocal":
        with pytest.raises(BadInput, match="PyTorch zip file") as caught:
            convert(tmp_path / "keys.pth", tmp_path / "out.pth", source=source)
        assert "use `convert pyslowfast" in caught.value.told.hint
    else:
        state = torch.load(tmp_path / "keys.pth", weights_only=True)
        torch.save(state, tmp_path / "keys.pkl", _use_new_zipfile_serialization=False)
        convert(tmp_path / "keys.pkl", tmp_path / "out.pth", source=source)
        assert load_model(tmp_path / "out.pth").pool1.padding == (0, 1, 1)


# The same networks in other projects' names


def target_file(key: str, path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The file that a golden's network would have saved, and what the golden's record says."""
    golden = np.load(GOLDENS / "resnet-targets" / f"{key.replace('/', '-')}.npz")
    meta = json.loads(str(golden["meta"]))
    arrays = seeded_weights.target_weights(zoo_tables.resnet_tables()[key].keys, meta["seed"], meta["gain"])
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return arrays, {**meta, "logits": golden["f64/logits"]}


def same_bits(path: Path, arrays: dict[str, np.ndarray], but: tuple[str, ...] = ()) -> bool:
    state = torch.load(path, weights_only=True)
    wanted = {name: array for name, array in arrays.items() if name not in but}
    return state.keys() == wanted.keys() and all(
        np.array_equal(state[name].numpy(), array) for name, array in wanted.items()
    )


@pytest.mark.full
def test_mmaction_slowfast_goes_to_mmaction2_and_back(tmp_path: Path) -> None:
    """Its head has the pathways in the other order, and a lateral convolution that never runs is dropped."""
    key = "mmaction/slowfast_r50_4x16_k400"
    arrays, meta = target_file(key, tmp_path / "x.pth")
    unused = "backbone.slow_path.layer4_lateral.weight"
    done = convert(tmp_path / "x.pth", tmp_path / "out.pth", source="mmaction", to="mmaction2")
    assert done.dropped == (unused,)
    head = torch.load(tmp_path / "out.pth", weights_only=True)["cls_head.fc_cls.weight"].numpy()
    assert np.array_equal(head, np.roll(arrays["cls_head.fc_cls.weight"], 256, axis=1))
    names = zoo_tables.resnet_tables()["mmaction2/slowfast_r50_4x16_k400"].keys
    assert torch.load(tmp_path / "out.pth", weights_only=True).keys() == names.keys()
    clip = torch.from_numpy(seeded_weights.target_input(meta["seed"], meta["input_shape"]))
    model = load_model(tmp_path / "out.pth")
    with torch.inference_mode():
        logits = model(clip).numpy()
        model.head.weight = torch.nn.Parameter(model.head.weight.roll(256, dims=1))
        planted = model(clip).numpy()
    allowed = TOLERANCE["cpu"] * np.abs(meta["logits"]).max()
    assert np.abs(logits - meta["logits"]).max() <= allowed
    assert np.abs(planted - meta["logits"]).max() > 100 * allowed
    convert(tmp_path / "out.pth", tmp_path / "back.pth", source="mmaction2", to="mmaction")
    assert same_bits(tmp_path / "back.pth", arrays, (unused,))
    for to in ("pyslowfast", "pytorchvideo"):
        with pytest.raises(Refused, match="lateral convolutions have a norm and a ReLU"):
            convert(tmp_path / "x.pth", tmp_path / "no.pth", source="mmaction", to=to)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("mmaction/tsn_r50_k400", "mmaction2/tsn_r50_1x1x3_k400"),
        ("mmaction/slowonly_r50_4x16_k400", "mmaction2/slowonly_r50_4x16_k400"),
        ("mmaction2/i3d_r50_k400", "mmaction/i3d_r50_inflate3x1x1_k400"),
    ],
)
def test_renamed_between_mmaction_and_mmaction2(key: str, other: str, tmp_path: Path) -> None:
    arrays, _ = target_file(key, tmp_path / "x.pth")
    source, target = key.split("/")[0], other.split("/")[0]
    done = convert(tmp_path / "x.pth", tmp_path / "out.pth", source=source, to=target)
    assert not done.notes
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    assert {name: tuple(one.shape) for name, one in state.items()} == zoo_tables.resnet_tables()[other].keys
    convert(tmp_path / "out.pth", tmp_path / "back.pth", source=target, to=source)
    assert same_bits(tmp_path / "back.pth", arrays)


@pytest.mark.full
def test_theta_takes_the_scale_that_mmaction_lacks(tmp_path: Path) -> None:
    golden = np.load(GOLDENS / "nonlocal" / "i3d_nonlocal_8x8_val.npz")
    meta = json.loads(str(golden["meta"]))
    arrays = seeded_weights_zoo.zoo_weights(
        zoo_tables.nonlocal_blobs("i3d_r50_nonlocal"), meta["weights_seed"]
    )
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    done = convert(tmp_path / "x.pkl", tmp_path / "out.pth", source="nonlocal", variant="8x8", to="mmaction")
    (note,) = done.notes
    assert "stem_stride = 2" in note
    assert "scale" not in note
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    block = "backbone.layer3.1.nonlocal_block"
    theta = arrays["nonlocal_conv4_1_theta_w"].astype(np.float64) / np.sqrt(512)
    assert np.array_equal(state[f"{block}.theta.weight"].numpy(), theta.astype(np.float32))
    assert torch.equal(state[f"{block}.bn.weight"], state[f"{block}.W.1.weight"])
    clip = torch.from_numpy(seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"])))
    with torch.inference_mode():
        logits = load_model(tmp_path / "out.pth")(clip).numpy()
    wanted = golden["f32/logits"]
    assert np.abs(logits - wanted).max() <= TOLERANCE["cpu"] * np.abs(wanted).max()
    convert(tmp_path / "out.pth", tmp_path / "back.pkl", source="mmaction", to="nonlocal")
    again = pickle.loads((tmp_path / "back.pkl").read_bytes(), encoding="latin1")["blobs"]
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())
    convert(tmp_path / "out.pth", tmp_path / "key.pth", source="mmaction", to="pyslowfast")
    state = torch.load(tmp_path / "key.pth", weights_only=True)
    assert np.array_equal(
        state["s4.pathway0_nonlocal1.conv_theta.weight"].numpy(), arrays["nonlocal_conv4_1_theta_w"]
    )
    damaged = torch.load(tmp_path / "out.pth", weights_only=True)
    damaged[f"{block}.bn.bias"] = damaged[f"{block}.bn.bias"] + 1
    torch.save(damaged, tmp_path / "damaged.pth")
    with pytest.raises(Refused, match="stores one tensor under two names"):
        convert(tmp_path / "damaged.pth", tmp_path / "no.pth", source="mmaction", to="native")


def test_what_no_weights_make_up_for_is_refused(i3d_nl, tmp_path: Path) -> None:
    out = tmp_path / "out.pth"
    with pytest.raises(Refused, match="pool after phi and g"):
        convert(i3d_nl[0], out, source="nonlocal", variant="8x8", to="mmaction2")
    with pytest.raises(Refused, match="pytorchvideo has no non-local blocks"):
        convert(i3d_nl[0], out, source="slowfast", to="pytorchvideo")
    affine = pickled(tmp_path / "x.pkl", halves(zoo_tables.nonlocal_blobs("i3d_r50_nonlocal_affine")))
    with pytest.raises(Refused, match="nonlocal_frames = 0 where these weights need nonlocal_frames = 4"):
        convert(affine, out, source="nonlocal", variant="32x4", to="mmaction")
    two = pickled(tmp_path / "y.pkl", halves(zoo_tables.slowfast_blobs("SLOWFAST_4x16_R50")))
    with pytest.raises(Refused, match="neither norm nor ReLU"):
        convert(two, out, source="slowfast", to="mmaction")
    done = convert(two, out, source="slowfast", to="mmaction2")
    assert any("lateral_norm=True" in note for note in done.notes)
    assert any("slow_frames = linspace" in note for note in done.notes)
    assert load_model(out).slow_indices(32).tolist() == [0, 10, 20, 31]


def test_every_setting_changes_what_is_computed() -> None:
    """What the tables call a setting is one: another value, another output."""
    one = next(one for one in variants("resnet_i3d") if one.name == "i3d-nl-r50")
    bound = {"classes": 5, "channels": 3, "stem_t": 5}
    shapes_of = {f"{m.name}.{leaf}": shape for m in modules(one) for leaf, shape in shapes(m, bound)}
    own = {**config(one), "pool2_stride": 1}
    state = {
        name: torch.from_numpy(array)
        for name, array in seeded_weights.target_weights(shapes_of, 7, 0.3).items()
    }

    def logits(**changes: object) -> torch.Tensor:
        model = build(NetworkSpec(one.family, one.name, shapes_of, {**own, "bn_eps": 1e-5, **changes}))
        model.load_state_dict(state, strict=False, assign=True)
        with torch.inference_mode():
            return model.eval()(torch.randn(1, 3, 8, 56, 56, generator=torch.Generator().manual_seed(5)))

    right = logits()
    for name, value in {
        "stem_stride": 2,
        "pool1_kernel": 2,
        "pool1_stride": 2,
        "pool1_padding": 0,
        "pool2_stride": 2,
        "nonlocal_weights": "mean",
        "nonlocal_scale": False,
        "nonlocal_pool": "after",
        "nonlocal_pool_frames": 2,
        "nonlocal_frames": 4,
    }.items():
        assert value != own[name]
        assert (logits(**{name: value}) - right).abs().max() > 1e-5 * right.abs().max(), name
    one = torch.randn(1, 2048, 4, 8, 7, generator=torch.Generator().manual_seed(5))
    assert not torch.allclose(
        window_means(one, True).mean(dim=(2, 3, 4)), window_means(one, False)[..., 0, 0, 0]
    )


@pytest.mark.parametrize(
    ("slow_frames", "seen"),
    [
        ("linspace", {8: [0], 40: [0, 9, 19, 29, 39]}),
        ("stride", {1: [0], 36: [0, 8, 16, 24, 32], 40: [0, 8, 16, 24, 32]}),
    ],
)
def test_the_slow_frames_of_a_clip_of_any_length(slow_frames: str, seen: dict[int, list[int]]) -> None:
    """As PySlowFast's loader spreads them, and as mmaction takes every eighth: also after the last whole eight."""
    one = next(one for one in variants("slowfast") if one.name == "slowfast-bare-r50")
    bound = {"classes": 5, "channels": 3, "lateral_t": 5}
    shapes_of = {f"{m.name}.{leaf}": shape for m in modules(one) for leaf, shape in shapes(m, bound)}
    settings = {**config(one), "bn_eps": 1e-5, "alpha": 8, "slow_frames": slow_frames}
    model = build(NetworkSpec(one.family, one.name, shapes_of, settings))
    for frames, wanted in seen.items():
        assert model.slow_indices(frames).tolist() == wanted
        lateral = model.get_submodule("lateral0.conv")
        assert (frames + 2 * lateral.padding[0] - 5) // lateral.stride[0] + 1 == len(wanted)
    if slow_frames == "linspace":
        with pytest.raises(ValueError, match="a multiple of 8 frames, got 36"):
            model.slow_indices(36)


def test_a_detector_is_told_from_a_classifier_by_name_alone(tmp_path: Path) -> None:
    """Of 80 classes a file may be either: asked for, recorded, and known again."""
    path = pickled(tmp_path / "x.pkl", halves(zoo_tables.slowfast_blobs("AVA_SLOW_8x8_R50")))
    with pytest.raises(Refused, match="compute different things") as caught:
        convert(path, tmp_path / "out.pth", source="slowfast")
    assert caught.value.where == "slowonly-r50, slowonly-ava-r50"
    assert inspect(path, layout="slowfast").network.choices == ("slowonly-r50", "slowonly-ava-r50")
    done = convert(path, tmp_path / "out.pth", source="slowfast", variant="AVA_SLOW_8x8_R50", dtype="float32")
    assert done.provenance["network"]["model"] == "AVA_SLOW_8x8_R50"
    model = load_model(tmp_path / "out.pth")
    assert model.get_submodule("layer4.2.conv2.conv").dilation == (1, 2, 2)
    done = convert(tmp_path / "out.pth", tmp_path / "other.pth", source="pyslowfast", to="mmaction2")
    assert any("roi_size = 8, roi_aligned = on, roi_dilation = 1" in note for note in done.notes)
    with pytest.raises(ValueError, match="takes regions too"):
        model(torch.zeros(1, 3, 4, 32, 32))
    with pytest.raises(ValueError, match="a region of clip 1"):
        model(torch.zeros(1, 3, 4, 32, 32), torch.tensor([[1.0, 0, 0, 8, 8]]))
    assert model(torch.zeros(1, 3, 4, 32, 32), torch.zeros(0, 5)).shape == (0, 80)
    convert(path, tmp_path / "plain.pth", source="slowfast", variant="slowonly-r50")
    assert load_model(tmp_path / "plain.pth").get_submodule("layer4.2.conv2.conv").dilation == (1, 1, 1)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 2])
def test_regions_are_means_of_samples(aligned: bool, samples: int) -> None:
    """RoIAlign as it is defined: bilinear samples, those far outside being zero, averaged."""
    settings_of = {"roi_stage": 4, "roi_size": 3, "roi_samples": samples, "roi_aligned": aligned}
    x = torch.randn(2, 4, 2, 9, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rois = torch.tensor(
        [[1.0, 5, 12, 90, 130], [0, -40, -30, 20, 10], [1, 60, 80, 160, 200], [0, 8, 8, 9, 9]]
    )
    out = Regions(Settings(settings_of))(x, rois)
    frames = x.mean(dim=2)
    for number, (clip, *box) in enumerate(rois.tolist()):
        low = [one / 16 - (0.5 if aligned else 0) for one in box]
        sides = [low[axis + 2] - low[axis] for axis in (0, 1)]
        sides = sides if aligned else [max(side, 1.0) for side in sides]
        for row in range(3):
            for column in range(3):
                values = []
                counts = [samples or max(1, ceil(side / 3)) for side in sides]
                for i in range(counts[1]):
                    for j in range(counts[0]):
                        px = low[0] + sides[0] / 3 * (column + (j + 0.5) / counts[0])
                        py = low[1] + sides[1] / 3 * (row + (i + 0.5) / counts[1])
                        values.append(bilinear(frames[int(clip)], py, px))
                wanted = torch.stack(values).mean(dim=0)
                assert torch.allclose(out[number, :, 0, row, column], wanted, atol=1e-12)


def bilinear(frame: torch.Tensor, y: float, x: float) -> torch.Tensor:
    height, width = frame.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(frame), dtype=frame.dtype)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    upper = frame[:, top, left] * (1 - u) + frame[:, top, right] * u
    lower = frame[:, below, left] * (1 - u) + frame[:, below, right] * u
    return upper * (1 - v) + lower * v


FOREIGN = [
    *(
        ("vmz", name)
        for name in (
            "r2plus1d-18",
            "r2plus1d-34",
            "r2plus1d-152",
            "r3d-18",
            "ir-csn-50",
            "ir-csn-152",
            "ip-csn-26",
            "c3d",
            "mc3-18",
            "a_resnet-18",
            "av_resnet-r3d-18",
        )
    ),
    *(
        ("", name)
        for name in (
            "vmz-pt/r2plus1d_34",
            "vmz-pt/ir_csn_50",
            "torchvision/mc3_18",
            "torchvision/r3d_18",
            "mmaction/ircsn_152",
            "mmaction/tsn_bninception_rgb_ucf101",
            "mmaction/i3d_inception_v1_rgb_k400",
            "mmaction/slowfast_r50_4x16_k400",
            "mmaction2/c3d_ucf101",
            "mmaction2/ircsn_50_k400",
            "mmaction2/i3d_r50_nl_dot_product_k400",
            "pytorchvideo/slow_r50",
            "pytorch-i3d/piergiaj_rgb_400",
        )
    ),
    ("detectron", "R-50.pkl"),
    ("detectron2", "R-50.pkl"),
    ("c3d", "c3d/caffe-v1.0-sports1m"),
    ("c3d", "c3d/caffe-v1.1-resnet18-sports1m"),
    ("tsn", "tsn/caffe-bn_inception-rgb-ucf101"),
    ("c3d-chainer", "c3d/chainer-sports1m"),
    ("i3d", "rgb"),
]
"""Files of other projects: the source and the name of a table, or that of a state dict's."""


def foreign(zoo: str, name: str) -> Checkpoint:
    """A file of another project as it is once opened."""
    caffe = caffe_tables.caffe_tables()
    if zoo == "vmz":
        return opened("caffe2-pickle", vmz_tables()[name].blobs)
    if zoo.startswith("detectron"):
        flat = {
            blob.replace("pred", "fc1000"): shape[:2] + shape[3:] if len(shape) == 5 else shape
            for blob, shape in zoo_tables.slowfast_blobs("R50_IN1K").items()
        }
        if zoo == "detectron":
            return opened(
                "caffe2-pickle", {n: s for n, s in flat.items() if n[-2:] != "rm" and n[-3:] != "riv"}
            )
        ends = {"_bn_s": "_bn_gamma", "_bn_b": "_bn_beta", "_rm": "_running_mean", "_riv": "_running_var"}
        pattern = "|".join(f"{end}$" for end in ends)
        return opened("caffe2-pickle", {re.sub(pattern, lambda m: ends[m[0]], n): s for n, s in flat.items()})
    if zoo in ("c3d", "tsn"):
        return opened("caffe", caffe[name].params)
    if zoo == "c3d-chainer":
        return opened("chainer", caffe_tables.chainer_tables()[name])
    if zoo == "i3d":
        return opened("tensorflow", i3d_tables.i3d_tables()[name])
    tables = {
        **target_tables(),
        **caffe_tables.target_tables(),
        **i3d_tables.i3d_target_tables(),
        **zoo_tables.resnet_tables(),
    }
    return opened(
        "pytorch", {key: shape for key, shape in tables[name].keys.items() if "num_batches" not in key}
    )


def opened(kind: str, shapes) -> Checkpoint:
    return Checkpoint(path="x", format=kind, container=kind, tensors=lazy(shapes))


@pytest.mark.parametrize("source", selection.first_of(["slowfast", "nonlocal"]))
@pytest.mark.parametrize(("zoo", "name"), FOREIGN)
def test_files_of_other_projects_are_refused_by_name(
    zoo: str, name: str, source: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Each with the command that takes it, and no output."""
    file = foreign(zoo, name)
    monkeypatch.setattr("converters.conversion.execute.open_checkpoint", lambda *_, **__: file)
    (tmp_path / "x").write_bytes(b"")
    code = main([source, str(tmp_path / "x"), str(tmp_path / "out.pth")])
    said = capsys.readouterr().err
    # 1: of the right format, another network; 3: PySlowFast's files come as PyTorch's too, those of neither as Caffe's
    formats = {"slowfast": ("caffe2-pickle", "pytorch"), "nonlocal": ("caffe2-pickle",)}[source]
    assert code == (1 if file.format in formats else 3)
    command = {"detectron2": "detectron"}.get(zoo, zoo) or name.split("/")[0]
    assert f"use `convert {command} ...`" in said
    assert not (tmp_path / "out.pth").exists()


def gzipped_tar(inner: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("model.pkl")
        member.size = len(inner)
        archive.addfile(member, io.BytesIO(inner))
    return packed.getvalue()


def saved(value: object) -> bytes:
    """What ``torch.save`` wrote before 1.6."""
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=False)
    return out.getvalue()


ODD = {
    "a web page": (b"<!DOCTYPE html><html>404</html>", 3, "is a web page"),
    "a message": (
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        3,
        "is a server's error message",
    ),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", 3, "run 'git lfs pull'"),
    "a tar file in gzip": (
        gzipped_tar(b"\x80\x02}."),
        3,
        "is compressed with gzip\nhint: decompress it first; `tar -xf` unpacks a .tar.gz",
    ),
    "nothing": (b"", 3, "the download failed"),
    "a mean": (caffe_files.blob_v1(np.zeros((1, 3, 4, 4), "f4")), 3, "`convert c3d` turns it into an .npy"),
    "one array": (b"\x93NUMPY\x01\x00", 3, "is a single numpy array"),
    "half a pickle": (b"\x80\x02}q\x00(U\x05blobsq\x01}q\x02(U\x07conv1_wq\x03", 3, "was cut"),
    "a pickle that calls": (b"\x80\x02cposix\nsystem\nU\x02idR.", 3, "system"),
    "a list": (pickle.dumps([1, 2], 2), 3, "list"),
    "an unknown state dict": (saved({"x.weight": torch.zeros(3)}), None, "`convert inspect` shows"),
    "a graph": (
        gzip.decompress((FIXTURES / "onnx/ip-csn-26.onnx.gz").read_bytes()),
        1,
        "use `convert vmz ...`",
    ),
    "a Chainer mean": ((FIXTURES / "chainer/mean2.npz").read_bytes(), 3, "`convert c3d`"),
    "a Chainer file": ((FIXTURES / "chainer/stored.npz").read_bytes(), 3, "use `convert c3d-chainer ...`"),
}
"""Files that are no network of these zoos, under a name that says otherwise: bytes, exit code, what is said."""


@pytest.mark.parametrize("source", ["slowfast", "nonlocal"])
@pytest.mark.parametrize("what", ODD)
def test_a_pkl_that_is_none_is_told_for_what_it_is(what: str, source: str, tmp_path: Path, capsys) -> None:
    content, code, words = ODD[what]
    (tmp_path / "I3D_8x8_R50.pkl").write_bytes(content)
    done = main([source, str(tmp_path / "I3D_8x8_R50.pkl"), str(tmp_path / "out.pth")])
    assert done == (code or {"slowfast": 1, "nonlocal": 3}[source])
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.pth").exists()


def test_x3d_of_pytorchvideo(tmp_path: Path) -> None:
    """It has no norm in one shortcut, where PySlowFast's has one: nothing is lost on the way there, and what such a
    norm does is refused on the way back."""
    table = zoo_tables.resnet_tables()["pytorchvideo/x3d_xs"]
    state = seeded_weights.target_weights(table.keys, 7, 1)
    torch.save(
        {"model_state": {name: torch.from_numpy(array) for name, array in state.items()}}, tmp_path / "x.pyth"
    )
    with pytest.raises(Refused, match="x3d_xs, x3d_s, x3d_m"):
        convert(tmp_path / "x.pyth", tmp_path / "y.pth", source="pytorchvideo", to="pyslowfast")
    done = convert(
        tmp_path / "x.pyth", tmp_path / "y.pth", source="pytorchvideo", to="pyslowfast", variant="x3d_m"
    )
    assert done.provenance["network"]["settings"] == {"bn_eps": 1e-5, "head": "windows", "window": 7}
    clip = torch.from_numpy(seeded_weights.target_input(7, (1, 3, 2, 64, 96)))
    with torch.inference_mode():
        ours = load_model(tmp_path / "y.pth")(clip)
        own = load_model(tmp_path / "x.pyth", variant="x3d_m")(clip)
    assert (ours - own).abs().max() <= 1e-6 * own.abs().max()
    convert(tmp_path / "y.pth", tmp_path / "z.pth", source="pyslowfast", to="pytorchvideo")
    back = torch.load(tmp_path / "z.pth", weights_only=True)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], torch.from_numpy(array)) for name, array in state.items())

    blobs = {name: array.astype("<f4") for name, array in halves(zoo_tables.slowfast_blobs("X3D_XS")).items()}
    caffe2 = pickled(tmp_path / "X3D_S.pkl", {"blobs": blobs})
    with pytest.raises(Refused, match="no such tensor") as refused:
        convert(caffe2, tmp_path / "w.pth", source="slowfast", to="pytorchvideo", variant="X3D_S")
    assert "res2_0_branch1_bn_s" in str(refused.value)
    assert not (tmp_path / "w.pth").exists()


def test_the_context_of_a_region() -> None:
    """The whole frame beside the region, as a map of the region's size."""
    cut = Regions(
        Settings({"roi_stage": 4, "roi_size": 2, "roi_samples": 0, "roi_aligned": True}), context=True
    )
    x = torch.zeros(2, 1, 3, 4, 4)
    x[1, 0, :, 2:, :2] = 5
    out = cut(x, torch.tensor([[1.0, 0, 0, 16, 16]]))
    assert out.shape == (1, 2, 1, 2, 2)
    assert out[0, 0].eq(0).all()
    assert out[0, 1, 0].tolist() == [[0, 0], [5, 0]]
    assert cut(x, torch.zeros(0, 5)).shape == (0, 2, 1, 2, 2)
