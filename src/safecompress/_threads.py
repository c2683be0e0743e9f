"""How OpenMP's threads wait; imported before torch, which reads it once.

Threads that spin while they wait make small networks many times slower as soon as anything else
runs on the machine. Whoever sets the variable keeps their choice.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
