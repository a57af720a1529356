"""Kernels that other installed packages bring, and how to import code that is not ours.

Entry points are read as text: no module is imported before it is requested, and a mistake in one
package does not affect the others. An import may raise, call ``sys.exit``, or end the process; the
first two are reported like any other error, and the last is detected in a child process.
"""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec as find_module
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from kmeans_lab.io.streams import output_to_errors
from kmeans_lab.isolation.metadata import read_spec
from kmeans_lab.spec import KernelSpec

#: Entry points of this group are kernels of installed packages: name = "module", or "module:SPEC"
#: where SPEC is a ``KernelSpec``.
ENTRY_POINTS = "kmeans_lab.kernels"

#: Seconds that an import may take before it counts as one that never ends.
PATIENCE = 60.0
_MOST_BYTES = 16 << 20  # no source is longer

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_TARGET = re.compile(rf"({_DOTTED})\s*(?::\s*({_DOTTED})\s*)?(?:\[.*\]\s*)?")
_NAME = re.compile(r"\w[\w.+-]*")


class NotAKernel(ValueError):
    """A name, a file or a package gives no kernel; the message is a sentence that says why."""


@dataclass(slots=True)
class Plugin:
    """A kernel of an installed package.

    Attributes
    ----------
    name, module : str
        What it is called, and where its functions live.
    attribute : str
        Where in the module its ``KernelSpec`` is; empty without one.
    package : str
        The package that provides it, by the name that ``pip uninstall`` takes.
    fault : str
        Why it cannot be used, where that is known without an import.
    tried : bool
        Whether importing it ends the process has been found out, or need not be.
    """

    name: str
    module: str
    attribute: str
    package: str
    fault: str = ""
    tried: bool = field(default=False, repr=False)
    _spec: KernelSpec | None = field(default=None, repr=False)

    @property
    def spec(self) -> KernelSpec:
        """What is known about the kernel: a plain row where its own SPEC cannot be loaded."""
        try:
            self.check()
        except Exception:  # loading the kernel raises it again
            return self._plain()
        assert self._spec is not None  # set by check
        return self._spec

    def stated(self) -> KernelSpec | None:
        """Return its SPEC as text states it; None where only an import can tell."""
        if self._spec is None and not self.fault:
            if not self.attribute:
                self._spec = self._plain()
            elif found := read_spec(self.module, self.attribute):
                self._spec = replace(found, module=self.module)
        return self._spec

    def listed(self) -> KernelSpec:
        """Return what a table says about it; nothing is imported."""
        return self.stated() or self._plain()

    def check(self) -> None:
        """Raise what keeps its entry point from being used."""
        if self.fault:
            raise NotAKernel(self.fault)
        if self.stated() is None:
            with importing(self.module):
                found = attrgetter(self.attribute)(import_module(self.module))
            place = f"entry point {self.module}:{self.attribute}"
            self._spec = with_module(found, self.module, place)

    def outlive(self) -> None:
        """Find out, once, whether importing it ends the process; it has a fault if it does."""
        if self.fault or self.tried or self.module in sys.modules:
            return
        self.tried = True
        if end := end_of_import(self.module):
            self.fault = f"importing {self.module} {end}"

    def learn(self, spec: KernelSpec) -> None:
        """Take over what a child process found in its entry point; nothing is imported here."""
        self._spec = spec

    def _plain(self) -> KernelSpec:
        summary = f"from the package {self.package}"
        return KernelSpec(self.module, summary, f"pip install --force-reinstall {self.package}")


def read() -> dict[str, Plugin]:
    """Return the kernels that other installed packages bring, by name; nothing is imported."""
    from importlib.metadata import distributions  # 20 ms: only on first use

    found: dict[str, Plugin] = {}
    for package, text in _lists(distributions()):
        for name, value in _entries(text):
            plugin = _plugin(name, value, package)
            if (other := found.get(name)) is not None:
                who = f"the packages {other.package} and {package} both bring a kernel of this name"
                if other.package == package:
                    who = f"the package {package} brings two kernels of this name"
                plugin.fault = f"{who}, and nothing says which one is meant"
            found[name] = plugin
    return found


