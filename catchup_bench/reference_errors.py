"""Published errors of networks that mCE is relative to, type by type; read without torch."""

ALEXNET = {
    "gaussian_noise": 88.6428,
    "shot_noise": 89.4468,
    "impulse_noise": 92.264,
    "defocus_blur": 81.988,
    "glass_blur": 82.6268,
    "motion_blur": 78.5948,
    "zoom_blur": 79.836,
    "snow": 86.6816,
    "frost": 82.6572,
    "fog": 81.9324,
    "brightness": 56.4592,
    "contrast": 85.3204,
    "elastic_transform": 64.6056,
    "pixelate": 71.784,
    "jpeg_compression": 60.65,
}
"""Errors of AlexNet on ImageNet-C in percent, means over severities (hendrycks/robustness, ImageNet-C's tables)."""

PUBLISHED = {"published:alexnet": ("AlexNet's published errors on ImageNet-C", "imagenet", ALEXNET)}
"""What a board calls them → what they are, the dataset that they are of, and the errors by type."""
