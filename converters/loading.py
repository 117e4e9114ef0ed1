"""Networks from files: find out what a file holds and return the module that computes it."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.conversion.identify import UserHints, identify
from converters.conversion.plan import make_plan
from converters.conversion.provenance import home_of
from converters.formats.open import open_checkpoint
from converters.mapping.catalog import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.variants import config
from converters.networks.spec import NetworkSpec

from .errors import ConverterError, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.match import Match
    from converters.mapping.network_info import NetworkInfo
    from converters.mapping.schema import LayoutTable
    from converters.networks.layers import Network
    from converters.networks.two_stream import TwoStream

    from .tensor import Tensor


def load_model(
    path: str | os.PathLike[str],
    layout: str | None = None,
    *,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
) -> Network:
    """The network in a checkpoint of any supported layout, ours or anyone's, as an ``nn.Module`` in eval mode.

    It computes what the layout's own network computes (its batch-norm eps). ``forward`` takes float32
    ``[N, C, T, H, W]`` (audio ``[N, 1, 100, 40]``; audio-visual both) and returns logits ``[N, classes]``
    before softmax, of a file without a head its features [N, channels]; ``end_points`` returns every block's output by
    name.

    The layout comes from the file's provenance, else from its names and shapes; ``layout`` decides where these
    fit more than one (a bare R3D-18 or MC3-18 is taken for torchvision's, eps 1e-5, not for VMZ's port, 1e-3).
    What no tensor shows comes from ``settings`` (``{"pool1": True, "bn_eps": 1e-3}``), else from provenance, else from
    the layout's table. ``variant``, the name of a model such as ``I3D_8x8_R50`` or of a network, is needed
    only where names and shapes leave more than one function, ``entry`` (the path of a state dict in a PyTorch file)
    only where not the plain weights are wanted, ``head`` only where the file calls the last layer otherwise than the
    layout; ``inverse_std`` says that a Caffe file of TSN's has inverse standard deviations for variances.

    Raises `ConverterError` if the file is no such network, or if PyTorch is not installed.
    """
    return _load(
        path,
        layout,
        variant=variant,
        entry=entry,
        head=head,
        settings=settings,
        inverse_std=inverse_std,
    )[0]


def load_two_stream(
    rgb: str | os.PathLike[str], flow: str | os.PathLike[str], *, layout: str | None = None
) -> TwoStream:
    """Two networks whose logits are added: frames ``[N, 3, T, H, W]`` and optical flow ``[N, 2, T, H, W]``.

    ``rgb`` and ``flow`` are any two files that `load_model` takes, converted or fine-tuned. The module is in eval
    mode; ``model(frames, flow)`` returns ``[N, classes]``, the plain sum that the Two-Stream rows of the zoos
    were measured with. Raises `Refused` where the files' classes, or their label names, differ.
    """
    one, one_facts = _load(rgb, layout)
    other, other_facts = _load(flow, layout)
    if one_facts.classes != other_facts.classes:
        raise Refused(f"two streams of {one_facts.classes} and {other_facts.classes} classes cannot be added")
    labels = [info.input.get("labels") for info in (one_facts, other_facts)]
    if None not in labels and labels[0] != labels[1]:
        raise Refused("the two files name their classes differently, or in another order")
    from converters.networks.two_stream import TwoStream

    return TwoStream(one, other).eval()


def _load(
    path: str | os.PathLike[str],
    layout: str | None,
    *,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
) -> tuple[Network, NetworkInfo]:
    require_torch()
    name = os.fspath(path)
    with open_checkpoint(name, entry=entry) as checkpoint:
        said = UserHints(
            variant=variant, model=variant, head=head, settings=settings, inverse_std=inverse_std
        )
        _, fitted, info = identify(checkpoint, layout, said)
        state = canonical_state(checkpoint, fitted, info)
    home = home_of(checkpoint.provenance) if fitted.layout.identity else None
    return build_network(fitted, state, info.settings, home=home), info


def canonical_state(checkpoint: Checkpoint, fitted: Match, info: NetworkInfo) -> dict[str, torch.Tensor]:
    """A file's tensors in memory under canonical names, with their own variances."""
    native = load_layout("native")
    plan = make_plan(fitted, checkpoint.tensors, native, info, eps=info.bn_eps, path=checkpoint.path)
    return {row.target: to_torch(row.tensor(checkpoint.tensors)) for row in plan.rows}


def build_network(
    fitted: Match,
    state: dict[str, torch.Tensor],
    settings: Mapping[str, Any],
    *,
    home: LayoutTable | None = None,
) -> Network:
    """The reference network of a fitted file with ``state``, its canonical state dict, in float32.

    It has ``settings``, and otherwise pads, pools and classifies as the network of the file's layout does, or of
    ``home`` where the layout is ours and has no network of its own.
    """
    from .networks import build

    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(f".{BATCHES}")}
    own = (home or fitted.layout).support_for(fitted.variant.name).config
    known = {**config(fitted.variant), **own, **settings}
    spec = NetworkSpec(fitted.variant.family, fitted.variant.name, shapes, known)
    try:
        model = build(spec)
    except ValueError as error:
        raise Refused(str(error)) from None
    floats = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    model.load_state_dict(floats, assign=True)
    return model.eval()


def to_torch(tensor: Tensor) -> torch.Tensor:
    """A lazy tensor read into memory as a torch tensor of its own dtype."""
    import torch

    dtype: torch.dtype = getattr(torch, tensor.dtype)
    data = bytearray(tensor.tobytes())
    if not data:
        return torch.empty(tensor.shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).reshape(tensor.shape)


def require_torch() -> Any:
    """The module torch. Raises `ConverterError`, naming the extra, where it is not installed."""
    try:
        import torch
    except ImportError:
        raise ConverterError(
            "running networks needs PyTorch",
            hint="install it: pip install 'video-checkpoint-converters[torch]'",
        ) from None
    return torch
