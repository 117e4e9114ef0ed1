"""The networks from their sources' side against what the real frameworks computed, and against VMZ's builders.

Nothing here but the recipes is shared with the tests of the PyTorch networks.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from converters.errors import Refused
from converters.formats.onnx.runtime import run
from converters.formats.onnx.writer import write_onnx
from converters.source_graphs.net import SourceNet, SourceOp
from converters.source_graphs.networks import vmz
from converters.source_graphs.operators import caffe2
from converters.source_graphs.registry import NoSourceNet, source_graph, source_net
from converters.source_graphs.translation import translate
from converters.tensor import Held, Tensor
from tests.helpers import (
    caffe_tables,
    canonical_names,
    i3d_tables,
    onnx_graphs,
    seeded_weights,
    seeded_weights_caffe,
    seeded_weights_i3d,
    seeded_weights_zoo,
    selection,
    zoo_tables,
)
from tests.helpers.golden_parity import TOLERANCE, block_error
from tests.helpers.paths import GOLDENS, REPOSITORY
from tests.helpers.upstream_tables import VmzTable, vmz_tables

EXACT = TOLERANCE["cpu"]

CAFFE2 = [
    "a_resnet-50",
    "av_resnet-ip-csn-50_nopool1",
    "av_resnet-r3d-18_gblend",
    "c3d",
    "demo_ir-csn-152",
    "ip-csn-26_nopool1",
    "ir-csn-26",
    "mc3-18",
    "r2d-18_clip16",
    "r2plus1d-18_pool1",
    "r2plus1d-18_stem5",
    "r2plus1d-34_flow",
    "r2plus1d-50",
    "r3d-18",
    "rmc4-18",
]
"""Every stem, block and head. All others of the folder pass too, and the operators of all are compared below."""

TENSORFLOW = ["i3d/flow_51_11x203x216", "i3d/rgb600_17x199x224_two", "i3d-shared/rgb_odd_13x197x221"]
CAFFE = [
    "c3d/odd_10x95x121_v10",
    "c3d/resnet18_v11",
    "c3d/ucf101net_v11",
    "chainer/convs_7x67x93",
    "chainer/ucf101net_1x97x128",
    "tsn/flow",
    "tsn/rgb",
    "tsn/rgb_convs_197x261",
]


def compare(golden, net: SourceNet, values: dict[str, np.ndarray]) -> None:
    """Every block that the real framework left, under its own name or the label of the end point, and the logits."""
    for row, name in enumerate(golden["blocks"].tolist()):
        value = values[name if name in values else net.blocks[name]]
        if net.axes == "NTHWC" and value.ndim == 5:
            value = value.transpose(0, 2, 3, 4, 1)
        assert value.size == np.prod(json.loads(str(golden["block_shapes"]))[row])
        error = block_error(
            value.astype(np.float64).ravel(),
            golden["block_stats"][row],
            golden["block_index"][row],
            golden["block_values"][row],
        )
        assert error <= EXACT, f"the first to depart is {name}, by {error:.1e}"
    if "logits" in golden:
        logits = values[net.blocks["logits"]]
        error = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
        assert error <= EXACT, f"logits depart by {error:.1e} and no block before them"


@pytest.mark.parametrize(
    "name",
    selection.longest(
        selection.all_but(
            CAFFE2,
            "av_resnet-ip-csn-50_nopool1",
            "c3d",
            "demo_ir-csn-152",
            "mc3-18",
            "r2plus1d-18_pool1",
            "r2plus1d-34_flow",
            "r3d-18",
            "rmc4-18",
        ),
        {"c3d", "demo_ir-csn-152", "r2plus1d-34_flow"}.__contains__,
    ),
)
def test_caffe2_golden(name: str) -> None:
    golden = np.load(GOLDENS / "caffe2" / f"{name}.npz")
    flags = json.loads(str(golden["flags"]))
    table = vmz_tables()[str(golden["table"])]
    if golden["variant"]:
        table = table.variant(str(golden["variant"]))
    arrays = seeded_weights.vmz_weights(table.blobs, int(golden["weight_seed"]))
    shapes = [tuple(golden[key].tolist()) for key in ("input_shape", "logmels_shape") if key in golden]
    inputs = seeded_weights.vmz_inputs(int(golden["input_seed"]), *shapes)
    net, values = onnx_graphs.computed(
        arrays,
        dict(zip(("data", "logmels"), inputs, strict=False)),
        settings={"pool1": bool(flags["use_pool1"]), "stem_stride": flags["conv1_temporal_stride"]},
    )
    labels = {canonical_names.vmz_end_point(blob, table): blob for blob in golden["blocks"].tolist()}
    assert labels.items() <= net.blocks.items()
    compare(golden, net, values)


@pytest.mark.parametrize(
    "name", selection.longest(selection.all_but(TENSORFLOW, *TENSORFLOW[:2]), TENSORFLOW[1].__eq__)
)
def test_tensorflow_golden(name: str) -> None:
    golden = np.load(GOLDENS / f"{name}.npz")
    table = Path(str(golden["table"])).stem
    variables = i3d_tables.variables_of(table, golden["logits"].shape[1])
    arrays = seeded_weights_i3d.i3d_weights(variables, int(golden["weight_seed"]))
    clip = seeded_weights_i3d.i3d_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    net, values = onnx_graphs.computed(arrays, {"inputs": clip})
    compare(golden, net, values)
    frames = values[net.blocks["frame_logits"]]
    assert np.abs(frames - golden["frame_logits"]).max() <= EXACT * np.abs(golden["frame_logits"]).max()


@pytest.mark.parametrize("name", selection.all_but(CAFFE, "c3d/odd_10x95x121_v10"))
def test_caffe_and_chainer_golden(name: str) -> None:
    golden = np.load(GOLDENS / f"{name}.npz")
    seed = int(golden["weight_seed"])
    if "net" in golden:
        arrays = seeded_weights_caffe.c3d_weights(caffe_tables.c3d_shapes(str(golden["net"])), seed)
    else:
        params = caffe_tables.caffe_tables()[str(golden["table"]).removesuffix(".json")].params
        arrays = seeded_weights_caffe.blob_weights(params, seed)
    if "logits" not in golden:  # convolutions only
        arrays = {key: array for key, array in arrays.items() if not key.startswith("fc")}
    net, values = onnx_graphs.computed(arrays, {"data": seeded_weights_caffe.golden_input(golden)})
    compare(golden, net, values)


NONLOCAL = {
    "i3d_nonlocal_8x8_val": "8x8",
    "i3d_nonlocal_32x2_test": "32x2",
    "i3d_nonlocal_32x4_affine_test": "32x4",
}


@pytest.mark.full  # its blocks are in PySlowFast's
@pytest.mark.parametrize("name", selection.longest(NONLOCAL, lambda name: "32x" in name))
def test_video_nonlocal_net_golden(name: str) -> None:
    golden = np.load(GOLDENS / "nonlocal" / f"{name}.npz")
    meta = json.loads(str(golden["meta"]))
    blobs = dict(zoo_tables.nonlocal_blobs(Path(meta["table"]).stem.removeprefix("blobs_")))
    if meta["split"] == "test":
        blobs["pred_w"] = (*blobs["pred_w"], 1, 1, 1)
    arrays = seeded_weights_zoo.zoo_weights(blobs, meta["weights_seed"])
    clip = seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"]))
    net, values = onnx_graphs.computed(arrays, {"data": clip}, model=NONLOCAL[name])
    for row, stage in enumerate(meta["stages"]):
        if "affinity" in stage:
            continue
        value = values[stage] if stage in values else values[f"{stage}_trans_trans"]
        if stage not in values:  # recorded while groups of four frames were folded into the batch
            _, channels, frames, *size = value.shape
            groups = value.transpose(0, 2, 1, 3, 4).reshape(frames // 4, 4, channels, *size)
            value = groups.transpose(0, 2, 1, 3, 4)
        flat = value.ravel()
        assert flat.size == np.prod(meta["stage_shapes"][row])
        samples = flat[np.arange(64) * (flat.size - 1) // 63]
        error = np.abs(samples - golden["f32/samples"][row]).max() / golden["f32/stats"][row][2]
        assert error <= EXACT, f"the first to depart is {stage}, by {error:.1e}"
    logits = golden["f32/logits"]
    assert np.abs(values[net.output].reshape(logits.shape) - logits).max() <= EXACT * np.abs(logits).max()


SLOWFAST = [
    "c2d_nopool_8x8_240x256",
    "i3d_nln_8x8_256x224",
    "slowfast_4x16_224x256",
    "slowonly_4x16_256x232",
    "x3d_s_176x160",
]
"""Every sort of network. The other two of the folder pass too."""


def value_of(stage: str, last: dict[str, str]) -> str:
    """What our graph calls a module's output, by the zoo's naming of blobs; ``last`` are the fast pathway's last blocks
    by the number of their stage."""
    fixed = {
        "s1.pathway0_stem": "pool1",
        "s1.pathway1_stem": "t_pool1",
        "s1_fuse.relu": "t_pool1_subsample_bn",
        "pathway0_pool": "pool2",
        "head.pathway0_avgpool": "pool5",
        "head.pathway1_avgpool": "t_pool5",
        "head.conv_5_relu": "conv_5_bn",
        "head.avg_pool": "pool5",
        "head.lin_5_relu": "lin_5",
    }
    if stage in fixed:
        return fixed[stage]
    if found := re.fullmatch(r"s(\d)_fuse\.relu", stage):
        return f"t_res{found[1]}_{last[found[1]]}_branch2c_bn_subsample_bn"
    number, path, kind, place = re.fullmatch(r"s(\d)\.pathway(\d)_(res|nonlocal)(\d+)", stage).groups()
    if kind == "nonlocal":
        return f"nonlocal_conv{number}_{place}_sum"
    return f"{'t_' if path == '1' else ''}res{number}_{place}_branch2c_bn"


@pytest.mark.parametrize(
    "name",
    selection.all_but(SLOWFAST, "i3d_nln_8x8_256x224", "c2d_nopool_8x8_240x256", "slowonly_4x16_256x232"),
)
def test_pyslowfast_golden(name: str) -> None:
    golden = np.load(GOLDENS / "slowfast" / f"{name}.npz")
    meta = json.loads(str(golden["meta"]))
    blobs = zoo_tables.slowfast_blobs(Path(meta["table"]).stem.removeprefix("table_"))
    arrays = seeded_weights_zoo.zoo_weights(blobs, meta["weights_seed"])
    clip = seeded_weights_zoo.zoo_clip(meta["clip_seed"], tuple(meta["input_shape"]))
    net, values = onnx_graphs.computed(arrays, {"data": clip}, model=meta["model"])
    last = dict(sorted(re.findall(r"t_res(\d)_(\d+)_branch2c_w", " ".join(blobs))))
    stages = [
        stage
        for stage in meta["stages"]
        if meta["arch"] == "i3d" or not re.fullmatch(r"pathway\d_pool", stage)  # elsewhere it pools nothing
    ]
    names = {stage: value_of(stage, last) for stage in stages}
    if meta["arch"] == "x3d":  # no pool comes after its stem
        names["s1.pathway0_stem"] = "res_conv1_bn"
    assert set(names.values()) <= set(net.blocks.values())
    for row, stage in enumerate(meta["stages"]):
        if stage not in names:
            continue
        value = values[names[stage]]
        assert list(value.shape) == meta["stage_shapes"][row]
        samples = value.ravel()[np.arange(64) * (value.size - 1) // 63]
        error = np.abs(samples - golden["f64/samples"][row]).max() / golden["f64/stats"][row][2]
        assert error <= EXACT, f"the first to depart is {stage}, by {error:.1e}"
    logits = golden["f64/logits"]
    assert values[net.output].shape == logits.shape
    assert np.abs(values[net.output] - logits).max() <= EXACT * np.abs(logits).max()


def lazy(shapes) -> dict[str, Tensor]:
    """Tensors of some names and shapes, without data."""
    return {name: Tensor(name, "float32", shape, Held(b"")) for name, shape in shapes.items()}


def test_every_model_of_pyslowfast_has_its_graph() -> None:
    """Over every table; onnx's full check is made by names and shapes."""
    seen = set()
    for model, told in zoo_tables.models().items():
        if told["table"] not in zoo_tables.slowfast_tables():
            continue
        seen.add(told["table"])
        blobs = zoo_tables.slowfast_blobs(told["table"])
        for scope in ("", "gpu_0/"):
            held = lazy({scope + name: shape for name, shape in blobs.items()})
            net = source_net(held, model=model)
            read = [name for op in net.ops for name in op.inputs if name in held]
            assert sorted(read) == sorted(held), model
        assert list(net.inputs) == (["data", "rois"] if model.startswith("AVA") else ["data"])
        assert list(net.blocks)[-1] == "logits"
        assert ("pool2" in net.blocks) == bool(re.match(r"I3D|C2D_(?!NOPOOL)", model))
        write_onnx(io.BytesIO(), source_graph(net, held, outputs=list(dict.fromkeys(net.blocks.values()))))
    assert seen == set(zoo_tables.slowfast_tables())


