"""Batches beyond one machine: files on a real S3 server and a real web server, rows on a real cluster.

All of it on loopback, in processes of its own.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from converters import diff
from converters.batches.results import parse_line
from tests.helpers import batch_files, object_store
from tests.helpers.object_store import environment, free_port, listening, running, wait_for
from tests.helpers.paths import REPOSITORY


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: install the extra [dev]")


def batch(*words, cwd, timeout=180, **more):
    return subprocess.run(
        [sys.executable, "-m", "converters", "batch", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**more),
        check=False,
    )


def rows_of(path):
    if not path.exists():
        return []
    found = (parse_line(line) for line in path.read_bytes().splitlines(keepends=True))
    return [row for row in found if row]


@pytest.mark.full
@needs("distributed")
def test_a_cluster_of_which_a_worker_is_killed(zoo, expected, tmp_path):
    (tmp_path / "cluster").mkdir()
    (tmp_path / "logs").mkdir()
    manifest = batch_files.copy_zoo(zoo, tmp_path / "cluster")
    folder = manifest.parent
    address = f"tcp://127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:

        def dask(*words):
            return stack.enter_context(running("-m", "dask", *words, "--no-dashboard", cwd=tmp_path / "logs"))

        dask("scheduler", "--host", address)
        wait_for(lambda: listening(int(address.rpartition(":")[2])))
        options = (address, "--nthreads", 1, "--memory-limit", "1GB", "--local-directory", tmp_path / "logs")
        dask("worker", *options)
        victim = dask("worker", *options, "--no-nanny")
        process = subprocess.Popen(
            [sys.executable, "-m", "converters", "batch", manifest, "--scheduler", address, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        wait_for(lambda: len(rows_of(folder / "zoo.results.jsonl")) >= 3 or process.poll() is not None)
        victim.kill()
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, out + err
        report = json.loads(out)
        # A job whose worker was killed may have been done, but not reported.
        assert report["counts"]["converted"] + report["counts"]["adopted"] == batch_files.ROWS
        assert report["counts"]["converted"] >= 3
        assert batch_files.hashes(folder, "out", "safe", "half") == expected
        rows = rows_of(folder / "zoo.results.jsonl")
        assert len({row["task"] for row in rows}) == len(rows) == batch_files.ROWS

        # Nothing that is recorded is converted again; a bad row fails alone.
        (folder / "vmz" / "ir-csn-26-9.pkl").write_bytes(b"no pickle")
        again = batch(manifest, "--scheduler", address, "--resume", "--json", cwd=folder)
        counts = json.loads(again.stdout)["counts"]
        assert (counts["kept"], counts["failed"]) == (batch_files.ROWS, 9)
        assert again.returncode == 1


@needs("distributed")
def test_no_scheduler(zoo, tmp_path):
    text = '[[convert]]\ninput = "x"\nto = "native"\noutput = "x.pth"\n'
    (tmp_path / "zoo.toml").write_text(text)
    code = (
        "import sys, converters.batches.cluster as cluster\n"
        "from converters.cli.main import main\n"
        "cluster.PATIENCE = 2\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "batch", "zoo.toml", "--scheduler", f"tcp://127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no scheduler" in done.stderr


@pytest.fixture
def store(tmp_path):
    with object_store.serving(tmp_path, "inputs", "outputs") as served:
        yield served


S3 = """\
[[convert]]
source = "vmz"
input = "s3://inputs/vmz/i?-csn-26-[02].pkl"
to = ["vmz-pt", "native"]
output = "s3://outputs/{stem}.{to}.pth"

[[convert]]
source = "i3d"
input = "s3://inputs/rgb_imagenet/model.ckpt"
to = "pytorch-i3d"
output = "s3://outputs/{folder}.{to}.safetensors"
check = true

[[convert]]
input = "s3://inputs/vmz/ir-csn-26-0.pkl"
to = "mmaction"
output = "here/{stem}.pth"

[[convert]]
input = "local.pkl"
to = "native"
output = "s3://outputs/up/{stem}.pth"

[[convert]]
input = "s3://inputs/none.pkl"
to = "native"
output = "s3://outputs/none.pth"

