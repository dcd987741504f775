"""``python -m wmtp`` is the `wmtp` command."""

import sys

from wmtp.cli import main

if __name__ == "__main__":
    sys.exit(main())
