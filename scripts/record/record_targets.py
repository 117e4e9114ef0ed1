#!/usr/bin/env python3
"""Record what PyTorch projects' own networks compute: tests/goldens/targets/*.npz, recipe T of tests/goldens/README.md.

    python scripts/record/record_targets.py --list
    python scripts/record/record_targets.py --repos DIR --only pytorchvideo-create_csn_50 --out tests/goldens/targets
    python scripts/record/record_targets.py --repos DIR --check tests/goldens/*targets/*.npz
    python scripts/record/record_targets.py --repos DIR --only pytorchvideo-x3d_l --table FILE.json.gz

A project is imported only where one of its networks is built: from what is installed, or from ``DIR/<repository>``,
a checkout. Nothing of this project is imported. Detectors are asked about the regions ``REGIONS``; what they want of
compiled operators is torchvision's RoIAlign. ``--check`` runs recorded networks again and compares: hashes and
shapes exactly, numbers to 1e-6 of the largest; files of projects that cannot be imported are named and left out.
``--table`` writes networks' names, shapes, norms and pools into a file of such tables, in place of goldens.
Exits with 1 where something differs.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import sys
from math import prod, sqrt
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from recording import (
    CLOSE,
    GOLDENS,
    check_all,
    chosen,
    command_line,
    difference,
    load_npz,
    print_list,
    record_all,
    sha256,
    sha256_of_all,
    stem,
)
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Call = Callable[[nn.Module, Tensor, Tensor], Tensor]

SAMPLES = 64
REGIONS = torch.tensor([[0.0, 5, 12, 90, 150], [0, 30, 40, 111, 100], [0, 0, 0, 64, 64]])
"""What detectors are asked about: clip, x1, y1, x2, y2 in pixels of 160x112."""


class Network(NamedTuple):
    """A network to record. ``folder`` is the path of its modules in ``repository``; ``stages`` are modules by the names
    they are recorded under, ``logits`` is the module that gives them where the network's output is something else.
    ``call`` is how a detector is called with regions, ``beside`` names other checkouts that are imported."""

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
    call: Call | None = None
    beside: tuple[str, ...] = ()


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


def temporal_shift(
    seed: int,
    gain: float,
    shape: tuple[int, ...],
    *,
    classes: int = 400,
    segments: int = 8,
    modality: str = "RGB",
    model: str = "resnet50",
    **words: Any,
) -> Network:
    """A network of temporal-shift-module as its checkpoints store it: in a DataParallel, here without a GPU."""

    def build() -> nn.Module:
        quiet = {"print_spec": False, "pretrain": "", "partial_bn": False}
        made = module("ops.models").TSN(classes, segments, modality, model, is_shift=True, **quiet, **words)
        return nn.DataParallel(made)

    more = "".join(f", {name}={value!r}" for name, value in words.items())
    source = f"mit-han-lab/temporal-shift-module ops.models.TSN({classes}, {segments}, {modality!r}, {model!r}{more})"
    stages = {"stem": "module.base_model.maxpool", **{name: f"module.base_model.{name}" for name in FOUR}}
    note = f"{segments} frames of a video"
    return Network(build, source, seed, gain, shape, stages, "temporal-shift-module", note=note)


class Recognizer(nn.Module):
    """Backbone and head of a recogniser of OpenMMLab, without its preprocessing."""

    def __init__(self, whole: nn.Module, segments: int = 0) -> None:
        super().__init__()
        self.backbone, self.cls_head, self.segments = whole.backbone, whole.cls_head, segments

    def forward(self, clip: Tensor) -> Tensor:
        """[N, C, T, H, W], or of 2D recognizers frames, so many ``segments`` of each video, -> class scores
        [N, classes]."""
        more = (self.segments,) if self.segments else ()
        scores: Tensor = self.cls_head(self.backbone(clip), *more)
        return scores


def mmaction2(
    config: str,
    seed: int,
    gain: float,
    shape: tuple[int, ...],
    stages: Mapping[str, str],
    *,
    segments: int = 0,
) -> Network:
    """A recogniser of one of mmaction2's configurations; a 2D one takes ``segments`` of each video."""

    def build() -> nn.Module:
        path = Path(module("mmaction").__file__).parent.parent / "configs" / "recognition" / config
        settings = module("mmengine").Config.fromfile(path)
        module("mmaction.utils").register_all_modules(init_default_scope=True)
        settings.model.backbone.pretrained = None
        return Recognizer(module("mmaction.registry").MODELS.build(settings.model), segments)

    source = f"open-mmlab/mmaction2 configs/recognition/{config}"
    note = f"{segments} frames of a video" if segments else ""
    return Network(build, source, seed, gain, shape, stages, "mmaction2", note=note)


