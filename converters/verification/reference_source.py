"""A PyTorch source's side: its own layout's network, which is a reference network too, over its own weights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from converters.errors import BadInput, ConverterError, Refused
from converters.loading import build_network, canonical_state, reference_record, require_torch
from converters.source_graphs.net import SourceNet

from .blocks import run_blocks
from .clips import make_inputs
from .source_network import SourceRun

if TYPE_CHECKING:
    from converters.conversion.identify import Identified
    from converters.mapping.schema import LayoutTable

    from .outcome import RunOptions


class NotRun(Exception):
    """The networks cannot be run, and why."""


def run_reference(
    source: Identified, output: Identified, project: LayoutTable, options: RunOptions, device: str
) -> SourceRun:
    """Run the network of ``project``, the source's, over the source's weights, on the CPU.

    Where no table gives a clip, a small one is taken that every network of the family takes. Raises `NotRun` where
    PyTorch is missing, or where the network does not take the clip that is made for it; `Refused` for a clip of the
    user's that it does not take.
    """
    try:
        require_torch()
        small = reference_record(source.info.family).test_clip
    except ConverterError as error:
        raise NotRun(error.told.what) from None
    state = canonical_state(source.checkpoint, source.match, source.info, unequal=True)
    model = build_network(source.match, dict(state), source.info.settings, origin_layout=project)
    size = source.info.input.get("clip") or output.info.input.get("clip") or (small[2:] if small else None)
    inputs, words = make_inputs(
        source.info, options.clip, options.seed, regions="roi_head.weight" in state, size=size
    )
    options.say("the network of the source's layout")
    try:
        values = dict(run_blocks(model, inputs, "cpu"))
    except (RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0][:200]
        if options.clip is None:
            raise NotRun(f"the network does not take a clip of noise: {why}") from None
        raise BadInput(
            f"is not a clip for this network: {why}", path=os.fspath(options.clip), hint="choose another clip"
        ) from None
    if not values:
        raise Refused("the network has no blocks", path=source.checkpoint.path)
    net = SourceNet(
        name="reference", framework="PyTorch", ops=(), inputs={}, blocks={name: name for name in values}
    )
    return SourceRun(net=net, inputs=inputs, clip=words, values=values, device=device)
