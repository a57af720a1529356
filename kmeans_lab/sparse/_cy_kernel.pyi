from kmeans_lab.kernel import Counts, Labels, Rows, Sums
from kmeans_lab.sparse.rows import SparseRows

BUILD: str

def assign(rows: SparseRows, centers: Rows, labels: Labels) -> float: ...
def update(rows: SparseRows, labels: Labels, sums: Sums, counts: Counts) -> None: ...
