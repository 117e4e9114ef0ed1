"""Files of PyTorch projects as they are: recognised by names and shapes, and computed as their own networks compute.

The tables and goldens come from the live networks, see `data/README.md` and `goldens/README.md`.
"""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch

from converters import Refused, load_model
from converters.conversion.plan import make_plan
from converters.conversion.recognize import recognize
from converters.formats.checkpoint import Checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.network_info import network_info
from converters.tensor import zeros
from tests.helpers import caffe_tables, i3d_tables, paths, seeded_weights, selection, zoo_tables
from tests.helpers import upstream_tables as tables
from tests.helpers.golden_parity import TOLERANCE

if TYPE_CHECKING:
    from pathlib import Path

    from converters.mapping.match import Match
    from converters.networks.layers import Network

GOLDENS = sorted(
    path
    for folder in ("targets", "caffe-targets", "i3d-targets", "resnet-targets")
    for path in (paths.GOLDENS / folder).glob("*.npz")
)
TABLES = {
    **tables.target_tables(),
    **caffe_tables.target_tables(),
    **i3d_tables.i3d_target_tables(),
    **zoo_tables.resnet_tables(),
}
"""State dicts of live networks by ``ecosystem/model``."""

LAYOUTS = {
    "c3d/davidea": "c3d-pytorch",
    "c3d/jfzhang95": "pytorch-video-recognition",
    "pytorch-i3d/hassony2": "kinetics_i3d_pytorch",
    "pytorch-i3d/video": "video_features",
}
"""Whose names a table has, where the ecosystem does not say."""

TAKEN_FOR = {
    "ig65m-pytorch": "vmz-pt",
    "pytorch-video-recognition": "c3d-pytorch",
    "video_features": "kinetics_i3d_pytorch",
}
"""What a bare file with the names of several layouts is taken for."""

OTHER_ORDER = (
    *("pytorchvideo", "pytorch-i3d/piergiaj", "pyslowfast"),
    *("mmaction/fast_rcnn", "mmaction/i3d_r50", "mmaction/slow", "mmaction/tsn_r50"),
)
"""Whose modules are not in the order that they run in; no loader minds."""


def layout_of(key: str) -> str:
    return LAYOUTS.get(key.split("_")[0], key.split("/")[0])


AMBIGUOUS = {
    "pyslowfast/ava_slow_8x8_r50_short": "AVA_SLOW_8x8_R50_SHORT",
    "pyslowfast/c2_ava_slow_8x8_r50": "AVA_SLOW_8x8_R50",
    "pyslowfast/ava_slowfast_32x2_r50_short": "AVA_SLOWFAST_32x2_R50_SHORT",
    "pyslowfast/c2_ava_slowfast_32x2_r101": "AVA_SLOWFAST_32x2_R101_50_50",
    "pytorchvideo/x3d_xs": "x3d_xs",
    "mmaction2/tsm_r50_nl_embedded_gaussian_8seg_k400": "tsm-r50-nl-embedded-gaussian",
    "mmaction2/tsm_r50_nl_dot_product_8seg_k400": "tsm-r50-nl-dot-product",
    "mmaction2/c2d_r50_8x8_k400": "c2d-r50",
    "mmaction2/fast_rcnn_slowonly_r50_context_temporal_max_8x8_ava_kinetics": "slowonly_8x8_temporal_max",
    "mmaction2/fast_rcnn_slowfast_r50_temporal_max_8x8_ava22": "slowfast_8x8_temporal_max",
    "mmaction2/c2d_r50_nopool_8seg_k400": "c2d-r50-nopool",
    "mmaction2/c2d_r101_nopool_8seg_k400": "c2d-r101-nopool",
}
"""Tables whose names and shapes are another network's or model's too, with what is to be asked for."""


def recognised(key: str, layout: str | None) -> Match:
    shells = {
        name: zeros(name, "int64" if name.endswith("num_batches_tracked") else "float32", shape)
        for name, shape in TABLES[key].keys.items()
    }
    file = Checkpoint(path="x.pth", format="pytorch", container="PyTorch file", tensors=shells)
    return recognize(file, layout, variant=AMBIGUOUS.get(key))


