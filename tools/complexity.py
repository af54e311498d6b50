"""Prints parameters and FLOPs of a network: python tools/complexity.py model=nl_c2d_r101"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import hydra
import torch
from omegaconf import DictConfig, OmegaConf

from nonlocal_video.cli.compose import run_tool
from nonlocal_video.cli.jobs import one_job
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.complexity import Cost, complexity
from nonlocal_video.models.placement import format_places
from nonlocal_video.reports.texts import table
from nonlocal_video.runs.network import composed_network, plain_model
from nonlocal_video.settings.network import NetworkOptions, options_of

TABLE_2E = {"c2d": (1.0, 1.0), "i3d 3x3x3": (1.5, 1.8), "i3d 3x1x1": (1.2, 1.5), "nl_c2d": (1.2, 1.2)}
"""Parameters and FLOPs relative to C2D R101, as the paper prints them; "nl_c2d" has five blocks."""


@hydra.main(version_base="1.3", config_path="../configs", config_name="complexity")
def main(cfg: DictConfig) -> None:
    with one_job(), torch.device("meta"):  # Shapes without numbers or memory.
        options = plain_model(OmegaConf.to_container(cfg.model, resolve=True), where="model")
        model = composed_network(options_of(options))
        options = model.options
        clip = f"{options.clip_length}x{options.clip_stride}"
        name = f"c2d_{options.depth}_{clip}"
        c2d = build_model(name, num_classes=options.num_classes, crop=options.crop)
        costs, c2d_costs = costs_of(model), costs_of(c2d)
    print(f"{options.name}: {options.clip_length}x{options.crop}x{options.crop}, {options.num_classes} classes")
    print(format_places(model))
    print(cost_table(costs))
    total, base = sum(costs.values(), Cost()), sum(c2d_costs.values(), Cost())
    ours = total.weights / base.weights, total.macs / base.macs
    print(f"relative to {name}: {ours[0]:.2f}x weights, {ours[1]:.2f}x FLOPs{paper(options)}")


def costs_of(model: Classifier) -> dict[str, Cost]:
    options = model.options
    return complexity(model, length=options.clip_length, height=options.crop, width=options.crop)


def cost_table(costs: dict[str, Cost]) -> str:
    """Markdown, a row a stage."""
    rows = []
    for stage, cost in (*costs.items(), ("all", sum(costs.values(), Cost()))):
        sizes = (cost.weights / 1e6, cost.parameters / 1e6, cost.macs / 1e9, cost.executed_macs / 1e9)
        rows.append([stage, *(f"{size:.2f}" for size in sizes)])
    text = table(["stage", "weights, M", "parameters, M", "GFLOPs", "GFLOPs executed"], rows)
    return f"{text}\nweights: of convolutions and fc; FLOPs: multiply-adds, as the paper counts them"


def paper(options: NetworkOptions) -> str:
    """The numbers of Table 2e for this network, if it has them."""
    five = options.nonlocal_blocks == 5 and options.added == "nonlocal"
    kind = "nl_c2d" if five else "c2d" if options.nonlocal_blocks == 0 else ""
    if kind == "c2d" and options.inflation != "none":
        kind = f"i3d {options.inflation}"
    elif options.inflation != "none":
        kind = ""
    if options.depth != "r101" or kind not in TABLE_2E:
        return ""
    return "; Table 2e: {}x and {}x".format(*TABLE_2E[kind])


if __name__ == "__main__":
    run_tool(main)
