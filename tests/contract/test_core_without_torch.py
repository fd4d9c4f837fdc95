"""The engine must work where torch is not installed."""

from __future__ import annotations

import subprocess
import sys


def test_engine_does_not_import_torch() -> None:
    code = "import sys, speech2vid.runtime.onnx; sys.exit(any(m in sys.modules for m in ('torch', 'onnx')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
