"""Hooks, loops and schedulers for mmengine's Runner."""
