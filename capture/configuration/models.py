"""What a configuration's key `model` names: a preset, a `[models.NAME]` table, or a Hugging Face directory.

    [models.mine]                # a shape of one's own, with the keys of presets.toml
    hidden = 2048
    layers = 16
    heads = 16
    ffn = 5632
    vocabulary = 32000

Of the keys of `presets.Shape` a table needs these five. By default the layout is `llama`, there are as many kv_heads as
heads, and mask_id is the last id of the vocabulary.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from ridgeline.capture.configuration import huggingface
from ridgeline.capture.configuration.presets import PRESETS
from ridgeline.capture.configuration.shape import Layout, Shape
from ridgeline.capture.configuration.values import literal, nearest, typed
from ridgeline.capture.errors import ConfigError

KEYS = {field.encode_name: field for field in msgspec.structs.fields(Shape) if field.name != "name"}
NEEDED = ("hidden", "layers", "heads", "ffn", "vocabulary")
CANVAS = ("experts", "experts_per_token", "moe_ffn", "sliding_window", "global_head_dim", "declared_parameters")
"""The keys of the layout `diffusion_gemma`, which needs all of them; other layouts have none of them."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model by its name. `shape` is None for a preset; `directory` is where its config.json is, if anywhere."""

    name: str
    shape: Shape | None = None
    directory: Path | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The directory, if it holds weights as safetensors."""
        held = self.directory is not None and any(self.directory.glob("*.safetensors"))
        return self.directory if held else None


class Models(Collection[str]):
    """The models of a configuration. It iterates over their names, and contains paths of directories as well."""

    def __init__(self, tables: Any, folder: Path, where: str) -> None:
        """`tables` is the value of the key `models`; directories are relative to `folder`.

        Raises ConfigError, with `where` in front, for a table that describes no shape.
        """
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise ConfigError(f"{where}: models is {typed(tables)}; expected [models.NAME] tables.")
        self._own = {name: own_shape(name, table, where) for name, table in tables.items()}
        self._folder, self._read = folder, dict[str, Model]()

    def __iter__(self) -> Iterator[str]:
        yield from PRESETS
        yield from self._own

    def __len__(self) -> int:
        return len(PRESETS) + len(self._own)

    def __contains__(self, value: object) -> bool:
        """Whether `found` answers to a value: a name, a directory, or anything that is written as a path."""
        if not isinstance(value, str) or not value:
            return False
        return value in PRESETS or value in self._own or "/" in value or (self._folder / value).is_dir()

    def found(self, value: str, where: str) -> Model:
        """Return the model that `value` names. Raises ConfigError for a directory that cannot be run."""
        if value in PRESETS:
            return Model(name=value)
        if value in self._own:
            return Model(name=value, shape=self._own[value])
        if value not in self._read:
            directory = (self._folder / Path(value).expanduser()).resolve()
            if not directory.is_dir():
                raise ConfigError(
                    f"{where}: model = {literal(value)} is no directory; expected a Hugging Face directory, relative "
                    "to the configuration."
                )
            where = f"{where}: model = {literal(value)}"
            _check_name(directory.name, where)
            self._read[value] = Model(
                name=directory.name, shape=huggingface.shape_in(directory, where), directory=directory
            )
        return self._read[value]


def own_shape(name: str, table: Mapping[str, Any], where: str) -> Shape:
    """Return the shape that a `[models.NAME]` table describes.

    Raises ConfigError, with `where` in front, for an unknown or missing key, a wrong value, and the name of a preset.
    """
    _check_name(name, f"{where}, models")
    where = f"{where}, models.{name}"
    if name in PRESETS:
        raise ConfigError(f"{where} is the name of a preset; expected another name.")
    for key in table:
        if key not in KEYS:
            near = nearest(key, KEYS)
            hint = f'did you mean "{near}"?' if near else f"expected one of {', '.join(KEYS)}."
            raise ConfigError(f'{where}: unknown key "{key}"; {hint}')
    for key in NEEDED:
        if key not in table:
            raise ConfigError(f"{where}: {key} is missing; expected an integer.")
    defaults = {"layout": "llama", "kv_heads": table["heads"], "source": "the configuration"}
    if isinstance(table["vocabulary"], int):
        defaults["mask_id"] = table["vocabulary"] - 1
    values = {**defaults, **table}
    for key, value in values.items():
        _check_value(key, value, where)
    shape = msgspec.convert({**values, "name": name}, Shape)
    if message := _problem(shape):
        raise ConfigError(f"{where}: {message}.")
    return shape


def _check_value(key: str, value: Any, where: str) -> None:
    """Raise ConfigError for a value that a key of a shape does not accept."""
    try:
        msgspec.convert(value, KEYS[key].type)
    except msgspec.ValidationError as error:
        # "Expected `int` >= 1", without the place inside of the value
        expected = str(error).partition(" - at")[0].replace("`", "").removeprefix("Expected ")
        if key == "layout":
            expected = f"one of {', '.join(get_args(Layout))}"
        raise ConfigError(f"{where}: {key} = {literal(value)}; expected {expected}.") from None


def _problem(shape: Shape) -> str | None:
    """Return why the values of a shape contradict each other, or None. A point's checks find the others."""
    canvas = [key for key in CANVAS if getattr(shape, key) is not None]
    if shape.layout == "diffusion_gemma":
        missing = [key for key in CANVAS if key not in canvas]
        return f'layout = "diffusion_gemma" lacks {", ".join(missing)}; expected these keys' if missing else None
    if canvas:
        return f'{canvas[0]} is set with layout = "{shape.layout}"; expected it with "diffusion_gemma" only'
    if shape.mask_id >= shape.vocabulary:
        return f"mask_id = {shape.mask_id} is no id of {shape.vocabulary}; expected at most {shape.vocabulary - 1}"
    return None


def _check_name(name: str, where: str) -> None:
    """Raise ConfigError for a model's name that cannot begin the name of a run directory."""
    if not name or not name.isprintable() or "/" in name or "\\" in name or name.startswith("."):
        raise ConfigError(
            f"{where}: the name {literal(name)} cannot begin the name of a directory; expected printable characters "
            'without "/" and "\\", and no "." at its start.'
        )
