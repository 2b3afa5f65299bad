"""A fleet in one process: a learner, and replicas in threads. For notebooks, tests and the demonstration."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from efl_core.arguments import integer, listed
from efl_core.errors import ShapeError
from efl_core.fleet.learner import Learner
from efl_core.fleet.replica import Answer, Answers, Replica
from efl_core.fleet.reports import Report

__all__ = ["Fleet"]


class Fleet:
    """A `Learner` and several `Replica` in threads of one process.

    Parameters
    ----------
    qnode, params
        What is served, and the parameters to start at; see `Learner`.
    replicas
        How many.
    seed
        Of settings and of outcomes that are simulated. With several replicas, which of them answers a query
        depends on threads.
    options
        Those of `Learner`: ``loss``, ``shots``, ``share`` ...

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[0.4])
    >>> x = circuit.input(0.0)
    >>> model = circuit.ry(x, 0).ry(efl.Parameter(0), 0)
    >>> model.observables = (efl.PauliSum("Z"),)
    >>> with efl.Fleet(model, replicas=2, loss="squared", seed=1) as fleet:
    ...     inputs = np.linspace(-1, 1, 64)[:, None]
    ...     reports = list(fleet.run(inputs, np.cos(inputs[:, 0] + 0.1), "descent", queries=32))
    >>> len(reports), reports[-1].gradient.queries
    (2, 32)
    """

    def __init__(
        self,
        qnode: object,
        params: ArrayLike | None = None,
        *,
        replicas: SupportsIndex = 8,
        seed: SupportsIndex | None = None,
        **options: Any,  # noqa: ANN401 (those of Learner)
    ) -> None:
        count = integer("replicas", replicas, 1, 1024)
        self.learner = Learner(qnode, params, seed=seed, **options)
        seeds = (
            [None] * count
            if seed is None
            else np.random.SeedSequence(int(seed)).generate_state(count, np.uint64)
        )
        self.replicas = [Replica(qnode, self.learner, seed=None if s is None else int(s)) for s in seeds]
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="efl-replica")
        self._turn, self._lock = 0, threading.Lock()

    def answer(self, *inputs: Any) -> Answer:  # noqa: ANN401
        """Answer a query by the next replica."""
        with self._lock:
            self._turn += 1
            turn = self._turn
        return self.replicas[turn % len(self.replicas)].answer(*inputs)

    def answers(self, inputs: Any) -> Answers:  # noqa: ANN401
        """Answer several queries, shared among the replicas, which run at the same time."""
        rows = listed("inputs", inputs, "a sequence with an entry for each query")
        if rows and not self.learner.is_open:
            self.learner.open((rows[0],))
        parts = [part for part in np.array_split(np.arange(len(rows)), len(self.replicas)) if len(part)]
        found = list(
            self._pool.map(
                lambda part: part[0].answers([rows[i] for i in part[1]]),
                zip(self.replicas, parts, strict=False),
            )
        )
        tickets = [ticket for one in found for ticket in one.tickets]
        joined = _joined([one.value for one in found]), _joined([one.stderr for one in found])
        return Answers(*joined, tickets, min(one.version for one in found))

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Hand in labels, or gradients, of any answers; see `Learner.feedback`."""
        self.flush()
        return self.learner.feedback(tickets, label, gradient=gradient)

    def run(
        self,
        inputs: Sequence[Any] | ArrayLike,
        labels: ArrayLike | None,
        update: object,
        *,
        queries: SupportsIndex = 64,
    ) -> Iterator[Report]:
        """Serve queries, hand in their labels, and step after every ``queries`` of them."""
        rows = listed("inputs", inputs, "a sequence with an entry for each query")
        own = None if labels is None else np.asarray(labels)
        if own is not None and len(own) != len(rows):
            raise ShapeError.of("labels", f"one for each of {len(rows)} queries", len(own))
        each = integer("queries", queries, 1)
        for start in range(0, len(rows), each):
            found = self.answers(rows[start : start + each])
            self.flush()
            if own is not None:
                self.learner.feedback(found.tickets, own[start : start + each])
            yield self.learner.step(update)

    def flush(self, timeout: float | None = 10.0) -> bool:
        """Hand over what all replicas have measured; return whether all of it was."""
        return all([replica.flush(timeout) for replica in self.replicas])

    def close(self) -> None:
        """End the threads."""
        for replica in self.replicas:
            replica.close()
        self._pool.shutdown()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _joined(parts: Sequence[Any]) -> Any:  # noqa: ANN401 (as the QNode returns)
    if isinstance(parts[0], (tuple, list)):
        return type(parts[0])(np.concatenate(own) for own in zip(*parts, strict=True))
    return np.concatenate(parts)
