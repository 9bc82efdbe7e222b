"""The cases that the doctor ships, and all others; see `uniformer_mm.doctor.parity`."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from uniformer_mm.doctor.parity import SHIPPED_CASES, errors

CASES = SHIPPED_CASES + json.loads(Path(__file__).with_name("official_outputs.json").read_text())


def assert_matches(output: Tensor, official: dict[str, Any]) -> None:
    """Samples within 3e-5 relative, the projection within 1e-5 of the standard deviation."""
    samples, projection = errors(output, official)
    assert samples <= 3e-5
    assert projection <= 1e-5
