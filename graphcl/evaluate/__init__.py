"""Tasks of graph methods: how they load data, validate and test, under named protocols."""

TASKS = {
    "clustering": "graphcl.evaluate.clustering:Clustering",
    "heterogeneous-node-classification": (
        "graphcl.evaluate.heterogeneous_node_classification:HeterogeneousNodeClassification"
    ),
    "link-prediction": "graphcl.evaluate.link_prediction:LinkPrediction",
    "node-classification": "graphcl.evaluate.node_classification:NodeClassification",
}
"""Task name -> `module:Class`, as strings so that listing imports nothing."""
