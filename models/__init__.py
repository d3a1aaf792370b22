"""What is predicted, and by which formulas: fitting and prediction, no I/O."""
