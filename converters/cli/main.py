"""The command line: parse, call, print, exit code."""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from converters._version import __version__
from converters.errors import ConverterError, UsageError
from converters.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Convert video action-recognition checkpoints to PyTorch state dicts, safely and bit-exactly.

  convert vmz ircsn_152.pkl out.pth                 a Caffe2 pickle of VMZ to a PyTorch file
  convert vmz ircsn_152.pkl out.pth --to mmaction2  with the names that mmaction2 expects
  convert suggest mine.pth theirs.pth -o map.toml   propose a mapping between names that no table knows
  convert mine.pth out.pth --mapping map.toml       convert by a mapping of your own
  convert verify ircsn_152.pkl out.pth              proof: every byte, and every block computed on both sides
  convert inspect out.pth                           what a file is and holds
  convert models                                    what can be converted into what
"""

EXIT_CODES = """\
exit codes:
  0    done
  1    refused, failed or different: no mapping fits, the layout cannot hold the network, the output exists
  2    wrong usage
  3    the input cannot be read, is damaged, is of another kind, or is unsafe
  130  interrupted
"""

VERBS = {
    "inspect": "say what a file is and holds",
    "models": "what can be converted into what",
    "demo": "write a full-size ir-CSN-152 file, convert it and prove parity with real Caffe2",
    "batch": "convert all that a manifest lists, resumably",
    "diff": "compare two checkpoints of any format and layout",
    "inflate": "begin a network over clips with the weights of one over frames",
    "suggest": "propose a mapping between two files whose names no table knows",
    "publish": "name a file by its hash, with a model card; check a published folder",
    "verify": "prove a conversion: bytes, and every block against the source framework's network",
}
"""Commands with a module of their own in this folder, each with its line in the help. All others convert:
their names say from what."""

SHOWN_FAULTS = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. Without ``arguments`` it is the whole process, which is short and
    leaves no cycles behind: to look for them takes an eighth of its time, so nothing does."""
    if arguments is not None:
        return _main(arguments)
    gc.disable()
    try:
        return _main(sys.argv[1:])
    finally:
        gc.freeze()  # or the interpreter looks for them at its end


def _main(words: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name that the terminal cannot show is no failure
    try:
        options = _parse(words)
        code: int = options.call(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()
        return 0
    except KeyboardInterrupt:
        return _fail(ConverterError("interrupted"), words, INTERRUPTED)
    except ConverterError as error:
        return _fail(error, words, error.exit_code)
    except MemoryError:
        return _fail(ConverterError("not enough memory"), words, ConverterError.exit_code)
    except OSError as error:
        _drop_output()
        what = (error.strerror or str(error)).lower()
        return _fail(ConverterError(what, path=str(error.filename or "")), words, ConverterError.exit_code)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    known = _commands()
    if words and words[0] not in known and any(word.split("=")[0] == "--mapping" for word in words):
        words = ["auto", *words]  # `convert IN OUT --mapping FILE`: a mapping stands in a layout's place
    try:
        return _parser(words, known).parse_args(words)
    except SystemExit:  # after --help and --version
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _fail(error: ConverterError, words: Sequence[str], code: int) -> int:
    """Report an error in the form asked for; returns the exit code."""
    if "--debug" in words:
        from traceback import print_exc

        print_exc()
    _report_error(error, code, as_json="--json" in words)
    return code


def _drop_output() -> None:
    """Nobody reads any more, or the disk is full: let the interpreter's last flush go nowhere."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Texts as they are written, 79 columns. argparse asks the terminal for each argument, and imports much to ask."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=79)


class _Parser(argparse.ArgumentParser):
    """argparse with errors in our form."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def _commands() -> dict[str, str]:
    """Every command, with its line in the help."""
    from converters.mapping.catalog import layout_names

    return {
        **{name: f"convert a file of layout {name}" for name in layout_names()},
        "onnx": "convert an ONNX model that has a source's own names",
        "auto": "recognise the input's layout, then convert",
        **VERBS,
    }


def _parser(words: Sequence[str], known: dict[str, str]) -> argparse.ArgumentParser:
    """The parser for ``words``. If they begin with a command, it knows that one only: to set up the arguments of
    all the others takes as long as to read a file's names."""
    parser = _Parser(prog="convert", description=DESCRIPTION, epilog=EXIT_CODES, formatter_class=_Formatter)
    parser.add_argument("--version", action="version", version=f"video-checkpoint-converters {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_Parser, prog="convert"
    )
    first = words[0] if words else ""
    for name in [first] if first in known else known:
        _add_command(commands, name, known[name])
    return parser


def _add_command(commands: Any, name: str, about: str) -> None:
    from importlib import import_module

    module = import_module(f".{name if name in VERBS else 'convert'}", __package__)
    parser = commands.add_parser(
        name,
        help=about,
        description=module.DESCRIPTION or f"{about[0].upper()}{about[1:]}.",
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
    )
    module.add_arguments(parser)
    _add_common(parser)
    parser.set_defaults(call=module.run, command=name)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print the result, or the error, as one JSON object"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")


def _report_error(error: ConverterError, code: int, *, as_json: bool) -> None:
    if as_json:
        found = {
            "ok": False,
            "exit_code": code,
            "error": error.what,
            "path": error.path,
            "where": error.where,
            "hint": error.hint,
            "faults": list(error.faults),
        }
        print(json.dumps(found))
        return
    lines = [f"error: {error}"]
    lines += [f"  {printable(fault)}" for fault in error.faults[:SHOWN_FAULTS]]
    if len(error.faults) > SHOWN_FAULTS:
        lines.append(f"  ... and {len(error.faults) - SHOWN_FAULTS} more")
    print("\n".join(lines), file=sys.stderr)
