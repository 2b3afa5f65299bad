"""The page of a served learner in a browser that is installed here: what is in the document it has made."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from tests.fleet.cases import brick
from tests.fleet.served import joined, key, learner_of, packet_of, sent, serving

from efl_core.fleet import Replica

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
X = np.random.default_rng(2).uniform(-1, 1, (32, 3))
Y = np.where(X.sum(axis=1) > 0, 1, -1)


class Document(HTMLParser):
    """The texts of elements that have a name, the rows of tables, and the curves that are drawn."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tables, self.curves = {}, {}, {}
        self._open, self._row = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        if tag in ("svg", "table", "p", "span"):
            self._open.append(own.get("id", ""))
        elif tag == "tr":
            self._row = []
            self.tables.setdefault(self._open[-1], []).append(self._row)
        elif tag in ("td", "th"):
            self._row.append("")
        elif tag == "path":
            self.curves[self._open[-1], own["class"]] = own["d"]

    def handle_endtag(self, tag):
        if tag in ("svg", "table", "p", "span"):
            self._open.pop()

    def handle_data(self, data):
        if self._open and self._open[-1] in self.tables:
            if self._row:
                self._row[-1] += data
        elif self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data


def opened(url, folder):
    """Open a page, let its script run, and return the document that it has made."""
    options = ["--headless", "--disable-gpu", "--virtual-time-budget=3000", f"--user-data-dir={folder}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # which root has none of
    done = subprocess.run(
        [BROWSER, *options, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=True
    )
    return Document(done.stdout)


@pytest.mark.skipif(BROWSER is None, reason=f"needs a browser on the PATH: {', '.join(NAMES)}")
def test_a_browser_shows_what_a_fleet_does(tmp_path):
    learner = learner_of(brick(3, outputs="word"))
    with serving(learner) as (url, _):
        with Replica(brick(3, outputs="word"), url, key=key(), seed=3) as replica:
            for _ in range(5):
                replica.feedback(replica.answers(X).tickets, Y)
                learner.step("adam")
                replica.refresh()
            replica.answers(X[:16])
            replica.flush(5)
        life = joined(url, "other")[2]
        packet = packet_of(learner, life["replica"], life["incarnation"])
        for _ in range(2):
            sent(url, "POST", "/v1/packets", packet, name="other")
        late = packet_of(learner, life["replica"], life["incarnation"], first=16, queries=4, dropped=12)
        sent(url, "POST", "/v1/packets", late, name="other")
        sent(url, "POST", "/v1/packets", packet, signed=False)
        learner.publish(learner.params, canary=0.25)
        found, last = opened(url + "/", tmp_path), learner.status().history[-1]
    assert found.texts["now"] == "version 6, 5 steps, 2 replicas at work"
    assert found.texts.get("trouble", "") == ""
    for name in ("loss", "error"):  # a curve of the loss and one of the error of the gradient
        assert len(re.findall("[ML]", found.curves[name, "curve"])) == 5
        assert len(re.findall("[ML]", found.curves[name, "band"])) == 10
    versions = dict(found.tables["versions"])
    assert (versions["served now"], versions["candidate that is tried"]) == ("6", "7")
    assert versions["loss of the last step"] == f"{last.loss:#.4g} ± {last.loss_stderr:#.2g}"
    assert versions["derivatives of the last step, RMS"] == f"{last.gradient:#.4g} ± {last.error:#.2g}"
    assert float(versions["age of its contributions, in versions"]) == pytest.approx(last.age, abs=0.01)
    queries = dict(found.tables["queries"])
    assert (queries["taught"], queries["refused: duplicate"]) == ("160", "1")
    assert dict(found.tables["requests"])["unsigned"] == "1"
    assert found.tables["replicas"][:2] == [
        ["key", "queries", "given up", "refused"],
        ["other #0", "8", "60.0 %", "0"],
    ]
