"""2D networks inflated to 3D ones, as the projects that train them do."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters import Refused, UsageError, convert, load_model
from converters.conversion.inflate import inflate
from converters.conversion.operations.inflation import Inflate, Pad, Spread
from converters.conversion.operations.storage import Reverse
from converters.files import CHUNK
from converters.networks.layers import Block
from converters.networks.spec import ModuleShapes
from converters.tensor import Held, Tensor
from tests.helpers import caffe_files, caffe_tables, seeded_weights, vmz_files, zoo_tables

if TYPE_CHECKING:
    from pathlib import Path

TSN = "mmaction/tsn_r50_k400"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A 2D ResNet-50 with the names of mmaction."""
    arrays = seeded_weights.target_weights(zoo_tables.resnet_tables()[TSN].keys, 5, 1.0)
    path = tmp_path_factory.mktemp("resnet") / "x.pth"
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path, arrays


def kernel(values: list[float], dtype: str = "float32") -> Tensor:
    array = np.array(values, dtype).reshape(1, 1, 1, -1)
    return Tensor("w", dtype, array.shape, Held(array.tobytes()))


def grown(tensor: Tensor) -> list[list[float]]:
    values = np.frombuffer(tensor.tobytes(), tensor.dtype)
    return values.reshape(tensor.shape[2], -1).tolist()


def test_worked_examples() -> None:
    assert grown(Inflate(frames=3, centre=False).apply(kernel([3, 6]))) == [[1, 2]] * 3
    assert grown(Inflate(frames=3, centre=True).apply(kernel([3, 6]))) == [[0, 0], [3, 6], [0, 0]]
    assert grown(Inflate(frames=4, centre=False).apply(kernel([3, 6]))) == [[0.75, 1.5]] * 4
    assert grown(Inflate(frames=1, centre=True).apply(kernel([3, 6]))) == [[3, 6]]
    with pytest.raises(Refused, match="none is in the middle"):
        Inflate(frames=4, centre=True).apply(kernel([3, 6]))


@pytest.mark.parametrize("frames", [3, 5])
def test_a_kernel_is_divided_not_multiplied(frames: int) -> None:
    """Times a rounded 1/T is another last bit for a third of all values."""
    values = np.random.RandomState(1).standard_normal(4096).astype(np.float32)
    whole = Tensor("w", "float32", (64, 64, 1, 1), Held(values.tobytes()))
    ours = np.frombuffer(Inflate(frames=frames, centre=False).apply(whole).tobytes(), np.float32).reshape(
        -1, frames
    )
    assert np.array_equal(ours, np.repeat((values / np.float32(frames))[:, None], frames, axis=1))
    assert not np.array_equal(ours[:, 0], values * (np.float32(1) / np.float32(frames)))
    halves = Tensor("w", "float16", (64, 64, 1, 1), Held(values.astype(np.float16).tobytes()))
    ours = np.frombuffer(Inflate(frames=frames, centre=False).apply(halves).tobytes(), np.float16)[::frames]
    wide = values.astype(np.float16).astype(np.float32) / np.float32(frames)
    assert np.array_equal(ours, wide.astype(np.float16))


