"""Semi-autoregressive diffusion without a cache: a step forwards the prompt and all blocks up to its own."""

from ridgeline.capture.modes.dlm_full import FullDiffusion


class SemiAutoregressive(FullDiffusion):
    """A generation in mode `dlm_semi_ar`: as `dlm_full`, but the schedule's steps are shorter.

    All forwarded positions see each other. With one block it is the same as `dlm_full`.
    """
