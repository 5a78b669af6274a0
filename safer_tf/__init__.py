"""Safe skill priors for reinforcement learning (SAFER)."""

__version__ = '0.1.0'
