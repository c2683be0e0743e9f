"""Sets how OpenMP's threads wait; must be imported before torch, which reads the setting once.

Threads that spin while they wait make small networks many times slower as soon as anything else
runs on the machine. A variable that the user has set is kept.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
