"""Heads that the codebases lack. Importing one registers it."""
