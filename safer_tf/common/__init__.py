"""What every stage shares; imports nothing heavy."""
