"""The oracle: the paper's equations in float64 NumPy, written without the package's own layers."""
