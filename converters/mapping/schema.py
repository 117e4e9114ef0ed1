"""The records of the tables: every word of a table is a field here, with its type and its default.

`NetworkFile` and `LayoutFile` are what a TOML file says, word for word; `parse` reads them by their annotations, and
the reference in ``docs/tables.md`` and the JSON schema are generated from them. `NetworkTable` and `LayoutTable` are
what the rest of the package works with.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from converters.record import Record

from .globs import is_for
from .storage import PARAMETERS, Parameter, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .further_names import FurtherNames

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""An empty table."""

CONTAINERS = ("state_dict", "model_state", "mmcv")
"""What ``--wrap`` puts around a state dict."""

IDENTITY = "= identity"
"""The name of a batch norm that a layout does not have: one that changes nothing takes its place."""


class OneNumber(Record):
    """``one_number`` of ``[[supports]]``: settings that the project's code takes from one number."""

    settings: tuple[str, ...] = ()
    """The settings."""
    numbers: tuple[int, ...] = ()
    """The numbers that its code takes."""

    def number_in(self, values: Mapping[str, Any], unset: Mapping[str, Any] = NOTHING) -> int | None:
        """The number that ``values`` have for all of the settings, but for those that have one of the values in
        ``unset``; None where there is no such number."""
        numbers = {
            values[name]
            for name in self.settings
            if name in values and values[name] not in unset.get(name, ())
        }
        return next((number for number in self.numbers if numbers == {number}), None)


class Support(Record):
    """``[[supports]]``: what a layout says of some variants. The first row that matches a variant counts."""

    variants: tuple[str, ...]
    """The variants, with ``*`` for any text."""
    unsupported: str = ""
    """Why the layout cannot hold them."""
    note: str = ""
    """A note that every report of a conversion shows."""
    settings: Mapping[str, Any] = NOTHING
    """The settings of the project's own network that differ from the layout's and the family's."""
    config: Mapping[str, Any] = NOTHING
    """The options of the project's own network, for the reference network."""
    differs: str = ""
    """Why the outputs differ at the sizes that the network was trained for. Needs ``config``."""
    fixed: tuple[str, ...] = ()
    """Settings that the project's code does not allow to change: a file that needs others is refused."""
    one_number: OneNumber = OneNumber()
    """Settings that the project's code takes from one number."""
    channels: int = 0
    """The input channels that the project's code takes, if it takes no others."""
    images: bool = False
    """Whether kernels of one frame are stored without the time axis."""
    if_asked: bool = False
    """Whether ``--variant`` must ask for one of these if a file may be another network too."""
    default_targets: tuple[str, ...] = ()
    """The default targets of these variants, instead of the layout's own."""


class Model(Record):
    """``[[models]]``: what a file was made for. A row with a name is a model that ``--variant`` can ask for; of rows
    without a name the first that matches counts."""

    variants: tuple[str, ...]
    """The variants, with ``*`` for any text."""
    clip: tuple[int | str, ...]
    """Frames, height and width of a clip; a text is a size that the file's tensors show, or a setting."""
    resize: str
    """How a frame gets that size, in words. ``short side N``, ``HxW`` (height and width, whatever the aspect ratio) and
    ``crop HxW at (Y, X)`` are understood; without a position the crop is in the centre."""
    name: str = ""
    """The model's name."""
    frame_step: int = 1
    """The step, in frames of the video, from one frame of the clip to the next."""
    again_every: int = 0
    """Every Nth of the clip's frames is repeated after them, and counts as one of its frames; 0: none."""
    count: tuple[int | str, ...] = ()
    """The larger crop for which the authors count operations."""
    count_positions: int = 1
    """How many times the classifier runs on that crop."""
    settings: Mapping[str, Any] = NOTHING
    """Settings that differ from the layout's own."""
    sizes: Mapping[str, tuple[int, ...]] = NOTHING
    """Sizes that the file's tensors must have."""
    if_asked: bool = False
    """Whether ``--variant`` must ask for this model if a file may be another one too."""


