import os

# Without this TensorFlow fills the terminal with log lines, of the tests and of the processes they start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
