"""What the README says is what the configs and the command line say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from graphcl.app.catalogue import method_table
from graphcl.data import card_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_results_table_is_what_the_configs_measured():
    path = ROOT / "benchmarks" / "results.py"
    spec = importlib.util.spec_from_file_location("results", path)
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    assert results.readme_with_table(README) == README, (
        "run: python benchmarks/results.py table --write"
    )
    assert "±" in results.table()


def test_commands_name_methods_and_data_sets_that_exist():
    runs = re.findall(r"^graphcl run (\S+) (\S+)", README, flags=re.MULTILINE)
    assert len(runs) >= 4
    for method, dataset in runs:
        assert method in method_table()
        assert dataset in card_names() or dataset.startswith("my_")


def test_linked_files_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_python_blocks_run_as_written():
    import torch
    from torch_geometric.data import Data

    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(30, (2, 100), generator=generator)
    names = {
        "data": Data(
            x=torch.rand(30, 8, generator=generator),
            edge_index=torch.cat([edges, edges.flip(0)], dim=1),
        ),
        "z1": torch.randn(30, 4, generator=generator),
        "z2": torch.randn(30, 4, generator=generator),
    }
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["view1"].num_edges < names["data"].num_edges
    assert torch.isfinite(names["loss"])
