"""A real S3 server on loopback, in a process of its own, and what starts such processes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers.paths import REPOSITORY


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **more}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(happened, seconds=60):
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return found


def listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def running(*words, cwd, **more):
    """A process with its own log, killed at the end."""
    with (Path(cwd) / f"log-{len(list(Path(cwd).glob('log-*')))}").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environment(**more),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def serving(folder, *buckets):
    """A real S3 server with some buckets; yields the environment to reach it, and a function that calls it."""
    port = free_port()
    (folder / "server").mkdir()
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    reach = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def ask(*calls):
        """Call methods of the store's file system in another process, whose warnings do not matter."""
        code = (
            "import fsspec, json, sys\n"
            "files = fsspec.filesystem('s3')\n"
            "for method, *words in json.loads(sys.argv[1]):\n"
            "    getattr(files, method)(*words)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(calls, default=str)],
            env=environment(**reach),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    with running("-c", code, cwd=folder / "server", **reach):
        wait_for(lambda: listening(port))
        ask(*(["mkdir", bucket] for bucket in buckets))
        yield reach, ask
