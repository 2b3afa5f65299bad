"""What operators see of a served learner: metrics, health, status, the page, the command line."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from tests.fleet.cases import brick
from tests.fleet.served import SECRET, key, learner_of, sent, serving

from efl_core.cli import main
from efl_core.fleet import Keys, Replica
from efl_core.fleet.status import shown

CIRCUIT = brick(3, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (64, 3))
Y = np.where(X.sum(axis=1) > 0, 1, -1)


@pytest.fixture
def taught():
    """A learner that has made three steps, a fourth of whose queries waits, and where it is served."""
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, app):
        with Replica(CIRCUIT, url, key=key(), seed=3) as replica:
            for start in range(0, 48, 16):
                replica.feedback(replica.answers(X[start : start + 16]).tickets, Y[start : start + 16])
                learner.step("adam")
                replica.refresh()
            replica.answers(X[48:])
            replica.flush(5)
        yield learner, url, app


LINE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="([^"{}]*)"\})? (NaN|[+-]?[0-9.e+-]+)')


def test_metrics_are_those_of_prometheus(taught):
    learner, url, app = taught
    status, fields, body = sent(url, "GET", "/metrics", signed=False)
    assert status == 200
    assert fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found, kinds = {}, {}
    for line in body.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            name, _, label, value = LINE.fullmatch(line).groups()
            assert (name, label) not in found
            found[name, label] = float(value)
            assert any(name.startswith(own) for own in kinds)
    assert found["efl_queries_total", "taught"] == learner.counts["taught"] == 48
    assert found["efl_requests_total", "accepted"] == app.counts["accepted"]
    assert found["efl_version", None] == 4
    assert found["efl_steps", None] == 3
    assert found["efl_pending", None] == 16
    assert found["efl_replicas_active", None] == 1
    assert found["efl_loss", None] == learner.status().history[-1].loss
    assert found["efl_acknowledge_seconds_bucket", "+Inf"] == found["efl_acknowledge_seconds_count", None] > 5
    assert kinds["efl_acknowledge_seconds"] == "histogram"
    assert {own for own in re.findall(r"\{([a-z]+)=", body.decode())} == {"fate", "result", "le"}


def test_a_learner_says_how_it_is(taught):
    learner, url, _ = taught
    found = learner.status()
    assert (found.version, found.steps, found.waiting, len(found.history)) == (4, 3, 0, 3)
    text = str(found)
    assert text.startswith("version 4, 3 steps, 0 contributions wait")
    assert "queries   admitted 64, taught 48, pending 16" in text
    assert re.search(r"loss +[▁▂▃▄▅▆▇█]{3}", text)
    status, _, told = sent(url, "GET", "/status", signed=False)
    assert status == 200
    assert told["learner"] == json.loads(json.dumps(found.to_dict()))
    assert "replicas  1 at work of 1" in shown(told)
    assert "TROUBLE" not in shown(told)


def test_a_loss_that_nobody_knows_is_none():
    learner = learner_of(CIRCUIT, "upstream")
    assert "no step yet" in str(learner.status())
    with Replica(CIRCUIT, learner, seed=1) as replica:
        found = replica.answers(X[:8])
        replica.feedback(found.tickets, gradient=np.ones((8, 1)))
        learner.step("descent")
    told = learner.status().to_dict()
    assert told["history"][0]["loss"] is None
    assert "last step 0 s ago: gradient" in str(learner.status())
    json.dumps(told, allow_nan=False)


def test_a_password_is_asked_for():
    learner = learner_of(CIRCUIT)
    with serving(learner, operator="open sesame") as (url, _):
        for path in ("/", "/status", "/metrics"):
            status, fields, _ = sent(url, "GET", path, signed=False)
            assert (status, fields["www-authenticate"]) == (401, 'basic realm="efl"')
            for given in (
                "open sesame",
                "Bearer wrong",
                "Basic !",
                "Basic " + basic("efl:wrong"),
                "Bearer \u00e9",
            ):
                assert sent(url, "GET", path, signed=False, headers={"authorization": given})[0] == 401
            for given in ("Bearer open sesame", "Basic " + basic("anybody:open sesame")):
                assert sent(url, "GET", path, signed=False, headers={"authorization": given})[0] == 200
        assert sent(url, "GET", "/health", signed=False)[0] == 200
        assert sent(url, "HEAD", "/health", signed=False)[2] == b""
        assert sent(url, "POST", "/metrics", signed=False)[0] == 405


def basic(text):
    return base64.b64encode(text.encode()).decode()


def test_a_step_that_fails_is_said_and_serving_goes_on():
    learner = learner_of(CIRCUIT)

    def update(params, gradient):
        raise RuntimeError("no rate")

    with serving(learner, update=update, queries=8) as (url, _), Replica(CIRCUIT, url, key=key()) as replica:
        replica.feedback(replica.answers(X[:8]).tickets, Y[:8])
        for _ in range(100):
            told = sent(url, "GET", "/status", signed=False)[2]["server"]["trouble"]
            if told:
                break
            time.sleep(0.02)
        assert told == "RuntimeError: no rate"
        assert replica.answer(X[0]).version == 1
        assert "efl_trouble 1.0" in sent(url, "GET", "/metrics", signed=False)[2].decode()


class Outside(HTMLParser):
    """Collects what a page would load."""

    def __init__(self):
        super().__init__()
        self.found, self.script, self._inside = [], "", False

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        self._inside = tag == "script"

    def handle_data(self, data):
        if self._inside:
            self.script += data


STUB = """
const made = {};
class Part {
  constructor(tag) { this.tag = tag; this.text = ""; this.list = []; }
  set textContent(text) { this.text = String(text); }
  get textContent() { return this.text; }
  append(...parts) { this.list.push(...parts); }
  replaceChildren(...parts) { this.list = parts; }
  setAttribute(name, value) {
    if (/NaN|undefined|Infinity/.test(value)) throw new Error(`${this.tag} ${name}=${value}`);
    this[name] = String(value);
  }
}
globalThis.document = {
  getElementById: id => made[id] ??= new Part(id),
  createElement: tag => new Part(tag),
  createElementNS: (_, tag) => new Part(tag),
};
globalThis.setTimeout = () => {};
globalThis.fetch = async where => {
  if (where !== "status") throw new Error(where);
  return { ok: true, json: async () => (STATUS) };
};
process.on("exit", () => console.log(JSON.stringify(made)));
"""


def test_the_page_shows_the_status_and_loads_nothing_else(taught):
    _, url, _ = taught
    status, fields, body = sent(url, "GET", "/", signed=False)
    assert status == 200
    assert fields["content-security-policy"].startswith("default-src 'none'")
    page = Outside()
    page.feed(body.decode())
    assert page.found == []
    assert re.findall(r"https?://[^\"]*", body.decode()) == [
        "http://www.w3.org/2000/svg"
    ]  # a name, not a place
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which runs the script of the page")
    told = json.dumps(sent(url, "GET", "/status", signed=False)[2])
    done = subprocess.run(
        [node, "-e", STUB.replace("STATUS", told) + page.script],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    made = json.loads(done.stdout)
    assert made["now"]["text"] == "version 4, 3 steps, 1 replicas at work"
    curves = [part["d"] for part in made["loss"]["list"] if part.get("class") == "curve"]
    assert len(re.findall("[ML]", curves[0])) == 3
    cells = {row["list"][0]["text"]: row["list"][1]["text"] for row in made["queries"]["list"]}
    assert (cells["taught"], cells["pending"]) == ("48", "16")
    assert made["replicas"]["list"][1]["list"][0]["text"] == "shop #0"
    assert made["trouble"]["text"] == ""


PROGRAM = """
import numpy as np
import efl_core as efl

