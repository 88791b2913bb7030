"""The arrows between packages, walked in the source; and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPERATORS = ("views", "losses", "kernels", "encoders", "diagnostics", "samplers")
ABOVE = ("methods", "data", "train", "evaluate", "app", "report", "config", "resources")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_there_is_something_to_walk():
    assert len(sources("graphcl")) > 20
    assert len(sources("recsys")) > 5


@pytest.mark.parametrize("path", sources("graphcl"), ids=lambda p: str(p.relative_to(ROOT)))
def test_graphcl_never_imports_recsys(path):
    assert not {name for name in imports(path) if name.split(".")[0] == "recsys"}


@pytest.mark.parametrize("package", OPERATORS)
def test_operators_import_nothing_above_them(package):
    for path in sources(f"graphcl/{package}"):
        for name in imports(path):
            parts = name.split(".")
            assert not (parts[0] == "graphcl" and parts[1] in ABOVE), f"{path} imports {name}"


def test_app_imports_no_method():
    for path in sources("graphcl/app"):
        for name in imports(path):
            allowed = name.startswith("graphcl.methods.contract")
            assert allowed or not name.startswith("graphcl.methods"), f"{path} imports {name}"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_one_view_brings_no_config_trainer_or_recommender():
    loaded = loaded_after("from graphcl.views import DropEdgesByCommunity")
    unwanted = {
        name
        for name in loaded
        if name.startswith("recsys")
        or (name.startswith("graphcl.") and name.split(".")[1] in ABOVE)
    }
    assert not unwanted


@pytest.mark.parametrize(
    "package",
    ["graphcl.losses", "graphcl.kernels.contrast", "graphcl.diagnostics", "graphcl.samplers"],
)
def test_operators_on_tensors_need_no_pyg(package):
    assert "torch_geometric" not in loaded_after(f"import {package}")


def test_three_lines_with_one_loss_load_only_torch_and_numpy():
    lines = (
        "from graphcl.losses import DecoupledInfoNCE",
        "loss = DecoupledInfoNCE(temperature=0.2)",
        "import torch; z1, z2 = torch.randn(2, 400, 8); loss(z1, z2)",
    )
    loaded = loaded_after("\n".join(lines))
    before = loaded_after("import torch; import numpy; torch.randn(3).logsumexp(0)")
    # On many nodes the compiled passes are looked for, with the standard library only.
    packages = {name.split(".")[0] for name in loaded - before} - sys.stdlib_module_names
    assert packages == {"graphcl"}
    parts = {name.split(".")[1] for name in loaded if name.startswith("graphcl.")}
    assert parts == {"errors", "kernels", "losses", "native"}


@pytest.mark.parametrize("package", ["graphcl", "recsys", "graphcl.app.main"])
def test_light_imports(package):
    assert "torch" not in loaded_after(f"import {package}")
