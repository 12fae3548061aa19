"""The demo's photos and figure."""
