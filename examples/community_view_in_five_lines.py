"""Add a community-aware view to your own PyTorch Geometric code.

    python examples/community_view_in_five_lines.py

The five lines are in `main`; nothing is downloaded.
"""

import torch
from torch_geometric.data import Data
from torch_geometric.utils import stochastic_blockmodel_graph

from graphcl.views import DropEdgesByCommunity


def synthetic_graph() -> Data:
    """Four groups of 50 nodes, dense inside and sparse between."""
    torch.manual_seed(0)
    density = torch.full((4, 4), 0.02) + 0.18 * torch.eye(4)
    edge_index = stochastic_blockmodel_graph([50, 50, 50, 50], density)
    return Data(
        x=torch.randn(200, 16), edge_index=edge_index, group=torch.arange(4).repeat_interleave(50)
    )


def share_between_groups(data: Data) -> float:
    source, target = data.group[data.edge_index]
    return float((source != target).float().mean())


def main() -> None:
    data = synthetic_graph()
    view = DropEdgesByCommunity(0.4, generator=torch.Generator().manual_seed(1))(data)

    print(f"edges: {data.num_edges} -> {view.num_edges}")
    print(f"between groups: {share_between_groups(data):.1%} -> {share_between_groups(view):.1%}")
    print(f"still undirected: {view.is_undirected()}")


if __name__ == "__main__":
    main()
