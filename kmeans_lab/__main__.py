"""``python -m kmeans_lab``: the command line."""

import sys

from kmeans_lab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
