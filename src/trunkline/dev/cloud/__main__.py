"""`python -m trunkline.dev.cloud`: the same as `trunkline dev cloud`."""

import sys

from trunkline.dev.cloud.run import main

sys.exit(main())
