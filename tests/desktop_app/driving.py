"""How the tests drive the window: keys, clicks, and waiting for what must come."""


def type_keys(window, text):
    """Press the keys of a text, one by one, as a keyboard would."""
    names = {" ": "space", ".": "period", "\n": "Return"}
    window.source.text.focus_force()
    for character in text:
        window.source.text.event_generate(f"<KeyPress-{names.get(character, character)}>")
        window.root.update()


def press(widget, keys):
    widget.focus_force()
    widget.event_generate(keys)
    widget.update()


def settled(window):
    return lambda: window.status.sentence == "Ready" and window.target.get_text() != ""
