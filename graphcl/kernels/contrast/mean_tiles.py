"""Mean logits over tiles: running maximum forward, weights recomputed in backward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from graphcl.kernels.contrast.once import differentiable_once
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.tiles import plan_of
from graphcl.kernels.contrast.walk import Plan, fill, tile_view

# e^x is 0 from here on in both dtypes; a finite stand-in for -inf, since 0 * -inf is NaN.
_VANISHED = -1000.0


def tiled_mean_logit(problem: Problem, tile: int) -> tuple[Tensor, Tensor]:
    """Denominator and mean of every row; differentiable once.

    The gradient of a mean is not symmetric in rows and columns, so every tile is
    computed even when the key is the query: 2MNd forward, 6MNd backward.
    """
    key = problem.query if problem.key is None else problem.key
    if 0 in problem.shape:
        connected = 0.0 * (problem.query.sum(dim=1) + key.sum())
        return connected - torch.inf, connected
    plan = plan_of(replace(problem, key=key), tile)
    return _TiledMeanLogit.apply(problem.query, key, problem.scale, problem.key_bias, plan)


class _TiledMeanLogit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, scale: Tensor, bias: Tensor | None, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        largest = query.new_full((plan.shape[0],), -torch.inf)
        # Sums of e^{l - largest} and of e^{l - largest} (l - largest): relative to the
        # largest logit, so that the mean of large, nearly equal logits keeps its digits.
        total, moment = torch.zeros_like(largest), torch.zeros_like(largest)
        buffer = plan.scratch(key)
        for tile in plan.walk(query, key, scale):
            i, j = tile.rows, tile.columns
            logits = tile.products
            if bias is not None:
                logits += bias[j]
            fill(logits, tile.row_excluded, -torch.inf)
            before = largest[i]
            after = torch.maximum(before, logits.amax(dim=1))
            shift = torch.where(torch.isneginf(after), 0.0, after)
            fall = (before - shift).clamp_min(_VANISHED)
            logits.sub_(shift[:, None]).clamp_min_(_VANISHED)
            weight = torch.exp(logits, out=tile_view(buffer, i, j))
            kept = fall.exp()
            moment[i] = kept * (moment[i] + fall * total[i]) + torch.linalg.vecdot(weight, logits)
            total[i] = kept * total[i] + weight.sum(dim=1)
            largest[i] = after
        denominator = largest + total.log()
        mean = torch.where(torch.isneginf(denominator), 0.0, largest + moment / total)
        ctx.save_for_backward(query, key, scale, bias, denominator, mean)
        ctx.plan = plan
        return denominator, mean

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, to_denominator: Tensor, to_mean: Tensor) -> tuple[Tensor | None, ...]:
        query, key, scale, bias, denominator, mean = ctx.saved_tensors
        plan: Plan = ctx.plan
        wanted = ctx.needs_input_grad
        empty = torch.isneginf(denominator)
        shift = denominator.masked_fill(empty, torch.inf)
        # G = p (gL + gM (1 + l - M)), with l - M taken relative to the denominator.
        offset = (denominator - mean).masked_fill(empty, 0.0)
        slope = to_mean.masked_fill(empty, 0.0)
        constant = to_denominator.masked_fill(empty, 0.0) + slope * (1.0 + offset)
        of_query = torch.zeros_like(query) if wanted[0] or wanted[2] else None
        of_key = torch.zeros_like(key) if wanted[1] else None
        of_bias = torch.zeros_like(bias) if wanted[3] else None
        buffer = plan.scratch(key)
        for tile in plan.walk(query, key, scale):
            i, j = tile.rows, tile.columns
            logits = tile.products
            if bias is not None:
                logits += bias[j]
            logits.sub_(shift[i, None])
            fill(logits, tile.row_excluded, -torch.inf).clamp_min_(_VANISHED)
            weight = torch.exp(logits, out=tile_view(buffer, i, j))
            block = logits.mul_(slope[i, None]).add_(constant[i, None]).mul_(weight)
            if of_bias is not None:
                of_bias[j] += block.sum(dim=0)
            if of_query is not None:
                of_query[i].addmm_(block, key[j])
            if of_key is not None:
                of_key[j].addmm_(block.T, query[i])
        to_scale = None
        if wanted[2] and of_query is not None:
            to_scale = torch.vdot(of_query.view(-1), query.reshape(-1))
        return (
            of_query.mul_(scale) if wanted[0] and of_query is not None else None,
            of_key.mul_(scale) if of_key is not None else None,
            to_scale,
            of_bias,
            None,
        )
