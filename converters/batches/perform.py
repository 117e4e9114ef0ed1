"""Perform one job, in whatever process it runs. A file that is wrong gives a failed result, never an exception."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from converters._version import __version__
from converters.checksums import sha256_of
from converters.conversion.convert import carry_out
from converters.conversion.options import VERIFY_OPTIONS, NetworkOptions, ReadOptions, Request, WriteOptions
from converters.conversion.provenance import tables_hash
from converters.errors import BadInput, ConverterError, Refused
from converters.formats.io.atomic import remove_dead
from converters.hashes import parse_hash
from converters.lazy_module import LazyModule
from converters.locations import is_remote, without_credentials
from converters.reports.terminal.conversion import conversion_text

from . import output_files
from .input_file import InputFile
from .job import SCRATCH_PREFIX, failure, result_of
from .manifest_keys import as_keys
from .storage import exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from converters.conversion.result import Result

    from . import remote_storage
    from .events import Progress
    from .job import Job, JobResult
else:
    remote_storage = LazyModule("converters.batches.remote_storage")


def perform(job: Job, progress: Progress | None = None) -> JobResult:
    """Perform a job and return its result.

    Unless it failed or was kept, the result has ``network`` and ``classes`` (where known), ``bytes``, ``notes`` and
    ``text`` (the report); after a conversion also ``input``, ``output``, ``mapping``, ``checked`` (whether the output
    was read back and compared, as verifying and publishing do too), if the row asks to verify, ``verification``, if it
    asks to publish, ``published`` (what it became), and ``release`` if a hash proves the input to be one.
    """
    started = perf_counter()
    try:
        details = _perform(job, progress)
    except ConverterError as error:
        details = failure(error)
    except (OSError, MemoryError) as error:
        details = _system_failure(error)
    except Exception as error:
        what = f"an error in this program: {type(error).__name__}: {error}"
        details = failure(ConverterError(what, hint="please report it"), restart=True)
    return {**result_of(job, details, perf_counter() - started), "tool": __version__}


def _system_failure(error: OSError | MemoryError) -> JobResult:
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        hint = "give the workers more memory, or run fewer"
        return failure(ConverterError("not enough memory", hint=hint), restart=True)
    reason = (error.strerror or str(error)).lower()
    return failure(ConverterError(reason, path=str(error.filename or "")))


def _perform(job: Job, progress: Progress | None) -> JobResult:
    task = job.task
    if job.tool != __version__:
        raise ConverterError(
            f"this worker has version {__version__}, the batch {job.tool}",
            hint="install the same version everywhere",
        )
    if task.fault:
        raise BadInput(task.fault, path=task.input)
    if job.dry_run:
        return _plan(job)
    if not is_remote(task.output):
        for path in (task.output, *output_files.checkpoint_files(task.output)):
            remove_dead(
                path
            )  # temporary files of a killed run: an output that is kept or adopted is not written
    work = _Work(job, InputFile(task.input, progress), progress)
    if job.earlier and _is_current(job.earlier, work):
        return {"state": "kept"}
    _require_digest(work)
    # Only what an earlier run of this batch wrote may be replaced.
    own = job.earlier is not None and job.earlier["state"] != "failed"
    done = (
        _adopt(work)
        if exists(task.output) and not own
        else _convert(work, force=own or _is_half_written(work))
    )
    return {**done, **_publish(work)}


class _Work(NamedTuple):
    """A job at work, and its input."""

    job: Job
    source: InputFile
    progress: Progress | None


@contextmanager
def _scratch_folder(job: Job) -> Iterator[str]:
    """A temporary folder; errors about files in it name the row's own files instead."""
    from tempfile import TemporaryDirectory  # slow to import, and few rows need it

    with TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=job.scratch) as folder:
        try:
            yield folder
        except ConverterError as error:
            if error.path.startswith(f"{folder}{os.sep}"):
                error.path = job.name
            raise


