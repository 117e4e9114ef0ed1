"""VMZ's audio-visual networks (av_resnet): a 3D network and a 2D one over log-mels, joined by two layers.

Settings: ``video`` and ``audio``, tables with those of `resnet3d` and `resnet2d_audio`; ``pool1`` and ``stem_stride``
are those of the video network. Modules: ``video`` and ``audio`` (without heads), ``fuse1``, ``fuse2``, ``head``, and
``video_head``, ``audio_head`` where the network was trained with gradient blending. The end points of the halves have
``"video."`` and ``"audio."`` before their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from converters.networks.layers import Network, linear
from converters.networks.record import NetworkRecord

from . import resnet2d_audio, resnet3d

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.networks.spec import ModuleShapes, Settings


class AudioVisual(Network):
    """Clip [N, C, T, H, W] and log-mels [N, 1, 100, 40] to logits [N, classes] of the joint head.

    The logits of the other heads are among `end_points`, as ``"video_logits"`` and ``"audio_logits"``.
    """

    def __init__(self, shapes: ModuleShapes, settings: Settings) -> None:
        super().__init__()
        self.video = resnet3d.build(
            shapes.under("video"), settings.table("video", "bn_eps", "pool1", "stem_stride")
        )
        self.audio = resnet2d_audio.build(shapes.under("audio"), settings.table("audio", "bn_eps"))
        video, audio = self.video.out_channels, self.audio.out_channels
        self.fuse1 = linear(shapes, video + audio, "fuse1")
        self.fuse2 = linear(shapes, self.fuse1.out_features, "fuse2")
        self.head = linear(shapes, self.fuse2.out_features, "head")
        self.video_head = linear(shapes, video, "video_head") if "video_head.weight" in shapes else None
        self.audio_head = linear(shapes, audio, "audio_head") if "audio_head.weight" in shapes else None

    def steps(self, clip: Tensor, logmels: Tensor) -> Iterator[tuple[str, Tensor]]:
        seen = heard = clip
        for name, seen in self.video.steps(clip):
            yield f"video.{name}", seen
        for name, heard in self.audio.steps(logmels):
            yield f"audio.{name}", heard
        if len(seen) != len(heard):
            raise ValueError(f"expected as many log-mels as clips, got {len(heard)} and {len(seen)}")
        if self.video_head is not None:
            yield "video_logits", self.video_head(seen)
        if self.audio_head is not None:
            yield "audio_logits", self.audio_head(heard)
        x = F.relu_(self.fuse1(torch.cat([seen, heard], dim=1)))
        yield "fuse1", x
        x = F.relu_(self.fuse2(x))
        yield "fuse2", x
        yield "logits", self.head(x)


NETWORK = NetworkRecord(build=AudioVisual, test_clip=(1, 3, 8, 48, 52), inputs=("clip", "logmels"))
