"""Semi-autoregressive diffusion without a cache: a step forwards the prompt and all blocks up to its own."""

from torch import Tensor

from ridgeline.capture.decoder.attention import View, Whole
from ridgeline.capture.modes.denoising import Denoising
from ridgeline.capture.steps import Kind


class SemiAutoregressive(Denoising):
    """A generation in mode `dlm_semi_ar`. With one block it is the same as `dlm_full`."""

    confident_everywhere = True

    def view(self, kind: Kind, positions: Tensor, visible: Tensor) -> View:
        """Return a view in which all forwarded positions see each other."""
        del kind, positions, visible
        return Whole()
