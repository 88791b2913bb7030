"""Two views, one encoder, one loss, in a plain PyTorch loop of your own.

    python examples/contrast_in_your_own_loop.py

Any encoder will do; here it is PyG's. Nothing is downloaded.
"""

import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import Compose
from torch_geometric.utils import stochastic_blockmodel_graph

from graphcl.losses import InfoNCE
from graphcl.views import DropEdges, MaskFeatures


def synthetic_graph() -> Data:
    """Four groups of 50 nodes, dense inside and sparse between, with noisy features."""
    group = torch.arange(4).repeat_interleave(50)
    density = torch.full((4, 4), 0.03) + 0.17 * torch.eye(4)
    x = torch.eye(4)[group].repeat(1, 8) * 0.3 + torch.randn(200, 32)
    return Data(x=x, edge_index=stochastic_blockmodel_graph([50] * 4, density), group=group)


def agreement_of_neighbours(z: torch.Tensor, group: torch.Tensor) -> float:
    """Share of nodes whose nearest other node by cosine is of their own group."""
    z = torch.nn.functional.normalize(z, dim=1)
    similarity = (z @ z.T).fill_diagonal_(-1)
    return float((group[similarity.argmax(dim=1)] == group).float().mean())


def main() -> None:
    torch.manual_seed(0)
    data = synthetic_graph()
    encoder = GCNConv(32, 16)
    make_view = Compose([DropEdges(0.3), MaskFeatures(0.3)])
    loss = InfoNCE(temperature=0.5, intra_view=True)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)

    print(
        f"nearest neighbour of the own group, features: "
        f"{agreement_of_neighbours(data.x, data.group):.2f}"
    )
    for epoch in range(1, 61):
        views = make_view(data), make_view(data)
        z1, z2 = (encoder(view.x, view.edge_index) for view in views)
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if epoch % 20 == 0:
            print(f"epoch {epoch}: loss {value.item():.3f}")
    z = encoder(data.x, data.edge_index).detach()
    print(
        f"nearest neighbour of the own group, embedding: "
        f"{agreement_of_neighbours(z, data.group):.2f}"
    )


if __name__ == "__main__":
    main()
