"""Reference PyTorch networks, one configurable definition for each family. Importing this does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .record import NetworkRecord
from .registry import family_names, network_record
from .spec import ModuleShapes, NetworkSpec, Settings

if TYPE_CHECKING:
    from .layers import Network

__all__ = [
    "ModuleShapes",
    "NetworkRecord",
    "NetworkSpec",
    "Settings",
    "build",
    "family_names",
    "network_record",
]


def build(spec: NetworkSpec) -> Network:
    """The network that ``spec`` describes, an ``nn.Module`` in training mode and without weights.

    All tensors are on the meta device, so that building takes milliseconds and no memory: fill them with
    ``load_state_dict(state, assign=True)``. ``state_dict()`` has exactly the names and shapes of ``spec`` and a
    ``num_batches_tracked`` for each batch norm. Raises ValueError for an unknown family, for shapes that do
    not fit each other, and for a setting that is missing or has an unknown value.

    ``forward`` takes float32, what the family's `NetworkRecord.inputs` name, and returns logits [N, classes], before
    softmax. Detectors take ``rois`` too, [K, 5] of (clip, x1, y1, x2, y2) in pixels, and return [K, classes]. 2D
    networks average over the T frames (or segments) of a clip.

    ``end_points`` takes the same and returns an ordered dict of every block's output: ``"stem"``, ``"pool1"``,
    ``"layer1.0"``, ... after their ReLU, ``"pool"`` and ``"logits"``; the family's module lists other names.
    ``steps`` yields the same one by one.
    """
    model = network_record(spec.family).build(ModuleShapes(spec.shapes), Settings(spec.settings))
    _check(model, spec)
    return model


def _check(model: Network, spec: NetworkSpec) -> None:
    """Every tensor of the spec is in the model, of the same shape, and no other."""
    built = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith(".num_batches_tracked")
    }
    wrong = [
        f"{name}: {built.get(name, 'absent')} for {spec.shapes.get(name, 'absent')}"
        for name in sorted(built.keys() | spec.shapes.keys())
        if built.get(name) != spec.shapes.get(name)
    ]
    if wrong:
        raise ValueError(f"{spec.variant}: the network differs from its tensors: " + "; ".join(wrong))
