"""The files by which a repository on the Hugging Face Hub says what its weights are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters._version import __version__
from converters.clips.description import describe

if TYPE_CHECKING:
    from converters.clips.description import ClipPreprocessing
    from converters.inspection.inspect import Inspection

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
"""Their names."""


def config(inspection: Inspection, weights: str, sha256: str) -> str:
    """The network in the file ``weights``: architecture, settings, classes, and their names where they are known."""
    network = inspection.network
    if network is None:
        raise ValueError("an unknown network has no configuration")
    data: dict[str, Any] = {
        "architecture": network.variant,
        "title": network.title,
        "layout": inspection.layout,
        "weights": weights,
        "sha256": sha256,
        "num_labels": network.classes,
        "num_channels": network.channels,
        "settings": dict(network.settings),
    }
    if labels := [str(label) for label in network.input.get("labels", ())]:
        data["id2label"] = {str(number): label for number, label in enumerate(labels)}
        if len(set(labels)) == len(labels):
            data["label2id"] = {label: number for number, label in enumerate(labels)}
    data["library"] = {"name": "video-checkpoint-converters", "version": __version__}
    return _text(data)


def preprocessor_config(inspection: Inspection) -> str:
    """How a video's frames become the network's clip: in the words of other libraries where they have one, and whole
    under ``preprocessing``. Empty where nothing is known."""
    described = describe(inspection.network.input) if inspection.network else None
    if described is None:
        return ""
    return _text({**_in_their_words(described), "preprocessing": described.as_data()})


def _in_their_words(clip: ClipPreprocessing) -> dict[str, Any]:
    data: dict[str, Any] = {"do_resize": clip.resize is not None, "do_center_crop": False}
    if clip.frames:
        data |= {"num_frames": clip.frames, "sampling_rate": clip.step}
    if clip.resize is not None:
        side = clip.resize
        data["size"] = {"shortest_edge": side} if isinstance(side, int) else _sides(side)
    if clip.crop and clip.crop_at is None:
        data |= {"do_center_crop": True, "crop_size": _sides(clip.crop)}
    if clip.range and clip.range[0] == 0:
        data |= {"do_rescale": clip.range[1] != 255, "rescale_factor": clip.range[1] / 255}
    if clip.mean:
        data |= {"image_mean": list(clip.mean), "image_std": list(clip.std)}
    data["do_normalize"] = bool(clip.mean)
    if clip.order:
        data["channel_order"] = clip.order
    return data


def _sides(size: tuple[int, int]) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
