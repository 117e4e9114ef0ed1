"""GluonCV's networks without residual or parallel branches (dmlc/gluon-cv 0.10.5) as lists of MXNet's operators: C3D
(``c3d.py``), and VGG-16 over single frames (``actionrec_vgg16.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.errors import Refused
from converters.source_graphs.gluon import LAYOUT, GluonBuilder, is_of_gluoncv
from converters.source_graphs.record import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.source_graphs.net import Shape, SourceNet

_C3D = (("1",), ("2",), ("3a", "3b"), ("4a", "4b"), ("5a", "5b"))
"""The convolutions before each pool."""

_VGG = (2, 2, 3, 3, 3)
"""How many convolutions there are before each pool."""


def recognise(tensors: Mapping[str, Shape], settings: Mapping[str, Any]) -> SourceNet | None:
    """The network over ``tensors`` (name to shape): of clips ``[N, C, T, H, W]`` for C3D, of frames
    ``[N * T, C, H, W]`` for VGG-16. None if it is neither. Raises `Refused` if a tensor is missing."""
    if not is_of_gluoncv(settings):
        return None
    build = _Builder(tensors)
    try:
        if {"conv3a.weight", "fc8.weight"} <= tensors.keys():
            return build.c3d()
        if len(tensors.get("features.0.weight", ())) == 4 and "features.0.bias" in tensors:
            return build.vgg()
    except KeyError as error:
        raise Refused(f"is not a network of GluonCV: it has no {error.args[0]}") from None
    return None


class _Builder(GluonBuilder):
    def c3d(self) -> SourceNet:
        """`C3D`, of one segment: the last pool is padded in height and width."""
        x = "data"
        for number, letters in enumerate(_C3D, 1):
            for name in letters:
                label = f"conv{name if len(name) > 1 else f'{name}a'}"
                x = self.block(label, self.relu(self.conv(x, f"conv{name}")))
            window = (1 if number == 1 else 2, 2, 2)
            pad = (0, 1, 1) if number == len(_C3D) else ()
            x = self.block(f"pool{number}", self.pool(x, f"pool{number}", window, window, pad=pad))
        for name in ("fc6", "fc7"):
            x = self.block(name, self.relu(self.dense(x, name)))
        self.block("logits", self.dense(x, "fc8"))
        return self.made("gluoncv_c3d", "conv1")

    def vgg(self) -> SourceNet:
        """`ActionRecVGG16`: places in ``features`` count activations, pools and dropouts too."""
        x, place = "data", 0
        for number, count in enumerate(_VGG, 1):
            for index in range(1, count + 1):
                x = self.relu(self.conv(x, f"features.{place}"), f"features.{place + 1}")
                x = self.block(f"conv{number}_{index}", x)
                place += 2
            x = self.block(f"pool{number}", self.pool(x, f"features.{place}", (2, 2), (2, 2)))
            place += 1
        for name in ("fc6", "fc7"):
            dense = self.dense(x, f"features.{place}.linear", f"features.{place}")
            x = self.block(name, self.relu(dense, f"features.{place}"))
            place += 2
        self.block("logits", self.dense(x, "output"))
        return self.made("gluoncv_vgg", "features.0", frames=True)


SOURCE = SourceRecord(layouts=(LAYOUT,), recognise=recognise, test_clips={"c3d": (1, 3, 16, 112, 112)})
