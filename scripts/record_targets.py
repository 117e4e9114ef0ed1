#!/usr/bin/env python3
"""Record what PyTorch projects' own networks compute: tests/goldens/targets/*.npz, recipe T of tests/goldens/README.md.

    python scripts/record_targets.py --list
    python scripts/record_targets.py --repos DIR --only pytorchvideo-create_csn_50 --out tests/goldens/targets
    python scripts/record_targets.py --repos DIR --check tests/goldens/*targets/*.npz

A project is imported only where one of its networks is built: from what is installed, or from ``DIR/<repository>``,
a checkout. Nothing of this project is imported. ``--check`` runs recorded networks again and compares: hashes and
shapes exactly, numbers to 1e-6 of the largest; files of projects that cannot be imported are named and left out.
Exits with 1 where something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SAMPLES = 64
AGREE = 1e-6


class Network(NamedTuple):
    """A network to record. ``folder`` is the path of its modules in ``repository``; ``stages`` are modules by the names
    they are recorded under, ``logits`` is the module that gives them where the network's output is something else."""

    build: Callable[[], nn.Module]
    source: str
    seed: int
    gain: float
    shape: tuple[int, ...]
    stages: Mapping[str, str]
    repository: str = ""
    folder: str = ""
    logits: str = ""
    note: str = ""


def module(name: str) -> Any:
    """A module of a project, imported when it is needed."""
    return importlib.import_module(name)


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    """A constructor of torchvision.models.video."""
    return lambda: getattr(module("torchvision.models.video"), name)()


def pytorchvideo_csn() -> nn.Module:
    """ir-CSN-50 with a head for a last map of 1x2x2."""
    csn = module("pytorchvideo.models.csn")
    return csn.create_csn(model_depth=50, stem_pool=nn.MaxPool3d, head_pool_kernel_size=(1, 2, 2))


def pytorchvideo_r2plus1d() -> nn.Module:
    """The hub's network as it is, its head's windows 4x7x7."""
    return module("pytorchvideo.models.hub").r2plus1d_r50()


def vmz_ir_csn_50() -> nn.Module:
    """Depth 50 of VMZ's port, which has no constructor of its own."""
    video, csn = module("torchvision.models.video.resnet"), module("models.csn")
    return csn._generic_resnet(
        "ir_csn_50",
        block=video.Bottleneck,
        conv_makers=[csn.Conv3DDepthwise] * 4,
        layers=[3, 4, 6, 3],
        stem=csn.BasicStem_Pool,
    )


class Recognizer(nn.Module):
    """Backbone and head of a recogniser of OpenMMLab, without its preprocessing."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.backbone, self.cls_head = whole.backbone, whole.cls_head

    def forward(self, clip: Tensor) -> Tensor:
        """[N, C, T, H, W] -> class scores [N, classes]."""
        scores: Tensor = self.cls_head(self.backbone(clip))
        return scores


def mmaction2(
    config: str, seed: int, gain: float, shape: tuple[int, ...], stages: Mapping[str, str]
) -> Network:
    """A recogniser of one of mmaction2's configurations."""

    def build() -> nn.Module:
        path = Path(module("mmaction").__file__).parent.parent / "configs" / "recognition" / config
        settings = module("mmengine").Config.fromfile(path)
        module("mmaction.utils").register_all_modules(init_default_scope=True)
        settings.model.backbone.pretrained = None
        return Recognizer(module("mmaction.registry").MODELS.build(settings.model))

    source = f"open-mmlab/mmaction2 configs/recognition/{config}"
    return Network(build, source, seed, gain, shape, stages, "mmaction2")


FOUR = {f"layer{stage}": f"layer{stage}" for stage in (1, 2, 3, 4)}
STEM = {"stem": "stem", **FOUR}
C3D = {name: name for name in ("pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7")}
BLOCKS = {f"blocks.{number}": f"blocks.{number}" for number in range(6)}
I3D = (
    "Conv3d_1a_7x7",
    "MaxPool3d_2a_3x3",
    "Conv3d_2c_3x3",
    "Mixed_3c",
    "MaxPool3d_4a_3x3",
    "Mixed_4f",
    "Mixed_5c",
)
I3D_STAGES = {name: name for name in I3D}
BACKBONE = {"stem": "backbone.maxpool", **{label: f"backbone.{path}" for label, path in FOUR.items()}}
SMALL = {name[0].lower() + name[1:]: name[0].lower() + name[1:] for name in I3D}

