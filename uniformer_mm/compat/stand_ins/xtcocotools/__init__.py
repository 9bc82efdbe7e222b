"""Stand-in for xtcocotools: what mmpose uses of it, on top of pycocotools."""
