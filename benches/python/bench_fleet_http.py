"""A fleet over HTTP on the loopback: capacity, answers under overload, and what more replicas bring.

- capacity: packets of 64 queries from 8 connections that are always busy, beside an application of uvicorn
  that reads as many bytes and does nothing. Nothing is written to a disk.
- overload: 64 senders, each with a key, send at twice that rate whatever happens; a packet that is due while
  the one before it is under way is given up, and declared. Every acknowledged packet has been counted, and
  memory stays. Meanwhile a replica answers on a device that waits 20 ms, as a processor in a cloud does; so
  it does with the learner killed, and with nobody beside it. Senders and learner yield to it where cores are
  few: in earnest they are on other machines.
- scaling: 1, 4, 16 such replicas in processes of their own, and the time until a circuit has learnt.

Goals: p99 of an answer at most 1.1 times that of a replica with nobody beside it; no answer fails; memory
grows by less than 50 MB; taught queries a second at least 0.8 of linear; time to a fixed loss falls by 10
from 1 to 16 replicas. All want an idle machine with two cores or more.

    python benches/python/bench_fleet_http.py [--smoke] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import json
import time
import urllib.request
from contextlib import ExitStack

from http_roles import running

QUERIES, WAIT = 64, 0.02
# The exact value of the output, which starts near -0.1; reached after some 20 steps.
GOAL, RATE = -0.9, 0.05


def capacity(report, seconds):
    report.title("capacity")
    rates = {}
    for name, bare in (("bare uvicorn", True), ("a learner", False)):
        with (
            running("serve", bare=bare) as server,
            running(
                "load", port=server.hear()["port"], bare=bare, senders=8, queries=QUERIES, seconds=seconds
            ) as load,
        ):
            load.hear()
            told = load.hear()
            rates[name] = told["acknowledged"] / told["seconds"]
            last = server.end()
        report.figure(f"{name}, packets a second", rates[name], "")
        if not bare:
            report.check(
                "every acknowledged packet is counted",
                last["counts"]["admitted"] == QUERIES * told["acknowledged"],
            )
            report.figure("that is, queries a second", rates[name] * QUERIES, "")
    report.figure("bare uvicorn is faster", rates["bare uvicorn"] / rates["a learner"], "times")
    return rates["a learner"]


def overload(report, rate, seconds):
    report.title("overload")
    with running("serve") as server:
        port = server.hear()["port"]
        own = {"url": f"http://127.0.0.1:{port}", "wait": WAIT, "seconds": seconds, "name": "answers"}
        with running("answer", **own) as alone:
            alone.hear()
            alone.go()
            before = alone.hear()
        with (
            running("answer", **own) as replica,
            running(
                "load", port=port, senders=64, queries=QUERIES, seconds=seconds + 1, rate=2 * rate
            ) as load,
        ):
            replica.hear()
            load.hear()
            start = server.resident
            replica.go()
            during, told = replica.hear(), load.hear()
            grown = server.resident - start
        status = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/status").read())
        with running("answer", **own) as replica:
            replica.hear()
            replica.go()
            time.sleep(0.2)
            server.kill()
            after = replica.hear()
    offered = (told["acknowledged"] + told["refused"] + told["missed"]) / told["seconds"]
    report.figure("offered, packets a second", offered, "")
    report.figure("acknowledged, packets a second", told["acknowledged"] / told["seconds"], "")
    report.figure("refused", told["refused"], "packets")
    report.figure("given up and declared", told["missed"], "packets")
    counts = status["learner"]["counts"]
    sent = before["counts"]["sent"] + during["counts"]["sent"]
    # Replicas hand over what is left when they close: nothing is counted that was not sent.
    acknowledged = QUERIES * told["acknowledged"]
    admitted = counts["admitted"] - acknowledged
    report.check(
        "every acknowledged packet is counted once",
        sent <= admitted <= before["answered"] + during["answered"] + 2,
    )
    report.figure("memory of the learner grew by", grown / 1e6, "MB", at_most=50)
    for name, found in (("under overload", during), ("with the learner dead", after)):
        report.check(f"{name}: no answer fails", found["failed"] == 0)
        report.figure(f"{name}: p99", found["p99"] * 1e3, "ms")
        report.figure(f"{name}: p99 by that alone", found["p99"] / before["p99"], "", at_most=1.1)
    report.figure("alone: p50", before["p50"] * 1e3, "ms")
    report.figure("alone: p99", before["p99"] * 1e3, "ms")


def scaling(report, seconds, sizes):
    report.title("scaling")
    rates = {}
    for size in sizes:
        with running("serve") as server:
            url = f"http://127.0.0.1:{server.hear()['port']}"
            told = replicas(url, size, seconds)
            counts = server.end()["counts"]
        report.check(f"{size} replicas: no answer fails", not any(one["failed"] for one in told))
        rates[size] = counts["taught"] / seconds
        report.figure(f"{size} replicas, taught queries a second", rates[size], "")
        if size > 1:
            part = rates[size] / (size * rates[sizes[0]])
            report._judge(f"{size} replicas, of linear", f"{part:.2f}", part, at_least=0.8)


def replicas(url, count, seconds):
    """Let so many replicas answer at the same time."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(running("answer", url=url, wait=WAIT, seconds=seconds, name=f"replica-{i}"))
            for i in range(count)
        ]
        for replica in found:
            replica.hear()
        for replica in found:
            replica.go()
        return [replica.hear() for replica in found]


def learning(report, sizes):
    report.title("learning")
    took = {}
    for size in sizes:
        with running("serve", update=True, rate=RATE, queries=QUERIES, goal=GOAL) as server:
            url = f"http://127.0.0.1:{server.hear()['port']}"
            began, told = learnt(url, size, server)
        took[size] = told["at"] - began
        report.figure(f"{size} replicas, seconds to the loss", took[size], f"s ({told['steps']} steps)")
    if len(sizes) > 1:
        faster = took[sizes[0]] / took[sizes[-1]]
        report._judge(f"{sizes[-1]} replicas learn faster", f"{faster:.1f}x", faster, at_least=10)


def learnt(url, count, server):
    """Let so many replicas answer until the learner says that it has learnt."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(running("answer", url=url, wait=WAIT, seconds=600, name=f"replica-{i}"))
            for i in range(count)
        ]
        for replica in found:
            replica.hear()
        began = time.time()
        for replica in found:
            replica.go()
        return began, server.hear()


def main(report):
    short = report.smoke
    rate = capacity(report, 0.5 if short else 5)
    overload(report, rate, 1 if short else 20)
    scaling(report, 1 if short else 8, (1, 2) if short else (1, 4, 16))
    if not short:
        learning(report, (1, 4, 16))


if __name__ == "__main__":
    sidebyside.run(main, __doc__.splitlines()[0])
