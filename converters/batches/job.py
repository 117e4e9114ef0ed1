"""One conversion of a batch, wherever it runs: from an order to a result, both plain data. Never raises for what is
wrong with a file."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager, suppress
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Any

from converters._version import __version__
from converters.checksums import sha256_of
from converters.conversion.convert import convert
from converters.conversion.provenance import tables_hash
from converters.errors import BadInput, ConverterError, Refused
from converters.formats.checkpoint import open_checkpoint
from converters.formats.io.atomic import remove_dead
from converters.reports.terminal.conversion import conversion_text
from converters.reports.terminal.verification import verification_text

from .manifest import RUN
from .storage import exists, fetch, is_input, is_remote, mark_of, remote_chunks, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from converters.conversion.convert import Result

    Order = dict[str, Any]
    Told = dict[str, Any]
    Progress = Callable[[int, int], None]

SCRATCH = "convert-"
"""What the names of folders begin with that a conversion makes and removes."""


def perform(order: Order, progress: Progress | None = None) -> Told:
    """Do one order, and say what came of it.

    An order has the fields of a `Task`, ``tool`` (the version that asks), ``former`` (the recorded result, or
    None), ``dry_run`` and ``scratch`` (a folder for what does not stay, or None for the system's). A result has
    ``task``, ``spec``, ``tool``, ``seconds`` and ``state``:

    * ``converted``: the output was written;
    * ``adopted``: it was there already, and is what this row converts to;
    * ``kept``: it is what ``former`` says, and so is all that it was made from;
    * ``planned``: a dry run;
    * ``failed``: ``error`` says why.
    """
    started = perf_counter()
    try:
        told = _perform(order, progress)
    except ConverterError as error:
        told = failure(error)
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
            hint = "give the workers more, or run fewer"
            told = failure(ConverterError("not enough memory", hint=hint), spent=True)
        else:
            what = (error.strerror or str(error)).lower()
            told = failure(ConverterError(what, path=str(error.filename or "")))
    except Exception as error:
        what = f"an error of this program: {type(error).__name__}: {error}"
        told = failure(ConverterError(what, hint="please report it"), spent=True)
    seconds = round(perf_counter() - started, 3)
    return {"task": order["name"], "spec": order["spec"], "tool": __version__, "seconds": seconds, **told}


def failure(error: ConverterError, *, spent: bool = False) -> Told:
    """The part of a result that says why a row failed. ``spent`` tells that what ran it may not be sound any more."""
    return {
        "state": "failed",
        "error": {
            "exit_code": error.exit_code,
            "spent": spent,
            "text": str(error),
            "faults": [str(fault) for fault in error.faults[:20]],
        },
    }


def _perform(order: Order, progress: Progress | None) -> Told:
    if order["tool"] != __version__:
        raise ConverterError(
            f"this worker has version {__version__}, the batch {order['tool']}",
            hint="install the same on all",
        )
    if order["fault"]:
        raise BadInput(order["fault"], path=order["input"])
    if order["dry_run"]:
        return _planned(order)
    if not is_remote(order["output"]):
        for name in (order["output"], *_parts(order["output"])):
            remove_dead(name)  # of a kill: who takes an output over, or keeps it, does not write it
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=order["scratch"]) as scratch, _named(order, scratch):
        source = _Input(order["input"], scratch, progress)
        former = order["former"]
        if former and _stands(former, order, source):
            return {"state": "kept"}
        digest = source.sha256()
        if not digest.startswith(order["sha256"]):
            raise BadInput(
                f"its SHA-256 begins with {digest[:8]}, not with {order['sha256'][:8]}",
                path=order["input"],
                hint="the file is damaged or another one",
            )
        # What a former run of this batch wrote may be replaced, nothing else.
        ours = former is not None and former["state"] != "failed"
        if exists(order["output"]) and not ours:
            return _adopted(order, source, scratch)
        return _converted(order, source, scratch, ours or _begun(order, source, scratch), progress)


@contextmanager
def _named(order: Order, scratch: str) -> Iterator[None]:
    """Errors name the row's own files, not where they lie meanwhile."""
    try:
        yield
    except ConverterError as error:
        folder, found, _ = error.path.removeprefix(scratch).lstrip(os.sep).partition(os.sep)
        if error.path.startswith(scratch) and found:
            error.path = order["input"] if folder == "in" else order["name"]
        raise


class _Input:
    """An input, brought here when it is first needed."""

    def __init__(self, place: str, scratch: str, progress: Progress | None) -> None:
        self.place = place
        self._scratch = scratch
        self._progress = progress
        self._path = "" if is_remote(place) else place
        self._digest = self._mark = ""
        self._size = 0

    def path(self) -> str:
        """Where it can be read."""
        if not self._path:
            folder = os.path.join(self._scratch, "in")
            os.mkdir(folder)
            self._mark = self.mark()  # before: what changes meanwhile must not look unchanged
            self._path = fetch(self.place, folder, self._progress)
        return self._path

    def sha256(self) -> str:
        """The SHA-256 of its bytes, of all files in order if there are several."""
        if not self._digest:
            with open_checkpoint(self.path()) as checkpoint:
                digest = sha256()
                for file in checkpoint.files:
                    for chunk in file.chunks(0, file.size):
                        digest.update(chunk)
                self._digest, self._size = digest.hexdigest(), checkpoint.size
        return self._digest

    def mark(self) -> str:
        """What its store says of it now, if it is remote."""
        if not is_remote(self.place):
            return ""
        with suppress(BadInput):  # the prefix of several files is no file itself
            return mark_of(self.place)
        return ""

    def told(self) -> Told:
        """What is recorded of it."""
        return {"sha256": self.sha256(), "size": self._size, "mark": self._mark}


def _stands(former: Told, order: Order, source: _Input) -> bool:
    """Whether a recorded result is still true: the same order, tool, mapping, input and output."""
    if former["state"] == "failed" or former["spec"] != order["spec"] or former["tool"] != __version__:
        return False
    mapping = former["mapping"]
    try:
        now = tables_hash(mapping["network"], mapping["source"], mapping["target"])
    except (OSError, ConverterError):  # a table that is no longer there
        return False
    if now != mapping["sha256"] or not exists(order["output"]):
        return False
    try:
        if _output(order["output"], former["output"]) != former["output"]:
            return False
    except ConverterError:
        return False
    mark = former["input"]["mark"]
    if mark and source.mark() == mark:
        return True
    return bool(source.sha256() == former["input"]["sha256"])


def _output(place: str, former: Told | None = None) -> Told:
    """What is recorded of an output: the hash of each of its files; for a remote one that is as its store said
    before, what was recorded then."""
    if is_remote(place):
        mark = mark_of(place)
        if former and mark and former.get("mark") == mark:
            return former
        digest, size = sha256(), 0
        for block in remote_chunks(place):
            digest.update(block)
            size += len(block)
        return {"files": [[os.path.basename(place), size, digest.hexdigest()]], "mark": mark}
    return {
        "files": [[os.path.basename(path), os.path.getsize(path), sha256_of(path)] for path in _files(place)],
        "mark": "",
    }


def _files(place: str) -> list[str]:
    """The files of a local output."""
    if os.path.isfile(place) and not place.endswith(".index"):
        return [place]
    return list(_parts(place))


def _parts(place: str) -> tuple[str, str]:
    """The two files of a TensorFlow checkpoint of this name."""
    from converters.formats.tensorflow.writer import checkpoint_names

    return checkpoint_names(place.removesuffix(".index"))


def _make(order: Order, path: str, output: str, *, force: bool, progress: Progress | None) -> Result:
    return convert(
        _source(order),
        path,
        output,
        to=order["to"],
        force=force,
        dry_run=order["dry_run"],
        progress=progress,
        **{**order["options"], "verify": bool(order["options"].get("verify"))},
    )


def _source(order: Order) -> str | None:
    return None if order["source"] == "auto" else str(order["source"])


def _proved(order: Order, path: str, output: str) -> Told:
    """Run both networks, if the row asks for it; what is recorded of that. Raises `Refused` where they differ."""
    options = order["options"]
    if options.get("verify") != RUN:
        return {}
    from converters.verification.verify import verify

    told = {key: options[key] for key in ("variant", "pool1", "stem_stride", "inverse_std") if key in options}
    found = verify(path, output, source_layout=_source(order), layout=order["to"], **told)
    text = verification_text(found)
    if not found.ok:
        raise Refused(
            "the output does not compute what its source does, and was not kept",
            path=order["name"],
            faults=tuple(text.splitlines()),
        )
    ran = found.functional
    worst = max((block.relative for block in ran.blocks), default=0.0) if ran else None
    return {"proof": {"text": text, "blocks": len(ran.blocks) if ran else 0, "worst": worst}}


@contextmanager
def _fresh(
    order: Order, source: _Input, scratch: str, progress: Progress | None
) -> Iterator[tuple[str, Result, Told]]:
    """The conversion's output in the scratch folder, under its own name, and what was proved of it."""
    folder = os.path.join(scratch, "out")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, os.path.basename(order["output"]))
    result = _make(order, source.path(), path, force=True, progress=progress)
    try:
        yield path, result, _proved(order, source.path(), path)
    finally:
        for one in _files(path):
            os.unlink(one)


