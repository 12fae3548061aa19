"""What linear classifiers read off the frozen layers of a network: classes of photos, and of pixels."""
