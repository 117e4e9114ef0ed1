"""Whether two files are of one network: else most of what can be paired is paired by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused

from .name_similarity import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .fingerprints import TensorFingerprint
    from .proposal import Proposal, ProposedPair

LEAST = 0.5
"""The share of the weights of each file that must have a partner, whatever speaks for it."""
UNSURE = 0.9
"""The share that must have one where most pairs are unsure."""
MORE = 0.1
"""How many more weights of the same sort as the paired ones a file may have, as a share of the paired ones."""

TELLING = 0.7
"""The share of different names, numbers aside, from which on names do not say which tensors are alike."""


def refuse_other_network(proposal: Proposal, left: str, right: str) -> None:
    """Raise `Refused` where the files' weights, their kernels and matrices, do not go together."""
    pairs = [pair for pair in proposal.pairs if not pair.right.is_vector] or list(proposal.pairs)
    sides = [
        _weights(proposal.left_over, pairs, "left"),
        _weights(proposal.right_over, pairs, "right"),
    ]
    if not pairs:
        raise Refused(
            "has no tensor that could be one of the other file's",
            path=left,
            hint="are they the same network?",
        )
    equal = sum(pair.why == "values" for pair in pairs)
    sure = sum(not pair.doubt for pair in pairs)
    mostly_sure = 2 * sum(not pair.doubt for pair in proposal.pairs) >= len(proposal.pairs)
    coverage = min(len(pairs) / (len(pairs) + len(over)) for over, _ in sides)
    more = max(again for _, again in sides)
    wanted = LEAST if mostly_sure else UNSURE
    if 2 * equal > len(pairs) or (coverage >= wanted and more <= max(1, MORE * len(pairs))):
        return
    counts = [len(pairs) + len(over) for over, _ in sides]
    raise Refused(
        f"is not the same network as {right}: {len(pairs)} of its {counts[0]} weights could be paired with "
        f"{counts[1]} there, and {sure} of them for sure",
        path=left,
        hint="give two files of one network",
    )


def _weights(
    left_over: Iterable[TensorFingerprint], pairs: Iterable[ProposedPair], side: str
) -> tuple[list[str], int]:
    """What is left over of one side's kernels and matrices, and how many of them are like paired ones: further blocks
    of a deeper network. Names that differ in numbers only say so, or shapes where names say nothing."""
    over = [tensor for tensor in left_over if not tensor.is_vector]
    paired = [getattr(pair, side) for pair in pairs]
    sorts = {_sort(tensor) for tensor in paired}
    if len(sorts) < TELLING * len(paired):
        return [tensor.name for tensor in over], sum(_sort(tensor) in sorts for tensor in over)
    shapes = {tensor.shape for tensor in paired}
    return [tensor.name for tensor in over], sum(tensor.shape in shapes for tensor in over)


def _sort(tensor: TensorFingerprint) -> tuple[str, ...]:
    return tuple(NUMBER.split(tensor.name)[::2])
