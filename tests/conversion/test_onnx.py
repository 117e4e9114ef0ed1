"""ONNX models in, of real Caffe2's exporter and of our own, and out, for every source framework."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch

from converters import BadInput, Refused, UsageError, convert, inspect, load_model, verify
from converters.formats.onnx.runtime import run as run_onnx
from converters.formats.open import open_checkpoint
from tests.conversion.test_i3d import write as write_tensorflow
from tests.helpers import (
    caffe_files,
    caffe_tables,
    i3d_tables,
    paths,
    seeded_weights_caffe,
    seeded_weights_i3d,
    selection,
    vmz_files,
)
from tests.helpers.caffe_files import message, number
from tests.helpers.upstream_tables import vmz_tables
from tests.test_imports import HEAVY, imported

if TYPE_CHECKING:
    from pathlib import Path

FIXTURES = paths.FIXTURES / "onnx"


def exported(folder: Path, name: str) -> Path:
    """A recorded file of ``caffe2.python.onnx.frontend``."""
    path = folder / f"{name}.onnx"
    path.write_bytes(gzip.decompress((FIXTURES / f"{name}.onnx.gz").read_bytes()))
    return path


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    with open_checkpoint(str(path)) as found:
        return {name: (one.dtype, one.shape, one.tobytes()) for name, one in found.tensors.items()}


def weights(path: Path) -> dict[str, np.ndarray]:
    """The initializers of a floating type, as the package onnx reads them."""
    found = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    return {name: array for name, array in found.items() if array.dtype.kind == "f"}


# Caffe2's own exporter


@pytest.mark.parametrize("name", ["ir-csn-26", "ip-csn-26"])
def test_an_export_converts_to_what_the_pickle_converts_to(name: str, tmp_path: Path) -> None:
    source = exported(tmp_path, name)
    arrays = weights(source)
    assert {key: array.shape for key, array in arrays.items()} == vmz_tables()[name].blobs
    vmz_files.write_arrays(tmp_path / "x.pkl", arrays)
    for to in ("vmz-pt", "mmaction"):
        via_onnx = convert(source, tmp_path / f"{to}.pth", source="onnx", to=to, check=True)
        convert(tmp_path / "x.pkl", tmp_path / f"{to}.pickle.pth", source="vmz", to=to)
        assert via_onnx.layout == "vmz"
        assert contents(tmp_path / f"{to}.pth") == contents(tmp_path / f"{to}.pickle.pth")
    convert(tmp_path / "vmz-pt.pth", tmp_path / "back.pkl", to="vmz")
    assert contents(tmp_path / "back.pkl") == contents(tmp_path / "x.pkl")


def test_an_export_and_our_graph_compute_the_same(tmp_path: Path) -> None:
    source = exported(tmp_path, "ir-csn-26")
    convert(source, tmp_path / "ours.onnx", source="vmz")
    convert(source, tmp_path / "ours.pth", source="vmz")
    clip = np.random.default_rng(7).standard_normal((1, 3, 8, 64, 64), np.float32)
    theirs, ours = (
        run_onnx(str(path), {"data": clip}, ["last_out_L400"])["last_out_L400"]
        for path in (source, tmp_path / "ours.onnx")
    )
    with torch.inference_mode():
        torches = load_model(tmp_path / "ours.pth")(torch.from_numpy(clip)).numpy()
    assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()
    assert np.abs(torches - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_a_graph_tells_what_no_tensor_does(tmp_path: Path) -> None:
    """Among them that there is no pool, which the names alone would have meant there is."""
    info = inspect(exported(tmp_path, "ip-csn-26")).network
    assert info.settings == {"bn_eps": 1e-3, "pool1": True, "stem_stride": 1}
    vmz_files.write(tmp_path / "x.pkl", "ir-csn-26", seed=2)
    for flags in ({"pool1": False}, {"pool1": False, "stem_stride": 2}):
        path = tmp_path / f"{len(flags)}.onnx"
        convert(tmp_path / "x.pkl", path, source="vmz", settings=flags)
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
        info = inspect(path).network
        assert info.settings == {"bn_eps": 1e-3, "stem_stride": 1, **flags}
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f = 1e-5
    onnx.save(model, path)
    assert inspect(path).network.bn_eps == 1e-5


def norms(model: onnx.ModelProto) -> list[onnx.AttributeProto]:
    """The epsilon of every batch norm."""
    nodes = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    return [one for node in nodes for one in node.attribute if one.name == "epsilon"]


def strides(model: onnx.ModelProto) -> onnx.AttributeProto:
    """The strides of the first convolution."""
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    return next(one for one in node.attribute if one.name == "strides")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("eps", [float("nan"), float("inf"), -1e-5, 1e20])
def test_an_eps_that_no_norm_can_have_is_the_files_fault(eps: float, dry_run: bool, tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, "ir-csn-26"))
    norms(model)[3].f = eps
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(BadInput, match="has a batch norm with eps"):
        convert(tmp_path / "x.onnx", tmp_path / "x.pth", source="onnx", dry_run=dry_run)


@pytest.mark.parametrize("stride", [0, -1, 1 << 40])
def test_strides_that_no_convolution_can_have_are_the_files_fault(stride: int, tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, "ir-csn-26"))
    strides(model).ints[0] = stride
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(BadInput, match=f"has a convolution with strides {stride}, 2, 2"):
        convert(tmp_path / "x.onnx", tmp_path / "x.pth", source="onnx", dry_run=True)


@pytest.mark.parametrize("eps", [0.0, 1e-4, 0.1])
def test_a_norm_with_another_eps_is_refused_by_its_name(eps: float, tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, "ir-csn-26"))
    norms(model)[3].f = eps
    onnx.save(model, tmp_path / "x.onnx")
    nodes = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    with pytest.raises(Refused, match=f"eps {eps:g} where most have 0.001") as refused:
        convert(tmp_path / "x.onnx", tmp_path / "x.pth", source="onnx")
    assert refused.value.where == nodes[3].output[0]
    assert inspect(tmp_path / "x.onnx").layout == "vmz"


def test_one_eps_of_all_norms_is_converted_and_proved(tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, "ir-csn-26"))
    for attribute in norms(model):
        attribute.f = 0.1
    onnx.save(model, tmp_path / "x.onnx")
    convert(tmp_path / "x.onnx", tmp_path / "x.pth", source="onnx")
    found = verify(tmp_path / "x.onnx", tmp_path / "x.pth")
    assert found.ok
    assert found.functional.blocks[-1].name == "logits"


def test_a_model_whose_writer_left_its_name_out(tmp_path: Path) -> None:
    """Its first two fields are then a number and a message."""
    model = onnx.load(exported(tmp_path, "ir-csn-26"))
    model.ClearField("producer_name")
    onnx.save(model, tmp_path / "bare.onnx")
    assert inspect(tmp_path / "bare.onnx").layout == "vmz"


def test_every_opset_is_read(tmp_path: Path) -> None:
    source = exported(tmp_path, "ir-csn-26")
    model = onnx.load(source)
    before = contents(source)
    for opset in (13, 18, onnx.defs.onnx_opset_version()):
        path = tmp_path / f"{opset}.onnx"
        onnx.save(onnx.version_converter.convert_version(model, opset), path)
        assert contents(path) == before
        assert inspect(path).layout == "vmz"
    assert f"opset {opset}" in inspect(path).container


# The way out


def write_i3d(folder: Path) -> Path:
    write_tensorflow(
        folder / "model.ckpt", seeded_weights_i3d.i3d_weights(i3d_tables.variables_of("rgb", 7), 3)
    )
    return folder / "model.ckpt"


def write_tsn(folder: Path) -> Path:
    table = caffe_tables.caffe_tables()["tsn/caffe-bn_inception-rgb-ucf101"]
    path = folder / "tsn.caffemodel"
    path.write_bytes(caffe_files.model(table, seeded_weights_caffe.blob_weights(table.params, 5)))
    return path


def write_small_c3d(folder: Path) -> Path:
    np.savez(folder / "c3d.npz", **seeded_weights_caffe.c3d_weights(caffe_tables.c3d_shapes("ucf101net"), 6))
    return folder / "c3d.npz"


def write_vmz(folder: Path) -> Path:
    vmz_files.write(folder / "x.pkl", "r2d-18", seed=4)
    return folder / "x.pkl"


CASES = {
    "vmz": (write_vmz, "data", (1, 3, 8, 31, 35)),
    "i3d": (write_i3d, "inputs", (1, 9, 197, 224, 3)),
    "tsn": (write_tsn, "data", (2, 3, 31, 38)),
    "c3d": (write_small_c3d, "data", (1, 3, 9, 97, 110)),
}


@pytest.mark.parametrize("source", selection.all_but(CASES, "i3d"))
def test_out_and_in_again(source: str, tmp_path: Path) -> None:
    """The file that people get: checked by onnx, run by onnxruntime on any size, the weights bit for bit."""
    write, feed, shape = CASES[source]
    path = write(tmp_path)
    result = convert(path, tmp_path / "out.onnx", source=source, check=True)
    assert result.checked
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)
    assert contents(tmp_path / "out.onnx") == contents(path)
    model = onnx.load(tmp_path / "out.onnx")
    (output,) = (one.name for one in model.graph.output)
    clip = np.random.default_rng(3).standard_normal(shape, np.float32)
    logits = run_onnx(str(tmp_path / "out.onnx"), {feed: clip}, [output])[output]

    convert(tmp_path / "out.onnx", tmp_path / "out.pth", source="onnx", to="native")
    if source == "i3d":
        clip = clip.transpose(0, 4, 1, 2, 3).copy()
    if source == "tsn":
        clip = clip[:, :, None]
    with torch.inference_mode():
        ours = load_model(tmp_path / "out.pth")(torch.from_numpy(clip)).numpy()
    assert np.abs(ours - logits).max() <= 1e-5 * np.abs(logits).max()
    convert(tmp_path / "out.pth", tmp_path / "again.onnx", to="onnx")
    assert contents(tmp_path / "again.onnx") == contents(path)


@pytest.mark.full
def test_a_pytorch_file_becomes_the_source_network_of_its_family(tmp_path: Path) -> None:
    """Variances go back to VMZ's eps."""
    vmz_files.write(tmp_path / "x.pkl", "r3d-18", seed=4)
    convert(tmp_path / "x.pkl", tmp_path / "tv.pth", source="vmz", to="torchvision")
    convert(tmp_path / "tv.pth", tmp_path / "out.onnx")
    assert contents(tmp_path / "out.onnx") == contents(tmp_path / "x.pkl")


