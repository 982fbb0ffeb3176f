"""Scoring without TensorFlow: one .tflite file, the instant head on top of it, and the models on disk."""
