"""Rules that the layers' constructors share."""


def require_count(name, value):
    """Raise ValueError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` must be a whole number of at least 1, got {value!r}. Give a positive int."
        )


def require_rate(name, value):
    """Raise ValueError unless `value` is in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"`{name}` must be in [0, 1), got {value!r}. Use 0 to switch it off.")
