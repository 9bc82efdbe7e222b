"""From a config to a run: what the command-line tools are made of."""
