"""Exceptions that the command line reports in one sentence, and what goes into a sentence."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 200  # characters of a reader's own words that are shown


class Refused(ValueError):
    """A file or an option is not acceptable; the message says why and what to do."""


class MissingExtra(ImportError):
    """An optional package is not installed; the message says what to type."""

    def __init__(self, who: str, package: str, extra: str = "cli") -> None:
        remedy = f"pip install 'kmeans-lab[{extra}]'"
        super().__init__(f"{who} the package {package}, which is not installed; {remedy}")


@contextmanager
def refusing_damage(path: Path, remedy: str) -> Iterator[None]:
    """Turn whatever a reader raises about the content of a file into ``Refused``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a reader's remarks on what it tolerates
            yield
    except (Refused, MissingExtra):
        raise
    except MemoryError as error:  # of a header that promises anything, too
        why = f"does not fit into memory ({_in_a_line(error)}); use fewer rows or float32"
        raise Refused(f"{path} {why}") from None
    except Exception as error:  # readers raise whatever damaged files lead them to
        why = f"is truncated or damaged ({_in_a_line(error)}); {remedy}"
        raise Refused(f"{path} {why}") from None


def _in_a_line(error: Exception) -> str:
    return short(" ".join(str(error).split()) or type(error).__name__, _LONGEST)


def short(text: str, longest: int = 30) -> str:
    """Return the beginning of a text that a sentence quotes."""
    return text if len(text) <= longest else f"{text[:longest]}…"