def test_the_record_travels(tmp_path: Path) -> None:
    vmz_files.write(tmp_path / "x.pkl", "ir-csn-26", seed=4)
    result = convert(tmp_path / "x.pkl", tmp_path / "out.onnx", source="vmz", settings={"pool1": False})
    found = inspect(tmp_path / "out.onnx")
    assert found.provenance == json.loads(json.dumps(result.provenance))
    assert found.provenance["source"]["crc32"].keys() == vmz_tables()["ir-csn-26"].blobs.keys()
    assert not found.network.settings["pool1"]


def test_what_cannot_be_written(r2d: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="an ONNX file is written in float32, not float16"):
        convert(r2d, tmp_path / "out.onnx", source="vmz", dtype="float16")
    with pytest.raises(UsageError, match=r"must end in \.pkl, \.pickle or \.onnx"):
        convert(r2d, tmp_path / "out.pth", source="vmz", to="onnx")
    with pytest.raises(UsageError, match=r"must end in"):
        convert(r2d, tmp_path / "out.onnx", source="vmz", to="vmz-pt")
    assert list(tmp_path.iterdir()) == []


# Wrong models


def test_a_model_without_its_norms_says_why(tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, "ir-csn-26"))
    for kept in (model.graph.initializer, model.graph.node):
        for one in [*kept]:
            if "spatbn" in getattr(one, "name", "") or getattr(one, "op_type", "") == "BatchNormalization":
                kept.remove(one)
    onnx.save(model, tmp_path / "folded.onnx")
    with pytest.raises(Refused, match=r"is not a known network: the export may have folded its batch norms"):
        convert(tmp_path / "folded.onnx", tmp_path / "out.pth", source="onnx")


