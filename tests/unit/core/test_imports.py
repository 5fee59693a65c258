import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
import schedsearch.core
for module in pkgutil.walk_packages(schedsearch.core.__path__, "schedsearch.core."):
    importlib.import_module(module.name)
print(*(name for name in ("torch", "transformers", "PIL", "sqlalchemy") if name in sys.modules))
print(sum(name.startswith("schedsearch.core.") for name in sys.modules))
"""


def test_core_loads_neither_torch_nor_a_database_nor_images():
    command = [sys.executable, "-c", PROGRAM]
    loaded, modules = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert loaded == ""
    assert int(modules) > 10  # the walk found them
