"""A Hub on 127.0.0.1 for tests: enough of its HTTP interface for huggingface_hub, timm, transformers and datasets.

Repositories live in memory. Writing needs the token, so does reading a private repository; an anonymous visitor cannot
tell a private repository from a missing one, as on the real Hub. `faults` make it misbehave, `log` is what was asked.

    with LoopbackHub() as hub:
        hub.faults.append(Fault("GET .*model.safetensors", die_after=1000))

A client needs HF_ENDPOINT=hub.url (read when huggingface_hub is imported) and HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_loopback"
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin")


class RefusedError(Exception):
    """An HTTP error answer."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None):
        self.status, self.message = status, message
        self.headers = {"X-Error-Message": message, "X-Error-Code": code, **(headers or {})}


@dataclass
class Fault:
    """One way to misbehave, on requests whose "METHOD /path" matches `request`.

    Attributes:
        request: Regular expression, searched.
        status: Answer with this HTTP status instead.
        truncate: Send only this many bytes, as if the file were no longer.
        corrupt: Flip the bits of the last byte sent.
        die_after: Close the connection after this many bytes of the body, whichever way it travels.
        stop_server: With `die_after`: from then on nobody listens at all, until `start`.
        delay: Wait this many seconds before each chunk.
        times: Wear off after so many requests.
    """

    request: str
    status: int | None = None
    truncate: int | None = None
    corrupt: bool = False
    die_after: int | None = None
    stop_server: bool = False
    delay: float = 0.0
    times: int = 1_000_000


@dataclass(frozen=True)
class File:
    """Content of a committed file."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """Git's name of the blob; for an LFS file that of its pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        blob = pointer.encode() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def describe(self, path: str) -> dict[str, Any]:
        """The entry of a tree listing."""
        entry: dict[str, Any] = {"type": "file", "path": path, "oid": self.oid, "size": len(self.data)}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "sha256": self.sha256, "size": len(self.data), "pointerSize": 135}
        return entry


class Commit(NamedTuple):
    """A commit: its 40-hex name and its files by path."""

    oid: str
    tree: dict[str, File]


@dataclass
class Repository:
    """Commits by name, and the branches that point to them."""

    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("main", {})

    def commit(self, branch: str, tree: dict[str, File]) -> Commit:
        commit = Commit(hashlib.sha1(uuid.uuid4().bytes).hexdigest(), tree)
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit

    def resolve(self, revision: str) -> Commit:
        oid = self.branches.get(revision.removeprefix("refs/heads/"), revision)
        if oid not in self.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def info(self, commit: Commit) -> dict[str, Any]:
        files = [{"rfilename": path, "size": len(file.data)} for path, file in sorted(commit.tree.items())]
        about = {"_id": "0" * 24, "id": self.name, "private": self.private, "gated": False}
        return {**about, "sha": commit.oid, "siblings": files}


