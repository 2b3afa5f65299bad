"""Bytes of tallies: what is damaged, forged or newer is refused before anything of its size is allocated."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from tests.unit.refusals import BIASED, NAN, SNAPS, refused

import efl_core as efl
from efl_core import (
    CorruptDataError,
    InvalidInputError,
    NewerFormatError,
    Tally,
)

GOOD = efl.tally(SNAPS, ["XX", "ZZ"], buckets=2).to_bytes()
GOOD_BIASED = efl.tally(SNAPS.with_ensemble(BIASED), ["XX", "ZZ"], buckets=2).to_bytes()
HEADER = 40
COUNT_OFFSET = HEADER + 8 * (4 + 2)  # after two words of one u64 each, x and z, and two buckets


def sealed(body):
    """The bytes with a valid checksum, as somebody who knows the format would forge them."""
    return body + struct.pack("<I", zlib.crc32(body))


def patched(at, form, *values, source=GOOD):
    body = bytearray(source[:-4])
    struct.pack_into("<" + form, body, at, *values)
    return sealed(bytes(body))


def test_the_format_is_the_documented_one():
    assert sealed(GOOD[:-4]) == GOOD
    assert GOOD[:8] == b"EFLTALLY"
    assert struct.unpack_from("<IIQQQ", GOOD, 8) == (1, 0, 2, 2, 2)
    assert struct.unpack_from("<QQ", GOOD, HEADER + 32) == (1, 2)
    revealed_and_minus = struct.unpack_from("<8Q", GOOD, COUNT_OFFSET)
    counted = efl.Tally.from_bytes(GOOD)
    np.testing.assert_array_equal(revealed_and_minus[::2], counted.revealed.ravel())
    np.testing.assert_array_equal(revealed_and_minus[1::2], counted.minus.ravel())


def damaged(data, *said):
    with pytest.raises(CorruptDataError) as caught:
        Tally.from_bytes(data)
    assert type(caught.value) is CorruptDataError
    text = str(caught.value)
    assert text.startswith("tally is damaged: "), text
    for part in said:
        assert part in text, text


@pytest.mark.parametrize("source", [GOOD, GOOD_BIASED], ids=["uniform", "biased"])
def test_every_truncation_is_noticed(source):
    for length in range(len(source)):
        damaged(source[:length])
    damaged(source + b"\0", "checksum")


@pytest.mark.parametrize("source", [GOOD, GOOD_BIASED], ids=["uniform", "biased"])
def test_every_changed_byte_is_noticed(source):
    for at in range(len(source)):
        for flip in (1, 0x80, 0xFF):
            with pytest.raises(CorruptDataError):
                Tally.from_bytes(source[:at] + bytes([source[at] ^ flip]) + source[at + 1 :])


@pytest.mark.parametrize(
    "data", [b"", b"EFLTALLY", b"x" * 500, GOOD[::-1], b"PAR1" + GOOD, bytes(44)], ids=range(6)
)
def test_foreign_bytes_are_refused(data):
    damaged(data)


def test_a_newer_format_is_said_to_be_newer():
    for version in (6, 7, 2**32 - 1):
        with pytest.raises(
            NewerFormatError, match=rf"^tally has format {version}, .* reads up to 5: upgrade efl-core"
        ):
            Tally.from_bytes(patched(8, "I", version))


FORGED = {
    "format zero": (patched(8, "I", 0), "format 0"),
    "unknown ensemble": (patched(12, "I", 2), "ensemble 2"),
    "no qubits": (patched(16, "Q", 0), "n_qubits: expected 1 to"),
    "no buckets": (patched(32, "Q", 0), "0 buckets"),
    "too few words": (patched(24, "Q", 1), "1 words"),
    "many qubits": (patched(16, "Q", 2**62), "qubits"),
    "all qubits": (patched(16, "Q", 2**64 - 1), "qubits"),
    "many words": (patched(24, "Q", 2**60), "words"),
    "words that wrap the length": (patched(24, "Q", 2**61 + 2), "words"),
    "many buckets": (patched(32, "Q", 2**60), "buckets"),
    "buckets that wrap the length": (patched(32, "Q", 2**61 + 2), "buckets"),
    "everything": (patched(16, "QQQ", 2**64 - 1, 2**64 - 1, 2**64 - 1), "n_qubits"),
    "biased without probabilities": (patched(12, "I", 1), "bytes"),
    "letter past the last qubit": (patched(HEADER, "Q", 1 << 2), "qubit 2"),
    "letter in the padding": (patched(HEADER + 24, "Q", 1 << 63), "qubit 2"),
    "minus above revealed": (patched(COUNT_OFFSET, "QQ", 0, 1), "1 minus of 0 revealed"),
    "revealed above shots": (patched(COUNT_OFFSET, "QQ", 2, 0), "2 revealed of 1 shots"),
    "revealed above shots, last word": (patched(COUNT_OFFSET + 48, "QQ", 3, 0), "word 1 of bucket 1"),
    "huge counts": (patched(COUNT_OFFSET, "QQ", 2**64 - 1, 2**64 - 1), "revealed"),
    "shots of 2^63": (patched(HEADER + 32, "Q", 2**63), "2^63"),
    "shots that wrap": (patched(HEADER + 32, "QQ", 2**63, 2**63 + 3), "2^63"),
    "negative probability": (patched(HEADER, "3d", -0.5, 1, 0.5, source=GOOD_BIASED), "-0.5"),
    "nan probability": (patched(HEADER, "d", NAN, source=GOOD_BIASED), "NaN"),
    "probabilities above one": (patched(HEADER, "3d", 1, 1, 0, source=GOOD_BIASED), "sum"),
}


@pytest.mark.parametrize(("data", "said"), FORGED.values(), ids=FORGED)
def test_forged_bytes_with_a_valid_checksum_are_refused(data, said):
    damaged(data, said)


FORGED_IN_LITTLE_MEMORY = """
import resource, struct, sys, zlib
import efl_core as efl
linux = sys.platform == "linux"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if linux else 2**36
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))
for data in eval(sys.stdin.read()):
    try:
        efl.Tally.from_bytes(data)
    except efl.CorruptDataError:
        print("refused")
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_giant_headers_allocate_nothing():
    forged = [data for name, (data, _) in FORGED.items() if "many" in name or "all" in name or "wrap" in name]
    forged += [patched(16, "Q", n, source=GOOD) for n in (2**32, 2**40, 2**58, 2**63)]
    forged += [patched(24, "QQ", words, buckets) for words in (2**20, 2**40) for buckets in (2**20, 2**40)]
    done = subprocess.run(
        [sys.executable, "-c", FORGED_IN_LITTLE_MEMORY],
        input=repr(forged),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("refused") == len(forged)


def test_a_merge_that_would_overflow_is_refused():
    body = bytearray(GOOD[:-4])
    struct.pack_into("<QQ", body, HEADER + 32, 2**62, 2**62 - 1)
    struct.pack_into("<QQ", body, COUNT_OFFSET, 2**62, 2**62)
    large = Tally.from_bytes(sealed(bytes(body)))
    assert large.shots == 2**63 - 1
    refused(lambda: large + large, InvalidInputError, "other", "2^63")
    assert np.isfinite(efl.estimate(large, "ZZ").value)


def test_an_empty_bucket_cannot_be_estimated():
    body = bytearray(GOOD[:-4])
    struct.pack_into("<QQ", body, HEADER + 32, 0, 3)
    struct.pack_into("<4Q", body, COUNT_OFFSET, 0, 0, 0, 0)
    empty = Tally.from_bytes(sealed(bytes(body)))
    refused(lambda: efl.estimate(empty, "XX"), InvalidInputError, "tally", "empty bucket")
