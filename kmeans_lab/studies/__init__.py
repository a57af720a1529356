"""What four well-known sources say about k-means, each claim run with one command.

``kmeans-lab study NAME`` writes figures, numbers and a page of text. A study is one readable file
here, built on the package's public names: it doubles as example code. The sources are called the
demo (Python against C++ with a web page), the multiprocessing study, the tutorial (k-means from
scratch, with exercises) and the walk-through (NumPy, step by step). Two studies try what is said of
texts and of embeddings.
"""

from importlib import import_module
from pathlib import Path

from kmeans_lab.studies.notebook import Notebook

#: The name of each study and its question, in the order of the gallery.
STUDIES = {
    "hybrid": "How much faster is C++ than Python, and than which Python?",
    "speedup": "What do several processes gain, and what limits the gain?",
    "convergence": "What happens from one iteration to the next, and when is it time to stop?",
    "starts": "How much depends on where the centers start, and how often does a start go wrong?",
    "how-many": "How many clusters are there, and which method can tell?",
    "limits": "Where does k-means fail, and which of its assumptions matter?",
    "dbscan": "Does a second algorithm, one that finds clusters of any shape, fit into the lab?",
    "compress": "How does a photograph look in a few colours, and which method chooses them best?",
    "minibatch": "What do mini-batches save, and what do they cost?",
    "soft": "How certain is each row of its cluster?",
    "ladder": "How does k-means get from plain Python to the limit of the machine?",
    "regimes": "Which way to find nearest centers is fastest, and for which sizes?",
    "text": "What do clusters of real texts say, and what do angles, batches and LSA change?",
    "embeddings": "Embeddings of your own: by distance, by angle, or after PCA?",
}

#: Those of a file that the user names.
OF_A_FILE = {"embeddings"}


def check(name: str) -> None:
    """Raise ``ValueError`` where a study needs a file that is not there or that it cannot use."""
    if name in OF_A_FILE:
        import_module(f"kmeans_lab.studies.{name}").read()


def run_study(name: str, folder: Path, *, full: bool = False) -> Notebook:
    """Run a study and write its files.

    Parameters
    ----------
    name : str
        A key of ``STUDIES``.
    folder : Path
        Where figures, tables and the page go; it is made if need be.
    full : bool
        Measure everything; by default what takes hours is measured in part and said to be so.

    Returns
    -------
    Notebook
        What was found, after it was written.

    Raises
    ------
    ValueError
        There is no such study, or its file cannot be used.
    ModuleNotFoundError
        A package of the extra ``studies`` is missing.
    """
    if name not in STUDIES:
        raise ValueError(f"study={name!r} is not known; choose one of {', '.join(STUDIES)}")
    check(name)
    module = import_module(f"kmeans_lab.studies.{name.replace('-', '_')}")
    folder.mkdir(parents=True, exist_ok=True)
    book = Notebook(name, STUDIES[name], folder, full=full)
    module.run(book)
    book.write_page()
    return book