def _is_current(earlier: JobResult, work: _Work) -> bool:
    """Whether a recorded result still holds: same request, version, tables, input and output."""
    task = work.job.task
    if earlier["state"] == "failed" or earlier["spec"] != task.spec or earlier["tool"] != __version__:
        return False
    mapping = earlier["mapping"]
    try:
        tables = tables_hash(mapping["network"], mapping["source"], mapping["target"])
    except (OSError, ConverterError):  # a table that no longer exists
        return False
    if tables != mapping["sha256"] or not exists(task.output):
        return False
    try:
        if output_files.describe(task.output, earlier["output"]) != earlier["output"]:
            return False
    except ConverterError:
        return False
    if "published" in earlier and not _is_published(earlier["published"], task.options["publish"]):
        return False
    version = earlier["input"]["version"]
    if version and work.source.version() == version:
        return True
    return work.source.same_as(earlier["input"])


def _require_digest(work: _Work) -> None:
    """Raise `BadInput` if the input does not have the hashes that the manifest demands."""
    if fault := work.source.misfit([parse_hash(text) for text in work.job.task.hash]):
        raise BadInput(
            fault,
            path=work.job.task.input,
            hint="fetch the file again, or correct the hash if another file is meant",
        )


def _plan(job: Job) -> JobResult:
    """The result of a dry run. Reads no tensor data and downloads nothing."""
    task = job.task
    if is_remote(task.input):
        remote_storage.require_input(task.input)
        return {"state": "planned", "text": "a remote file is examined when it is converted"}
    with _scratch_folder(job) as folder:
        path = os.path.join(folder, os.path.basename(task.output))
        result = carry_out(_request(job, task.input, path, force=True))
    notes = [*map(as_keys, result.told), *(["exists already"] if exists(task.output) else [])]
    return {
        "state": "planned",
        **_network(result),
        "bytes": result.nbytes,
        "notes": notes,
        "text": conversion_text(result.replace(source=without_credentials(task.input), told=tuple(notes))),
    }


def _adopt(work: _Work) -> JobResult:
    """Accept an output that exists already if it is, byte for byte, what this row converts to."""
    location = work.job.task.output
    version = remote_storage.version_of(location) if is_remote(location) else ""
    with _trial_output(work, None) as (path, result, verification):
        if not output_files.has_same_bytes(location, path):
            raise Refused(
                "the output exists already and is not what this row converts to",
                path=work.job.name,
                hint="remove it or write elsewhere",
            )
        output = {**_written(path, result), "version": version}
    return {"state": "adopted", **verification, **_details(work, result, output)}


def _is_half_written(work: _Work) -> bool:
    """Whether a kill left only the first of a TensorFlow checkpoint's two files, as this row writes it."""
    output = work.job.task.output
    if is_remote(output) or not os.path.isfile(data := output_files.checkpoint_files(output)[0]):
        return False
    with _trial_output(work, None) as (path, _, _):
        files = output_files.local_files(path)
        return len(files) > 1 and output_files.same_contents(files[0], data)


def _convert(work: _Work, *, force: bool) -> JobResult:
    location = work.job.task.output
    if is_remote(location):
        with _trial_output(work, work.progress) as (path, result, verification):
            files = _written(path, result)["files"]
            remote_storage.store(path, location)
        output = {"files": files, "version": remote_storage.version_of(location)}
        return {"state": "converted", **verification, **_details(work, result, output)}
    with suppress(FileExistsError):
        os.makedirs(os.path.dirname(location), exist_ok=True)
    try:
        result = _run_conversion(work, location, force=force, progress=work.progress)
    except Refused:
        # A cluster may give one job to two workers; then the other one has finished.
        if force or not exists(location):
            raise
        return _adopt(work)
    try:
        verification = _verify(work, location)
    except BaseException:
        output_files.remove(location)
        raise
    return {"state": "converted", **verification, **_details(work, result, _written(location, result))}


def _written(path: str, result: Result) -> dict[str, Any]:
    """What is recorded of the output of a conversion."""
    return output_files.describe(path, crcs=result.checksums.output if result.checksums else None)


@contextmanager
def _trial_output(work: _Work, progress: Progress | None) -> Iterator[tuple[str, Result, JobResult]]:
    """The output in the scratch folder, under its own name, verified if the row asks for it."""
    with _scratch_folder(work.job) as folder:
        path = os.path.join(folder, os.path.basename(work.job.task.output))
        result = _run_conversion(work, path, force=True, progress=progress)
        yield path, result, _verify(work, path)


