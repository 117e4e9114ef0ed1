"""A server on loopback that speaks as much of the Hugging Face Hub's API as is called here, and keeps what it gets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_testtoken"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(NamedTuple):
    """A running server: its address, its repositories' files, and what was asked of it."""

    url: str
    repositories: dict[str, dict[str, bytes]]
    log: list[str]


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    repositories: dict[str, dict[str, bytes]] = {}
    large: dict[str, bytes] = {}
    log: list[str] = []

    def described(path: str, data: bytes) -> dict:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        found = {"type": "file", "path": path, "size": len(data), "oid": blob}
        if path.endswith((".pth", ".safetensors")):
            digest = hashlib.sha256(data).hexdigest()
            found["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
        return found

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def answer(self, data, status=200, **headers):
            raw = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        def do_POST(self):
            body, path = self.body(), self.path.partition("?")[0]
            log.append(f"POST {path}")
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer({"error": "Invalid username or password."}, 401)
            elif path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                status = 409 if name in repositories else 200
                repositories.setdefault(name, {})
                self.answer({"url": f"{hub.url}/{name}", "name": name, "id": name}, status)
            elif path == "/api/validate-yaml":
                self.answer(
                    {"errors": [], "warnings": []} if self.card(json.loads(body)["content"]) else {}, 200
                )
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
                files = [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if each["path"].endswith((".pth", ".safetensors")) else "regular",
                        "shouldIgnore": False,
                    }
                    for each in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            elif path.endswith(".git/info/lfs/objects/batch"):
                objects = [
                    {**each, "actions": {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}}}
                    for each in json.loads(body)["objects"]
                ]
                self.answer({"transfer": "basic", "objects": objects})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
                for line in body.splitlines():
                    entry = json.loads(line)
                    value = entry["value"]
                    if entry["key"] == "file":
                        repositories[match[1]][value["path"]] = base64.b64decode(value["content"])
                    elif entry["key"] == "lfsFile":
                        repositories[match[1]][value["path"]] = large[value["oid"]]
                self.answer({"commitUrl": f"{hub.url}/{match[1]}/commit/{COMMIT}", "commitOid": COMMIT})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/paths-info/[^/]+", path):
                asked = json.loads(body) if body[:1] == b"{" else None
                files = repositories[match[1]]
                names = asked["paths"] if asked else re.findall(rb"paths=([^&]+)", body)
                names = [name if isinstance(name, str) else name.decode() for name in names]
                self.answer([described(name, files[name]) for name in names if name in files])
            else:
                self.answer({"error": "not found"}, 404)

        def card(self, text):
            front = yaml.safe_load(text.split("---")[1])
            return isinstance(front, dict)

        def do_PUT(self):
            log.append("PUT /lfs")
            data = self.body()
            assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
            large[hashlib.sha256(data).hexdigest()] = data
            self.answer(b"")

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            log.append(f"{self.command} {path}")
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
                if match[1] in repositories:
                    return self.answer({"id": match[1], "sha": COMMIT, "siblings": []})
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
                files = repositories.get(match[1], {})
                return self.answer([described(name, data) for name, data in files.items()])
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                data = repositories.get(match[1], {}).get(match[2])
                if data is not None:
                    return self.part(data)
            return self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")

        def part(self, data):
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if not match:
                return self.answer(data, X_Repo_Commit=COMMIT)
            first, last = int(match[1]), min(int(match[2]), len(data) - 1)
            where = f"bytes {first}-{last}/{len(data)}"
            return self.answer(data[first : last + 1], 206, Content_Range=where, X_Repo_Commit=COMMIT)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", repositories, log)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
