"""One point of a sweep: all settings that decide what is run."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from ridgeline.capture.configuration.shape import Positive, Shape

Mode = Literal["ar", "dlm_full", "dlm_semi_ar", "dlm_block_prefix", "dlm_block_dual", "dlm_block_causal"]
DERIVED = ("shape", "mode_sha256", "prompts_sha256", "folder", "tokenizer")
"""Fields that are no keys of a configuration: `points` derives them from the keys and from the files they name."""

LOCAL = ("folder", "tokenizer")
"""Fields that hold paths of this machine. They are never stored."""

# The largest seed is the largest integer of TOML.
LARGEST_SEED = 2**63 - 1
MOST_FLOAT = 1e6
Scale = Annotated[float, msgspec.Meta(ge=0, le=MOST_FLOAT)]
Above0 = Annotated[float, msgspec.Meta(gt=0, le=MOST_FLOAT)]
Probability = Annotated[float, msgspec.Meta(gt=0, le=1)]

ITEM_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
IRRELEVANT: dict[str, frozenset[str]] = {
    # Only dlm_block_dual has variants.
    **{mode: frozenset({"variant"}) for mode in get_args(Mode) if mode != "dlm_block_dual"},
    "ar": frozenset({"block", "steps", "schedule", "threshold", "factor", "variant", "guidance", "remasking"}),
}
"""Keys that a mode ignores. They are dropped, so that a list of their values does not multiply the mode's points."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a sweep. Lengths are in tokens per sequence. `name` and `experiment` are labels only.

    - `block` is the number of positions that a diffusion mode decodes together, `steps` its denoising steps over all
      blocks. A step commits an even share of its block; or what `schedule` lists for the steps of each block; or every
      token whose confidence is at least `threshold`, or high enough by Fast-dLLM's `factor`. With the last two `steps`
      is None.
    - `variant` says which costs of Fast-dLLM's published code `dlm_block_dual` pays: `unrotated` keys in its cache,
      `synchronous` waits of the host, or, `faithful`, both and a softmax in float64.
    - `guidance` is the scale of classifier-free guidance. `sampling` is the precision of softmax, confidence and Gumbel
      noise; LLaDA's published code draws its noise in float64, which is `fp64`. See `sampling.Sampler`.
    - `mode` is one of `Mode`, or a mode of one's own as `package.module:Start`; see `modes/README.md`. Its module is
      looked for in `folder`, the folder of the configuration, first; `mode_sha256` is the SHA-256 of its file there.
    - `prompts` is a JSONL file; see `prompts`. Its SHA-256 is `prompts_sha256`, and `tokenizer` is the directory whose
      tokenizer.json encodes its text. None makes random prompts.
    - `shape` is the shape of a `model` that is no preset; see `models`. `layers`, `heads` and `kv_heads` replace those
      of the model; see `presets.shape_of`.
    - `counted` selects hardware counters: `memory` counts DRAM and L2 bytes, `tensor` adds tensor operations and L1
      bytes, `all` adds the FLOPs of vector instructions. Each set of counters needs a window of its own.
    - `beyond_training` permits sequences longer than the model was trained for. Times and bytes are valid then, the
      text is not. In a point it is true only for such sequences.
    - `linear` is the precision of the seven matrix products of a layer: the model's `dtype`, or 8 bits with a scale for
      each output and each token; see `quantization`.
    - `attention` is the backend of scaled dot product attention. `block_sparse`, for `dlm_full` only, attends to
      `window` positions on either side and to the first block; see `sparsity`. Other backends drop `window`.
    - `fused` computes queries, keys and values in one matrix product, and gate and up in another. None means the
      default of `execution`.
    """

    # The order of the fields is the order of the axes of a sweep: the last one that is a list varies fastest.
    model: str
    mode: str
    prompts: str | None = None
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
    shape: Shape | None = None
    mode_sha256: str | None = None
    prompts_sha256: str | None = None
    folder: str = ""
    tokenizer: str | None = None

    @property
    def built_in(self) -> bool:
        """Whether the mode is one of Ridgeline's, whose steps are known without loading a module."""
        return self.mode in get_args(Mode)

    @property
    def length(self) -> int:
        """Positions of a finished sequence: prompt and generated tokens."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def blocks(self) -> int:
        """Blocks of a generation; 0 for a mode without blocks."""
        return self.generated_tokens // self.block if self.block is not None else 0

    @property
    def sequences(self) -> int:
        """Sequences of a forward: the batch, which guidance doubles by a copy without the prompt."""
        return self.batch * (2 if self.guidance else 1)

    @property
    def adaptive(self) -> bool:
        """Whether confidence decides how many tokens a step commits."""
        return self.threshold is not None or self.factor is not None

    @property
    def directory(self) -> str:
        """The run's directory: `name` if set, else its settings: `llama-3-8b_ar_p1024_g128_b1_bf16_eager`.

        Settings with a default are named only where they differ from it.
        """
        if self.name:
            return self.name
        sampling = "fp64" if self.sampling == "fp64" else f"sampling-{self.sampling}"
        fused = None if self.fused in (None, default_fused(self.execution)) else "fused" if self.fused else "unfused"
        parts: list[tuple[str, Any]] = [
            ("", self.model), ("", self.mode.replace(":", ".")),
            ("p", self.prompt_tokens), ("g", self.generated_tokens), ("b", self.batch),
            ("block", self.block), ("k", self.steps),
            ("s", "-".join(map(str, self.schedule)) if self.schedule is not None else None),
            ("t", self.threshold), ("f", self.factor), ("cfg", self.guidance or None),
            ("temp", self.temperature or None),
            ("", self.remasking if self.remasking != "confidence" else None),
            ("", sampling if self.sampling != default_sampling(self.variant) else None),
            ("", self.variant if self.variant != "clean" else None),
            ("layers", self.layers), ("heads", self.heads), ("kv", self.kv_heads),
            ("linear-", self.linear if self.linear != "model" else None),
            ("attn-", self.attention if self.attention != "auto" else None),
            ("window", self.window), ("", fused), ("", self.dtype), ("", self.execution), ("seed", self.seed or None),
            ("checkpoint-", Path(self.checkpoint).name if self.checkpoint is not None else None),
            ("prompts-", Path(self.prompts).stem if self.prompts is not None else None),
        ]  # fmt: skip
        # 0.9 is written as 0.9, and 1.0 as 1.
        return "_".join(
            f"{prefix}{value:.15g}" if isinstance(value, float) else f"{prefix}{value}"
            for prefix, value in parts
            if value is not None
        )


def default_sampling(variant: str) -> str:
    """Return the default precision of softmax and confidence; Fast-dLLM's published code uses float64."""
    return "fp64" if variant == "faithful" else "fp32"


def default_fused(execution: str) -> bool:
    """Return the default of `fused`."""
    return execution == "compile"
