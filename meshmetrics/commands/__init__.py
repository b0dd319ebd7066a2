"""What operators run beside the daemon: verify, repair, back-fill, doctor. No output of its own."""
