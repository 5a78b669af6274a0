"""Skill priors: model, objective, training, export."""
