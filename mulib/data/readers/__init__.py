"""Readers of published data sets, one family per file. Each returns a Task with its paper's splits."""
