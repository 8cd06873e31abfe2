"""The fixed points of earlier passes, as starts of later ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._options import check_count


class WarmStart(nn.Module):
    """The last fixed point of each sample of a data set, (N, n), found again by the sample's number.

    Between two passes over the data the weights have moved little, and with them the fixed points, so a solve that
    starts there takes fewer evaluations. It lives in buffers, so a state dict holds it and a resumed run goes on as it
    would have. In evaluation mode batches without numbers, such as test samples, start at w₀ and leave no trace.
    Where a sample has several fixed points, warm starts stay on the branch that was found first.

    Args:
        samples: N.
        state_size: n.
        dtype: of the states; torch's default if None.

    Attributes:
        states: the fixed points, (N, n).
        known: which of them have been found, (N,).
    """

    states: Tensor
    known: Tensor

    def __init__(self, samples: int, state_size: int, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        check_count("samples", samples, least=1)
        check_count("state_size", state_size, least=1)
        self.register_buffer("states", torch.zeros(samples, state_size, dtype=dtype))
        self.register_buffer("known", torch.zeros(samples, dtype=torch.bool))

    def start(self, index: Tensor, w0: Tensor) -> Tensor:
        """Where to start, (B, n): the known fixed points of the samples `index`, (B,), and w₀ for the others."""
        return torch.where(self.known[index].unsqueeze(1), self.states[index].to(w0), w0)

    def keep(self, index: Tensor, w: Tensor, converged: Tensor) -> None:
        """Notes the fixed points, (B, n), of the samples `index`, (B,); those not converged are forgotten."""
        with torch.no_grad():
            self.states[index] = w.detach().to(self.states)
            self.known[index] = converged

    def forget(self) -> None:
        """Begins anew, as where the weights have been replaced."""
        self.known.zero_()

    def check(self, index: Tensor | None, batch: int, state_size: int) -> Tensor | None:
        """The index, if it fits a batch; None if there is none in evaluation mode, where other samples may be solved.

        Raises:
            ValueError: it does not, or there is none.
        """
        samples, size = self.states.shape
        if size != state_size:
            raise ValueError(f"the warm start is of {size} state entries, the equilibrium of {state_size}.")
        if index is None:
            if not self.training:
                return None
            raise ValueError(
                "with a warm start the batch's samples must be named in training mode: give their numbers as index."
            )
        if index.dtype != torch.int64 or index.shape != (batch,):
            raise ValueError(
                f"index must hold {batch} sample numbers of type int64; it is {index.dtype} of shape "
                f"{tuple(index.shape)}."
            )
        if batch and not (int(index.min()) >= 0 and int(index.max()) < samples):
            raise ValueError(
                f"index must be in 0 … {samples - 1}, the samples of the warm start; it is in {int(index.min())} … "
                f"{int(index.max())}."
            )
        return index.to(self.states.device)
