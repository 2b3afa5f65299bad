"""The extension module as a file: small, and silent about the machine that built it."""

from pathlib import Path

import efl_core as efl

EXTENSION = Path(efl._native.__file__)


def test_the_extension_is_small():
    assert EXTENSION.stat().st_size < 6_000_000


def test_the_extension_names_no_folder_of_the_machine_that_built_it():
    content = EXTENSION.read_bytes()
    for folder in (
        Path.home() / ".cargo",
        Path(__file__).parents[2],
        "/.cargo/registry",
        "/home/",
        "/Users/",
    ):
        assert str(folder).encode() not in content, folder
