"""What is known about a module that is not imported: its file, its SPEC, and what it lacks.

A package of kernels may take seconds to import, or end the process. What a table says about it is
read as text: where ``SPEC = KernelSpec(...)`` has literal arguments, they are all that is needed.
"""

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec as find_module
from pathlib import Path

from kmeans_lab.spec import KernelSpec

_MOST_BYTES = 1 << 20  # parsing takes 2 s for each MiB; the sources of kernels are a few KiB
#: How the names of compiled files end.
COMPILED = (".so", ".pyd", ".dll", ".dylib")


def find_file(module: str) -> Path | None:
    """Return the file that an import of the module would load, if that can be told."""
    top, *parts = module.split(".")
    try:
        found = find_module(top)  # which imports the packages around a module, and here are none
        for part in parts:
            if found is None or found.submodule_search_locations is None:
                return None
            found = PathFinder.find_spec(
                f"{found.name}.{part}", [*found.submodule_search_locations]
            )
    except Exception:  # finders are code of other packages, too
        return None
    return Path(found.origin) if found and found.has_location and found.origin else None


def read_spec(module: str, attribute: str) -> KernelSpec | None:
    """Return the ``KernelSpec`` that a module's source states; None where only an import can tell.

    A compiled module's source is the .py file beside it.
    """
    file = find_file(module)
    if file is None:
        return None
    source = file.with_name(file.name.partition(".")[0] + ".py")
    try:
        if source.stat().st_size > _MOST_BYTES:
            return None
        tree = ast.parse(source.read_bytes())
        found = [call for name, call in _calls(tree) if name == attribute]
        if len(found) != 1:
            return None
        arguments = [ast.literal_eval(it) for it in found[0].args]
        named = {it.arg: ast.literal_eval(it.value) for it in found[0].keywords if it.arg}
        if len(named) < len(found[0].keywords):  # **others
            return None
        return KernelSpec(*arguments, **named)
    except (OSError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None  # the import says what is wrong


def _calls(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Return the names that the top level of a module gives to new ``KernelSpec``s."""
    found = []
    for it in tree.body:
        targets = it.targets if isinstance(it, ast.Assign) else [getattr(it, "target", None)]
        call = getattr(it, "value", None)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("KernelSpec"):
            found += [(target.id, call) for target in targets if isinstance(target, ast.Name)]
    return found


def lacks(spec: KernelSpec) -> str:
    """Return what a kernel lacks, as the first half of a sentence; empty if nothing is known."""
    if why := not_built(spec):
        return why
    for package in spec.requires:
        if find_file(package) is None and not _is_there(package):
            return f"there is no module {package!r}"
    return ""


def _is_there(package: str) -> bool:
    try:
        return find_module(package) is not None  # built in, or of another kind than files
    except Exception:
        return True  # a module that has no spec has been imported


def not_built(spec: KernelSpec) -> str:
    """Return why there is no compiled file, where ``KernelSpec.built`` names one."""
    if not spec.built:
        return ""
    file = find_file(spec.module)
    if file is None:
        return ""  # nor is there a module, as its import says
    if any(it.suffix in COMPILED for it in file.parent.glob(f"{spec.built}.*")):
        return ""
    try:
        said = file.with_name(f"{spec.built}.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        said = ""
    return " ".join(said[:2000].split()) or f"{spec.built} was not compiled when it was installed"
