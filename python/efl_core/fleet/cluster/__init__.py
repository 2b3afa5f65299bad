"""A fleet with more than one learner: shards that count, and one coordinator that steps.

``shard`` is a learner that is told when to step, ``coordinator`` tells it, ``drafts`` is what they send each
other, ``routing`` says whose a replica is, ``links`` is how a replica reaches shards. Nothing here knows what
carries the calls: see `efl_core.fleet.ray`, and ``docs/fleet_cluster.md``.
"""

from efl_core.fleet.cluster.coordinator import Coordinator
from efl_core.fleet.cluster.links import Spread
from efl_core.fleet.cluster.routing import shard_of
from efl_core.fleet.cluster.shard import Shard

__all__ = ["Coordinator", "Shard", "Spread", "shard_of"]
