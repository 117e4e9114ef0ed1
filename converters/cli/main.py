"""The entry point: run one command and return its exit code."""

from __future__ import annotations

import io
import os
import sys

from converters._version import __version__

TYPE_CHECKING = False  # not imported from typing: that would take a tenth of the time of `--version`
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Without ``arguments`` they are the process's own. The garbage collector is then off: the process is short and
    leaves no reference cycles, and looking for them would take an eighth of its time.
    """
    if arguments is not None:
        return _run(arguments)
    import gc

    _open_missing_streams()
    gc.disable()
    try:
        code = _run(sys.argv[1:])
    finally:
        gc.freeze()  # otherwise the interpreter collects once more when it exits
    _exit(code)
    return code


def _open_missing_streams() -> None:
    """Open what a caller has closed (``2>&-``): an output would get its number, and then what is written to it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  # stays open


def _exit(code: int) -> None:
    """End the process without freeing its objects one by one, unless something asked to be called at the end.

    Nothing is lost: every file is closed by then, and both streams are flushed here.
    """
    if "atexit" in sys.modules or "threading" in sys.modules:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for file names that the terminal cannot show
    try:
        code = _command(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        from .failures import report

        handled = report(error, arguments)
        if handled is None:
            raise
        return handled


def _command(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in ("--version", "-V"):
        print(f"video-checkpoint-converters {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        from .overview import overview
        from .terminal import width

        print(overview(width(sys.stdout)))
        return 0
    if any(word.startswith("--tables") for word in arguments):
        from .tables_option import tables_named, with_tables

        folders, words = tables_named(arguments)
        return with_tables(folders, lambda: _verb(words, folders))
    return _verb(arguments, [])


def _verb(arguments: Sequence[str], tables: list[str]) -> int:
    """Run a verb. Its option ``tables`` has been taken out of the arguments."""
    from .parser import parse

    options = parse(arguments)
    if options.tables:
        from converters.errors import UsageError

        raise UsageError("--tables is shortened", hint="write it in full")
    options.tables = tables
    try:
        if any("://" in argument for argument in arguments):
            from .progress_bar import downloads_shown

            with downloads_shown(options):
                code: int = options.run(options)
        else:
            code = options.run(options)
    finally:
        _warn_of_tables()
    return code


_TABLE_ERRORS = {
    "further_tables": "folder_errors",
    "table_files": "name_errors",
    "layout_tables": "layout_errors",
    "readable_networks": "network_errors",
    "releases": "release_errors",
}
"""The modules that pass over tables, each with its function that says which."""


def _warn_of_tables() -> None:
    """Name the tables that the command passed over as they cannot be read."""
    for name, function in _TABLE_ERRORS.items():
        module = sys.modules.get(f"converters.mapping.{name}")
        for error in getattr(module, function)() if module is not None else ():
            print(f"warning: {error}", file=sys.stderr)
