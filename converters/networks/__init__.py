"""Reference PyTorch networks, one configurable definition a family. Importing this does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec import Config, NetworkSpec, Shapes

if TYPE_CHECKING:
    from .layers import Network

__all__ = ["NetworkSpec", "build"]


def build(spec: NetworkSpec) -> Network:
    """The network that ``spec`` describes, an ``nn.Module`` in training mode and without weights.

    What no tensor shows is in its ``config``, the eps of every batch norm as ``bn_eps`` where the family has norms.

    All tensors are on the meta device, so building costs milliseconds and no memory: fill them with
    ``load_state_dict(state, assign=True)``. ``state_dict()`` has exactly the names and shapes of ``spec`` and
    a ``num_batches_tracked`` for each batch norm; where they cannot be made to agree, ValueError says why.

    ``forward`` takes float32 and returns logits [N, classes], before softmax:

    - ``resnet3d``, ``resnet_i3d``, ``x3d``, ``c3d_resnet``, ``c3d``, ``c3d_bn`` and ``i3d``: a clip [N, C, T, H, W];
    - ``slowfast``: a clip of all frames; it takes the slow ones itself;
    - detectors: regions of clips too, ``model(clip, rois)``, [K, 5] of (clip, x1, y1, x2, y2) in pixels, for logits
      [K, classes];
    - ``resnet2d``: frames of a video, T of them, over whose features it averages;
    - ``bn_inception``: the same, T being segments or flow stacks, over whose logits it averages; for SSN nine
      snippets of a proposal, and scale factors [N, 2], ``model(clip, scales)``;
    - ``resnet2d_audio``: log-mels [N, 1, 100, 40]; more channels than one are averaged first;
    - ``audiovisual``: both, ``model(clip, logmels)``.

    ``end_points`` takes the same and returns an ordered dict of what each block gave: ``"stem"``,
    ``"pool1"``, ``"layer1.0"``, ... after their ReLU, ``"pool"`` and ``"logits"``. The audio-visual network
    has ``"video."`` and ``"audio."`` before the names of its halves, C3D the names of its layers and pools,
    BN-Inception those of its Caffe blobs.
    ``steps`` gives the same one by one.
    """
    from . import audiovisual, bn_inception, c3d, i3d, resnet, resnet_i3d, slowfast, x3d

    shapes, config = Shapes(spec.shapes), Config(spec.config)
    has_norms = any(name.endswith("running_var") for name in spec.shapes)
    eps = config.fraction("bn_eps") if has_norms else 0.0
    model: Network
    if spec.family in ("resnet3d", "c3d_resnet"):
        model = resnet.video(shapes, config, eps)
    elif spec.family == "audiovisual":
        model = audiovisual.AudioVisual(shapes, config, eps)
    elif spec.family == "resnet2d_audio":
        model = resnet.audio(shapes, config, eps)
    elif spec.family == "resnet2d":
        model = resnet.frames(shapes, config, eps)
    elif spec.family == "c3d_bn":
        model = c3d.C3D(shapes, eps)
    elif spec.family == "c3d":
        model = c3d.published(shapes, config, eps)
    elif spec.family == "bn_inception":
        model = bn_inception.published(shapes, eps)
    elif spec.family == "i3d":
        model = i3d.I3D(shapes, config, eps)
    elif spec.family == "resnet_i3d":
        model = resnet_i3d.ResNetI3D(shapes, config, eps)
    elif spec.family == "slowfast":
        model = slowfast.SlowFast(shapes, config, eps)
    elif spec.family == "x3d":
        model = x3d.X3D(shapes, config, eps)
    else:
        raise ValueError(f"unknown network family {spec.family!r}")
    _check(model, spec)
    return model


def _check(model: Network, spec: NetworkSpec) -> None:
    """Every tensor of the spec is in the model, of the same shape, and no other."""
    made = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith(".num_batches_tracked")
    }
    wrong = [
        f"{name}: {made.get(name, 'absent')} for {spec.shapes.get(name, 'absent')}"
        for name in sorted(made.keys() | spec.shapes.keys())
        if made.get(name) != spec.shapes.get(name)
    ]
    if wrong:
        raise ValueError(f"{spec.variant}: the network differs from its tensors: " + "; ".join(wrong))
