"""The tasks of detectors: to find the objects of an image, with masks or keypoints."""
