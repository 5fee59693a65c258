"""What scores a schedule: data, metrics, the evaluator, and what is measured of a model."""
