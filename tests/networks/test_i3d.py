"""Our I3D against the real ones: goldens of TensorFlow and Sonnet, and of the ports in PyTorch."""

from __future__ import annotations

import zlib
from math import prod, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.networks.families.i3d import I3D
from converters.networks.spec import ModuleShapes, Settings
from tests.helpers import i3d_tables, seeded_weights, seeded_weights_i3d, selection
from tests.helpers.golden_parity import TOLERANCE, assert_parity
from tests.helpers.i3d_tables import TF_EPS
from tests.helpers.paths import GOLDENS

# Goldens of TensorFlow


DIRECT = ["i3d/rgb_9x224", "i3d/flow_79x224", "i3d-shared/rgb600_12x224x210"]
"""One of each table, to say whether it is the network that is wrong: all go from file to file in `tests/conversion`."""


@pytest.mark.parametrize("name", selection.longest(DIRECT, lambda name: name != DIRECT[0]))
def test_tensorflow_golden(name: str, device: str) -> None:
    golden = np.load(GOLDENS / f"{name}.npz")
    assert golden["recipe"] == "i3d-golden-1"
    table = Path(str(golden["table"])).stem
    classes = golden["logits"].shape[1]
    variables = i3d_tables.variables_of(table, classes)
    arrays = seeded_weights_i3d.i3d_weights(variables, int(golden["weight_seed"]))
    clip = seeded_weights_i3d.i3d_clip(int(golden["input_seed"]), tuple(golden["input_shape"]))
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    assert seeded_weights.digest_one(clip) == golden["input_sha256"]

    model = i3d_tables.loaded(i3d_tables.tf_state(arrays), TF_EPS, device)
    points = {name: name for name in golden["blocks"].tolist()}
    with torch.inference_mode():
        steps = model.steps(torch.from_numpy(clip.transpose(0, 4, 1, 2, 3)).to(device))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device], channels_last=True)


def relative(ours: torch.Tensor, theirs: np.ndarray) -> float:
    assert tuple(ours.shape) == theirs.shape
    return float(np.abs(ours.cpu().numpy() - theirs).max() / np.abs(theirs).max())


# Where the ports depart from TensorFlow


def quick_state(channels: int = 3, classes: int = 7) -> dict[str, np.ndarray]:
    """Random weights of the network's true shapes, kept in range over depth."""
    state = {}
    for name, shape in i3d_tables.variables_of("rgb", classes).items():
        if name.endswith("1a_7x7/conv_3d/w"):
            shape = (*shape[:3], channels, shape[4])
        random = np.random.default_rng(zlib.crc32(name.encode()))
        if name.endswith("/w"):
            state[name] = random.standard_normal(shape, np.float32) * np.float32(sqrt(2 / prod(shape[:4])))
        elif name.endswith("variance"):
            state[name] = random.random(shape, np.float32) * np.float32(0.5) + np.float32(0.5)
        else:
            state[name] = random.standard_normal(shape, np.float32) * np.float32(0.1)
    return i3d_tables.tf_state(state)


def clip(frames: int, height: int, width: int, channels: int = 3, seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, frames, height, width, generator=generator)


def departs(a: I3D, b: I3D, x: torch.Tensor) -> str | None:
    """The first block in which two networks differ."""
    with torch.inference_mode():
        for (name, ours), (_, theirs) in zip(a.steps(x), b.steps(x), strict=True):
            if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > 1e-5 * float(
                ours.abs().max()
            ):
                return name
    return None


@pytest.mark.full
def test_paddings_agree_at_even_sizes() -> None:
    state = quick_state()
    same, even, ceil = (
        i3d_tables.loaded(state, TF_EPS, padding=padding) for padding in ("same", "even", "ceil")
    )
    x = clip(16, 224, 224)
    assert departs(same, even, x) is None
    assert departs(same, ceil, x) is None