def test_as_mmaction2_inflates(resnet, tmp_path: Path) -> None:
    """Every kernel over its frames, norms and classifier as they are, the state dict of the live network."""
    path, arrays = resnet
    done = inflate(path, tmp_path / "out.pth", variant="i3d-r50", to="mmaction2")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    table = zoo_tables.resnet_tables()["mmaction2/i3d_r50_k400"]
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == table.keys
    for theirs, ours in (
        ("backbone.conv1", "backbone.conv1.conv"),
        ("backbone.layer1.0.conv1", "backbone.layer1.0.conv1.conv"),
        ("backbone.layer3.1.conv1", "backbone.layer3.1.conv1.conv"),
        ("backbone.layer3.2.conv1", "backbone.layer3.2.conv1.conv"),
        ("backbone.layer4.1.conv1", "backbone.layer4.1.conv1.conv"),
        ("backbone.layer4.2.conv2", "backbone.layer4.2.conv2.conv"),
        ("backbone.layer2.0.downsample.0", "backbone.layer2.0.downsample.conv"),
    ):
        flat, deep = arrays[f"{theirs}.weight"], state[f"{ours}.weight"].numpy()
        frames = np.float32(deep.shape[2])
        assert np.array_equal(deep, np.repeat((flat / frames)[:, :, None], int(frames), axis=2))
    assert np.array_equal(
        state["backbone.layer3.5.conv3.bn.running_var"].numpy(), arrays["backbone.layer3.5.bn3.running_var"]
    )
    assert done.provenance["source"]["inflated"] == "average"
    assert done.provenance["origin"]["lossy"] is True
    assert any("cannot be converted back" in note for note in done.notes)
    assert (
        sum(bool(row.operations) and "inflated to" in row.operations[0].describe() for row in done.rows) == 53
    )
    with pytest.raises(Refused):
        convert(tmp_path / "out.pth", tmp_path / "back.pth", source="mmaction2", to="torchvision")


