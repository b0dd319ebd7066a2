"""What one tenant may do to another: nothing. One file an attack, bounded in count and time."""
