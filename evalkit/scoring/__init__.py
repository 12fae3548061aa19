"""The scoring run: from pairs of images to stored statistics, scores, comparisons and merged runs."""
