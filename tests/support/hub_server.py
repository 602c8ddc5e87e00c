"""A small server on loopback that speaks those endpoints of the Hugging Face hub that its client library uses to make
a repository, to commit to it and to read a file."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class Hub:
    """Repositories by name, each with its files; ``private`` ones are not shown; ``requests`` are what was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.url = ""

    def commit_of(self, repo: str) -> str:
        content = sorted((name, hashlib.sha256(data).hexdigest()) for name, data in self.repos[repo].items())
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path.partition("?")[0]):
            repo, revision, name = found.groups()
            if repo not in self.hub.repos or repo in self.hub.private:
                return self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Invalid username or password.")
            commit, files = self.hub.commit_of(repo), self.hub.repos[repo]
            if revision not in ("main", commit):
                return self.answer(404, X_Error_Code="RevisionNotFound")
            if name not in files:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            digest = hashlib.sha256(files[name]).hexdigest()
            return self.answer(200, files[name], ETag=f'"{digest}"', X_Repo_Commit=commit, Accept_Ranges="bytes")
        if found := re.match(r"/api/models/([^/]+/[^/]+)", self.path):
            if (repo := found[1]) in self.hub.repos:
                siblings = [{"rfilename": name} for name in self.hub.repos[repo]]
                return self.answer_json({"id": repo, "sha": self.hub.commit_of(repo), "siblings": siblings})
            return self.answer(404, X_Error_Code="RepoNotFound")
        return self.answer(404)

    def do_POST(self) -> None:
        self.hub.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != "Bearer hf_allowed":
            return self.answer(401, b'{"error": "Invalid username or password."}')
        if self.path == "/api/validate-yaml":
            return self.answer_json({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            if repo in self.hub.repos:
                return self.answer(409, json.dumps({"url": f"{self.hub.url}/{repo}"}).encode())
            self.hub.repos[repo] = {}
            return self.answer_json({"url": f"{self.hub.url}/{repo}"})
        if found := re.match(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path):
            repo, what = found.groups()
            if what == "preupload":
                names = [file["path"] for file in json.loads(body)["files"]]
                plain = {"uploadMode": "regular", "shouldIgnore": False}
                return self.answer_json({"files": [{"path": name, **plain} for name in names]})
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.hub.repos[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            commit = self.hub.commit_of(repo)
            return self.answer_json({"commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "commitOid": commit})
        return self.answer(404)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty hub on a free port of loopback until the end."""
    hub = Hub()
    handler = type("Handler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(hub: Hub, patch: pytest.MonkeyPatch, cache: Path) -> None:
    """Have the client library talk to ``hub`` and keep files in ``cache``, as someone who may write there."""
    from huggingface_hub import constants

    patch.setenv("HF_ENDPOINT", hub.url)
    patch.setenv("HF_TOKEN", "hf_allowed")
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
