"""One point of a sweep: everything that decides what is run."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

Mode = Literal["ar", "dlm_full", "dlm_semi_ar", "dlm_block_prefix", "dlm_block_dual", "dlm_block_causal"]
MOST = 10_000_000
LARGEST_SEED = 2**63 - 1
MOST_FLOAT = 1e6
Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Scale = Annotated[float, msgspec.Meta(ge=0, le=MOST_FLOAT)]
Above0 = Annotated[float, msgspec.Meta(gt=0, le=MOST_FLOAT)]
Probability = Annotated[float, msgspec.Meta(gt=0, le=1)]

ITEM_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
IRRELEVANT: dict[str, frozenset[str]] = {
    **{mode: frozenset({"variant"}) for mode in get_args(Mode) if mode != "dlm_block_dual"},
    "ar": frozenset({"block", "steps", "schedule", "threshold", "factor", "variant", "guidance", "remasking"}),
}
"""Keys that mean nothing to a mode: they are dropped, so that a list of them does not multiply its points."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a sweep. Lengths are in tokens, for each sequence. `name` and `experiment` are labels, no more.

    - `block` is how many positions a diffusion mode decodes together, `steps` its denoising steps over all blocks. How
      many tokens a step commits is an even share, or what `schedule` says for the steps of each block, or as many as
      are sure enough: at least `threshold`, or by Fast-dLLM's `factor`. With those two `steps` is None.
    - `variant` says which costs of Fast-dLLM's published code `dlm_block_dual` pays: `unrotated` keys in its cache,
      `synchronous` waits of the host, or, `faithful`, both and a softmax in float64.
    - `guidance` is the scale of classifier-free guidance, and `sampling` the precision of softmax, confidence and
      Gumbel noise. LLaDA's published code draws its noise in float64: that is `fp64`; see `sampling.Sampler`.
    - `layers`, `heads` and `kv_heads` take the place of the preset's; see `presets.shape_of`.
    - `counted` says which hardware counters are read, where any are: those of `memory`, besides them those of the
      `tensor` units and the L1, or `all`, with the FLOPs of vector instructions. Each set takes a window of its own.
    - `beyond_training` lets a sequence be longer than what the model was trained for: times and bytes are as real, its
      text would not be. Of a point it says that it is.
    - `linear` is what the seven products of every layer compute with: numbers of the model's `dtype`, or of 8 bits with
      a scale for each output and each token; see `quantization`.
    - `attention` is the backend of scaled dot product attention; `block_sparse`, of `dlm_full`, sees up to `window`
      positions either side and the first of all; see `sparsity`. With another, `window` means nothing: it is dropped.
    - `fused` makes one matrix product of queries, keys and values, and one of gate and up; None is as `execution` does.
    """

    model: str
    mode: Mode
    prompt_tokens: Positive
    generated_tokens: Positive
    batch: Positive = 1
    block: Positive | None = None
    steps: Positive | None = None
    schedule: tuple[Positive, ...] | None = None
    threshold: Probability | None = None
    factor: Above0 | None = None
    variant: Literal["clean", "unrotated", "synchronous", "faithful"] = "clean"
    guidance: Scale = 0.0
    temperature: Scale = 0.0
    remasking: Literal["confidence", "random"] = "confidence"
    sampling: Literal["model", "fp32", "fp64"] = "fp32"
    layers: Positive | None = None
    heads: Positive | None = None
    kv_heads: Positive | None = None
    dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    linear: Literal["model", "fp8", "int8"] = "model"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    repeats: Positive = 3
    execution: Literal["eager", "cuda_graph", "compile"] = "eager"
    attention: Literal["auto", "flash", "cudnn", "efficient", "math", "block_sparse"] = "auto"
    window: Positive | None = None
    fused: bool | None = None
    counted: Literal["memory", "tensor", "all"] = "memory"
    beyond_training: bool = False
    checkpoint: str | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_SEED)] = 0
    experiment: str = "default"
    name: str = ""

    @property
    def length(self) -> int:
        """Positions a sequence ends with: prompt and generated tokens."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def blocks(self) -> int:
        """How many blocks a generation has; 0 where a mode has none."""
        return self.generated_tokens // self.block if self.block is not None else 0

    @property
    def sequences(self) -> int:
        """Sequences of a forward: the batch, and with guidance each once more without its prompt."""
        return self.batch * (2 if self.guidance else 1)

    @property
    def adaptive(self) -> bool:
        """Whether the model's confidence decides how many tokens a step commits."""
        return self.threshold is not None or self.factor is not None

    @property
    def directory(self) -> str:
        """The run's directory: `name` where given, else what is run: `llama-3-8b_ar_p1024_g128_b1_bf16_eager`."""
        if self.name:
            return self.name
        parts = [self.model, self.mode, f"p{self.prompt_tokens}", f"g{self.generated_tokens}", f"b{self.batch}"]
        parts += [f"block{self.block}"] if self.block is not None else []
        parts += [f"k{self.steps}"] if self.steps is not None else []
        parts += [*self._acceptance_parts(), *self._choice_parts(), self.dtype, self.execution]
        parts += [f"seed{self.seed}"] if self.seed else []
        parts += [f"checkpoint-{Path(self.checkpoint).name}"] if self.checkpoint is not None else []
        return "_".join(parts)

    def _acceptance_parts(self) -> list[str]:
        """What a directory says of tokens and how they are taken, beyond the defaults."""
        numbers = {
            "t": self.threshold,
            "f": self.factor,
            "cfg": self.guidance or None,
            "temp": self.temperature or None,
        }
        parts = [f"s{'-'.join(map(str, self.schedule))}"] if self.schedule is not None else []
        parts += [f"{letter}{number:.15g}" for letter, number in numbers.items() if number is not None]
        parts += [self.remasking] if self.remasking != "confidence" else []
        sampling = "fp64" if self.sampling == "fp64" else f"sampling-{self.sampling}"
        return parts + ([sampling] if self.sampling != default_sampling(self.variant) else [])

    def _choice_parts(self) -> list[str]:
        """What a directory says of the model and how it is run, beyond the defaults."""
        numbers = {"layers": self.layers, "heads": self.heads, "kv": self.kv_heads}
        parts: list[str] = [self.variant] if self.variant != "clean" else []
        parts += [f"{word}{number}" for word, number in numbers.items() if number is not None]
        parts += [f"linear-{self.linear}"] if self.linear != "model" else []
        parts += [f"attn-{self.attention}"] if self.attention != "auto" else []
        parts += [f"window{self.window}"] if self.window is not None else []
        usual = default_fused(self.execution)
        return parts + (["fused" if self.fused else "unfused"] if self.fused not in (None, usual) else [])


def default_sampling(variant: str) -> str:
    """The precision of softmax and confidence where none is asked for: Fast-dLLM's published code takes float64."""
    return "fp64" if variant == "faithful" else "fp32"


def default_fused(execution: str) -> bool:
    """Whether projections are fused where nothing is asked for."""
    return execution == "compile"
