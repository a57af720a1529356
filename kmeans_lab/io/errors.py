"""Exceptions that the command line reports in one sentence."""


class Refused(ValueError):
    """A file or an option is not acceptable; the message says why and what to do."""


class MissingExtra(ImportError):
    """An optional package is not installed; the message says what to type."""

    def __init__(self, who: str, package: str, extra: str = "cli") -> None:
        remedy = f"pip install 'kmeans-lab[{extra}]'"
        super().__init__(f"{who} the package {package}, which is not installed; {remedy}")
