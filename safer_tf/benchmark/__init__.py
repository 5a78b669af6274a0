"""How fast it is, side by side with baselines that it runs itself."""
