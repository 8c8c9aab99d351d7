"""Histograms of activations that grow as values come in: many images, little memory."""

import torch
from torch import Tensor

_CANDIDATES = 200
_AT_ONCE = 1 << 24


class Histogram:
    """Values above zero in bins of one width per row, whose range doubles when a value lies beyond it.

    Nothing but the bins is kept, so any number of values may be added; a value is known up to the width of a bin, at
    most ``2 / bins`` of the row's highest value.

    Args:
        rows: histograms side by side, one for each channel or one for a layer.
        bins: of each row, an even number.
    """

    def __init__(self, rows: int, bins: int) -> None:
        self.bins = bins
        self.counts = torch.zeros(rows, bins, dtype=torch.float64)
        self.zeros = torch.zeros(rows, dtype=torch.float64)
        self.range = torch.zeros(rows, dtype=torch.float64)
        self.highest = torch.zeros(rows, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Count ``values`` (rows, n); those not above zero count as zero."""
        values = values.detach()
        top = values.amax(1).cpu().double().clamp_(min=0)
        self.highest = torch.maximum(self.highest, top)
        self.range = torch.where(self.range > 0, self.range, top)
        while bool((beyond := top > self.range).any()):
            merged = self.counts[beyond].view(-1, self.bins // 2, 2).sum(2)
            self.counts[beyond] = torch.cat([merged, torch.zeros_like(merged)], 1)
            self.range = torch.where(beyond, 2 * self.range, self.range)
        scale = torch.where(self.range > 0, self.bins / self.range, 0.0).to(values)
        place = values.mul(scale[:, None]).clamp_(0, self.bins - 1).long()
        place += torch.arange(len(values), device=values.device)[:, None] * self.bins
        positive = values > 0
        found = torch.bincount(place[positive], minlength=self.counts.numel())
        self.counts += found.view_as(self.counts).cpu()
        self.zeros += (values.shape[1] - positive.sum(1)).cpu()

    def find_percentile(self, percentile: float) -> Tensor:
        """The value below which ``percentile`` in a hundred values lie, zeros included; float64 (rows,), 0 to the
        highest value. Linear within a bin."""
        total = self.zeros + self.counts.sum(1)
        wanted = percentile / 100 * total - self.zeros
        reached = self.counts.cumsum(1)
        place = (reached < wanted[:, None]).sum(1).clamp_(max=self.bins - 1)
        inside = self.counts.gather(1, place[:, None])[:, 0]
        before = reached.gather(1, place[:, None])[:, 0] - inside
        share = torch.where(inside > 0, (wanted - before) / inside, 0.0).clamp_(0, 1)
        value = (place + share) * self.range / self.bins
        return torch.where(wanted > 0, torch.minimum(value, self.highest), 0.0)

    def fit_threshold(self, levels: int) -> Tensor:
        """The threshold whose staircase leaves the least square error, float64 (rows,); 0 where all values are zero.

        ``error(theta) = sum((x - theta / N * clip(floor(x N / theta + 1/2), 0, N))^2)``, for theta = 0.005, 0.01 .. 1
        times the highest value; the largest of equally good ones.
        """
        shares = (torch.arange(_CANDIDATES, dtype=torch.float64) + 1) / _CANDIDATES
        best = torch.zeros_like(self.highest)
        at_once = max(1, _AT_ONCE // (self.bins * _CANDIDATES))
        for start in range(0, len(self.counts), at_once):
            rows = slice(start, start + at_once)
            width = self.range[rows, None] / self.bins
            values = (torch.arange(self.bins, dtype=torch.float64) + 0.5) * width
            errors = [
                _measure_error(values, self.counts[rows], share * self.highest[rows, None], levels)
                for share in shares.flip(0)
            ]
            best[rows] = shares.flip(0)[torch.stack(errors).argmin(0)] * self.highest[rows]
        return best


def _measure_error(values: Tensor, counts: Tensor, threshold: Tensor, levels: int) -> Tensor:
    step = torch.where(threshold > 0, threshold / levels, 1.0)
    stairs = values.div(step).add_(0.5).floor_().clamp_(0, levels).mul_(step)
    return stairs.sub_(values).square_().mul_(counts).sum(1)
