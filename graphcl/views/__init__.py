"""Views of a graph: each a pure function and a PyG transform that applies it to a `Data`.

`VIEWS` names the transforms. A view is added by one file and one line in that table.
"""

from torch_geometric.transforms import BaseTransform

from graphcl.views.add_centrality import AddCentrality
from graphcl.views.add_communities import AddCommunities, node_communities
from graphcl.views.centrality import node_centrality
from graphcl.views.diffuse import DiffuseEdges, diffuse_edges
from graphcl.views.drop_edges import DropEdges, drop_edges, drop_edges_with_probability
from graphcl.views.drop_edges_by_centrality import (
    DropEdgesByCentrality,
    centrality_keep_probability,
    drop_edges_by_centrality,
)
from graphcl.views.drop_edges_by_community import (
    DropEdgesByCommunity,
    community_keep_probability,
    drop_edges_by_community,
)
from graphcl.views.drop_nodes import DropNodes, drop_nodes
from graphcl.views.low_rank import LowRank, LowRankView, low_rank_view
from graphcl.views.mask_features import (
    MaskFeatures,
    feature_mask_probability,
    mask_features,
    mask_features_with_probability,
)
from graphcl.views.mask_features_by_centrality import MaskFeaturesByCentrality
from graphcl.views.mask_features_by_community import (
    MaskFeaturesByCommunity,
    community_mask_probability,
    mask_features_by_community,
)
from graphcl.views.nearest_neighbours import NearestNeighbours, nearest_neighbours
from graphcl.views.sample_subgraph import SampleSubgraph, sample_subgraph

VIEWS: dict[str, type[BaseTransform]] = {
    "DiffuseEdges": DiffuseEdges,
    "DropEdges": DropEdges,
    "DropEdgesByCentrality": DropEdgesByCentrality,
    "DropEdgesByCommunity": DropEdgesByCommunity,
    "DropNodes": DropNodes,
    "LowRankView": LowRankView,
    "MaskFeatures": MaskFeatures,
    "MaskFeaturesByCentrality": MaskFeaturesByCentrality,
    "MaskFeaturesByCommunity": MaskFeaturesByCommunity,
    "NearestNeighbours": NearestNeighbours,
    "SampleSubgraph": SampleSubgraph,
}

__all__ = [
    "VIEWS",
    "AddCentrality",
    "AddCommunities",
    "DiffuseEdges",
    "DropEdges",
    "DropEdgesByCentrality",
    "DropEdgesByCommunity",
    "DropNodes",
    "LowRank",
    "LowRankView",
    "MaskFeatures",
    "MaskFeaturesByCentrality",
    "MaskFeaturesByCommunity",
    "NearestNeighbours",
    "SampleSubgraph",
    "centrality_keep_probability",
    "community_keep_probability",
    "community_mask_probability",
    "diffuse_edges",
    "drop_edges",
    "drop_edges_by_centrality",
    "drop_edges_by_community",
    "drop_edges_with_probability",
    "drop_nodes",
    "feature_mask_probability",
    "low_rank_view",
    "mask_features",
    "mask_features_by_community",
    "mask_features_with_probability",
    "nearest_neighbours",
    "node_centrality",
    "node_communities",
    "sample_subgraph",
]
