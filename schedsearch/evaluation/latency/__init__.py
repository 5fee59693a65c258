"""What a prefill takes, as a whole and by layer."""
