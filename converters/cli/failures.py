"""Errors as messages and exit codes."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from converters.errors import ConverterError
from converters.printable import printable

from .terminal import CYAN, RED, styled, width

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_FAULTS = 2
"""How many of an error's faults are printed; ``--json`` has all."""

INTERRUPTED = 130


def report(error: BaseException, arguments: Sequence[str]) -> int | None:
    """Print an error in the form that the arguments ask for; returns the exit code.

    Returns None for an error of this program itself, which deserves its traceback.
    """
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
        _discard_output()
        return 0
    if isinstance(error, ConverterError):
        return _fail(error, arguments, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        hint = "; ".join(getattr(error, "__notes__", ()))
        return _fail(ConverterError("interrupted", hint=hint), arguments, INTERRUPTED)
    if isinstance(error, MemoryError):
        return _fail(ConverterError("not enough memory"), arguments, ConverterError.exit_code)
    if isinstance(error, OSError):
        _discard_output()
        reason = (error.strerror or str(error)).lower()
        failure = ConverterError(reason, path=str(error.filename or ""))
        return _fail(failure, arguments, ConverterError.exit_code)
    return None


def _fail(error: ConverterError, arguments: Sequence[str], code: int) -> int:
    if "--debug" in arguments:
        from traceback import print_exc

        print_exc()
    if "--json" in arguments:
        print(json.dumps(_as_data(error, code)))
    else:
        print(_as_text(error), file=sys.stderr)
    return code


def _as_data(error: ConverterError, code: int) -> dict[str, object]:
    return {
        "ok": False,
        "exit_code": code,
        "error": error.told.what,
        "path": error.path,
        "where": error.where,
        "hint": error.told.hint,
        "faults": list(error.faults),
    }


def _as_text(error: ConverterError) -> str:
    text = f"{error.path}: {error.told.what}" if error.path else error.told.what
    text += f" ({error.where})" if error.where else ""
    lines = [_line("error:", RED, text)]
    lines += [_line("", "", fault) for fault in error.faults[:SHOWN_FAULTS]]
    if len(error.faults) > SHOWN_FAULTS:
        lines.append(f"  ... and {len(error.faults) - SHOWN_FAULTS} more")
    if error.told.hint:
        lines.append(_line("hint:", CYAN, error.told.hint))
    return "\n".join(lines)


def _line(head: str, style: str, text: str) -> str:
    """One statement: one line, wrapped between words where a terminal would break it anywhere."""
    line = f"{head or ' '} {printable(text)}"
    if sys.stderr is not None and sys.stderr.isatty() and len(line) > (columns := width(sys.stderr)):
        from textwrap import fill

        line = fill(line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return line.replace(head, styled(head, style, sys.stderr), 1) if head else line


def _discard_output() -> None:
    """Send what is still buffered nowhere: the pipe is closed or the disk full, and the exit flushes once more."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
