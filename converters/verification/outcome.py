"""The outcome of a verification, as records, and its tolerances."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from converters.mapping.network_info import NetworkInfo
from converters.shown import Shown

TOLERANCES = {"cpu": 1e-5, "cuda": 1e-4}
"""The largest difference allowed in a block, relative to its largest value. Summing float32 in another order makes
about 1e-6; the mildest mistake tried that names and shapes cannot show makes 2e-3. GPUs sum in yet another order."""

REFERENCE = "our reference network of the source's layout"
"""What runs on the side of a PyTorch source."""

EXACT, FUNCTIONAL = "exact", "functional"
REQUIREMENTS = (EXACT, FUNCTIONAL)
"""What a verification can be required to have compared: the bytes, or both networks as well."""

ROUNDED = {"float16": 11, "bfloat16": 8}
"""Significant bits of the dtypes that round weights."""

ROUNDING_STEPS = 8
"""How often the rounding of one weight, 2 ** -bits of its value, a block may be off by, relative to its largest value.
Weights are rounded independently, so most of it cancels in a sum. Measured: at most 2.7 in float16 and 2.3 in bfloat16
(R(2+1)D-34, ir-CSN-152, R2D-18); so 3.9e-3 is allowed for float16 and 3.1e-2 for bfloat16."""


def tolerance_for(device: str, rounded: str = "") -> float:
    """The largest difference allowed in a block, relative to its largest value, where the output's weights were
    ``rounded`` to a dtype or, with "", were not."""
    return ROUNDING_STEPS * 2.0 ** -ROUNDED[rounded] if rounded else TOLERANCES[device]


NOISE = 1e-6
"""The relative difference that float32 arithmetic alone makes between two correct networks."""


def _silent(_: str) -> None:
    pass


class RunOptions(NamedTuple):
    """Where to run the output's side (``cpu``, ``cuda`` or ``auto``), and on which clip; see `verification.verify`.
    ``say`` is told in words what is being done. ``module`` runs in place of the output's reference network."""

    device: str
    clip: str | os.PathLike[str] | None
    seed: int
    say: Callable[[str], None] = _silent
    module: Any = None


class ChangedTensor(NamedTuple):
    """A tensor that cannot be restored. ``name`` is its name in the source, ``canonical`` its place in the network."""

    name: str
    canonical: str
    why: str


class ExactResult(NamedTuple):
    """Whether the inverse mapping restores the source's bytes.

    ``tensors`` counts the source's tensors that belong to the network; ``rounded`` of them are in the output as its
    record says, rounded to another dtype. ``dropped`` names those that do not belong to it and so are in no output.
    ``record`` lists, in words, where the output's record of preprocessing and classes contradicts the source.
    """

    tensors: int
    changed: tuple[ChangedTensor, ...]
    dropped: tuple[str, ...]
    record: tuple[str, ...] = ()
    rounded: int = 0

    @property
    def ok(self) -> bool:
        """Whether every byte is restored, or rounded as the record says, and the record is right."""
        return not self.changed and not self.record

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "ok": self.ok,
            "tensors": self.tensors,
            "rounded": self.rounded,
            "changed": [tensor._asdict() for tensor in self.changed],
            "dropped": list(self.dropped),
            "record": list(self.record),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """One block on both sides.

    ``shape`` is the output side's, ``largest`` the largest absolute value on the source's side, ``max_abs`` the largest
    absolute difference, ``relative`` their quotient: infinite where a value is NaN, or where only one side has the
    block. ``fault`` then says which.
    """

    name: str
    source_name: str
    shape: tuple[int, ...]
    largest: float = 0.0
    max_abs: float = 0.0
    relative: float = math.inf
    cosine: float = 0.0
    fault: str = ""


class TopClass(NamedTuple):
    """One of the most likely classes, with its logit."""

    number: int
    label: str
    logit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionalResult:
    """Both sides on one clip, block by block in the order computed, the logits last.

    ``clip`` says the shapes of the inputs and where they came from, ``source_network`` what ran on the source's side,
    ``rounded`` the dtype that the output's weights were rounded to, "" for none. ``module`` is the user's own that ran
    on the output's side, "" where the reference network did; ``order`` says where it runs blocks in another order.
    ``source_top`` and ``output_top`` are the five largest logits of the first clip.
    """

    device: str
    tolerance: float
    clip: str
    blocks: tuple[BlockResult, ...]
    source_top: tuple[TopClass, ...]
    output_top: tuple[TopClass, ...]
    source_network: str = ""
    rounded: str = ""
    module: str = ""
    order: str = ""

    @property
    def first(self) -> BlockResult | None:
        """The first block whose difference exceeds the tolerance."""
        return next((block for block in self.blocks if not block.relative <= self.tolerance), None)

    @property
    def worst(self) -> BlockResult:
        """The block with the largest relative difference."""
        return max(self.blocks, key=lambda block: block.relative)

    @property
    def ok(self) -> bool:
        """Whether every block is within the tolerance."""
        return self.first is None

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "device": self.device,
            "tolerance": self.tolerance,
            "rounded": self.rounded,
            "source_network": self.source_network,
            "module": self.module,
            "order": self.order,
            "clip": self.clip,
            "ok": self.ok,
            "first": self.first.name if self.first else None,
            "blocks": [_finite(asdict(block)) for block in self.blocks],
            "source_top": [_finite(ranked._asdict()) for ranked in self.source_top],
            "output_top": [_finite(ranked._asdict()) for ranked in self.output_top],
        }


