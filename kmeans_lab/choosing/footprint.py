"""Bytes: of a kernel's compiled files, and of the packages that a user must install to run it."""

from collections.abc import Iterable
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.metadata import packages_distributions as distributions_of_packages
from pathlib import Path

from kmeans_lab.isolation.metadata import COMPILED
from kmeans_lab.kernel import KeepsBinaries
from kmeans_lab.measure.machinecode import CannotTell
from kmeans_lab.registry import load_for
from kmeans_lab.spec import KernelSpec

#: What kmeans_lab itself brings: it costs nothing more.
GIVEN = ("numpy", "kmeans-lab")


def binary_bytes(name: str, spec: KernelSpec) -> int | None:
    """Return the bytes of a kernel's compiled files; None where nothing is compiled ahead of time.

    Imports the kernel, which must be ready.
    """
    kernel, _ = load_for(name, sparse=False)
    module = Path(getattr(kernel, "__file__", None) or "")
    files = {module} if module.name.endswith(tuple(EXTENSION_SUFFIXES)) else set()
    if isinstance(kernel, KeepsBinaries):
        files.add(Path(kernel.binary()))
    if spec.built:
        files |= {it for it in module.parent.glob(f"{spec.built}*") if it.suffix in COMPILED}
    return sum(it.stat().st_size for it in files) if files else None


def installed_bytes(packages: Iterable[str]) -> int:
    """Return the bytes of the distributions that hold these packages, and of what they require.

    NumPy and kmeans_lab, which are there in any case, are left out. What a distribution requires
    is followed through its metadata, without its extras.

    Raises
    ------
    CannotTell
        A package belongs to no distribution, or the package ``packaging``, which reads
        requirements, is not installed.
    """
    owners = distributions_of_packages()
    found: dict[str, Distribution] = {}
    for package in packages:
        if package in GIVEN:
            continue
        if not owners.get(package):
            raise CannotTell(f"no installed distribution holds the package {package!r}")
        for owner in owners[package]:
            _follow(owner, found)
    return sum(map(_size, found.values()))


def _follow(name: str, found: dict[str, Distribution]) -> None:
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ModuleNotFoundError:
        raise CannotTell("packaging is not installed; pip install packaging") from None
    key = canonicalize_name(name)
    if key in found or key in GIVEN:
        return
    try:
        one = found[key] = distribution(name)
    except PackageNotFoundError:  # of another platform, or left out with --no-deps
        return
    for text in one.requires or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            _follow(needed.name, found)


def _size(one: Distribution) -> int:
    """Return the bytes of a distribution's files as it was installed, without compiled caches."""
    found = 0
    for file in one.files or ():
        path = Path(str(file.locate()))
        if path.suffix != ".pyc" and path.is_file():
            found += path.stat().st_size
    return found
