"""Products of a few rows with a large matrix on the CPU, as fast as the matrix can be read.

MKL multiplies one row at the speed of memory, but from four rows on it repacks the whole matrix first, which costs more than
the product: a forward over four tokens took 1.5 to 2 times one over a single token, and 2.5 times in bfloat16. Our own
product (``thin.c``) takes 1.1 times one row (1.3 in bfloat16). Where it cannot be compiled, the float32 product is cut into
bands, a batch of small ones that MKL does not repack (1.4 times). The matrix stays where it is in both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wmtp.generation.compiled import Product, thin_product

BAND = 16  # rows of the matrix in one small product; 64 and more are slower where a row is long
FEWEST_BANDED, MOST_BANDED = 4, 32  # rows of input: below, nothing is repacked; above, arithmetic outweighs the reading
SMALLEST = 1 << 17  # elements of a matrix: one that the innermost caches hold gains nothing


class ThinLinear(nn.Linear):
    """`nn.Linear` with another way to compute the same product of a few rows."""

    def forward(self, input: Tensor) -> Tensor:
        # Not `self.weight`: a module's attributes take half a microsecond each, beside products of 50.
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        rows = input.numel() // self.in_features
        if weight is None or torch.is_grad_enabled() or not 0 < rows <= MOST_BANDED or not _fit(input, weight):
            return super().forward(input)
        product = thin_product()
        if product and rows <= product.most:
            out = _compiled(product, input, weight, rows)
        elif not product and rows >= FEWEST_BANDED:
            out = _banded(input, weight, rows)
        else:
            return super().forward(input)
        return out if bias is None else out + bias


def _fit(input: Tensor, weight: Tensor) -> bool:
    """Whether both are such as `read_matrices_once` chose: a model can be moved and converted afterwards."""
    return input.is_cpu and input.dtype is weight.dtype and _serves(weight)


def _serves(weight: Tensor) -> bool:
    dtypes = (torch.float32, torch.bfloat16) if thin_product() else (torch.float32,)
    return weight.is_cpu and weight.dtype in dtypes and weight.is_contiguous()


def _compiled(product: Product, input: Tensor, weight: Tensor, rows: int) -> Tensor:
    input = input.contiguous()
    outs, width = weight.shape
    out = input.new_empty(*input.shape[:-1], outs)
    product.multiply(
        input.data_ptr(), weight.data_ptr(), out.data_ptr(), rows, width, outs, weight.element_size(),
        torch.get_num_threads(),
    )  # fmt: skip
    return out


def _banded(input: Tensor, weight: Tensor, rows: int) -> Tensor:
    outs, width = weight.shape
    bands = outs // BAND
    # One view each: beside a product of 50 µs, every further one would be felt.
    matrices = weight.as_strided((bands, width, BAND), (BAND * width, 1, width))
    out = torch.bmm(input.reshape(1, rows, width).expand(bands, -1, -1), matrices)
    return out.transpose(0, 1).reshape(*input.shape[:-1], outs)


def read_matrices_once(model: nn.Module) -> None:
    """Makes the model's large linear layers `ThinLinear`, where that serves. Nothing else about them changes."""
    if not thin_product() and not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.Linear and _worth_it(module.weight):
            module.__class__ = ThinLinear


def _worth_it(weight: Tensor) -> bool:
    outs, width = weight.shape
    return _serves(weight) and outs * width >= SMALLEST and outs % BAND == 0 and width % 16 == 0
