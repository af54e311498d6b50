"""The words that options of networks choose from; what each word means stands beside what it chooses."""

from typing import Literal

Axes = Literal["space", "time", "spacetime"]
Subsample = Literal["before", "after", "none"]
BlockNorm = Literal["batch", "affine", "none"]
Norm = Literal["batch", "affine"]
Inflation = Literal["none", "3x1x1", "3x3x3"]
Stem = Literal["strided", "dense", "skipping"]
StrideIn = Literal["3x3", "1x1"]
Added = Literal["nonlocal", "residual"]
Activation = Literal["softmax", "sigmoid"]