def _adopted(order: Order, source: _Input, scratch: str) -> Told:
    """Take an output that is there already for this row's, if it is: the same input gives the same bytes."""
    with _fresh(order, source, scratch, None) as (path, result, proof):
        wanted = _output(path)["files"]
    found = _output(order["output"])
    if found["files"] != wanted:
        raise Refused(
            "the output exists already and is not what this row converts to",
            path=order["name"],
            hint="remove it or write elsewhere",
        )
    return {"state": "adopted", **proof, **_described(order, source, result, found)}


def _begun(order: Order, source: _Input, scratch: str) -> bool:
    """Whether this row was killed between the two files of a TensorFlow checkpoint: the first is there alone, and is
    what its row writes."""
    if is_remote(order["output"]) or not os.path.isfile(data := _parts(order["output"])[0]):
        return False
    with _fresh(order, source, scratch, None) as (path, _, _):
        made = _files(path)
        return len(made) > 1 and sha256_of(made[0]) == sha256_of(data)


def _converted(order: Order, source: _Input, scratch: str, force: bool, progress: Progress | None) -> Told:
    output = order["output"]
    if is_remote(output):
        with _fresh(order, source, scratch, progress) as (path, result, proof):
            wanted = _output(path)["files"]
            store(path, output)
        found = {"files": wanted, "mark": mark_of(output)}
    else:
        with suppress(FileExistsError):
            os.makedirs(os.path.dirname(output), exist_ok=True)
        try:
            result = _make(order, source.path(), output, force=force, progress=progress)
        except Refused:
            # A cluster may give one order to two workers: the other one was first.
            if force or not exists(output):
                raise
            return _adopted(order, source, scratch)
        try:
            proof = _proved(order, source.path(), output)
        except BaseException:
            for one in _files(output):
                os.unlink(one)
            raise
        found = _output(output)
    return {"state": "converted", **proof, **_described(order, source, result, found)}


