"""Parse a command line. Only the module of the command that is asked for is imported."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from converters.errors import UsageError

from .overview import COMMANDS, CONVERSIONS, EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command: its name is ``options.command``, the function that runs it ``options.run``.

    Raises `UsageError` where the command or an option is unknown or missing.
    """
    if not arguments:
        raise UsageError("no command is given", hint="see `convert --help`")
    command, *rest = arguments
    if command in COMMANDS:
        parser = _parser(command, COMMANDS[command], command)
    else:
        if not _is_conversion(command):
            if not any(argument.split("=")[0] == "--mapping" for argument in arguments):
                raise _unknown(command)
            command, rest = "auto", list(arguments)  # `convert IN OUT --mapping FILE`
        about = CONVERSIONS.get(command, f"convert a file of layout {command}")
        parser = _parser(command, about, "convert")
    try:
        return parser.parse_args(rest)
    except SystemExit:  # after --help
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _is_conversion(command: str) -> bool:
    from converters.mapping.table_files import layout_names

    return command in ("auto", "onnx") or command in layout_names()


def _unknown(command: str) -> UsageError:
    """The error for a word that is neither a command nor a layout."""
    from difflib import get_close_matches

    from converters.mapping.table_files import layout_names

    known = [*COMMANDS, *(name for name in CONVERSIONS if name.islower()), *layout_names()]
    near = get_close_matches(command, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "`convert auto IN OUT` recognises a file's layout"
    return UsageError(f"there is no command or layout {command!r}", hint=hint)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """79 columns, descriptions as they are written.

    By itself argparse asks for the terminal's width, which imports shutil and more.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=79)


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors as `UsageError`."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def _parser(command: str, about: str, module_name: str) -> argparse.ArgumentParser:
    module = import_module(f".{module_name}", __package__)
    parser = _Parser(
        prog=f"convert {command}",
        description=module.DESCRIPTION or f"{about[0].upper()}{about[1:]}.",
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
    )
    module.add_arguments(parser)
    report = parser.add_argument_group("report")
    report.add_argument(
        "--json", action="store_true", help="print the result, or the error, as one JSON object"
    )
    report.add_argument("--quiet", action="store_true", help="print only errors")
    report.add_argument("--debug", action="store_true", help="print a traceback with an error")
    parser.set_defaults(run=module.run, command=command)
    return parser
