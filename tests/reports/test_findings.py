"""Whether made runs show a finding."""

from pathlib import Path

import pytest

from nonlocal_video.cli.tables import read_table
from nonlocal_video.reports.tables.findings import FINDINGS, PaperFinding, format_verdicts, judge
from nonlocal_video.reports.tables.lines import TableLine
from tests.reports.made_runs import EXPECTED, made_run


def line(folder: Path, name: str, *right: int) -> TableLine:
    """Of a run a seed, which gets so many of 40 videos right, the first ones."""
    runs = [
        made_run(folder / f"{name}{seed}", [0] * count + [1] * (40 - count), settings={"seed": seed})
        for seed, count in enumerate(right)
    ]
    return TableLine(name, tuple(runs), EXPECTED.cost)


BETTER = PaperFinding("b is better", better=(("b", "a"),))


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ((10, 12), (30, 32), "shown"),
        ((30, 32), (10, 12), "not shown"),
        ((10, 12), (11, 12), "not shown"),  # The interval holds 0.
        ((10, 30), (32, 28), "not shown"),  # One of the seeds does not have it.
        ((40, 40), (40, 40), "not testable"),
        ((), (30, 32), "not run"),
    ],
)
def test_a_gain_is_shown_by_its_interval_and_every_seed(
    tmp_path: Path, a: tuple[int, ...], b: tuple[int, ...], word: str
) -> None:
    lines = {"a": line(tmp_path, "a", *a), "b": line(tmp_path, "b", *b)}
    assert judge(BETTER, lines, ceilings={}).word == word


def test_ceiling_is_that_of_the_network_which_should_gain(tmp_path: Path) -> None:
    lines = {"a": line(tmp_path, "a", 35, 35), "b": line(tmp_path, "b", 35, 35)}
    assert judge(BETTER, lines, ceilings={"a": 100, "b": 87.5}).word == "not testable"
    assert judge(BETTER, lines, ceilings={"a": 87.5, "b": 100}).word == "not shown"


def test_rows_are_alike_unless_a_gain_between_two_is_shown(tmp_path: Path) -> None:
    lines = {"a": line(tmp_path, "a", 20, 22), "b": line(tmp_path, "b", 21, 21), "c": line(tmp_path, "c", 35, 36)}
    verdict = judge(PaperFinding("alike", alike=("a", "b")), lines, ceilings={})
    # Two videos differ by half, and Agresti-Min's pairs: 1.96 sqrt(2 x 0.25 + 2 x 0.5) / 42 = 5.7%.
    assert (verdict.word, verdict.numbers) == ("shown", ("a over b +0.0 ± 3.5 (-5.7 to +5.7)",))
    assert judge(PaperFinding("alike", alike=("a", "b", "c")), lines, ceilings={}).word == "not shown"
    assert judge(PaperFinding("alike", alike=("c", "b", "a")), lines, ceilings={}).word == "not shown"
    # One seed of d is far better, the other is not: no gain that every seed has, but not alike either.
    lines["d"] = line(tmp_path, "d", 36, 20)
    assert judge(PaperFinding("better", better=(("d", "b"),)), lines, ceilings={}).word == "not shown"
    assert judge(PaperFinding("alike", alike=("b", "d")), lines, ceilings={}).word == "not shown"


def test_fewer_flops_are_counted(tmp_path: Path) -> None:
    lines = {"a": line(tmp_path, "a", 20), "b": line(tmp_path, "b", 20)}
    verdict = judge(PaperFinding("cheaper", cheaper=(("a", "b"),)), lines, ceilings={})
    assert (verdict.word, verdict.numbers) == ("not shown", ("a needs 1.00 of the FLOPs of b",))
    assert "- **cheaper: not shown.** a needs 1.00 of the FLOPs of b." in format_verdicts([verdict])


def test_findings_are_about_rows_of_the_tables_on_the_miniature() -> None:
    rows = {
        f"{table}/{row.name}"
        for table in (f"table2{letter}" for letter in "abcdefg")
        for row in read_table(f"miniature/{table}").rows.values()
    }
    for finding in FINDINGS:
        named = {key for pair in (*finding.better, *finding.cheaper) for key in pair} | set(finding.alike)
        assert named
        assert named <= rows
