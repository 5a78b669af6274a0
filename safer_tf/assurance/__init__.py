"""The bound on the latent action, and what it promises."""
