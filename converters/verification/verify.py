"""Proof of a conversion: the source's bytes come back, both sides compute the same, and what is known to differ.

The source's side runs in onnxruntime, as its own framework's network over its own arrays (`onnx`); the output's side
is the reference network in PyTorch. The two share the file reader and nothing else.
"""

from __future__ import annotations

import math
import os
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.conversion.identify import UserHints, identify
from converters.conversion.operations import Scale, ShiftVariance, filled
from converters.conversion.plan import NOTHING, make_plan
from converters.conversion.provenance import before, former, origin_of, undoing
from converters.conversion.recognize import recognize
from converters.errors import Refused, UsageError
from converters.formats.checkpoint import open_checkpoint
from converters.mapping.match import headless
from converters.mapping.network_info import network_info
from converters.tensor import same_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from converters.conversion.identify import Identified
    from converters.conversion.plan import Row
    from converters.formats.checkpoint import Checkpoint
    from converters.mapping.network_info import NetworkInfo
    from converters.tensor import Tensor

    from .evidence import Evidence

TOLERANCES = {"cpu": 1e-5, "cuda": 1e-4}
"""How far a block may be off, relative to its largest value. float32 sums in another order reach 1e-6; of the mistakes
that names and shapes cannot show, the mildest tried costs 2e-3. GPUs add up in a further order."""

NOISE = 1e-6
"""Where float32 alone takes two right networks, on the same scale."""


class Changed(NamedTuple):
    """A tensor that does not come back. ``name`` is the source's, ``canonical`` tells where in the network it is."""

    name: str
    canonical: str
    why: str


class Exact(NamedTuple):
    """Whether the inverse mapping gives the source's bytes back. ``dropped`` are the source's tensors that are no
    weights of the network, and so are in no output. ``record`` is what the output's record tells of preprocessing and
    classes otherwise than the source has it, in words."""

    tensors: int
    changed: tuple[Changed, ...]
    dropped: tuple[str, ...]
    record: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Every tensor, every byte, and a record that tells the same."""
        return not self.changed and not self.record


class Block(NamedTuple):
    """One block on both sides. ``shape`` is the output side's, ``largest`` the largest absolute value of the source's
    side, ``relative`` the largest difference over it (inf where a value is NaN, or the block is on one side only:
    ``fault`` says what)."""

    name: str
    source_name: str
    shape: tuple[int, ...]
    largest: float
    max_abs: float
    relative: float
    cosine: float
    fault: str = ""


class TopClass(NamedTuple):
    """One of the likeliest classes, with its logit."""

    number: int
    label: str
    logit: float


class Functional(NamedTuple):
    """Both sides on one clip, block by block in order, the logits last. ``clip`` has the shapes of what was fed and
    where it came from; ``source_top`` and ``output_top`` are the five largest logits of the first clip."""

    device: str
    tolerance: float
    clip: str
    blocks: tuple[Block, ...]
    source_top: tuple[TopClass, ...]
    output_top: tuple[TopClass, ...]

    @property
    def first(self) -> Block | None:
        """The first block that departs."""
        return next((block for block in self.blocks if not block.relative <= self.tolerance), None)

    @property
    def ok(self) -> bool:
        """Every block within the tolerance."""
        return self.first is None


class Declared(NamedTuple):
    """What the output's own project computes otherwise, whatever the weights are: in words, and, where it is more than
    an eps that went into the variances, as measured on the same clip. Not a fault: it is what the layout is."""

    notes: tuple[str, ...]
    first: str = ""
    relative: float = 0.0


class Verification(NamedTuple):
    """The outcome. ``functional`` is None where the source has no source-side network (``skipped`` says why);
    ``evidence`` is there on request."""

    source: str
    output: str
    source_layout: str
    output_layout: str
    info: NetworkInfo
    exact: Exact
    functional: Functional | None
    declared: Declared
    skipped: str
    provenance: Mapping[str, Any] | None
    timings: Mapping[str, float]
    evidence: Evidence | None = None

    @property
    def ok(self) -> bool:
        """Whether everything that was looked at holds."""
        return self.exact.ok and (self.functional is None or self.functional.ok)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``; None stands for what is not finite."""
        found = self.functional
        return {
            "source": self.source,
            "output": self.output,
            "source_layout": self.source_layout,
            "output_layout": self.output_layout,
            "network": self.info.as_data(),
            "exact": {
                "ok": self.exact.ok,
                "tensors": self.exact.tensors,
                "changed": [one._asdict() for one in self.exact.changed],
                "dropped": list(self.exact.dropped),
                "record": list(self.exact.record),
            },
            "functional": None
            if found is None
            else {
                **found._asdict(),
                "ok": found.ok,
                "first": found.first.name if found.first else None,
                "blocks": [_finite(block._asdict()) for block in found.blocks],
                "source_top": [_finite(one._asdict()) for one in found.source_top],
                "output_top": [_finite(one._asdict()) for one in found.output_top],
            },
            "declared": _finite(self.declared._asdict()),
            "skipped": self.skipped,
            "timings": dict(self.timings),
        }


