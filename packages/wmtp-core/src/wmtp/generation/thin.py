"""Products of a few rows with a large matrix, float32 on the CPU, as fast as the matrix can be read.

MKL multiplies up to three rows straight from the matrix. From four on it repacks the whole matrix first, which costs more
than the product: a forward over four tokens took 1.5 to 2 times one over a single token. Cut into bands, the same product is
a batch of small ones, and those are not repacked (1.2 times). The matrix stays where it is: a band is a view.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BAND = 16  # rows of the matrix in one small product; 64 and more are slower where a row is long
FEWEST, MOST = 4, 32  # rows of input: below, nothing is repacked; above, the arithmetic outweighs the reading
SMALLEST = 1 << 17  # elements of a matrix: one that the innermost caches hold gains nothing


class ThinLinear(nn.Linear):
    """`nn.Linear` with another way to compute the same product of a few rows."""

    def forward(self, input: Tensor) -> Tensor:
        rows = input.numel() // self.in_features
        if not FEWEST <= rows <= MOST or torch.is_grad_enabled():
            return super().forward(input)
        width, bands = self.in_features, self.out_features // BAND
        # One view each: beside a product of 50 µs, every further one would be felt.
        matrices = self.weight.as_strided((bands, width, BAND), (BAND * width, 1, width))
        out = torch.bmm(input.reshape(1, rows, width).expand(bands, -1, -1), matrices)
        out = out.transpose(0, 1).reshape(*input.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias


def read_matrices_once(model: nn.Module) -> None:
    """Makes the model's large linear layers `ThinLinear`, if MKL is what multiplies them. Nothing else about them changes."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.Linear and _worth_it(module.weight):
            module.__class__ = ThinLinear


def _worth_it(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and weight.numel() >= SMALLEST
        and weight.shape[0] % BAND == 0
    )
