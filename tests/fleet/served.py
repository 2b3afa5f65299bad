"""A learner that is served on the loopback, and requests that no replica would send."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import uvicorn

from efl_core.cli.fleet_serving import listening
from efl_core.fleet import Keys, Learner, asgi
from efl_core.fleet.web.signing import Credential

SECRET = "a secret that all tests know, of 32 and more"


class Served:
    """An application that runs in a thread; ``kill`` ends it as abruptly as a thread allows."""

    def __init__(self, app, port=0):
        self.app = app
        self._socket = listening("127.0.0.1", port)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self):
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def learner_of(circuit, loss="logistic", **options):
    return Learner(circuit, loss=loss, inputs=np.zeros(len(circuit.inputs)), seed=1, **options)


@contextmanager
def serving(learner, port=0, keys=None, mount=None, **options):
    """Serve a learner; its address, and the application."""
    app = asgi(learner, keys=Keys(SECRET) if keys is None else keys, **options)
    server = Served(app if mount is None else mount(app), port)
    try:
        yield server.url, app
    finally:
        server.stop()


def key(name="shop"):
    return Keys(SECRET).of(name)


def sent(url, method, path, body=b"", *, name="shop", headers=None, signed=True, now=None, prefix=""):
    """Send one request by a socket of its own: its status, its headers, what came."""
    host, port = url.removeprefix("http://").split(":")
    fields = {"host": host, "connection": "close", "content-length": str(len(body))}
    if signed:
        fields |= Credential.read(key(name)).sign(method, path, body, now).headers
    fields |= headers or {}
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None)
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(f"{method} {prefix}{path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return received(line)


def received(line):
    data = b""
    while part := line.recv(1 << 16):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(one.lower().split(": ", 1) for one in lines)
    found = json.loads(body) if fields.get("content-type") == "application/json" and body else body
    return int(first.split()[1]), fields, found


def joined(url, name="shop", instance="0" * 32, former=0):
    body = json.dumps({"instance": instance, "former": former}).encode()
    return sent(url, "POST", "/v1/join", body, name=name)


def packet_of(learner, replica, incarnation, first=0, queries=4, dropped=0, seed=0, bits=None):
    """A packet as a replica would make it, of random bits or of given ones."""
    native = learner.version.native
    random = np.random.default_rng(seed)

    def table(shots):
        if bits is not None:
            return np.full((queries, shots, native.n_qubits), bits, np.uint8)
        return random.integers(0, 2, (queries, shots, native.n_qubits), dtype=np.uint8)

    return native.encode(
        replica=replica,
        incarnation=incarnation,
        first=first,
        queries=queries,
        answers=table(native.answer_shots),
        teaches=table(native.teach_shots),
        dropped=dropped,
    )
