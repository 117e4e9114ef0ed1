"""The command line: commands, the help, and the options that it shares with Python and manifests."""

from __future__ import annotations

import inspect

import pytest

from converters import UsageError, convert, verify
from converters.batches.manifest_keys import OPTIONS
from converters.cli import overview
from converters.cli.options import values_of
from converters.cli.parser import parse
from converters.conversion.inflate import inflate
from converters.conversion.options import (
    VERIFY_OPTIONS,
    NetworkOptions,
    ReadOptions,
    WriteOptions,
    options_of,
)
from converters.mapping.table_files import layout_names

CLASSES = (ReadOptions, NetworkOptions, WriteOptions)
NAMES = {option.name for options in CLASSES for option in options_of(options)}


def test_the_help_lists_every_command_and_layout(run):
    text = run("--help").stdout
    for name in (*overview.COMMANDS, *overview.CONVERSIONS, *layout_names()):
        assert name in text.replace(",", " ").split()
    assert overview.EXIT_CODES in text + "\n"


@pytest.mark.parametrize("command", [*overview.COMMANDS, "auto", "onnx", "vmz"])
def test_every_command_has_a_help_without_a_traceback(command, run):
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: convert {command} ")
    assert overview.EXIT_CODES.strip() in done.stdout
    assert not done.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "convert --help"),
        (["insepct", "x"], "did you mean 'inspect'?"),
        (["mmaction3", "x", "y"], "did you mean 'mmaction"),
        (["x.pkl", "y.pth"], "convert auto IN OUT"),
        (["LAYOUT", "x", "y"], "convert auto IN OUT"),
        (["--json", "models"], "convert auto IN OUT"),
        (["inspect"], "convert inspect --help"),
        (["inspect", "x", "--nonsense"], "convert inspect --help"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(words, hint):
    with pytest.raises(UsageError) as error:
        parse(words)
    assert hint in error.value.hint


def test_a_mapping_takes_the_place_of_a_layout():
    options = parse(["in.pth", "out.pth", "--mapping=mine.toml"])
    assert (options.command, options.input, options.output, options.mapping) == (
        "auto",
        "in.pth",
        "out.pth",
        "mine.toml",
    )


def test_the_version(run):
    from converters import __version__

    assert run("--version").stdout == f"video-checkpoint-converters {__version__}\n"


def test_options_are_the_same_on_the_command_line_in_python_and_in_manifests():
    given = values_of(parse(["vmz", "a", "b"]), *CLASSES)
    defaults = {option.name: option.default for options in CLASSES for option in options_of(options)}
    assert given == defaults
    python = inspect.signature(convert).parameters
    assert {*python} >= NAMES
    assert all(python[name].default == default for name, default in defaults.items())
    assert {*inspect.signature(verify).parameters} >= {*VERIFY_OPTIONS}
    assert {*OPTIONS} == NAMES - {"sha256", "mean", "force", "dry_run"} | {"verify"}
    inflated = values_of(parse(["inflate", "a", "b", "--variant", "x"]), *CLASSES)
    assert {*inflated} <= {*inspect.signature(inflate).parameters}


def test_a_flag_that_is_on_by_default_is_turned_off():
    assert parse(["vmz", "a", "b"]).checksum
    assert not parse(["vmz", "a", "b", "--no-checksum"]).checksum