ROI_ALIGN = "RoIAlign is torchvision's"


MMCV_OPS = (
    "mmcv.ops",
    "mmcv.ops.carafe",
    "mmcv.ops.merge_cells",
    "mmcv.ops.modulated_deform_conv",
    "mmcv.ops.multi_scale_deform_attn",
    "mmcv.ops.nms",
    "mmcv.ops.roi_align",
)
"""What mmdet imports of the compiled mmcv, which mmcv-lite has not."""


class Compiled(ModuleType):
    """A module of compiled operators: torchvision's RoIAlign, and for every other a class that nothing makes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return RoIAlign if name in ("RoIAlign", "ROIAlign") else type(name, (), {})


class RoIAlign(nn.Module):
    """torchvision's, with the arguments of mmcv's and of detectron2's."""

    def __init__(
        self,
        output_size: int,
        spatial_scale: float,
        sampling_ratio: int = 0,
        pool_mode: str = "avg",
        aligned: bool = True,
    ) -> None:
        super().__init__()
        assert pool_mode == "avg"
        self.settings = (output_size, spatial_scale, sampling_ratio, aligned)

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """[N, C, H, W] and [K, 5] -> [K, C, size, size]."""
        out: Tensor = module("torchvision.ops").roi_align(x, rois, *self.settings)
        return out


class Detector(nn.Module):
    """Backbone and RoI head of a detector of OpenMMLab."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.backbone, self.roi_head = whole.backbone, whole.roi_head

    def forward(self, clip: Tensor, rois: Tensor) -> Tensor:
        """[N, C, T, H, W] and [K, 5] -> class scores [K, classes]."""
        scores: Tensor = self.roi_head._bbox_forward(self.backbone(clip), rois, [])["cls_score"]
        return scores


def mmaction2_detector(
    config: str, seed: int, shape: tuple[int, ...], stages: Mapping[str, str], gain: float = 1
) -> Network:
    """A detector of one of mmaction2's configurations."""

    def build() -> nn.Module:
        sys.modules |= {name: Compiled(name) for name in MMCV_OPS}
        path = Path(module("mmaction").__file__).parent.parent / "configs" / "detection" / config
        settings = module("mmengine").Config.fromfile(path)
        module("mmaction.utils").register_all_modules(init_default_scope=True)
        settings.model.init_cfg = None
        return Detector(module("mmaction.registry").MODELS.build(settings.model))

    source = f"open-mmlab/mmaction2 configs/detection/{config}"
    return Network(build, source, seed, gain, shape, stages, "mmaction2", note=ROI_ALIGN, call=on_regions)


