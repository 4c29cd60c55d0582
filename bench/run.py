"""`python bench/run.py`: puts the project root on the path, so that `bench` is a package, and runs the benchmark."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.driver import main  # only now can it be found

if __name__ == "__main__":
    sys.exit(main())