@pytest.mark.parametrize("key", sorted(TABLES))
def test_names_and_shapes_of_the_live_network(key: str) -> None:
    """Every name and shape is the live network's; so are eps and the pool that no weight shows."""
    table, layout = TABLES[key], load_layout(layout_of(key))
    found = recognised(key, layout.name)
    info = network_info(found, None)
    stored = {found.prefix + entry.name: entry.file_shape(found.sizes) for entry in found.slots if entry.name}
    counters = {name: shape for name, shape in table.keys.items() if name.endswith("num_batches_tracked")}
    assert stored | counters | dict.fromkeys(found.dropped, (512, 256, 5, 1, 1)) == table.keys
    shells = {name: zeros(name, "float32", shape) for name, shape in stored.items()}
    plan = make_plan(found, shells, layout, info, eps=info.bn_eps)
    rows = {row.target: row.shape for row in plan.rows}
    if "pretrained_file" in key:  # the repository's own names are others, and so are those that are written
        assert info.classes == 0
        assert set(rows) == TABLES["c3d/jfzhang95_101"].keys.keys() - {"fc8.weight", "fc8.bias"}
        return
    assert {**counters, **rows} == {
        name: shape for name, shape in table.keys.items() if name not in found.dropped
    }
    if not key.startswith(OTHER_ORDER):
        assert list(rows) == list(table.keys)
    mixed = found.variant.values.get("middle_eps")
    assert {norm["eps"] for norm in table.norms} <= {info.bn_eps, mixed}
    if found.variant.family == "resnet3d" and key != "vmz-pt/r2plus1d_152_pool1":
        pools = [pool["names"][0] for pool in table.pools if pool["kernel"] == [1, 3, 3]]
        assert info.settings["pool1"] == bool(pools)


@pytest.mark.parametrize("key", sorted({layout_of(key): key for key in sorted(TABLES)}.values()))
def test_what_a_bare_file_is_taken_for(key: str) -> None:
    own = layout_of(key)
    expected = TAKEN_FOR.get(own, own)
    if "pretrained_file" in key:
        expected = own
    assert recognised(key, None).layout.name == expected


def test_what_training_leaves_in_a_state_dict_of_mmaction2() -> None:
    """Its preprocessing, as buffers of the recognizer."""
    shells = {
        name: zeros(name, "int64" if name.endswith("num_batches_tracked") else "float32", shape)
        for name, shape in TABLES["mmaction2/ircsn_50_k400"].keys.items()
    }
    for prefix in ("", "module."):
        more = [f"data_preprocessor.{name}" for name in ("mean", "std")]
        tensors = shells | {name: zeros(name, "float32", (3, 1, 1, 1)) for name in more}
        tensors = {prefix + name: tensor for name, tensor in tensors.items()}
        found = recognize(
            Checkpoint(path="x.pth", format="pytorch", container="PyTorch file", tensors=tensors), None
        )
        assert (found.layout.name, found.variant.name) == ("mmaction2", "ir-csn-50")
        assert found.dropped == tuple(prefix + name for name in more)


def test_other_class_counts() -> None:
    """Files of other data sets, as people and the zoos have them."""
    for key, classes in (
        ("ig65m-pytorch/r2plus1d_34", 400),
        ("vmz-pt/ir_csn_152_359", 359),
        ("mmaction/i3d_inception_v1_flow_hmdb51", 51),
        ("mmaction/i3d_inception_v1_rgb_ucf101", 101),
        ("c3d/jfzhang95_101", 101),
        ("c3d/davidea_487", 487),
        ("mmaction/ssn_bninception_thumos14", 21),
    ):
        assert recognised(key, None).sizes["classes"] == classes


@pytest.mark.parametrize("layout", ["pyslowfast", "pytorchvideo", "mmaction2"])
@pytest.mark.parametrize(("kernel", "alpha"), [(5, 8), (7, 4)])
def test_the_lateral_kernel_tells_how_many_frames_are_slow(layout: str, kernel: int, alpha: int) -> None:
    """Of R50: all three projects have it as 4x16 and as 8x8."""
    key = {"pyslowfast": "slowfast_8x8_r50", "pytorchvideo": "slowfast_r50"}.get(
        layout, "slowfast_r50_8x8_k400"
    )
    shells = {
        name: zeros(name, "float32", (*shape[:2], kernel, 1, 1) if shape[2:] == (7, 1, 1) else shape)
        for name, shape in TABLES[f"{layout}/{key}"].keys.items()
        if not name.endswith("num_batches_tracked")
    }
    file = Checkpoint(path="x.pth", format="pytorch", container="PyTorch file", tensors=shells)
    info = network_info(recognize(file, None), None)
    assert (info.sizes["lateral_t"], info.settings["alpha"]) == (kernel, alpha)


