"""What an interpreter says about itself: the text of this file is run by another Python.

That one may be of any version and lack every package, so that nothing here needs more than the
standard library, and older versions are told by their number alone.
"""

import json
import os
import sys
from typing import Any

#: Begins the line of the answer: start-up files of an interpreter may print, too.
MARK = "kmeans_lab interpreter: "
#: The oldest Python that kmeans_lab runs in, and what has to be there.
OLDEST = (3, 11)
NEEDS = ("numpy", "threadpoolctl")
_SOURCES = (".py", ".pyx", ".pxi")


def digest_of_package(folder: str) -> str:
    """Return a digest of the Python and Cython sources below a folder."""
    import hashlib

    found = []
    for place, _, files in os.walk(folder):
        found += [os.path.join(place, name) for name in files if name.endswith(_SOURCES)]
    digest = hashlib.sha256()
    for path in sorted(found, key=lambda it: os.path.relpath(it, folder).replace(os.sep, "/")):
        with open(path, "rb") as file:
            content = file.read()
        name = os.path.relpath(path, folder).replace(os.sep, "/")
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def facts() -> "dict[str, Any]":
    """Return version and build of this interpreter, its kmeans_lab, and what that lacks."""
    told: dict[str, Any] = {
        "version": " ".join(sys.version.split()),
        "release": list(sys.version_info[:3]),
        "executable": sys.executable,
        "parent": os.getppid(),
    }
    if sys.version_info < OLDEST:
        return told
    import sysconfig
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    told["free_threaded"] = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    found = find_spec("kmeans_lab")
    told["folder"] = os.path.dirname(found.origin) if found and found.origin else ""
    told["digest"] = digest_of_package(told["folder"]) if told["folder"] else ""
    try:
        told["kmeans_lab"] = version("kmeans-lab")
    except PackageNotFoundError:
        told["kmeans_lab"] = ""
    for name in NEEDS:
        try:
            told[name] = str(import_module(name).__version__)
        except Exception as error:
            told[name] = ""
            told["lacks"] = [name, " ".join(str(error).split())]
    return told


if __name__ == "__main__":
    print(MARK + json.dumps(facts()))
