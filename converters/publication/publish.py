"""Give a checkpoint the name, the card and the hashes that it is published with, and check such a folder."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from converters.checksums import dump_sums, parse_sums, sha256_of
from converters.conversion.convert import convert
from converters.conversion.output_names import fill, placeholders, stem_of
from converters.errors import BadInput, ConverterError, Refused, UsageError
from converters.files import SourceFile
from converters.formats.io.atomic import refuse_output, replacing
from converters.formats.open import open_checkpoint
from converters.formats.registry import format_named, formats
from converters.inspection.diff import diff
from converters.inspection.inspect import inspect
from converters.mapping.catalog import load_layout
from converters.mapping.names import BATCHES
from converters.mapping.releases import release_of
from converters.printable import printable
from converters.reports.model_card import CardFacts, model_card, source_names
from converters.tensor import FLOATS, known_crc

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.inspect import Inspection

SUMS = "SHA256SUMS"
PATTERN = "{stem}-{hash8}"
"""OpenMMLab's way to name a file."""

_NAMED = re.compile(r"-([0-9a-f]{8})(?=\.|$)")
_WEIGHTS = (*format_named("pth").suffixes, *format_named("safetensors").suffixes)
_CHECKPOINTS = tuple(suffix for record in formats() for suffix in record.suffixes)


class Published(NamedTuple):
    """A published file. ``checks`` say what was verified, ``stripped`` what was left out."""

    path: str
    card: str
    sums: str
    sha256: str
    size: int
    checks: tuple[str, ...]
    stripped: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return self._asdict()


class Checked(NamedTuple):
    """A file of a published folder; ``fault`` is empty where it is what the folder says."""

    name: str
    fault: str


def publish(
    path: str | os.PathLike[str],
    *,
    name: str = PATTERN,
    folder: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    verify: bool = False,
    force: bool = False,
) -> Published:
    """Publish a PyTorch file of a known network: under its hash, with a model card and ``SHA256SUMS``.

    ``name`` is a pattern of ``{stem}``, ``{network}``, ``{layout}``, ``{classes}`` and ``{hash8}``, the first 8
    hexadecimal digits of the SHA-256, which must be in it; the suffix is the file's. ``folder`` is where to (by
    default the file's own). Training state is stripped: then the file is written anew, else its bytes are kept.
    With ``source`` the file must hold, bit for bit, what that file converts to; with ``verify`` both networks must also
    compute the same (`verification.verify`). Without, its checksums and its structure are verified.

    Raises `Refused` where something differs, the network is not known or the name is taken, `BadInput` where a file
    cannot be read, `UsageError` for a wrong pattern. Until all is verified nothing has its name. Several may publish
    to one folder at a time.
    """
    path = os.fspath(path)
    if verify and source is None:
        raise UsageError("--verify needs a source to compare with", hint="name it with --source")
    if "hash8" not in placeholders(name) or os.path.basename(name) != name:
        raise UsageError(f"the name {name!r} must hold {{hash8}} and no folder")
    folder = os.fspath(folder) if folder is not None else os.path.dirname(path)
    suffix = _suffix(path)
    found = _known(path)
    stem = _stem(path)
    sums = os.path.join(folder, SUMS)
    if os.path.lexists(sums):
        _sums(sums)  # a list that cannot be added to: before any work
    staged = os.path.join(folder, f".{stem}.publishing{suffix}")
    again = os.path.join(folder, f".{stem}.again{suffix}")
    try:
        refuse_output(staged, force=True)
        stripped = _stage(path, staged, found)
        published = inspect(staged)
        checks = _read_through(staged)
        if source is not None:
            checks = (_against(staged, os.fspath(source), again, published), *checks)
            if verify:
                checks = (*checks, *_verify(staged, os.fspath(source), published))
        digest = sha256_of(staged)
        supports = {
            "stem": stem,
            "network": _network(published).variant,
            "layout": published.layout,
            "classes": _network(published).classes,
            "hash8": digest[:8],
        }
        base = fill(name, supports) + suffix
        if not base.isprintable():
            raise UsageError("the name has a character that a list of hashes cannot hold", path=base)
        final = os.path.join(folder, base)
        if not _is(final, digest):
            refuse_output(final, force=force)
            os.replace(staged, final)
    except ConverterError as error:  # what was staged has a name that nobody knows
        error.path = {staged: path, again: os.fspath(source or "")}.get(error.path, error.path)
        raise
    finally:
        for leftover in (staged, again):
            with suppress(OSError):
                os.unlink(leftover)
    size = os.path.getsize(final)
    network = _network(published)
    names = [name for name, _ in reversed(source_names(published.provenance))]
    release = release_of([*names, os.path.basename(path)], network.variant, network.classes)
    facts = CardFacts(file=base, sha256=digest, size=size, release=release, checks=checks, stripped=stripped)
    text = model_card(published, facts)
    card = final.removesuffix(suffix) + ".md"
    _write(card, text)
    with _alone(folder):
        known = _sums(sums) if os.path.lexists(sums) else {}
        known |= {base: digest, os.path.basename(card): sha256_of(card)}
        _write(sums, dump_sums(known))
    return Published(final, card, sums, digest, size, checks, stripped)


