"""What helps to choose a tool: the cost of a call, of a build and of an installation.

``calls`` measures calls that do nothing, ``footprint`` counts bytes, ``costs`` puts both beside the
seconds before a first fit, ``record`` writes and reads them, ``tables`` shows them, and ``guide``
writes docs/choosing.md.
"""

from pathlib import Path

#: The tables of the guide as the page in the browser shows them: ``guide`` writes them.
KEPT = Path(__file__).with_name("kept.json")
