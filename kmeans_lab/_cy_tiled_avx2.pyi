from kmeans_lab._cy_tiled_baseline import BUILD, LEVEL, Bell, Tiles

__all__ = ["BUILD", "LEVEL", "Bell", "Tiles"]