def verify(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    source_layout: str | None = None,
    layout: str | None = None,
    variant: str | None = None,
    entry: str | None = None,
    head: str | None = None,
    device: str = "cpu",
    clip: str | os.PathLike[str] | None = None,
    seed: int = 0,
    pool1: bool | None = None,
    stem_stride: int | None = None,
    inverse_std: bool = False,
    evidence: bool = False,
) -> Verification:
    """Hold an output against its source: bytes, function, and what the output's project does otherwise.

    ``source_layout`` and ``layout`` are the two files' layouts, recognised where they are not said, ``variant`` the
    network where names fit several; an output with a record is held to what that says. ``device`` is ``"cpu"``,
    ``"cuda"`` or ``"auto"``: where the output's side runs. ``clip`` is an ``.npy`` of float32 ``[N, C, T, H, W]``,
    preprocessed; without one noise of ``seed`` is taken, of the size and range that the network was made for.
    ``entry``, ``head``, ``pool1``, ``stem_stride`` and ``inverse_std`` say of the source what no tensor does, as in
    `convert`; without a word, what the source's released files have. ``evidence`` hashes both files and looks at every
    value as well, for a report.

    A miss is no exception: see `Verification.ok`. Raises `ConverterError` where the two cannot be compared: an
    unreadable file, two networks, a package (torch, onnx, onnxruntime) that is not installed.
    """
    if device not in (*TOLERANCES, "auto"):
        raise UsageError(f"there is no device {device!r}", hint="one of cpu, cuda, auto")
    started = perf_counter()
    said = UserHints(variant, variant, head, pool1, stem_stride, inverse_std)
    with (
        open_checkpoint(os.fspath(source), entry=entry) as first,
        open_checkpoint(os.fspath(output)) as second,
    ):
        theirs = identify(first, source_layout, said)
        # What the output's record says of the network is under test; without a record there is only the user's word.
        word = UserHints(variant) if second.provenance else said._replace(head=None, inverse_std=False)
        try:
            ours = identify(second, layout, word)
        except Refused:  # perhaps one of several, and the source tells which
            ours = _as_told(second, layout, word, theirs, variant)
        if not second.provenance and ours.match.variant.name == theirs.match.variant.name:
            ours = ours._replace(info=_settings_of(theirs.info, ours))
        if theirs.info.classes and not ours.info.classes:
            theirs = theirs._replace(match=headless(theirs.match))  # the rest is held against the rest
        _comparable(theirs, ours)
        read = perf_counter()
        exact = _exact(theirs, ours)
        compared = perf_counter()
        from .functional import compare

        functional, declared, skipped = compare(theirs, ours, said, device=device, clip=clip, seed=seed)
        ran = perf_counter()
        seen = None
        if evidence:
            from .evidence import gather

            seen = gather(theirs, ours, exact, functional, clip)
        return Verification(
            first.path,
            second.path,
            theirs.match.layout.name,
            ours.match.layout.name,
            theirs.info,
            exact,
            functional,
            declared,
            skipped,
            second.provenance,
            {"read": read - started, "exact": compared - read, "functional": ran - compared},
            seen,
        )


def _as_told(
    checkpoint: Checkpoint, layout: str | None, word: UserHints, theirs: Identified, model: str | None
) -> Identified:
    """An output that is one of several networks or models by names and shapes, as the source's network. Without a
    record it does not matter which model of its own project: its settings are the source's."""
    one = theirs.match.variant.name
    try:
        return identify(checkpoint, layout, word._replace(variant=one, model=model))
    except Refused:
        choices = network_info(recognize(checkpoint, layout, variant=one), checkpoint.provenance).choices
        if checkpoint.provenance or not choices:
            raise
        return identify(checkpoint, layout, word._replace(variant=one, model=choices[0]))


def _settings_of(source: NetworkInfo, ours: Identified) -> NetworkInfo:
    """An output's facts with the source's settings, but for those that weights make up for: nothing in a file without a
    record shows them, and what its project's own network has is told as such."""
    made_up = ours.match.variant.table.folded_settings
    known = {
        name: value if name in made_up else source.settings.get(name, value)
        for name, value in ours.info.settings.items()
    }
    return ours.info._replace(settings=known)


def _comparable(theirs: Identified, ours: Identified) -> None:
    """Raise `Refused` for two files that are not of one network."""
    one, other = theirs.match, ours.match
    if one.variant.name != other.variant.name or dict(one.sizes) != dict(other.sizes):
        texts = [
            f"{side.info.title}, {side.info.classes} classes, {side.info.channels} channels"
            for side in (theirs, ours)
        ]
        raise Refused(
            f"the files hold two networks: {texts[0]}, and {texts[1]}",
            path=ours.checkpoint.path,
            hint="name the source that it was converted from",
        )


