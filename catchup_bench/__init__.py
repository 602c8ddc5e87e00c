"""catchup-bench: a robustness benchmark and leaderboard for mixup training."""

from pathlib import Path

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent

if not (_HERE / "methods" / "__init__.py").exists():  # a source checkout: methods/ sits beside this package
    __path__.append(str(_HERE.parent))