def test_only_models_are_read_as_onnx(r2d: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a pickle, protocol 2, not an ONNX model"):
        convert(r2d, tmp_path / "out.pth", source="onnx")


def test_reading_needs_neither_onnx_nor_numpy(tmp_path: Path) -> None:
    modules = imported("onnx", exported(tmp_path, "ir-csn-26"), tmp_path / "out.pth")
    assert not modules & {"onnx", "onnxruntime", "numpy", "torch", *HEAVY}


# Caffe2's own nets


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """The pair that the fixture of ir-csn-26 was exported from."""
    for name in ("init_net", "predict_net"):
        content = gzip.decompress((FIXTURES / f"ir-csn-26.{name}.pb.gz").read_bytes())
        (tmp_path / f"x_{name}.pb").write_bytes(content)
    return tmp_path


def test_nets_convert_to_what_their_export_converts_to(nets: Path) -> None:
    export = exported(nets, "ir-csn-26")
    convert(export, nets / "onnx.pth", source="onnx")
    for name in ("x_init_net", "x_predict_net"):
        convert(nets / f"{name}.pb", nets / f"{name}.pth", source="vmz")
        assert contents(nets / f"{name}.pth") == contents(nets / "onnx.pth")
    found = inspect(nets / "x_init_net.pb")
    assert (found.container, found.network.settings["pool1"]) == ("Caffe2 init net and predict net", True)


def test_a_predict_net_is_translated_as_it_is(nets: Path) -> None:
    """Its last pool has the size of the clip that it was built for; operator by operator what Caffe2's own exporter
    makes of it, and the same numbers."""
    export = exported(nets, "ir-csn-26")
    convert(nets / "x_init_net.pb", nets / "ours.onnx", source="vmz")
    ours, theirs = (onnx.load(path).graph.node for path in (nets / "ours.onnx", export))
    assert [node.op_type for node in ours if node.op_type != "Flatten"] == [
        node.op_type for node in theirs if node.op_type != "Reshape"
    ]
    clip = np.random.default_rng(7).standard_normal((1, 3, 8, 64, 64), np.float32)
    ours, theirs = (
        run_onnx(str(path), {"data": clip}, ["last_out_L400"]) for path in (nets / "ours.onnx", export)
    )
    wanted = theirs["last_out_L400"]
    assert np.abs(ours["last_out_L400"] - wanted).max() <= 1e-6 * np.abs(wanted).max()
    convert(nets / "x_init_net.pb", nets / "ours.pth", source="vmz")
    np.save(nets / "clip.npy", clip)
    found = verify(nets / "x_init_net.pb", nets / "ours.pth", clip=nets / "clip.npy")
    assert found.ok
    assert len(found.functional.blocks) == 12


def test_an_init_net_alone_is_a_source_too(nets: Path) -> None:
    before = contents(nets / "x_predict_net.pb")
    (nets / "x_predict_net.pb").unlink()
    assert contents(nets / "x_init_net.pb") == before
    assert inspect(nets / "x_init_net.pb").container == "Caffe2 init net"
    convert(nets / "x_init_net.pb", nets / "out.onnx", source="vmz")


def test_nets_that_are_not_translated(nets: Path) -> None:
    predict = nets / "x_predict_net.pb"
    changed = predict.read_bytes().replace(b"\x22\x0bAveragePool", b"\x22\x0bResizeImage")
    predict.write_bytes(changed)
    convert(nets / "x_init_net.pb", nets / "out.pth", source="vmz")  # the weights are the same
    with pytest.raises(
        Refused, match=r"Caffe2 operator ResizeImage has no translation to ONNX \(final_avg\)"
    ):
        convert(nets / "x_init_net.pb", nets / "out.onnx", source="vmz")
    (nets / "x_init_net.pb").unlink()
    with pytest.raises(BadInput, match=r"describes a network only: its weights are in an init_net\.pb"):
        inspect(predict)


def fill(kind: bytes, *args: bytes, name: bytes = b"conv1_w") -> bytes:
    return message(2, message(2, name), message(4, kind), *(message(5, arg) for arg in args))


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ([fill(b"XavierFill")], "has the operator XavierFill, which gives no stored blob"),
        ([fill(b"ConstantFill")] * 2, "fills the blob conv1_w twice"),
        ([fill(b"GivenTensorFill", message(1, b"shape") + number(6, 2))], "has 0 values where the shape needs 2"),
        ([fill(b"GivenTensorFill", message(1, b"shape") + number(6, 1 << 40))], "has an impossible shape"),
        ([fill(b"GivenTensorFill", message(1, b"shape") + message(6, bytes(65)))], "a list of more than 64 numbers"),
    ],
)  # fmt: skip
def test_damaged_nets(ops: list[bytes], text: str, tmp_path: Path) -> None:
    (tmp_path / "init_net.pb").write_bytes(message(1, b"init") + b"".join(ops))
    with pytest.raises(BadInput, match=text):
        inspect(tmp_path / "init_net.pb")