def _exact(theirs: Identified, ours: Identified) -> Exact:
    """Take the output back to the source's layout and compare every tensor's bytes. Shapes, dtypes and names are
    those of the source itself; of the output's record only what undoes a rounding is used. Where a layout makes weights
    round and there is no such record, the output has to have what the source converts to, bit for bit."""
    source, output = theirs.checkpoint, ours.checkpoint
    tensors = {
        entry.name: source.tensors[theirs.match.prefix + entry.name]
        for entry in theirs.match.slots
        if entry.name
    }
    undo = undoing(output.provenance, output.tensors)
    origin = origin_of(theirs.match, source.tensors, NOTHING, theirs.info.bn_eps, {}, None)
    plan = make_plan(
        ours.match,
        output.tensors,
        theirs.match.layout,
        before(ours.info, output.provenance, undo),
        eps=theirs.info.bn_eps,
        undo=undo,
        former=former({"origin": origin}, theirs.match.layout.name),
        path=output.path,
    )
    canonical = {
        theirs.match.prefix + entry.name: entry.canonical for entry in theirs.match.slots if entry.name
    }
    changed = []
    forward = None if output.provenance else _forward(theirs, ours)
    for row in plan.rows:
        wanted = source.tensors[row.target]
        found = row.tensor(output.tensors)
        if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            why = f"{found.dtype} {_sizes(found.shape)} for {wanted.dtype} {_sizes(wanted.shape)}"
        elif not same_bytes(found, wanted):
            if forward and row.source and _rounds(row) and row.target in forward:
                there = forward[row.target].tensor(source.tensors)
                here = output.tensors[row.source]
                if (there.dtype, there.shape) == (here.dtype, here.shape) and same_bytes(there, here):
                    continue
            why = _difference(found, wanted)
        else:
            continue
        changed.append(Changed(row.target, canonical[row.target], why))
    for name, value in plan.implied:
        tensor = output.tensors[name]
        if tensor.tobytes() != filled(name, tensor.dtype, tensor.shape, value).tobytes():
            changed.append(Changed(name, name, f"the source takes it for {value:g} everywhere"))
    sources = {row.source: row.target for row in plan.rows}
    for one, other in plan.equal:
        if not same_bytes(output.tensors[one], output.tensors[other]):
            why = f"the output has it twice, and {other} is not {one}"
            name = sources.get(one, one)
            changed.append(Changed(name, canonical.get(name, name), why))
    return Exact(len(tensors), tuple(changed), theirs.match.dropped, tuple(_told_otherwise(theirs, ours)))


def _rounds(row: Row) -> bool:
    """Whether a tensor's way moves its values, not only its bytes."""
    return any(isinstance(op, (ShiftVariance, Scale)) for op in row.ops)


def _forward(theirs: Identified, ours: Identified) -> dict[str, Row]:
    """The rows of a conversion of the source into the output's layout, by the source's names; none where that layout
    does not take this network."""
    try:
        plan = make_plan(
            theirs.match,
            theirs.checkpoint.tensors,
            ours.match.layout,
            theirs.info,
            eps=ours.info.bn_eps,
            path=theirs.checkpoint.path,
        )
    except Refused:
        return {}
    return {row.source: row for row in plan.rows if row.source is not None}


def _told_otherwise(theirs: Identified, ours: Identified) -> Iterator[str]:
    """What the output's record tells of what goes in and comes out otherwise than the source has it."""
    network = (ours.checkpoint.provenance or {}).get("network") or {}
    told, wanted = network.get("input", {}), theirs.info.input
    for name in ("order", "range", "mean", "std", "mean_cube"):
        if name in wanted and told.get(name, wanted[name]) != wanted[name]:
            yield f"{name} {_said(told[name])} for {_said(wanted[name])}"
    pairs = zip(told.get("labels", ()), wanted.get("labels", ()), strict=False)
    if apart := [number for number, (one, other) in enumerate(pairs) if one != other]:
        yield f"{len(apart)} labels, the first of class {apart[0]}"


def _said(value: Any) -> str:
    return " ".join(f"{one:g}" for one in value) if isinstance(value, (list, tuple)) else str(value)


def _difference(found: Tensor, wanted: Tensor) -> str:
    """How far two tensors of one dtype and shape are apart, in words. Holds both in memory."""
    import numpy

    from converters.conversion.operations import arrays

    # A chunk is another's memory as soon as the next one is read, so each is copied.
    one, other = (
        numpy.concatenate([values.copy() for values in arrays(side.data, side.dtype)])
        for side in (found, wanted)
    )
    bits = f"u{one.itemsize}"
    differing = int((one.view(bits) != other.view(bits)).sum())
    with numpy.errstate(invalid="ignore"):
        apart = numpy.abs(one.astype("f8") - other.astype("f8")).max()
    off = f"by up to {apart:.2e}" if numpy.isfinite(apart) else "with NaN or Inf among them"
    return f"{differing:,} of {one.size:,} values differ, {off}"


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
