"""A journal: what a learner was told, on disk before it says so.

``store`` is its files, ``log`` the one of frames, ``commits`` what makes events durable, ``notes``
what a learner writes down beside its machine, ``recovery`` the learner that a journal makes, ``audit`` what
the command line asks.
"""

from efl_core.fleet.journal.commits import Journal
from efl_core.fleet.journal.recovery import Recovered, recover
from efl_core.fleet.journal.store import Store

__all__ = ["Journal", "Recovered", "Store", "recover"]
