"""Read tables of Parquet and Arrow files: columns of numbers, or one column of lists of numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.io.errors import MissingExtra, Refused, refusing_damage
from kmeans_lab.io.text_columns import choose_columns
from kmeans_lab.io.values import say_missing

ARROW_SUFFIXES = (".parquet", ".arrow", ".arrows", ".feather")

_FLOATS = ("float32", "float64")


def read_arrow(path: Path, wanted: Sequence[str], unwanted: Sequence[str]) -> NDArray[Any]:
    """Return the numbers of a table (n_samples, n_features).

    Where it has one column of lists, as of embeddings, a list is a row.

    Raises
    ------
    Refused
        The file is damaged, or a value is missing or no number.
    MissingExtra
        pyarrow is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "pyarrow", "pyarrow") from None
    with refusing_damage(path, "write it again with pyarrow"):
        read = _read_parquet if path.suffix.lower() == ".parquet" else _read_ipc
        table = read(path, wanted, unwanted)
        table.validate(full=True)  # offsets that lead elsewhere would be followed
    try:
        if table.num_columns == 1 and holds_lists(table.schema.field(0).type, pyarrow.types):
            return checks.samples(from_lists(table), _FLOATS)
        return checks.samples(table, _FLOATS)
    except (TypeError, ValueError, NotImplementedError) as error:
        remedy = "; --drop-columns leaves columns out" if isinstance(error, TypeError) else ""
        raise Refused(f"{path}: {' '.join(str(error).split())}{remedy}") from None


def _read_parquet(path: Path, wanted: Sequence[str], unwanted: Sequence[str]) -> Any:
    from pyarrow.parquet import ParquetFile

    # Not read_table, which takes folders called key=value for columns. Not mapped: values are
    # decoded anyway, and a mapped file that is cut short meanwhile would end the process.
    with ParquetFile(path, memory_map=False) as file:
        names = file.schema_arrow.names
        chosen = choose_columns(path, names, len(names), wanted, unwanted)
        if len(set(names)) < len(names):  # only names can be asked for
            return file.read().select(list(chosen))
        return file.read(columns=[names[f] for f in chosen])


def _read_ipc(path: Path, wanted: Sequence[str], unwanted: Sequence[str]) -> Any:
    """Return the columns of an Arrow file or stream: the suffix .arrow stands for either."""
    from pyarrow import OSFile, ipc

    with OSFile(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        open_ = ipc.open_file if is_file else ipc.open_stream
        names = open_(source).schema.names
        chosen = choose_columns(path, names, len(names), wanted, unwanted)
        source.seek(0)
        fields = sorted(chosen)
        table = open_(source, options=ipc.IpcReadOptions(included_fields=fields)).read_all()
        return table.select([fields.index(f) for f in chosen])


def holds_lists(kind: Any, types: Any) -> bool:
    """Return whether a type of Arrow is that of lists of numbers."""
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)))


def from_lists(table: Any) -> NDArray[Any]:
    """Return a column of lists of the same length as a matrix."""
    name, column = repr(table.schema.field(0).name), table.column(0)
    absent = np.asarray(column.is_null(), dtype=bool)
    if absent.any():
        say_missing("X", absent, column=name)
    lengths = [int(length) for chunk in column.chunks for length in _range_of_lengths(chunk)]
    least, most = min(lengths, default=0), max(lengths, default=0)
    if least < most:
        raise ValueError(
            f"column {name} has lists of {least} to {most} values and all must "
            "have the same length; correct or drop the others"
        )
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = values[0] if len(values) == 1 else np.concatenate(values) if values else np.empty(0)
    return flat.reshape(len(column), most)


def _range_of_lengths(chunk: Any) -> tuple[int, ...]:
    from pyarrow.compute import list_value_length, min_max

    return tuple(min_max(list_value_length(chunk)).as_py().values()) if len(chunk) else ()
