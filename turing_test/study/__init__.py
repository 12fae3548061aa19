"""A study on disk: its file, folder, protocol, manifest and texts."""
