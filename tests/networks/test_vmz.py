"""Our networks against the real ones: goldens of Caffe2 and of PyTorch projects, and VMZ's operator lists."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from functools import lru_cache
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from converters.networks import NetworkSpec
from tests.helpers import caffe2_ops, canonical_names, seeded_weights, selection
from tests.helpers.paths import GOLDENS, REPOSITORY
from tests.helpers.upstream_tables import target_tables, vmz_tables

if TYPE_CHECKING:
    from tests.helpers.upstream_tables import VmzTable
from tests.helpers.golden_parity import TOLERANCE, assert_parity

VMZ_EPS = 1e-3


def goldens(folder: str) -> list[str]:
    return sorted(path.stem for path in (GOLDENS / folder).glob("*.npz"))


def loaded(spec: NetworkSpec, state: dict[str, np.ndarray], device: str = "cpu", **choices):
    model = canonical_names.built(spec, **choices)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, assign=True)
    return model.eval().to(device)


# Goldens of Caffe2


@pytest.mark.parametrize(
    "name",
    selection.one_of_each(
        goldens("vmz"),
        lambda name: {selection.variant_named(name).family} - {"c3d_bn", "audiovisual"},
        selection.parameters_of,
    ),
)
def test_caffe2_golden(name: str, device: str) -> None:
    golden = np.load(GOLDENS / "vmz" / f"{name}.npz")
    table = vmz_tables()[f"{golden['model']}-{golden['depth']}" if name != "c3d" else name]
    assert golden["output"] == table.output

    shapes = [tuple(golden[key]) for key in ("input_shape", "logmels_shape") if key in golden]
    arrays = seeded_weights.vmz_weights(table.blobs, int(golden["weight_seed"]))
    inputs = seeded_weights.vmz_inputs(int(golden["input_seed"]), *shapes)
    assert seeded_weights.digest(arrays, b"\0") == golden["weights_sha256"]
    assert seeded_weights.digest_one(inputs[0]) == golden["input_sha256"]
    assert seeded_weights.digest_one(inputs[-1]) == golden.get("logmels_sha256", golden["input_sha256"])

    spec = canonical_names.vmz_spec(name, table)
    settings = canonical_names.settings_of_flags(json.loads(str(golden["flags"])))
    state = canonical_names.squeezed(canonical_names.vmz_names(table), arrays)
    model = loaded(spec, state, device, eps=VMZ_EPS, **settings)

    points = {blob: canonical_names.vmz_end_point(blob, table) for blob in golden["blocks"].tolist()}
    with torch.inference_mode():
        steps = model.steps(*(torch.from_numpy(array).to(device) for array in inputs))
        assert_parity(golden, steps, points, tolerance=TOLERANCE[device])


# Operator lists


def op_lists() -> list:
    """Every table, and every variant of it that changes more than the kernel of the last average pool.

    Fast are one of each kind of block and one of each change. Long are deep networks, and variants whose flags are
    changed in a smaller network with the same kind of block, too.

    Left out: audio-visual networks as fully convolutional ones, whose operators tile the log-mels over the
    positions of one certain clip; their blobs differ from the others' by ones in the shape alone.
    """
    cases = []
    for name, table in vmz_tables().items():
        cases.append((name, ""))
        for variant, change in table.variants.items():
            kinds = {op[0] for op in change["ops_changed"]}
            if (kinds != {"AveragePool"} or change["blobs_changed"]) and "Tile" not in kinds:
                cases.append((name, variant))
    shown: dict[tuple, tuple[str, str]] = {}
    for name, variant in sorted(cases, key=lambda case: selection.parameters_of(case[0])):
        flags = tuple(flag.partition("=")[0] for flag in variant.split(","))
        shown.setdefault((frozenset(selection.kinds_by_name(name)), flags), (name, variant))
    smallest = {*shown.values()}
    fast = selection.one_of_each(
        cases,
        lambda name, variant: (
            selection.kinds_by_name(name) | {variant.split("=")[0]} if name != "c3d" else ()
        ),
        lambda name, variant: selection.parameters_of(name),
    )
    return selection.longest(
        fast,
        lambda name, variant: (
            name.endswith(("-101", "-152")) or bool(variant and (name, variant) not in smallest)
        ),
    )


@lru_cache(maxsize=1)
def quick_weights(name: str) -> dict[str, np.ndarray]:
    """Random float32 weights of one table and of all its variants, kept in range over depth."""
    table = vmz_tables()[name]
    blobs = dict(table.blobs)
    for change in table.variants.values():
        for blob, shape in change["blobs_changed"].items():
            blobs[f"{blob} {shape}"] = tuple(shape)
    return {blob: quick_array(blob.split()[0], shape) for blob, shape in blobs.items()}


def quick_array(blob: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(blob.encode()))
    if blob.endswith("_w"):
        return random.standard_normal(shape, np.float32) * np.float32(sqrt(2 / prod(shape[1:])))
    if blob.endswith(("_s", "_riv")):
        return random.random(shape, np.float32) * np.float32(0.5) + np.float32(0.5)
    return random.standard_normal(shape, np.float32) * np.float32(0.1)


def small_inputs(table: VmzTable) -> list[np.ndarray]:
    """Odd sizes, as small as the network takes: r2d wants all its frames, C3D 96 pixels."""
    random = np.random.default_rng(5)
    frames, height, width = 9, 37, 43
    if table.model == "c3d":
        frames, height, width = 17, 97, 99
    if table.model == "r2d":
        frames = table.flags["clip_length"]
    logmels = random.standard_normal((2, 1, 100, 40), np.float32)
    if "audio_input_3d" in table.flags:
        logmels = random.standard_normal((2, 3, 100, 40), np.float32)
    clip = random.standard_normal((2, table.flags["num_channels"], frames, height, width), np.float32)
    if table.model == "a_resnet":
        return [logmels]
    return [clip, logmels] if table.model.startswith("av_") else [clip]


@pytest.mark.parametrize(("name", "variant"), op_lists())
def test_operator_list(name: str, variant: str) -> None:
    weights = quick_weights(name)
    table = vmz_tables()[name]
    if variant:
        table = table.variant(variant)
    arrays = {
        blob: weights.get(f"{blob} {list(shape)}", weights.get(blob)) for blob, shape in table.blobs.items()
    }
    inputs = [torch.from_numpy(array) for array in small_inputs(table)]
    blobs = {blob: torch.from_numpy(array) for blob, array in arrays.items()}
    blobs["data"] = inputs[0]
    if len(inputs) == 2:
        blobs["logmels"] = inputs[1]
    model = loaded(
        canonical_names.vmz_spec(name, table),
        canonical_names.squeezed(canonical_names.vmz_names(table), arrays),
        eps=VMZ_EPS,
        **canonical_names.settings_of_flags(table.flags),
    )
    heads = {"logits": table.output}
    if "g_blend" in table.flags:
        heads |= {"audio_logits": f"a_{table.output}", "video_logits": f"v_{table.output}"}
    with torch.inference_mode():
        values = caffe2_ops.run(table.ops, blobs)
        points = model.end_points(*inputs)
    for point, blob in heads.items():
        assert points[point].shape == (2, table.flags["num_labels"])
        assert relative(points[point], values[blob].flatten(1)) <= 1e-5


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


# What a network promises


def small_spec(**changes: tuple[int, ...] | None) -> NetworkSpec:
    """R3D-18 with one tensor changed or (None) taken out."""
    spec = canonical_names.vmz_spec("r3d-18", vmz_tables()["r3d-18"])
    shapes = {**spec.shapes, **changes}
    return NetworkSpec(
        spec.family, spec.variant, {name: shape for name, shape in shapes.items() if shape}, spec.settings
    )


def filled(name: str, **choices):
    table = vmz_tables()[name]
    state = canonical_names.squeezed(
        canonical_names.vmz_names(table),
        {blob: quick_array(blob, shape) for blob, shape in table.blobs.items()},
    )
    return loaded(canonical_names.vmz_spec(name, table), state, eps=VMZ_EPS, **choices)


@pytest.mark.parametrize("name", sorted(vmz_tables()))
def test_state_dict_is_the_spec(name: str) -> None:
    spec = canonical_names.vmz_spec(name, vmz_tables()[name])
    model = canonical_names.built(spec, 0.25)
    state = model.state_dict()
    counters = {key for key in state if key.endswith(".num_batches_tracked")}
    assert {key: tuple(tensor.shape) for key, tensor in state.items() if key not in counters} == spec.shapes
    assert counters == {
        key.replace("running_var", "num_batches_tracked")
        for key in spec.shapes
        if key.endswith("running_var")
    }
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.25, 0.1)}
    assert all(tensor.is_meta for tensor in state.values())


def test_end_points_in_order() -> None:
    model = filled("ir-csn-26", pool1=True)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.inference_mode():
        points = model.end_points(clip)
        assert torch.equal(model(clip), points["logits"])
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert list(points) == ["stem", "pool1", *blocks, "pool", "logits"]
    assert [tuple(points[name].shape) for name in ("stem", "pool1", "layer4.1", "pool", "logits")] == [
        (1, 64, 4, 16, 16),
        (1, 64, 4, 8, 8),
        (1, 512, 1, 1, 1),
        (1, 512),
        (1, 400),
    ]


def test_a_shown_block_is_not_changed_later() -> None:
    """Activations work in place: what `steps` gave must stay what it was."""
    model = filled("ip-csn-26")
    seen = []
    with torch.inference_mode():
        for name, out in model.steps(torch.randn(1, 3, 4, 32, 32)):
            seen.append((name, out, out.clone()))
    assert all(torch.equal(out, copy) for _, out, copy in seen)


@pytest.mark.parametrize("name", ["r2plus1d-18", "ip-csn-26", "a_resnet-18"])
def test_gradients_reach_every_parameter(name: str) -> None:
    model = filled(name).train()
    shape = (2, 1, 100, 40) if name.startswith("a_") else (2, 3, 4, 32, 32)
    model(torch.randn(shape)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer4.1.conv2.conv.weight": None}, "no shape for tensor layer4.1.conv2.conv.weight"),
        ({"layer1.2.conv1.conv.weight": (64, 64, 3, 3, 3)}, r"layer1\.2\.conv1\.conv\.weight: absent for"),
        ({"layer2.0.conv1.conv.weight": (128, 48, 3, 3, 3)}, "in groups of 48 and gets 64"),
        ({"layer3.0.conv1.conv.weight": (256, 128, 3, 3)}, "3 kernel axes expected, got 2"),
        ({"layer2.0.conv1.bn.running_var": (127,)}, r"running_var: \(128,\) for \(127,\)"),
        ({"layer2.0.shortcut.bn.bias": None}, "shortcut.bn.bias: .* for absent"),
        ({"head.weight": (400, 500)}, "head.weight takes 500 inputs and gets 512"),
    ],
)
def test_shapes_that_make_no_network(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canonical_names.built(small_spec(**changes), VMZ_EPS)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("blocks", [2, 2, 2], "setting blocks: expected 4 integers"),
        ("blocks", [2, 2, 2, True], "setting blocks: expected positive integers"),
        ("block", "dense", "setting block: expected one of 'simple', 'bottleneck', got 'dense'"),
        ("factorised", 1, "setting factorised: expected true or false"),
        ("stem_padding_t", 1, "setting stem_padding_t: expected one of 'same', 0, got 1"),
        ("temporal_strides", None, "setting temporal_strides is missing"),
    ],
)
def test_config_that_makes_no_network(key: str, value: object, message: str) -> None:
    spec = small_spec()
    config = {**spec.settings, key: value}
    if value is None:
        del config[key]
    with pytest.raises(ValueError, match=message):
        canonical_names.built(NetworkSpec(spec.family, spec.variant, spec.shapes, config), VMZ_EPS)


def test_choices_a_family_does_not_have() -> None:
    with pytest.raises(ValueError, match="unknown network family 'resnet4d'"):
        canonical_names.built(NetworkSpec("resnet4d", "", {}), VMZ_EPS)
    spec = canonical_names.vmz_spec("c3d", vmz_tables()["c3d"])
    with pytest.raises(ValueError, match="c3d_bn has neither pool1 nor a stem stride"):
        canonical_names.built(spec, VMZ_EPS, pool1=True)


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        ("r3d-18", [(3, 8, 32, 32)], r"expected \[N, C, T, H, W\], got 4 axes"),
        ("r3d-18", [(1, 2, 8, 32, 32)], "with 3 channels, got 2"),
        ("r3d-18", [(1, 3, 8, 0, 32)], "with at least one of each"),
        ("r2d-18", [(1, 3, 7, 32, 32)], "at least 8 frames, got 7"),
        ("r2plus1d-18", [(1, 45, 8, 32, 32)], "with 3 channels, got 45"),
        ("c3d", [(1, 3, 16, 128, 112)], "16x128x112 leaves 1x4x3 positions and fc6 takes 9"),
        ("c3d", [(1, 3, 15, 112, 112)], "leaves 0x3x3"),
        ("a_resnet-18", [(1, 100, 40)], r"expected \[N, C, T, F\], got 3 axes"),
        ("av_resnet-r3d-18", [(1, 3, 8, 32, 32), (2, 1, 100, 40)], "as many log-mels as clips, got 2 and 1"),
    ],
)
def test_inputs_that_do_not_fit(name: str, shapes: list, message: str) -> None:
    model = canonical_names.built(canonical_names.vmz_spec(name, vmz_tables()[name]), VMZ_EPS).eval()
    with pytest.raises(ValueError, match=message):
        model(*(torch.empty(shape, device="meta") for shape in shapes))


def test_specs_do_not_import_torch() -> None:
    code = "import sys, converters.networks; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    root = REPOSITORY
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# The recipes themselves, by worked values


def first(array: np.ndarray) -> list[float]:
    return array.ravel()[:3].tolist()


def test_caffe2_recipe_values() -> None:
    arrays = seeded_weights.vmz_weights(vmz_tables()["r2plus1d-18"].blobs, 5100)
    expected = {
        "comp_0_conv_1_middle_w": [-0.0277026426, 0.0395334922, -0.048445832],
        "comp_0_spatbn_2_s": [0.219305813, 0.272781193, 0.243657649],
        "comp_0_spatbn_2_riv": [0.661368251, 1.16609788, 0.858076572],
        "conv1_middle_w": [0.0572939292, 0.0632981881, -0.127062693],
    }
    for blob, values in expected.items():
        assert first(arrays[blob]) == pytest.approx(values, rel=1e-8)
    (clip,) = seeded_weights.vmz_inputs(8100, (2, 3, 16, 103, 110))
    assert first(clip) == pytest.approx([0.238444313, 0.0837385729, -0.285309404], rel=1e-8)


@pytest.mark.full
def test_target_recipe_values() -> None:
    arrays = seeded_weights.target_weights(target_tables()["vmz-pt/r2plus1d_34"].keys, 1304, 1.0)
    expected = {
        "fc.bias": [-0.022863403, 0.030095339, -0.16162515],
        "stem.0.weight": [-0.09107227, -0.00177825, 0.024937902],
        "stem.1.running_var": [1.1141206, 1.1745739, 1.1581491],
    }
    for key, values in expected.items():
        assert first(arrays[key]) == pytest.approx(values, abs=1e-8, rel=1e-7)
    clip = seeded_weights.target_input(1304, (2, 3, 8, 64, 80))
    assert first(clip) == pytest.approx([0.15908194, -0.00043336637, -0.39094603], rel=1e-7)
