"""What `tools/doctor.py` finds out about an installation."""
