"""Reference tables in the canonical vocabulary, written for the tests alone.

The product maps names by its own tables; this second way there, by rules on names, is evidence that does not
depend on them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from converters.networks import NetworkSpec, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.networks.layers import Network
    from tests.helpers.upstream_tables import VmzTable

BLOCKS = {
    18: [2, 2, 2, 2],
    26: [2, 2, 2, 2],
    34: [3, 4, 6, 3],
    50: [3, 4, 6, 3],
    101: [3, 4, 23, 3],
    152: [3, 8, 36, 3],
}
_LEAVES = {"w": "weight", "b": "bias"}
_NORM_LEAVES = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
_FIXED = {
    "conv1_middle": "stem.middle.conv",
    "conv1_middle_spatbn_relu": "stem.middle.bn",
    "conv1": "stem.conv",
    "conv1_spatbn_relu": "stem.bn",
    "av_fc1": "fuse1",
    "av_fc2": "fuse2",
    "fc6": "fc6",
    "fc7": "fc7",
}


def built(spec: NetworkSpec, eps: float, **settings: object) -> Network:
    """The network of a spec with the eps of its norms and further settings."""
    return build(replace(spec, settings={**spec.settings, "bn_eps": eps, **settings}))


def settings_of_flags(flags: Mapping[str, int]) -> dict[str, object]:
    """What VMZ's flags say of a network beside its shapes; what is off is left out, as C3D has no such settings."""
    found: dict[str, object] = {}
    if flags.get("use_pool1"):
        found["pool1"] = True
    if flags.get("conv1_temporal_stride", 1) != 1:
        found["stem_stride"] = flags["conv1_temporal_stride"]
    return found


def vmz_spec(name: str, table: VmzTable) -> NetworkSpec:
    """The network of a VMZ table. Fully convolutional heads lose their three ones."""
    names = vmz_names(table)
    shapes = {names[blob]: _squeezed(blob, shape) for blob, shape in table.blobs.items()}
    if table.model == "c3d":
        return NetworkSpec("c3d_bn", name, shapes)
    audio = {
        "blocks": [3, *BLOCKS.get(table.depth, [])],
        "spatial_strides": [2, 2, 2, 2, 2],
        "block": "simple" if table.depth in (18, 34) else "bottleneck",
    }
    if table.model == "a_resnet":
        return NetworkSpec("resnet2d_audio", name, shapes, audio)
    model = table.model.removeprefix("av_resnet-")
    if table.model.startswith("av_resnet-"):
        return NetworkSpec(
            "audiovisual", name, shapes, {"video": video_config(model, table.depth), "audio": audio}
        )
    return NetworkSpec("resnet3d", name, shapes, video_config(model, table.depth))


def video_config(model: str, depth: int) -> dict[str, object]:
    """What the shapes do not tell, from the definition of each network."""
    if match := re.fullmatch(r"(r?)mc(\d)", model):
        reverse, first = bool(match[1]), int(match[2])
        # Stage s is conv_{s+1}x: up to conv_{first-1}x they are 3-D in mcN and 2-D in rmcN.
        deep = [(stage + 1 >= first) == reverse for stage in (1, 2, 3, 4)]
    else:
        deep = [model not in ("r2d", "r2df")] * 4
    return {
        "blocks": BLOCKS[depth],
        "temporal_strides": [2 if stage and deep[stage] else 1 for stage in range(4)],
        "spatial_strides": [1, 2, 2, 2],
        "block": "simple" if depth in (18, 34) else "bottleneck",
        "factorised": model == "r2plus1d",
        "middle_relu": model != "ip-csn",
        "stem_padding_t": 0 if model == "r2d" else "same",
    }


def vmz_names(table: VmzTable) -> dict[str, str]:
    """Canonical name of every blob of a VMZ table."""
    units: dict[str, list[int]] = {}
    for blob in table.blobs:
        if match := re.fullmatch(r"((?:[av]_)?comp_\d+)_conv_(\d+)_w", blob):
            units.setdefault(match[1], []).append(int(match[2]))
    return {blob: _vmz_name(blob, units, BLOCKS.get(table.depth, []), table.model) for blob in table.blobs}


def _vmz_name(blob: str, units: Mapping[str, list[int]], blocks: list[int], model: str) -> str:
    module, leaf = re.fullmatch(r"(.+)_(w|b|s|rm|riv)", blob).groups()
    leaf = (_NORM_LEAVES if re.search(r"_(spatbn|bn)", module) else _LEAVES)[leaf]
    prefix = {"a_": "audio.", "v_": "video."}.get(module[:2], "")
    inner = module[2:] if prefix else module
    if inner.startswith("last_out_L"):
        return f"{prefix.replace('.', '_')}head.{leaf}"
    if re.match(r"conv\d[ab]", inner):
        return f"{inner.removesuffix('_bn')}.{'bn' if inner.endswith('_bn') else 'conv'}.{leaf}"
    stages = [3, *blocks] if prefix == "audio." or model == "a_resnet" else blocks
    first = 5 - len(stages)
    if match := re.fullmatch(r"comp_(\d+)_(conv|spatbn)_(\d+)(_middle)?", inner):
        _, block, kind, index, middle = match[0], *match.groups()
        owner = module[: module.index(f"_{kind}_")]
        unit = sorted(units[owner]).index(int(index)) + 1
        end = f"conv{unit}{'.middle' if middle else ''}.{'conv' if kind == 'conv' else 'bn'}"
    elif match := re.fullmatch(r"shortcut_projection_(\d+)(_spatbn)?", inner):
        block, end = match[1], "shortcut.bn" if match[2] else "shortcut.conv"
    else:
        return f"{prefix}{_FIXED[inner]}.{leaf}"
    return f"{prefix}{_layer(int(block), stages, first)}.{end}.{leaf}"


def vmz_end_point(blob: str, table: VmzTable) -> str:
    """The name among a network's end points of an inner blob of a VMZ golden."""
    if table.model == "c3d":
        return blob
    prefix = {"a_": "audio.", "v_": "video."}.get(blob[:2], "")
    inner = blob[2:] if prefix else blob
    if prefix and inner.startswith("last_out_L"):
        return f"{prefix.removesuffix('.')}_logits"
    if match := re.fullmatch(r"comp_(\d+)_sum_\d+", inner):
        blocks = BLOCKS[table.depth]
        stages = [3, *blocks] if prefix == "audio." or table.model == "a_resnet" else blocks
        return prefix + _layer(int(match[1]), stages, 5 - len(stages))
    return (
        prefix
        + {
            "conv1": "stem",
            "conv1_spatbn_relu": "stem",
            "final_avg": "pool",
            "av_fc1": "fuse1",
            "av_fc2": "fuse2",
        }[inner]
    )


def _layer(block: int, stages: list[int], first: int) -> str:
    for stage, count in enumerate(stages, first):
        if block < count:
            return f"layer{stage}.{block}"
        block -= count
    raise ValueError(f"no block {block} in {stages}")


def _squeezed(blob: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if re.search(r"last_out_L|av_fc", blob) else shape


def squeezed(names: Mapping[str, str], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by blob as arrays by canonical name."""
    return {names[blob]: array.reshape(_squeezed(blob, array.shape)) for blob, array in arrays.items()}
