"""The desktop translator: two panes over an exported bundle, without Keras.

`__main__` is where bundle, service and window meet; `service` holds the one worker thread; `window`
and its widgets (`panes`, `theme`) are the only modules that know tkinter.
"""
