"""``python -m wmtp.tracking``: the process beside a run."""

import sys

from wmtp.tracking.follow import main

sys.exit(main())
