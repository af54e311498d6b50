"""Imported before PyTorch, by programs only: threads of OpenMP sleep while they wait, unless the user says otherwise.

They spin by default, and take from other processes the cores that they do not use: docs/benchmark_train.md has what
training loses by it. OpenMP reads the environment once, when it is loaded; worker processes inherit it.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
