"""VMZ's C3D, with a batch norm after every convolution: see `c3d`. No settings but ``bn_eps``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.networks.record import NetworkRecord

from .c3d import C3D

if TYPE_CHECKING:
    from converters.networks.spec import ModuleShapes, Settings


def build(shapes: ModuleShapes, settings: Settings) -> C3D:
    """The network, whose pools round down."""
    settings.require_only("bn_eps")
    return C3D(shapes, settings.bn_eps)


NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 16, 96, 110))
