"""What is kept between gradients: a bounded number of things, the least recently used one goes first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

__all__ = ["Cache", "Steps"]

T = TypeVar("T")


class Cache:
    """A bounded mapping, for several threads. A thing that two of them miss at once is made twice."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key; make it where there is nothing."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast(T, self._kept[key])
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return made

    def add(self, key: Hashable) -> bool:
        """Keep a key; return whether it is new."""
        new = object()
        return self.get(key, lambda: new) is new

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


class Steps:
    """Numbers the gradients of a circuit, so that those that follow each other run different settings.

    Something that is measured again under the same key has the number that it had.
    """

    def __init__(self, capacity: int = 2**14) -> None:
        self._numbers: OrderedDict[Hashable, int] = OrderedDict()
        self._capacity, self._next = capacity, 0
        self._lock = threading.Lock()

    def number(self, key: Hashable = None) -> int:
        """Return the number of a step: the next one, or that of a key that is known."""
        with self._lock:
            if key is not None and key in self._numbers:
                self._numbers.move_to_end(key)
                return self._numbers[key]
            number, self._next = self._next, self._next + 1
            if key is not None:
                self._numbers[key] = number
                if len(self._numbers) > self._capacity:
                    self._numbers.popitem(last=False)
            return number
