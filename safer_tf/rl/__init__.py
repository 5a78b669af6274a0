"""Reinforcement learning in the latent space of a skill prior."""
