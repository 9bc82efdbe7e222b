"""Diagnosis of an installation, for `tools/doctor.py`."""
