"""What the README says is what the configs and the command line say."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from graphcl.app.catalogue import method_table
from graphcl.app.main import main
from graphcl.data import cache_folder, card_names, load_card
from graphcl.data.locate import find_file, resolve_data_root

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def results_script():
    path = ROOT / "benchmarks" / "results.py"
    spec = importlib.util.spec_from_file_location("results", path)
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    return results


def test_the_results_table_is_what_the_configs_measured():
    results = results_script()
    assert results.with_table(README, results.table()) == README, (
        "run: python benchmarks/results.py table --write"
    )
    assert "±" in results.table()


@pytest.mark.parametrize("name", ["graph", "sequential"])
def test_the_tables_of_the_benchmarks_are_what_the_configs_measured(name: str):
    path, make = results_script().TABLES[name]
    text = path.read_text(encoding="utf-8")
    assert results_script().with_table(text, make()) == text, (
        f"run: python benchmarks/results.py {name} --write"
    )


def test_commands_name_methods_and_data_sets_that_exist():
    runs = re.findall(r"^graphcl run (\S+) (\S+)", README, flags=re.MULTILINE)
    assert len(runs) >= 4
    for method, dataset in runs:
        assert method in method_table()
        assert dataset in card_names() or dataset.startswith("my_")


def test_linked_files_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.real_data
def test_export_and_recommend_work_as_written(tmp_path, monkeypatch, capsys):
    card, places = load_card("ml-100k"), (resolve_data_root(), cache_folder())
    needed = [file for file in card.files if file.name.endswith((".inter", ".item"))]
    if not all(find_file(card, file, *places) for file in needed):
        pytest.skip("ml-100k is not on this machine: `graphcl data fetch ml-100k` brings it")
    monkeypatch.chdir(tmp_path)
    passage = README.partition("### Export and recommend")[2].partition("### ")[0]
    commands = re.findall(r"^graphcl .*", passage, flags=re.MULTILINE)
    assert [shlex.split(line)[1] for line in commands] == ["run", *["recommend"] * 3, "export"]
    for line in commands:
        # Trained for a moment only; what is written and printed does not depend on it.
        quick = " --set epochs=1" if line.startswith("graphcl run") else ""
        monkeypatch.setattr("sys.argv", shlex.split(line + quick, comments=True))
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, capsys.readouterr().err
    (block,) = [block for block in python_blocks() if "load_run" in block]
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["table"]["rank"].tolist() == list(range(1, 11))


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
    blocks = [block for block in python_blocks() if "load_run" not in block]
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["view1"].num_edges < names["data"].num_edges
    assert torch.isfinite(names["loss"])
