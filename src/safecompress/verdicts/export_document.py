"""`ExportVerdict`: the JSON beside an exported file, `FILE.json`."""

from __future__ import annotations

from typing import Literal

from safecompress.verdicts.document import Overall, VerdictDocument
from safecompress.verdicts.part import Facts, Figure, Part, Text
from safecompress.verdicts.parts import CheckEntry, Span


class ExportedFile(Part):
    """The file."""

    name: Text
    """Its name, without its folder."""
    format: Text
    """Name of its format."""
    bytes: int
    """Its size on disk."""


class ExportedModel(Part):
    """The model in the file, in words and numbers for a model card."""

    architecture: Text
    """Name of the model."""
    parameters: int
    """Parameters of the architecture."""
    density: float
    """Share of the maskable weights that exist, in (0, 1]."""
    format: Text
    """The format and what it is, in words."""
    inputs: Text
    """What the file takes, in words."""
    classes: Text
    """Names of the classes, separated by commas."""
    in_fp32: Text | None = None
    """Layers that stay fp32 because their rounding changed answers, the costliest first; null where
    there are none."""
    int8_weights: Text | None = None
    """Layers whose weights are int8 and that compute in fp32, for the same reason; null where there
    are none."""
    in_int8: Text | None = None
    """Layers of an int4 file that stay int8, for the same reason; null where there are none."""


class SteeringAgreement(Part):
    """For how many steering non-members the file names the model's class: what chose its layers."""

    same_class: float
    """The share, in [0, 1]."""
    low: float
    """Lower bound of the share of all such rows, with a one-sided confidence of 0.95."""
    rows: int
    """Rows asked."""
    min_agreement: float
    """The share that was asked for, in [0, 1]; 0 where none was."""


class ExportedRun(Part):
    """The run that the file was made from."""

    name: Text
    """Name of its folder."""
    verdict: Overall
    """Its verdict."""
    sentence: Text
    """Its verdict in plain words."""


class RowCounts(Part):
    """How many rows were asked."""

    members: int
    """Sealed members."""
    nonmembers: int
    """Sealed non-members."""


class RetestFacts(Part):
    """The run's suite once more, on the file."""

    verdict: Overall
    """What the repeated checks add up to."""
    checks: tuple[CheckEntry, ...]
    """The run's checks as far as a file can answer them."""
    not_repeated: tuple[Text, ...]
    """Names of the checks that a file alone cannot answer."""
    looks: int
    """Distinct models that were judged on the sealed rows, this file included."""
    level: float
    """Confidence level of every interval, in (0, 1), corrected for the number of looks."""
    rows: RowCounts
    """The sealed rows."""
    accuracy: Figure
    """Accuracy of the file on the sealed non-members, in [0, 1]."""
    accuracy_before: Figure
    """Accuracy of the model on the same rows, in [0, 1]."""
    same_class: float
    """Share of the sealed rows for which both name the same class, in [0, 1]."""


class Sizes(Part):
    """Bytes of a file."""

    disk: int
    """As it is."""
    zip: int
    """Zipped (deflate, level 9)."""
    zstd: int
    """Packed with zstd (level 19)."""


class Loading(Part):
    """What it costs to load the file in a process of its own."""

    seconds: float
    """Median time."""
    bytes: int | float
    """Median memory that loading and one batch take."""


class BatchLatency(Part):
    """Times for one size of batch."""

    milliseconds: dict[Text, float]
    """By file, the median time for a batch."""
    ratios: dict[Text, Span]
    """By other file, the exported file's time over that one's, with its interval."""


class Latency(Part):
    """How long the runtime takes."""

    runtime: Text
    """Runtime and version."""
    threads: int
    """Threads inside an operator."""
    machine: Text
    """Processor and its instructions."""
    rounds: int
    """Turns that each file took."""
    batches: dict[Text, BatchLatency]
    """By rows at once."""


class Measured(Part):
    """Size and speed against the same model, dense."""

    bytes: dict[Text, Sizes]
    """By file."""
    loading: Loading | None
    """Of the exported file; null where its format has no loader."""
    latency: Latency | None = None
    """Only of formats that a runtime computes with as they are."""


class ReleasedWith(Part):
    """The set that a file was released in, judged as one attacker's."""

    files: tuple[Text, ...]
    """All files that the attacker holds, this one included."""
    verdict: Overall
    """The verdict on the set."""
    sentence: Text
    """The same in plain words."""


class ExportVerdict(VerdictDocument):
    """`FILE.json` beside an exported file: whether the file may be shipped.

    It may where it is faithful to the model that was judged and that model passed.
    """

    kind: Literal["export"]
    """`export`: the verdict on a file made from a run's model."""
    status: Overall
    """PASS, FAIL, INCONCLUSIVE or ERROR: the worst of the run's verdict and the file's checks."""
    sentence: Text
    """The verdict in plain words."""
    file: ExportedFile
    """The file."""
    made_with: Facts
    """Versions and machine."""
    model: ExportedModel
    """The model in the file."""
    data: dict[Text, Text]
    """Sizes of the run's data, by group."""
    use: Text
    """What the file is meant for."""
    run: ExportedRun
    """The run it was made from."""
    usage: Text = ""
    """Lines of Python that load the file; empty where its format states none."""
    checks: tuple[CheckEntry, ...]
    """Whether the file answers, leaks and errs as the model did, and keeps its limits."""
    retest: RetestFacts
    """The run's suite once more, on the file."""
    measured: Measured | None
    """Size and speed; null where they were not measured."""
    agreement: SteeringAgreement | None = None
    """With the model, on steering rows; null where the format has no layers that can go back."""
    limits: tuple[Text, ...]
    """What the verdict does not say."""
    sha256: dict[Text, Text]
    """SHA-256 of the file, of the run's files, and of its `sealed rows`."""
    faithful: bool | None = None
    """Whether no comparison tells the file from the model; left out where that is undecided."""
    despite_failure: bool = False
    """Whether the file was put in place on request although the model failed."""
    next_steps: tuple[Text, ...] = ()
    """What to do about the status, one sentence each; empty after a PASS."""
    released_with: ReleasedWith | None = None
    """The set that the file was released in; only of a file of a release."""
