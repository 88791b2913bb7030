"""Where the records of a training go beside `log.jsonl`: TensorBoard, MLflow, Weights & Biases.

The training loop knows `Sink` alone. A sink whose package is not installed costs nothing: its
module is imported when it is asked for.
"""

from graphcl.train.sinks.contract import Sink, Sinks, TrackedRun, scalars

SINKS: dict[str, str] = {
    "mlflow": "graphcl.train.sinks.mlflow:MLflow",
    "tensorboard": "graphcl.train.sinks.tensorboard:TensorBoard",
    "wandb": "graphcl.train.sinks.wandb:WandB",
}
"""Name, as `--track` takes it -> the class; each is built from a `TrackedRun`."""

__all__ = ["SINKS", "Sink", "Sinks", "TrackedRun", "scalars"]
