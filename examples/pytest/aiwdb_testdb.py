"""Test databases from a running server for tests (`npx aiwdb testdb start`), over its Unix socket. Standard library only."""

import http.client
import json
import os
import socket
from pathlib import Path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def _server():
    return os.environ.get("AIWDB_TESTDB_SERVER") or "ci-local"


def _folder():
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "ai-workflow-database" / "stacks" / _server()


def request(method, path, body=None):
    connection = _UnixConnection(str(_folder() / "testdb.sock"))
    token = (_folder() / "testdb.token").read_text()
    try:
        connection.request(
            method,
            path,
            None if body is None else json.dumps(body),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        text = response.read().decode()
        if response.status >= 400:
            raise RuntimeError(json.loads(text)["error"]["message"])
        return json.loads(text) if text else None
    finally:
        connection.close()


def create(label, **options):
    """A database that is dropped when this process ends, however it ends. `aiwdb testdb run` reports what its run left."""
    run = os.environ.get("AIWDB_TESTDB_RUN", "")
    return request("POST", "/v1/databases", {"label": label[:200], "run": run, "pid": os.getpid(), **options})


def psql_command(name):
    """How to look into a database that is kept."""
    server = _server()
    return f"npx aiwdb testdb psql {name}" + ("" if server == "ci-local" else f" --name {server}")


def drop(name):
    request("DELETE", f"/v1/databases/{name}")


def keep(name):
    request("POST", f"/v1/databases/{name}/keep")
