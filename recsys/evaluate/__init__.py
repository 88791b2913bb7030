"""Tasks of recommenders. `TASKS` maps command-line names to classes, unimported."""

TASKS: dict[str, str] = {
    "ranking": "recsys.evaluate.ranking:Ranking",
    "next-item": "recsys.evaluate.next_item:NextItem",
    "cold-start": "recsys.evaluate.cold_start:ColdStart",
}

__all__ = ["TASKS"]
