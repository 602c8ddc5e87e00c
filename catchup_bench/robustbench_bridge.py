"""The one place that imports robustbench.

Three things stand in the way of ``import robustbench`` (1.1.1) and are dealt with here, when it is needed:

- torchattacks 3.5.1 ships an older copy of the top-level package ``robustbench``; which one is on disk depends on the
  order of installation. Only what both have is used, and ``copy_on_disk`` says which it is.
- it imports ``pkg_resources``, which setuptools dropped in version 81.
- it imports a module named ``autoattack``, which its own dependency installs as ``pyautoattack``, with other
  parameter names.
"""

import base64
import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import tarfile
import tempfile
import types
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import UsageError


def copy_on_disk() -> str:
    """Whose ``robustbench`` would be imported: ``robustbench``, ``torchattacks``, ``unknown`` or ``absent``."""
    spec = importlib.util.find_spec("robustbench")
    if spec is None or spec.origin is None:
        return "absent"
    found = base64.urlsafe_b64encode(hashlib.sha256((Path(spec.origin).parent / "eval.py").read_bytes()).digest())
    for owner in ("robustbench", "torchattacks"):
        if found.rstrip(b"=").decode() == _recorded_digest(owner, "robustbench/eval.py"):
            return owner
    return "unknown"


def _recorded_digest(distribution: str, file: str) -> str | None:
    """What the installed distribution's own list says the SHA-256 of one of its files is."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    return next((f.hash.value for f in files if f.as_posix() == file and f.hash is not None), None)


class AutoAttack:
    """``autoattack.AutoAttack`` as robustbench calls it, on top of pyautoattack."""

    def __init__(self, model: Any, norm: str = "Linf", eps: float = 0.3, **options: Any) -> None:
        from pyautoattack import AutoAttack as Renamed

        renamed = {"attacks_to_run": "attacks"}
        dropped = ("log_path", "verbose")
        kept = {renamed.get(k, k): v for k, v in options.items() if k not in dropped}
        self.attack = Renamed(model, norm=norm, eps=eps, **kept)

    def run_standard_evaluation(self, x: Any, y: Any, bs: int = 250, **_: Any) -> Any:
        found = self.attack.run_standard_evaluation(x, y, batch_size=bs)
        return found[0] if isinstance(found, tuple) else found


def bridge() -> None:
    """Make ``import robustbench`` possible. Raises :class:`UsageError` with the fix where it is not."""
    if importlib.util.find_spec("pkg_resources") is None:
        raise UsageError("robustbench needs pkg_resources, which newer setuptools lack: pip install 'setuptools<81'")
    if "autoattack" not in sys.modules and importlib.util.find_spec("autoattack") is None:
        alias = types.ModuleType("autoattack", "pyautoattack under the name that robustbench imports")
        alias.AutoAttack = AutoAttack  # type: ignore[attr-defined]
        state = types.ModuleType("autoattack.state")
        state.EvaluationState = object  # type: ignore[attr-defined]
        sys.modules["autoattack"], sys.modules["autoattack.state"] = alias, state


def module(name: str) -> Any:
    """``robustbench.<name>``, bridged, without its deprecation warnings."""
    bridge()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"robustbench.{name}")
    except ImportError as err:
        raise UsageError(
            f"robustbench cannot be imported ({err}): pip install --force-reinstall --no-deps robustbench"
        ) from None


def zoo() -> dict[str, dict[str, list[str]]]:
    """Names in RobustBench's model zoo: dataset → threat model → names."""
    table = module("model_zoo").model_dicts
    return {d.value: {t.value: sorted(models) for t, models in threats.items()} for d, threats in table.items()}


def load_model(name: str, dataset: str, folder: Path) -> Any:
    """A network of the zoo, for [0,1] images; downloaded into ``folder`` unless it is there.

    Raises :class:`UsageError` for a name or dataset that the zoo does not have, or when it cannot be fetched.
    """
    from .errors import pick

    models = zoo()
    threats = models[pick("dataset of robustbench", dataset, models)]
    known = {model: threat for threat, found in threats.items() for model in found}
    threat = known[pick(f"robustbench model for {dataset}", name, known)]
    try:
        return module("utils").load_model(name, model_dir=str(folder), dataset=dataset, threat_model=threat)
    except Exception as err:  # downloads, archives and state dicts fail in many ways
        raise UsageError(f"cannot load robustbench:{name}: {type(err).__name__}: {str(err).splitlines()[0]}") from None


@contextlib.contextmanager
def nothing_outside() -> Iterator[None]:
    """What is unpacked meanwhile stays in its folder, and is files and folders alone: robustbench sets no filter."""
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


def fetch_corrupted(dataset: str, folder: Path) -> None:
    """Download CIFAR-10-C or CIFAR-100-C into ``folder`` with RobustBench's downloader, which checks the MD5.

    It appears there only when it is whole. Raises :class:`UsageError` when it cannot be fetched.
    """
    if copy_on_disk() == "torchattacks":  # it asks for a field that Zenodo's answers no longer have
        raise UsageError(
            "the downloader of the older robustbench that torchattacks carries no longer works: "
            "pip install --force-reinstall --no-deps robustbench"
        )
    links = {d.value: link for d, link in module("data").ZENODO_CORRUPTIONS_LINKS.items()}
    record, archives = links[dataset]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as beside:
            with contextlib.redirect_stdout(sys.stderr), nothing_outside():  # it prints
                module("zenodo_download").zenodo_download(record, archives, Path(beside))
            for archive in archives:
                os.replace(Path(beside) / Path(archive).stem, folder / Path(archive).stem)
    except Exception as err:  # requests, its JSON, archives and MD5s fail in many ways
        reason = (str(err) or type(err).__name__).splitlines()[0]
        raise UsageError(f"cannot fetch the corrupted {dataset} into {folder}: {reason}") from None


def imagenet_wnids() -> list[str]:
    """Return the WordNet ids of ImageNet-1k in the order of its classes, from the table that robustbench ships.

    Raises :class:`UsageError` when the table is not there.
    """
    spec = importlib.util.find_spec("robustbench")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "helper_files" / "imagenet_class_to_id_map.json"
        if file.is_file():
            index: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))
            return sorted(index, key=index.__getitem__)
    raise UsageError("robustbench's table of ImageNet's classes is missing: pip install --force-reinstall robustbench")
