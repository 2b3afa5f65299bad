"""The schema metadata of snapshots (the JSON of an ensemble), mutated: read, or refused as damaged.

    python fuzz/metadata.py SECONDS [SEED [NUMBER]]

Input NUMBER under SEED is a pure function of both, so what has failed once fails again.
"""

import json
import random
import sys
import time

import efl_core as efl
from efl_core.storage.layout import read_ensemble

EDGES = [
    0,
    1,
    -1,
    2,
    3,
    4,
    64,
    2**20,
    2**20 + 1,
    2**31,
    2**63,
    1e308,
    1e-320,
    float("nan"),
    float("inf"),
    True,
]
JUNK = ["null", '""', '"X"', '"%s"' % ("I" * 70), "[]", "{}", "[[]]", '{"kind": "uniform"}', '"blocks"']
SLOW = 2.0


def seeds():
    bell = efl.Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])
    ensembles = [
        efl.Ensemble.uniform(3),
        efl.Ensemble.biased([[0.5, 0.25, 0.25]] * 3),
        efl.Ensemble.settings(["XYZ", efl.Setting.from_gates(3, [("H", 1), ("CZ", 0, 2)])], [0.5, 0.5]),
        efl.Ensemble.blocks(3, [([2, 0], [bell, "XY"], [0.25, 0.75]), ([1], ["Z"], [1.0])]),
        efl.Ensemble.random_blocks(3, 1),
    ]
    psi = [1] + [0] * 7
    return [dict(efl.sample(psi, e, shots=2, seed=1).to_arrow().schema.metadata) for e in ensembles]


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def junk(draw):
    """A value that belongs nowhere: read anew each time, as what was put in may be changed later."""
    return json.loads(draw.choice(JUNK))


def change(said, draw):
    """Change one place of a JSON value."""
    path = draw.choice(list(places(said)))
    if not path:
        return junk(draw)
    holder = said
    for key in path[:-1]:
        holder = holder[key]
    key, kind = path[-1], draw.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == 2:
        holder[key] = junk(draw)
    elif kind == 3:
        holder[key] = [holder[key]]
    else:
        holder[key] = draw.choice(EDGES)
    return said


def mutated(known, seed, number):
    draw = random.Random(seed * 2**64 + number)
    metadata = dict(draw.choice(known))
    if draw.random() < 0.6:
        said = json.loads(metadata[b"efl.ensemble"])
        for _ in range(draw.randrange(1, 4)):
            said = change(said, draw)
        metadata[b"efl.ensemble"] = json.dumps(said).encode()
    for _ in range(draw.randrange(2)):
        key = draw.choice(list(metadata))
        text = bytearray(metadata[key] or b"0")
        at = draw.randrange(len(text))
        text[at : at + draw.randrange(3)] = bytes(
            draw.choices(b'0123456789[]{},"XeE-.\x00\xff', k=draw.randrange(4))
        )
        metadata[key] = bytes(text)
    return metadata


def attempt(metadata):
    try:
        ensemble = read_ensemble("fuzz", metadata)
    except efl.EflError:
        return
    assert ensemble is not None
    assert 0 <= ensemble.reveal_probability("Z" + "I" * (ensemble.n_qubits - 1)) <= 1 + 1e-9


def main(seconds, seed=None, number=None):
    known = seeds()
    if number is not None:
        print(mutated(known, seed, number))
        attempt(mutated(known, seed, number))
        return
    seed = time.time_ns() if seed is None else seed
    print(f"metadata: seed {seed}, for {seconds} s")
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        metadata, start = mutated(known, seed, number), time.monotonic()
        try:
            attempt(metadata)
            assert time.monotonic() - start < SLOW, "it took long"
        except BaseException:
            print(f"metadata: again with: python fuzz/metadata.py 0 {seed} {number}\n{metadata}")
            raise
        number += 1
    print(f"metadata: {number} executions, none failed")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["60"]))
