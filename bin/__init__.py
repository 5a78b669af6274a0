"""Command lines: flags and a call, nothing else."""
