"""Training loops of a user's own: plain PyTorch, Hugging Face's Trainer, Lightning.

The loop trains; `SparseTraining` keeps the masks, updates them by schedule, runs the steering
tests, and ends in the same run folder and verdict as `compress`.
"""
