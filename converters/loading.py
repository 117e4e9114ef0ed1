"""Load networks: identify the network in a file and build it in PyTorch with the file's weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.clips.description import describe
from converters.conversion.identify import UserHints, identify
from converters.conversion.plan import make_plan
from converters.conversion.provenance import find_origin_layout
from converters.conversion.values import refuse_unequal
from converters.formats.open import open_checkpoint
from converters.mapping.layout_tables import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.network_tables import load_network as load_network_table
from converters.mapping.variants import config
from converters.networks import family_names, network_record
from converters.networks.spec import NetworkSpec

from .errors import ConverterError, Refused
from .extras import install_hint
from .lazy_module import LazyModule

if TYPE_CHECKING:
    import torch

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.networks import NetworkRecord, layers, two_stream

    from .tensor import Tensor
else:
    layers = LazyModule("converters.networks.layers")
    two_stream = LazyModule("converters.networks.two_stream")


def load_model(
    path: str | os.PathLike[str],
    layout: str | None = None,
    *,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
) -> layers.Network:
    """Load the network in a checkpoint of any supported layout as an ``nn.Module`` in eval mode.

    It computes what the layout's own network computes, with the same batch-norm eps. ``forward`` takes float32
    ``[N, C, T, H, W]`` (audio ``[N, 1, 100, 40]``, audio-visual both) and returns logits ``[N, classes]`` before
    softmax, or features ``[N, channels]`` if the file has no head. ``end_points`` returns every block's output by name.
    ``labels`` are the classes' names, where they are known; ``preprocessing`` says how frames become a clip, which
    `preprocess` does.

    The layout comes from the file's provenance record, or from its names and shapes. ``layout`` is needed if these
    match several (a bare R3D-18 or MC3-18 is read as torchvision's with eps 1e-5, not as VMZ's port with 1e-3).
    ``settings`` (``{"pool1": True, "bn_eps": 1e-3}``) are what no tensor shows; by default they come from the record
    or the layout's table. ``variant``, the name of a model such as ``I3D_8x8_R50`` or of a network, is needed if names
    and shapes match several. ``entry`` is the path of a state dict in a PyTorch file, if not the plain weights are
    wanted. ``head`` is the file's name of the last layer, if it is not the layout's, ``drop`` are patterns of names to
    leave out. ``inverse_std`` says that a Caffe file of TSN has inverse standard deviations instead of variances.

    Raises `ConverterError` if the file does not hold a known network, or if PyTorch is not installed.
    """
    return load_network(
        path,
        layout,
        variant=variant,
        entry=entry,
        head=head,
        drop=drop,
        settings=settings,
        inverse_std=inverse_std,
    )[0]


def load_two_stream(
    rgb: str | os.PathLike[str], flow: str | os.PathLike[str], *, layout: str | None = None
) -> two_stream.TwoStream:
    """Load two networks, for frames ``[N, 3, T, H, W]`` and optical flow ``[N, 2, T, H, W]``, whose logits are added.

    ``rgb`` and ``flow`` are any two files that `load_model` takes, converted or fine-tuned. The module is in eval
    mode. ``model(frames, flow)`` returns ``[N, classes]``, the plain sum that the zoos measured their Two-Stream
    rows with. Raises `Refused` if the files' classes or labels differ, or if one is for other channels.
    """
    rgb_network, rgb_info = load_network(rgb, layout)
    flow_network, flow_info = load_network(flow, layout)
    _require_streams(rgb_info, os.fspath(rgb), flow_info, os.fspath(flow))
    if rgb_info.classes != flow_info.classes:
        raise Refused(f"two streams of {rgb_info.classes} and {flow_info.classes} classes cannot be added")
    labels = [info.input.get("labels") for info in (rgb_info, flow_info)]
    if None not in labels and labels[0] != labels[1]:
        raise Refused("the two files name their classes differently, or in another order")
    from converters.networks.two_stream import TwoStream

    return TwoStream(rgb_network, flow_network).eval()


def _require_streams(rgb: NetworkInfo, rgb_path: str, flow: NetworkInfo, flow_path: str) -> None:
    """Raise `Refused` unless one network takes frames and the other optical flow."""
    if rgb.channels == 2 and flow.channels == 3:
        raise Refused("the two files are the wrong way round", hint="the file for frames comes first")
    if rgb.channels != 3:
        raise Refused(f"takes {rgb.channels} channels, not the 3 of frames", path=rgb_path)
    if flow.channels == 3 or flow.channels % 2:
        raise Refused(f"takes {flow.channels} channels, not those of optical flow", path=flow_path)


def load_network(
    path: str | os.PathLike[str],
    layout: str | None,
    *,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
) -> tuple[layers.Network, NetworkInfo]:
    """What `load_model` returns, and what is known of the network beside its tensors."""
    require_torch()
    file_path = os.fspath(path)
    with open_checkpoint(file_path, entry=entry) as checkpoint:
        hints = UserHints(
            variant=variant, model=variant, head=head, drop=drop, settings=settings, inverse_std=inverse_std
        )
        _, match, info = identify(checkpoint, layout, hints)
        state = canonical_state(checkpoint, match, info)
    origin_layout = find_origin_layout(checkpoint.provenance) if match.layout.identity else None
    network = build_network(match, state, info.settings, origin_layout=origin_layout)
    network.labels = tuple(map(str, info.input.get("labels", ())))
    network.preprocessing = describe(info.input)
    return network, info


def canonical_state(
    checkpoint: Checkpoint, match: Match, info: NetworkInfo, *, unequal: bool = False
) -> dict[str, torch.Tensor]:
    """The file's tensors in memory under canonical names, with unshifted variances.

    Raises `Refused` if the file stores one tensor under two names with different values; with ``unequal``, for a
    caller that reports them itself, the first name's are taken.
    """
    native = load_layout("native")
    plan = make_plan(match, checkpoint.tensors, native, info, eps=info.bn_eps, path=checkpoint.path)
    if not unequal:
        refuse_unequal(plan, checkpoint)
    return {row.target: to_torch(row.tensor(checkpoint.tensors)) for row in plan.rows}


def build_network(
    match: Match,
    state: dict[str, torch.Tensor],
    settings: Mapping[str, Any],
    *,
    origin_layout: LayoutTable | None = None,
) -> layers.Network:
    """The reference network of a matched file with ``state``, its canonical state dict, in float32 and eval mode.

    It has ``settings``. Its padding, pooling and head are those of the layout's network, or of ``origin_layout`` if
    the file has canonical names. Raises `Refused` if such a network cannot be built.
    """
    from .networks import build

    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(f".{BATCHES}")}
    layout_config = (origin_layout or match.layout).support_for(match.variant.name).config
    merged = {**config(match.variant), **layout_config, **settings}
    spec = NetworkSpec(match.variant.table.reference, match.variant.name, shapes, merged)
    try:
        model = build(spec)
    except ValueError as error:
        raise Refused(str(error)) from None
    floats = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    model.load_state_dict(floats, assign=True)
    return model.eval()


def reference_record(family: str) -> NetworkRecord:
    """The record of the reference network that computes a family. Raises `Refused` where there is none: a table can
    describe a network that nothing here computes."""
    name = load_network_table(family).reference
    if name not in family_names():
        raise Refused(f"no reference network computes the family {family}")
    return network_record(name)


def to_torch(tensor: Tensor) -> torch.Tensor:
    """Read a lazy tensor into memory as a torch tensor of the same dtype and shape."""
    import torch

    dtype: torch.dtype = getattr(torch, tensor.dtype)
    data = bytearray(tensor.tobytes())
    if not data:
        return torch.empty(tensor.shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).reshape(tensor.shape)


def require_torch() -> Any:
    """Import and return torch. Raises `ConverterError`, which names the extra, if it is not installed."""
    try:
        import torch
    except ImportError:
        raise ConverterError(
            "running networks needs PyTorch",
            hint=install_hint("torch"),
        ) from None
    return torch
