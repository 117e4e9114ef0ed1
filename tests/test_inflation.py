"""Networks over frames inflated to networks over clips, as the projects that train so do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import recipes
import torch
import vmz_files
import zoo_tables

from converters import Refused, UsageError, convert, load_model
from converters.inflation import inflate
from converters.ops import Inflate
from converters.tensor import Held, Tensor

if TYPE_CHECKING:
    from pathlib import Path

TSN = "mmaction/tsn_r50_k400"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A ResNet-50 over frames, with the names of mmaction."""
    arrays = recipes.target_weights(zoo_tables.resnet_tables()[TSN].keys, 5, 1.0)
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
    assert grown(Inflate(3, False).apply(kernel([3, 6]))) == [[1, 2]] * 3
    assert grown(Inflate(3, True).apply(kernel([3, 6]))) == [[0, 0], [3, 6], [0, 0]]
    assert grown(Inflate(4, False).apply(kernel([3, 6]))) == [[0.75, 1.5]] * 4
    assert grown(Inflate(1, True).apply(kernel([3, 6]))) == [[3, 6]]
    with pytest.raises(Refused, match="none is in the middle"):
        Inflate(4, True).apply(kernel([3, 6]))


@pytest.mark.parametrize("frames", [3, 5])
def test_a_kernel_is_divided_not_multiplied(frames: int) -> None:
    """Times a rounded 1/T is another last bit for a third of all values."""
    values = np.random.RandomState(1).standard_normal(4096).astype(np.float32)
    whole = Tensor("w", "float32", (64, 64, 1, 1), Held(values.tobytes()))
    ours = np.frombuffer(Inflate(frames, False).apply(whole).tobytes(), np.float32).reshape(-1, frames)
    assert np.array_equal(ours, np.repeat((values / np.float32(frames))[:, None], frames, axis=1))
    assert not np.array_equal(ours[:, 0], values * (np.float32(1) / np.float32(frames)))
    halves = Tensor("w", "float16", (64, 64, 1, 1), Held(values.astype(np.float16).tobytes()))
    ours = np.frombuffer(Inflate(frames, False).apply(halves).tobytes(), np.float16)[::frames]
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
    assert any("without a way back" in note for note in done.notes)
    assert sum(bool(row.ops) and "inflated to" in row.ops[0].describe() for row in done.rows) == 53
    with pytest.raises(Refused):
        convert("mmaction2", tmp_path / "out.pth", tmp_path / "back.pth", to="torchvision")


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
            convert("slowfast", tmp_path / "deep.pkl", tmp_path / name, variant="C2D_NOPOOL_8x8_R50")
        out = tmp_path / f"{name}.out.pth"
        done = run(
            "inflate", tmp_path / name, out, "--variant", "I3D_8x8_R50", "--to", "pyslowfast", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["network"]["settings"]["pool1_padding"] == 1
        state = torch.load(out, weights_only=True)
        assert state["s2.pathway0_res0.branch2.a.weight"].unique().tolist() == [1.0]
        assert state["s2.pathway0_res0.branch2.b.weight"].unique().tolist() == [3.0]


def test_what_cannot_be_inflated(resnet, r2d, tmp_path: Path) -> None:
    out = tmp_path / "out.pth"
    with pytest.raises(Refused, match=r"no network of .* is inflated from"):
        inflate(r2d, out, variant="i3d-r50")
    with pytest.raises(Refused, match="no network 'i3d-r18'"):
        inflate(resnet[0], out, variant="i3d-r18")
    for variant in ("i3d-r101", "i3d-nl-r50"):  # another depth; blocks that no frame network has
        with pytest.raises(Refused, match="with a time axis") as caught:
            inflate(resnet[0], out, variant=variant)
        assert any(fault.startswith("missing: layer") for fault in caught.value.faults)
    inflate(resnet[0], out, variant="i3d-r50", to="mmaction2")
    with pytest.raises(Refused, match="with a time axis") as caught:
        inflate(out, tmp_path / "again.pth", variant="i3d-r50")
    assert any("has a time axis already" in fault for fault in caught.value.faults)
    with pytest.raises(UsageError, match="average or centre"):
        inflate(resnet[0], out, variant="i3d-r50", rule="middle", force=True)