def _run_conversion(work: _Work, output: str, *, force: bool, progress: Progress | None = None) -> Result:
    """Convert to ``output``, with the checksums of both files."""
    request = _request(work.job, work.source.path(), output, force=force)
    result = carry_out(request.replace(write=request.write.replace(progress=progress, checksums=True)))
    work.source.learn(result)
    return result


def _request(job: Job, path: str, output: str, *, force: bool) -> Request:
    """What a row asks for."""
    given = {**job.task.options, "drop": _as_tuple(job.task.options.get("drop", ()))}
    return Request(
        input=path,
        output=output,
        source=_source_layout(job),
        to=job.task.to or None,
        read=ReadOptions.from_values(given),
        network=NetworkOptions.from_values(given),
        write=WriteOptions.from_values({**given, "force": force, "dry_run": job.dry_run}),
    )


def _as_tuple(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _source_layout(job: Job) -> str | None:
    return None if job.task.source == "auto" else job.task.source


def _verify(work: _Work, output: str) -> JobResult:
    """What verification found, if the row asks for it. Raises `Refused` if it fails."""
    job = work.job
    options = job.task.options
    if not options.get("verify"):
        return {}
    from converters.reports.terminal.verification import verification_text
    from converters.verification.verify import verify

    shared = {name: options[name] for name in VERIFY_OPTIONS if name in options}
    verification = verify(
        work.source.path(),
        output,
        source_layout=_source_layout(job),
        layout=job.task.to or None,
        progress=_stages(work),
        **shared,
    )
    text = verification_text(verification)
    if not verification.ok:
        raise Refused(
            "the output does not compute what its source does, and was removed",
            path=job.name,
            faults=tuple(text.splitlines()),
        )
    blocks = verification.functional.blocks if verification.functional else ()
    worst = max((block.relative for block in blocks), default=0.0) if verification.functional else None
    return {"verification": {"text": text, "blocks": len(blocks), "worst": worst}}


def _stages(work: _Work) -> Callable[[str], None] | None:
    """What tells in words what is done after a conversion."""
    tell = work.progress
    return None if tell is None else lambda words: tell(1, 1, words)


def _publish(work: _Work) -> JobResult:
    """Publish the output, if the row asks for it: what it became."""
    options = work.job.task.options
    if "publish" not in options:
        return {}
    from converters.publication.publish import publish

    with suppress(FileExistsError):
        os.makedirs(options["publish"], exist_ok=True)
    output = work.job.task.output
    try:
        published = publish(
            output,
            folder=options["publish"],
            source=work.source.path(),
            settings=options.get("settings", {}),
            verify=options.get("verify", False),
            license=options.get("license", ""),
            progress=_stages(work),
        )
    except ConverterError as error:
        error.path = {output: work.job.name, options["publish"]: "publish"}.get(error.path, error.path)
        raise
    return {
        "published": {
            "file": os.path.basename(published.path),
            "card": os.path.basename(published.card),
            "size": published.size,
            "sha256": published.sha256,
        }
    }


def _is_published(published: Mapping[str, Any], folder: str) -> bool:
    """Whether a published file is still there, with its card."""
    path = os.path.join(folder, published["file"])
    card = os.path.join(folder, published["card"])
    return os.path.isfile(path) and os.path.isfile(card) and sha256_of(path) == published["sha256"]


def _details(work: _Work, result: Result, output: dict[str, Any]) -> JobResult:
    """What is recorded of a conversion."""
    options = work.job.task.options
    read = {name: options.get(name) for name in ("entry", "head")}
    known = work.source.release(result, drop=options.get("drop", ()), **read)
    notes = (*map(as_keys, result.told), *([f"the input: {known.words}"] if known else []))
    named = result.replace(source=without_credentials(work.job.task.input), output=work.job.name, told=notes)
    return {
        "input": work.source.as_data(),
        "output": output,
        "mapping": dict(result.provenance["mapping"]),
        **_network(result),
        "bytes": result.nbytes,
        "checked": result.checked or bool(options.get("verify") or "publish" in options),
        "notes": list(notes),
        "text": conversion_text(named),
        **({"release": known.as_data()} if known else {}),
    }


def _network(result: Result) -> JobResult:
    return {"network": result.info.title, "classes": result.info.classes} if result.info else {}