class Preprocessing(Record):
    """``[preprocessing.NAME]``: what the network's input is. The first table with the file's channels counts."""

    channels: int
    """Input channels of the files that it is for."""
    order: str
    """The channels' order, such as ``RGB``."""
    variants: tuple[str, ...] = ("*",)
    """The variants, with ``*`` for any text."""
    range: tuple[float, ...] = ()
    """The smallest and the largest value before the normalisation."""
    mean: tuple[float, ...] = ()
    """What is subtracted from each channel."""
    std: tuple[float, ...] = ()
    """What each channel is divided by."""
    mean_cube: str = ""
    """In words: a mean of every position is subtracted, instead of ``mean`` and ``std``."""
    rate: float = 0
    """Frames per second of the videos."""
    interpolation: str = ""
    """How the project resizes frames, such as ``bilinear``."""

    def as_data(self) -> dict[str, Any]:
        """What travels with an output."""
        given: dict[str, Any] = {
            "order": self.order,
            "range": list(self.range),
            "mean": list(self.mean),
            "std": list(self.std),
        }
        given |= {"mean_cube": self.mean_cube, "rate": self.rate, "interpolation": self.interpolation}
        return {key: value for key, value in given.items() if value}


class Scope(Record):
    """``[[scopes]]``: the prefix of the names in a new file whose sizes are those of a released one. The first row that
    fits counts."""

    prefix: str
    """The prefix."""
    sizes: Mapping[str, tuple[int, ...]]
    """Sizes that the file's tensors must have."""


class Twice(Record):
    """``[[twice]]``: further names under which files of some variants store tensors again, as MXNet does if a block
    registers a layer in two places. All rows that match a variant count, in order."""

    variants: tuple[str, ...]
    """The variants, with ``*`` for any text."""
    names: Mapping[str, str]
    """``"further name" = "name"``, of tensors. A ``*`` stands for the same text on both sides, ``{a,b}`` for several
    names, one by one. The name may be a further one that a later line explains. A file needs one name of each tensor;
    if it has more, all must have the same values. Converting back writes those that were stored, a new file has all."""


class TensorRow(Record):
    """``[[tensor]]``: what is done to one module's tensors here, in order."""

    family: str
    """The network table."""
    module: str
    """The module's line there."""
    operations: tuple[str, ...]
    """``rotate_columns N``: the last N columns of a linear layer come first here. ``bgr``: a convolution's input
    channels are in the opposite order. ``matrix``: a convolution of one position is stored as a matrix."""


class OtherNetwork(Record):
    """``[[others]]``: a file of the project that has none of these networks, by its names. If a file fits no variant,
    the message says what it is by the first row that fits. A row with shapes counts before the variants: such a file is
    taken for one of them only with ``--variant``."""

    what: str
    """What it is, in words: "a Faster R-CNN detector"."""
    names: tuple[str, ...]
    """Patterns, each of which must fit a name."""
    without: tuple[str, ...] = ()
    """Patterns that must fit none."""
    shapes: Mapping[str, tuple[int, ...]] = NOTHING
    """The shapes that tensors must have, where the names are those of a video network."""
    hint: str = ""
    """What the user can do with it."""


