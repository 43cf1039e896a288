"""``python tests/fuzz --count 10000 --format coco --seed 0``."""

import sys

from fuzz_runner import main

sys.exit(main())
