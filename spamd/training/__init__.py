"""The nightly trainer: a child process, and the only room that imports TensorFlow (`python -m spamd.training`)."""