def _lists(distributions: Any) -> Iterator[tuple[str, str]]:
    """Yield each package's name and list of entry points, where that may have kernels."""
    seen = set()
    for it in distributions:
        try:
            text = it.read_text("entry_points.txt") or ""
        except (OSError, UnicodeError) as error:
            warnings.warn(
                f"the entry points of an installed package cannot be read ({error}); kernels that "
                "it may bring are left out",
                RuntimeWarning,
                stacklevel=4,
            )
            continue
        if ENTRY_POINTS not in text:
            continue
        package = it.metadata["Name"] or "unknown"
        # The first on the path is the one that would be imported, as importlib.metadata has it.
        if (key := re.sub(r"[-_.]+", "-", package).lower()) not in seen:
            seen.add(key)
            yield package, text


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and values of our group, as they are written."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == ENTRY_POINTS and line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _plugin(name: str, value: str, package: str) -> Plugin:
    """Return the kernel of one entry point, with its fault if it is written wrong."""
    target = _TARGET.fullmatch(value)
    module, attribute = (target[1], target[2] or "") if target else (value, "")
    plugin = Plugin(name, module, attribute, package)
    if target is None:
        plugin.fault = (
            f"its entry point is {f'{name} = {value}'!r} and must be 'name = module' or "
            "'name = module:SPEC'"
        )
    elif not _NAME.fullmatch(name) or name.endswith(".py") or name == "auto":
        plugin.fault = (
            f"the name {name!r} of its entry point must be letters, digits, '-', '_', '+' and '.', "
            "and neither 'auto' nor that of a file"
        )
    return plugin


def with_module(spec: object, module: str, source: str) -> KernelSpec:
    """Return a SPEC that was found, with the name of the module that it belongs to."""
    if not isinstance(spec, KernelSpec):
        raise NotAKernel(
            f"SPEC of {source} is of type {type(spec).__name__} and must be a kmeans_lab.KernelSpec"
        )
    return replace(spec, module=module)


def is_place(place: str) -> bool:
    """Whether this may name the place of a kernel: a .py file, or a module that may exist."""
    if place.endswith(".py") or "." in place:
        return True
    try:
        return place.isidentifier() and find_module(place) is not None
    except ValueError:  # a module without a spec, such as __main__
        return False


def too_large(path: Path) -> bool:
    """Whether a file is larger than any source, and would only fill the memory."""
    return path.is_file() and path.stat().st_size > _MOST_BYTES


def import_place(place: str) -> ModuleType:
    """Import a .py file by its path, or a module by its name.

    Raises
    ------
    NotAKernel
        There is no such file or module.
    Exception
        Whatever the import raises; ``ImportError`` where it calls ``sys.exit``.
    """
    path = Path(place)
    with ending_nothing(f"importing {place}"):
        if path.suffix == ".py":
            if not path.is_file():
                raise NotAKernel(f"there is no file {place}; give the path of a kernel's .py file")
            if too_large(path):
                raise NotAKernel(
                    f"{place} has more than {_MOST_BYTES >> 20} MiB and must be a kernel's source; "
                    "check it"
                )
            return _import_file(path)
        try:
            if all(part.isidentifier() for part in place.split(".")):
                return import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
    raise NotAKernel(
        f"{place!r} is no kernel, no module that can be imported and no .py file; kmeans-lab "
        "kernels lists the kernels"
    )


def _import_file(path: Path) -> ModuleType:
    # A name of its own: the file may be called like a package that it imports.
    name = f"kmeans_lab_kernel_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def importing(what: str) -> Iterator[None]:
    """Keep an import that the user did not request from ending the process or printing."""
    with ending_nothing(f"importing {what}"), output_to_errors:
        yield


@contextmanager
def ending_nothing(what: str) -> Iterator[None]:
    """Make an error of an attempt to end the process; Ctrl-C passes."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        said = f"{type(error).__name__}({', '.join(map(repr, error.args))})"
        raise ImportError(f"{what} raised {said}, which would end the process") from error


def end_of_import(place: str) -> str:
    """Import a module or a .py file in a child process; say how the child ended, if it did."""
    from runpy import run_path

    from kmeans_lab.isolation.children import (  # needed only with plug-ins
        Child,
        Ended,
        Raised,
    )

    file = place.endswith(".py")
    with Child() as child:
        try:
            child.ask(run_path if file else import_module, place, patience=PATIENCE)
        except Ended as end:
            return end.does
        except Raised:
            pass  # the next import raises it again
    return ""