def test_a_model_that_names_do_not_tell() -> None:
    blobs = zoo_tables.nonlocal_blobs("i3d_r50_nonlocal")
    held = onnx_graphs.tensors({name: np.zeros(shape, np.float32) for name, shape in blobs.items()})
    with pytest.raises(
        Refused, match=r"several models of video-nonlocal-net \(8x8, 32x4, 32x2, 128x1\): say which"
    ):
        source_net(held)
    frames = {
        name: tensor._replace(shape=(64, 3, 7, 7)) if name == "conv1_w" else tensor
        for name, tensor in held.items()
    }
    with pytest.raises(NoSourceNet):  # ImageNet's 2D network, which training starts from
        source_net(frames)
    assert [source_net(held, model=model).name for model in ("8x8", "I3D_NLN_8x8_R50")] == [
        "video_nonlocal",
        "slowfast",
    ]
    for table in ("SLOWFAST_4x16_R50", "X3D_XS"):
        with pytest.raises(Refused, match=r"several models of PySlowFast: say which with variant="):
            source_net(lazy(zoo_tables.slowfast_blobs(table)))
    short = zoo_tables.slowfast_blobs("SLOWFAST_4x16_R50") | {"t_res2_0_branch2b_w": None}
    del short["t_res2_0_branch2b_w"]
    with pytest.raises(Refused, match="is not a network of PySlowFast: it has no blob 't_res2_0_branch2b_w'"):
        source_net(lazy(short), model="SLOWFAST_4x16_R50")


