"""README.md and docs/*.md are run: what they show works.

- ```python blocks run in order, in one namespace for each file and in one empty folder.
- In ```console and ```sh blocks, lines `$ make VERB` must name a verb of the Makefile, and lines
  `$ efl ...` and `$ python -m efl_core ...` run in the same folder as the file's Python, after it.
"""

import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
VERBS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


class Block(NamedTuple):
    language: str
    line: int  # of the first line inside the fence, counted from 1
    text: str


def blocks(text):
    """The fenced blocks of a Markdown text; a fence may be indented, as in a list."""
    found, fence, start, body = [], None, 0, []
    for number, line in enumerate(text.splitlines(), start=1):
        mark = re.match(r"( *)(`{3,}|~{3,}) *([\w-]*)", line)
        if fence is None and mark:
            fence, start, body = mark, number + 1, []
        elif fence is not None and line.strip() == fence[2]:
            found.append(Block(fence[3], start, "\n".join(body)))
            fence = None
        elif fence is not None:
            body.append(line.removeprefix(fence[1]))
    return found


def commands(text):
    """The (line, words) of every `$ ` line in console blocks; a line that ends in a backslash goes on."""
    for block in blocks(text):
        if block.language not in ("console", "sh"):
            continue
        lines = enumerate(block.text.splitlines(), start=block.line)
        for number, line in lines:
            if line.startswith("$ "):
                while line.endswith("\\"):
                    line = line[:-1] + next(lines)[1].lstrip("> ")
                yield number, shlex.split(line.removeprefix("$ "), comments=True)


def run_python(page, namespace):
    for block in blocks(page.read_text()):
        if block.language != "python":
            continue
        try:
            # The empty lines before make every traceback name the line of the page.
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
        except Exception as error:
            line, frame = getattr(error, "lineno", None) or block.line, error.__traceback__
            while frame is not None:
                if frame.tb_frame.f_code.co_filename == str(page):
                    line = frame.tb_lineno
                frame = frame.tb_next
            raise AssertionError(f"{page.name}:{line}: {type(error).__name__}: {error}") from error


def run_command(words, where):
    """Run `efl ...` or `python -m efl_core ...` by this interpreter; anything else is not ours to run."""
    if words[:1] == ["efl"]:
        arguments = words[1:]
    elif re.fullmatch(r"(.*/)?python3?", words[0]) and words[1:3] == ["-m", "efl_core"]:
        arguments = words[3:]
    else:
        return
    program = [sys.executable, "-P", "-m", "efl_core", *arguments]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{where}: {shlex.join(words)} exits {done.returncode}\n{done.stdout}"


@each_page
@pytest.mark.timeout(600)
def test_what_the_page_shows_runs(page, tmp_path, monkeypatch):
    if page.stem == "qiskit":
        pytest.importorskip("qiskit", reason="`make test-qiskit` installs it")
    if page.stem == "fleet_cluster":
        pytest.importorskip("ray", reason="`make test-ray` installs it")
        # Ray starts its processes by a fork, of which JAX warns where a test before has loaded it.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run_python(page, {"__name__": "__main__"})
    for line, words in commands(page.read_text()):
        if words:
            run_command(words, f"{page.name}:{line}")


@each_page
def test_make_verbs_exist(page):
    for line, words in commands(page.read_text()):
        if words[:1] == ["make"]:
            verbs = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
            assert verbs <= VERBS, f"{page.name}:{line}: the Makefile has no verb {verbs - VERBS}"


def test_blocks_are_found_with_their_lines():
    text = "a\n```python\nx = 1\n```\n- item\n  ```console\n  $ make demo \\\n  >   PYTHON=x\n  ok\n  ```\n"
    assert blocks(text)[0] == Block("python", 3, "x = 1")
    assert list(commands(text)) == [(7, ["make", "demo", "PYTHON=x"])]


def test_a_failure_names_its_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("title\n\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:5: ZeroDivisionError"):
        run_python(page, {})