[[convert]]
input = "s3://no-such-bucket/*.pkl"
to = "native"
output = "s3://outputs/no-bucket.pth"
"""


@pytest.mark.full
@needs("s3fs", "moto", "flask")
def test_an_object_store_for_inputs_and_outputs(zoo, tmp_path, store):
    reach, ask = store
    paths = [*(zoo / "vmz").iterdir(), *(zoo / "rgb_imagenet").iterdir()]
    ask(*(["put_file", path, f"inputs/{path.parent.name}/{path.name}"] for path in paths))
    shutil.copy(zoo / "vmz" / "ir-csn-26-1.pkl", tmp_path / "local.pkl")
    (tmp_path / "s3.toml").write_text(S3)

    dry = batch("s3.toml", "--dry-run", "--json", cwd=tmp_path, **reach)
    assert json.loads(dry.stdout)["counts"] | {"planned": 0, "failed": 0} == dict.fromkeys(
        json.loads(dry.stdout)["counts"], 0
    )
    assert json.loads(dry.stdout)["counts"]["planned"] == 7

    done = batch("s3.toml", "--jobs", 2, "--json", cwd=tmp_path, **reach)
    report = json.loads(done.stdout)
    assert report["counts"]["converted"] == 7, done.stdout + done.stderr
    assert report["counts"]["failed"] == 2
    assert done.returncode == 1
    (tmp_path / "got").mkdir()
    made = {
        "ir-csn-26-0.vmz-pt.pth": "ir-csn-26-0.pkl",
        "ir-csn-26-0.native.pth": "ir-csn-26-0.pkl",
        "ip-csn-26-2.vmz-pt.pth": "ip-csn-26-2.pkl",
        "ip-csn-26-2.native.pth": "ip-csn-26-2.pkl",
        "up/local.pth": "ir-csn-26-1.pkl",
    }
    ask(*(["get_file", f"outputs/{name}", tmp_path / "got" / Path(name).name] for name in made))
    for name, source in made.items():
        assert diff(tmp_path / "got" / Path(name).name, zoo / "vmz" / source).same
        row = next(row for row in report["rows"] if row["task"] == f"s3://outputs/{name}")
        assert row["output"]["files"][0][2] == batch_files.crc32(tmp_path / "got" / Path(name).name)
        assert row["output"]["version"]
    assert diff(tmp_path / "here" / "ir-csn-26-0.pth", zoo / "vmz" / "ir-csn-26-0.pkl").same
    errors = {row["task"]: row["error"]["text"] for row in report["rows"] if row["state"] == "failed"}
    assert "does not exist" in errors["s3://outputs/none.pth"]
    assert not (tmp_path / "s3.scratch").exists()

    # Resumed: unchanged rows are kept without a download; a changed input and a lost output are converted again.
    def resumed():
        done = batch("s3.toml", "--resume", "--json", cwd=tmp_path, **reach)
        return {row["task"]: row["state"] for row in json.loads(done.stdout)["rows"]}

    assert sorted(resumed().values()) == ["failed"] * 2 + ["kept"] * 7
    ask(
        ["put_file", zoo / "vmz" / "ir-csn-26-1.pkl", "inputs/vmz/ir-csn-26-0.pkl"],
        ["rm_file", "outputs/up/local.pth"],
    )
    states = resumed()
    assert {task for task, state in states.items() if state == "converted"} == {
        "s3://outputs/ir-csn-26-0.vmz-pt.pth",
        "s3://outputs/ir-csn-26-0.native.pth",
        "here/ir-csn-26-0.pth",
        "s3://outputs/up/local.pth",
    }
    # Without records, complete outputs are adopted; one that differs in a bit is not.
    (tmp_path / "s3.results.jsonl").unlink()
    other = tmp_path / "got" / "ip-csn-26-2.native.pth"
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 1
    other.write_bytes(data)
    ask(["put_file", other, f"outputs/{other.name}"])
    states = resumed()
    assert sorted(states.values()) == ["adopted"] * 6 + ["failed"] * 3
    assert states[f"s3://outputs/{other.name}"] == "failed"


@needs("s3fs", "moto", "flask", "distributed")
def test_a_cluster_with_an_object_store(zoo, tmp_path, store):
    reach, ask = store
    ask(["put_file", zoo / "vmz" / "ir-csn-26-0.pkl", "inputs/a.pkl"])
    (tmp_path / "s3.toml").write_text(
        '[[convert]]\ninput = "s3://inputs/*.pkl"\nto = ["native", "vmz-pt"]\noutput = "s3://outputs/{stem}.{to}.pth"\n'
    )
    (tmp_path / "logs").mkdir()
    address = f"tcp://127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        for words in (("scheduler", "--host", address), ("worker", address, "--nthreads", 1)):
            dask = ("-m", "dask", *words, "--no-dashboard")
            stack.enter_context(running(*dask, cwd=tmp_path / "logs", **reach))
            wait_for(lambda: listening(int(address.rpartition(":")[2])))
        done = batch("s3.toml", "--scheduler", address, "--json", cwd=tmp_path, **reach)
        ask(["get_file", "outputs/a.native.pth", tmp_path / "a.pth"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["task"] for row in json.loads(done.stdout)["rows"]} == {
        "s3://outputs/a.native.pth",
        "s3://outputs/a.vmz-pt.pth",
    }
    assert (tmp_path / "a.pth").stat().st_size > 6_000_000


def test_a_web_server(zoo, tmp_path):
    """http needs a hash, and the download is compared with it."""
    (tmp_path / "www").mkdir()
    shutil.copy(zoo / "vmz" / "ir-csn-26-0.pkl", tmp_path / "www" / "a b.pkl")
    (tmp_path / "www" / "page.pkl").write_text("<!DOCTYPE html><html>please sign in</html>")
    digest, page = (batch_files.hashes(tmp_path, "www")[f"www/{name}.pkl"] for name in ("a b", "page"))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=tmp_path / "www")

        def send_head(self):
            code = self.path.lstrip("/").partition(".")[0]
            return self.send_error(int(code)) if code.isdecimal() else super().send_head()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        row = '[[convert]]\ninput = "http://127.0.0.1:{}/{}?dl=1"\nto = "native"\noutput = "{}.pth"\nhash = "{}"\n'
        (tmp_path / "web.toml").write_text(
            row.format(server.server_port, "a%20b.pkl", "good", digest[:8])
            + row.format(server.server_port, "a%20b.pkl", "other", "0" * 64)
            + row.format(server.server_port, "none.pkl", "none", digest)
            + row.format(server.server_port, "page.pkl", "page", page)
            + row.format(server.server_port, "500.pkl", "broken", digest)
            + row.format(server.server_port, "403.pkl", "closed", digest)
        )
        dry = batch("web.toml", "--json", "--dry-run", cwd=tmp_path)
        done = batch("web.toml", "--json", cwd=tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    rows = {row["task"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["good.pth"]["state"] == "converted", done.stdout
    assert "SHA-256" in rows["other.pth"]["error"]["text"]
    assert "does not exist" in rows["none.pth"]["error"]["text"]
    assert "page.pkl?dl=1: is a web page" in rows["page.pth"]["error"]["text"]
    for states in (rows, {row["task"]: row for row in json.loads(dry.stdout)["rows"]}):
        assert "cannot be reached: 500" in states["broken.pth"]["error"]["text"]
        assert "access is denied" in states["closed.pth"]["error"]["text"]


def test_a_store_without_what_reaches_it(tmp_path):
    """Without the extra a remote row fails, naming the extra; the others are converted."""
    (tmp_path / "zoo.toml").write_text(
        '[[convert]]\ninput = "s3://inputs/a.pkl"\nto = "native"\noutput = "a.pth"\n'
        '[[convert]]\ninput = "s3://inputs/*.pkl"\nto = "native"\noutput = "b.pth"\n'
    )
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("fsspec", "s3fs"):
        (hidden / f"{name}.py").write_text("raise ImportError('hidden')\n")
    done = batch("zoo.toml", cwd=tmp_path, PYTHONPATH=f"{hidden}{os.pathsep}{REPOSITORY}")
    assert done.returncode == 1
    assert done.stdout.count("pip install '.[remote]'") == 2