# VMZ's builders

Plain = tuple[str, tuple[str, ...], dict[str, object]]


def plain(ops: list, renamed: dict[str, str]) -> dict[tuple[str, str], Plain]:
    """Operators by output and kind, with all arguments spelled out; values that are only passed on under the name
    of what they are."""
    out = {}
    for kind, inputs, outputs, args in ops:
        inputs = tuple(renamed.get(name, name) for name in inputs)
        if kind == "Dropout":
            renamed[outputs[0]] = inputs[0]
            continue
        args = {key: value for key, value in args.items() if key not in ("engine", "global_pooling")}
        if kind in ("Conv", "MaxPool") and "final_avg" not in outputs[0]:
            for name, default, times in (("kernel", 1, 1), ("stride", 1, 1), ("pad", 0, 2)):
                axes = len(args["kernels"]) if "kernels" in args else 2
                args[f"{name}s"] = list(args.pop(f"{name}s", [args.pop(name, default)] * axes * times))
            args.setdefault("group", 1)
        elif "final_avg" in outputs[0]:  # all that is left
            args = {}
        out[outputs[0], kind] = (kind, inputs, args)
    return out


def cases() -> list:
    """Every table and every variant of it, but for those that average the log-mels' channels or repeat them."""
    found = []
    for name, table in vmz_tables().items():
        found.append((name, ""))
        for variant, change in table.variants.items():
            if not {op[0] for op in change["ops_changed"]} & {"ReduceBackMean", "Tile"}:
                found.append((name, variant))
    return found


