"""C3D, C3D-ResNet18 and BN-Inception against the real ones: goldens of Caffe, Chainer and PyTorch projects."""

from __future__ import annotations

from math import ceil, prod

import numpy as np
import pytest
import torch

from converters.networks import NetworkSpec
from tests.helpers import caffe_tables, canonical_names, seeded_weights, seeded_weights_caffe, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.paths import GOLDENS

EPS = 1e-5


def goldens(folder: str) -> list[str]:
    return sorted(path.stem for path in (GOLDENS / folder).glob("*.npz"))


def loaded(spec: NetworkSpec, state: dict[str, np.ndarray], device: str = "cpu"):
    model = canonical_names.built(spec, EPS)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, assign=True)
    return model.eval().to(device)


def caffe_network(golden) -> tuple[dict[str, np.ndarray], str, dict[str, np.ndarray]]:
    """The recipe's arrays, the family, and the same arrays under canonical names."""
    seed, table = int(golden["weight_seed"]), str(golden["table"]).removesuffix(".json")
    if "net" in golden:
        arrays = seeded_weights_caffe.c3d_weights(caffe_tables.c3d_shapes(str(golden["net"])), seed)
        return arrays, "c3d", {caffe_tables.c3d_name(name): array for name, array in arrays.items()}
    arrays = seeded_weights_caffe.blob_weights(caffe_tables.caffe_tables()[table].params, seed)
    if table.startswith("c3d"):
        return arrays, "resnet3d", caffe_tables.resnet_state(arrays)
    squeezed = {
        caffe_tables.tsn_name(name): array.reshape(-1) if array.shape[0] == 1 else array
        for name, array in arrays.items()
    }
    return arrays, "bn_inception", squeezed


DIRECT = ["c3d/resnet18_v11", "c3d/sports1m_v10", "chainer/ucf101net_1x97x128", "tsn/flow"]
"""One of each network, to say whether it is the network that is wrong: all go from file to file in
`tests/conversion`."""


@pytest.mark.parametrize("name", selection.all_but(DIRECT, "c3d/sports1m_v10"))
def test_caffe_and_chainer_golden(name: str, device: str) -> None:
    golden = np.load(GOLDENS / f"{name}.npz")
    arrays, family, state = caffe_network(golden)
    clip = seeded_weights_caffe.golden_input(golden)
    assert clip.shape == tuple(golden["input_shape"])
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    assert seeded_weights.digest_one(clip) == golden["input_sha256"]

    if "logits" not in golden and family == "bn_inception":
        state = {key: array for key, array in state.items() if not key.startswith("head.")}
    model = loaded(caffe_tables.spec(family, name, state), state, device)
    if family == "bn_inception":
        clip = clip[:, :, None]
    points = {
        blob: caffe_tables.resnet_end_point(blob) if family == "resnet3d" else blob
        for blob in golden["blocks"].tolist()
    }
    with torch.inference_mode():
        steps = model.steps(torch.from_numpy(clip).to(device))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device])


# What a network promises


def small(name: str, **config: object) -> NetworkSpec:
    """A network with its real structure and few channels."""
    width = 4
    if name == "bn_inception":
        blobs = caffe_tables.caffe_tables()["tsn/caffe-bn_inception-rgb-ucf101"].params
        shapes = {caffe_tables.tsn_name(blob): shape[shape[0] == 1 :] for blob, shape in blobs.items()}
        return NetworkSpec(name, name, shapes)
    net = "ucf101net" if name == "small c3d" else "ucf101"
    shapes = {caffe_tables.c3d_name(key): shape for key, shape in caffe_tables.c3d_shapes(net).items()}
    channels = 3
    for key, shape in list(shapes.items()):
        if key.startswith("conv"):
            shapes[key] = (width, channels, 3, 3, 3) if key.endswith("weight") else (width,)
            channels = width
        else:
            last = {"fc6": width * 16, "fc7": 5, "head": 5}[key.split(".")[0]]
            outputs = 101 if key.startswith("head") else 5
            shapes[key] = (outputs, last) if key.endswith("weight") else (outputs,)
        assert len(shapes[key]) == len(shape)
    return NetworkSpec("c3d", name, shapes, config)


def random_state(spec: NetworkSpec) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    state = {}
    for key, shape in spec.shapes.items():
        value = random.random(shape, np.float32) + np.float32(0.5)
        if len(shape) > 1:
            value = (value - np.float32(1)) * np.float32((12 / prod(shape[1:])) ** 0.5)
        state[key] = value
    return state


