"""What the attention of a model says of its vision tokens."""