def made(name: str, variant: str) -> VmzTable:
    table = vmz_tables()[name]
    return table.variant(variant) if variant else table


@pytest.mark.full
def test_operators_are_those_of_the_builders() -> None:
    for name, variant in cases():
        table = made(name, variant)
        flags = {"pool1": bool(table.flags.get("use_pool1"))}
        flags["stem_stride"] = table.flags.get("conv1_temporal_stride")
        net = vmz.recognise(table.blobs, flags)
        assert net is not None
        assert net.output == table.output
        live = wanted(table)
        assert plain(list(net.ops), {}) == live, (name, variant)


def wanted(table: VmzTable) -> dict[tuple[str, str], Plain]:
    """The table's operators without what no logits depend on: the stem's pool of a variant without it."""
    all_ops = plain(table.ops, {})
    used = {name for _, inputs, _ in all_ops.values() for name in inputs}
    ends = {name for name in used | {table.output} if "last_out" in name}
    heads = {output for output, _ in all_ops if "last_out" in output}
    return {key: op for key, op in all_ops.items() if key[0] in used | ends | heads}


def test_pool1_is_on_where_the_released_files_have_it() -> None:
    on = [name for name in ("ir-csn-152", "ip-csn-152", "r2plus1d-152", "r3d-18", "av_resnet-r2plus1d-101")
          if "pool1" in str(vmz.recognise(vmz_tables()[name].blobs, {}).blocks)]  # fmt: skip
    assert on == ["ir-csn-152", "ip-csn-152", "av_resnet-r2plus1d-101"]


