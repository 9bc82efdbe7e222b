"""Parts that run inside of mmengine's Runner: hooks, loops, schedulers."""
