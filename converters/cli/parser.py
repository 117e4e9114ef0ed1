"""Parse a command line. Only the module of the command that is asked for is imported."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from converters.errors import UsageError

from .overview import COMMANDS, CONVERSIONS, EXIT_CODES, fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = ("convert {0} in.pkl out.pth", "convert {0} in.pkl out.pth --to mmaction2 --check")
"""Of a conversion from a layout."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command: its name is ``options.command``, the function that runs it ``options.run``.

    What begins with neither a command nor a layout, but with a file or an option, is a conversion whose input is
    recognised. Raises `UsageError` where the command or an option is unknown or missing.
    """
    if not arguments:
        raise UsageError("no command is given", hint="see `convert --help`")
    command, *rest = arguments
    if command not in COMMANDS and not _is_conversion(command):
        if not _is_input(command, rest):
            raise _unknown(command)
        command, rest = "auto", list(arguments)
    parser = parser_of(command)
    try:
        return parser.parse_args(rest)
    except SystemExit:  # after --help
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a verb, or of a conversion from a layout."""
    if command in COMMANDS:
        return _parser(command, COMMANDS[command], command)
    about = CONVERSIONS.get(command, f"convert a file of layout {command}")
    return _parser(command, about, "convert")


def _is_conversion(command: str) -> bool:
    from converters.mapping.table_files import layout_names

    return command in ("auto", "onnx") or command in layout_names()


def _is_input(command: str, rest: Sequence[str]) -> bool:
    """Whether a command line begins with a file to convert, or with an option of a conversion."""
    if command.startswith("-"):
        return any(not word.startswith("-") for word in rest)
    if "." in command or os.sep in command or os.path.lexists(command):
        return True
    return any("." in word for word in rest[:1]) and not _near(command)


def _unknown(command: str) -> UsageError:
    """The error for a word that is neither a command, nor a layout, nor a file."""
    from converters.spelling import did_you_mean

    if command.startswith("-"):
        hint = did_you_mean(command, ("--help", "--version")) or "see `convert --help`"
        return UsageError(f"there is no option {command!r} of the program itself", hint=hint)
    hint = _near(command) or "`convert IN OUT` recognises a file's layout; see `convert --help`"
    return UsageError(f"there is no command, layout or file {command!r}", hint=hint)


def _near(command: str) -> str:
    """The verb or layout that was perhaps meant, as a hint."""
    from converters.mapping.table_files import layout_names
    from converters.spelling import did_you_mean

    known = [*COMMANDS, *(name for name in CONVERSIONS if name.islower()), *layout_names()]
    return did_you_mean(command, known)


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors as `UsageError`, which name what was perhaps meant, and with a help as wide as the
    terminal. Only the help asks for the width: argparse makes a formatter for every argument."""

    columns = 79

    def _get_formatter(self) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(self.prog, width=self.columns)

    def format_help(self) -> str:
        from textwrap import fill

        from .terminal import width

        self.columns = width(sys.stdout)
        if self.description and self.columns < _Parser.columns:
            self.description = fill(" ".join(self.description.split()), self.columns)
        usage = fill(self.format_usage(), self.columns, subsequent_indent=" " * 7, break_on_hyphens=False)
        self.usage = usage.removeprefix("usage: ")
        codes = (fitted(line, self.columns) for line in EXIT_CODES.splitlines())
        return "\n".join((super().format_help(), *codes, ""))

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            message, hint=self._near(message) or f"see `{self.prog.removesuffix(' auto')} --help`"
        )

    def _near(self, message: str) -> str:
        """The option, or the choice, that was perhaps meant."""
        from converters.spelling import did_you_mean

        unknown = message.partition("unrecognized arguments: ")[2].split()
        for word in unknown:
            if word.startswith("--"):
                return did_you_mean(word.partition("=")[0], self._option_string_actions)
        if "invalid choice: " in message:
            wrong, _, choices = message.partition("invalid choice: ")[2].partition(" (choose from ")
            return did_you_mean(wrong.strip("'"), [word.strip("')") for word in choices.split(", ")])
        return ""


def _parser(command: str, about: str, module_name: str) -> argparse.ArgumentParser:
    module = import_module(f".{module_name.replace('-', '_')}", __package__)
    examples = getattr(module, "EXAMPLES", EXAMPLES)
    lines = ["examples:", *(f"  {example.format(command)}" for example in examples)]
    described = module.DESCRIPTION or f"{about[0].upper()}{about[1:]}."
    parser = _Parser(prog=f"convert {command}", description=described, epilog="\n".join(lines))
    module.add_arguments(parser)
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--tables",
        action="append",
        default=[],
        metavar="DIR",
        help="know the networks, layouts, labels and releases in this folder too (repeatable)",
    )
    report = parser.add_argument_group("report")
    report.add_argument(
        "--json", action="store_true", help="print the result, or the error, as one JSON object"
    )
    report.add_argument("--quiet", action="store_true", help="print only errors")
    report.add_argument("--debug", action="store_true", help="print a traceback with an error")
    positionals = "".join(f" {_place(action)}" for action in parser._actions if not action.option_strings)
    needed = "".join(
        f" {action.option_strings[0]} {action.metavar}"
        for action in parser._actions
        if action.required and action.option_strings
    )
    parser.usage = f"%(prog)s{positionals}{needed} [options]"
    parser.set_defaults(run=module.run, command=command)
    return parser


def _place(action: argparse.Action) -> str:
    """What stands for a positional argument in the usage."""
    word = str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest)
    return {"?": f"[{word}]", "*": f"[{word} ...]", "+": f"{word} ..."}.get(str(action.nargs), word)
