"""``python -m evisynth`` is the command ``evisynth``."""

import sys

from evisynth.cli import main

sys.exit(main())
