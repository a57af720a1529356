"""What the command line says about text files, as ``read_rows`` takes it."""

import argparse
from typing import Any

from kmeans_lab.io.datafiles import TEXT_SUFFIXES

_ABOUT = (
    f"for {', '.join(TEXT_SUFFIXES)}: a first line without numbers names the columns. C is a name, "
    "a number counted from 1, or several: height,3,5-7. The delimiter is found where decimals have "
    "a point; other notations are refused with the options that they need."
)
_OPTIONS = (
    "skip_rows",
    "delimiter",
    "decimal",
    "thousands",
    "header",
    "columns",
    "drop_columns",
)


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``read_rows`` takes for text files."""
    add = parser.add_argument_group("text files", _ABOUT).add_argument
    add(
        "--skip-rows", metavar="N", type=int, default=0, help="lines to skip at the top (default 0)"
    )
    add("--header", metavar="WHEN", default="auto", help="auto, yes or no (default auto)")
    add(
        "--columns",
        metavar="C",
        action="append",
        default=[],
        help="columns to read, in this order (default: all)",
    )
    add("--drop-columns", metavar="C", action="append", default=[], help="read all but these")
    add("--delimiter", metavar="SIGN", help="between columns: like ';' or tab (default: as found)")
    add("--decimal", metavar="SIGN", help="decimal sign: '.' (default) or ','")
    add("--thousands", metavar="SIGN", help="between groups of three digits (default: nothing)")


def text_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return these options by name."""
    return {name: getattr(arguments, name) for name in _OPTIONS}
