"""Detectors: torchvision's networks on our residual network, with non-local blocks (Sec. 6.3 of the paper)."""
