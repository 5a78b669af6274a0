"""Skill priors: a conditional flow over actions, with a safety variable."""
