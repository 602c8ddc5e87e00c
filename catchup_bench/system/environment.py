"""Settings of the environment that libraries read when they are loaded."""

import os


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has set a policy: spinning, they take the cores from
    each other beside any other work. It has to be called before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