@pytest.mark.parametrize(
    ("padding", "size", "first"),
    [
        ("even", (17, 224, 224), "Conv3d_1a_7x7"),
        ("ceil", (17, 224, 224), "Conv3d_1a_7x7"),
        ("ceil", (16, 224, 223), "Conv3d_1a_7x7"),
        ("even", (16, 222, 224), "MaxPool3d_2a_3x3"),  # 111 rows
        ("ceil", (16, 222, 224), "MaxPool3d_2a_3x3"),
        pytest.param("even", (26, 224, 224), "MaxPool3d_4a_3x3", marks=selection.full),  # 13 frames
    ],
)
def test_paddings_depart_at_odd_sizes(padding: str, size: tuple[int, ...], first: str) -> None:
    state = quick_state()
    same = i3d_tables.loaded(state, TF_EPS, head="global")
    assert (
        departs(same, i3d_tables.loaded(state, TF_EPS, padding=padding, head="global"), clip(*size)) == first
    )


@pytest.mark.full
@pytest.mark.parametrize(("frames", "agree"), selection.first_of([(16, True), (24, False)]))
def test_global_head_agrees_where_two_frames_are_left(frames: int, agree: bool) -> None:
    state = quick_state()
    windows = i3d_tables.loaded(state, TF_EPS)
    whole = i3d_tables.loaded(state, TF_EPS, head="global")
    x = clip(frames, 224, 224)
    with torch.inference_mode():
        a, b = windows(x), whole(x)
    error = float((a - b).abs().max() / a.abs().max())
    assert error <= 1e-5 if agree else error > 1e-3