STARTS = {
    "mmaction/c3d_sports1m_487": ("c3d-plain", False),
    "mmaction/tsn_bninception_rgb_ucf101": ("tsn-bn-inception", False),
    "mmaction/i3d_r50_inflate3x1x1_k400": ("i3d-r50", True),
    "mmaction2/c3d_ucf101": ("c3d-plain", False),
    "mmaction2/ircsn_152_k400": ("ir-csn-152", False),
}
"""Networks of which the zoos have backbones alone, as files to start from, and whether one has a classifier ``fc``."""


@pytest.mark.parametrize("key", STARTS)
def test_a_start_of_the_zoos(key: str) -> None:
    """A backbone's names without their prefix, without batch counters where a classifier of another name is there."""
    variant, classified = STARTS[key]
    names = {name.removeprefix("backbone."): shape for name, shape in TABLES[key].keys.items()}
    names = {name: shape for name, shape in names.items() if not name.startswith("cls_head")}
    if classified:
        names = {name: shape for name, shape in names.items() if not name.endswith("tracked")}
        names |= {"fc.weight": (400, 2048), "fc.bias": (400,)}
    shells = {
        name: zeros(name, "int64" if name.endswith("tracked") else "float32", shape)
        for name, shape in names.items()
    }
    file = Checkpoint(path="x.pth", format="pytorch", container="PyTorch file", tensors=shells)
    if classified:
        with pytest.raises(Refused, match='head="fc"'):
            recognize(file, None)
    found = recognize(file, None, head="fc" if classified else None)
    assert (found.variant.name, found.sizes["classes"]) == (variant, 400 if classified else 0)


class Stages(NamedTuple):
    """What was recorded under which of our end points; ``relu`` are those recorded before a ReLU that ours have
    after it, ``inside`` those within a block of ours."""

    points: dict[str, str]
    relu: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()


BLOCKS = {f"layer{stage}": f"layer{stage}." for stage in range(1, 5)}
STAGES = {
    "resnet3d": Stages({**BLOCKS, "pooled": "pool"}),
    "pytorchvideo": Stages(
        {"blocks.0": "stem", **{f"blocks.{n}": f"layer{n}." for n in range(1, 5)}, "blocks.5": "logits"}
    ),
    "c3d": Stages({"relu6": "fc6", "relu7": "fc7", "pooled": "fc7"}, frozenset({"conv1", "fc6", "fc7"})),
    "resnet_i3d": Stages(
        {
            **BLOCKS,
            "pooled": "pool",
            "backbone": "layer3.",
            "roi": "regions",
            "shared_head": "layer4.",
            "shared": "layer4.",
        }
    ),
    "resnet2d": Stages({**BLOCKS, "pooled": "pool"}),
    "tsm": Stages(BLOCKS),
    "x3d": Stages(BLOCKS),
    "slowfast": Stages(
        {
            f"{path}_path.{stage}": f"{path}.{'pool1' if stage == 'stem' else stage + '.'}"
            for path in ("slow", "fast")
            for stage in ("stem", *BLOCKS)
        }
        | {"pooled": "pool", "roi": "regions"}
        | {f"blocks.{n}.1": f"fast.layer{n}." for n in range(1, 5)}
        | {
            "blocks.0.1": "fast.pool1",
            "blocks.4.0": "slow.layer4.",
            "blocks.5": "pool",
            "blocks.6": "logits",
        },
        inside=frozenset(f"blocks.{n}.0" for n in range(4)),
    ),
    "bn_inception": Stages(
        {"conv1": "conv1/7x7_s2_bn", "backbone": "inception_5b/output", "pooled": "global_pool"},
        frozenset({"conv1"}),
        frozenset({"inception_3c_pool", "inception_4e_pool"}),
    ),
    "i3d": Stages(
        {
            "conv1": "Conv3d_1a_7x7",
            "pool2": "MaxPool3d_3a_3x3",
            "inception_3c_pool": "MaxPool3d_4a_3x3",
            "inception_4f_pool": "MaxPool3d_5a_2x2",
            "backbone": "Mixed_5c",
            "pooled": "features",
        },
        frozenset({"conv1"}),
    ),
}


def end_point(stages: Stages, stage: str, points: dict[str, torch.Tensor]) -> torch.Tensor:
    wanted = stages.points.get(stage, stage).lower()
    if wanted == "stem":
        return points["pool1" if "pool1" in points else "stem"]
    if wanted.endswith("."):
        return [value for name, value in points.items() if name.startswith(wanted)][-1]
    return {name.lower(): value for name, value in points.items()}[wanted]


