"""VMZ's audio-visual networks (av_resnet): a clip's network and a log-mel network, joined by two layers.

Config: ``video`` and ``audio``, tables with the keys of `resnet`, and such keys above both. Tensors: ``video.*``,
``audio.*`` (without heads), ``fuse1``, ``fuse2``, ``head``, and ``video_head``, ``audio_head`` where the network was
trained with gradient blending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from . import resnet
from .layers import Network, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spec import Config, Shapes


class AudioVisual(Network):
    """Clip [N, C, T, H, W] and log-mels [N, 1, 100, 40] to logits [N, classes] of the joint head.

    The logits of the other heads are among `end_points`, as ``"video_logits"`` and ``"audio_logits"``.
    """

    def __init__(self, shapes: Shapes, config: Config, eps: float) -> None:
        super().__init__()
        self.video = resnet.video(shapes.under("video"), config.table("video"), eps)
        self.audio = resnet.audio(shapes.under("audio"), config.table("audio"), eps)
        video, audio = self.video.out_channels, self.audio.out_channels
        self.fuse1 = linear(shapes, video + audio, "fuse1")
        self.fuse2 = linear(shapes, self.fuse1.out_features, "fuse2")
        self.head = linear(shapes, self.fuse2.out_features, "head")
        self.video_head = linear(shapes, video, "video_head") if "video_head.weight" in shapes else None
        self.audio_head = linear(shapes, audio, "audio_head") if "audio_head.weight" in shapes else None

    def steps(self, clip: Tensor, logmels: Tensor) -> Iterator[tuple[str, Tensor]]:
        """See `Network.steps`."""
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