def test_in_the_middle_it_computes_what_the_frame_network_does(resnet, tmp_path: Path) -> None:
    """A clip whose frames are all alike: the clip network gives the frame network's logits exactly."""
    inflate(resnet[0], tmp_path / "out.pth", variant="slowonly-r50", rule="centre")
    frame = torch.randn(1, 3, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        wanted = load_model(resnet[0])(frame)
        ours = load_model(tmp_path / "out.pth", variant="slowonly-r50")(frame.expand(-1, -1, 4, -1, -1))
    assert torch.allclose(ours, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_what_else_is_a_frame_network(tmp_path: Path, run) -> None:
    """Kernels of one frame with a time axis, and Caffe2's ImageNet networks, as bare dictionaries."""
    shapes = zoo_tables.slowfast_blobs("C2D_NOPOOL_8x8_R50")
    blobs = {
        name: np.full(shape[:2] + shape[3:] if len(shape) == 5 else shape, 3.0, np.float16)
        for name, shape in shapes.items()
    }
    vmz_files.write_arrays(tmp_path / "flat.pkl", blobs)
    for name in ("flat.pkl", "deep.pth"):
        if name == "deep.pth":
            deep = {name: blobs[name].reshape(shape) for name, shape in shapes.items()}
            vmz_files.write_arrays(tmp_path / "deep.pkl", deep)
            convert(tmp_path / "deep.pkl", tmp_path / name, source="slowfast", variant="C2D_NOPOOL_8x8_R50")
        out = tmp_path / f"{name}.out.pth"
        done = run(
            "inflate", tmp_path / name, out, "--variant", "I3D_8x8_R50", "--to", "pyslowfast", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["network"]["settings"]["pool1_padding"] == 1
        state = torch.load(out, weights_only=True)
        assert state["s2.pathway0_res0.branch2.a.weight"].unique().tolist() == [1.0]
        assert state["s2.pathway0_res0.branch2.b.weight"].unique().tolist() == [3.0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("channels", [2, 10])
def test_the_mean_over_channels_is_that_of_the_projects(dtype: str, channels: int) -> None:
    """tsn-pytorch and mmaction take torch's, the Caffe scripts numpy's: the same bits."""
    values = np.random.RandomState(3).standard_normal((64, 3, 7, 7)).astype(dtype)
    whole = Tensor("w", dtype, values.shape, Held(values.tobytes()))
    done = Spread(channels=channels).apply(whole)
    ours = np.frombuffer(done.tobytes(), dtype).reshape(done.shape)
    assert done.shape == (64, channels, 7, 7)
    of_torch = torch.from_numpy(values).mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    assert np.array_equal(ours, of_torch.numpy())
    wide = values.astype("float32") if dtype == "float16" else values
    of_numpy = np.repeat(wide.mean(axis=1, keepdims=True), channels, axis=1).astype(dtype)
    assert np.array_equal(ours, of_numpy)
    if dtype == "float32":  # a product with a rounded 1/3 is not
        assert not np.array_equal(ours[:, :1], values.sum(axis=1, keepdims=True) * np.float32(1 / 3))


def test_zeros_behind_and_channels_turned_round() -> None:
    values = np.arange(2 * 3 * 2 * 2, dtype="<f2").reshape(2, 3, 2, 2)
    whole = Tensor("w", "float16", values.shape, Held(values.tobytes()))
    padded = Pad(channels=5).apply(whole)
    assert padded.shape == (2, 5, 2, 2)
    ours = np.frombuffer(padded.tobytes(), "<f2").reshape(padded.shape)
    assert np.array_equal(ours, np.pad(values, ((0, 0), (0, 2), (0, 0), (0, 0))))
    turned = Reverse().apply(whole)
    assert np.array_equal(np.frombuffer(turned.tobytes(), "<f2").reshape(values.shape), values[:, ::-1])
    assert Reverse().apply(turned).tobytes() == whole.tobytes()
    assert max(len(piece) for piece in Pad(channels=9).apply(_large()).data.chunks()) <= CHUNK


def _large() -> Tensor:
    return Tensor("w", "float32", (1024, 3, 7, 7), Held(bytes(1024 * 3 * 49 * 4)))


@pytest.mark.full
def test_rgb_bn_inception_becomes_flows(tmp_path: Path, run) -> None:
    """Cross-modality initialisation: the stem's kernels averaged over RGB, ten times; its bias and all else kept."""
    table = caffe_tables.caffe_tables()["tsn/caffe-bn_inception-rgb-ucf101"]
    random = np.random.RandomState(7)
    arrays = {
        name: random.standard_normal(shape).astype("f4") if name.startswith("conv1/") else np.full(shape, 2.0)
        for name, shape in table.params.items()
    }
    (tmp_path / "x.caffemodel").write_bytes(caffe_files.model(table, arrays))
    out = tmp_path / "out.pth"
    done = run(
        "inflate", tmp_path / "x.caffemodel", out, "--variant", "tsn-bn-inception", "--channels", 10,
        "--to", "mmaction", "--check", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (stem,) = (
        row for row in told["rows"] if row["operations"][-1:] == ["mean over input channels, 10 times"]
    )
    assert stem["source"] == "conv1/7x7_s2/0"
    assert any(
        "1 mean over input channels, 10 times; everything else was copied" in note for note in told["notes"]
    )
    state = torch.load(out, weights_only=True)
    flow = caffe_tables.target_tables()["mmaction/tsn_bninception_flow_ucf101"].keys
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == flow
    wanted = torch.from_numpy(arrays["conv1/7x7_s2/0"]).mean(dim=1, keepdim=True).expand(-1, 10, -1, -1)
    assert torch.equal(state[stem["target"]], wanted)
    bias = state[stem["target"].replace("weight", "bias")]
    assert np.array_equal(bias.numpy(), arrays["conv1/7x7_s2/1"].reshape(-1))
    assert load_model(out)(torch.zeros(1, 10, 1, 64, 64)).shape == (1, 101)
    with pytest.raises(Refused, match=r"kernels are not those of I3D"):
        inflate(tmp_path / "x.caffemodel", tmp_path / "no.pth", variant="i3d")
    with pytest.raises(Refused, match="there is nothing to inflate") as caught:
        inflate(tmp_path / "x.caffemodel", tmp_path / "no.pth", variant="tsn-bn-inception")
    assert "--channels" in caught.value.told.hint


def detectron_blobs(kind: str) -> dict[str, np.ndarray]:
    """MSRA's ResNet-50 as Detectron's script leaves it, its norms folded, or as Detectron2 has it."""
    keys = zoo_tables.resnet_tables()[TSN].keys
    arrays = seeded_weights.target_weights(keys, 5, 1.0)
    leaves = {"weight": "s", "bias": "b"}
    if kind == "detectron2":
        leaves = {name: name for name in ("running_mean", "running_var")} | {
            "weight": "gamma",
            "bias": "beta",
        }
    blobs = {"conv1_b": np.full(64, 0.25, "f4")}
    for name, array in arrays.items():
        module, _, leaf = name.removeprefix("backbone.").rpartition(".")
        if module == "cls_head.fc_cls":
            blobs[f"fc1000_{leaf[0]}"] = array
            continue
        stage, _, rest = module.partition(".")
        prefix = "" if not rest else f"res{int(stage[-1]) + 1}_{rest[0]}_branch"
        part = rest[2:] or stage
        norm = "bn" in part or part == "downsample.1"
        place = "1" if "downsample" in part else f"2{'abc'[int(part[-1]) - 1]}"
        blob = f"{prefix}{place}" if rest else "conv1"
        if norm and leaf in leaves:
            blobs[f"{blob if rest else 'res_conv1'}_bn_{leaves[leaf]}"] = array
        elif not norm:
            blobs[f"{blob}_w"] = array[:, ::-1] if not rest else array
            if rest and kind == "detectron":
                blobs[f"{blob}_b"] = np.zeros(len(array), "f4")
    return blobs


def pickled(path: Path, blobs: dict[str, np.ndarray]) -> Path:
    path.write_bytes(pickle.dumps({name: np.ascontiguousarray(one) for name, one in blobs.items()}, 2))
    return path


@pytest.mark.full
@pytest.mark.parametrize("kind", ["detectron", pytest.param("detectron2", marks=pytest.mark.long)])
def test_msras_resnet_is_not_taken_for_another(kind: str, tmp_path: Path) -> None:
    """Its stem takes BGR and its blocks have their stride elsewhere: data make up for one, the report says it."""
    blobs = detectron_blobs(kind)
    path = pickled(tmp_path / "R-50.pkl", blobs)
    keys = zoo_tables.resnet_tables()[TSN].keys
    done = convert(path, tmp_path / "out.pth", source="detectron", to="mmaction")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    assert {name: tuple(tensor.shape) for name, tensor in state.items() if "num_batches" not in name} == {
        name: shape for name, shape in keys.items() if "num_batches" not in name
    }
    wanted = seeded_weights.target_weights(keys, 5, 1.0)
    folded = kind == "detectron"
    assert set(done.dropped) == {
        name for name in blobs if name == "conv1_b" or name[-3:] in ("1_b", "a_b", "c_b")
    } | {name for name in blobs if name.endswith("branch2b_b")}
    for name, array in wanted.items():
        if folded and name.endswith("running_mean"):
            assert not state[name].any()
        elif folded and name.endswith("running_var"):
            assert (state[name] == np.float32(1 - 1e-5)).all()
        elif "num_batches" not in name:
            assert np.array_equal(state[name].numpy(), array), name
    assert any("stride_1x1 = on" in note for note in done.notes)
    assert any("between BGR and RGB" in note for note in done.notes)
    assert done.provenance["network"]["input"]["mean"] == [122.7717, 115.9465, 102.9801]
    for to in ("torchvision", "nonlocal"):  # whose code has the stride in the 3x3 convolution
        with pytest.raises(Refused, match="stride_1x1 = off where these weights need stride_1x1 = on"):
            convert(
                path, tmp_path / f"no{'.pth' if to == 'torchvision' else '.pkl'}", source="detectron", to=to
            )
    if not folded:
        convert(tmp_path / "out.pth", tmp_path / "back.pkl", source="mmaction", to="detectron2")
        again = pickle.loads((tmp_path / "back.pkl").read_bytes(), encoding="latin1")
        assert again.keys() == blobs.keys() - {"conv1_b"}
        assert all(np.array_equal(again[name], blobs[name]) for name in again)
    # Inflated, it computes on a still clip what it did on the frame, its stride and its colours where they were.
    inflate(path, tmp_path / "clip.pth", variant="slowonly-r50", to="pyslowfast", rule="centre")
    frame = torch.randn(1, 3, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    model = load_model(path)
    assert model.get_submodule("layer2.0.conv1.conv").stride == (2, 2)
    assert model.get_submodule("layer2.0.conv2.conv").stride == (1, 1)
    with torch.inference_mode():
        still = load_model(tmp_path / "clip.pth", variant="slowonly-r50")(frame.expand(-1, -1, 4, -1, -1))
        logits = model(frame)
        stem = torch.nn.functional.conv2d(
            frame[:, [2, 1, 0], 0], torch.from_numpy(blobs["conv1_w"].copy()), stride=2, padding=3
        )
        assert torch.allclose(model.stem.conv(frame[:, :, 0]), stem, rtol=0, atol=1e-5)
    assert torch.allclose(still, logits, rtol=0, atol=1e-5 * float(logits.abs().max()))


def test_a_bias_that_should_be_nothing(tmp_path: Path) -> None:
    blobs = detectron_blobs("detectron")
    blobs["res4_3_branch2b_b"][7] = 1e-3
    with pytest.raises(Refused, match="values other than 0") as caught:
        convert(pickled(tmp_path / "x.pkl", blobs), tmp_path / "out.pth", source="detectron")
    assert caught.value.where == "res4_3_branch2b_b"


def test_the_slow_pathway_begins_with_a_frame_network(resnet, tmp_path: Path) -> None:
    """Zero channels for what comes from the fast one; that pathway, the laterals and the head are not in it."""
    path, arrays = resnet
    done = inflate(path, tmp_path / "out.pth", variant="slowfast_r50_4x16", to="mmaction2")
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    keys = zoo_tables.resnet_tables()["mmaction2/slowfast_r50_4x16_k400"].keys
    slow = {name for name in keys if "slow_path" in name and "lateral" not in name}
    assert state.keys() == slow
    assert all(tuple(state[name].shape) == keys[name] for name in slow)
    for block, shape in (("layer1.0", (64, 80)), ("layer4.0", (512, 1280))):
        ours = state[f"backbone.slow_path.{block}.conv1.conv.weight"].numpy()
        flat = arrays[f"backbone.{block}.conv1.weight"]
        assert ours.shape[:2] == shape
        assert not ours[:, flat.shape[1] :].any()
        frames = np.float32(ours.shape[2])
        wanted = np.repeat((flat / frames)[:, :, None], int(frames), axis=2)
        assert np.array_equal(ours[:, : flat.shape[1]], wanted)
    assert state["backbone.slow_path.conv1.conv.weight"].shape == (64, 3, 1, 7, 7)
    assert set(done.dropped) == {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"}
    assert any("load it with strict=False" in note for note in done.notes)
    assert any("padded with zeros to 80 input channels" in note for note in done.notes)
    # Blocks that no frame network has begin where the project begins them, and so does a detector's head.
    done = inflate(path, tmp_path / "nl.pth", variant="i3d-nl-r50", to="mmaction")
    assert not any("nonlocal" in row.target for row in done.rows)
    assert any("load it with strict=False" in note for note in done.notes)
    done = inflate(path, tmp_path / "ava.pth", variant="AVA_SLOW_8x8_R50", to="pyslowfast")
    assert not any("projection" in row.target for row in done.rows)
    assert any("head is different" in note for note in done.notes)


def test_convolutions_of_pyslowfast_without_a_time_axis(tmp_path: Path) -> None:
    """The state dict of a 2D network, as a training checkpoint."""
    keys = zoo_tables.slowfast_keys("R50_IN1K")
    state = {
        name: torch.full(shape[:2] + shape[3:] if len(shape) == 5 else shape, 3.0, dtype=torch.float16)
        for name, (_, shape) in keys.items()
        if "num_batches" not in name
    }
    torch.save({"epoch": 1, "model_state": state}, tmp_path / "R50_IN1K.pyth")
    inflate(tmp_path / "R50_IN1K.pyth", tmp_path / "out.pth", variant="I3D_8x8_R50", to="pyslowfast")
    out = torch.load(tmp_path / "out.pth", weights_only=True)
    assert out["s2.pathway0_res0.branch2.a.weight"].unique().tolist() == [1.0]
    assert out["s2.pathway0_res0.branch2.b.weight"].unique().tolist() == [3.0]


def test_the_stride_of_a_block() -> None:
    shapes = {
        "conv1.conv.weight": (4, 8, 1, 1), "conv2.conv.weight": (4, 4, 3, 3), "conv3.conv.weight": (8, 4, 1, 1)
    }  # fmt: skip
    for early, strides in ((False, [1, 2, 1]), (True, [2, 1, 1])):
        block = Block(ModuleShapes(shapes), 8, 1e-5, (2, 2), units=3, early=early)
        assert [block.get_submodule(f"conv{unit}.conv").stride[0] for unit in (1, 2, 3)] == strides


def test_a_network_of_which_a_layout_has_several_models(resnet, tmp_path: Path, run) -> None:
    """A model's name is that of C2D and of I3D there; a network's is not enough for what no weight shows."""
    path, arrays = resnet
    out = tmp_path / "out.pkl"
    with pytest.raises(Refused, match="'32x2' is a model of 5 networks") as caught:
        inflate(path, out, variant="32x2", to="nonlocal")
    assert caught.value.where == "c2d-r50, c2d-nl-r50, i3d-r50, i3d-nl-r50, i3d-nl10-r50"
    assert caught.value.told.hint == "say which with --variant, and --model 32x2"
    with pytest.raises(Refused, match="fit 2 models that compute different things") as caught:
        inflate(path, out, variant="i3d-r50", to="nonlocal")
    assert (caught.value.where, caught.value.told.hint) == ("8x8, 32x2", "say which with --model")
    with pytest.raises(Refused, match="has no model '4x16' of I3D R50") as caught:
        inflate(path, out, variant="i3d-r50", model="4x16", to="nonlocal")
    assert caught.value.told.hint == "--model may be 8x8, 32x2"
    said = ("--variant", "i3d-r50", "--model", "32x2", "--to", "nonlocal")
    assert run("inflate", path, out, *said).returncode == 0
    blobs = pickle.loads(out.read_bytes(), encoding="latin1")["blobs"]
    deep = blobs["res4_2_branch2a_w"]
    flat = arrays["backbone.layer3.2.conv1.weight"]
    assert np.array_equal(deep, np.repeat((flat / np.float32(3))[:, :, None], 3, axis=2))
    done = inflate(path, out, variant="i3d-r50", model="32x2", to="nonlocal", force=True, dry_run=True)
    assert done.provenance["network"]["settings"]["stem_stride"] == 2
    # The same where the target stores no statistics: those of this file would be lost.
    with pytest.raises(Refused, match="assumes it to be 0 everywhere") as caught:
        inflate(path, tmp_path / "no.pkl", variant="i3d-r50", model="32x4", to="nonlocal-affine")
    assert caught.value.where == "backbone.bn1.running_mean"
    assert not (tmp_path / "no.pkl").exists()


def test_what_cannot_be_inflated(resnet, r2d, tmp_path: Path) -> None:
    out = tmp_path / "out.pth"
    with pytest.raises(Refused, match="has no network that is inflated from it"):
        inflate(r2d, out, variant="i3d-r50")
    with pytest.raises(Refused, match="no network 'i3d-r18'"):
        inflate(resnet[0], out, variant="i3d-r18")
    with pytest.raises(Refused, match="cannot be inflated from") as caught:  # another depth
        inflate(resnet[0], out, variant="i3d-r101", to="mmaction2")
    assert any(fault.startswith("missing: layer") for fault in caught.value.faults)
    inflate(resnet[0], out, variant="i3d-r50", to="mmaction2")
    with pytest.raises(Refused, match="cannot be inflated from") as caught:
        inflate(out, tmp_path / "again.pth", variant="i3d-r50")
    assert any("has a time axis already" in fault for fault in caught.value.faults)
    with pytest.raises(UsageError, match="average or centre"):
        inflate(resnet[0], out, variant="i3d-r50", rule="middle", force=True)
