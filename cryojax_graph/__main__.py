"""``python -m cryojax_graph`` is the command ``cryojax-graph``."""

import sys

from cryojax_graph.cli import main

if __name__ == "__main__":
    sys.exit(main())
