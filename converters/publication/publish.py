"""Publish a checkpoint: a file with its hash in the name, a model card, and a line in the folder's list of hashes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.checksums import sha256_of
from converters.conversion.convert import convert
from converters.conversion.output_names import fill, placeholders, stem_of
from converters.conversion.recognize import recognize
from converters.errors import ConverterError, Refused, UsageError
from converters.files import SourceFile
from converters.formats.io.atomic import refuse_output, replacing, staging
from converters.formats.open import open_checkpoint
from converters.formats.registry import format_named
from converters.inspection.inspect import inspect
from converters.locations import is_remote, without_credentials
from converters.mapping.layout_tables import load_layout
from converters.reports.front_matter import load_yaml
from converters.reports.model_card import CardFacts, model_card
from converters.shown import Shown

from .checks import compare_networks, compare_with_source, network_of, read_through
from .compare_record import compare_records
from .hash_list import add_hashes, list_path, locked, read_hashes, write_text
from .release_evidence import release_evidence

if TYPE_CHECKING:
    from converters.formats.io.atomic import Staging
    from converters.inspection.inspect import Inspection

PATTERN = "{stem}-{hash8}"
"""How OpenMMLab names files."""

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})(?=\.|$)")
WEIGHTS = (
    *(suffix for suffix in format_named("pth").suffixes if suffix not in format_named("pth").wrappers),
    *format_named("safetensors").suffixes,
)
"""Suffixes of the files that can be published."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Published(Shown):
    """A published file. ``checks`` say what was compared, ``stripped`` names what was left out, ``pushed`` is the
    address of the commit on the Hub."""

    path: str
    card: str
    sums: str
    sha256: str
    size: int
    checks: tuple[str, ...]
    stripped: tuple[str, ...]
    pushed: str = ""

    def lines(self) -> tuple[str, ...]:
        """The file, its card, its hash."""
        pushed = (f"pushed {self.pushed}",) if self.pushed else ()
        return (f"published {self.path}", f"card {self.card}", f"sha256 {self.sha256}", *pushed)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return asdict(self)


def publish(
    path: str | os.PathLike[str],
    *,
    name: str = PATTERN,
    folder: str | os.PathLike[str] | None = None,
    source: str | os.PathLike[str] | None = None,
    settings: Mapping[str, object] = MappingProxyType({}),
    verify: bool = False,
    license: str = "",
    force: bool = False,
    push: str = "",
    progress: Callable[[str], None] | None = None,
) -> Published:
    """Publish a PyTorch file of a known network: under its hash, with a model card and ``SHA256SUMS``.

    ``name`` is a pattern of ``{stem}``, ``{network}``, ``{layout}``, ``{classes}`` and ``{hash8}``, the first 8
    hexadecimal digits of the SHA-256, which is required; the suffix is the file's. ``folder`` is the folder to publish
    to, by default the file's own. Training state is stripped by writing the file anew; otherwise its bytes are kept.
    With ``source`` the file must hold, bit for bit, what that file converts to, and its record must say what the
    record of that conversion says; ``settings`` are those that were given then, as in `convert`. With ``verify`` both
    networks must also compute the same (`verification.verify`). Without a source, only checksums and structure count.
    ``license`` is that of these weights; without it the card has one only if a hash proves which release they are.
    ``push`` is a repository on the Hugging Face Hub, ``owner/name``, that the published file then goes to, with its
    card and what `load_model` needs; the file must have a record.

    Raises `Refused` where something differs, the network is unknown or the name is taken, `BadInput` where a file
    cannot be read, `UsageError` for a wrong pattern, `ConverterError` without PyYAML. The file gets its name only when
    all of it is compared. Several processes may publish to one folder at a time. ``progress`` is told in words what is
    being done.
    """
    path, source = os.fspath(path), os.fspath(source) if source is not None else None
    folder = os.fspath(folder) if folder is not None else os.path.dirname(path)
    _require_possible(name, folder, source, verify=verify)
    if is_remote(path):
        raise UsageError("only a local file can be published", path=path, hint="convert it first")
    if not license.isprintable():
        raise UsageError("the licence has a character that a card cannot hold", hint="such as Apache-2.0")
    suffix, inspection, stem = _suffix(path), _inspect_known(path), _stem(path)
    if push:
        _require_pushable(push, inspection)
    with _staging(os.path.join(folder, f"{stem}.publishing"), suffix, path, source) as (files, names):
        staged, reconverted = map(files.path, names)
        stripped = _stage(path, staged, inspection)
        claimed, inspection = inspection.provenance, inspect(staged)
        checks = _checks(
            inspection,
            claimed,
            source,
            reconverted,
            settings=settings,
            verify=verify,
            say=progress or _silent,
        )
        evidence = release_evidence(path, source, inspection)
        digest = sha256_of(staged)
        facts = CardFacts(
            file=_published_name(name, stem, inspection, digest) + suffix,
            sha256=digest,
            size=os.path.getsize(staged),
            release=evidence.release,
            release_known_by=evidence.known_by,
            release_proved=evidence.proved,
            licence=license,
            checks=(*checks, *evidence.notes),
            stripped=stripped,
        )
        published = _put(folder, files, names[0], inspection, facts, force=force)
    if not push:
        return published
    from .hub import push as push_to

    (progress or _silent)(f"sending it to {push}")
    return replace(published, pushed=push_to(published.path, published.card, published.sha256, push))


