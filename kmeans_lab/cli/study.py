"""The command ``kmeans-lab study``."""

import argparse
import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from kmeans_lab.cli.inputs import refuse_unless_ready
from kmeans_lab.cli.terminal import emit, show, tell
from kmeans_lab.formatting import make_table
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.outputs import plan_folder
from kmeans_lab.registry import FLAGSHIP
from kmeans_lab.studies import STUDIES, check, run_study
from kmeans_lab.studies.notebook import Notebook

_NEEDS = ("matplotlib", "sklearn", "PIL")
#: Studies that time certain kernels; the others use whichever kernel can run.
_TIMED = dict.fromkeys(("hybrid", "speedup", "compress", "ladder", "regimes"), ("cpp", FLAGSHIP))
_STYLES = {True: "green", False: "red", None: "yellow"}


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab study``."""
    add = parser.add_argument
    add("name", metavar="NAME", nargs="?", help="one of the studies, or all; none lists them")
    add("-o", "--output", metavar="DIR", type=Path, help="folder for its files (studies/NAME)")
    add("--full", action="store_true", help="measure everything, which can take hours")
    add("--force", action="store_true", help="write into a folder that has files")


def study(arguments: argparse.Namespace) -> None:
    """List the studies, or run one or all of them."""
    if arguments.name is None:
        return _list(arguments)
    names = _all_that_can_run() if arguments.name == "all" else [arguments.name]
    if names[0] not in STUDIES:
        raise Refused(
            f"study {names[0]!r} is not known; choose one of {', '.join(STUDIES)}, or all of them "
            "by all"
        )
    check(names[0])
    for package in _NEEDS:
        if find_spec(package) is None:
            raise MissingExtra("studies need", package, extra="studies")
    for name in dict.fromkeys(it for study in names for it in _TIMED.get(study, ())):
        refuse_unless_ready(name)
    if not arguments.json:
        make_table()  # a missing extra is better reported before the work
    given = arguments.output
    folders = {name: given or Path("studies", name) for name in names}
    for folder in folders.values():
        plan_folder(folder, arguments.force)
    found = []
    for name, folder in folders.items():
        try:
            book = run_study(name, folder, full=arguments.full)
        except ImportError as error:
            raise Refused(f"the study {name} needs what cannot be imported: {error}") from error
        if arguments.json:
            claims = [asdict(it) | {"verdict": it.verdict} for it in book.claims]
            found.append({"study": name, "claims": claims, "files": [str(it) for it in book.files]})
        else:
            _show(book)
    if arguments.json:
        emit(json.dumps(found, indent=2) + "\n")
    return None


def _all_that_can_run() -> list[str]:
    """Return all studies but those whose file is missing, with a sentence about these."""
    names = []
    for name in STUDIES:
        try:
            check(name)
        except Refused as error:
            tell(f"the study {name} is left out: {error}")
        else:
            names.append(name)
    return names


def _list(arguments: argparse.Namespace) -> None:
    if arguments.json:
        return emit(json.dumps(STUDIES, indent=2) + "\n")
    table = make_table("study", "what it asks")
    for row in STUDIES.items():
        table.add_row(*row)
    return show(table)


def _show(book: Notebook) -> None:
    from rich.text import Text

    table = make_table("who", "claim", "found", "verdict", title=f"{book.name}: {book.title}")
    for claim in book.claims:
        verdict = Text(claim.verdict, style=_STYLES[claim.holds])
        table.add_row(claim.source, claim.words, claim.found, verdict)
        table.add_section()
    if book.claims:
        show(table)
    show(f"{len(book.files)} files in {book.folder}; the page is {book.files[-1]}\n")
