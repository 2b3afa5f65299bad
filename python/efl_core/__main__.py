"""``python -m efl_core``: the command line."""

import sys

from efl_core.cli import main

sys.exit(main())