NETWORKS = {
    "torchvision-r3d_18": Network(
        torchvision_model("r3d_18"), "torchvision.models.video.r3d_18", 1311, 1, (2, 3, 10, 64, 80), STEM
    ),
    "torchvision-mc3_18": Network(
        torchvision_model("mc3_18"), "torchvision.models.video.mc3_18", 1312, 1, (2, 3, 10, 64, 80), STEM
    ),
    "torchvision-r2plus1d_18": Network(
        torchvision_model("r2plus1d_18"), "torchvision.models.video.r2plus1d_18", 1313, 1, (2, 3, 10, 64, 80), STEM
    ),
    "vmz-pt-ip_csn_152": Network(
        lambda: module("models.csn").ip_csn_152(),
        "facebookresearch/VMZ pt/vmz/models csn.ip_csn_152()",
        1302, 1, (1, 3, 12, 80, 64), STEM, "VMZ", "pt/vmz",
    ),
    "vmz-pt-ir_csn_50": Network(
        vmz_ir_csn_50,
        "facebookresearch/VMZ pt/vmz/models utils._generic_resnet(layers=[3,4,6,3])",
        1303, 1, (2, 3, 8, 72, 96), STEM, "VMZ", "pt/vmz",
    ),
    "vmz-pt-r2plus1d_34": Network(
        lambda: module("models.r2plus1d").r2plus1d_34(),
        "facebookresearch/VMZ pt/vmz/models r2plus1d.r2plus1d_34()",
        1304, 1, (2, 3, 8, 64, 80), STEM, "VMZ", "pt/vmz",
    ),
    "pytorchvideo-create_csn_50": Network(
        pytorchvideo_csn,
        "facebookresearch/pytorchvideo models.csn.create_csn(model_depth=50, stem_pool=MaxPool3d)",
        1501, 1, (2, 3, 8, 64, 64), BLOCKS, "pytorchvideo",
        note="head_pool_kernel_size=(1, 2, 2), the size of the last map",
    ),
    "pytorchvideo-r2plus1d_r50": Network(
        pytorchvideo_r2plus1d,
        "facebookresearch/pytorchvideo models.hub.r2plus1d_r50()",
        1504, 1, (1, 3, 16, 256, 224), {name: name for name in list(BLOCKS)[:5]}, "pytorchvideo",
        logits="blocks.5.proj",
        note="the last map is 4x8x7, larger than the head's windows; logits are the mean over the windows of what is "
        "in front of the softmax",
    ),
    "mmaction2-ipcsn_152_k400": mmaction2(
        "csn/ipcsn_ig65m-pretrained-r152-bnfrozen_32x2x1-58e_kinetics400-rgb.py",
        1202, 1, (1, 3, 12, 80, 64), BACKBONE,
    ),
    "mmaction2-ircsn_50_k400": mmaction2(
        "csn/ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb.py",
        1203, 1, (2, 3, 8, 72, 96), BACKBONE,
    ),
    "mmaction2-r2plus1d_34_8x8_k400": mmaction2(
        "r2plus1d/r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb.py",
        1204, 1, (2, 3, 8, 72, 80), BACKBONE,
    ),
    "mmaction2-c3d_ucf101": mmaction2(
        "c3d/c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb.py",
        1206, 2, (1, 3, 17, 120, 116), {name: f"backbone.{name}" for name in C3D},
    ),
    "c3d-davidea_487": Network(
        lambda: module("C3D_model").C3D(),
        "DavideA/c3d-pytorch C3D_model.C3D()",
        1405, 2, (1, 3, 17, 120, 116), C3D, "c3d-pytorch", logits="fc8",
        note="the network returns probabilities",
    ),
    "c3d-jfzhang95_101": Network(
        lambda: module("network.C3D_model").C3D(num_classes=101),
        "jfzhang95/pytorch-video-recognition network/C3D_model.C3D(num_classes=101)",
        1406, 2, (2, 3, 16, 112, 124), C3D, "pytorch-video-recognition",
    ),
    "pytorch-i3d-piergiaj_rgb_400": Network(
        lambda: module("pytorch_i3d").InceptionI3d(400, in_channels=3),
        "piergiaj/pytorch-i3d pytorch_i3d.InceptionI3d(400, in_channels=3)",
        1401, 1, (1, 3, 24, 224, 224), I3D_STAGES, "pytorch-i3d", note="one vector of logits for every window",
    ),
    "pytorch-i3d-piergiaj_flow_400": Network(
        lambda: module("pytorch_i3d").InceptionI3d(400, in_channels=2),
        "piergiaj/pytorch-i3d pytorch_i3d.InceptionI3d(400, in_channels=2)",
        1402, 1, (1, 2, 32, 224, 224), I3D_STAGES, "pytorch-i3d", note="one vector of logits for every window",
    ),
    "pytorch-i3d-hassony2_rgb_400": Network(
        lambda: module("src.i3dpt").I3D(400, modality="rgb"),
        "hassony2/kinetics_i3d_pytorch src/i3dpt.I3D(400, modality='rgb')",
        1403, 1, (1, 3, 32, 224, 224), SMALL, "kinetics_i3d_pytorch",
    ),
    "pytorch-i3d-video_features_rgb_400": Network(
        lambda: module("models.i3d.i3d_src.i3d_net").I3D(400, modality="rgb"),
        "v-iashin/video_features models/i3d/i3d_src/i3d_net.I3D(400, modality='rgb')",
        1404, 1, (1, 3, 24, 224, 224), SMALL, "video_features",
    ),
}  # fmt: skip