class LayoutFile(Record):
    """A file in ``mappings/layouts``: what a project calls the modules of the networks."""

    # Names
    title: str
    """The layout's name in messages."""
    format: str
    """The file format of its files."""
    project: str = ""
    """The project's address."""
    licence: str = ""
    """The licence of its weights."""
    settings: Mapping[str, Any] = NOTHING
    """The settings of the project's networks that differ from the families', such as the batch norms' eps."""
    modules: Mapping[str, Any] = NOTHING
    """``[modules.FAMILY]``: ``"canonical name" = "name here"``. ``{a,b}`` stands for several names, one by one;
    a list has names of which a file has one. ``[modules.FAMILY.in.PART]`` is for one part alone; ``same_as`` takes
    the lines of another family, or of a family in another layout (``"LAYOUT.FAMILY"``)."""
    identity: bool = False
    """Whether its names are the canonical ones, so that it needs no modules."""
    names_from: str = ""
    """Another layout from which this one takes modules, parameters, letters, rename, twice and order."""
    prefixes: tuple[str, ...] = ("",)
    """Prefixes that names may have; a ``*`` at the beginning stands for any text."""
    scopes: tuple[Scope, ...] = ()
    """The prefix that names get if no record of an earlier conversion has one; none by default."""
    backbone: str = ""
    """The prefix that names lack in a file of the backbone alone."""
    letters: Mapping[str, str] = NOTHING
    """Placeholders that are letters (a, b, c ...), each with the number that they stand for: ``b``, or ``b up to 6``
    if stages of more blocks have a, b1, b2 ..."""
    rename: Mapping[str, str] = NOTHING
    """Single irregular names, after everything else."""
    twice: tuple[Twice, ...] = ()
    """The further names of tensors that files store more than once."""
    order: Mapping[str, tuple[str, ...]] = NOTHING
    """``FAMILY = [words]``, if the project does not store a network's tensors in the network's order. Names with the
    same beginning stand together. Of the words that follow, separated by dots, those that match these patterns come
    first, in this order; then come the others, as in the network. Converting back gives the order of the original
    file."""
    default_targets: tuple[str, ...] = ()
    """The default targets: the first of these layouts that can hold the file."""
    also_reads: tuple[str, ...] = ()
    """Other layouts that ``convert NAME`` reads."""
    priority: int = 1
    """If several layouts fit a file, the one with the lowest number is chosen."""

    # Storage
    parameters: Mapping[str, Mapping[str, str]] = NOTHING
    """How tensors are stored, for each kind of module: ``SUFFIX``, ``SUFFIX AXES -> AXES`` or ``= VALUE``."""
    tensor: tuple[TensorRow, ...] = ()
    """What is done to single modules' tensors."""
    slash_keys: tuple[str, ...] = ()
    """For nested dictionaries, whose keys are joined by slashes: patterns of the keys that contain slashes
    themselves."""
    container: str = "state_dict"
    """What ``--wrap`` puts around the state dict."""
    ignore: tuple[str, ...] = ()
    """Patterns of names that are not weights."""
    ignore_if_zero: tuple[str, ...] = ()
    """Patterns of tensors that must be zero everywhere."""
    head_optional: bool | None = None
    """Whether files may lack the classifier; PyTorch's may."""
    inverse_std: str = ""
    """In words: files may have inverse standard deviations instead of variances."""
    hints: Mapping[str, str] = NOTHING
    """What it means if a file has no names that match a pattern."""
    other_files: Mapping[str, str] = NOTHING
    """Patterns of names of files and folders that hold another network with the same tensors, and what it is."""
    others: tuple[OtherNetwork, ...] = ()
    """Other files of the project, which are refused with a message that says what they are."""

    # What the project's networks do
    supports: tuple[Support, ...] = ()
    """What is said of some variants."""
    models: tuple[Model, ...] = ()
    """What files were made for."""
    models_from: str = ""
    """Another layout from which this one takes models and preprocessing."""
    preprocessing: Mapping[str, Preprocessing] = NOTHING
    """What the networks' inputs are."""
    labels: Mapping[str, str] = NOTHING
    """Class names in ``mappings/labels``, by the number of classes."""


class StageNumber(Record):
    """``stage`` of an index."""

    name: str
    """The placeholder of a stage's number."""
    from_: int
    """The first stage's number."""


class Index(Record):
    """``[index]``: a row for every block."""

    stages: str
    """Which list of a variant has the blocks of each stage."""
    running: str
    """The placeholder that counts all blocks."""
    stage: StageNumber
    """The placeholder of the stage."""
    within: str
    """The placeholder that counts a stage's blocks, from 0."""
    running_from: int = 0
    """The first block's number among all."""


class VariantNames(Record):
    """``[variant]``: a type and a depth make a variant."""

    name: str
    """The variant's name."""
    parts: tuple[str, ...]
    """Its parts, in state-dict order. ``?`` marks one that a file may lack; its names decide."""
    head: str = ""
    """The part that is missing in a file of the backbone alone."""
    detector: str = ""
    """A placeholder that only detectors have, which classify regions of frames."""


class Composed(Record):
    """``[compose]``: another network under a prefix."""

    network: str
    """Its network table."""
    without: tuple[str, ...]
    """The parts of it that are missing here."""
    type: str
    """Its type."""


class ExchangedSetting(Record):
    """``[exchanged_settings.NAME]``: a setting with two values whose difference weights can make up for: the first two
    of equal groups of channels are exchanged in these modules. ``{a,b}`` stands for several names."""

    parts: str
    """The setting with the number of groups; channels that are left over belong to none."""
    rows: tuple[str, ...] = ()
    """The modules with these channels as outputs."""
    columns: tuple[str, ...] = ()
    """The modules with these channels as inputs."""


