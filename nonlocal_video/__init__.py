"""Non-local Neural Networks (Wang, Girshick, Gupta, He; CVPR 2018) for video classification."""
