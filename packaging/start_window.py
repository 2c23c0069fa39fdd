"""What the frozen program starts: `keras-transformer`, or `keras-transformer translate …` in a terminal."""

import sys


def main() -> int:
    """Run the window, or the command that the first argument names."""
    if sys.argv[1:2] == ["translate"]:
        from keras_transformer.translate import main as translate

        return translate(sys.argv[2:])
    from desktop_app.__main__ import main as window

    return window()


if __name__ == "__main__":
    sys.exit(main())
