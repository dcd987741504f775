"""Products of a few rows with a large matrix on the CPU, as fast as the matrix can be read.

MKL multiplies one row at the speed of memory, but from four rows on it repacks the whole matrix first, which costs more than
the product: a forward over four tokens took 1.5 to 2 times one over a single token, and 2.5 times in bfloat16. Our own
product (``skinny_gemm.c``) takes 1.1 times one row (1.3 in bfloat16). Where it cannot be compiled, the float32 product
is cut into bands, a batch of small ones that MKL does not repack (1.4 times). The matrix stays where it is in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeGuard

import torch
from torch import Tensor, nn

from wmtp.generation.kernels.native import Product, skinny_product

BAND = 16  # rows of the matrix in one small product; 64 and more are slower where a row is long
FEWEST_BANDED, MOST_BANDED = 4, 32  # rows of input: below, nothing is repacked; above, arithmetic outweighs the reading
SMALLEST = 1 << 17  # elements of a matrix: one that the innermost caches hold gains nothing


class SkinnyLinear(nn.Linear):
    """`nn.Linear` with another way to compute the same product of a few rows, in inference mode. See `skinny_products`."""

    def forward(self, input: Tensor) -> Tensor:
        # Not `self.weight`: a module's attributes take half a microsecond each, beside products of 50.
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        if weight is None or not torch.is_inference_mode_enabled() or not _fits(input, weight):
            return super().forward(input)
        rows, product = input.numel() // weight.shape[1], skinny_product()
        if product and 0 < rows <= product.most:
            return _compiled(product, input, weight, bias, rows)
        if not product and FEWEST_BANDED <= rows <= MOST_BANDED:
            out = _banded(input, weight, rows)
            return out if bias is None else out + bias
        return super().forward(input)


def _fits(input: Tensor, weight: Tensor) -> bool:
    """Whether an input is a plain tensor that this matrix takes: C asks no questions."""
    return (
        type(input) is Tensor
        and input.dtype is weight.dtype
        and input.is_cpu
        and input.dim() > 0
        and input.shape[-1] == weight.shape[1]
        and not torch.is_autocast_enabled("cpu")
    )


def _compiled(product: Product, input: Tensor, weight: Tensor, bias: Tensor | None, rows: int) -> Tensor:
    input = input.contiguous()
    outs, width = weight.shape
    out = input.new_empty(*input.shape[:-1], outs)
    product.multiply(
        input.data_ptr(), weight.data_ptr(), None if bias is None else bias.data_ptr(), out.data_ptr(), rows, width, outs,
        weight.element_size(), torch.get_num_threads(),
    )  # fmt: skip
    return out


def _banded(input: Tensor, weight: Tensor, rows: int) -> Tensor:
    outs, width = weight.shape
    bands = outs // BAND
    # One view each: beside a product of 50 µs, every further one would be felt.
    matrices = weight.as_strided((bands, width, BAND), (BAND * width, 1, width))
    out = torch.bmm(input.reshape(1, rows, width).expand(bands, -1, -1), matrices)
    return out.transpose(0, 1).reshape(*input.shape[:-1], outs)


def large_layers(model: nn.Module) -> list[nn.Linear]:
    """The linear layers of a model for which `skinny_products` is worth it."""
    return [module for module in model.modules() if _worth_it(module)]


@contextmanager
def skinny_products(layers: Sequence[nn.Module]) -> Iterator[None]:
    """The layers are `SkinnyLinear` meanwhile, but for those that have become something else since they were chosen.

    Afterwards they are what they were: what saves, prunes or quantizes a model goes by their class.
    """
    chosen = [layer for layer in layers if _worth_it(layer)]
    for layer in chosen:
        layer.__class__ = SkinnyLinear
    try:
        yield
    finally:
        for layer in chosen:
            layer.__class__ = nn.Linear


def _worth_it(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a plain linear layer with a large matrix, of a type and shape that the product is written for."""
    weight = module._parameters.get("weight")
    if type(module) is not nn.Linear or type(weight) is not nn.Parameter or weight.numel() < SMALLEST:
        return False
    bias = module._parameters.get("bias")
    if bias is not None and not (
        type(bias) is nn.Parameter
        and bias.is_cpu
        and bias.dtype == weight.dtype
        and bias.is_contiguous()
        and bias.shape == weight.shape[:1]
    ):
        return False
    compiled = skinny_product() is not None
    return (
        weight.is_cpu
        and (weight.dtype == torch.float32 or (compiled and weight.dtype == torch.bfloat16))
        and (compiled or torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]
        and weight.is_contiguous()
        and weight.shape[0] % BAND == 0
        and weight.shape[1] % 16 == 0
    )
