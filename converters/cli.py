"""The command line: parse, call, print, exit code."""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import ConverterError, UsageError
from .text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    "batch": "convert all that a manifest lists, resumably",
    "diff": "compare two checkpoints of any format and layout",
    "inflate": "begin a network over clips with the weights of one over frames",
    "suggest": "propose a mapping between two files whose names no table knows",
    "publish": "name a file by its hash, with a model card; check a published folder",
    "verify": "prove a conversion: bytes, and every block against the source framework's network",
}
"""Commands with a module of their own in ``converters/verbs``, each with its line in the help."""

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
        code: int = options.run(options)
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


def _commands() -> dict[str, Callable[[Any, str], None]]:
    """Every command, with what adds its arguments."""
    from .mapping.tables import layout_names

    return {
        **dict.fromkeys((*layout_names(), "onnx", "auto"), _add_conversion),
        "inspect": _add_inspect,
        "models": _add_models,
        "demo": _add_demo,
        **dict.fromkeys(VERBS, _add_verb),
    }


def _parser(words: Sequence[str], known: dict[str, Callable[[Any, str], None]]) -> argparse.ArgumentParser:
    """The parser for ``words``. If they begin with a command, it knows that one only: to set up the arguments of
    all the others takes as long as to read a file's names."""
    parser = _Parser(prog="convert", description=DESCRIPTION, epilog=EXIT_CODES, formatter_class=_Formatter)
    parser.add_argument("--version", action="version", version=f"video-checkpoint-converters {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_Parser, prog="convert"
    )
    first = words[0] if words else ""
    for name in [first] if first in known else known:
        known[name](commands, name)
    return parser


def _add_verb(commands: Any, name: str) -> None:
    from importlib import import_module

    module = import_module(f".verbs.{name}", __package__)
    about = VERBS[name]
    parser = commands.add_parser(
        name,
        help=about,
        description=module.DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
    )
    module.add_arguments(parser)
    _add_common(parser)
    parser.set_defaults(run=module.run)


def _add_conversion(commands: Any, name: str) -> None:
    about = {
        "auto": "recognise the input's layout, then convert",
        "onnx": "convert an ONNX model that has a source's own names",
    }.get(name, f"convert a file of layout {name}")
    parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
    )
    parser.add_argument("input", metavar="IN", help="the checkpoint file")
    parser.add_argument(
        "output", metavar="OUT", help=".pth, .safetensors, .onnx, or what the layout comes as (a mean: .npy)"
    )
    parser.add_argument("--to", metavar="LAYOUT", help="the output's layout (see `convert models`)")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--dry-run", action="store_true", help="plan and report, read no tensor, write nothing"
    )
    parser.add_argument("--verify", action="store_true", help="read the output back and compare every tensor")
    parser.add_argument("--dtype", metavar="DTYPE", help="cast: float32, float16, bfloat16 or float64")
    parser.add_argument(
        "--wrap", action="store_true", help="add the ecosystem's own wrapper around the state dict"
    )
    parser.add_argument("--strict", action="store_true", help="refuse NaN and Inf")
    parser.add_argument("--sha256", action="store_true", help="hash the input into the provenance (slow)")
    parser.add_argument("--no-checksum", action="store_true", help="do not compare the input's own checksums")
    parser.add_argument(
        "--variant", metavar="NAME", help="the network or model, where names and shapes fit several"
    )
    _add_entry(parser)
    parser.add_argument("--backbone", action="store_true", help="leave the head out")
    pool = parser.add_mutually_exclusive_group()
    pool.add_argument(
        "--pool1", action="store_true", default=None, help="the network has a max pool behind the stem"
    )
    pool.add_argument("--no-pool1", dest="pool1", action="store_false", help="it has none")
    parser.add_argument(
        "--inverse-std",
        action="store_true",
        help="the file has inverse standard deviations for variances (TSN, early 2016)",
    )
    parser.add_argument(
        "--mean", metavar="FILE", help="the mean cube that goes with the weights, for the provenance"
    )
    parser.add_argument("--stem-stride", type=int, metavar="N", help="the stem's stride in time")
    if name == "auto":
        _add_mapping(parser)
    else:
        parser.set_defaults(mapping=None, reverse=False, accept_unsure=False)
    _add_common(parser)
    parser.set_defaults(run=_convert, source=None if name == "auto" else name)


def _add_mapping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mapping", metavar="FILE", help="convert by a mapping file of your own")
    parser.add_argument("--reverse", action="store_true", help="read the mapping from right to left")
    parser.add_argument(
        "--accept-unsure", action="store_true", help="take what nobody has confirmed in the mapping"
    )


def _add_entry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--entry", metavar="PATH", help="the state dict in a PyTorch file, such as ema_state_dict"
    )
    parser.add_argument("--head", metavar="NAME", help="what the file calls the last layer, if not as usual")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print the result, or the error, as one JSON object"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show a traceback with an error")


def _add_inspect(commands: Any, name: str) -> None:
    parser = commands.add_parser(
        name,
        help="say what a file is and holds",
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
        description="Say what a checkpoint is: format, network, classes, cost, tensors.",
    )
    parser.add_argument("file", metavar="FILE", help="a source or an output")
    parser.add_argument("--layout", metavar="LAYOUT", help="its layout, where more than one fits")
    _add_entry(parser)
    parser.add_argument("--stats", action="store_true", help="read the tensors: NaN, Inf, all-zero ones")
    parser.add_argument("--mapping", metavar="FILE", help="say how it agrees with a mapping of your own")
    _add_common(parser)
    parser.set_defaults(run=_inspect)


