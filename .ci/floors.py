"""Print the floors of all dependencies in pyproject.toml, extra `test` included, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
    if found := re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?>=([0-9.]+)", requirement):
        name, version = found.groups()
        parts = version.split(".")
        print(f"{name}=={version}" if len(parts) > 2 else f"{name}=={'.'.join([*parts, '0'][:2])}.*")
