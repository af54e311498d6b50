"""The findings of the paper, and whether runs of its tables show them: a verdict by a rule, with its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from nonlocal_video.reports.tables.lines import Gain, TableLine, gain_of

METRIC = "top1"
AT_THE_CEILING = 1.0
"""Percent: a row that is this close to all that its network can answer leaves nothing to gain."""
RULE = (
    "A gain of one row over another is shown if the paired 95% interval over the videos lies above 0 and every seed "
    "has it; rows are alike if the intervals between all of them contain 0. Where the lower row is within "
    f"{AT_THE_CEILING:g} point of what its network can reach at all, a gain is not testable."
)


class PaperFinding(NamedTuple):
    """A sentence of the paper, and the rows that it is about, by TABLE/ROW."""

    claim: str
    better: Sequence[tuple[str, str]] = ()
    """Pairs of which the first one should reach more."""
    alike: Sequence[str] = ()
    """Rows that should not differ."""
    cheaper: Sequence[tuple[str, str]] = ()
    """Pairs of which the first one should need fewer FLOPs."""


FINDINGS = (
    PaperFinding(
        "All pairwise functions do alike (Table 2a)",
        alike=("table2a/gaussian", "table2a/embedded_gaussian", "table2a/dot_product", "table2a/concatenation"),
    ),
    PaperFinding(
        "Attention is not essential: functions without a softmax help, too (Table 2a)",
        better=(("table2a/dot_product", "table2a/c2d"), ("table2a/concatenation", "table2a/c2d")),
    ),
    PaperFinding(
        "A block helps in any stage, and least in the last (Table 2b)",
        better=(
            *((f"table2b/res{stage}", "table2b/c2d") for stage in (2, 3, 4, 5)),
            *((f"table2b/res{stage}", "table2b/res5") for stage in (2, 3, 4)),
        ),
    ),
    PaperFinding(
        "More blocks help (Table 2c)", better=(("table2c/nl_5", "table2c/nl_1"), ("table2c/nl_10", "table2c/nl_5"))
    ),
    PaperFinding(
        "Residual blocks in place of non-local ones bring nothing (Sec. 4.1)",
        alike=("table2c/c2d", "table2c/residual_1", "table2c/residual_5"),
    ),
    PaperFinding(
        "Space alone and time alone help, spacetime helps more (Table 2d)",
        better=(
            *((f"table2d/{axes}", "table2d/c2d") for axes in ("space", "time")),
            *(("table2d/spacetime", f"table2d/{axes}") for axes in ("space", "time")),
        ),
    ),
    PaperFinding(
        "NL C2D beats I3D at fewer FLOPs (Table 2e)",
        better=(("table2e/nl_c2d", "table2e/i3d_3x3x3"), ("table2e/nl_c2d", "table2e/i3d")),
        cheaper=(("table2e/nl_c2d", "table2e/i3d_3x3x3"), ("table2e/nl_c2d", "table2e/i3d")),
    ),
    PaperFinding(
        "Non-local blocks and 3-D convolutions are complementary (Table 2f)",
        better=(("table2f/nl_i3d", "table2f/i3d"), ("table2f/nl_i3d", "table2e/nl_c2d")),
    ),
    PaperFinding("Longer clips keep the gain (Table 2g)", better=(("table2g/nl_i3d", "table2g/i3d"),)),
)
"""The findings of Section 4.1 that tables 2a to 2g are about."""


class Verdict(NamedTuple):
    """A finding, and what runs say of it."""

    finding: PaperFinding
    word: str
    """shown, not shown, not testable, or not run."""
    numbers: tuple[str, ...]


def judge(finding: PaperFinding, lines: Mapping[str, TableLine], *, ceilings: Mapping[str, float]) -> Verdict:
    """Whether rows, by TABLE/ROW, show a finding; ceilings are accuracies (%) that a row's network can reach at all."""
    words, numbers = [], []
    for row, over in (*finding.better, *combinations(finding.alike, 2)):
        line, base = lines[row], lines[over]
        gain, word, told = _gain(line, base), "not run", "not run"
        if gain is not None and gain.videos is not None:
            low, high = gain.videos.low, gain.videos.high
            told = f"{gain.seeds:+} ({low:+.1f} to {high:+.1f})"
            word = "shown" if low <= 0 <= high else "not shown"
            if (row, over) in finding.better:
                word = _better(line, base, low=low, ceiling=ceilings.get(row, 100.0))
        words.append(word)
        numbers.append(f"{line.name} over {base.name} {told}")
    for row, than in finding.cheaper:
        ours, theirs = (lines[key].cost for key in (row, than))
        assert ours is not None, "the networks of rows that can be run are known"
        assert theirs is not None, "the networks of rows that can be run are known"
        words.append("shown" if ours.macs < theirs.macs else "not shown")
        numbers.append(f"{lines[row].name} needs {ours.macs / theirs.macs:.2f} of the FLOPs of {lines[than].name}")
    worst = next((word for word in ("not run", "not shown", "not testable") if word in words), "shown")
    return Verdict(finding, worst, tuple(numbers))


def _gain(line: TableLine, over: TableLine) -> Gain | None:
    return gain_of(replace(line, baseline=over), METRIC)


def _better(line: TableLine, over: TableLine, *, low: float, ceiling: float) -> str:
    """Whether a gain whose interval begins at `low` is shown, with every seed."""
    seeds = [_gain(replace(line, runs=(run,)), over) for run in line.runs]
    if low > 0 and all(gain is None or gain.seeds.mean > 0 for gain in seeds):
        return "shown"
    base = over.accuracy(METRIC)
    return "not testable" if base is not None and base.mean >= ceiling - AT_THE_CEILING else "not shown"


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    """A Markdown list, a sentence each, and the rule."""
    lines = [f"- **{finding.claim}: {word}.** {'; '.join(numbers)}." for finding, word, numbers in verdicts]
    return "\n".join([*lines, "", f"{RULE} Numbers: mean ± standard deviation over the seeds (interval)."])
