"""The one import of pyarrow, and what its failures on damaged bytes become.

pyarrow ships no types, so `pa` and `pq` are Any, here and nowhere else; the aliases only name what is meant.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from efl_core.errors import CorruptDataError, EflError, MissingExtraError, ResourceLimitError

__all__ = ["Array", "RecordBatch", "Schema", "Table", "blame", "pa", "pq"]

_OLDEST = 20
_INSTALL = 'pip install "efl-core[arrow]"'

try:
    import pyarrow
    import pyarrow.parquet
except ImportError as error:
    raise MissingExtraError(
        f"Arrow and Parquet need pyarrow, which cannot be imported:\n{_INSTALL}"
    ) from error
if int(pyarrow.__version__.split(".")[0]) < _OLDEST:
    raise MissingExtraError(
        f"Arrow and Parquet need pyarrow {_OLDEST} or newer, found {pyarrow.__version__}:\n{_INSTALL}"
    )

pa: Any = pyarrow
pq: Any = pyarrow.parquet

Array: TypeAlias = Any
RecordBatch: TypeAlias = Any
Schema: TypeAlias = Any
Table: TypeAlias = Any


@contextmanager
def blame(source: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bytes that it cannot decode into an error that names ``source``.

    Our own errors pass, and so do those of the operating system (a missing file, a permission, a failing
    disk): they have an ``errno``, which pyarrow's complaints about content have not.
    """
    try:
        yield
    except EflError:
        raise
    except MemoryError as error:
        raise ResourceLimitError(f"{source}: not enough memory to read it ({_line(error)})") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CorruptDataError(
            f"{source}: damaged, truncated or not of this format ({_line(error)})"
        ) from error


def _line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]:.200}" if text else type(error).__name__
