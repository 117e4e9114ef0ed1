"""Reference tables in the canonical vocabulary, written for the tests alone.

The product maps names by its own tables; this second way there, by rules on names, is evidence that does not
depend on them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from converters.networks import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tables import TargetTable, VmzTable

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


_TORCHVISION = [
    (r"layer(\d)\.(\d+)\.conv(\d)\.0\.0\.", r"layer\1.\2.conv\3.middle.conv."),
    (r"layer(\d)\.(\d+)\.conv(\d)\.0\.1\.", r"layer\1.\2.conv\3.middle.bn."),
    (r"layer(\d)\.(\d+)\.conv(\d)\.0\.([23]\.)?", r"layer\1.\2.conv\3.conv."),
    (r"layer(\d)\.(\d+)\.conv(\d)\.1\.", r"layer\1.\2.conv\3.bn."),
    (r"downsample\.0\.", "shortcut.conv."),
    (r"downsample\.1\.", "shortcut.bn."),
    (r"^fc\.", "head."),
]
_PLAIN_STEM = [(r"^stem\.0\.", "stem.conv."), (r"^stem\.1\.", "stem.bn.")]
_SPLIT_STEM = [
    (r"^stem\.0\.", "stem.middle.conv."),
    (r"^stem\.1\.", "stem.middle.bn."),
    (r"^stem\.3\.", "stem.conv."),
    (r"^stem\.4\.", "stem.bn."),
]
_MMACTION = [
    (r"^backbone\.conv1_s\.", "stem.middle.conv."),
    (r"^backbone\.bn1_s\.", "stem.middle.bn."),
    (r"^backbone\.(conv|bn)1(_t)?\.", r"stem.\1."),
    (r"^backbone\.", ""),
    (r"^cls_head\.fc_cls\.", "head."),
    (r"(conv\d)\.conv_[sT]\.", r"\1.middle.conv."),
    (r"(conv\d)\.bn_[sT]\.", r"\1.middle.bn."),
    (r"(conv\d)\.conv_[tC]\.", r"\1.conv."),
    (r"\.conv(\d)\.(weight)$", r".conv\1.conv.\2"),
    (r"\.bn(\d)\.", r".conv\1.bn."),
    (r"^(layer.*)\.conv3\.(conv|bn)\.", r"\1.shortcut.\2."),
]
_MMACTION_BOTTLENECK = [(rf"\.conv{index}\.", f".conv{index + 1}.") for index in (2, 1, 0)]
_MMACTION2 = [
    (r"^backbone\.conv1\.", "stem."),
    (r"^backbone\.", ""),
    (r"^cls_head\.fc_cls\.", "head."),
    (r"downsample\.", "shortcut."),
]
_MMACTION2_IR = [(r"\.conv2\.0\.", ".conv2.")]
_MMACTION2_IP = [(r"\.conv2\.0\.", ".conv2.middle."), (r"\.conv2\.1\.", ".conv2.")]


def target_names(name: str, keys: Iterable[str]) -> dict[str, str]:
    """Canonical name of every key of a target table ``ecosystem/model``, without ``num_batches_tracked``."""
    keys = [key for key in keys if not key.endswith("num_batches_tracked")]
    ecosystem = name.split("/")[0]
    text = "\n".join(keys)
    if ecosystem == "mmaction":
        rules = [*_MMACTION, *(_MMACTION_BOTTLENECK if ".conv0." in text else [])]
        letters: dict[str, list[str]] = {}
        for key in keys:
            if match := re.match(r"backbone\.(layer\d)\.([a-z]+)\.", key):
                seen = letters.setdefault(match[1], [])
                if match[2] not in seen:
                    seen.append(match[2])
        for layer, seen in letters.items():
            rules += [(rf"^{layer}\.{letter}\.", f"{layer}.{index}.") for index, letter in enumerate(seen)]
    elif ecosystem == "mmaction2":
        rules = [*_MMACTION2, *(_MMACTION2_IP if ".conv2.1." in text else _MMACTION2_IR)]
    else:
        rules = [*(_SPLIT_STEM if "stem.3." in text else _PLAIN_STEM), *_TORCHVISION]
    names = {}
    for key in keys:
        canonical = key
        for pattern, replacement in rules:
            canonical = re.sub(pattern, replacement, canonical)
        names[key] = canonical
    return names


def target_spec(name: str, table: TargetTable) -> NetworkSpec:
    """The network of a target table."""
    names = target_names(name, table.keys)
    shapes = {canonical: table.keys[key] for key, canonical in names.items()}
    kind, depth = re.fullmatch(r".*/(mc3|r3d|r2plus1d|i[rp]_?csn)_(\d+).*", name).groups()
    return NetworkSpec(
        "resnet3d", name, shapes, video_config(kind.replace("_", "").replace("csn", "-csn"), int(depth))
    )
