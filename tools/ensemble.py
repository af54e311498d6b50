"""Averages the scores of several tests: python tools/ensemble.py runs/A/test/full_10 runs/B/test/full_10 --out AB"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nonlocal_video.metrics.average_precision import mean_ap
from nonlocal_video.metrics.intervals import paired_difference
from nonlocal_video.reports.test.compare import precisions, share
from nonlocal_video.reports.test.ensemble import average, lost_labels, shared_facts
from nonlocal_video.reports.test.predictions import Tested, label_ranks_of, read_predictions, scores_and_targets
from nonlocal_video.reports.test.report import build_report, format_report, write_report


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Averages the scores that several tests gave the same videos, and writes a report as a test does."
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="of tests, with their report.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write the report")
    parser.add_argument("--weights", nargs="+", type=float, metavar="W", help="one for each test (all equal)")
    parser.add_argument(
        "--common", action="store_true", help="average the videos that all tests have, leave out others"
    )
    arguments = parser.parse_args()
    if len(arguments.folders) < 2:
        parser.error("expected two tests or more")
    arguments.weights = arguments.weights or [1.0] * len(arguments.folders)
    if len(arguments.weights) != len(arguments.folders):
        parser.error(f"--weights: got {len(arguments.weights)}, expected {len(arguments.folders)}, one for each test")
    if not all(0 < weight < float("inf") for weight in arguments.weights):
        parser.error("--weights: expected finite numbers above 0")
    resolved = [folder.resolve() for folder in arguments.folders]
    if len(set(resolved)) < len(resolved):
        parser.error("a test is named more than once; give it a weight with --weights")
    if arguments.out.resolve() in resolved:
        parser.error("--out: is the folder of a test, which would be overwritten")
    return arguments


def main() -> None:
    arguments = parse()
    try:
        tests = [read_predictions(folder) for folder in arguments.folders]
        weights = [weight / sum(arguments.weights) for weight in arguments.weights]
        write(tests, weights, common=arguments.common, out=arguments.out)
    except ValueError as error:
        sys.exit(f"error: {error}")


def write(tests: Sequence[Tested], weights: Sequence[float], *, common: bool, out: Path) -> None:
    """Averages, writes the report, and prints what the average brings."""
    evaluation = average(tests, weights=weights, common=common)
    classes = next((test.classes for test in tests if test.classes), None)
    report = build_report(
        evaluation,
        [],
        facts=shared_facts(tests, weights=weights),
        metrics=[],
        seconds=sum(test.report["time"]["seconds"] for test in tests),
        num_classes=tests[0].num_classes,
        classes=classes,
        known=lost_labels(tests),
    )
    write_report(out, report, evaluation, classes=classes)
    print(format_report(report))
    left_out = len({prediction.video for test in tests for prediction in test.predictions}) - len(
        evaluation.predictions
    )
    if left_out:
        print(f"{left_out} videos are left out, since not all tests have them")
    if report["labels"]:
        print(compare_members(tests, Tested(out, report, evaluation.predictions, classes)))
    print(f"report: {out}/report.md, report.json, predictions.jsonl, scores.npz")


def compare_members(tests: Sequence[Tested], ensemble: Tested) -> str:
    """How each member does on the videos that all have, and the paired difference of the ensemble to the best."""
    if ensemble.report["multi_label"]:
        return compare_precisions(tests, ensemble)
    *members, averaged = (label_ranks_of(side) < 1 for side in share([*tests, ensemble]).predictions)
    lines = [f"top1 {100 * int(right.sum()) / len(right):6.2f}  {test.folder}"
             for right, test in zip(members, tests, strict=True)]  # fmt: skip
    best = max(range(len(members)), key=lambda index: int(members[index].sum()))
    gain = paired_difference(members[best], averaged)
    lines.append(f"top1 {100 * int(averaged.sum()) / len(averaged):6.2f}  the ensemble")
    lines.append(
        f"against the best member, {tests[best].folder}: {gain.percent:+.2f} "
        f"(95%: {gain.low:+.2f} to {gain.high:+.2f}; {gain.only_b} videos won, {gain.only_a} lost, p {gain.p:.3g})"
    )
    return "\n".join(lines)


def compare_precisions(tests: Sequence[Tested], ensemble: Tested) -> str:
    """How each member does by mAP, where a video has several classes, and what the ensemble gains over the best."""
    *members, averaged = share([*tests, ensemble]).predictions
    reached = [mean_ap(*scores_and_targets(member)).mean for member in members]
    lines = [f"mAP {value:6.2f}  {test.folder}" for value, test in zip(reached, tests, strict=True)]
    best = reached.index(max(reached))
    _, value, gain = precisions(members[best], averaged)
    lines.append(f"mAP {value:6.2f}  the ensemble")
    lines.append(
        f"against the best member, {tests[best].folder}: {gain.percent:+.2f} (95%: {gain.low:+.2f} to {gain.high:+.2f})"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
