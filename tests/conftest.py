"""Shared fixtures: small real networks as VMZ files, written once a session.

Nothing heavy is imported here: the tests of one folder start as fast as what that folder needs.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest

from converters.cli.main import main
from tests.helpers.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One thread for each of the processes that run beside each other, and the profile of the fast suite."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    if config.getoption("hypothesis_profile", None) == "fast":
        from tests.helpers import budgets

        budgets.register()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what was collected, also what is deselected, for the test that nothing is left out."""
    from tests.helpers import collection

    config.stash[collection.ITEMS] = list(items)
    if path := os.environ.get("COLLECTED"):
        collection.write(path, collection.described(items))


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_users(tmp_path_factory) -> None:
    """Remote files are not kept where the user's are."""
    os.environ["VIDEO_CHECKPOINT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def r2d(tmp_path_factory) -> Path:
    """R2D-18, the smallest network of VMZ that every layout's rules apply to: 46 MB."""
    from tests.helpers import vmz_files

    path = tmp_path_factory.mktemp("vmz") / "r2d_d18_l8.pkl"
    vmz_files.write(path, "r2d-18", seed=5)
    return path


@pytest.fixture(scope="session")
def r3d(tmp_path_factory) -> Path:
    """R3D-18, which torchvision can hold: 134 MB."""
    from tests.helpers import vmz_files

    path = tmp_path_factory.mktemp("vmz") / "r3d_d18_l16.pkl"
    vmz_files.write(path, "r3d-18", seed=6)
    return path


@pytest.fixture(scope="session")
def zoo(tmp_path_factory) -> Path:
    """A small file of every source, and a manifest for them."""
    from tests.helpers import batch_files

    folder = tmp_path_factory.mktemp("zoo")
    batch_files.make_zoo(folder)
    return folder


@pytest.fixture(scope="session")
def expected(zoo) -> dict[str, str]:
    """The hash that every output of the manifest must have."""
    from tests.helpers import batch_files

    return batch_files.convert_zoo(zoo)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in this process, in an empty folder; returns what `run_process` does, in a tenth of the time."""

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        arguments = [str(word) for word in words]
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        with monkeypatch.context() as patch, redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            patch.chdir(tmp_path)
            try:
                code = main(arguments)
            except SystemExit as ended:
                code = ended.code
        texts = []
        for stream in streams:
            stream.seek(0)
            texts.append(stream.read())
        return subprocess.CompletedProcess(arguments, code, *texts)

    return call


@pytest.fixture
def run_process(tmp_path):
    """Run the command in a process of its own, in an empty folder; returns the finished process."""

    def call(*words: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "converters", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            check=False,
        )

    return call


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """Each device in turn, TF32 off: its ten bits of mantissa are not float32."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.set_float32_matmul_precision("highest")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield request.param
