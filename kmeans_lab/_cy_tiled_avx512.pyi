from kmeans_lab._cy_tiled_baseline import BUILD as BUILD
from kmeans_lab._cy_tiled_baseline import LEVEL as LEVEL
from kmeans_lab._cy_tiled_baseline import Bell as Bell
from kmeans_lab._cy_tiled_baseline import Tiles as Tiles
from kmeans_lab._cy_tiled_baseline import inertia as inertia
