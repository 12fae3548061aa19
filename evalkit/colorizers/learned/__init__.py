"""Networks that colour: architecture, checkpoints, decoding."""