class DeclaredDifferences(NamedTuple):
    """How the output's own project computes differently, whatever the weights are. This is not a fault: it is what the
    layout stands for.

    ``notes`` say it in words. Where it is more than an eps that the variances absorb, it is measured on the same clip:
    ``first`` names the first block that differs, ``relative`` is the difference of the logits.
    """

    notes: tuple[str, ...]
    first: str = ""
    relative: float = 0.0


class Comparison(NamedTuple):
    """What running both sides gave. ``result`` is None where nothing was run; ``skipped`` then says why."""

    result: FunctionalResult | None
    declared: DeclaredDifferences
    skipped: str = ""


class HashedFile(NamedTuple):
    """A file that took part: its role, its name (with any folders below the checkpoint's own), size in bytes, and
    SHA-256 in hexadecimal."""

    role: str
    name: str
    size: int
    sha256: str


class TensorPair(NamedTuple):
    """One tensor of the network in both files: name, dtype and shape; None on a side that does not store it."""

    canonical: str
    source: tuple[str, str, tuple[int, ...]] | None
    output: tuple[str, str, tuple[int, ...]] | None


class Histogram(NamedTuple):
    """How the finite values of a tensor are distributed from ``low`` to ``high`` on both sides, as counts in bins of
    equal width. A side that does not store the tensor has no bins."""

    low: float
    high: float
    source: tuple[int, ...]
    output: tuple[int, ...]


class SuspectTensor(NamedTuple):
    """A tensor to look at, and why, in words. ``histogram`` is None where it has no finite value, and for all but the
    first of very many such tensors."""

    canonical: str
    reasons: tuple[str, ...]
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a report shows beside the result.

    ``containers`` are the formats of source and output in words, ``counters`` the output's batch counters,
    ``tensors_read`` how many of its tensors were searched for suspect values, and ``software`` what computed the
    result, with versions.
    """

    containers: tuple[str, str]
    files: tuple[HashedFile, ...]
    pairs: tuple[TensorPair, ...]
    counters: tuple[str, ...]
    tensors_read: int
    suspects: tuple[SuspectTensor, ...]
    software: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verification(Shown):
    """The outcome. ``functional`` is None where there is no network of the source to run (``skipped`` says why);
    ``require`` is what was asked for at least, and ``evidence`` is there on request."""

    source: str
    output: str
    source_layout: str
    output_layout: str
    info: NetworkInfo
    exact: ExactResult
    functional: FunctionalResult | None
    declared: DeclaredDifferences
    skipped: str
    provenance: Mapping[str, Any] | None
    timings: Mapping[str, float]
    require: str | None = None
    evidence: Evidence | None = None

    def __bool__(self) -> bool:
        raise TypeError("a Verification is neither true nor false: ask .ok")

    def lines(self) -> tuple[str, ...]:
        """The verdict; bytes; networks."""
        functional = self.functional
        networks = (
            f"{len(functional.blocks)} blocks of both networks {'agree' if functional.ok else 'differ'}"
            if functional
            else f"networks not run: {self.skipped}"
        )
        return (
            f"{self.output} against {self.source}: {self.verdict}",
            f"{self.exact.tensors} tensors {'are restored bit for bit' if self.exact.ok else 'are not all restored'}",
            networks,
        )

    @property
    def agrees(self) -> bool:
        """Whether everything that was compared agrees."""
        return self.exact.ok and (self.functional is None or self.functional.ok)

    @property
    def ok(self) -> bool:
        """Whether everything that was compared agrees, and what was required was compared."""
        return self.agrees and not (self.require == FUNCTIONAL and self.functional is None)

    @property
    def verdict(self) -> str:
        """``"verified"``: all bytes, and both networks ran and agree; ``"bytes only"``: the networks did not run;
        ``"not verified"``: something differs."""
        if not self.agrees:
            return "not verified"
        return "verified" if self.functional else "bytes only"

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``; None stands for a number that is not finite."""
        return {
            "verdict": self.verdict,
            "source": self.source,
            "output": self.output,
            "source_layout": self.source_layout,
            "output_layout": self.output_layout,
            "network": self.info.as_data(),
            "exact": self.exact.as_data(),
            "functional": self.functional.as_data() if self.functional else None,
            "declared": _finite(self.declared._asdict()),
            "skipped": self.skipped,
            "require": self.require,
            "timings": dict(self.timings),
        }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
