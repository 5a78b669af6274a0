"""The matrix of runs: what it consists of, and how it is carried out."""