class Inflate(Record):
    """``[inflate]``: what ``convert inflate`` initialises this family's networks from. It cannot be converted back."""

    sources: Mapping[str, str] = NOTHING
    """The families, each with the prefix of its canonical names here."""
    keeps: tuple[str, ...] = ()
    """Settings that go with the weights."""
    pads: tuple[str, ...] = ()
    """Convolutions that get zeros for further input channels."""
    spreads: str = ""
    """The size that may differ: every channel gets the mean of the existing ones."""
    lacks: tuple[str, ...] = ()
    """Parts that none of these families has. The output lacks them."""


class NetworkFile(Record):
    """A file in ``mappings/networks``: a family's modules under canonical names, with their shapes."""

    family: str
    """The file's name."""
    types: Mapping[str, Mapping[str, Any]]
    """The types, each with its columns and placeholders; ``depths`` are rows of ``[depths]``."""
    variant: VariantNames
    """The variants that a type and a depth make."""
    parts: Mapping[str, Mapping[str, str]]
    """``[parts.NAME]``: ``"canonical name" = "kind shape @ grid"``."""
    index: Index | None = None
    """A row for every block."""
    columns: Mapping[str, Mapping[str, Any]] = NOTHING
    """Placeholders with a value for every stage."""
    depths: Mapping[str, Mapping[str, Any]] = NOTHING
    """The depths, each with its blocks."""
    where: Mapping[str, Mapping[str, int]] = NOTHING
    """The blocks to which a part belongs: a column and its value."""
    compose: Mapping[str, Composed] = NOTHING
    """Networks that this one is built from."""
    settings: Mapping[str, Any] = NOTHING
    """What no tensor shows, with the default values; a layout or a model may state others. A setting that is a word has
    the list of its words, the default first."""
    sizes: tuple[str, ...] = ()
    """Sizes that a file's tensors show, besides ``classes``, ``channels`` and those that types list."""
    options: tuple[str, ...] = ()
    """Further options of the reference network."""
    reference: str = ""
    """The family whose reference network computes these networks too, if they have none of their own."""
    strides: Mapping[str, int] = NOTHING
    """Settings that reduce the number of frames, each with the first stage that sees fewer."""
    halves: Mapping[str, int] = NOTHING
    """Settings that halve height and width when they are on, each with the first stage that sees less."""
    downsampled_early: Mapping[str, Mapping[str, str]] = NOTHING
    """For a setting, the modules whose output another column divides when it is on. Used for GFLOPs."""
    folded_settings: Mapping[str, tuple[str, ...]] = NOTHING
    """Settings whose difference weights can make up for: these modules are divided, or multiplied, by the root of the
    number of their rows."""
    exchanged_settings: Mapping[str, ExchangedSetting] = NOTHING
    """Settings whose difference weights can make up for: groups of channels are exchanged."""
    given: Mapping[str, tuple[int | str, ...]] = NOTHING
    """Settings, with the values that mean that the clip itself already has what the setting chooses. If the networks of
    one layout have such a value and those of another do not, an output takes the clips of its own layout."""
    inflate: Inflate = Inflate()
    """What ``convert inflate`` initialises these networks from."""


class ModuleTemplate(Record):
    """One module of a network table. ``shape`` and ``grid`` hold integers and names of placeholders."""

    name: str
    kind: str
    shape: tuple[int | str, ...]
    grid: tuple[int | str, ...]


class NetworkTable(Record):
    """A family of networks: see `NetworkFile`. ``settings`` are the defaults, ``choices`` the words of those that are
    words."""

    family: str
    index: Index | None
    columns: Mapping[str, Mapping[str, Any]]
    depths: Mapping[str, Mapping[str, Any]]
    types: Mapping[str, Mapping[str, Any]]
    variant: VariantNames
    modules: Mapping[str, tuple[ModuleTemplate, ...]]
    where: Mapping[str, Mapping[str, int]]
    compose: Mapping[str, Composed]
    settings: Mapping[str, Any]
    choices: Mapping[str, tuple[str, ...]]
    sizes: tuple[str, ...]
    options: tuple[str, ...]
    reference: str
    strides: Mapping[str, int]
    halves: Mapping[str, int]
    folded_settings: Mapping[str, tuple[str, ...]]
    exchanged_settings: Mapping[str, ExchangedSetting]
    given: Mapping[str, tuple[int | str, ...]]
    inflate: Inflate
    downsampled_early: Mapping[str, Mapping[str, str]]


