"""The command line: commands, the help, and the options that it shares with Python and manifests."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys

import pytest

from converters import Refused, UsageError, convert, verify
from converters.batches.manifest_keys import OPTIONS
from converters.cli import overview
from converters.cli.failures import report
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


def test_the_help_lists_every_command_and_the_best_known_sources(run):
    done = run("--help")
    assert run().stdout == run("help").stdout == done.stdout
    words = done.stdout.replace(",", " ").split()
    assert {*overview.COMMANDS, "LAYOUT", "vmz", "i3d", "slowfast", "mmaction2"} <= {*words}
    assert overview.EXIT_CODES in done.stdout + "\n"
    assert len(done.stdout.splitlines()) <= 48
    assert max(map(len, done.stdout.splitlines())) < 80
    sources = run("help", "sources").stdout.split()
    assert {*layout_names()} <= {*sources}


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", [*overview.COMMANDS, "vmz"])
def test_a_verbs_help_heeds_the_terminals_width(command, columns, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run("help", command)
    assert done.stdout == run(command, "--help").stdout
    lines, _, examples = done.stdout.partition("examples:\n")
    codes = examples.partition("exit codes:\n")[2]
    assert max(map(len, (lines + codes).splitlines())) <= columns
    assert len([line for line in examples.splitlines() if "convert " in line]) == 2
    assert run().stdout
    assert max(map(len, run().stdout.splitlines())) <= columns


@pytest.mark.parametrize("words", [["-V"], ["--version"]])
def test_the_version_in_short(words, run):
    assert run(*words).stdout.startswith("video-checkpoint-converters ")


def test_an_error_is_one_line_and_a_hint(run, monkeypatch):
    done = run("verify", "a", "b", "--junitt", "x")
    assert done.stderr == "error: unrecognized arguments: --junitt x\nhint: did you mean '--junit'?\n"
    assert "did you mean 'verify'?" in run("help", "verfy").stderr
    assert "did you mean 'functional'?" in run("verify", "a", "b", "--require", "functionl").stderr
    assert "did you mean 'ir-csn-50'?" in run("models", "ircsn").stderr
    assert "did you mean 'mmaction'?" in run("models", "--layout", "mmaction3").stderr
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("verfy").stderr.startswith("\x1b[1;31merror:\x1b[0m there is no command")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("verfy").stderr


def test_a_file_called_like_a_verb_is_given_by_its_path(run, tmp_path):
    (tmp_path / "models").write_text("nothing")
    assert "models: is a text file" in run("./models", "out.pth").stderr
    assert run("models", "--layout", "tsn").stdout.startswith("network ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, run):
    text = run("completion", shell).stdout
    for word in ("verify", "video-checkpoint-convert", "mmaction2", "junit", "dtype"):
        assert word in text


def test_bash_completes(run, tmp_path):
    (tmp_path / "complete.sh").write_text(
        run("completion", "bash").stdout
        + """
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _video_checkpoint_convert; echo "${COMPREPLY[*]}"; }
try convert ver
try convert verify --ju
try convert in.pkl out.pth --to mmaction
try convert help sour
"""
    )
    done = subprocess.run(["bash", tmp_path / "complete.sh"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["verify", "--junit", "mmaction mmaction2", "sources"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes(run, tmp_path):
    lines = [
        "convert ver",
        "convert verify --ju",
        "convert in.pkl out.pth --to mmaction",
        "convert help sour",
    ]
    (tmp_path / "complete.fish").write_text(
        "\n".join([run("completion", "fish").stdout, *(f"complete -C '{line}'" for line in lines)])
    )
    done = subprocess.run(
        ["fish", "--no-config", tmp_path / "complete.fish"], capture_output=True, text=True, check=True
    )
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        *("verify", "--junit", "mmaction", "mmaction2", "sources")
    ]
    assert not done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_completion_without_its_own_being_loaded(run, tmp_path):
    code = run("completion", "zsh").stdout + "\nprint -r -- $_comps[convert]"
    done = subprocess.run(
        ["zsh", "-f", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.stdout.strip().endswith("-o default -F _video_checkpoint_convert")
    assert not done.stderr


@pytest.mark.parametrize("command", [*overview.COMMANDS, "auto", "onnx", "vmz"])
def test_every_command_has_a_help_without_a_traceback(command, run):
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: convert {command} ")
    assert overview.EXIT_CODES.strip() in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("colour", ["", "1"])
def test_an_error_is_wrapped_on_a_terminal_and_stays_one_line_elsewhere(colour, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", colour)
    error = Refused("holds a network " + "of many words " * 6, path="in.pkl", hint="see " + "x" * 70)
    assert report(error, []) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert report(error, []) == 1
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().err).splitlines()
    assert [line[:4] for line in lines] == ["erro", "  of", "hint", "  xx"]
    assert max(map(len, lines[:2])) <= 60


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "convert --help"),
        (["insepct", "x"], "did you mean 'inspect'?"),
        (["mmaction3", "x", "y"], "did you mean 'mmaction"),
        (["LAYOUT", "x", "y"], "`convert IN OUT` recognises"),
        (["--nonsense"], "convert --help"),
        (["--verison"], "did you mean '--version'?"),
        (["x.pkl"], "convert --help"),
        (["inspect"], "convert inspect --help"),
        (["inspect", "x", "--nonsense"], "convert inspect --help"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(words, hint):
    with pytest.raises(UsageError) as error:
        parse(words)
    assert hint in error.value.told.hint


def test_a_layout_may_be_left_out():
    options = parse(["x.pkl", "y.pth", "--to", "mmaction2"])
    assert (options.command, options.input, options.output, options.to) == (
        "auto",
        "x.pkl",
        "y.pth",
        "mmaction2",
    )
    options = parse(["--check", "x.pkl", "y.pth"])
    assert (options.command, options.input, options.check) == ("auto", "x.pkl", True)


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
    assert {*OPTIONS} == NAMES - {"mean", "force", "dry_run"} | {"verify", "publish", "license"}
    inflated = values_of(parse(["inflate", "a", "b", "--variant", "x"]), *CLASSES)
    assert {*inflated} <= {*inspect.signature(inflate).parameters}


def test_a_flag_that_is_on_by_default_is_turned_off():
    assert parse(["vmz", "a", "b"]).checksum
    assert not parse(["vmz", "a", "b", "--no-checksum"]).checksum