def golden_file(key: str, meta: dict, folder: Path) -> Path:
    """The file that the golden's network would have saved."""
    arrays = seeded_weights.target_weights(TABLES[key].keys, meta["seed"], meta["gain"])
    for name, of in zoo_tables.aliases(key).items():
        arrays[name] = arrays[of]
    assert seeded_weights.digest(arrays, b"") == meta["weights_sha256"]
    path = folder / "model.pth"
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path


REGIONS = torch.tensor([[0.0, 5, 12, 90, 150], [0, 30, 40, 111, 100], [0, 0, 0, 64, 64]])
"""What the detectors' goldens were recorded with: clip, x1, y1, x2, y2."""


def golden_inputs(family: str, meta: dict) -> list[torch.Tensor]:
    clip = seeded_weights.target_input(meta["seed"], meta["input_shape"])
    assert seeded_weights.digest_one(clip) == meta["input_sha256"]
    if family in ("resnet2d", "tsm"):  # two frames of a video each, where nothing else is said
        frames = re.match(r"(\d+) frames of a video", meta["note"])
        videos = clip.reshape(-1, int(frames[1]) if frames else 2, *clip.shape[1:])
        return [torch.from_numpy(videos.transpose(0, 2, 1, 3, 4).copy())]
    if any(word in meta["model"] for word in ("rcnn", "ava", "detection")):
        return [torch.from_numpy(clip), REGIONS]
    if family != "bn_inception":
        return [torch.from_numpy(clip)]
    frames = torch.from_numpy(clip.transpose(1, 0, 2, 3)[None].copy())  # one video of N segments
    return [frames, torch.tensor([[0.6, 1.3]])] if meta["model"].startswith("ssn") else [frames]


def shows(path: Path) -> set[str]:
    """A golden's folder, its project and what its network is called after.

    C3D and the ports of I3D are computed from file to file in `tests/conversion`.
    """
    project = path.stem.split("-")[0]
    kinds = re.findall(
        "ssn|tsn|tsm|csn|r2plus1d|slowfast|slowonly|inception|nln?|context|temporal_max|rcnn|detection|x3d|mc3",
        path.stem,
    )
    return set() if "c3d" in path.stem or project == "pytorch" else {path.parent.name, project, *kinds}


def pixels(path: Path) -> int:
    """Of a golden's clip: what the test costs."""
    return prod(json.loads(str(np.load(path)["meta"]))["input_shape"])


@pytest.mark.parametrize("path", selection.one_of_each(GOLDENS, shows, pixels), ids=lambda path: path.stem)
def test_a_file_computes_what_its_own_network_computes(path: Path, device: str, tmp_path: Path) -> None:
    golden = np.load(path)
    meta = json.loads(str(golden["meta"]))
    key = f"{meta['ecosystem']}/{meta['model']}"
    file = golden_file(key, meta, tmp_path)
    model: Network = load_model(file, layout=layout_of(key), variant=AMBIGUOUS.get(key)).to(device)
    file.unlink()
    family = recognised(key, layout_of(key)).variant.family
    stages = STAGES[family] if family == "slowfast" else STAGES.get(meta["ecosystem"]) or STAGES[family]
    if "its frames 0,4,8" in meta["note"]:
        model.slow_frames = "stride"  # the golden's own slow frames, not the hub's
    with torch.inference_mode():
        points = model.end_points(*(one.to(device) for one in golden_inputs(family, meta)))
    for row, stage in enumerate(meta["stages"]):
        if stage in stages.inside:
            continue
        samples, largest = golden["f64/samples"][row], golden["f64/stats"][row][2]
        if stage in stages.relu:
            samples = samples.clip(min=0)
        out = end_point(stages, stage, points)
        assert out.numel() == prod(meta["stage_shapes"][row])
        flat = out.flatten().cpu().numpy()
        error = np.abs(flat[np.arange(64) * (flat.size - 1) // 63] - samples).max() / largest
        assert error <= TOLERANCE[device], f"the first stage to depart is {stage}, by {error:.1e}"
    for name in ("logits", "completeness", "regression"):
        if f"f64/{name}" in golden:
            wanted = golden[f"f64/{name}"]
            ours = points[name]
            if wanted.ndim == 3:  # one for each window
                ours = points["frame_logits"].transpose(1, 2)
            assert tuple(ours.shape) == wanted.shape
            error = np.abs(ours.cpu().numpy() - wanted).max() / np.abs(wanted).max()
            assert error <= TOLERANCE[device], f"{name} depart by {error:.1e}"
