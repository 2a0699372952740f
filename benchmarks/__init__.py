"""What is measured against others; `make bench` runs all of it."""
