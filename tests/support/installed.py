"""An installed kmeans_lab, with no checkout in reach: every kernel is there, and all agree.

Run by ``check_wheel.sh`` and, on each platform, by cibuildwheel.
"""

import sys
from pathlib import Path

import kmeans_lab
from kmeans_lab import KERNELS, kmeans
from kmeans_lab.dbscan import dbscan
from kmeans_lab.presets import PRESETS
from kmeans_lab.web.queries import survey

assert "site-packages" in Path(kmeans_lab.__file__).parts, kmeans_lab.__file__
workload = PRESETS["smoke"].load()
fits = {name: kmeans(workload.X, 5, kernel=name, **workload.settings()) for name in KERNELS}
assert all((fit.labels == fits["python"].labels).all() for fit in fits.values())
assert kmeans(workload.X, 5, random_state=0).kernel == "cpp-simd"
dense = [dbscan(workload.X, 2.0, 5, kernel=name) for name in ("python", "cpp")]
assert (dense[0].labels == dense[1].labels).all()
assert (Path(kmeans_lab.__file__).parent / "web/static/index.html").is_file()
sources = survey(list(KERNELS))["sources"]  # those that the page shows
assert all(sources.get(name) and all(it["text"] for it in sources[name]) for name in KERNELS)
assert any(it["name"].endswith(".h") for it in sources["cpp-simd"])
version = ".".join(map(str, sys.version_info[:3]))
print(f"kmeans-lab {kmeans_lab.__version__}, Python {version}: {', '.join(fits)} agree")
