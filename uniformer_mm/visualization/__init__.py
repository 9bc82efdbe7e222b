"""What models predict: plain arrays, pictures and JSON."""

from uniformer_mm.visualization.class_scores import ClassScores
from uniformer_mm.visualization.detections import Detections
from uniformer_mm.visualization.label_map import LabelMap
from uniformer_mm.visualization.persons import People
from uniformer_mm.visualization.prediction import Prediction, write_json

__all__ = ["ClassScores", "Detections", "LabelMap", "People", "Prediction", "write_json"]
