"""A generation in progress: what all decoding modes share."""

from torch import Tensor

from ridgeline.capture.configuration.points import Point
from ridgeline.capture.decoder.canvas import Canvas
from ridgeline.capture.decoder.decoder import Decoder
from ridgeline.capture.decoder.sampling import Sampler
from ridgeline.capture.measuring.labels import Labels
from ridgeline.capture.steps import Kind, Step, schedule


class Generation:
    """The steps of a generation, to be run in order, and its tokens on the device of `decoder`.

    In an `adaptive` generation the caller skips a step if `finished` is true for it, and calls `learn` after each step,
    which waits for the device. `cache_bytes` are the bytes of the key and value cache. `README.md` documents what a
    mode of one's own defines.
    """

    adaptive = False
    cache_bytes = 0

    def __init__(self, decoder: Decoder, point: Point, labels: Labels) -> None:
        self.steps = self.schedule(point)
        self.canvas = Canvas(decoder, point, self.steps)
        self.decoder, self.labels = decoder, labels
        self.sampler = Sampler(point, decoder.dtype)
        self._logits_rows = point.sequences * max(step.query for step in self.steps)

    @staticmethod
    def schedule(point: Point) -> list[Step]:
        """Return the steps of a generation of `point`. It needs no decoder, so that `--dry-run` may call it.

        Raises ConfigError for a mode of one's own that does not define it.
        """
        return schedule(point)

    @property
    def committed(self) -> int:
        """The tokens decided so far, over the batch. It waits for the device."""
        return int((~self.canvas.masked[:, self.canvas.prompt :]).sum())

    @property
    def logits_bytes(self) -> int:
        """Bytes of the largest logits of a step."""
        return self._logits_rows * self.decoder.shape.vocabulary * self.decoder.dtype.itemsize

    def reset(self) -> None:
        """Return to the prompt and keep all allocated memory. Every slot of a cache is written before it is read."""
        self.canvas.reset()

    def place(self, step: Step) -> None:
        """Copy what differs between steps of a shape to the device, before `work`. Steps run in order."""
        self.canvas.place(step)

    def work(self, kind: Kind, offsets: Tensor, visible: Tensor) -> None:
        """Issue the work of the placed step, without waiting for the device unless the mode is defined to wait.

        `offsets` `[query]` and `visible` `[context]` count from 0. The host passes only their lengths, so that one
        CUDA graph serves every step of the same shape.
        """
        raise NotImplementedError

    def learn(self, step: Step) -> None:
        """In adaptive generations, wait for the device and record whether the block of `step` is decided."""

    def finished(self, step: Step) -> bool:
        """Whether `step` can be skipped, as far as `learn` has recorded."""
        del step
        return False