def test_inverse_deviations_are_turned_into_variances() -> None:
    """The fork's own helper: variance = inv_std^-2 - eps."""
    golden = np.load(GOLDENS / "tsn" / "flow.npz")
    params = caffe_tables.caffe_tables()[str(golden["table"]).removesuffix(".json")].params
    arrays = seeded_weights_caffe.blob_weights(params, int(golden["weight_seed"]))
    for name in arrays:
        if name.endswith("_bn/3"):
            arrays[name] = (1 / np.sqrt(arrays[name].astype(np.float64) + 1e-5)).astype(np.float32)
    inputs = {"data": seeded_weights_caffe.golden_input(golden)}
    compare(golden, *onnx_graphs.computed(arrays, inputs, inverse_std=True))


def test_names_behind_the_scope_of_a_gpu() -> None:
    blobs = {f"gpu_0/{name}": shape for name, shape in vmz_tables()["r2d-18"].blobs.items()}
    net = vmz.recognise(blobs, {})
    assert set(blobs) <= {name for op in net.ops for name in op.inputs}


# Translation


def caffe2_graph(*ops: tuple, **shapes: tuple[int, ...]):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    net = SourceNet(
        name="net",
        framework="Caffe2",
        ops=tuple(SourceOp(kind, tuple(inputs), tuple(outputs), args) for kind, inputs, outputs, args in ops),
        inputs={"data": ("N", 3, "H", "W")},
        blocks={"logits": ops[-1][2][0]},
    )
    return translate(net, caffe2.VOCABULARY, onnx_graphs.tensors(arrays))


def test_a_value_that_is_written_again_keeps_its_name_at_the_end() -> None:
    graph = caffe2_graph(
        ("Conv", ["data", "w"], ["x"], {"kernel": 3, "pad": 1}),
        ("Relu", ["x"], ["x"], {}),
        ("Relu", ["x"], ["x"], {}),
        ("Sum", ["x", "data"], ["y"], {}),
        w=(3, 3, 3, 3),
    )
    assert [(node.inputs[0], node.outputs[0]) for node in graph.nodes] == [
        ("data", "x#0"), ("x#0", "x#1"), ("x#1", "x"), ("x", "y")
    ]  # fmt: skip
    onnx_graphs.written(graph)


def test_an_operator_without_translation_is_named() -> None:
    with pytest.raises(
        Refused, match=r"Caffe2 operator ResizeImage has no translation to ONNX \(y\): known are"
    ):
        caffe2_graph(("ResizeImage", ["data", "data"], ["y"], {}))
    with pytest.raises(Refused, match="Caffe2 operator Relu reads x, which nothing wrote"):
        caffe2_graph(("Relu", ["x"], ["y"], {}))
    with pytest.raises(Refused, match="in the order NCHW and without legacy_pad only"):
        caffe2_graph(("MaxPool", ["data"], ["y"], {"kernel": 3, "legacy_pad": 3}))