@pytest.mark.parametrize("name", ["c3d", "small c3d", "bn_inception"])
def test_state_dict_is_the_spec(name: str) -> None:
    spec = small(name)
    model = canonical_names.built(spec, 0.25)
    state = model.state_dict()
    counters = {key for key in state if key.endswith(".num_batches_tracked")}
    assert {key: tuple(tensor.shape) for key, tensor in state.items() if key not in counters} == spec.shapes
    assert len(counters) == (69 if name == "bn_inception" else 0)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert {norm.eps for norm in norms} <= {0.25}
    assert all(tensor.is_meta for tensor in state.values())


def caffe_pool(size: int, kernel: int, stride: int, pad: int) -> int:
    """Caffe's rule: round up, then drop a last window that would start outside of image and padding."""
    out = -((size + 2 * pad - kernel) // -stride) + 1
    if pad and (out - 1) * stride >= size + pad:
        out -= 1
    return out


@pytest.mark.parametrize("size", [(1, 97, 97), (2, 98, 127), (7, 111, 101), (9, 113, 99), (16, 128, 100)])
def test_c3d_pools_round_as_caffe_does(size: tuple[int, int, int]) -> None:
    spec = small("c3d")
    model = loaded(spec, random_state(spec))
    left = list(size)
    with torch.inference_mode():
        for name, out in model.steps(torch.randn(1, 3, *size)):
            if name.startswith("pool"):
                for axis in range(1 if name == "pool1" else 0, 3):
                    left[axis] = caffe_pool(left[axis], 2, 2, 0)
                assert list(out.shape[2:]) == left, name
    assert left == [1, 4, 4]


@pytest.mark.parametrize("height", [31, 38, 223, 224, 230])
def test_frames_of_every_size_that_caffe_takes(height: int) -> None:
    spec = small("bn_inception")
    model = canonical_names.built(spec, EPS).eval()
    convolved = caffe_pool(-(-height // 2), 3, 2, 0)
    sizes = [convolved, caffe_pool(convolved, 3, 2, 0)]
    for _ in range(2):
        sizes.append(caffe_pool(sizes[-1], 3, 2, 0))
    points = dict(model.steps(torch.empty(1, 3, 1, height, 224, device="meta")))
    names = ["pool1/3x3_s2", "pool2/3x3_s2", "inception_3c/output", "inception_4e/output"]
    assert [points[name].shape[2] for name in names] == sizes


@pytest.mark.parametrize("height", [30, 39, 62, 222, 231, 240, 254])
def test_frames_that_caffe_refuses(height: int) -> None:
    model = canonical_names.built(small("bn_inception"), EPS).eval()
    with pytest.raises(ValueError, match=r"32 n - 1 \.\. 32 n \+ 6, such as 224"):
        model(torch.empty(1, 3, 1, 224, height, device="meta"))


def test_segments_are_averaged() -> None:
    spec = small("bn_inception")
    model = loaded(spec, random_state(spec))
    clip = torch.randn(2, 3, 3, 31, 33)
    with torch.inference_mode():
        each = torch.stack([model(clip[:, :, t : t + 1]) for t in range(3)]).mean(dim=0)
        whole = model(clip)
    assert whole.shape == (2, 101)
    assert float((whole - each).abs().max() / each.abs().max()) < 1e-5


def test_a_padded_pool5_is_another_function() -> None:
    state = random_state(small("c3d"))
    clip = torch.randn(1, 3, 16, 112, 112)
    with torch.inference_mode():
        ceil, padded = (
            loaded(small("c3d", pools=pools), state).end_points(clip) for pools in ("ceil", "padded")
        )
    assert ceil["pool5"].shape == padded["pool5"].shape
    assert torch.equal(ceil["pool4"], padded["pool4"])
    assert not torch.equal(ceil["pool5"], padded["pool5"])


def test_end_points_of_c3d_in_order() -> None:
    names = list(
        canonical_names.built(small("small c3d"), EPS).end_points(
            torch.empty(1, 3, 16, 112, 112, device="meta")
        )
    )
    convolutions = [f"{kind}{n}{'a' * (kind == 'conv')}" for n in range(1, 6) for kind in ("conv", "pool")]
    assert names == [*convolutions, "fc6", "fc7", "logits"]


@pytest.mark.parametrize("name", ["c3d", "bn_inception"])
def test_a_shown_block_is_not_changed_later(name: str) -> None:
    spec = small(name)
    model = loaded(spec, random_state(spec))
    shape = (1, 3, 16, 112, 112) if name == "c3d" else (1, 3, 2, 31, 31)
    seen = []
    with torch.inference_mode():
        for _, out in model.steps(torch.randn(shape)):
            seen.append((out, out.clone()))
    assert all(torch.equal(out, copy) for out, copy in seen)


@pytest.mark.parametrize("name", ["c3d", "bn_inception"])
def test_gradients_reach_every_parameter(name: str) -> None:
    spec = small(name)
    model = loaded(spec, random_state(spec)).train()
    shape = (2, 3, 16, 112, 112) if name == "c3d" else (2, 3, 2, 63, 63)
    model(torch.randn(shape)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "config", "shape", "message"),
    [
        ("c3d", {}, (1, 3, 17, 112, 112), "leaves 2x4x4 positions and fc6 takes 16; 16x112x112 leaves 1x4x4"),
        ("c3d", {}, (1, 3, 16, 96, 112), "leaves 1x3x4"),
        ("c3d", {"pools": "padded"}, (1, 3, 15, 112, 112), "leaves 0x4x4"),
        ("c3d", {"pools": "padded"}, (1, 3, 16, 95, 127), "leaves 1x3x4"),
        ("c3d", {}, (1, 2, 16, 112, 112), "with 3 channels, got 2"),
        ("bn_inception", {}, (1, 3, 224, 224), r"expected \[N, C, T, H, W\], got 4 axes"),
        ("bn_inception", {}, (1, 10, 1, 224, 224), "with 3 channels, got 10"),
    ],
)
def test_inputs_that_do_not_fit(name: str, config: dict, shape: tuple, message: str) -> None:
    model = canonical_names.built(small(name, **config), EPS).eval()
    with pytest.raises(ValueError, match=message):
        model(torch.empty(shape, device="meta"))


@pytest.mark.parametrize("size", [(10, 95, 121), (33, 128, 128)])
def test_convolutions_take_sizes_that_fc6_does_not(size: tuple[int, int, int]) -> None:
    model = canonical_names.built(small("c3d"), EPS)
    clip = torch.empty(1, 3, *size, device="meta")
    with pytest.raises(ValueError, match="and fc6 takes 16"):
        model(clip)
    points = model.end_points(clip)
    assert next(reversed(points)) == "pool5"
    halves = [ceil(size[0] / 16), ceil(size[1] / 32), ceil(size[2] / 32)]
    assert list(points["pool5"].shape[2:]) == halves


def test_pools_that_no_network_has() -> None:
    with pytest.raises(ValueError, match="setting pools: expected one of 'ceil', 'padded', got 'floor'"):
        canonical_names.built(small("c3d", pools="floor"), EPS)


# The recipes themselves, by worked values


def first(array: np.ndarray) -> list[float]:
    return array.ravel()[:3].tolist()


@pytest.mark.full
def test_c3d_recipe_values() -> None:
    arrays = seeded_weights_caffe.c3d_weights(caffe_tables.c3d_shapes("ucf101"), 32)
    expected = {
        "conv2a/b": [-0.104064085, -0.00836129207, -0.0989329889],
        "conv2a/W": [0.00749327801, 0.0202708431, 0.0338249877],
        "conv1a/W": [-0.000187505997, -0.00379809807, 0.00320175732],
    }
    for name, values in expected.items():
        assert first(arrays[name]) == pytest.approx(values, rel=1e-8)
    assert seeded_weights_caffe.frames(321, 13, 128, 171)[0, 0, :3].tolist() == [
        [33, 165, 60], [60, 163, 51], [32, 142, 51],
    ]  # fmt: skip
    cube = seeded_weights_caffe.mean_cube(320, 13, 128, 171)[:, 0, 0, 0]
    assert cube.tolist() == pytest.approx([90.71435547, 102.04216766, 114.87944794], rel=1e-8)


def test_blob_recipe_values() -> None:
    tables = caffe_tables.caffe_tables()
    resnet = seeded_weights_caffe.blob_weights(tables["c3d/caffe-v1.1-resnet18-sports1m"].params, 35)
    tsn = seeded_weights_caffe.blob_weights(tables["tsn/caffe-bn_inception-rgb-ucf101"].params, 36)
    expected = {
        "conv1/0": [-0.000236263484, -0.000489823928, -0.000733927067],
        "bn_conv1/0": [-134.672974, -137.574417, 92.3444519],
        "bn_conv1/1": [822.27771, 184.024719, 0.324952036],
        "scale_conv1/0": [0.77838099, 0.232155606, 0.0145512437],
        "conv1/7x7_s2/0": [0.00311616878, 0.00173343671, 0.00181819941],
        "conv1/7x7_s2_bn/0": [0.128359333, 0.0921438709, 0.300193846],
        "conv1/7x7_s2_bn/3": [0.00978112966, 0.00729720155, 0.0717618465],
    }
    for name, values in expected.items():
        assert first({**resnet, **tsn}[name]) == pytest.approx(values, rel=1e-8)