def _described(order: Order, source: _Input, result: Result, output: Told) -> Told:
    """What a result says of a conversion, for the record, the summary and the report."""
    shown = result._replace(source=order["input"], output=order["name"])
    return {
        "input": source.told(),
        "output": output,
        "mapping": dict(result.provenance["mapping"]),
        **_network(result),
        "bytes": result.nbytes,
        "verified": result.verified,
        "notes": list(result.notes),
        "text": conversion_text(shown),
    }


def _network(result: Result) -> Told:
    """The network's name and classes, where the mapping knows them: a user's own does not."""
    return {"network": result.info.title, "classes": result.info.classes} if result.info else {}


def _planned(order: Order) -> Told:
    """What a conversion would do. Reads no tensor, and nothing that is remote."""
    if is_remote(order["input"]):
        if not is_input(order["input"]):
            raise BadInput("is not there", path=order["input"], hint="check the address")
        return {"state": "planned", "text": "remote: looked at when it is converted"}
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=order["scratch"]) as scratch:
        path = os.path.join(scratch, os.path.basename(order["output"]))
        result = _make(order, order["input"], path, force=True, progress=None)
    told = "is there already" if exists(order["output"]) else ""
    return {
        "state": "planned",
        **_network(result),
        "bytes": result.nbytes,
        "notes": [*result.notes, *([told] if told else [])],
        "text": conversion_text(result._replace(source=order["input"])),
    }