def test_same_padding_takes_each_axis_by_its_own_size() -> None:
    """Against a formula: pads before and after by TensorFlow's rule, minus infinity around a pool."""
    torch.manual_seed(5)
    model = i3d_tables.loaded(quick_state(), TF_EPS)
    for size in ((9, 10, 11), (8, 13, 6), (1, 2, 3)):
        x = torch.randn(2, 4, *size)
        for kernel, stride in (((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))):
            pads = []
            for n, k, s in zip(reversed(size), reversed(kernel), reversed(stride), strict=True):
                total = max((-(-n // s) - 1) * s + k - n, 0)
                pads += [total // 2, total - total // 2]
            wanted = torch.nn.functional.max_pool3d(
                torch.nn.functional.pad(x, pads, value=float("-inf")), kernel, stride
            )
            assert torch.equal(model._pool(x, kernel, stride), wanted)


# What the network promises


@pytest.mark.full
def test_end_points_in_order() -> None:
    model = i3d_tables.loaded(quick_state(channels=2), TF_EPS)
    x = clip(17, 200, 224, channels=2)
    with torch.inference_mode():
        points = model.end_points(x)
        assert torch.equal(model(x), points["logits"])
    assert list(points) == [
        "Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3",
        "Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f",
        "MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c", "features", "frame_logits", "logits",
    ]  # fmt: skip
    assert points["Mixed_5c"].shape == (1, 1024, 3, 7, 7)
    assert points["features"].shape == (1, 1024, 2)
    assert points["frame_logits"].shape == (1, 2, 7)
    assert points["logits"].shape == (1, 7)


@pytest.mark.full
def test_a_shown_block_is_not_changed_later() -> None:
    model = i3d_tables.loaded(quick_state(), TF_EPS)
    with torch.inference_mode():
        seen = [(out, out.clone()) for _, out in model.steps(clip(9, 193, 193))]
    assert all(torch.equal(out, copy) for out, copy in seen)


def test_gradients_reach_every_parameter() -> None:
    model = i3d_tables.loaded(quick_state(), TF_EPS, padding="ceil", head="global").train()
    model(torch.randn(2, 3, 16, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in model.parameters())


def test_norms_and_names() -> None:
    state = quick_state()
    model = I3D(
        ModuleShapes({name: array.shape for name, array in state.items()}), Settings({"bn_eps": 0.25})
    )
    made = model.state_dict()
    counters = {name for name in made if name.endswith(".num_batches_tracked")}
    assert {name: tuple(t.shape) for name, t in made.items() if name not in counters} == {
        name: array.shape for name, array in state.items()
    }
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert len(norms) == 57 == len(counters)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.25, 0.001)}
    assert all(tensor.is_meta for tensor in made.values())


@pytest.mark.parametrize(
    ("config", "size", "message"),
    [
        ({}, (8, 224, 224), "8x224x224 leaves 1x7x7 and the head takes two frames or more of 7x7"),
        ({}, (16, 225, 224), "16x225x224 leaves 2x8x7"),
        ({}, (16, 224, 192), "16x224x192 leaves 2x7x6"),
        ({"padding": "even"}, (9, 224, 224), "9x224x224 leaves 1x7x7"),
        ({"padding": "even"}, (16, 193, 224), "16x193x224 leaves 2x6x7"),
        (
            {"padding": "ceil", "head": "global"},
            (16, 2, 64),
            "16x2x64 leaves 2x0x2 and the head takes something",
        ),
    ],
)
def test_clips_that_do_not_fit(config: dict, size: tuple[int, ...], message: str) -> None:
    model = i3d_tables.loaded(quick_state(), TF_EPS, **config)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("size", selection.first_of([((9, 193, 193),), ((9, 224, 193),)]))
@pytest.mark.parametrize("padding", ["same", "even"])
def test_smallest_clips_that_fit(padding: str, size: tuple[int, ...]) -> None:
    """The check before the first layer agrees with what the layers do."""
    if padding == "even":
        size = tuple(side + 1 for side in size)
    model = i3d_tables.loaded(quick_state(), TF_EPS, padding=padding)
    size = tuple(min(side, 224) for side in size)
    with torch.inference_mode():
        points = model.end_points(torch.zeros(1, 3, *size))
    assert points["Mixed_5c"].shape[2:] == (2, 7, 7)


@pytest.mark.parametrize(
    "size",
    [(1, 32, 32), (3, 33, 47), (5, 64, 35), (2, 1, 63), (7, 40, 95), (11, 3, 32), (4, 17, 9)],
    ids=str,
)
@pytest.mark.parametrize("padding", selection.first_of(["ceil", "same", "even"]))
def test_what_is_left_is_told_right(padding: str, size: tuple[int, ...]) -> None:
    """The count of what the strided layers leave, against what they do leave, or fail to."""
    model = i3d_tables.loaded(quick_state(), TF_EPS, padding=padding, head="global")
    left = [model._left(side, axis) for axis, side in enumerate(size)]
    if 0 in left:
        with pytest.raises(ValueError, match="the head takes something"):
            model(torch.zeros(1, 3, *size))
    else:
        with torch.inference_mode():
            assert list(model.end_points(torch.zeros(1, 3, *size))["Mixed_5c"].shape[2:]) == left


def test_a_clip_of_other_channels() -> None:
    model = i3d_tables.loaded(quick_state(), TF_EPS)
    with pytest.raises(ValueError, match="with 3 channels, got 2"):
        model(torch.zeros(1, 2, 16, 224, 224))


@pytest.mark.parametrize(("key", "value"), [("padding", "valid"), ("head", None)])
def test_config_that_makes_no_network(key: str, value: object) -> None:
    shapes = {name: array.shape for name, array in quick_state().items()}
    with pytest.raises(ValueError, match=f"setting {key}: expected one of"):
        I3D(ModuleShapes(shapes), Settings({"bn_eps": TF_EPS, key: value}))


def test_shapes_that_make_no_network() -> None:
    shapes = {name: array.shape for name, array in quick_state().items()}
    for name, shape, message in (
        ("mixed4c.b2a.conv.weight", None, "no shape for tensor mixed4c.b2a.conv.weight"),
        ("mixed5b.b1b.conv.weight", (320, 100, 3, 3, 3), "in groups of 100 and gets 160"),
        ("head.weight", (7, 1000), "head.weight takes 1000 inputs and gets 1024"),
    ):
        changed = {**shapes, name: shape} if shape else {k: v for k, v in shapes.items() if k != name}
        with pytest.raises(ValueError, match=message):
            I3D(ModuleShapes(changed), Settings({"bn_eps": TF_EPS}))
