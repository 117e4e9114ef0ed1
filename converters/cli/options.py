"""Options of a conversion as command-line arguments, and the way all commands print their result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from converters.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Container

    from converters.conversion.options import Option
    from converters.record import Record


def add_options(
    parser: argparse._ActionsContainer, options: type[Record], only: Container[str] | None = None
) -> None:
    """Add the options of a class in `converters.conversion.options`, all of them or ``only`` those of some names."""
    from converters.conversion.options import options_of

    for option in options_of(options):
        if only is None or option.name in only:
            _add(parser, option)


def _add(parser: argparse._ActionsContainer, option: Option) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    negative = flag.replace("--", "--no-", 1)
    text = option.text.help
    if option.text.item:
        parser.add_argument(
            f"--{option.text.item}",
            dest=option.name,
            action="append",
            default=[],
            type=str if option.type is tuple else _pair,
            metavar=option.text.metavar,
            help=f"{text} (repeatable)",
        )
    elif option.type is not bool:
        parser.add_argument(flag, type=option.type, metavar=option.text.metavar, help=text)
    elif option.optional:
        either = parser.add_mutually_exclusive_group()
        either.add_argument(flag, action="store_true", default=None, help=text)
        either.add_argument(negative, dest=option.name, action="store_false", help="it has none")
    elif option.default:
        parser.add_argument(negative, dest=option.name, action="store_false", help=text)
    else:
        parser.add_argument(flag, action="store_true", help=text)


def _pair(text: str) -> tuple[str, str]:
    """The two sides of ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{text!r} is not NAME=VALUE", hint="such as pool1=on")
    return name, value


def values_of(
    options: argparse.Namespace, *classes: type[Record], only: Container[str] | None = None
) -> dict[str, Any]:
    """The values given for the options of some classes, all of them or ``only`` some, as keyword arguments."""
    from converters.conversion.options import options_of

    values = {}
    for of_class in classes:
        for option in options_of(of_class):
            if hasattr(options, option.name) and (only is None or option.name in only):
                value = getattr(options, option.name)
                values[option.name] = _value(option, value) if option.text.item else value
    return values


def _value(option: Option, items: list[Any]) -> Any:
    """The value of an option that was given several times."""
    return tuple(items) if option.type is tuple else _mapping(option, items)


def _mapping(option: Option, pairs: list[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in pairs]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--{option.text.item} gives {doubled[0]} twice")
    return dict(pairs)


def report(
    options: argparse.Namespace,
    data: Callable[[], dict[str, Any]],
    text: Callable[[], str] | None,
    *,
    ok: bool = True,
) -> int:
    """Print ``data`` as one JSON object with ``--json``, nothing with ``--quiet``, else ``text``.

    Returns the exit code: 0 if ``ok``, otherwise 1.
    """
    if options.json:
        print(json.dumps({"ok": ok, **data()}))
    elif text is not None and not options.quiet:
        print(text())
    return 0 if ok else 1
