"""Import this first, before torch: idle worker threads must sleep, not spin.

OpenMP's default is to busy-wait between parallel loops; beside one other job on the machine that
made a training step 40 times slower. The choice is read when torch loads its OpenMP library, hence
at import. A user's own OMP_WAIT_POLICY is respected.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
