"""Runs a script in a fresh interpreter, so that signals, forks, threads and memory are its own."""

import os
import subprocess
import sys
import textwrap


def run(script, *, seconds=100, **environment):
    """Return what the script printed; it must end well and in time."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, (
        f"exit status {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    )
    return done.stdout
