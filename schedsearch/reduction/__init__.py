"""The runtime that people deploy: fewer vision tokens in the deeper layers of a model."""
