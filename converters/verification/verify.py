"""Prove a conversion: the source's bytes are restored, both networks compute the same, and known differences are named.

The source's side runs in onnxruntime, as its own framework's network over its own arrays (`source_graphs`); the
output's side is the reference network in PyTorch. The two share the file readers and nothing else. The network of a
PyTorch source is our reference network too, over the source's own weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from converters.conversion.identify import UserHints, identify
from converters.conversion.recognize import recognize
from converters.errors import Refused, UsageError
from converters.formats.io.atomic import same_file
from converters.formats.open import open_checkpoint
from converters.lazy_module import LazyModule
from converters.mapping.match import without_head
from converters.mapping.network_info import network_info
from converters.mapping.settings import made_up_for
from converters.mapping.variants import BN_EPS

from .exact import compare_bytes
from .functional import compare
from .outcome import FUNCTIONAL, REQUIREMENTS, TOLERANCES, RunOptions, Verification
from .recorded_facts import unproved_claims

if TYPE_CHECKING:
    import torch

    from converters.conversion.identify import Identified
    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.network_info import NetworkInfo
else:
    torch = LazyModule("torch")


def verify(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    source_layout: str | None = None,
    layout: str | None = None,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    drop: Sequence[str] = (),
    device: str = "cpu",
    clip: str | os.PathLike[str] | None = None,
    seed: int = 0,
    settings: Mapping[str, object] = MappingProxyType({}),
    inverse_std: bool = False,
    require: str | None = None,
    progress: Callable[[str], None] | None = None,
    evidence: bool = False,
    module: str | torch.nn.Module | None = None,
) -> Verification:
    """Compare an output with its source: bytes, function, and what the output's project computes differently.

    ``source_layout`` and ``layout`` are the two files' layouts, recognised by default, ``variant`` the network where
    names fit several; an output with a record must be what its record says. ``device`` is where the output's side runs:
    ``"cpu"``, ``"cuda"`` or ``"auto"``. ``clip`` is an ``.npy`` of float32 ``[N, C, T, H, W]``, preprocessed; by
    default it is noise from ``seed``, of the size and range that the network was made for. ``entry``, ``head``,
    ``drop``, ``settings`` and ``inverse_std`` tell what the source's tensors do not show, as in `convert`; the
    default is what the source's released files have. With ``require="functional"`` an outcome without both networks is
    not ``ok``; by default, and with ``"exact"``, bytes are enough where no network can run. ``evidence`` also hashes
    both files and reads every value, for a report. ``progress`` is told in words what is being done.

    ``module``, an ``nn.Module`` or ``"package.module:build"``, which makes one, runs in place of our network of the
    output. This runs the user's code: the output's tensors are loaded into the module strictly, and it is called with
    the clip. ``require`` is then ``"functional"``.

    A difference is not an exception: see `Verification.ok`. Raises `ConverterError` where the two cannot be compared:
    an unreadable file, two different networks, a package (torch, onnx, onnxruntime) that is not installed.
    """
    if device not in (*TOLERANCES, "auto"):
        raise UsageError(f"unknown device {device!r}", hint="one of cpu, cuda, auto")
    if require not in (None, *REQUIREMENTS):
        raise UsageError(f"verify cannot require {require!r}", hint=f"one of {', '.join(REQUIREMENTS)}")
    if same_file(os.fspath(source), os.fspath(output)):
        raise UsageError(
            "source and output are the same file",
            path=os.fspath(output),
            hint="name the file that it was made from",
        )
    started = perf_counter()
    options = RunOptions(device, clip, seed, module=module)
    if progress is not None:
        options = options._replace(say=progress)
    if module is not None:
        require = FUNCTIONAL
    hints = UserHints(
        variant=variant, model=variant, head=head, drop=drop, settings=settings, inverse_std=inverse_std
    )
    with (
        open_checkpoint(os.fspath(source), entry=entry) as source_file,
        open_checkpoint(os.fspath(output)) as output_file,
    ):
        sides = _identify_both(source_file, output_file, (source_layout, layout), hints)
        verification = replace(_verify(*sides, hints, options, started), require=require)
        if evidence:
            from .evidence import gather

            options.say("hashing both files, and reading every value")
            gathered = gather(*sides, verification.exact, verification.functional, clip)
            verification = replace(verification, evidence=gathered)
        return verification


def _verify(
    source: Identified, output: Identified, hints: UserHints, options: RunOptions, started: float
) -> Verification:
    identified = perf_counter()
    exact = compare_bytes(source, output, options.say)
    compared = perf_counter()
    functional, declared, skipped = compare(source, output, hints, options)
    declared = declared._replace(notes=(*declared.notes, *unproved_claims(source, output)))
    ran = perf_counter()
    return Verification(
        source=source.checkpoint.path,
        output=output.checkpoint.path,
        source_layout=source.match.layout.name,
        output_layout=output.match.layout.name,
        info=source.info,
        exact=exact,
        functional=functional,
        declared=declared,
        skipped=skipped,
        provenance=output.checkpoint.provenance,
        timings={"read": identified - started, "exact": compared - identified, "functional": ran - compared},
    )


def _identify_both(
    source_file: Checkpoint, output_file: Checkpoint, layouts: tuple[str | None, str | None], hints: UserHints
) -> tuple[Identified, Identified]:
    """Identify both files. Raises `Refused` where they hold different networks."""
    source = identify(source_file, layouts[0], hints)
    # The output's record of the network is under test; without a record there is only what the user says.
    recorded = output_file.provenance
    output_hints = (
        UserHints(variant=hints.variant)
        if recorded
        else hints.replace(head=None, drop=(), settings={}, inverse_std=False)
    )
    try:
        output = identify(output_file, layouts[1], output_hints)
    except Refused:  # perhaps it fits several networks, and the source shows which
        output = _identify_like(source, output_file, layouts[1], output_hints, hints.variant)
    if source.match.variant.name in output.match.also:
        output = _identify_like(source, output_file, layouts[1], output_hints, hints.variant)
    if not recorded and output.match.variant.name == source.match.variant.name:
        output = output._replace(info=_with_settings_of(source.info, output))
    if source.info.classes and not output.info.classes:
        source = source._replace(match=without_head(source.match))  # the rest is compared with the rest
    _require_same_network(source, output)
    return source, output


def _identify_like(
    source: Identified, checkpoint: Checkpoint, layout: str | None, hints: UserHints, model: str | None
) -> Identified:
    """Identify an output whose names and shapes fit several networks or models as the source's network. Without a
    record it does not matter which model of its own project it is: its settings are the source's."""
    variant = source.match.variant.name
    try:
        return identify(checkpoint, layout, hints.replace(variant=variant, model=model))
    except Refused:
        choices = network_info(recognize(checkpoint, layout, variant=variant), checkpoint.provenance).choices
        if checkpoint.provenance or not choices:
            raise
        return identify(checkpoint, layout, hints.replace(variant=variant, model=choices[0]))


def _with_settings_of(source: NetworkInfo, output: Identified) -> NetworkInfo:
    """An output's info with the source's settings. A file without a record does not show them, except those that the
    weights make up for; what its project's own network has is a declared difference. The canonical layout has no
    network of its own for which weights would make up."""
    folded = {BN_EPS} if output.match.layout.identity else made_up_for(output.match.variant)
    settings = {
        name: value if name in folded else source.settings.get(name, value)
        for name, value in output.info.settings.items()
    }
    return output.info.replace(settings=settings)


def _require_same_network(source: Identified, output: Identified) -> None:
    left, right = source.match, output.match
    if left.variant.name != right.variant.name or dict(left.sizes) != dict(right.sizes):
        texts = [
            f"{side.info.title}, {side.info.classes} classes, {side.info.channels} channels"
            for side in (source, output)
        ]
        raise Refused(
            f"the files hold two different networks: {texts[0]}, and {texts[1]}",
            path=output.checkpoint.path,
            hint="name the source that it was converted from",
        )