def weights(state: Mapping[str, Tensor], seed: int, gain: float) -> dict[str, np.ndarray]:
    """Recipe T for a state dict: float32, and int64 counters of batches."""
    random = np.random.RandomState(seed)
    arrays: dict[str, np.ndarray] = {}
    for name in sorted(state):
        shape = tuple(state[name].shape)
        if name.endswith("num_batches_tracked"):
            arrays[name] = np.zeros(shape, np.int64)
            continue
        if name.endswith("running_var"):
            value = random.uniform(0.5, 1.5, shape)
        elif name.endswith("running_mean"):
            value = 0.1 * random.standard_normal(shape)
        elif len(shape) >= 2:
            value = sqrt(gain / prod(shape[1:])) * random.standard_normal(shape)
        elif name.endswith("weight"):
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = 0.1 * random.standard_normal(shape)
        arrays[name] = value.astype(np.float32)
    return arrays


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names and bytes, counters left out."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        if not name.endswith("num_batches_tracked"):
            found.update(name.encode())
            found.update(np.ascontiguousarray(arrays[name], "<f4").tobytes())
    return found.hexdigest()


def run(model: nn.Module, network: Network, clip: Tensor) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits and stages, in the precision that the model and the clip have."""
    seen: dict[str, Tensor] = {}
    wanted = {**network.stages, "logits": network.logits} if network.logits else dict(network.stages)
    hooks = [
        model.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, out, label=label: seen.update({label: out.detach().clone()})
        )
        for label, path in wanted.items()
    ]
    with torch.inference_mode():
        out = model(clip)
    for hook in hooks:
        hook.remove()
    logits = seen.pop("logits", out[-1] if isinstance(out, tuple) else out)
    if logits.dim() == 5:  # a classifier at every window, its classes last
        logits = logits.mean(dim=(1, 2, 3))
    return logits.numpy(), [seen[label].numpy() for label in network.stages]


def described(stages: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean, deviation, largest and L2 norm of every stage, and 64 of its values."""
    flat = [stage.ravel() for stage in stages]
    stats = [[one.mean(), one.std(), np.abs(one).max(), np.linalg.norm(one)] for one in map(np.float64, flat)]
    samples = [one[np.arange(SAMPLES) * (one.size - 1) // (SAMPLES - 1)] for one in flat]
    return np.array(stats), np.array(samples)


def forget(repos: str, path: str) -> None:
    """Unload what came from other checkouts than ``path``: several have a package of the same name."""
    for name, loaded in list(sys.modules.items()):
        file = str(getattr(loaded, "__file__", None) or "")
        if file.startswith(repos) and not file.startswith(path):
            del sys.modules[name]


def record(name: str, repos: Path | None) -> dict[str, Any]:
    """The arrays of one golden."""
    network = NETWORKS[name]
    path = str(repos / network.repository / network.folder) if repos and network.repository else ""
    before = list(sys.path)
    if path:
        forget(str(repos), path)
        sys.path.insert(0, path)
    try:
        model = network.build().eval()
    finally:
        sys.path[:] = before
    arrays = weights(model.state_dict(), network.seed, network.gain)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    clip = np.random.RandomState(network.seed + 1000003).standard_normal(network.shape).astype(np.float32)
    found: dict[str, Any] = {}
    relative = []
    for kind, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        logits, stages = run(model.to(dtype), network, torch.from_numpy(clip).to(dtype))
        found[f"{kind}/logits"] = logits
        found[f"{kind}/stats"], found[f"{kind}/samples"] = described(stages)
        relative.append(logits)
    largest = np.abs(relative[1]).max()
    ecosystem = (
        next(known for known in ("pytorch-i3d", "vmz-pt", "") if name.startswith(known)) or name.split("-")[0]
    )
    meta = {
        "recipe": "T",
        "ecosystem": ecosystem,
        "model": name.removeprefix(f"{ecosystem}-"),
        "source": network.source,
        "seed": network.seed,
        "gain": float(network.gain),
        "input_shape": list(network.shape),
        "weights_sha256": digest(arrays),
        "input_sha256": hashlib.sha256(clip.astype("<f4").tobytes()).hexdigest(),
        "note": network.note or "none",
        "torch": torch.__version__.partition("+")[0],
        "rel_f32_vs_f64": float(np.abs(relative[0] - relative[1]).max() / largest),
        "stages": list(network.stages),
        "stage_shapes": [list(stage.shape) for stage in stages],
    }
    return {"meta": json.dumps(meta), **found}


def check(path: Path, repos: Path | None) -> bool | None:
    """Whether a recorded file comes out again; None if its network is not here or cannot be built."""
    if path.stem not in NETWORKS:
        print(f"{path.stem}: left out, this script does not build it")
        return None
    try:
        ours = record(path.stem, repos)
    except ImportError as error:
        print(f"{path.stem}: left out, {error}")
        return None
    golden = np.load(path)
    was, now = json.loads(str(golden["meta"])), json.loads(ours["meta"])
    for key in ("weights_sha256", "input_sha256", "input_shape", "stages", "stage_shapes"):
        if was[key] != now[key]:
            print(f"{path.stem}: {key} differs")
            return False
    worst = 0.0
    for key in ("f64/logits", "f64/samples", "f64/stats"):
        scale = np.abs(golden[key]).max(axis=None if key.endswith("logits") else 1, keepdims=True)
        worst = max(worst, float((np.abs(ours[key] - golden[key]) / scale).max()))
    print(f"{path.stem}: {worst:.1e}")
    return worst <= AGREE


def main() -> int:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--list", action="store_true", help="names, inputs, sources")
    parser.add_argument("--repos", type=Path, help="a folder of checkouts, by repository name")
    parser.add_argument("--only", action="append", help="record this one; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("tests/goldens/targets"))
    parser.add_argument("--check", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.repos:
        options.repos = options.repos.resolve()
    torch.set_num_threads(1)
    if options.list:
        for name, network in NETWORKS.items():
            print(f"{name}  {'x'.join(map(str, network.shape))}  {network.source}")
        return 0
    if options.check:
        return int(any(check(path, options.repos) is False for path in options.check))
    for name in options.only or NETWORKS:
        np.savez_compressed(options.out / f"{name}.npz", **record(name, options.repos))
        print(f"recorded {options.out / name}.npz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