class LoopbackHub:
    """The server. `log` has every request as "METHOD /path [Range]"; `faults` may be changed while it runs."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._running = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection, as a crash would."""
        with self.lock:
            running, self._running = self._running, False
        if running:
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self._connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> LoopbackHub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fault(self, request: str) -> Fault:
        """The first fault that concerns a request, or one without effect."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.request, request):
                    fault.times -= 1
                    return fault
        return Fault("")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub
    fault: Fault

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.hub._connections.add(self.connection)

    def finish(self) -> None:
        self.hub._connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the peer or a fault closed the connection
            self.close_connection = True

    def log_message(self, *_: object) -> None:  # keeps the test output clean
        pass

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        self.hub.log.append(" ".join(filter(None, (self.command, url.path, self.headers.get("Range")))))
        self.fault = self.hub.fault(f"{self.command} {url.path}")
        self.content = self.receive()
        try:
            if self.fault.status:
                raise RefusedError(self.fault.status, "injected fault")
            self.authorise()
            for command, pattern, route in ROUTES:
                match = re.fullmatch(pattern, url.path)
                if match and self.command in command.split():
                    return route(self, **{key: unquote(value) for key, value in match.groupdict().items() if value})
            raise RefusedError(404, f"no such route: {self.command} {url.path}")
        except RefusedError as refusal:
            self.send(refusal.status, {"error": refusal.message}, refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def receive(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        if self.fault.die_after is not None and length:
            self.rfile.read(min(self.fault.die_after, length))
            self.die()
        return self.rfile.read(length)

    def die(self) -> None:
        """Cut the connection; with it the server, if the fault says so."""
        if self.fault.stop_server:
            self.hub.stop()
        self.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    def send(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.send_bytes(data)

    def send_bytes(self, data: bytes) -> None:
        if self.fault.corrupt and data:
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        sent = data[: self.fault.die_after]
        for start in range(0, len(sent), 1 << 16):
            sleep(self.fault.delay)
            self.wfile.write(sent[start : start + (1 << 16)])
        if len(sent) < len(data):
            self.die()

    def authorise(self) -> None:
        """Refuse a wrong token, and anonymous writing."""
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        self.anonymous = given is None
        public = self.command in ("GET", "HEAD") or "/paths-info/" in self.path or self.path.startswith("/lfs/")
        if self.anonymous and not public:
            raise RefusedError(401, "Invalid username or password.")

    def find(self, name: str, kind: str = "models") -> Repository:
        repository = self.hub.repositories.get((kind, name))
        if repository and not (repository.private and self.anonymous):
            return repository
        if self.anonymous:
            raise RefusedError(401, "Invalid username or password.")
        raise RefusedError(404, "Repository not found", "RepoNotFound")

    def info(self, kind: str, name: str, revision: str = "main") -> None:
        repository = self.find(name, kind)
        self.send(200, repository.info(repository.resolve(revision)))

    def tree(self, kind: str, name: str, revision: str, path: str = "") -> None:
        commit = self.find(name, kind).resolve(revision)
        prefix, entries = f"{path}/" if path else "", _entries(commit)
        deep = self.query.get("recursive", "").lower() == "true"
        inside = [p for p in sorted(entries) if p.startswith(prefix) and (deep or "/" not in p[len(prefix) :])]
        if prefix and not inside:
            raise RefusedError(404, f"{path} does not exist on {revision}", "EntryNotFound")
        self.send(200, [entries[p] for p in inside])

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        wanted = parse_qs(self.content.decode()).get("paths", [])
        entries = _entries(self.find(name, kind).resolve(revision))
        self.send(200, [entries[path.strip("/")] for path in wanted if path.strip("/") in entries])

    def resolve(self, name: str, revision: str, path: str, kind: str = "models") -> None:
        commit = self.find(name, kind).resolve(revision)
        if path not in commit.tree:
            raise RefusedError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.oid})
        file = commit.tree[path]
        data = file.data[: self.fault.truncate]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return self.send(200, data, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        self.send(206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def create(self) -> None:
        asked = json.loads(self.content)
        kind, name = f"{asked.get('type') or 'model'}s", f"{asked.get('organization') or 'me'}/{asked['name']}"
        url = f"{self.hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
        with self.hub.lock:
            if (kind, name) in self.hub.repositories:
                return self.send(409, {"error": "You already created this repo", "url": url})
            private = bool(asked.get("private") or asked.get("visibility") == "private")
            self.hub.repositories[kind, name] = Repository(name, private)
        self.send(200, {"url": url, "name": name, "id": "0" * 24})

    def branch(self, kind: str, name: str, branch: str) -> None:
        repository = self.find(name, kind)
        if branch in repository.branches:
            raise RefusedError(409, "Reference already exists")
        repository.branches[branch] = repository.resolve("main").oid
        self.send(200, {})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        tree = self.find(name, kind).resolve(revision).tree
        files = json.loads(self.content)["files"]
        for file in files:
            mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
            known = tree[file["path"]].etag if file["path"] in tree else None
            file |= {"uploadMode": mode, "shouldIgnore": False, "oid": known}
        self.send(200, {"files": files})

    def batch(self, name: str, kind: str = "models") -> None:
        self.find(name, kind)
        wanted = json.loads(self.content)["objects"]
        for item in wanted:
            if item["oid"] not in self.hub.uploads:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
        self.send(200, {"transfer": "basic", "objects": wanted})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.content).hexdigest() != oid:
            raise RefusedError(400, "content does not match its oid")
        self.hub.uploads[oid] = self.content
        self.send(200, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        operations = [json.loads(line) for line in self.content.splitlines() if line.strip()]
        with self.hub.lock:
            repository = self.find(name, kind)
            head = repository.resolve(revision)
            tree = dict(head.tree)
            for operation in operations:
                _apply(operation["key"], operation["value"], head, tree, self.hub.uploads)
            commit = repository.commit(revision, tree)
        self.send(200, {"commitOid": commit.oid, "commitUrl": f"{self.hub.url}/{name}/commit/{commit.oid}"})


def _entries(commit: Commit) -> dict[str, dict[str, Any]]:
    """Files and folders of a commit by path."""
    entries = {path: file.describe(path) for path, file in commit.tree.items()}
    folders = {"/".join(path.split("/")[:i]) for path in commit.tree for i in range(1, path.count("/") + 1)}
    return entries | {path: {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders}


def _apply(key: str, value: dict[str, Any], head: Commit, tree: dict[str, File], uploads: dict[str, bytes]) -> None:
    """One line of a commit request, applied to `tree`."""
    if key == "header" and value.get("parentCommit", head.oid) != head.oid:
        raise RefusedError(412, "A commit has happened since")
    if key == "file":
        tree[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in uploads:
            raise RefusedError(400, f"LFS object {value['oid']} was not uploaded")
        tree[value["path"]] = File(uploads[value["oid"]], lfs=True)
    elif key == "deletedFile":
        del tree[value["path"]]


_KIND, _NAME, _REVISION = r"/api/(?P<kind>models|datasets)", r"/(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_PREFIX = r"(/(?P<kind>datasets))?"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", r"/api/validate-yaml", lambda handler: handler.send(200, {"errors": [], "warnings": []})),
    ("GET", rf"{_KIND}{_NAME}(/revision/{_REVISION})?", _Handler.info),
    ("GET", rf"{_KIND}{_NAME}/tree/{_REVISION}(/(?P<path>.*))?", _Handler.tree),
    ("POST", rf"{_KIND}{_NAME}/paths-info/{_REVISION}", _Handler.paths_info),
    ("POST", rf"{_KIND}{_NAME}/branch/(?P<branch>.+)", _Handler.branch),
    ("POST", rf"{_KIND}{_NAME}/preupload/{_REVISION}", _Handler.preupload),
    ("POST", rf"{_KIND}{_NAME}/commit/{_REVISION}", _Handler.commit),
    ("POST", rf"{_PREFIX}{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler.upload),
    ("GET HEAD", rf"{_PREFIX}{_NAME}/resolve/{_REVISION}/(?P<path>.+)", _Handler.resolve),
]
