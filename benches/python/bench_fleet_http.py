"""A fleet over HTTP on the loopback: capacity, answers under overload, and what more replicas bring.

- capacity: packets of 64 queries from 8 connections that are always busy, beside an application of uvicorn
  that reads as many bytes and does nothing, and of a learner with a journal.
- overload: two processes with 128 connections each send at twice the capacity of the learner with a journal,
  whatever happens; it is given so little room (1 MiB) that it says 503 where it cannot follow. Every packet
  that was acknowledged is in the journal, and memory stays. Meanwhile a replica answers on a device that
  waits 20 ms, as a processor in a cloud does; so it does with the learner killed, and with nobody beside it.
  It has a core of its own; learner and senders share another one, for the capacity too.
- scaling: 1, 4, 16 such replicas in processes of their own, and the time until a circuit has learnt.

Goals: p99 of an answer at most 1.1 times that of a replica with nobody beside it; no answer fails; memory
grows by less than 50 MB; taught queries a second at least 0.8 of linear; time to a fixed loss falls by 10
from 1 to 16 replicas. All want an idle machine: two cores for the overload, more for 16 replicas.

    python benches/python/bench_fleet_http.py [--smoke] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import os
import tempfile
import time
from contextlib import ExitStack, closing

from http_roles import running

from efl_core.fleet.journal import Store, recover

QUERIES, WAIT = 64, 0.02
# Processes that send, and bytes that the learner lets be under way: some hundred packets.
SENDERS, ROOM = 2, 1 << 20
# The exact value of the output, which starts near -0.1; reached after some 20 steps.
GOAL, RATE = -0.9, 0.05


def cores():
    """Return a core for who answers, and one for all others; the same one where there is no other."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    return found[0], found[-1]


def capacity(report, seconds, folder):
    report.title("capacity")
    rates = {}
    core = cores()[1]
    for name, own in (
        ("bare uvicorn", {"bare": True}),
        ("a learner", {}),
        ("a learner with a journal", {"journal": f"{folder}/capacity.journal"}),
    ):
        with running("serve", core=core, **own) as server:
            options = {"bare": own.get("bare"), "core": core, "queries": QUERIES, "seconds": seconds}
            with running("load", port=server.hear()["port"], senders=8, **options) as load:
                load.hear()
                load.go()
                told = load.hear()
            rates[name] = told["acknowledged"] / told["seconds"]
            last = server.end()
        report.figure(f"{name}, packets a second", rates[name], "")
        if not own.get("bare"):
            report.check(
                "every acknowledged packet is counted",
                last["counts"]["admitted"] == QUERIES * told["acknowledged"],
            )
            report.figure("that is, queries a second", rates[name] * QUERIES, "")
            report.figure("bare uvicorn is faster", rates["bare uvicorn"] / rates[name], "times")
    return rates["a learner with a journal"]


def overload(report, rate, seconds, folder):
    report.title("overload")
    mine, others = cores()
    journal = f"{folder}/overload.journal"
    with running("serve", core=others, journal=journal, flying=ROOM) as server:
        port = server.hear()["port"]
        own = {"url": f"http://127.0.0.1:{port}", "wait": WAIT, "seconds": seconds, "name": "answers"}
        with running("answer", core=mine, **own) as alone:
            alone.hear()
            alone.go()
            before = alone.hear()
        with ExitStack() as stack:
            options = {"port": port, "senders": 128, "queries": QUERIES, "seconds": seconds, "rate": rate}
            loads = [
                stack.enter_context(running("load", name=i, core=others, **options)) for i in range(SENDERS)
            ]
            replica = stack.enter_context(running("answer", core=mine, **own))
            for process in (replica, *loads):
                process.hear()
            start = server.resident
            for process in (*loads, replica):
                process.go()
            most = start
            for _ in range(10):
                time.sleep(seconds / 10)
                most = max(most, server.resident)
            during, told = replica.hear(), [load.hear() for load in loads]
        with running("answer", core=mine, **own) as replica:
            replica.hear()
            replica.go()
            time.sleep(0.2)
            server.kill()
            after = replica.hear()
    total = {name: sum(one[name] for one in told) for name in ("acknowledged", "busy", "refused", "missed")}
    took = max(one["seconds"] for one in told)
    sent = total["acknowledged"] + total["busy"] + total["refused"]
    report.figure("wanted, packets a second", SENDERS * rate, "")
    report.figure("sent, packets a second", sent / took, "")
    report.figure("sent, by what is acknowledged", sent / total["acknowledged"], "times")
    report.figure("acknowledged, packets a second", total["acknowledged"] / took, "")
    report.figure("told to come again (503)", total["busy"], "packets")
    report.figure("due while no connection was free", total["missed"], "packets")
    report.check("nothing is refused for another reason", total["refused"] == 0)
    report.check(
        "who is told to come again is told when", sum(one["told_when"] for one in told) == total["busy"]
    )
    found = counted(journal)
    report.check(
        "every acknowledged packet is in the journal, and nothing else",
        all(found(replica)[1] == first for one in told for replica, first in one["expected"]),
    )
    report.figure("memory of the learner grew by", (most - start) / 1e6, "MB", at_most=50)
    for name, one in (("under overload", during), ("with the learner dead", after)):
        report.check(f"{name}: no answer fails", one["failed"] == 0)
        report.figure(f"{name}: p99", one["p99"] * 1e3, "ms")
        report.figure(f"{name}: p99 by that alone", one["p99"] / before["p99"], "", at_most=1.1)
    report.figure("alone: p50", before["p50"] * 1e3, "ms")
    report.figure("alone: p99", before["p99"] * 1e3, "ms")


def counted(journal):
    """Return what tells, of a replica, its incarnation and the query that is expected next."""
    with closing(Store(journal)) as store:
        return recover(store).replay.machine().expected


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
    with tempfile.TemporaryDirectory() as folder:
        rate = capacity(report, 0.5 if short else 5, folder)
        # Each of two processes sends at the rate that is known to be the most: together twice that.
        overload(report, rate, 1 if short else 20, folder)
    scaling(report, 1 if short else 8, (1, 2) if short else (1, 4, 16))
    if not short:
        learning(report, (1, 4, 16))


if __name__ == "__main__":
    sidebyside.run(main, __doc__.splitlines()[0])