def check_folder(folder: str | os.PathLike[str]) -> list[Checked]:
    """Verify a published folder: every listed file is there with its hash and the hash that its name tells, every
    checkpoint can be opened, and none of any format lies there unlisted. Raises `BadInput` where there is no list, or
    nothing on it."""
    folder = os.fspath(folder)
    sums = _sums(os.path.join(folder, SUMS))
    if not sums:
        raise BadInput("lists no file", path=os.path.join(folder, SUMS))
    found = [Checked(name, _fault(folder, name, digest)) for name, digest in sums.items()]
    lying = [name for name in sorted(os.listdir(folder)) if name.endswith(_CHECKPOINTS)]
    return [*found, *(Checked(name, f"is not in {SUMS}") for name in lying if name not in sums)]


def _stem(path: str) -> str:
    """The name without suffix and without a hash of a former publication; eight decimals alone are rather a date."""
    stem = stem_of(path)
    named = _NAMED.search(stem)
    if named and (not named[1].isdecimal() or sha256_of(path).startswith(named[1])):
        return _NAMED.sub("", stem)
    return stem


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Nobody else adds to the folder's list meanwhile, where the file system has locks."""
    if sys.platform == "win32":
        yield
        return
    fd = os.open(folder or os.curdir, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _suffix(path: str) -> str:
    suffix = next((one for one in sorted(_WEIGHTS, key=len, reverse=True) if path.lower().endswith(one)), "")
    if not suffix:
        raise Refused(
            "is not published: only .pth, .pt and .safetensors are",
            path=path,
            hint="convert it first, and publish the output",
        )
    return ".pth" if suffix == ".pth.tar" else suffix


def _known(path: str) -> Inspection:
    found = inspect(path)
    if found.network is None:
        raise Refused(found.unknown, path=path, hint="only a network that is known here can be published")
    return found


def _network(found: Inspection) -> Any:
    assert found.network is not None
    return found.network


def _stage(path: str, staged: str, found: Inspection) -> tuple[str, ...]:
    """Put what is to be published under a name of its own; returns what was left out."""
    with open_checkpoint(path) as checkpoint:
        extra = [name for name in checkpoint.other_values if name != "meta"]
        wrapped = checkpoint.details.get("wrapper") == "state_dict"
    extra += [name for name in found.dropped if name not in extra and name != "meta"]
    if extra:
        wrap = wrapped and load_layout(found.layout).storage.container == "mmcv" and staged.endswith(".pth")
        convert(found.layout, path, staged, to=found.layout, wrap=wrap, force=True)
        return tuple(extra)
    with SourceFile(path) as file, replacing(staged, force=True) as out:
        for chunk in file.chunks(0, file.size):
            out.write(chunk)
    return ()


def _read_through(path: str) -> tuple[str, ...]:
    """Read every tensor, its checksum compared where it has one."""
    from converters.conversion.tensor_stats import not_finite

    bad = summed = 0
    with open_checkpoint(path) as checkpoint:
        tensors = checkpoint.tensors
        for tensor in tensors.values():
            summed += known_crc(tensor.data) is not None
            if tensor.dtype in FLOATS:
                bad += not_finite(tensor)
            else:
                for _ in tensor.data.chunks():
                    pass
    finite = f"{bad} values are NaN or infinite" if bad else "every value is finite"
    sums = "checksums included" if summed == len(tensors) else "which have no checksums in this format"
    return (f"all {len(tensors)} tensors were read through, {sums}; {finite}",)


def _said(found: Inspection, source: str) -> dict[str, Any]:
    """How a source was read when the published file was made from it, as keywords of `convert`, from the record."""
    told = found.provenance or {}
    names = [told for _, told in source_names(told)]
    base = printable(os.path.basename(os.path.normpath(source)))
    for number, made_from in enumerate(names, 1):
        if base == made_from["name"] or (
            os.path.isfile(source) and os.path.getsize(source) == made_from.get("size")
        ):
            said = {
                "source": made_from.get("layout"),
                "inverse_std": made_from.get("inverse_std", False),
                "entry": made_from.get("wrapper"),
                "head": told["origin"].get("head") if number == len(names) else None,
                "variant": _network(found).model,
            }
            return {key: value for key, value in said.items() if value}
    return {}


def _against(staged: str, source: str, again: str, found: Inspection) -> str:
    """Convert the source once more and compare every tensor with what is to be published."""
    dtypes = {dtype for _, dtype, _ in found.tensors if dtype in FLOATS}
    told = (found.provenance or {}).get("restore", {})
    cast = dtypes.pop() if len(dtypes) == 1 and told.get("dtypes") else None
    asked: dict[str, Any] = {"source": None, "to": found.layout, "dtype": cast, **_said(found, source)}
    read = asked.pop("source")
    if not _network(found).classes:
        whole = convert(read, source, again, **asked, force=True, dry_run=True)
        asked["backbone"] = bool(whole.info and whole.info.classes)
    made = convert(read, source, again, **asked, force=True, sha256=True)
    compared = diff(again, staged, layout_a=found.layout, layout_b=found.layout)
    bad = [row for row in compared.rows if row.kind != "equal" and not row.name.endswith(BATCHES)]
    if bad:
        raise Refused(
            f"is not what {os.path.basename(source)} converts to: {len(bad)} tensors differ",
            path=found.path,
            where=", ".join(row.name for row in bad[:3]),
            hint="`convert diff` shows what differs",
        )
    return (
        f"all {len(made.rows)} tensors equal, bit for bit, what `{os.path.basename(source)}` "
        f"(SHA-256 `{made.provenance['source']['sha256']}`) converts to"
    )


def _verify(staged: str, source: str, found: Inspection) -> tuple[str, ...]:
    """Both networks on one clip: how far apart any block is."""
    from converters.verification.verify import verify

    said = {key: value for key, value in _said(found, source).items() if key in ("variant", "inverse_std")}
    proof = verify(source, staged, layout=found.layout, **said)
    ran = proof.functional
    if not proof.ok:
        first = ran.first if ran else None
        raise Refused(
            f"does not compute what {os.path.basename(source)} does",
            path=found.path,
            where=f"first at {first.name}" if first else "",
            hint="`convert verify` shows what differs",
        )
    if ran is None:
        return (f"not run: {proof.skipped}",)
    worst = max(ran.blocks, key=lambda block: block.relative)
    return (
        f"on the same clip ({ran.clip}; {ran.device}) the source framework's network and the reference network agree "
        f"in all {len(ran.blocks)} blocks to {worst.relative:.1e} of the largest value ({worst.name}), in the logits "
        f"to {ran.blocks[-1].relative:.1e}; {ran.tolerance:g} was allowed",
        *proof.declared.notes,
    )


def _is(path: str, digest: str) -> bool:
    return os.path.isfile(path) and sha256_of(path) == digest


def _write(path: str, text: str) -> None:
    with replacing(path, force=True) as out:
        out.write(text.encode())


def _sums(path: str) -> dict[str, str]:
    with SourceFile(path) as file:
        if file.size > 1 << 24:
            raise BadInput("is too long for a list of hashes", path=path)
        data = file.read_at(0, file.size)
    try:
        return parse_sums(data.decode(), path)
    except UnicodeDecodeError:
        raise BadInput("is no list of SHA-256 hashes", path=path) from None


def _fault(folder: str, name: str, digest: str) -> str:
    """What is wrong with one listed file; a list may not lead out of its folder."""
    if os.path.basename(name) != name:
        return "is not a name in this folder"
    path = os.path.join(folder, name)
    try:
        if sha256_of(path) != digest:
            return f"has another hash than {SUMS} says"
        named = _NAMED.findall(name)
        if named and digest[:8] not in named and name.endswith(_WEIGHTS):
            return "has another hash than its name says"
        if name.endswith(_WEIGHTS):
            open_checkpoint(path).close()
    except ConverterError as error:
        return error.what
    return ""
