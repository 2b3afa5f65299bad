"""The page that shows a fleet: one file, which loads nothing but its own status."""

import json
from importlib.resources import files

from efl_core.fleet.status import REFUSALS

__all__ = ["PAGE", "POLICY"]

PAGE = (
    files("efl_core.fleet.web")
    .joinpath("page.html")
    .read_text("utf-8")
    .replace("new Set(REFUSALS)", f"new Set({json.dumps(sorted(REFUSALS))})")
)
"""HTML."""
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may load for it."""
