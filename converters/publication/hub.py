"""Put a published file into a repository on the Hub, with the package huggingface_hub (extra ``[hub]``)."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from converters.checksums import dump_sums, sha256_of_bytes
from converters.errors import ConverterError, Refused, UsageError
from converters.extras import install_hint
from converters.inspection.inspect import inspect
from converters.printable import short_name

from .hash_list import LIST_NAME
from .hub_files import CONFIG, PREPROCESSOR, config, preprocessor_config

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD = "README.md"
"""What the Hub calls a card."""

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def require_hub(repository: str) -> Any:
    """The package huggingface_hub, before any work. Raises `UsageError` for what is not a repository's name,
    `ConverterError` where the package is not installed."""
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{short_name(repository)!r} names no repository", hint="--push OWNER/NAME")
    try:
        return import_module("huggingface_hub")
    except ImportError:
        raise ConverterError(
            "publishing on the Hub needs more packages",
            hint=install_hint("hub"),
        ) from None


def push(path: str, card: str, sha256: str, repository: str) -> str:
    """Put the published file at ``path``, with this hash, its ``card``, its configuration and a list of their hashes
    into a repository, which is made where there is none, in one commit; returns the commit's address.

    The user's token is that of the package: ``HF_TOKEN``, or what `hf auth login` has stored. Raises `Refused` where
    the Hub refuses it, or does not have the file as it is here.
    """
    hub = require_hub(repository)
    files = _files(path, card, sha256)
    name = os.path.basename(path)
    add = hub.CommitOperationAdd
    operations = [add(path_in_repo=name, path_or_fileobj=path)]
    operations += [add(path_in_repo=file, path_or_fileobj=data) for file, data in files.items()]
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        with _without_bars(hub.utils):
            api.create_repo(repository, exist_ok=True)
            commit = api.create_commit(repository, operations, commit_message=f"Publish {name}")
            found = api.get_paths_info(repository, [name], revision=commit.oid)
    except Exception as error:
        raise _refusal(error, repository) from None
    stored = found[0].lfs.sha256 if found and found[0].lfs else ""
    if stored != sha256:
        raise Refused(f"{repository} has a copy that differs from this file", path=path, hint="try again")
    return str(commit.commit_url)


@contextmanager
def _without_bars(utils: Any) -> Iterator[None]:
    """The package draws bars of its own, also where the output is not a terminal."""
    if utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _files(path: str, card: str, sha256: str) -> dict[str, bytes]:
    """What goes beside the weights, by name."""
    inspection = inspect(path)
    name = os.path.basename(path)
    with open(card, encoding="utf-8") as opened:
        texts = {CARD: opened.read(), CONFIG: config(inspection, name, sha256)}
    if preprocessor := preprocessor_config(inspection):
        texts[PREPROCESSOR] = preprocessor
    files = {file: text.encode() for file, text in texts.items()}
    hashes = {file: sha256_of_bytes(data) for file, data in files.items()}
    return {**files, LIST_NAME: dump_sums({**hashes, name: sha256}).encode()}


def _refusal(error: Exception, repository: str) -> ConverterError:
    """What the Hub, or the package, says went wrong, without a token."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        hint = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        return Refused("access is denied", path=f"hf://{repository}", hint=hint)
    lines = [line for line in str(error.__cause__ or error).splitlines() if line.strip()]
    reason = lines[0][:300] if lines else type(error).__name__
    if token := os.environ.get("HF_TOKEN"):
        reason = reason.replace(token, "...")
    return Refused(
        f"could not be published: {reason}",
        path=f"hf://{repository}",
        hint="the file is kept here; try again",
    )
