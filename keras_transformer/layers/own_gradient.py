"""A function with a gradient of its own, on each backend."""

from keras import ops


def own_gradient(function):
    """`keras.ops.custom_gradient`, one form for all backends.

    Args:
        function: Of arrays; returns its output, and what makes the arrays' gradients of the output's.
    """

    @ops.custom_gradient
    def called(*arrays):
        output, gradient = function(*arrays)

        def gradient_of(*args, upstream=None):
            if upstream is None:  # torch passes it by name, TensorFlow and JAX by position
                (upstream,) = args
            return gradient(upstream)

        return output, gradient_of

    return called
