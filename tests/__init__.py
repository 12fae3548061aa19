"""Tests of the packages: a package itself, because a dependency (torch-fidelity) installs one named `tests`."""
