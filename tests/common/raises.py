"""A module of a user's own with a mistake: it cannot be imported."""

value = undefined_name  # noqa: F821