circuit = efl.Circuit(1, parameters=[0.4])
x = circuit.input(0.0)
circuit.ry(x, 0).ry(efl.Parameter(0), 0)
circuit.observables = (efl.PauliSum("Z"),)
learner = efl.fleet.Learner(circuit, loss="squared", inputs=[0.0], seed=1)
"""


def test_a_learner_is_served_from_the_command_line(tmp_path, capfd):
    program, secret = tmp_path / "model.py", tmp_path / "secret"
    program.write_text(PROGRAM)
    assert main(["fleet", "secret", str(secret)]) == 0
    assert secret.stat().st_mode & 0o777 == 0o600
    assert main(["fleet", "secret", str(secret)]) == 1  # it is never written over
    assert main(["fleet", "key", "shop", "--secret", str(secret)]) == 0
    own = capfd.readouterr().out.strip()
    assert own == Keys(secret.read_text()).of("shop")

    scope = {}
    exec(PROGRAM, scope)
    serve = [sys.executable, "-m", "efl_core", "fleet", "serve", f"{program}:learner", "--port", "0"]
    with subprocess.Popen(
        [*serve, "--secret", str(secret), "--queries", "8", "--update", "descent"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            url = re.search(r"at (http://127.0.0.1:\d+)/", process.stdout.readline())[1]
            with Replica(scope["circuit"], url, key=own) as replica:
                for _ in range(4):
                    found = replica.answers(np.linspace(-1, 1, 8)[:, None])
                    assert replica.feedback(found.tickets, np.zeros(8)) == {"taught": 8}
                    time.sleep(0.1)
            assert main(["fleet", "status", url]) == 0
            assert "taught 32" in capfd.readouterr().out
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM)
            log = process.stdout.read()
            assert re.search(r"INFO step +1 +loss", log), log
            assert "Traceback" not in log
        finally:
            process.kill()
    assert main(["fleet", "status", url]) == 1
    assert "efl: url: expected a learner at http://127.0.0.1" in capfd.readouterr().err


def test_the_command_line_says_what_is_wrong(tmp_path, capsys):
    program = tmp_path / "model.py"
    program.write_text(PROGRAM)
    assert main(["fleet", "serve", f"{program}:circuit", "--open"]) == 1
    assert "expected FILE.py:NAME of a Learner" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fleet", "serve", f"{program}:learner"])  # believed by everybody only when that is said
    assert main(["fleet", "status", "127.0.0.1:7070"]) == 1
    assert "url: expected an address such as" in capsys.readouterr().err
    (tmp_path / "short").write_text("short")
    assert main(["fleet", "key", "a", "--secret", str(tmp_path / "short")]) == 1
    assert "secret: expected 16 bytes or more" in capsys.readouterr().err
    assert len(SECRET) > 16
