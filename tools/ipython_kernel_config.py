# Copied into the virtual environment, where every notebook kernel reads it.
# TensorFlow writes log lines with a time and a process id past Python, at import, whatever
# TF_CPP_MIN_LOG_LEVEL says. They belong in the terminal, not in a notebook's output.
c.IPKernelApp.capture_fd_output = False  # noqa: F821