def computed_by(op: SourceOp, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """One operator of Caffe2's vocabulary over values that are fed."""
    free = {name: tuple(f"{name}{axis}" for axis in range(value.ndim)) for name, value in feeds.items()}
    graph = translate(
        SourceNet(name="net", framework="Caffe2", ops=(op,), inputs=free, blocks={"out": "out"}),
        caffe2.VOCABULARY,
        {},
    )
    return run(onnx_graphs.written(graph), feeds, ["out"])["out"]


@pytest.mark.parametrize("alpha", [4, 8])
def test_slow_frames_are_those_of_the_loader(alpha: int) -> None:
    """For any number of frames; a golden has 0, 10, 20, 31 of 32."""
    op = SourceOp("SlowFrames", ("data",), ("out",), {"alpha": alpha})
    for frames in [*range(alpha, 68), 95, 96, 160, 189, 191, 276, 300]:
        clip = np.arange(2 * frames, dtype=np.float32).reshape(1, 2, frames, 1, 1)
        wanted = torch.linspace(0, frames - 1, frames // alpha).long().numpy()
        assert np.array_equal(computed_by(op, {"data": clip}), clip[:, :, wanted])


def roi_align(maps: np.ndarray, region: np.ndarray, size: int, scale: float) -> np.ndarray:
    """One region of maps [N, C, H, W], sample by sample: as many along an axis as there are points in a position."""
    image, corners = int(region[0]), region[1:].astype(np.float64) * scale - 0.5
    _, channels, *ends = maps.shape
    steps = [(corners[axis + 2] - corners[axis]) / size for axis in (1, 0)]  # rows, columns
    counts = [int(np.ceil(step)) for step in steps]
    out = np.zeros((channels, size, size))
    for row, column, i, j in np.ndindex(size, size, *counts):
        y = corners[1] + steps[0] * (row + (i + 0.5) / counts[0])
        x = corners[0] + steps[1] * (column + (j + 0.5) / counts[1])
        if not (-1 <= y <= ends[0] and -1 <= x <= ends[1]):
            continue
        y, x = np.clip(y, 0, ends[0] - 1), np.clip(x, 0, ends[1] - 1)
        for near_y in {int(y), min(int(y) + 1, ends[0] - 1)}:
            for near_x in {int(x), min(int(x) + 1, ends[1] - 1)}:
                weight = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                out[:, row, column] += weight * maps[image, :, near_y, near_x] / np.prod(counts)
    return out


def test_regions_are_cut_as_aligned_ones_are() -> None:
    """Large and small ones, and one over the edge."""
    maps = np.random.default_rng(3).standard_normal((2, 3, 9, 12), np.float32)
    rois = np.array(
        [[0, 3, 5, 150, 130], [1, 40.5, 30.25, 61, 52], [1, 0, 0, 191, 143], [0, -60, 100, 90, 220]],
        np.float32,
    )
    args = {"pooled_h": 7, "pooled_w": 7, "spatial_scale": 1 / 16, "sampling_ratio": 0, "aligned": 1}
    found = computed_by(SourceOp("RoIAlign", ("data", "rois"), ("out",), args), {"data": maps, "rois": rois})
    wanted = np.stack([roi_align(maps, region, 7, 1 / 16) for region in rois])
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()
    shifted = computed_by(
        SourceOp("RoIAlign", ("data", "rois"), ("out",), {**args, "aligned": 0}), {"data": maps, "rois": rois}
    )
    assert np.abs(shifted - wanted).max() > 0.1


def test_files_of_no_source() -> None:
    with pytest.raises(Refused, match="has the names of no source framework's network"):
        source_net(onnx_graphs.tensors({"stem.0.weight": np.zeros((64, 3, 1, 7, 7), np.float32)}))
    with pytest.raises(Refused, match="is not a network of VMZ: it has no blob 'conv1_w'"):
        source_net(onnx_graphs.tensors({"last_out_L400_w": np.zeros((400, 512), np.float32)}))


def test_what_is_written() -> None:
    """Versions that every runtime of today takes, and the source's arrays under their names, untouched."""
    table = vmz_tables()["r2d-18"]
    arrays = seeded_weights.vmz_weights(table.blobs, 3)
    held = onnx_graphs.tensors(arrays)
    file = onnx_graphs.written(source_graph(source_net(held), held))
    model = onnx.load_from_string(file)
    assert (model.ir_version, [(one.domain, one.version) for one in model.opset_import]) == (9, [("", 18)])
    found = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    assert set(found) == set(arrays)
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert [(one.name, str(one.type.tensor_type.shape.dim[1].dim_value)) for one in model.graph.output] == [
        ("last_out_L400", "400")
    ]


def test_only_float32_is_written() -> None:
    held = onnx_graphs.tensors(
        {name: np.zeros(shape, np.float16) for name, shape in vmz_tables()["r2d-18"].blobs.items()}
    )
    with pytest.raises(Refused, match="an ONNX file is written in float32, not float16"):
        onnx_graphs.written(source_graph(source_net(held), held))


def test_graphs_need_neither_onnx_nor_numpy_nor_the_tables() -> None:
    code = (
        "import sys, converters.source_graphs.registry; "
        "print(*(set(sys.modules) & {'onnx', 'onnxruntime', 'numpy', 'torch'}), "
        "*(name for name in sys.modules if name.startswith(('converters.mapping', 'converters.networks'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
