from kmeans_lab.tuned.cython_baseline import BUILD as BUILD
from kmeans_lab.tuned.cython_baseline import LEVEL as LEVEL
from kmeans_lab.tuned.cython_baseline import Bell as Bell
from kmeans_lab.tuned.cython_baseline import Tiles as Tiles
from kmeans_lab.tuned.cython_baseline import inertia as inertia