def _require_pushable(repository: str, inspection: Inspection) -> None:
    """Raise before any work where a file cannot go to a repository."""
    from .hub import require_hub

    require_hub(repository)
    if inspection.provenance is None:
        raise Refused(
            "has no record, so a repository could not say what no tensor shows",
            path=inspection.path,
            hint="convert it to its own layout first: `convert auto FILE OUT`",
        )


def _put(
    folder: str, files: Staging, staged: str, inspection: Inspection, facts: CardFacts, *, force: bool
) -> Published:
    """Give the staged file its name, unless it is there already, and write its card and its hash."""
    published = os.path.join(folder, facts.file)
    card = published.removesuffix(_suffix(facts.file)) + ".md"
    with locked(folder):
        if not (os.path.isfile(published) and sha256_of(published) == facts.sha256):
            refuse_output(published, force=force)
            files.put(staged, facts.file, force=force)
        write_text(card, model_card(inspection, facts))
        add_hashes(folder, {facts.file: facts.sha256, os.path.basename(card): sha256_of(card)})
    return Published(
        path=published,
        card=card,
        sums=list_path(folder),
        sha256=facts.sha256,
        size=facts.size,
        checks=facts.checks,
        stripped=facts.stripped,
    )


def _silent(_: str) -> None:
    pass


def _require_possible(name: str, folder: str, source: str | None, *, verify: bool) -> None:
    """Fail before any work where publishing must fail in the end."""
    if verify and source is None:
        raise UsageError("--verify needs a source to compare with", hint="name it with --source")
    if "hash8" not in placeholders(name) or os.path.basename(name) != name:
        raise UsageError(f"the name {name!r} must contain {{hash8}} and no folder")
    load_yaml()
    if os.path.lexists(list_path(folder)):
        read_hashes(folder)


def _suffix(path: str) -> str:
    by_length = sorted(WEIGHTS, key=len, reverse=True)
    suffix = next((suffix for suffix in by_length if path.lower().endswith(suffix)), "")
    if not suffix:
        raise Refused(
            "cannot be published: only .pth, .pt and .safetensors can",
            path=path,
            hint="convert it first, and publish the output",
        )
    return ".pth" if suffix == ".pth.tar" else suffix


def _inspect_known(path: str) -> Inspection:
    inspection = inspect(path)
    if inspection.network is None:
        raise Refused(inspection.unknown, path=path, hint="only a known network can be published")
    return inspection


def _stem(path: str) -> str:
    """The name without its suffix and without the hash of an earlier publication. Eight decimal digits that are not
    the file's hash are more likely a date."""
    stem = stem_of(path)
    match = HASH_IN_NAME.search(stem)
    if match and (not match[1].isdecimal() or sha256_of(path).startswith(match[1])):
        return HASH_IN_NAME.sub("", stem)
    return stem


@contextmanager
def _staging(
    beginning: str, suffix: str, path: str, source: str | None
) -> Iterator[tuple[Staging, tuple[str, str]]]:
    """A temporary folder, and the names in it of the file to be published and of a new conversion of its source.
    Errors name the user's files instead of them."""
    names = f"publishing{suffix}", f"again{suffix}"
    users: dict[str | None, str] = {beginning: path}
    try:
        with staging(beginning) as files:
            users |= {files.path(names[0]): path, files.path(names[1]): without_credentials(source or "")}
            yield files, names
    except ConverterError as error:
        error.path = users.get(error.path, error.path)
        raise


def _stage(path: str, staged: str, inspection: Inspection) -> tuple[str, ...]:
    """Write what is to be published under a temporary name; returns what was left out."""
    with open_checkpoint(path) as checkpoint:
        extra = [
            name
            for name, other in checkpoint.other_values.items()
            if name != "meta" and (checkpoint.format == "pytorch" or not other.beside)
        ]
        extra += recognize(checkpoint, inspection.layout, ask=False).stray_counters(checkpoint.tensors)
        wrapped = checkpoint.details.get("wrapper") == "state_dict"
    extra += [name for name in inspection.dropped if name not in extra and name != "meta"]
    layout = inspection.layout
    if extra:
        wrap = wrapped and load_layout(layout).storage.container == "mmcv" and staged.endswith(".pth")
        convert(path, staged, source=layout, to=layout, wrap=wrap, force=True)
        return tuple(extra)
    with SourceFile(path) as file, replacing(staged, force=True) as out:
        for chunk in file.chunks(0, file.size):
            out.write(chunk)
    return ()


def _checks(
    inspection: Inspection,
    claimed: Mapping[str, Any] | None,
    source: str | None,
    reconverted: str,
    *,
    settings: Mapping[str, object],
    verify: bool,
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """What was found of the staged file ``inspection``; ``claimed`` is the record of the file that it was made from."""
    staged = inspection.path
    say("reading every tensor")
    checks = read_through(staged)
    if source is not None:
        say("converting the source again, to compare every tensor")
        tensors = compare_with_source(staged, source, reconverted, inspection, settings)
        records = compare_records(inspection, claimed, inspect(reconverted), source)
        checks = (tensors, *records, *checks)
        if verify:
            checks = (*checks, *compare_networks(staged, source, inspection, settings, say))
    say("hashing the file")
    return checks


def _published_name(pattern: str, stem: str, inspection: Inspection, digest: str) -> str:
    network = network_of(inspection)
    values = {
        "stem": stem,
        "network": network.variant,
        "layout": inspection.layout,
        "classes": network.classes,
        "hash8": digest[:8],
    }
    name = fill(pattern, values)
    if not name.isprintable():
        raise UsageError("the name has a character that a list of hashes cannot hold", path=name)
    return name
