"""Read datasets of other formats and write them as COCO annotations.

`yolo`, `voc`, `cvat` and `labelme` each have a function `read`; `coco_files` splits and writes what
they return. Files are parsed by dagshub-annotation-converter and supervision.
"""
