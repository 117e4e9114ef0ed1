"""Several processes publish to one folder at once: each ends right, and what a killed one left goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import yaml

from converters import convert, publish
from converters.checksums import sha256_of
from converters.publication.check_folder import check_folder
from tests.helpers.paths import REPOSITORY

LOOP = """
import sys
from converters import publish
path, folder, name, rounds = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(rounds)):
    print(publish(path, folder=folder, name=name).path, flush=True)
"""

KILLED = """
import os, signal, sys
import converters.publication.publish as module
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, sys.argv[3], kill)
module.publish(sys.argv[1], folder=sys.argv[2])
"""


@pytest.fixture(scope="module")
def two(zoo, tmp_path_factory):
    """Two files of one name with different weights, in two folders."""
    folder = tmp_path_factory.mktemp("two")
    for number in (0, 1):
        (folder / str(number)).mkdir()
        convert(zoo / "vmz" / f"ir-csn-26-{number}.pkl", folder / str(number) / "net.pth", source="vmz")
    return folder


def start(code, *words):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def all_right(folder):
    """Every file is as listed, every card tells its own file, and nothing else is there."""
    names = {path.name for path in folder.iterdir()}
    weights = {name for name in names if name.endswith(".pth")}
    assert names == {"SHA256SUMS", *weights, *(name.removesuffix(".pth") + ".md" for name in weights)}
    assert {one.name for one in check_folder(folder) if not one.fault} == names - {"SHA256SUMS"}
    for name in weights:
        told = yaml.safe_load((folder / name.replace(".pth", ".md")).read_text().split("---\n")[1])
        assert told["file"] == name
        assert told["sha256"] == sha256_of(str(folder / name))
    return weights


@pytest.mark.parametrize(
    ("numbers", "patterns", "outputs"),
    [
        pytest.param((0, 1), ("{stem}-{hash8}",) * 2, 2, id="two contents"),
        pytest.param((0, 0), ("{stem}-{hash8}",) * 2, 1, id="one content", marks=pytest.mark.full),
        pytest.param(
            (0, 0),
            ("{stem}-{hash8}", "{network}-{hash8}"),
            2,
            id="one content, two names",
            marks=pytest.mark.full,
        ),
    ],
)
def test_two_publish_one_stem_at_once(two, tmp_path, numbers, patterns, outputs):
    runs = [
        start(LOOP, two / str(number) / "net.pth", tmp_path, pattern, 4)
        for number, pattern in zip(numbers, patterns, strict=True)
    ]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    ended = [(run.communicate(), run.returncode) for run in runs]
    assert [(error, code) for (_, error), code in ended] == [("", 0)] * 2
    assert len(all_right(tmp_path)) == outputs


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("at", ["_checks", "write_text", "add_hashes"])
def test_what_a_killed_run_left_goes_with_the_next(two, tmp_path, at):
    killed = start(KILLED, two / "0" / "net.pth", tmp_path, at)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    publish(two / "0" / "net.pth", folder=tmp_path)
    assert len(all_right(tmp_path)) == 1


def test_a_folder_of_the_stem_and_a_long_name_do_not_matter(two, tmp_path):
    (tmp_path / "net").mkdir()
    publish(two / "0" / "net.pth", folder=tmp_path)
    long = tmp_path / f"{'n' * 230}.pth"
    os.link(two / "0" / "net.pth", long)
    assert os.path.isfile(publish(long).path)
    assert not [name for name in os.listdir(tmp_path) if "partial" in name]