def _add_models(commands: Any, name: str) -> None:
    parser = commands.add_parser(
        name,
        help="what can be converted into what",
        description="The support table: every network, its sources and its layouts.",
    )
    _add_common(parser)
    parser.set_defaults(run=_models)


def _add_demo(commands: Any, name: str) -> None:
    parser = commands.add_parser(
        name,
        help="write a full-size ir-CSN-152 file, convert it and prove parity with real Caffe2",
        description="Write a full-size ir-CSN-152 pickle with seeded weights, in the byte format of VMZ's releases, "
        "convert it, and compare the logits with those that real Caffe2 computed. Needs PyTorch.",
    )
    parser.add_argument(
        "folder", nargs="?", default="demo-files", help="where to write (default: demo-files)"
    )
    parser.add_argument(
        "--to", metavar="LAYOUT", default="vmz-pt", help="the output's layout (default: vmz-pt)"
    )
    _add_common(parser)
    parser.set_defaults(run=_demo)


def _convert(options: argparse.Namespace) -> int:
    if _is_mean(options):
        return _convert_mean(options)
    from .conversion import convert

    bar = _Bar() if sys.stderr.isatty() and not (options.quiet or options.json) else None
    result = convert(
        options.source,
        options.input,
        options.output,
        to=options.to,
        dtype=options.dtype,
        variant=options.variant,
        entry=options.entry,
        head=options.head,
        backbone=options.backbone,
        pool1=options.pool1,
        stem_stride=options.stem_stride,
        inverse_std=options.inverse_std,
        mean=options.mean,
        wrap=options.wrap,
        force=options.force,
        verify=options.verify,
        strict=options.strict,
        sha256=options.sha256,
        checksum=not options.no_checksum,
        dry_run=options.dry_run,
        progress=bar.show if bar else None,
        mapping=options.mapping,
        reverse=options.reverse,
        accept_unsure=options.accept_unsure,
    )
    if bar:
        bar.clear()
    if options.json:
        _print_json({"ok": True, **result.as_data()})
    elif not options.quiet:
        from .report import conversion_text

        print(conversion_text(result))
    return 0


def _is_mean(options: argparse.Namespace) -> bool:
    """Whether a mean file is wanted: no checkpoint is written under such a name without ``--to``."""
    if (
        options.to is not None
        or options.mapping is not None
        or not options.output.lower().endswith((".npy", ".npz", ".binaryproto"))
    ):
        return False
    from .mapping.tables import load_layout

    return options.source is None or any(
        "mean_cube" in row for row in load_layout(options.source).preprocessing.values()
    )


def _convert_mean(options: argparse.Namespace) -> int:
    from .mean import convert_mean

    for name in ("dry_run", "verify", "dtype", "wrap", "variant", "inverse_std", "mean"):
        if getattr(options, name):
            raise UsageError(f"a mean file is not converted with --{name.replace('_', '-')}")
    result = convert_mean(options.input, options.output, force=options.force)
    if options.json:
        _print_json({"ok": True, **result.as_data()})
    elif not options.quiet:
        from .report import mean_conversion_text

        print(mean_conversion_text(result))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from .inspection import inspect

    found = inspect(
        options.file,
        layout=options.layout,
        entry=options.entry,
        head=options.head,
        stats=options.stats,
        mapping=options.mapping,
    )
    agrees = not (found.mapping and found.mapping.faults)
    if options.json:
        _print_json({"ok": agrees, **found.as_data()})
    elif not options.quiet:
        from .report import inspection_text

        print(inspection_text(found))
    return 0 if agrees else 1


def _models(options: argparse.Namespace) -> int:
    from .support import support_table

    table = support_table()
    if options.json:
        _print_json({"ok": True, "models": [row._asdict() for row in table]})
    elif not options.quiet:
        from .report import models_text

        print(models_text(table))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from .demo import demo

    say: Callable[[str], None] = (lambda _: None) if options.json or options.quiet else print
    outcome = demo(options.folder, to=options.to, say=say)
    if options.json:
        _print_json({"ok": outcome["parity"], **outcome})
    return 0 if outcome["parity"] else 1


def _print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data))


def _report_error(error: ConverterError, code: int, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            {
                "ok": False,
                "exit_code": code,
                "error": error.what,
                "path": error.path,
                "where": error.where,
                "hint": error.hint,
                "faults": list(error.faults),
            }
        )
        return
    lines = [f"error: {error}"]
    lines += [f"  {shown(fault)}" for fault in error.faults[:SHOWN_FAULTS]]
    if len(error.faults) > SHOWN_FAULTS:
        lines.append(f"  ... and {len(error.faults) - SHOWN_FAULTS} more")
    print("\n".join(lines), file=sys.stderr)


class _Bar:
    """A progress bar by bytes on stderr, redrawn at most ten times a second; short work draws none."""

    WIDTH = 30

    def __init__(self) -> None:
        from time import monotonic

        self._clock = monotonic
        self._next = monotonic() + 0.3
        self._drawn = False

    def show(self, done: int, total: int) -> None:
        """Draw ``done`` of ``total`` bytes."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + 0.1
        self._drawn = True
        filled = self.WIDTH * done // max(total, 1)
        sys.stderr.write(
            f"\r[{'#' * filled}{'.' * (self.WIDTH - filled)}] {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
