"""Predictions and ground truth of every task as arrays, images and JSON."""

from uniformer_mm.visualization.class_scores import ClassScores
from uniformer_mm.visualization.detections import Detections
from uniformer_mm.visualization.label_map import LabelMap
from uniformer_mm.visualization.person_actions import PersonActions
from uniformer_mm.visualization.persons import Persons
from uniformer_mm.visualization.prediction import Prediction, write_json

__all__ = [
    "ClassScores",
    "Detections",
    "LabelMap",
    "PersonActions",
    "Persons",
    "Prediction",
    "write_json",
]
