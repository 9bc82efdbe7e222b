"""How many cases are tried: 100 of them, always the same, or 1,000 new ones every night.

`HYPOTHESIS_PROFILE=nightly pytest tests/properties tests/fuzz` does the latter.
"""

import os

from hypothesis import HealthCheck, settings

# On a busy machine any case may take long.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", max_examples=100, derandomize=True, **PATIENT)
settings.register_profile("nightly", max_examples=1000, print_blob=True, **PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def share(part: int) -> settings:
    """So many percent of the cases of the profile."""
    return settings(max_examples=settings.default.max_examples * part // 100)
