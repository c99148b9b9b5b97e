"""What the agent's process loads: it runs for ever beside the pipeline, on small machines."""

import subprocess
import sys

HEAVY = {"numpy", "cv2", "av", "onnxruntime", "openvino", "asyncio", "psutil", "pynvml"}
SCRIPT = "import sys, vedette.cli.main, vedette.cli.edge; print(*sys.modules)"


def test_the_agent_loads_nothing_that_looks_at_pictures():
    """Only `doctor` and `commission` do; they are imported when they are asked for."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=55
    )
    assert set(done.stdout.split()) & HEAVY == set()