class ModuleNames(Record):
    """A layout's names for one family's modules; ``within`` overrides in single parts.

    ``choices`` are all the names that some modules may have; ``common`` has the first, or that of a file. The last
    three say what is done to a module's tensors, see `TensorRow`.
    """

    common: Mapping[str, str]
    within: Mapping[str, Mapping[str, str]] = NOTHING
    choices: Mapping[str, tuple[str, ...]] = NOTHING
    rotated_columns: Mapping[str, int] = NOTHING
    bgr: tuple[str, ...] = ()
    matrices: tuple[str, ...] = ()

    def template(self, part: str, key: str) -> str | None:
        """The name template for a module of a part, or None where the layout has none."""
        return self.within.get(part, NOTHING).get(key) or self.common.get(key)

    def change(self, name: Callable[[str], str]) -> ModuleNames:
        """The same with another text for every name."""
        return self.replace(
            common={key: name(text) for key, text in self.common.items()},
            within={
                part: {key: name(text) for key, text in lines.items()} for part, lines in self.within.items()
            },
            choices={key: tuple(name(text) for text in texts) for key, texts in self.choices.items()},
        )

    def choose(self, wanted: Callable[[str, tuple[str, ...]], str]) -> ModuleNames:
        """The same with one name for every module that has several: what ``wanted`` says of key and choices."""
        chosen = {key: wanted(key, names) for key, names in self.choices.items()}
        return self.replace(common={**self.common, **chosen})


class Naming(Record):
    """A layout's names.

    ``twice`` has the rows of further names, each name a line of its own. ``taken_from`` are other layouts whose tables
    have some of them. ``absent`` and ``head`` say how a file's names differ from the table's: the prefix that they lack
    (`LayoutTable.without_backbone`), and the head's own name (`LayoutTable.with_head`).
    """

    modules: Mapping[str, ModuleNames]
    letters: Mapping[str, str]
    rename: Mapping[str, str]
    prefixes: tuple[str, ...]
    scopes: tuple[Scope, ...]
    backbone: str
    twice: tuple[Twice, ...] = ()
    order: Mapping[str, tuple[str, ...]] = NOTHING
    taken_from: tuple[str, ...] = ()
    absent: str = ""
    head: str = ""


class Storage(Record):
    """How a layout's files store tensors, and what else they hold. ``parameters`` is by kind of module."""

    parameters: Mapping[str, Mapping[str, StoredTensor]]
    container: str
    slash_keys: tuple[str, ...]
    ignore: tuple[str, ...]
    ignore_if_zero: tuple[str, ...]
    head_optional: bool
    inverse_std: str
    hints: Mapping[str, str]
    other_files: Mapping[str, str]
    others: tuple[OtherNetwork, ...]


