"""Weights → numbers: every clip of a split generated again and measured. The warp talker's part needs no torch."""

from speech2vid.evaluation.evaluate import evaluate, evaluate_tracks
from speech2vid.evaluation.metric_records import Metric
from speech2vid.evaluation.metrics import Scorers, Truth, evaluate_frames
from speech2vid.evaluation.result import Evaluation
from speech2vid.evaluation.summary import summarise

__all__ = ["Evaluation", "Metric", "Scorers", "Truth", "evaluate", "evaluate_frames", "evaluate_tracks", "summarise"]
