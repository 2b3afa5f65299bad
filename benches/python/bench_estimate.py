"""Estimate many Pauli words from snapshots: efl_core beside packed numpy, TenCirPauli and PennyLane.

W1: a million snapshots of 10 qubits, 1,000 words of weight 1 to 4. W2: 50 qubits, 2,000 words, weight 1 to 3.
W3: 100 Clifford settings of 10 qubits, a million snapshots, the words that they reveal; efl_core alone.
All methods start from the same int8 arrays of bits and letters; packing is timed apart from estimating.
The CPU level in use is printed first; ``EFL_CPU_LEVEL=avx2`` asks for a lower one (numpy takes the best).
efl_core is given the words as strings and reads them, checks the arrays, and computes standard errors within
the time measured; the others are given the words in their own form. Run:

    python benches/python/bench_estimate.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside as side  # first: it sets one thread before numpy is loaded

# isort: split
import numpy as np

import efl_core as efl

LETTERS = "XYZ"


# Packed numpy, as good as we know how. Tried, and slower or no faster: smaller chunks in `count` (calls cost
# more than the cache gives), many words per call, shared prefixes of sorted words, popcounts summed in wide
# lanes, sums without dtype, packbits column by column or along axis 0.

PACK_ROWS = 1 << 14  # rows transposed at once
CHUNK = 1 << 14  # words of 64 snapshots: a buffer of 128 KiB


def pack(bits, bases):
    """Bit planes: ``ones[q]`` and ``letters[l, q]``, 64 snapshots per word."""
    shots, n = bits.shape
    row = -(-shots // 64) * 8
    ones, letters = np.zeros((n, row), np.uint8), np.zeros((3, n, row), np.uint8)
    for start in range(0, shots, PACK_ROWS):
        rows = slice(start, min(start + PACK_ROWS, shots))
        to = slice(start // 8, -(-rows.stop // 8))
        ones[:, to] = np.packbits(np.ascontiguousarray(bits[rows].T), axis=1)
        columns = np.ascontiguousarray(bases[rows].T)
        not_x, y = np.packbits(columns, axis=1), np.packbits(columns & 1, axis=1)
        letters[0, :, to], letters[1, :, to], letters[2, :, to] = ~not_x, y, not_x ^ y
    if shots % 8:
        letters[0, :, shots // 8] &= 0xFF & (0xFF << (8 - shots % 8))
    return ones.view(np.uint64), letters.view(np.uint64)


def count(packed, supports):
    """How often each word was revealed, and how often as minus; a support lists (qubit, letter)."""
    ones, letters = packed
    length = ones.shape[1]
    revealed, minus = np.zeros(len(supports), np.int64), np.zeros(len(supports), np.int64)
    match_buffer, sign_buffer = np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.uint64)
    byte_buffer = np.empty(CHUNK, np.uint8)
    for start in range(0, length, CHUNK):
        part = slice(start, min(start + CHUNK, length))
        size = part.stop - start
        ones_now, letters_now = list(ones[:, part]), [list(planes) for planes in letters[:, :, part]]
        match, sign, counts = match_buffer[:size], sign_buffer[:size], byte_buffer[:size]
        for i, ((qubit, letter), *others) in enumerate(supports):
            hit, odd = letters_now[letter][qubit], ones_now[qubit]
            for qubit, letter in others:
                hit = np.bitwise_and(hit, letters_now[letter][qubit], out=match)
                odd = np.bitwise_xor(odd, ones_now[qubit], out=sign)
            odd = np.bitwise_and(hit, odd, out=sign)
            revealed[i] += np.add.reduce(np.bitwise_count(hit, out=counts), dtype=np.uint32)
            minus[i] += np.add.reduce(np.bitwise_count(odd, out=counts), dtype=np.uint32)
    return revealed, minus


def count_plainly(bits, bases, support):
    """The slow obvious twin of `count`, for one word."""
    qubits, letters = zip(*support, strict=True)
    hits = (bases[:, qubits] == letters).all(axis=1)
    return hits.sum(), (bits[:, qubits].sum(axis=1) % 2 == 1)[hits].sum()


def random_supports(rng, words, n, heaviest):
    """Distinct words of random weight 1 to heaviest (of light words there may be fewer than that gives)."""
    found = {}
    while len(found) < words:
        weight = int(rng.integers(1, heaviest + 1))
        qubits = np.sort(rng.choice(n, weight, replace=False)).tolist()
        found[tuple(zip(qubits, rng.integers(0, 3, weight).tolist(), strict=True))] = None
    return list(found)


def label(support, n):
    letters = dict(support)
    return "".join(LETTERS[letters[q]] if q in letters else "I" for q in range(n))


def compare(report, name, tencir, qml, *, shots, n, words, heaviest, peers, goals):
    """One workload; `peers` gives (words of TenCirPauli, words of PennyLane, their snapshots)."""
    report.title(f"{name}: {shots:,} snapshots of {n} qubits, {words:,} words of weight 1 to {heaviest}")
    rng = np.random.default_rng(2026)
    bits = rng.integers(0, 2, (shots, n), dtype=np.int8)
    bases = rng.integers(0, 3, (shots, n), dtype=np.int8)
    supports = random_supports(rng, words, n, heaviest)
    labels = [label(s, n) for s in supports]

    def efl_pack():
        return efl.Snapshots.from_arrays(bits, bases)

    snaps, packed = efl_pack(), pack(bits, bases)
    methods = [
        side.Method("efl_core pack", efl_pack),
        side.Method("numpy pack", lambda: pack(bits, bases)),
        side.Method("efl_core estimate", lambda: efl.estimate(snaps, labels), awake=True),
        side.Method("numpy solve", lambda: count(packed, supports), awake=True),
    ]
    if side.CORES >= 2:
        methods += [
            side.Method("estimate, 2 threads", lambda: efl.estimate(snaps, labels), threads=2, awake=True),
            side.Method("efl_core pack, 2 threads", efl_pack, threads=2),
        ]
    tencir_words, qml_words, peer_shots = peers
    tencir_chosen = np.linspace(0, words - 1, tencir_words).astype(int)
    qml_chosen = np.linspace(0, words - 1, qml_words).astype(int)
    few_bits, few_bases = bits[:peer_shots], bases[:peer_shots]
    if tencir:
        held = tencir.shadows.Snapshots.from_pauli_measurements(
            (few_bases + 1).astype(np.uint8), few_bits.astype(np.uint8), max_bytes=None
        )
        targets = [tencir.PauliWord.from_string(labels[i]) for i in tencir_chosen]
        methods.append(
            side.Method(
                "TenCirPauli estimate_many",
                lambda: held.estimate_many(targets),
                runs=3,
                times=words / tencir_words * shots / peer_shots,
                part=f"{tencir_words} words, {peer_shots:,} snapshots",
            )
        )
    if qml:
        shadow = qml.ClassicalShadow(few_bits, few_bases)
        gates = (qml.X, qml.Y, qml.Z)
        operators = [qml.prod(*(gates[letter](q) for q, letter in supports[i])) for i in qml_chosen]
        methods.append(
            side.Method(
                "PennyLane ClassicalShadow.expval",
                lambda: [shadow.expval(operator) for operator in operators],
                runs=3,
                times=words / qml_words * shots / peer_shots,
                part=f"{qml_words} words, {peer_shots:,} snapshots",
            )
        )

    timings = report.race(methods)
    pack_efl, pack_numpy = timings["efl_core pack"], timings["numpy pack"]
    solve_efl, solve_numpy = timings["efl_core estimate"], timings["numpy solve"]
    total_efl, total_numpy = pack_efl + solve_efl, pack_numpy + solve_numpy
    report.table([*timings.values(), total_efl, total_numpy])
    report.ratio("estimate: packed numpy / efl_core", solve_numpy, solve_efl, goals["estimate"])
    report.ratio("pack: packed numpy / efl_core", pack_numpy, pack_efl)
    report.ratio("total: packed numpy / efl_core", total_numpy, total_efl, goals["total"])
    for peer in ("TenCirPauli estimate_many", "PennyLane ClassicalShadow.expval"):
        if peer in timings:
            report.ratio(f"estimate: {peer.split()[0]} / efl_core", timings[peer], solve_efl, goals.get(peer))
    if side.CORES >= 2:
        two = timings["estimate, 2 threads"]
        report.ratio("estimate: 1 thread / 2 threads", solve_efl, two, goals["threads"])
        report.ratio("pack: 1 thread / 2 threads", pack_efl, timings["efl_core pack, 2 threads"])
    else:
        print("two threads: not measured, this machine has one core")

    found, (revealed, minus) = solve_efl.result, solve_numpy.result
    tallied = efl.tally(pack_efl.result, labels)
    plain = range(0, words, 1 if report.smoke else words // 20)
    twins = np.array([count_plainly(bits, bases, supports[i]) for i in plain])
    counted = np.column_stack([revealed, minus])
    report.check("packed numpy counts = counts without packing", np.array_equal(twins, counted[plain]))
    report.check(
        "efl_core counts = packed numpy counts, all words",
        np.array_equal(np.column_stack([np.ravel(tallied.revealed), np.ravel(tallied.minus)]), counted),
    )
    weights = np.array([len(s) for s in supports])
    values = 3.0**weights * (revealed - 2 * minus) / shots
    report.check("efl_core estimate revealed = counts", np.array_equal(found.revealed, revealed))
    report.close(found.value, values, "efl_core estimate = packed numpy, all words")
    if side.CORES >= 2:
        same = np.array_equal(two.result.value, found.value)
        report.check("two threads give the same bits", same)
    if peer_shots != shots:
        few = pack(few_bits, few_bases)
        revealed, minus = count(few, supports)
        values = 3.0**weights * (revealed - 2 * minus) / peer_shots
    for peer, chosen in (
        ("TenCirPauli estimate_many", tencir_chosen),
        ("PennyLane ClassicalShadow.expval", qml_chosen),
    ):
        if peer in timings:
            report.close(timings[peer].result, values[chosen], f"{peer} = packed numpy, {len(chosen)} words")


def clifford(rng, n, gates):
    """A random rotation of ``gates`` gates."""

    def gate():
        if rng.random() < 0.5:
            return (str(rng.choice(["H", "S", "SX"])), int(rng.integers(n)))
        return ("CNOT", *(int(q) for q in rng.choice(n, 2, replace=False)))

    return efl.Setting.from_gates(n, [gate() for _ in range(gates)])


def revealed_words(settings, count):
    """``count`` of the words that some setting reveals, or all of them if they are fewer."""
    found = {}
    for setting in settings:
        group = [efl.PauliWord("I" * setting.n_qubits)]
        for _, label in setting.measured:
            group += [word.multiply(label)[1] for word in group]
        found |= dict.fromkeys(group[1:])
    return list(found)[:count]


def lists(report, *, shots, n, settings, words, goal):
    """Snapshots of a list of Clifford settings."""
    report.title(f"W3: {shots:,} snapshots of {settings} Clifford settings on {n} qubits, {words:,} words")
    rng = np.random.default_rng(2026)
    ensemble = efl.Ensemble.settings([clifford(rng, n, 6 * n) for _ in range(settings)])
    state = rng.normal(size=2**n) + 1j * rng.normal(size=2**n)
    snaps = efl.sample(state / np.linalg.norm(state), ensemble, shots=shots, seed=1)
    chosen = revealed_words(ensemble.setting_list, words)
    threads = min(2, side.CORES)
    timings = report.race(
        [
            side.Method("efl_core tally", lambda: efl.tally(snaps, chosen), runs=3, threads=threads),
            side.Method("efl_core estimate", lambda: efl.estimate(snaps, chosen), runs=3, threads=threads),
        ]
    )
    report.table(list(timings.values()))
    tallied = timings["efl_core tally"].result
    bits, drawn = snaps.to_arrays()
    for i in range(0, len(chosen), max(1, len(chosen) // 20)):
        count = np.zeros(2, np.int64)
        for f, setting in enumerate(ensemble.setting_list):
            reading = setting.reveal(chosen[i])
            if reading is not None:
                readout, sign = reading
                odd = bits[drawn == f][:, readout].sum(axis=1) % 2 == 1
                count += len(odd), (odd if sign > 0 else ~odd).sum()
        same = (int(tallied.revealed[0, i]), int(tallied.minus[0, i])) == tuple(count)
        report.check(f"counts of word {i} = counts without packing", same)
    report.figure("tally", timings["efl_core tally"].median, "s", at_most=goal)


def main(report):
    level = efl._native.cpu_level()
    print(f"CPU level: {level}")
    estimate = 7 if level == "avx512" else 5
    tencir = side.peer("tencirpauli", "tencirpauli", "0.5.0")
    qml = side.peer("pennylane", "pennylane", "0.45.1")
    tiny = {"shots": 3_001, "words": 60, "peers": (60, 6, 3_001)}
    compare(
        report,
        "W1",
        tencir,
        qml,
        **{"shots": 1_000_000, "n": 10, "words": 1_000, "heaviest": 4, "peers": (20, 3, 1_000_000)}
        | (tiny if report.smoke else {}),
        goals={
            "estimate": estimate,
            "total": 2,
            "threads": 1.6,
            "TenCirPauli estimate_many": 1_000,
            "PennyLane ClassicalShadow.expval": 5_000,
        },
    )
    compare(
        report,
        "W2",
        tencir,
        qml,
        **{"shots": 1_000_000, "n": 50, "words": 2_000, "heaviest": 3, "peers": (20, 3, 200_000)}
        | (tiny if report.smoke else {}),
        goals={"estimate": estimate, "total": 2, "threads": None},
    )
    sizes = {"shots": 1_000_000, "n": 10, "settings": 100, "words": 100_000}
    tiny = {"shots": 3_001, "settings": 5, "words": 60}
    lists(report, **sizes | (tiny if report.smoke else {}), goal=1)


if __name__ == "__main__":
    side.run(main, __doc__)
