"""Weights → numbers: every clip of a split generated again, with the code of ``talk``, and measured. Needs no torch."""

from speech2vid.evaluation.evaluate import Evaluation, evaluate, evaluate_tracks

__all__ = ["Evaluation", "evaluate", "evaluate_tracks"]