def in_pathways(alpha: int) -> Call:
    """How a detector is called that takes its pathways in a list: one for ``alpha`` 1, else the slow frames, spread
    over the clip and rounded down, as pytorchvideo's and PySlowFast's own loaders choose them, and all."""

    def call(model: nn.Module, clip: Tensor, rois: Tensor) -> Tensor:
        frames = clip.shape[2]
        slow = clip[:, :, torch.linspace(0, frames - 1, frames // alpha).long()]
        scores: Tensor = model([slow, clip] if alpha > 1 else [clip], rois)
        return scores

    return call


def on_regions(model: nn.Module, clip: Tensor, rois: Tensor) -> Tensor:
    """How other detectors are called."""
    scores: Tensor = model(clip, rois)
    return scores


def pyslowfast_model(config: str, shape: tuple[int, ...]) -> nn.Module:
    """What PySlowFast builds for one of its configurations, for clips of the shape's frames and height."""
    sys.modules["detectron2"] = ModuleType("detectron2")
    sys.modules["detectron2.layers"] = Compiled("detectron2.layers")
    settings = module("slowfast.config.defaults").get_cfg()
    folder = Path(module("slowfast").__file__).parent.parent
    settings.merge_from_file(str(folder / "configs" / config))
    settings.NUM_GPUS = 0
    settings.DATA.NUM_FRAMES = shape[2]
    whole: nn.Module = module("slowfast.models").build_model(settings)
    return whole


def pyslowfast(config: str, seed: int, gain: float, shape: tuple[int, ...]) -> Network:
    """A classifier of one of PySlowFast's configurations for Kinetics, which takes its one pathway in a list."""

    def build() -> nn.Module:
        whole = pyslowfast_model(f"Kinetics/{config}", shape)
        forward = whole.forward
        whole.forward = lambda clip: forward([clip])  # type: ignore[method-assign]
        return whole

    return Network(
        build, f"facebookresearch/SlowFast configs/Kinetics/{config}",
        seed, gain, shape, {"layer4": "s5.pathway0_res2"}, "SlowFast",
        logits="head.projection", beside=("pytorchvideo",),
        note=f"built for {shape[2]} frames; logits are the mean over windows of what is in front of the softmax",
    )  # fmt: skip


def pyslowfast_detector(
    config: str, seed: int, shape: tuple[int, ...], stages: Mapping[str, str], alpha: int = 1
) -> Network:
    """A detector of one of PySlowFast's configurations, for clips of the shape's frames."""

    return Network(
        lambda: pyslowfast_model(f"AVA/{config}", shape),
        f"facebookresearch/SlowFast configs/AVA/{config}", seed, 1, shape, stages, "SlowFast",
        logits="head.projection", call=in_pathways(alpha), beside=("pytorchvideo",),
        note=f"{ROI_ALIGN}; built for {shape[2]} frames; logits are what is in front of the sigmoid",
    )  # fmt: skip


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
DETECTOR = {**BACKBONE, "roi": "roi_head.bbox_head.dropout"}
TWO_PATHS = {
    **{
        f"{path}.{stage}": f"backbone.{path}.{stage}" for path in ("slow_path", "fast_path") for stage in FOUR
    },
    "roi": "roi_head.bbox_head.dropout",
}
LAST = {"layer1": "s2.{}_res2", "layer2": "s3.{}_res3", "layer3": "s4.{}_res5", "layer4": "s5.{}_res2"}
LAST_101 = {**LAST, "layer3": "s4.{}_res22"}
S_STAGES = {**{label: path.format("pathway0") for label, path in LAST.items()}, "roi": "head.s0_roi"}


def both(last: Mapping[str, str]) -> dict[str, str]:
    """The last blocks of both pathways of a SlowFast of PySlowFast."""
    paths = (("slow_path", "pathway0"), ("fast_path", "pathway1"))
    return {f"{name}.{label}": path.format(inner) for name, inner in paths for label, path in last.items()}


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
    "pytorchvideo-x3d_xs": Network(
        lambda: module("pytorchvideo.models.hub").x3d_xs(),
        "facebookresearch/pytorchvideo models.hub.x3d_xs()",
        1505, 1, (1, 3, 4, 160, 192), {name: name for name in list(BLOCKS)[:5]}, "pytorchvideo",
        logits="blocks.5.proj",
        note="the last map is 4x5x6, larger than the head's windows; logits are the mean over the windows",
    ),
    "pytorchvideo-x3d_l": Network(
        lambda: module("pytorchvideo.models.hub").x3d_l(),
        "facebookresearch/pytorchvideo models.hub.x3d_l()",
        1506, 1, (1, 3, 16, 312, 312), {name: name for name in list(BLOCKS)[:5]}, "pytorchvideo",
        logits="blocks.5.proj",
    ),
    "pytorchvideo-slow_r50_detection": Network(
        lambda: module("pytorchvideo.models.hub").slow_r50_detection(),
        "facebookresearch/pytorchvideo models.hub.slow_r50_detection()",
        1507, 1, (1, 3, 4, 160, 112),
        {f"blocks.{n}": f"model.blocks.{n}" for n in range(5)}, "pytorchvideo",
        logits="detection_head.proj", call=on_regions, note="logits are what is in front of the sigmoid",
    ),
    "pytorchvideo-slowfast_r50_detection": Network(
        lambda: module("pytorchvideo.models.hub").slowfast_r50_detection(),
        "facebookresearch/pytorchvideo models.hub.slowfast_r50_detection()",
        1508, 1, (1, 3, 32, 160, 112),
        {
            f"{path}_path.layer{n}": f"model.blocks.{n}.multipathway_blocks.{number}"
            for number, path in enumerate(("slow", "fast"))
            for n in (1, 2, 3, 4)
        },
        "pytorchvideo",
        logits="detection_head.proj", call=in_pathways(4),
        note="slow frames spread over the clip, rounded down; logits are what is in front of the sigmoid",
    ),
    "mmaction2-fast_rcnn_slowonly_r50_4x16_ava21": mmaction2_detector(
        "slowonly/slowonly_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb.py",
        1214, (1, 3, 4, 160, 112), DETECTOR,
    ),
    "mmaction2-fast_rcnn_slowonly_r101_8x8_ava21": mmaction2_detector(
        "slowonly/slowonly_kinetics400-pretrained-r101_8xb16-8x8x1-20e_ava21-rgb.py",
        1215, (1, 3, 3, 160, 112), DETECTOR,
    ),
    "mmaction2-fast_rcnn_slowonly_r50_nl_4x16_ava21": mmaction2_detector(
        "slowonly/slowonly_kinetics400-pretrained-r50-nl_8xb16-4x16x1-20e_ava21-rgb.py",
        1216, (1, 3, 4, 160, 112), DETECTOR, 0.3,  # larger affinities lose digits in their softmax
    ),
    "mmaction2-fast_rcnn_slowfast_r50_4x16_ava21": mmaction2_detector(
        "slowfast/slowfast_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb.py",
        1217, (1, 3, 16, 160, 112), TWO_PATHS,
    ),
    "mmaction2-fast_rcnn_slowfast_r50_8x8_ava21": mmaction2_detector(
        "slowfast/slowfast_kinetics400-pretrained-r50_8xb8-8x8x1-20e_ava21-rgb.py",
        1218, (1, 3, 16, 160, 112), TWO_PATHS,
    ),
    "mmaction2-fast_rcnn_slowfast_r50_context_4x16_ava21": mmaction2_detector(
        "slowfast/slowfast_kinetics400-pretrained-r50-context_8xb16-4x16x1-20e_ava21-rgb.py",
        1219, (1, 3, 16, 160, 112), TWO_PATHS,
    ),
    "tsm-r50_8seg_k400": temporal_shift(1701, 1, (8, 3, 72, 80)),
    "tsm-r50_16seg_174": temporal_shift(1702, 1, (16, 3, 56, 64), classes=174, segments=16),
    "tsm-r101_8seg_174": temporal_shift(1703, 1, (8, 3, 64, 56), classes=174, model="resnet101"),
    "tsm-r50_flow_8seg_k400": temporal_shift(1704, 1, (8, 10, 64, 72), modality="Flow"),
    "tsm-r50_nl_8seg_k400": temporal_shift(1705, 0.8, (8, 3, 80, 64), non_local=True),
    "tsm-r50_block_8seg_51": temporal_shift(1706, 1, (8, 3, 56, 64), classes=51, shift_place="block"),
    "mmaction2-tsm_r50_8seg_k400": mmaction2(
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py",
        1221, 1, (16, 3, 64, 56), BACKBONE, segments=8,
    ),
    "mmaction2-tsm_r50_16seg_174": mmaction2(
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb.py",
        1222, 1, (16, 3, 56, 64), BACKBONE, segments=16,
    ),
    "mmaction2-tsm_r101_8seg_174": mmaction2(
        "tsm/tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb.py",
        1223, 1, (8, 3, 64, 56), BACKBONE, segments=8,
    ),
    "mmaction2-tsm_r50_nl_embedded_gaussian_8seg_k400": mmaction2(
        "tsm/tsm_imagenet-pretrained-r50-nl-embedded-gaussian_8xb16-1x1x8-50e_kinetics400-rgb.py",
        1224, 0.8, (8, 3, 72, 64), BACKBONE, segments=8,
    ),
    "mmaction2-tsm_r50_nl_dot_product_8seg_k400": mmaction2(
        "tsm/tsm_imagenet-pretrained-r50-nl-dot-product_8xb16-1x1x8-50e_kinetics400-rgb.py",
        1225, 0.5, (8, 3, 72, 64), BACKBONE, segments=8,
    ),
    "mmaction2-tsm_r50_nl_gaussian_8seg_k400": mmaction2(
        "tsm/tsm_imagenet-pretrained-r50-nl-gaussian_8xb16-1x1x8-50e_kinetics400-rgb.py",
        1226, 0.2, (8, 3, 72, 64), BACKBONE, segments=8,  # larger affinities lose digits in their softmax
    ),
    "mmaction2-c2d_r50_8x8_k400": mmaction2(
        "c2d/c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb.py",
        1227, 1, (1, 3, 8, 72, 80), {"layer4": "backbone"},
    ),
    "mmaction2-c2d_r50_nopool_8seg_k400": mmaction2(
        "c2d/c2d_r50-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb.py",
        1228, 1, (8, 3, 72, 64), BACKBONE, segments=8,
    ),
    "mmaction2-c2d_r101_nopool_8seg_k400": mmaction2(
        "c2d/c2d_r101-in1k-pre-nopool_8xb32-8x8x1-100e_kinetics400-rgb.py",
        1229, 1, (8, 3, 56, 64), BACKBONE, segments=8,
    ),
    "mmaction2-x3d_m_16x5_k400": mmaction2(
        "x3d/x3d_m_16x5x1_facebook-kinetics400-rgb.py",
        1230, 1.2, (1, 3, 8, 96, 112), {name: f"backbone.{name}" for name in FOUR},
    ),
    "mmaction2-x3d_s_13x6_k400": mmaction2(
        "x3d/x3d_s_13x6x1_facebook-kinetics400-rgb.py",
        1231, 1.2, (2, 3, 13, 80, 64), {name: f"backbone.{name}" for name in FOUR},
    ),
    "mmaction2-fast_rcnn_slowonly_r50_context_8x8_ava_kinetics": mmaction2_detector(
        "slowonly/slowonly_k700-pre-r50-context_8xb8-8x8x1-10e_ava-kinetics-rgb.py",
        1232, (1, 3, 4, 160, 112), DETECTOR,
    ),
    "mmaction2-fast_rcnn_slowonly_r50_context_temporal_max_8x8_ava_kinetics": mmaction2_detector(
        "slowonly/slowonly_k700-pre-r50-context-temporal-max_8xb8-8x8x1-10e_ava-kinetics-rgb.py",
        1233, (1, 3, 4, 160, 112), DETECTOR,
    ),
    "mmaction2-fast_rcnn_slowfast_r50_temporal_max_8x8_ava22": mmaction2_detector(
        "slowfast/slowfast_kinetics400-pretrained-r50-temporal-max_8xb6-8x8x1-cosine-10e_ava22-rgb.py",
        1234, (1, 3, 16, 160, 112), TWO_PATHS,
    ),
    "pyslowfast-slow_nln_4x16_r50": pyslowfast("SLOW_NLN_4x16_R50.yaml", 1605, 0.1, (1, 3, 4, 224, 224)),
    "pyslowfast-i3d_nln_8x8_r101": pyslowfast("I3D_NLN_8x8_R101.yaml", 1606, 0.3, (1, 3, 4, 224, 224)),
    "pyslowfast-ava_slow_8x8_r50_short": pyslowfast_detector(
        "SLOW_8x8_R50_SHORT.yaml", 1601, (1, 3, 4, 160, 112), S_STAGES
    ),
    "pyslowfast-c2_ava_slow_8x8_r50": pyslowfast_detector(
        "c2/SLOW_8x8_R50.yaml", 1602, (1, 3, 4, 160, 112), S_STAGES
    ),
    "pyslowfast-ava_slowfast_32x2_r50_short": pyslowfast_detector(
        "SLOWFAST_32x2_R50_SHORT.yaml", 1603, (1, 3, 16, 160, 112), both(LAST), 4
    ),
    "pyslowfast-c2_ava_slowfast_32x2_r101": pyslowfast_detector(
        "c2/SLOWFAST_32x2_R101_50_50.yaml", 1604, (1, 3, 16, 160, 112), both(LAST_101), 4
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
    counted = {name: array for name, array in arrays.items() if not name.endswith("num_batches_tracked")}
    return sha256_of_all(counted, b"")


def run(model: nn.Module, network: Network, clip: Tensor) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits and stages, in the precision that the model and the clip have."""
    seen: dict[str, Tensor] = {}
    paths = {**network.stages, "logits": network.logits} if network.logits else dict(network.stages)
    hooks = [
        model.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, out, label=label: seen.update({label: out.detach().clone()})
        )
        for label, path in paths.items()
    ]
    with torch.inference_mode():
        out = model(clip) if network.call is None else network.call(model, clip, REGIONS.to(clip))
    for hook in hooks:
        hook.remove()
    logits = seen.pop("logits", out[-1] if isinstance(out, tuple) else out)
    if logits.dim() == 5:  # a classifier at every window, its classes last
        logits = logits.mean(dim=(1, 2, 3))
    return logits.numpy(), [seen[label].numpy() for label in network.stages]


def described(stages: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean, deviation, largest and L2 norm of every stage, and 64 of its values."""
    flat = [stage.ravel() for stage in stages]
    wide = map(np.float64, flat)
    stats = [[stage.mean(), stage.std(), np.abs(stage).max(), np.linalg.norm(stage)] for stage in wide]
    samples = [stage[np.arange(SAMPLES) * (stage.size - 1) // (SAMPLES - 1)] for stage in flat]
    return np.array(stats), np.array(samples)


def forget(repos: str, path: str) -> None:
    """Unload what came from other checkouts than ``path``: several have a package of the same name."""
    for name, loaded in list(sys.modules.items()):
        file = str(getattr(loaded, "__file__", None) or "")
        if file.startswith(repos) and not file.startswith(path):
            del sys.modules[name]


def built(network: Network, repos: Path | None) -> nn.Module:
    """A network as its project builds it, for inference."""
    path = str(repos / network.repository / network.folder) if repos and network.repository else ""
    before = list(sys.path)
    if path:
        forget(str(repos), path)
        sys.path[:0] = [path, *(str(repos / name) for name in network.beside)] if repos else []
    try:
        return network.build().eval()
    finally:
        sys.path[:] = before


def names_of(name: str) -> tuple[str, str]:
    """Ecosystem and model of a golden."""
    ecosystem = (
        next(known for known in ("pytorch-i3d", "vmz-pt", "") if name.startswith(known)) or name.split("-")[0]
    )
    return ecosystem, name.removeprefix(f"{ecosystem}-")


def table(name: str, repos: Path | None) -> dict[str, Any]:
    """What a network's modules say of themselves: its tensors in order, its norms and its pools, alike together."""
    network = NETWORKS[name]
    model = built(network, repos)
    norms: dict[tuple[str, float], int] = {}
    pools: dict[str, dict[str, Any]] = {}
    for path, layer in model.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            norms[kind, layer.eps] = norms.get((kind, layer.eps), 0) + 1
        elif "Pool" in kind and kind.endswith("d"):
            info = {
                "type": kind,
                "kernel": plain(getattr(layer, "kernel_size", getattr(layer, "output_size", None))),
                "stride": plain(getattr(layer, "stride", None)),
                "padding": plain(getattr(layer, "padding", None)),
                "ceil_mode": getattr(layer, "ceil_mode", None),
            }
            pools.setdefault(json.dumps(info), {**info, "names": []})["names"].append(path)
    return {
        "source": network.source,
        "deviations": network.note or "none",
        "norms": [{"type": kind, "eps": eps, "count": count} for (kind, eps), count in norms.items()],
        "pools": list(pools.values()),
        "keys": {key: list(tensor.shape) for key, tensor in model.state_dict().items()},
    }


def plain(size: Any) -> Any:
    """A size as JSON has it."""
    return (
        [plain(number) for number in size]
        if isinstance(size, (list, tuple))
        else size
        if size is None
        else int(size)
    )


def record(name: str, repos: Path | None) -> dict[str, Any]:
    """The arrays of one golden."""
    network = NETWORKS[name]
    model = built(network, repos)
    arrays = weights(model.state_dict(), network.seed, network.gain)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    clip = np.random.RandomState(network.seed + 1000003).standard_normal(network.shape).astype(np.float32)
    outputs: dict[str, Any] = {}
    relative = []
    for kind, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        logits, stages = run(model.to(dtype), network, torch.from_numpy(clip).to(dtype))
        outputs[f"{kind}/logits"] = logits
        outputs[f"{kind}/stats"], outputs[f"{kind}/samples"] = described(stages)
        relative.append(logits)
    largest = np.abs(relative[1]).max()
    ecosystem, known = names_of(name)
    meta = {
        "recipe": "T",
        "ecosystem": ecosystem,
        "model": known,
        "source": network.source,
        "seed": network.seed,
        "gain": float(network.gain),
        "input_shape": list(network.shape),
        "weights_sha256": digest(arrays),
        "input_sha256": sha256(clip),
        "note": network.note or "none",
        "torch": torch.__version__.partition("+")[0],
        "rel_f32_vs_f64": float(np.abs(relative[0] - relative[1]).max() / largest),
        "stages": list(network.stages),
        "stage_shapes": [list(stage.shape) for stage in stages],
    }
    return {"meta": json.dumps(meta), **outputs}


def check(path: str, repos: Path | None) -> bool | None:
    """Whether a recorded file comes out again; None if its network is not here or cannot be built."""
    name = stem(path)
    if name not in NETWORKS:
        print(f"{name}: left out, this script does not build it")
        return None
    try:
        got = record(name, repos)
    except ImportError as error:
        print(f"{name}: left out, {error}")
        return None
    want = load_npz(path)
    was, now = json.loads(str(want["meta"])), json.loads(got["meta"])
    for key in ("weights_sha256", "input_sha256", "input_shape", "stages", "stage_shapes"):
        if was[key] != now[key]:
            print(f"{name}: {key} differs")
            return False
    worst = 0.0
    for key in ("f64/logits", "f64/samples", "f64/stats"):
        scale = np.abs(want[key]).max(axis=None if key.endswith("logits") else 1, keepdims=True)
        worst = max(worst, difference(got[key], want[key], scale))
    print(f"{name}: {worst:.1e}")
    return worst <= CLOSE


def write_tables(path: Path, names: list[str], repos: Path | None) -> None:
    """Put the tables of these networks into a .json.gz."""
    tables = json.loads(gzip.decompress(path.read_bytes()))
    tables |= {"/".join(names_of(name)): table(name, repos) for name in names}
    text = json.dumps(dict(sorted(tables.items())), separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(text, mtime=0))


def main() -> int:
    """The command line; the exit code is 1 where a check differs."""
    parser = command_line(__doc__, os.path.join(GOLDENS, "targets"))
    parser.add_argument("--repos", type=Path, help="a folder of checkouts, by repository name")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write tables into this .json.gz instead")
    options = parser.parse_args()
    repos = options.repos.resolve() if options.repos else None
    torch.set_num_threads(1)
    names = chosen(parser, options, NETWORKS)
    if options.list:
        lines = {
            name: f"{'x'.join(map(str, network.shape))}  {network.source}"
            for name, network in NETWORKS.items()
        }
        return print_list(lines, names)
    if options.check:
        return check_all(options.check, lambda path: check(path, repos))
    if options.table:
        write_tables(options.table, names, repos)
        return 0
    return record_all(names, lambda name: record(name, repos), options.out)


if __name__ == "__main__":
    sys.exit(main())