class LayoutTable(Record):
    """What a project calls the modules of the networks: see `LayoutFile`."""

    name: str
    title: str
    project: str
    format: str
    licence: str
    settings: Mapping[str, Any]
    identity: bool
    default_targets: tuple[str, ...]
    also_reads: tuple[str, ...]
    priority: int
    naming: Naming
    storage: Storage
    supports: tuple[Support, ...]
    models: tuple[Model, ...]
    preprocessing: Mapping[str, Preprocessing]
    labels: Mapping[str, str]

    @property
    def owner(self) -> str:
        """Whose names they are: the title without what kind of file it is."""
        return self.title.partition(" (")[0]

    @property
    def modules(self) -> Mapping[str, ModuleNames]:
        """The names by family."""
        return self.naming.modules

    @property
    def container(self) -> str:
        """What ``--wrap`` puts around the state dict."""
        return self.storage.container

    @property
    def slash_keys(self) -> tuple[str, ...]:
        """Patterns of the keys of nested dictionaries that contain slashes."""
        return self.storage.slash_keys

    def scope_for(self, sizes: Mapping[str, int]) -> str:
        """The prefix of the names in a new file with these sizes."""
        fitting = (
            row.prefix
            for row in self.naming.scopes
            if all(sizes.get(size) in allowed for size, allowed in row.sizes.items())
        )
        return next(fitting, "")

    def support_for(self, variant: str) -> Support:
        """What the table says of a variant; the first row that matches counts, none means that it holds it."""
        found = self._support.get(variant)
        if found is None:
            rows = (row for row in self.supports if is_for(row.variants, variant))
            found = self._support[variant] = next(rows, EVERYTHING)
        return found

    @cached_property
    def _support(self) -> dict[str, Support]:
        """What `support_for` has found."""
        return {}

    def further_names(self, variant: str) -> FurtherNames | None:
        """The further names that files of a variant have; None where they have none."""
        rows = tuple(place for place, row in enumerate(self.naming.twice) if is_for(row.variants, variant))
        if not rows:
            return None
        if rows not in self._further_names:
            from .further_names import FurtherNames

            lines = [line for place in rows for line in self.naming.twice[place].names.items()]
            self._further_names[rows] = FurtherNames(lines)
        return self._further_names[rows]

    @cached_property
    def _further_names(self) -> dict[tuple[int, ...], FurtherNames]:
        """What `further_names` has made, by the rows that count."""
        return {}

    def targets_for(self, variant: str) -> tuple[str, ...]:
        """The layouts that a file of a variant goes to if nothing is asked for: the first that holds it."""
        return self.support_for(variant).default_targets or self.default_targets

    def choose(self, wanted: Callable[[str, tuple[str, ...]], str]) -> LayoutTable:
        """The same with one name for every module that has several, see `ModuleNames.choose`."""
        if not any(names.choices for names in self.modules.values()):
            return self
        return self._with_names(lambda names: names.choose(wanted))

    def inverted(self) -> LayoutTable:
        """The same for files that have inverse standard deviations in the place of variances."""
        norm = self.storage.parameters["bn"]
        variance = norm["running_var"]._replace(inverse=True)
        parameters = {**self.storage.parameters, "bn": {**norm, "running_var": variance}}
        return self.replace(storage=self.storage.replace(parameters=parameters))

    def without_backbone(self) -> LayoutTable:
        """The same for a file of the backbone alone, whose names lack the prefix ``backbone``."""
        prefix = self.naming.backbone
        rename = {
            old.removeprefix(prefix): new.removeprefix(prefix) for old, new in self.naming.rename.items()
        }
        twice = tuple(
            row.replace(
                names={
                    further.removeprefix(prefix): name.removeprefix(prefix)
                    for further, name in row.names.items()
                }
            )
            for row in self.naming.twice
        )
        return self._with_names(
            lambda names: names.change(lambda text: text.removeprefix(prefix)),
            rename=rename,
            twice=twice,
            absent=prefix,
        )

    def with_head(self, name: str, keys: Collection[str]) -> LayoutTable:
        """The same for a file that calls the head ``name``; ``keys`` are the heads of all variants in the tables."""
        return self._with_names(
            lambda names: names.replace(
                common={**names.common, **dict.fromkeys(keys, name)},
                choices={key: texts for key, texts in names.choices.items() if key not in keys},
            ),
            head=name,
        )

    def _with_names(self, change: Callable[[ModuleNames], ModuleNames], **others: Any) -> LayoutTable:
        modules = {family: change(names) for family, names in self.modules.items()}
        return self.replace(naming=self.naming.replace(modules=modules, **others))

    @cached_property
    def tensor_counts(self) -> dict[str, int]:
        """How many tensors a module of each kind has in a file of this layout, those with several names taken once;
        none of one that it leaves out, under its key in the network's table, or ``part/key`` where only the one in that
        part is left out."""
        by_kind = {
            kind: sum(self.parameter(kind, name).constant is None for name in names)
            + bool(self.divisor(kind))
            for kind, names in PARAMETERS.items()
        }
        own: dict[str, int] = {}
        for names in self.modules.values():
            own |= {key: 0 for key, name in names.common.items() if name == IDENTITY}
            for part, within in names.within.items():
                own |= {f"{part}/{key}": 0 for key, name in within.items() if name == IDENTITY}
        return by_kind | own

    def divisor(self, kind: str) -> str:
        """The suffix of what some tensors of a module of this kind are divided by; empty where none is."""
        return self._divisors[kind]

    @cached_property
    def _divisors(self) -> dict[str, str]:
        return {
            kind: next((over for name in names if (over := self.parameter(kind, name).over)), "")
            for kind, names in PARAMETERS.items()
        }

    def parameter(self, kind: str, name: Parameter) -> StoredTensor:
        """How a tensor of a module of this kind is stored."""
        return self.storage.parameters["conv" if kind == "conv+bias" else kind][name]


EVERYTHING = Support(variants=("*",))
"""What a layout says of a variant that no row is for."""
