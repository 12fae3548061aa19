"""The bar: in a notebook by the notebook's own display, on a file not at all."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from tests.conftest import require

LOOP = """
from evalkit.progress import progress_bar
with progress_bar("scoring <b>", "images"{hidden}) as show:
    show(0, 10)
    show(4, 10)
"""


def shown_below_a_cell(code: str) -> list[str]:
    """What a real kernel displays, one after the other, while a cell runs."""
    from jupyter_client.manager import KernelManager

    # By file sockets: ports of a busy machine may be taken between the choice and the use.
    kernel = KernelManager(kernel_name="python3", transport="ipc")
    kernel.start_kernel()
    client = kernel.blocking_client()
    client.start_channels()
    texts: list[str] = []
    try:
        client.wait_for_ready(timeout=300)

        def keep(message: dict) -> None:
            if message["msg_type"] in ("display_data", "update_display_data"):
                texts.append(message["content"]["data"]["text/html"])

        reply = client.execute_interactive(code, timeout=300, output_hook=keep)
        assert reply["content"]["status"] == "ok", reply
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    return texts


def test_a_notebook_shows_how_far_it_is_and_clears_it_in_the_end() -> None:
    require(importlib.util.find_spec("ipykernel") is not None, "ipykernel is not installed (the extra `docs`)")
    first, begun, half, last = shown_below_a_cell(LOOP.format(hidden=""))
    assert (first, last) == ("", "")
    assert begun == 'scoring &lt;b&gt; <progress max="10" value="0"></progress> 0/10 images'
    assert half.startswith('scoring &lt;b&gt; <progress max="10" value="4"></progress> 4/10 images, ')
    assert half.endswith(" images/s")


def test_a_file_gets_no_bar() -> None:
    done = subprocess.run([sys.executable, "-c", LOOP.format(hidden="")], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr.strip()) == ("", "")
