"""The processes of the HTTP bench: a learner, a bare application, replicas whose device waits, senders.

Each is this file with a role and options as JSON; it prints one line of JSON when it is ready, and one when
its input is closed or its time is over.
"""

import sidebyside  # noqa: F401 # isort: skip (one thread for everybody, before numpy is there)
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import efl_core as efl
from efl_core.cli.fleet_serving import listening
from efl_core.fleet import Keys, Learner, Replica, asgi
from efl_core.fleet.web.signing import Credential
from efl_core.training import Adam

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fleet.cases import brick

SECRET = "a secret of the bench, which is 32"
QUBITS = 6


def circuit():
    return brick(QUBITS, outputs="word")


def learner(journal=None):
    # Settings of the served circuit only: a query takes a millisecond of a processor, and waits for 20.
    options = {"loss": "energy", "inputs": np.zeros(QUBITS), "seed": 1, "served_only": True}
    return Learner(circuit(), journal=journal, **options)


# ---- roles -----------------------------------------------------------------------------------------------


def serve(options):
    """A learner, or an application that reads a body and says so."""
    import uvicorn

    on_core(options)
    own = learner(options.get("journal"))
    app = bare
    if not options.get("bare"):
        app = asgi(
            own,
            keys=Keys(SECRET),
            update=Adam(options["rate"]) if options.get("update") else None,
            queries=options.get("queries", 64),
            canary=None,  # a step is served at once: what is measured is what more replicas bring
            workers=1024,
            flying=options.get("flying", 64 << 20),
        )
    place = listening("127.0.0.1", 0)
    place.listen(2048)
    say(port=place.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_keep_alive=120))
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
    own.close()
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
    on_core(options)
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
    """Connections with a replica each: always busy, or so many packets a second whatever becomes of them."""
    on_core(options)
    asyncio.run(loaded(options))


async def loaded(options):
    own = learner()
    totals = Counter()
    loop = asyncio.get_running_loop()
    lines = [Line(options, own.version.native, totals, i) for i in range(options["senders"])]
    for line in lines:
        await loop.create_connection(lambda line=line: line, "127.0.0.1", options["port"])
        if not options.get("bare"):
            await line.join()
    say(ready=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    start = time.perf_counter()
    end, rate = start + options["seconds"], options.get("rate")
    if rate is None:
        for line in lines:
            line.end = end
            line.send()
        await asyncio.sleep(options["seconds"])
    else:
        await paced(lines, totals, rate, start, end)
    seconds = time.perf_counter() - start
    while any(line.is_busy for line in lines):  # so that what was acknowledged is known
        await asyncio.sleep(0.01)
    say(
        **{name: totals[name] for name in ("acknowledged", "busy", "refused", "missed")},
        told_when=totals["told_when"],
        seconds=seconds,
        expected=[[line.replica, line.first] for line in lines],
    )
    for line in lines:
        line.transport.close()


async def paced(lines, totals, rate, start, end):
    """Send when it is due: by a connection that is free, or not at all."""
    due = 0
    free = deque(lines)
    for line in lines:
        line.free = free
    while (now := time.perf_counter()) < end:
        while due < (now - start) * rate:
            due += 1
            if free:
                free.popleft().send()
            else:
                totals["missed"] += 1
        await asyncio.sleep(0.002)


class Line(asyncio.Protocol):
    """A connection that is kept, and a replica whose packets go over it; one that is refused goes again."""

    def __init__(self, options, native, totals, place):
        self.native, self.totals, self.queries = native, totals, options["queries"]
        self.name, self.place = f"sender-{options.get('name', 0)}", place
        self.credential = Credential.read(Keys(SECRET).of(self.name))
        self.replica, self.incarnation, self.first = 1, 1, 0
        shape = (self.queries, native.answer_shots, native.n_qubits)
        self.answers = np.zeros(shape, np.uint8)
        self.teaches = np.zeros((self.queries, native.teach_shots, native.n_qubits), np.uint8)
        self.data, self.request, self.told = b"", None, None
        self.end, self.free, self.is_busy = 0.0, None, False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        assert not self.is_busy, f"a connection was lost: {error}"

    def data_received(self, data):
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if found:
            fields = head.lower()
            if len(body) >= int(fields.split(b"content-length: ")[1].split(b"\r\n")[0]):
                self.data, self.is_busy = b"", False
                self.told(int(head[9:12]), fields, body)

    def write(self, path, body, told):
        head = {"host": "x", "content-length": len(body), **self.credential.sign("POST", path, body).headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        request = f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
        self.told, self.is_busy = told, True
        self.transport.write(request)
        return request

    async def join(self):
        found = asyncio.get_running_loop().create_future()
        body = json.dumps({"instance": f"{self.place:032x}"}).encode()
        self.write("/v1/join", body, lambda *reply: found.set_result(reply))
        status, _, body = await found
        assert status == 200, body
        told = json.loads(body)
        self.replica, self.incarnation = told["replica"], told["incarnation"]

    def send(self):
        """Send the next packet, or the one that was refused."""
        if self.request is not None:
            self.told, self.is_busy = self.heard, True
            self.transport.write(self.request)
            return
        packet = self.native.encode(
            replica=self.replica,
            incarnation=self.incarnation,
            first=self.first,
            queries=self.queries,
            answers=self.answers,
            teaches=self.teaches,
        )
        self.request = self.write("/v1/packets", packet, self.heard)

    def heard(self, status, fields, body):
        if status == 200 and json.loads(body).get("refused") is None:
            self.totals["acknowledged"] += 1
            self.first, self.request = self.first + self.queries, None
        elif status == 503:
            self.totals["busy"] += 1
            self.totals["told_when"] += b"\r\nretry-after: " in fields
        else:
            self.totals["refused"] += 1
        if self.free is not None:
            self.free.append(self)
        elif time.perf_counter() < self.end:
            self.send()


def on_core(options):
    """Stay on a core, where the machine lets a process choose."""
    if options.get("core") is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options["core"]})


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
