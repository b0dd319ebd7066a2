"""The ways a message can take."""
