"""Connect to a Ray cluster; decide what each run may use of it."""

import math
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec

from ..errors import UsageError
from ..system.signals import stoppable

PING_SECONDS = 10.0
"""Seconds in which the head of a cluster must take a connection."""


@dataclass(frozen=True)
class Cluster:
    """Where tasks go, and what each may use; several share a GPU when ``gpus`` is a fraction. ``gpus`` ``None`` is one
    where the cluster has any."""

    address: str | None = None
    cpus: float = 1.0
    gpus: float | None = None

    def __post_init__(self) -> None:
        gpus = self.gpus or 0.0
        if not (0 < self.cpus < math.inf and 0 <= gpus < math.inf and (gpus <= 1 or gpus == int(gpus))):
            raise UsageError(
                f"--cpus-per-run {self.cpus:g} --gpus-per-run {gpus:g}: "
                "they take a number above 0, and a fraction of one GPU or a whole number of them"
            )


def parse_cluster(
    on: str, address: str | None, cpus: float | None, gpus: float | None, workers: str | None
) -> Cluster | None:
    """Return the cluster that the options describe; ``None`` for this machine without Ray."""
    if on == "ray":
        if workers is not None:
            raise UsageError("--workers is for --on local: on Ray, --cpus-per-run and --gpus-per-run say what fits")
        return Cluster(address, 1.0 if cpus is None else cpus, gpus)
    if any(value is not None for value in (address, cpus, gpus)):
        raise UsageError("--address, --cpus-per-run and --gpus-per-run are for --on ray")
    return None


@contextmanager
def connect(cluster: Cluster | None, device: str) -> Iterator[Cluster | None]:
    """Connect and yield the cluster, with its share of GPUs decided; yield ``None`` for ``None``. Without an address,
    it is the one of ``RAY_ADDRESS`` or of this machine, or else one that is started here and ends with the command.
    Raises :class:`UsageError` when there is none."""
    if cluster is None:
        yield None
        return
    if find_spec("ray") is None:
        raise UsageError("--on ray needs Ray: pip install 'catchup-bench[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns; every task is given its device
    import ray

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # where Ray prints the logs of lost nodes
        started_here = not ray.is_initialized()
        if started_here:
            address = address_of(cluster)
            try:
                ping(address)
                ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            except (OSError, ValueError, RuntimeError) as err:
                raise UsageError(
                    f"no Ray cluster at {address!r} ({first_line(err)}): --address takes its head's HOST:PORT, or "
                    "auto; without it, and without RAY_ADDRESS, one is started here"
                ) from None
        try:
            with stoppable():  # Ray has replaced the signal handlers
                yield replace(cluster, gpus=gpus_per_run(cluster, device, ray.cluster_resources()))
        finally:
            if started_here:
                ray.shutdown()


def address_of(cluster: Cluster) -> str | None:
    """Return the address that Ray will use: its environment variable overrides ``auto``."""
    if cluster.address in (None, "auto"):
        return os.environ.get("RAY_ADDRESS") or cluster.address
    return cluster.address


def ping(address: str | None) -> None:
    """Raise ``OSError`` or ``ValueError`` for an address where nothing listens, which Ray would try for minutes."""
    if address in (None, "auto", "local") or "://" in str(address):
        return
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("not HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=PING_SECONDS).close()


def gpus_per_run(cluster: Cluster, device: str, resources: Mapping[str, float]) -> float:
    if device == "cpu" and cluster.gpus:
        raise UsageError(f"--gpus-per-run {cluster.gpus:g} does not go with --device cpu")
    if device == "cuda" and cluster.gpus == 0:
        raise UsageError("--gpus-per-run 0 does not go with --device cuda")
    if cluster.gpus is not None:
        return cluster.gpus
    return 1.0 if device == "cuda" or (device == "auto" and resources.get("GPU", 0) > 0) else 0.0


def first_line(err: BaseException) -> str:
    text = str(err).strip()
    return f"{type(err).__name__}: {text.splitlines()[0]}" if text else type(err).__name__
