"""C3D-v1.1's ResNet: the network and the settings of `resnet3d`, with tables of its own."""

from __future__ import annotations

from converters.networks.record import NetworkRecord

from .resnet3d import build

NETWORK = NetworkRecord(build=build, test_clip=(1, 3, 7, 50, 46))
