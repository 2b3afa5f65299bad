"""The processes of the HTTP bench: a learner, a bare application, replicas whose device waits, senders.

Each is this file with a role and options as JSON; it prints one line of JSON when it is ready, and one when
its input is closed or its time is over.
"""

import sidebyside  # noqa: F401 # isort: skip (one thread for everybody, before numpy is there)
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import efl_core as efl
from efl_core.fleet import Keys, Learner, Replica, asgi
from efl_core.fleet.web.signing import Credential
from efl_core.training import Adam

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fleet.cases import brick

SECRET = "a secret of the bench, which is 32"
QUBITS = 6


def circuit():
    return brick(QUBITS, outputs="word")


def learner():
    # Settings of the served circuit only: a query takes a millisecond of a processor, and waits for 20.
    return Learner(circuit(), loss="energy", inputs=np.zeros(QUBITS), seed=1, served_only=True)


# ---- roles -----------------------------------------------------------------------------------------------


def serve(options):
    """A learner, or an application that reads a body and says so."""
    import uvicorn

    own = learner()
    app = bare
    if not options.get("bare"):
        app = asgi(
            own,
            keys=Keys(SECRET),
            update=Adam(options["rate"]) if options.get("update") else None,
            queries=options.get("queries", 64),
            canary=None,  # a step is served at once: what is measured is what more replicas bring
            workers=64,
        )
    place = socket.create_server(("127.0.0.1", 0), backlog=512)
    say(port=place.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    started = time.perf_counter()

    async def run():
        serving = asyncio.create_task(server.serve(sockets=[place]))
        loop = asyncio.get_running_loop()
        ended = loop.run_in_executor(None, sys.stdin.read)
        if options.get("goal") is None:
            await ended
        else:  # until the exact value is so low
            while loss_of(own) > options["goal"]:
                await asyncio.sleep(0.02)
            say(seconds=time.perf_counter() - started, steps=own.status().steps, at=time.time())
            await ended
        server.should_exit = True
        await serving

    asyncio.run(run())
    say(counts=own.counts)


async def bare(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


def loss_of(own):
    at = circuit().at(own.params, np.zeros(QUBITS))
    return efl.propagate(at).value


def answer(options):
    """A replica that answers one query after the other on a device that waits."""
    slow_device(options["wait"])
    replica = Replica(circuit(), options["url"], key=Keys(SECRET).of(options["name"]), shots=64)
    x = np.zeros(QUBITS)
    replica.answer(x)
    say(ready=True)
    sys.stdin.readline()
    times, end, failed = [], time.perf_counter() + options["seconds"], 0
    while time.perf_counter() < end:
        start = time.perf_counter()
        try:
            replica.answer(x)
        except Exception:
            failed += 1
        times.append(time.perf_counter() - start)
    counts = replica.counts
    replica.close(timeout=2)
    p50, p99 = (float(np.quantile(times, part)) for part in (0.5, 0.99))
    say(answered=len(times), failed=failed, p50=p50, p99=p99, counts=counts)


def slow_device(seconds):
    """Let shots take as long as on a device that is somewhere else: the processor is free meanwhile."""
    from efl_core.fleet import serving

    run = serving.run_pieces

    def waiting(jobs, seed):
        found = run(jobs, seed)
        time.sleep(seconds)
        return found

    serving.run_pieces = waiting


def load(options):
    """Senders with a key each: as fast as they are answered, or so many packets a second whatever happens."""
    os.nice(15)  # the learner and those who send to it are not where answers are given
    say(**asyncio.run(loaded(options)))


async def loaded(options):
    own = learner()
    senders = [Sender(options, own, f"sender-{i}") for i in range(options["senders"])]
    if not options.get("bare"):
        await asyncio.gather(*(sender.join() for sender in senders))
    say(ready=True)
    end = time.perf_counter() + options["seconds"]
    rate = options.get("rate")
    each = None if rate is None else options["senders"] / rate
    start = time.perf_counter()
    await asyncio.gather(*(sender.run(end, each, i) for i, sender in enumerate(senders)))
    seconds = time.perf_counter() - start
    for sender in senders:
        sender.close()
    total = {name: sum(getattr(s, name) for s in senders) for name in ("acknowledged", "refused", "missed")}
    return {**total, "seconds": seconds, "queries": options["queries"]}


class Sender:
    """A connection that sends the packets of a replica, one at a time."""

    def __init__(self, options, own, name):
        self.host, self.port = "127.0.0.1", options["port"]
        self.native, self.queries = own.version.native, options["queries"]
        self.credential = Credential.read(Keys(SECRET).of(name))
        self.acknowledged = self.refused = self.missed = 0
        self.life, self.first, self.dropped = (1, 1), 0, 0
        shape = (self.queries, self.native.answer_shots, self.native.n_qubits)
        self.answers = np.zeros(shape, np.uint8)
        self.teaches = np.zeros((self.queries, self.native.teach_shots, self.native.n_qubits), np.uint8)
        self.reader = self.writer = None

    async def call(self, path, body):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        head = {"host": "x", "content-length": len(body), **self.credential.sign("POST", path, body).headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.writer.write(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        await self.writer.drain()
        found = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(found.split("content-length: ")[1].split("\r\n")[0])
        return int(found.split()[1]), await self.reader.readexactly(size)

    async def join(self):
        status, body = await self.call("/v1/join", json.dumps({"instance": "0" * 32}).encode())
        assert status == 200, body
        found = json.loads(body)
        self.life = found["replica"], found["incarnation"]

    async def run(self, end, each, place):
        due = time.perf_counter() + (0 if each is None else each * place / 64)
        while time.perf_counter() < end:
            if each is not None:
                await asyncio.sleep(max(0, due - time.perf_counter()))
                due += each
                while due < time.perf_counter():  # another one is due before this one could be sent
                    due += each
                    self.missed += 1
                    self.dropped += self.queries
                    self.first += self.queries
            packet = self.native.encode(
                replica=self.life[0],
                incarnation=self.life[1],
                first=self.first,
                queries=self.queries,
                answers=self.answers,
                teaches=self.teaches,
                dropped=self.dropped,
            )
            try:
                status, body = await self.call("/v1/packets", packet)
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                status, body = 0, b""
            if status == 200 and json.loads(body).get("refused") is None:
                self.acknowledged += 1
                self.first, self.dropped = self.first + self.queries, 0
            else:
                self.refused += 1

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.writer = None


# ---- between processes -----------------------------------------------------------------------------------


def say(**what):
    print(json.dumps(what), flush=True)


class Process:
    """A role that runs."""

    def __init__(self, role, **options):
        self._process = subprocess.Popen(
            [sys.executable, __file__, role, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def hear(self):
        line = self._process.stdout.readline()
        assert line, "a process of the bench has ended"
        return json.loads(line)

    def go(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self):
        """Close its input, and return what it says last."""
        self._process.stdin.close()
        last = None
        for line in self._process.stdout:
            last = json.loads(line)
        self._process.wait(30)
        self._process.stdout.close()
        return last

    def kill(self):
        self._process.kill()
        self._process.wait(30)
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def resident(self):
        """Bytes of memory."""
        text = Path(f"/proc/{self.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(role, **options):
    process = Process(role, **options)
    try:
        yield process
    finally:
        if process._process.poll() is None:
            process.kill()


if __name__ == "__main__":
    {"serve": serve, "answer": answer, "load": load}[sys.argv[1]](json.loads(sys.argv[2]))
