"""What models predict: plain arrays, pictures and JSON."""

from uniformer_mm.predictions.class_scores import ClassScores
from uniformer_mm.predictions.detections import Detections
from uniformer_mm.predictions.label_map import LabelMap
from uniformer_mm.predictions.people import People
from uniformer_mm.predictions.prediction import Prediction, write_json

__all__ = ["ClassScores", "Detections", "LabelMap", "People", "Prediction", "write_json"]
