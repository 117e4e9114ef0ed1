"""VMZ's C3D, with a batch norm after every convolution: see `c3d`. No settings but ``bn_eps``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.networks.record import NetworkRecord

from .c3d import C3D

if TYPE_CHECKING:
    from converters.networks.spec import ModuleShapes, Settings


def build(shapes: ModuleShapes, settings: Settings) -> C3D:
    """The network, whose pools round down."""
    settings = settings.or_else(pool1=False, stem_stride=1)
    if settings.flag("pool1") or settings.integer("stem_stride") != 1:
        raise ValueError("c3d_bn has neither pool1 nor a stem stride")
    return C3D(shapes, settings.bn_eps)


NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 16, 96, 110))
