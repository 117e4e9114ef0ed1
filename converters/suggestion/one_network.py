"""Whether two files are of one network: else most of what can be paired is paired by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.errors import Refused

from .name_similarity import NUMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .fingerprints import TensorFingerprint
    from .proposal import Proposal

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
    if not proposal.pairs:
        raise Refused(
            "has no tensor that could be one of the other file's",
            path=left,
            hint="are they the same network?",
        )
    everything = [pair.right for pair in proposal.pairs] + [*proposal.left_over, *proposal.right_over]
    vectors = all(tensor.is_vector for tensor in everything)
    pairs = [pair for pair in proposal.pairs if vectors or not pair.right.is_vector]
    sides = [
        _weights(
            [one for one in over if vectors or not one.is_vector], [getattr(pair, side) for pair in pairs]
        )
        for side, over in (("left", proposal.left_over), ("right", proposal.right_over))
    ]
    equal = sum(pair.why == "values" for pair in pairs)
    sure = sum(not pair.doubt for pair in pairs)
    mostly_sure = 2 * sum(not pair.doubt for pair in proposal.pairs) >= len(proposal.pairs)
    # A weight without a partner on a side may be its head, however small the network.
    coverage = min(
        len(pairs) / max(1, len(pairs) + (over if over > 1 or len(pairs) < 3 else 0)) for over, _ in sides
    )
    more = max(again for _, again in sides)
    wanted = LEAST if mostly_sure else UNSURE
    if 2 * equal > len(pairs) or (coverage >= wanted and more <= max(1, MORE * len(pairs))):
        return
    counts = [len(pairs) + over for over, _ in sides]
    raise Refused(
        f"is not the same network as {right}: {len(pairs)} of its {counts[0]} weights could be paired with "
        f"{counts[1]} there, and {sure} of them for sure",
        path=left,
        hint="give two files of one network",
    )


def _weights(over: Sequence[TensorFingerprint], paired: Sequence[TensorFingerprint]) -> tuple[int, int]:
    """How many of one side's weights are left over, and how many of them are like paired ones: further blocks of a
    deeper network. Names that differ in numbers only say so, or shapes where names say nothing."""
    sorts = {_sort(tensor) for tensor in paired}
    if len(sorts) < TELLING * len(paired):
        return len(over), sum(_sort(tensor) in sorts for tensor in over)
    shapes = {tensor.shape for tensor in paired}
    return len(over), sum(tensor.shape in shapes for tensor in over)


def _sort(tensor: TensorFingerprint) -> tuple[str, ...]:
    return tuple(NUMBER.split(tensor.name)[::2])
